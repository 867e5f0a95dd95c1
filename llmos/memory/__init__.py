"""RAM and disk: pages and windows, the journal, the index. Knows pages, not cells."""
