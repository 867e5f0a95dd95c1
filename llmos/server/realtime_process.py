"""The process of the kernel that a Realtime session talks with: a new one, or one that is there.

A new one is made when the first word is said, so that a session in which nobody speaks leaves
nothing behind. What is being said is computed ahead as a draft, the newest state of it only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from llmos import limits
from llmos.errors import LlmosError
from llmos.events import Event
from llmos.server.contract import ServedKernel
from llmos.server.realtime_outbox import Outbox

__all__ = ["TalkedTo"]

_log = logging.getLogger(__name__)


class TalkedTo:
    """One process, as a session uses it. Used from the asyncio loop only.

    Args:
        pid: Of one that is there; 0 for a new one.
        outbox: Is told which process it is.
        instructions: What a new one is told before all else.
        tell: Gets the events of the process.
        ended: Is told when no more events come, and why, where nobody stopped the kernel.
        answers: Whether a person is there who can answer questions about calls.
    """

    def __init__(
        self,
        kernel: ServedKernel,
        pid: int,
        outbox: Outbox,
        *,
        instructions: Callable[[], str],
        tell: Callable[[Event], None],
        ended: Callable[[LlmosError | None], None],
        answers: bool,
    ) -> None:
        self.pid = pid
        self._kernel = kernel
        self._outbox = outbox
        self._instructions = instructions
        self._tell = tell
        self._ended = ended
        self._answers = answers
        self._listening = contextlib.ExitStack()
        self._reading: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._draft = ""
        self._drafting: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether there is a process."""
        return bool(self.pid)

    def listen(self) -> None:
        """Listen, to nobody where there is no process yet: a kernel somebody listens to stays."""
        pid, answers = self.pid, self._answers and bool(self.pid)
        listening = contextlib.ExitStack()
        events = listening.enter_context(self._kernel.subscribe(pid, answers=answers))
        before, self._reading = self._reading, asyncio.create_task(self._read(pid, events))
        if before is not None:
            before.cancel()
        self._listening.close()
        self._listening = listening
        if pid:
            self._outbox.extra("llmos.process", pid=pid)

    async def open(self) -> None:
        """Make a process, where there is none yet."""
        async with self._opening:
            if not self.pid:
                system = self._instructions()
                made = await self._kernel.create(system=system, priority="realtime")
                self.pid = made.pid
                self.listen()

    async def send(self, text: str) -> str:
        """Say something to it; returns the message's id once it is on the disk."""
        self._draft = ""
        return await self._kernel.send(self.pid, text)

    async def interrupt(self) -> None:
        """End the turn under way within a step."""
        await self._kernel.signal(self.pid, "interrupt")

    async def heard(self, turn: int, text: str) -> None:
        """Have exactly ``text`` kept of a turn's reply."""
        await self._kernel.heard(self.pid, turn, text)

    def draft(self, text: str) -> None:
        """Have what is being said computed ahead."""
        self._draft = text
        if self._drafting is None or self._drafting.done():
            self._drafting = asyncio.create_task(self._compute())

    async def close(self) -> None:
        """Hear of it no more. It lives on, and so does what it is doing."""
        self._draft = ""
        if self._drafting is not None:  # it ends by itself: what it waits for may be others' too
            await asyncio.wait({self._drafting}, timeout=limits.GOODBYE_S)
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        self._listening.close()

    async def _compute(self) -> None:
        while text := self._draft:
            self._draft = ""
            try:
                await self.open()
                await self._kernel.draft(self.pid, text)
            except LlmosError as error:  # it is only computed later
                _log.info("a draft is not computed: %s", error)

    async def _read(self, pid: int, events: AsyncIterator[Event]) -> None:
        try:
            async for event in events:
                if pid:
                    self._tell(event)
        except LlmosError as error:
            self._ended(error)
        except Exception as error:
            _log.exception("events of a session cannot be read")
            self._ended(LlmosError(f"The session broke: {type(error).__name__}."))
        else:
            self._ended(None)
