"""A voice terminal in a computed room, on a line to a kernel that the test plays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import numpy as np

from llmos.devices.audio import WIRE_RATE, encode_pcm16
from llmos.devices.echo import NoCanceller
from llmos.devices.sound import Device, DeviceGone, Devices
from llmos.devices.sound_loopback import Loopback
from llmos.errors import DeviceError, KernelUnreachable
from llmos.voice.duplex import Line
from llmos.voice.terminal import Terminal


class Loud:
    """A detector: whatever is loud is speech."""

    def probability(self, frame: Any) -> float:
        return 1.0 if np.abs(frame).mean() > 0.005 else 0.0

    def reset(self) -> None:
        pass


class Kernel:
    """Stands for ``Link``: what was sent is kept, what the kernel says comes from the test."""

    def __init__(self) -> None:
        self.pid = 0
        self.sent: list[dict[str, Any]] = []
        self.read: list[tuple[str, float]] = []
        self.sessions: list[dict[str, Any]] = []
        self.mute: DeviceError | None = None
        self._come: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.sent if "append" not in event["type"]]

    def comes(self, type: str, **fields: Any) -> None:
        self._come.put_nowait({"type": type, **fields})

    def breaks(self) -> None:
        self._come.put_nowait(None)

    async def speech(self, text: str, speed: float) -> bytes:
        if self.mute is not None:
            raise self.mute
        self.read.append((text, speed))
        return encode_pcm16(np.full(WIRE_RATE // 10, 0.1, np.float32))

    async def events(self, session: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        self.sessions.append(session)
        yield {"type": "session.updated", "session": session}
        while (event := await self._come.get()) is not None:
            yield event
        raise KernelUnreachable("The kernel went away.")


class System:
    """Two rooms to choose from."""

    def __init__(self) -> None:
        self.rooms = {"desk": Loopback(gain=0.0), "headset": Loopback(gain=0.0)}
        self.closed = False

    async def devices(self) -> Devices:
        found = tuple(Device(name, 48_000, name == "desk") for name in self.rooms)
        return Devices(found, found)

    async def microphone(self, name: str = "") -> Any:
        return self._room(name).microphone

    async def loudspeaker(self, name: str = "") -> Any:
        return self._room(name).loudspeaker

    async def close(self) -> None:
        self.closed = True

    def _room(self, name: str) -> Loopback:
        if name not in self.rooms:
            raise DeviceGone(f"There is no {name}.", remedy="Plug it in.")
        return self.rooms[name]


class Rig:
    """A terminal that talks at the desk."""

    def __init__(self, terminal: Terminal, link: Kernel, system: System, lines: list[Line]) -> None:
        self.terminal = terminal
        self.link = link
        self.system = system
        self.lines = lines

    @property
    def desk(self) -> Loopback:
        return self.system.rooms["desk"]

    @property
    def notes(self) -> list[str]:
        return [line.text for line in self.lines if line.who == "note"]

    async def until(self, true: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not true():
                await asyncio.sleep(0)


def terminal_of(link: Any, system: System, lines: list[Line], **settings: Any) -> Terminal:
    """A terminal at the desk."""
    desk = system.rooms["desk"]
    return Terminal(
        link, system, desk.microphone, desk.loudspeaker, NoCanceller(), Loud(), lines.append,
        **settings,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def talking(**settings: Any) -> AsyncIterator[Rig]:
    """A terminal that runs until the block ends."""
    link, system, lines = Kernel(), System(), list[Line]()
    terminal = terminal_of(link, system, lines, **settings)
    running = asyncio.create_task(terminal.run())
    try:
        rig = Rig(terminal, link, system, lines)
        await rig.until(terminal.ready.is_set)
        yield rig
    finally:
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled(), running.exception()
