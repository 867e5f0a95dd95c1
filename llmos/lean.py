"""httpx as fast as it imports where nothing else is installed.

It brings its own command line along where rich is there, as it is with textual: 50 ms of every
command. Without that one module it does as where rich is missing.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

import httpx  # noqa: E402

__all__ = ["httpx"]
