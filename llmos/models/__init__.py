"""Which models there are, which of them this machine can run, and how they get here.

Knows files and hardware; loading a model is the engine's.
"""
