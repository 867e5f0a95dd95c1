"""Events, from the kernel to whoever listens.

Publishing never waits: a listener that does not read fast enough is dropped and told so, and reads
the rest from the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager

from llmos import limits
from llmos.errors import KernelError
from llmos.events import Event

__all__ = ["Hub"]


class _Listener:
    __slots__ = ("answers", "broken", "lost", "pid", "queue")

    def __init__(self, pid: int, answers: bool) -> None:
        self.pid = pid
        self.answers = answers
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self.lost = False
        self.broken = ""  # why the kernel ended, where nobody stopped it

    def offer(self, event: Event) -> None:
        """Queue an event; one that does not fit any more loses the listener, and all after it."""
        if self.queue.qsize() >= limits.EVENT_BACKLOG:
            self.lost = True
        elif not self.lost:
            self.queue.put_nowait(event)

    async def read(self) -> AsyncIterator[Event]:
        while not self.lost:
            event = await self.queue.get()
            if event is None and self.broken:
                raise KernelError(self.broken)
            if event is None:
                return
            yield event
        raise KernelError(
            "This terminal was too slow and lost events.",
            remedy="Open the conversation again: nothing that was said is lost.",
        )


class Hub:
    """Distributes events.

    Args:
        state: Gives the events that a new listener to a process (0: to all) gets first.
    """

    def __init__(self, state: Callable[[int], Iterable[Event]]) -> None:
        self._state = state
        self._listeners: set[_Listener] = set()
        self._closed = False
        self._broken = ""
        self._left = asyncio.Event()  # set whenever a listener goes

    def __len__(self) -> int:
        return len(self._listeners)

    def publish(self, event: Event) -> None:
        """Give ``event`` to all who listen to its process."""
        for listener in self._listeners:
            if listener.pid in (0, event.pid):
                listener.offer(event)

    def close(self, broken: str = "") -> None:
        """End every listener's iterator, and those of who comes later.

        Args:
            broken: Why the kernel ends, where nobody stopped it; the iterators raise it.
        """
        self._closed, self._broken = True, self._broken or broken
        for listener in self._listeners:
            self._end(listener)

    def _end(self, listener: _Listener) -> None:
        listener.broken = self._broken
        listener.queue.put_nowait(None)

    async def empty(self) -> None:
        """Wait until nobody listens any more."""
        while self._listeners:
            self._left.clear()
            await self._left.wait()

    def answered(self, pid: int) -> bool:
        """Whether somebody listens to a process who can answer questions about it."""
        return any(each.answers and each.pid in (0, pid) for each in self._listeners)

    @contextmanager
    def subscribe(self, pid: int, *, answers: bool = False) -> Iterator[AsyncIterator[Event]]:
        """Listen to one process, or (0) to all.

        Args:
            answers: Whether a person is there who can answer questions.

        The iterator raises ``KernelError`` once it has lost events, or when the kernel breaks down.
        """
        listener = _Listener(pid, answers)
        for event in self._state(pid):
            listener.queue.put_nowait(event)
        if self._closed:
            self._end(listener)
        self._listeners.add(listener)
        try:
            yield listener.read()
        finally:
            self._listeners.discard(listener)
            self._left.set()
