"""How many threads compute, by what steps really cost.

llama.cpp's threads spin at every barrier. When another program takes a core, two spinning threads
on two cores run at a quarter of the speed of one, so the best count depends on what else the
machine is doing, and nobody tells us. The governor asks the machine: when the threads do not get
the processor time they ask for, or steps become slow, it tries fewer; when cores lie idle beside
them, it tries more; and once a minute it tries a neighbour without a reason. To try is to run a few
steps at the other count, and the better one stays: a trial costs more than most noise gains, so it
needs a reason, or to be rare, and a clear result.

Only steps of the same kind are compared, and only they are tried at another count: decode steps of
one number of sequences with each other, prefill by its cost a token (its steps are long, and a
wrong guess is dear: it only ever gives cores away). A trial of decode steps goes on behind a
prefill that comes between, so that replies of a few tokens are judged, too.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from llmos import limits

__all__ = ["SpareCores", "ThreadGovernor"]

_RECENT = 12  # steps the present count is judged by
_STARVED = 2  # starved steps in a row that call for a trial
_PREFILL_TRIAL = 2  # prefill steps measured at the other count
_SLOW = 1.5  # a median this many times the usual one calls for a trial at once
_STALE_S = 5.0  # what was measured longer ago says nothing of now
_DRIFT = 0.05  # weight of the newest median in the usual one


class SpareCores:
    """How many cores were idle since the last call, by the system's own count."""

    def __init__(self) -> None:
        self._at, self._idle = time.monotonic(), self._read()

    def __call__(self) -> float:
        now, idle = time.monotonic(), self._read()
        spare = (idle - self._idle) / max(now - self._at, 1e-3)
        self._at, self._idle = now, idle
        return spare

    @staticmethod
    def _read() -> float:
        import psutil

        times = psutil.cpu_times()
        return float(times.idle + getattr(times, "iowait", 0.0))


@dataclass
class _Kind:
    """Steps of one number of rows. ``usual``: their median, slowly followed."""

    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    usual: float = 0.0
    seen: float = 0.0


@dataclass
class _Trial:
    """``steps`` steps of ``rows`` rows at another count, which must be ``factor`` times better."""

    rows: int
    at: int
    steps: int
    factor: float
    times: list[float] = field(default_factory=list)


class ThreadGovernor:
    """Chooses a thread count.

    Args:
        counts: The counts to choose from; the highest is where it starts.
        spare: Idle cores since it was last called.
    """

    def __init__(self, counts: list[int], spare: Callable[[], float] = lambda: 0.0) -> None:
        self.counts = sorted(set(counts))
        self.switches = 0
        self._spare = spare
        self._at = len(self.counts) - 1
        self._rows = 0
        self._kind = _Kind()  # of the last step
        self._kinds = {self._rows: self._kind}
        self._trial: _Trial | None = None
        self._wait_s = limits.THREAD_PROBE_MIN_S
        self._due = 0.0
        self._routine = 0.0
        self._up = False  # where the last routine trial went
        self._starved = 0
        self._seen = 0.0  # the last step
        self._looked = 0.0  # the last look at the spare cores

    @classmethod
    def for_cores(cls, cores: int) -> ThreadGovernor:
        """The usual ladder: all cores, one less, half, one."""
        counts = [n for n in (cores, cores - 1, (cores + 1) // 2, 1) if n >= 1]
        return cls(counts, SpareCores())

    @property
    def threads(self) -> int:
        """The count that has proved best."""
        return self.counts[self._at]

    def threads_for(self, rows: int) -> int:
        """The count for the next step: the best, or one that is tried on steps like it.

        Args:
            rows: As in ``learn``.
        """
        trial = self._trial
        return self.counts[trial.at if trial is not None and trial.rows == rows else self._at]

    def learn(self, rows: int, seconds: float, now: float, *, lost: float = 0.0) -> None:
        """Take a step into account.

        Args:
            rows: Sequences decoded, or 0 for prefill.
            seconds: What it took; of prefill, a token.
            now: ``time.monotonic()``.
            lost: Cores that the process's threads asked for and did not get.
        """
        if len(self.counts) < 2:
            return
        if rows != self._rows:
            self._rows = rows
            self._kind = self._kinds.setdefault(rows, _Kind())
        if now - self._kind.seen > _STALE_S:
            self._kind.recent.clear()
        if self._trial is not None and self._given_up(self._trial, now):
            self._trial = None
        self._kind.seen = now
        if not self._seen:
            self._routine = now + limits.THREAD_ROUTINE_S
        rested, self._seen = now - self._seen > limits.THREAD_LOOK_S, now
        if rested:  # what was idle meanwhile says nothing
            self._look(now)
        if self._trial is not None and self._trial.rows == rows:
            self._trial.times.append(seconds)
            if len(self._trial.times) == self._trial.steps:
                self._decide(now)
            return
        self._kind.recent.append(seconds)
        self._starved = self._starved + 1 if lost >= limits.STARVED_CORES else 0
        if self._trial is None:
            self._trial = self._reason(now)

    def _given_up(self, trial: _Trial, now: float) -> bool:
        """Whether a step came that ends a trial: of another number of sequences, or too late."""
        other = trial.rows != self._rows and (self._rows > 0 or not trial.rows)
        return other or now - self._kinds[trial.rows].seen > _STALE_S

    def _reason(self, now: float) -> _Trial | None:
        """A trial, if there is a reason for one."""
        fewer, more = self._at > 0, self._at + 1 < len(self.counts)
        starved = self._starved >= _STARVED
        if not self._rows:
            if starved and fewer and now >= self._due:
                return self._try(-1, _PREFILL_TRIAL)
            return None
        kind = self._kind
        if len(kind.recent) < _RECENT // 3:
            return None
        typical = median(kind.recent)
        full = len(kind.recent) == _RECENT
        slow = full and kind.usual > 0 and typical > _SLOW * kind.usual
        if full:
            drift = _DRIFT * (typical - kind.usual)
            kind.usual = typical if slow or not kind.usual else kind.usual + drift
        if fewer and (slow or (starved and now >= self._due)):
            return self._try(-1, limits.THREAD_PROBE_STEPS)
        may_look = now >= self._due and now - self._looked >= limits.THREAD_LOOK_S
        if more and may_look and self._look(now) >= limits.SPARE_CORES:
            return self._try(+1, _RECENT, limits.THREAD_SPARE_LOSS)
        if now >= self._routine and full:
            self._up = more and not (self._up and fewer)
            return self._try(+1 if self._up else -1, _RECENT)
        return None

    def _look(self, now: float) -> float:
        self._looked = now
        return self._spare()

    def _try(self, by: int, steps: int, factor: float = limits.THREAD_SWITCH_GAIN) -> _Trial:
        self._starved = 0
        return _Trial(self._rows, self._at + by, steps, factor)

    def _decide(self, now: float) -> None:
        trial, self._trial = self._trial, None
        assert trial is not None
        tried = median(trial.times[1:])  # the first step wakes threads up or puts them to sleep
        if tried * trial.factor < median(self._kind.recent):
            self._at = trial.at
            self.switches += 1
            self._wait_s = limits.THREAD_PROBE_MIN_S
            self._kinds.clear()  # they were measured at the other count
            self._kind = self._kinds[self._rows] = _Kind(usual=tried, seen=now)
        else:
            self._wait_s = min(2 * self._wait_s, limits.THREAD_PROBE_MAX_S)
        self._due = now + self._wait_s
        self._routine = now + limits.THREAD_ROUTINE_S
