"""Experts: what people install to teach the assistant something."""
