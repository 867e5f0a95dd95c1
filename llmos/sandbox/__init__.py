"""Jails for code that nobody vouches for, and for decoders of untrusted bytes."""
