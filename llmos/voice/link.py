"""The line to the kernel: ``/v1/realtime`` over its socket, as any client of it would.

Knows events as they are on the wire, not what they mean. When the kernel goes the line says so and
is opened again; the conversation is in the kernel's journal, and goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any, Final

from llmos.client import Client
from llmos.errors import KernelUnreachable
from llmos.events import StoredMessage

__all__ = ["Link"]

log = logging.getLogger(__name__)

#: Pieces of sound that wait to be sent; what comes after them is lost when the kernel is slow.
WAITING: Final = 1_000
ANSWER_S: Final = 30.0
_SOUND: Final = "input_audio_buffer.append"


class Link:
    """One connection. Used from the asyncio loop only.

    Args:
        client: Of the kernel.
        pid: The process to talk with; 0 for a new one.
    """

    def __init__(self, client: Client, pid: int = 0) -> None:
        self._client = client
        self.pid = pid  #: the process, once it is known
        self._socket: Any = None
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sound = 0  # pieces of it that wait
        self.lost = 0  #: pieces of sound that were not sent, since the kernel was too slow

    def send(self, event: dict[str, Any]) -> None:
        """Have an event sent; sound is left out while too much of it waits."""
        if event["type"] == _SOUND:
            if self._sound >= WAITING:
                self.lost += 1
                return
            self._sound += 1
        self._out.put_nowait(event)

    async def _next(self) -> dict[str, Any]:
        event = await self._out.get()
        self._sound -= event["type"] == _SOUND
        return event

    async def messages(self) -> list[StoredMessage]:
        """The conversation as the kernel keeps it; none before it began."""
        return await self._client.messages(self.pid) if self.pid else []

    async def speech(self, text: str, speed: float) -> bytes:
        """A text read out; see ``Client.speech``."""
        return await self._client.speech(text, speed)

    async def events(self, session: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Connect, set the session up, and give the kernel's events until it goes.

        Args:
            session: As ``session.update`` has it.

        Raises:
            KernelUnreachable: It went, or lets nobody in.
        """
        from websockets.asyncio.client import unix_connect
        from websockets.exceptions import InvalidHandshake, WebSocketException

        uri = "ws://kernel/v1/realtime?llmos=1" + (f"&process={self.pid}" if self.pid else "")
        try:
            async with asyncio.timeout(ANSWER_S):
                socket = await unix_connect(
                    str(self._client.socket), uri, max_size=None, compression=None,
                    ping_interval=None,
                )  # fmt: skip
        except (OSError, InvalidHandshake, TimeoutError) as error:
            log.info("no line to the kernel: %r", error)
            raise KernelUnreachable("The kernel does not take calls by voice.") from error
        while not self._out.empty():  # it was for a session that is no more
            await self._next()
        self.send({"type": "session.update", "session": session})
        sending = asyncio.create_task(self._sends(socket))
        try:
            async for line in socket:
                event = json.loads(line)
                if event.get("type") == "llmos.process":
                    self.pid = int(event["pid"])
                yield event
        except (OSError, WebSocketException) as error:
            log.info("the line to the kernel broke: %r", error)
            raise KernelUnreachable("The kernel went away.") from error
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            await socket.close()
        raise KernelUnreachable("The kernel went away.")

    async def _sends(self, socket: Any) -> None:
        from websockets.exceptions import WebSocketException

        try:
            while True:
                await socket.send(json.dumps(await self._next()))
        except (OSError, WebSocketException):
            pass  # who reads sees it, too
