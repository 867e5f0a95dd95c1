"""Reminders of processes: kept on disk, and each process woken when its own are due.

A reminder is taken away only once its process was woken, so that none is lost to a crash; after one
at the wrong instant it comes twice. The clock is looked at every half minute: a machine that slept,
or whose clock was set, is late by no more than that. What was due while no kernel ran comes when
one starts. What waking means, and what becomes of the text, is up to whoever gives ``due``.

Whoever is lent a process's reminders sees those, or all of the person's: which of the two, and how
conversations are titled, it does not know but is told.

Methods may be called from any thread and any event loop; ``due`` runs in the loop of ``start``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from llmos import limits, paths
from llmos.errors import KernelError, NoSuchProcess, NoSuchReminder, ProcessEnded
from llmos.memory.fields import Fields
from llmos.sdk import ToolError
from llmos.services import Timer
from llmos.threads import in_thread

__all__ = ["ProcessTimers", "Timers"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A reminder and the process it belongs to."""

    pid: int
    timer: Timer


class Timers:
    """The reminders of all processes.

    Args:
        file: Where they are kept.
        due: Wakes a process with its reminder. Where the process is gone for good it raises
            ``NoSuchProcess`` or ``ProcessEnded``; after anything else it is tried again.
        title: Of a conversation, by its process; empty where it has none.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        file: Path,
        due: Callable[[int, Timer], Awaitable[None]],
        *,
        title: Callable[[int], str] = lambda pid: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._due = due
        self._title = title
        self._clock = clock
        self._lock = threading.Lock()  # of whoever changes the next two, and the file
        self._kept: dict[str, _Kept] = {}  # replaced, never changed: it is read without the lock
        self._next = 1
        self._later: dict[str, float] = {}  # not before then: waking it failed; the loop's own
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read what is kept, and wake who is due from now on."""
        kept, following = await in_thread(_read, self._file)
        with self._lock:
            self._kept, self._next = kept, following
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._watch(), name="timers")

    async def close(self) -> None:
        """Wake nobody any more; what is kept stays kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._task = self._loop = None

    def of(self, pid: int, *, every: bool = False) -> ProcessTimers:
        """The reminders of one process, as a tool is lent them.

        Args:
            pid: The process.
            every: Those of the other processes can be seen and cancelled, too.
        """
        return ProcessTimers(self, pid, every=every)

    def all(self) -> Sequence[Timer]:
        """The reminders of all processes with whom they wake, the next one first."""
        kept = sorted(self._kept.values(), key=_order)
        return [replace(each.timer, pid=each.pid, title=self._title(each.pid)) for each in kept]

    def take(self, id: str) -> Timer:
        """Take back a reminder, of whatever process.

        Raises:
            NoSuchReminder: There is none of that id.
            KernelError: That cannot be kept.
        """
        with self._lock:
            kept = self._kept.get(id)
            if kept is None:
                raise NoSuchReminder(_absent(self._kept))
            self._save({other: each for other, each in self._kept.items() if other != id})
        return replace(kept.timer, pid=kept.pid, title=self._title(kept.pid))

    def forget(self, pid: int) -> None:
        """Take back all reminders of a process that has ended."""
        with self._lock:
            gone = [id for id, each in self._kept.items() if each.pid == pid]
            if gone:
                self._save({id: each for id, each in self._kept.items() if id not in gone})

    def without(self, texts: Iterable[str]) -> None:
        """Take back all reminders that hold one of ``texts``, whatever its case."""
        wanted = [text.casefold() for text in texts]
        with self._lock:
            kept = {
                id: each
                for id, each in self._kept.items()
                if not any(text in each.timer.text.casefold() for text in wanted)
            }
            if len(kept) < len(self._kept):
                self._save(kept)

    # --- for one process ------------------------------------------------------------------------

    def set(self, pid: int, due: float, text: str) -> Timer:
        """See ``services.Timers``."""
        now = self._clock()
        if not math.isfinite(due) or due > now + limits.TIMER_DAYS * 86400:
            raise ToolError(
                "That is too far ahead for a reminder.",
                f"Give a moment within the next {limits.TIMER_DAYS} days.",
            )
        if due <= now:
            raise ToolError("That moment has passed.", "Give one that is still to come.")
        if len(text) > limits.TIMER_CHARS:
            raise ToolError("The text of the reminder is too long.", "Say it in fewer words.")
        with self._lock:
            own = sum(each.pid == pid for each in self._kept.values())
            if own >= limits.TIMERS_PROCESS or len(self._kept) >= limits.TIMERS_MAX:
                raise ToolError("There are too many reminders already.", "Cancel one first.")
            timer = Timer(f"t{self._next}", float(due), text)
            self._next += 1
            self._save({**self._kept, timer.id: _Kept(pid, timer)})
        self._look()
        return timer

    def list(self, pid: int) -> Sequence[Timer]:
        """See ``services.Timers``: those of one process."""
        own = [each for each in self._kept.values() if each.pid == pid]
        return [each.timer for each in sorted(own, key=_order)]

    def cancel(self, pid: int, id: str) -> Timer:
        """See ``services.Timers``: one of one process."""
        with self._lock:
            kept = self._kept.get(id)
            if kept is None or kept.pid != pid:
                own = (other for other, each in self._kept.items() if each.pid == pid)
                raise NoSuchReminder(_absent(own))
            self._save({other: each for other, each in self._kept.items() if other != id})
        return kept.timer

    # --- waking ---------------------------------------------------------------------------------

    def _look(self) -> None:
        """Have the clock looked at now, from whatever thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._changed.set)

    async def _watch(self) -> None:
        while True:
            self._changed.clear()
            for kept in self._ready():
                await self._wake(kept)
            try:
                async with asyncio.timeout(self._rest()):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _ready(self) -> Sequence[_Kept]:
        now = self._clock()
        late = [each for each in self._kept.values() if self._from(each) <= now]
        return sorted(late, key=lambda each: each.timer.due)

    def _rest(self) -> float:
        """Seconds until the clock is looked at again."""
        first = min((self._from(each) for each in self._kept.values()), default=math.inf)
        return min(max(0.0, first - self._clock()), limits.TIMER_LOOK_S)

    def _from(self, kept: _Kept) -> float:
        return max(kept.timer.due, self._later.get(kept.timer.id, 0.0))

    async def _wake(self, kept: _Kept) -> None:
        id = kept.timer.id
        try:
            await self._due(kept.pid, kept.timer)
        except (NoSuchProcess, ProcessEnded):
            log.info("reminder %s was for process %d, which is gone", id, kept.pid)
        except Exception as error:
            log.warning("process %d could not be woken for %s", kept.pid, id, exc_info=error)
            self._later[id] = self._clock() + limits.TIMER_AGAIN_S
            return
        self._later.pop(id, None)
        await in_thread(self._rang, id)

    def _rang(self, id: str) -> None:
        """Keep that a reminder is done."""
        with self._lock:
            left = {other: each for other, each in self._kept.items() if other != id}
            try:
                self._save(left)
            except KernelError as error:
                log.warning("%s is done and comes again after a restart: %s", id, error)
                self._kept = left

    def _save(self, kept: dict[str, _Kept]) -> None:
        """Write what is to be kept, then keep it; the lock is held."""
        rows = [
            {"id": id, "pid": each.pid, "due": each.timer.due, "text": each.timer.text}
            for id, each in kept.items()
        ]
        try:
            paths.private_dir(self._file.parent)
            paths.atomic_write(self._file, json.dumps({"next": self._next, "timers": rows}))
        except OSError as error:
            raise KernelError(
                f"The reminder cannot be kept: {error.strerror or error}.",
                remedy="Free some space.",
            ) from error
        self._kept = kept


