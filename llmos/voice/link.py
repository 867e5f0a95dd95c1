"""The line to the kernel: ``/v1/realtime`` over its socket, as any client of it would.

Knows events as they are on the wire, not what they mean. When the kernel goes the line says so and
is opened again; the conversation is in the kernel's journal, and goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any, Final

from llmos.client import Client
from llmos.errors import KernelUnreachable
from llmos.events import StoredMessage

__all__ = ["Link"]

#: Events that wait to be sent; sound goes first when the kernel is slow.
WAITING: Final = 1_000
ANSWER_S: Final = 30.0


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
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING)
        self.lost = 0  #: pieces of sound that were not sent, since the kernel was too slow

    def send(self, event: dict[str, Any]) -> None:
        """Have an event sent; of sound, when too much waits, it is left out."""
        if self._out.full():
            if event["type"] == "input_audio_buffer.append":
                self.lost += 1
                return
            self._out.get_nowait()
        self._out.put_nowait(event)

    async def messages(self) -> list[StoredMessage]:
        """The conversation as the kernel keeps it; none before it began."""
        return await self._client.messages(self.pid) if self.pid else []

    async def speech(self, text: str) -> bytes:
        """A text read out; see ``Client.speech``."""
        return await self._client.speech(text)

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
            raise KernelUnreachable("The kernel does not take calls by voice.") from error
        while not self._out.empty():  # what was said before is not what is said now
            self._out.get_nowait()
        self.send({"type": "session.update", "session": session})
        sending = asyncio.create_task(self._sends(socket))
        try:
            async for line in socket:
                event = json.loads(line)
                if event.get("type") == "llmos.process":
                    self.pid = int(event["pid"])
                yield event
        except (OSError, WebSocketException) as error:
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
                await socket.send(json.dumps(await self._out.get()))
        except (OSError, WebSocketException):
            pass  # who reads sees it, too
