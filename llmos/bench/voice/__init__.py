"""``llmos bench voice``: hearing, speaking, and being interrupted."""
