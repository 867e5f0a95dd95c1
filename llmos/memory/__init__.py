"""RAM and disk: windows, the journal, the index. Knows pages, not cells."""
