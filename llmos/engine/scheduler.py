"""Who is in the next batch.

Decode goes first, then prefill fills the batch, shortest first, up to a chunk that is sized so that
a step stays near its target while anybody waits. Between steps a stronger priority preempts a
weaker one altogether; a sequence passed over for longer than its class's patience gets into one
step, so nothing starves.

Knows sequences and the time steps took; it never touches cells or the runtime. Admission (who
gets a slot and cells) is ``admission.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmos import limits
from llmos.engine.backend import Priority
from llmos.engine.sequence import Sequence

__all__ = ["Planned", "Scheduler", "prefill_tokens"]

_SMOOTHING = 0.25  # weight of the newest step in the moving averages


@dataclass(frozen=True, slots=True)
class Planned:
    """``count`` tokens of ``sequence`` go into the next step."""

    sequence: Sequence
    count: int


def prefill_tokens(planned: Iterable[Planned]) -> int:
    """Tokens of prefill in a step; a single one costs what a decoded one does, and is none."""
    return sum(p.count for p in planned if p.count > 1)


class Scheduler:
    """Plans steps and learns from their times.

    Args:
        batch: Most tokens a step may hold.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._ms_per_prefill_token = 3.0
        self._decode_ms = 10.0

    def plan(self, running: Iterable[Sequence], waiting: bool, now: float) -> list[Planned]:
        """The next step.

        Args:
            running: Sequences that hold a slot and are not suspended.
            waiting: Whether another sequence waits for admission.
            now: ``time.monotonic()``.

        Returns:
            What to decode, empty when nothing runs.
        """
        ready = [s for s in running if s.todo and not s.suspended]
        if not ready:
            return []
        top = min(s.boost for s in ready)
        chosen = [s for s in ready if s.boost == top]
        aged = [
            s for s in ready if s.boost != top and now - s.last_step > limits.PATIENCE_S[s.boost]
        ]
        decoding = [s for s in chosen + aged if not s.prefilling][: self.batch]
        planned = [Planned(s, 1) for s in decoding]
        others = waiting or len(ready) > 1
        room = min(self.batch - len(planned), self._chunk(len(planned), top, others))
        planned += self._prefill([s for s in chosen if s.prefilling], room)
        late = [s for s in aged if s.prefilling]
        if late:  # one gets in, and delays its betters as little as it can
            longest = min(late, key=lambda s: s.last_step)
            room = self.batch - sum(p.count for p in planned)
            count = min(longest.todo, room, limits.PREFILL_CHUNK_MIN)
            planned += [Planned(longest, count)] if count else []
        return planned

    def _prefill(self, sequences: list[Sequence], room: int) -> list[Planned]:
        """Share out a chunk: the shortest first, so that a short question need not wait for a long
        text of the same class, but the oldest always gets a little, so that it gets on.
        """
        if not sequences or room <= 0:
            return []
        oldest = min(sequences, key=lambda s: s.submitted)
        sure = min(oldest.todo, room, limits.PREFILL_CHUNK_MIN)
        counts, room = {oldest: sure}, room - sure
        for s in sorted(sequences, key=lambda s: (s.todo, s.submitted)):
            count = min(s.todo - counts.get(s, 0), room)
            if count > 0:
                counts[s] = counts.get(s, 0) + count
                room -= count
        return [Planned(s, count) for s, count in counts.items()]

    def learn(self, planned: list[Planned], seconds: float) -> None:
        """Take the time a step took into account."""
        ms = seconds * 1000
        prefilled = prefill_tokens(planned)
        decoded = sum(1 for p in planned if p.count == 1)
        if prefilled >= limits.PREFILL_CHUNK_MIN:
            share = max(ms - (self._decode_ms if decoded else 0.0), 0.1) / prefilled
            self._ms_per_prefill_token += _SMOOTHING * (share - self._ms_per_prefill_token)
        elif decoded and not prefilled:
            self._decode_ms += _SMOOTHING * (ms - self._decode_ms)

    def _chunk(self, decoding: int, top: Priority, others: bool) -> int:
        """Tokens of prefill that keep the step near its target."""
        if top == Priority.IDLE:
            target = limits.STEP_TARGET_IDLE_MS
        elif others:
            target = limits.STEP_TARGET_MS
        else:
            target = limits.STEP_TARGET_ALONE_MS
        room_ms = target - (self._decode_ms if decoding else 0.0)
        tokens = int(room_ms / self._ms_per_prefill_token)
        return max(tokens, limits.PREFILL_CHUNK_MIN)
