"""llmos bench memory: what remembering costs, and whether what was said is found again."""

from __future__ import annotations

__all__: list[str] = []
