"""The governor on simulated step times: it follows the machine and does not wander."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from llmos.engine.threads import SpareCores, ThreadGovernor


class Machine:
    """Steps take what ``cost`` says for a thread count, with noise; time is simulated.

    Args:
        counts: Of threads; the highest is the number of cores.
        neighbours: Cores that others want.
    """

    def __init__(self, counts: list[int], noise: float = 0.05, neighbours: float = 0.0) -> None:
        self.governor = ThreadGovernor(counts, self.spare)
        self.neighbours = neighbours
        self.now = 0.0
        self._random = random.Random(7)
        self._noise = noise

    def run(
        self,
        seconds: float,
        cost: Callable[[int], float],
        rows: int = 1,
        neighbours: float | None = None,
    ) -> dict[int, float]:
        """Returns the share of time spent at each thread count."""
        if neighbours is not None:
            self.neighbours = neighbours
        until, spent = self.now + seconds, dict.fromkeys(self.governor.counts, 0.0)
        while self.now < until:
            threads = self.governor.threads_for(rows)
            step = cost(threads) * (1 + self._random.uniform(-1, 1) * self._noise)
            self.now += step
            spent[threads] += step
            self.governor.learn(rows, step, self.now, lost=self.lost(threads))
        return {count: part / seconds for count, part in spent.items()}

    def lost(self, threads: int) -> float:
        """Cores that ``threads`` threads do not get; a core with two on it is shared fairly."""
        return max(0.0, threads + self.neighbours - self.governor.counts[-1]) / 2

    def spare(self) -> float:
        return max(0.0, self.governor.counts[-1] - self.neighbours - self.governor.threads)


def alone(threads: int) -> float:
    return {1: 0.0125, 2: 0.0083}[threads]


def beside_another(threads: int) -> float:
    return {1: 0.0130, 2: 0.0330}[threads]


def test_an_idle_machine_uses_every_core():
    machine = Machine([1, 2])
    assert machine.run(60, alone)[2] > 0.95
    assert machine.governor.switches == 0


def test_a_busy_neighbour_is_given_a_core_within_a_second_and_it_is_taken_back():
    machine = Machine([1, 2])
    machine.run(30, alone)
    machine.run(1, beside_another, neighbours=1)
    assert machine.run(30, beside_another)[1] > 0.9
    machine.run(1, alone, neighbours=0)
    assert machine.run(30, alone)[2] > 0.9


def test_equal_counts_are_hardly_ever_exchanged():
    for noise, most in ((0.05, 0), (0.3, 30)):
        machine = Machine([1, 2, 3, 4], noise=noise)
        machine.run(300, lambda threads: 0.01)
        assert machine.governor.switches <= most


def test_a_neighbour_that_comes_and_goes_costs_a_tenth_at_most():
    machine = Machine([1, 2], noise=0.1)
    steps = 0.0
    for _ in range(20):
        for neighbours, cost in enumerate((alone, beside_another)):
            before = machine.now
            spent = machine.run(5, cost, neighbours=neighbours)
            best = min(cost(1), cost(2))
            steps += sum(share * best / cost(count) for count, share in spent.items())
            assert machine.now > before
    assert steps / 40 > 0.9


def test_many_cores_find_the_count_in_between():
    costs = {1: 0.04, 4: 0.02, 7: 0.012, 8: 0.03}
    machine = Machine([1, 4, 7, 8], neighbours=1)
    machine.run(20, lambda threads: costs[threads])
    assert machine.run(60, lambda threads: costs[threads])[7] > 0.85


def test_one_core_leaves_nothing_to_choose():
    governor = ThreadGovernor.for_cores(1)
    for step in range(100):
        governor.learn(1, 0.01, float(step))
    assert (governor.counts, governor.threads, governor.switches) == ([1], 1, 0)


def test_steps_of_different_sizes_are_not_compared():
    governor = ThreadGovernor([1, 2])
    for step in range(400):
        rows = 1 + step % 8
        governor.learn(rows, 0.01 * rows, step * 0.05)
    assert governor.switches == 0
    assert governor.threads == 2


def short_turns(machine: Machine, count: int, cost: Callable[[int], float]) -> list[int]:
    """Turns of one prefill step and two of decoding each; the prefills' thread counts."""
    used = []
    for _ in range(count):
        for rows in (0, 1, 1):
            threads = machine.governor.threads_for(rows)
            step = cost(threads) * (1 if rows else 0.5)
            machine.now += 0.1
            machine.governor.learn(rows, step, machine.now, lost=machine.lost(threads))
            used += [] if rows else [threads]
    return used


def test_a_trial_of_decode_steps_never_slows_a_prefill_that_comes_between():
    machine = Machine([1, 2])
    assert set(short_turns(machine, 1000, alone)) == {2}


def test_short_turns_find_the_better_count_too():
    machine = Machine([1, 2])
    machine.run(5, beside_another, neighbours=1)
    assert machine.governor.threads == 1
    machine.neighbours = 0
    assert short_turns(machine, 300, alone)[-1] == 2


def test_a_starved_prefill_gives_a_core_away_after_a_few_chunks():
    machine = Machine([1, 2])
    spent = machine.run(3, beside_another, rows=0, neighbours=1)
    assert spent[1] > 0.9


def test_a_prefill_that_gets_its_cores_is_never_slowed_by_a_probe():
    machine = Machine([1, 2])
    machine.run(60, alone, rows=0)
    assert machine.governor.switches == 0
    assert machine.governor.threads == 2


def test_a_starved_count_that_is_still_the_best_is_kept_and_asked_ever_less_often():
    machine = Machine([1, 2])
    spent = machine.run(120, alone, rows=0, neighbours=1)
    assert spent[2] > 0.95


def test_steps_that_become_slow_are_looked_into_even_where_nothing_seems_to_be_lost():
    machine = Machine([1, 2])
    machine.run(30, alone)
    assert machine.run(5, beside_another)[1] > 0.8


def test_a_noisy_machine_with_idle_cores_keeps_them_busy():
    machine = Machine([1, 2], noise=0.4)
    spent = machine.run(300, lambda threads: {1: 0.009, 2: 0.0083}[threads])
    assert spent[2] > 0.9


def test_what_was_idle_while_nothing_ran_is_no_reason_for_more_threads():
    machine = Machine([1, 2])
    machine.run(5, beside_another, neighbours=1)
    asked: list[float] = []
    machine.governor._spare = lambda: asked.append(machine.now) or (5.0 if len(asked) == 1 else 0.0)
    machine.now += 100  # nobody asks for anything; both counts wait
    switches = machine.governor.switches
    machine.run(20, beside_another)
    assert machine.governor.threads == 1
    assert machine.governor.switches == switches
    assert len(asked) > 1


def test_the_system_s_count_of_idle_cores_is_read():
    spare = SpareCores()
    assert 0 <= spare() <= 2 * (os.cpu_count() or 1)
