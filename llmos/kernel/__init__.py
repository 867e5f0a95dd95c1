"""Processes and system calls, and the one way to an effect."""
