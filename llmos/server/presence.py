"""Whether somebody is there: what a dream ends for, and what an idle kernel waits to be without.

Knows methods and paths of requests, not who makes them. A look (a status line, a list that is
drawn again) is nobody's doing; a search is, although it changes nothing.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from llmos.server.contract import ServedKernel

__all__ = ["Presence"]


class Presence:
    """Tells a kernel that somebody does something, for every request that is more than a look.

    Args:
        app: What answers.
        kernel: What is told.
    """

    def __init__(self, app: ASGIApp, kernel: ServedKernel) -> None:
        self._app = app
        self._kernel = kernel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            looks = scope["method"] in ("GET", "HEAD", "OPTIONS")
            if not looks or scope["path"].startswith("/kernel/v1/memory/search"):
                self._kernel.touch()
        await self._app(scope, receive, send)
