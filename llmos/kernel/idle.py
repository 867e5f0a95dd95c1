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
from llmos.kernel.dreaming import DreamState

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
        self._lock = asyncio.Lock()  # one dream at a time
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
        async with self._lock:
            await self._woken()
            self._task = asyncio.create_task(self._run(True), name="dream")

    async def wake(self) -> None:
        """Stop, and return when it has."""
        async with self._lock:
            await self._woken()

    async def _woken(self) -> None:
        self.touch()
        if self._task is not None:
            await asyncio.wait({self._task})

    def clear(self) -> None:
        """Tell no more what the last dream made: some of it is gone."""
        self._dream.clear()

    async def close(self) -> None:
        """Stop for good."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await self.wake()

    async def _wait(self) -> None:
        while True:
            left = self._seconds
            try:
                left = await self._look()
            except Exception:
                log.exception("whether it is time to dream")
            await asyncio.sleep(max(left, limits.DREAM_WAIT_S))

    async def _look(self) -> float:
        """Dream, if it is time; returns the seconds until it may be."""
        if self._busy():
            self._touched = time.monotonic()
            return self._seconds
        left = self._touched + self._seconds - time.monotonic()
        if left > 0 or self.dreaming or self._news() == self._done or not _plugged_in():
            return left
        async with self._lock:
            task = self._task = asyncio.create_task(self._run(self._write), name="dream")
        await asyncio.wait({task})
        return self._seconds

    async def _run(self, write: bool) -> None:
        news, self.error = self._news(), ""
        try:
            state = await self._dream.run(write=write)
            # What it wrote itself is no news.
            self._done = -1 if state.left else self._news()
            log.info("dreamed: %d things made", len(state.made))
            return
        except asyncio.CancelledError:
            self.error = "It was stopped, since somebody did something."
            raise
        except LlmosError as error:
            log.warning("the dream ended early: %s", error)
            self.error = str(error)
        except Exception:
            log.exception("the dream ended early")
            self.error = "It ended early by a mistake of llmos's own; the log says more."
        self._done = news  # not again and again


def _plugged_in() -> bool:
    """Whether the machine may be kept awake: it has no battery, or is charging."""
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, NotImplementedError):  # not on every system
        return True
    return battery is None or battery.power_plugged is not False
