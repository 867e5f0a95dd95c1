"""Events, from the kernel to whoever listens.

Publishing never waits: a listener that does not read fast enough is dropped and told so, and reads
the rest from the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from llmos import limits
from llmos.errors import KernelError
from llmos.events import Event

__all__ = ["Hub"]


class _Listener:
    __slots__ = ("lost", "pid", "queue")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self.lost = False

    async def read(self) -> AsyncIterator[Event]:
        while not self.lost:
            event = await self.queue.get()
            if event is None:
                return
            yield event
        raise KernelError("This terminal was too slow and lost events.")


class Hub:
    """Distributes events.

    Args:
        state: Gives the event a new listener of a process gets first, or None.
    """

    def __init__(self, state: Callable[[int], Event | None]) -> None:
        self._state = state
        self._listeners: set[_Listener] = set()

    def __len__(self) -> int:
        return len(self._listeners)

    def publish(self, event: Event) -> None:
        for listener in self._listeners:
            if listener.pid not in (0, event.pid):
                continue
            if listener.queue.qsize() >= limits.EVENT_BACKLOG:
                listener.lost = True
            listener.queue.put_nowait(event)

    def close(self) -> None:
        """End every listener's iterator."""
        for listener in self._listeners:
            listener.queue.put_nowait(None)

    @contextmanager
    def subscribe(self, pid: int) -> Iterator[AsyncIterator[Event]]:
        listener = _Listener(pid)
        first = self._state(pid) if pid else None
        if first is not None:
            listener.queue.put_nowait(first)
        self._listeners.add(listener)
        try:
            yield listener.read()
        finally:
            self._listeners.discard(listener)
