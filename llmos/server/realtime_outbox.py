"""What waits to be sent to one Realtime client.

Whoever makes sound waits until there is room, so that an answer that is broken off cost little. Of
a response that is broken off nothing more is sent that is not its end.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from llmos import limits
from llmos.errors import LlmosError
from llmos.server.realtime_events import error_event, event_of
from llmos.server.realtime_settings import Refusal
from llmos.visible import encodable

__all__ = ["Outbox"]


class Outbox:
    """Events of one connection, in order. Used from the asyncio loop only.

    Args:
        extras: Whether the client takes ``llmos.`` events.
    """

    def __init__(self, *, extras: bool = False) -> None:
        self._extras = extras
        self._waiting: deque[tuple[dict[str, Any], str]] = deque()  # events, and as they are sent
        self._bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.full = False  # nobody reads: what came last was let go

    # --- in ---------------------------------------------------------------------------------

    def tell(self, type: str, **fields: Any) -> None:
        """Have an event sent."""
        self._put(event_of(type, **fields))

    def extra(self, type: str, **fields: Any) -> None:
        """Have one of llmos's own events sent, where the client takes them."""
        if self._extras:
            self.tell(type, **fields)

    def refuse(self, refusal: Refusal, event_id: str | None = None) -> None:
        """Have it told that something is refused.

        Args:
            event_id: What the client calls the event that is.
        """
        self._put(error_event(refusal, event_id))

    def fail(self, error: LlmosError, event_id: str | None = None) -> None:
        """Have it told that something did not succeed."""
        self.refuse(Refusal(str(error), code=error.code, kind="server_error"), event_id)

    def drop(self, response: str) -> None:
        """Let go of what is more of a response."""
        kept = [
            (event, line)
            for event, line in self._waiting
            if event.get("response_id") != response or not event["type"].endswith(".delta")
        ]
        self._waiting = deque(kept)
        self._bytes = sum(len(line) for _, line in kept)
        self._look()

    async def room(self) -> None:
        """Wait until the client has taken most of what was made for it."""
        await self._room.wait()

    # --- out --------------------------------------------------------------------------------

    async def lines(self) -> AsyncIterator[str]:
        """What is to be sent, for ever; ends when nobody reads it."""
        while not self.full:
            while self._waiting:
                _, line = self._waiting.popleft()
                self._bytes -= len(line)
                self._look()
                yield line
            self._news.clear()
            if not self.full:
                await self._news.wait()

    def _put(self, event: dict[str, Any]) -> None:
        waiting = len(self._waiting)
        if waiting >= limits.REALTIME_OUT_EVENTS or self._bytes > limits.REALTIME_OUT_CHARS:
            self.full = True
            self._waiting.clear()
            self._bytes = 0
        elif not self.full:
            line = json.dumps(encodable(event), ensure_ascii=False)
            self._waiting.append((event, line))
            self._bytes += len(line)
            if self._bytes > limits.REALTIME_OUT_BYTES:
                self._room.clear()
        self._news.set()

    def _look(self) -> None:
        if self._bytes <= limits.REALTIME_OUT_BYTES:
            self._room.set()
