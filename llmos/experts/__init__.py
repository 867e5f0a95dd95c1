"""Experts and tools: what people install to teach the assistant something."""
