"""When nobody is there: decides when to dream, and wakes at once when somebody comes.

A kernel that nobody has asked anything for a while, with nothing under way, plugged in, and with
something new to consolidate, dreams. Knows no memory: what a dream does is ``kernel/dream.py``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import psutil

from llmos import limits
from llmos.errors import LlmosError
from llmos.kernel.dream import Dream
from llmos.memory.derived import DreamState

__all__ = ["Idle"]

log = logging.getLogger(__name__)


class Idle:
    """Has a kernel dream while nobody is there.

    Args:
        dream: What it does then.
        minutes: Without anybody, before it begins; 0 never, unless it is asked to.
        busy: Whether anything is under way.
        news: A number that grows with what there is to consolidate.
        write: Whether the model may write summaries unasked; not where that costs money.
    """

    def __init__(
        self,
        dream: Dream,
        minutes: float,
        *,
        busy: Callable[[], bool],
        news: Callable[[], int],
        write: bool = True,
    ) -> None:
        self._dream = dream
        self._seconds = minutes * 60
        self._busy = busy
        self._news = news
        self._write = write
        self.error = ""  # why the last one ended early
        self._touched = time.monotonic()
        self._done = -1  # what news stood at when all was consolidated
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def state(self) -> DreamState:
        """How far the dream is that is under way, or what the last one made."""
        return self._dream.state

    @property
    def dreaming(self) -> bool:
        """Whether one is under way."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Watch for the time to dream."""
        if self._seconds:
            self._watch = asyncio.create_task(self._wait(), name="wait for nobody")

    def touch(self) -> None:
        """Somebody does something: wake up, and wait anew."""
        self._touched = time.monotonic()
        if self._task is not None:
            self._task.cancel()

    async def begin(self) -> None:
        """Dream now, since somebody asked for it. Returns at once."""
        await self.wake()
        self._task = asyncio.create_task(self._run(True), name="dream")

    async def wake(self) -> None:
        """Stop, and return when it has."""
        self.touch()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Stop for good."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await self.wake()

    async def _wait(self) -> None:
        while True:
            busy = self._busy()
            if busy:
                self._touched = time.monotonic()
            left = self._touched + self._seconds - time.monotonic()
            news = self._news()
            idle = not busy and left <= 0
            if idle and news != self._done and not self.dreaming and _plugged_in():
                self._task = asyncio.create_task(self._run(self._write), name="dream")
                await asyncio.wait({self._task})
            await asyncio.sleep(max(left, limits.DREAM_WAIT_S))

    async def _run(self, write: bool) -> None:
        news, self.error = self._news(), ""
        try:
            state = await self._dream.run(write=write)
            self._done = self._news()  # what it wrote itself is no news
            log.info("dreamed: %d things made", len(state.made))
            return
        except LlmosError as error:
            log.warning("the dream ended early: %s", error)
            self.error = str(error)
        except Exception as error:
            log.exception("the dream ended early")
            self.error = f"It ended early by a mistake of llmos's own: {error!r}."
        self._done = news  # not again and again


def _plugged_in() -> bool:
    """Whether the machine may be kept awake: it has no battery, or is charging."""
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, NotImplementedError):  # not on every system
        return True
    return battery is None or battery.power_plugged is not False
