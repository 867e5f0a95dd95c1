"""The disk: the journal, and the embedder. Knows messages, not cells."""
