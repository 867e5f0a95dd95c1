"""HTTP and WebSocket on the kernel's socket: OpenAI-compatible routes and ``/kernel/v1``."""

from __future__ import annotations

from llmos.server.app import create_app
from llmos.server.listen import serve

__all__ = ["create_app", "serve"]
