"""One connection: how many there may be, and how long one may hold its place without a request.

Every connection holds a file descriptor, and the journal needs some too. uvicorn bounds the pause
between two requests; a connection that never finishes the head of one it would keep for ever.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from llmos import limits
from llmos.server.errors import error_response

__all__ = ["Connection", "make_room"]


def make_room() -> int:
    """Raise this process's limit of open files as far as llmos wants it and the system lets it.

    Returns:
        How many connections that leaves room for, beside ``limits.FILES_KEPT`` other files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.CONNECTIONS_MAX + limits.FILES_KEPT
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY:
        soft = wanted
    elif soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, min(limits.CONNECTIONS_MAX, soft - limits.FILES_KEPT))


class Connection(HttpToolsProtocol):
    """uvicorn's, which turns away what is too many and closes what never asks.

    Args:
        most: Connections of one listener that may be open at once; one more gets a 503.
    """

    def __init__(self, *args: Any, most: int, **given: Any) -> None:
        super().__init__(*args, **given)
        self._most = most
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        full = len(self.connections) >= self._most
        super().connection_made(transport)
        if full:
            sentence = f"Too many connections are open: {self._most}. Close some, or try again."
            self._refuse(503, sentence, "too_many_connections")
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._got_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # turned away
            return
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._got_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "That is not an HTTP request.", "invalid_http")

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(limits.HEAD_S, self._head_is_late)

    def _got_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        sentence = f"No whole request head came within {limits.HEAD_S:.0f} seconds."
        self._refuse(408, sentence, "request_timeout")

    def _refuse(self, status: int, sentence: str, code: str) -> None:
        """Answer without the application, and close."""
        self._got_head()
        if self.transport.is_closing():
            return
        headers = {"Connection": "close"}
        answer = error_response(sentence, status, code=code, headers=headers)
        lines = [b"%s: %s\r\n" % pair for pair in answer.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
