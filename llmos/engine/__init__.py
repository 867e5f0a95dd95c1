"""The processor: sequences, steps, cells. Knows tokens, not conversations."""