class ProcessTimers:
    """``services.Timers`` for one process.

    Args:
        timers: Of all processes.
        pid: The process.
        every: Those of the other processes can be seen and cancelled, too.
    """

    def __init__(self, timers: Timers, pid: int, *, every: bool = False) -> None:
        self._timers = timers
        self._pid = pid
        self._every = every

    async def set(self, due: float, text: str) -> Timer:
        """Be woken at ``due`` (seconds since the epoch)."""
        return await in_thread(self._told, self._timers.set, self._pid, due, text)

    async def list(self) -> Sequence[Timer]:
        """Those that are still to come: of this conversation first, and the next one first."""
        own = self._timers.list(self._pid)
        if not self._every:
            return own
        return [*own, *(each for each in self._timers.all() if each.pid != self._pid)]

    async def cancel(self, id: str) -> Timer:
        """Take one back that ``list`` gives."""
        if self._every:
            return await in_thread(self._told, self._timers.take, id)
        return await in_thread(self._told, self._timers.cancel, self._pid, id)

    def _told(self, method: Callable[..., Timer], *values: Any) -> Timer:
        try:
            return method(*values)
        except KernelError as error:
            raise ToolError(error.sentence, error.remedy) from error


def _order(kept: _Kept) -> tuple[float, int, str]:
    """The next one first; of two at one moment, the one that was set first."""
    return kept.timer.due, len(kept.timer.id), kept.timer.id


def _absent(ids: Iterable[str]) -> str:
    """That there is no such reminder, and which there are."""
    known = sorted(ids, key=lambda id: (len(id), id))
    if not known:
        return "There are no reminders."
    more = ", …" if len(known) > limits.TIMERS_NAMED else ""
    named = ", ".join(known[: limits.TIMERS_NAMED])
    return f"There is no such reminder. There are: {named}{more}."


def _read(file: Path) -> tuple[dict[str, _Kept], int]:
    """What is kept. A file that cannot be understood is put aside, and nothing is kept."""

    def wrong(sentence: str) -> NoReturn:
        raise ValueError(sentence)

    try:
        data: Any = json.loads(file.read_bytes())
        whole = Fields(data if isinstance(data, dict) else {}, wrong)
        rows, following = whole.data.get("timers"), whole.integer("next")
        if not isinstance(rows, list) or len(rows) > limits.TIMERS_MAX:
            wrong("“timers” is no list of reminders")
        kept = {}
        for row in rows:
            said = Fields(row if isinstance(row, dict) else {}, wrong)
            text = said.text("text", limits.TIMER_CHARS)
            timer = Timer(said.text("id", 20), said.moment("due"), text)
            kept[timer.id] = _Kept(said.integer("pid"), timer)
        return kept, max(1, following)
    except FileNotFoundError:
        return {}, 1
    except (OSError, ValueError, RecursionError) as error:
        asides = (file.with_name(f"{file.name}.broken{n}") for n in ("", *map(str, range(2, 100))))
        aside = next((each for each in asides if not each.exists()), file)
        log.error("the reminders in %s cannot be read and are put aside: %s", file, error)
        try:
            os.replace(file, aside)
        except OSError:
            pass  # what is written next replaces it
        return {}, 1
