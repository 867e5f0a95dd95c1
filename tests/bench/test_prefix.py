"""Reuse, computed exactly from what went in and came out."""

from __future__ import annotations

from llmos.bench.local import Recorded, StepClock, _Watched
from llmos.bench.prefix import reuse, seen_before
from llmos.events import Usage


def record(prompt, reply, cached):
    return Recorded(tuple(prompt), tuple(prompt) + tuple(reply), Usage(cached_tokens=cached))


def test_seen_before_is_the_longest_prefix_of_any_earlier_one():
    assert seen_before([1, 2, 3, 4], [[1, 9], [1, 2, 3], [2, 3, 4]]) == 3
    assert seen_before([1, 2], [[1, 2, 3]]) == 2
    assert seen_before([1], []) == 0


def test_the_reply_counts_as_seen_and_what_was_computed_again_as_not_reused():
    records = [record([1, 2], [3, 4], 0), record([1, 2, 3, 4, 5], [6], 3)]
    assert reuse(records) == (3, 4)


def test_the_very_same_prompt_again_was_seen_whole():
    assert reuse([record([1, 2, 3], [], 0), record([1, 2, 3], [], 2)]) == (2, 3)


def test_a_generation_without_counts_reused_nothing():
    again = Recorded((1, 2), (), None)
    assert reuse([record([1, 2], [3], 0), again]) == (0, 2)


def test_a_generation_that_is_cut_short_tells_its_counts_all_the_same():
    class Sequence:
        tokens = (1, 2, 9)

        @staticmethod
        def usage(now: float) -> Usage:
            return Usage(prompt_tokens=2, cached_tokens=1, completion_tokens=1)

    class Cut:
        sequence = Sequence()
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    inner, kept = Cut(), Recorded((1, 2))
    _Watched(inner, kept).cancel()
    assert (inner.cancelled, kept.tokens, kept.usage.cached_tokens) == (True, (1, 2, 9), 1)


class _Engine:
    class runtime:
        @staticmethod
        def decode(runs):
            return list(runs)

    class admission:
        @staticmethod
        def retire(sequence):
            return None


def test_time_beyond_the_running_step_leaves_only_that_step_out():
    clock = StepClock(_Engine)
    clock.steps = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert clock.beyond_step(1.5, 2.25) == 0.25
    assert clock.beyond_step(1.5, 3.0) == 1.0, "a step after the running one is not excused"
    assert clock.beyond_step(5.0, 5.5) == 0.5, "no step ran"
    assert clock.beyond_step(1.5, 1.75) == 0.0, "done before the step ended"


def test_a_step_clock_notes_steps_and_departures():
    clock = StepClock(_Engine)
    assert _Engine.runtime.decode([1]) == [1]
    _Engine.admission.retire(None)
    assert len(clock.steps) == len(clock.left) == 1
