"""How many threads compute, by what steps really cost.

llama.cpp's threads spin at every barrier. When another program takes a core, two spinning threads
on two cores run at a quarter of the speed of one, so the best count depends on what else the
machine is doing, and nobody tells us. The governor compares: now and then, and at once when steps
become slow or the threads did not get the processor time they asked for, it runs a few steps at a
neighbouring count and keeps the faster one.

Only steps of the same kind are compared: decode steps of one number of sequences with each other,
prefill by its cost a token. Prefill only ever looks for fewer threads (its steps are long, and a
wrong guess is dear); decode looks both ways.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from llmos import limits

__all__ = ["ThreadGovernor"]

_RECENT = 12  # steps the present count is judged by
_STARVED = 2  # starved steps in a row that call for a probe
_PREFILL_PROBE = 2  # prefill steps measured at the other count
_SLOW = 1.5  # a median this many times the best seen calls for a probe at once


class ThreadGovernor:
    """Chooses a thread count.

    Args:
        counts: The counts to choose from, in order; the last one is where it starts.
    """

    def __init__(self, counts: list[int]) -> None:
        self.counts = sorted(set(counts))
        self.switches = 0
        self._at = len(self.counts) - 1
        self._rows = 0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._best = float("inf")
        self._probe: list[float] | None = None
        self._probe_at = 0
        self._wait_s = limits.THREAD_PROBE_MIN_S
        self._due = 0.0
        self._left = self._at  # the count in use before the present one
        self._up = False
        self._starved = 0

    @classmethod
    def for_cores(cls, cores: int) -> ThreadGovernor:
        """The usual ladder: all cores, one less, half, one."""
        return cls([n for n in (cores, cores - 1, (cores + 1) // 2, 1) if n >= 1])

    @property
    def threads(self) -> int:
        """The count for the next step."""
        return self.counts[self._probe_at if self._probe is not None else self._at]

    def learn(self, rows: int, seconds: float, now: float, *, starved: bool = False) -> None:
        """Take a step into account.

        Args:
            rows: Sequences decoded, or 0 for prefill.
            seconds: What it took; of prefill, a token.
            now: ``time.monotonic()``.
            starved: The threads got much less processor time than they asked for.
        """
        if len(self.counts) < 2:
            return
        if rows != self._rows:
            self._rows = rows
            self._recent.clear()
            self._best = float("inf")
            self._probe = None
            self._starved = 0
        if self._probe is not None:
            self._probe.append(seconds)
            if len(self._probe) >= (limits.THREAD_PROBE_STEPS if rows else _PREFILL_PROBE):
                self._decide(now)
            return
        self._recent.append(seconds)
        self._starved = self._starved + 1 if starved else 0
        if self._starved >= _STARVED and self._at > 0 and now >= self._due:
            self._begin_probe(down=True)
            return
        if not rows:
            return
        if len(self._recent) < _RECENT // 3:
            return
        typical = median(self._recent)
        if len(self._recent) == _RECENT:
            self._best = min(self._best, typical)
        slow = typical > _SLOW * self._best
        if (now >= self._due and len(self._recent) == _RECENT) or slow:
            self._best = typical if slow else self._best
            self._begin_probe()

    def _begin_probe(self, *, down: bool = False) -> None:
        """Try the neighbour below and the one above in turn."""
        self._starved = 0
        self._up = not down and not self._up
        steps = (1, -1) if self._up else (-1, 1)
        self._probe_at = next(
            self._at + step for step in steps if 0 <= self._at + step < len(self.counts)
        )
        self._probe = []

    def _decide(self, now: float) -> None:
        assert self._probe is not None
        tried = median(self._probe[1:])  # the first step wakes threads up or puts them to sleep
        self._probe = None
        better = tried * limits.THREAD_SWITCH_GAIN < median(self._recent)
        if better and self._probe_at != self._left:
            self._wait_s = limits.THREAD_PROBE_MIN_S
        else:  # back to the count it came from: perhaps noise, so look ever less often
            self._wait_s = min(2 * self._wait_s, limits.THREAD_PROBE_MAX_S)
        if better:
            self._left, self._at = self._at, self._probe_at
            self.switches += 1
            self._recent.clear()
            self._best = tried
        self._due = now + self._wait_s
