"""Room for sequences: what is reused, who leaves, in what order, and that it always ends."""

from __future__ import annotations

import random
import time

import pytest

from llmos import limits
from llmos.engine.admission import Admission
from llmos.engine.backend import Priority, Run, SamplingParams
from llmos.engine.scripted import ScriptedRuntime
from llmos.engine.sequence import Sequence, State
from llmos.engine.swap import Snapshot
from llmos.errors import EngineError


class House:
    """An admission whose sequences are filled by hand."""

    def __init__(
        self,
        cells: int = 1000,
        slots: int = 4,
        resident: int = 10**6,
        swap: int = 10**6,
        files: Disk | None = None,
    ) -> None:
        self.runtime = ScriptedRuntime(window=cells, cells=cells, slots=slots)
        self.admission = Admission(self.runtime, resident, swap, files)

    def enter(
        self, tokens: list[int], priority: Priority = Priority.NORMAL, max_tokens: int = 10
    ) -> Sequence:
        params = SamplingParams(max_tokens=max_tokens)
        window = self.runtime.info.window
        sequence = Sequence(tokens, params, priority, window, lambda s, c: None)
        self.admission.enqueue(sequence)
        self.admission.admit(1.0)
        return sequence

    def fill(self, sequence: Sequence) -> Sequence:
        rest = sequence.tokens[sequence.filled :]
        self.admission.grow({sequence: len(rest)})
        self.runtime.decode([Run(sequence.slot, sequence.filled, rest, True)])
        self.admission.cells.append(sequence.slot, rest)
        sequence.filled = len(sequence.tokens)
        sequence.tokens.append(9)
        return sequence

    def leave(self, sequence: Sequence) -> None:
        self.admission.retire(sequence)
        self.admission.cells.check_integrity()


def text(seed: int, length: int) -> list[int]:
    return random.Random(seed).choices(range(256), k=length)


def test_a_finished_prompt_s_cells_are_taken_over_by_its_continuation():
    house = House()
    first = house.fill(house.enter(text(1, 100)))
    house.leave(first)
    second = house.enter([*first.tokens, *text(2, 20)])
    assert (second.filled, second.cached_tokens) == (100, 100)
    assert house.admission.cells.used == 100


def test_one_token_always_remains_to_be_decoded():
    house = House()
    first = house.fill(house.enter(text(1, 100)))
    assert house.enter(text(1, 100)).filled == 99
    house.leave(first)


def test_idle_cells_leave_before_any_sequence_does_and_come_back_from_swap():
    house = House(cells=300)
    old = house.fill(house.enter(text(1, 100)))
    house.leave(old)
    runs = house.fill(house.enter(text(2, 100)))
    house.fill(house.enter(text(3, 100)))
    assert runs.state is State.RUNNING
    assert house.admission.swapped_out == 1
    house.leave(runs)
    again = house.enter([*text(1, 100), 5])
    assert again.filled == 100
    assert house.admission.swapped_in == 1


def test_weaker_sequences_leave_youngest_first_and_equals_never():
    house = House(cells=330, slots=8)
    equal = house.fill(house.enter(text(1, 90), Priority.INTERACTIVE))
    old = house.fill(house.enter(text(2, 90), Priority.IDLE))
    young = house.fill(house.enter(text(3, 90), Priority.IDLE))
    strong = house.enter(text(4, 90), Priority.INTERACTIVE)
    assert (strong.state, equal.state, old.state) == (State.RUNNING,) * 3
    assert young.state is State.WAITING
    house.admission.cells.check_integrity()


def test_nobody_is_disturbed_where_it_would_not_help():
    house = House(cells=300)
    house.fill(house.enter(text(1, 200), Priority.INTERACTIVE))
    weak = house.fill(house.enter(text(2, 40), Priority.IDLE))
    big = house.enter(text(3, 200), Priority.INTERACTIVE)
    assert big.state is State.WAITING
    assert weak.state is State.RUNNING
    assert house.admission.preemptions == 0


def test_a_large_request_is_not_overtaken_for_ever_by_small_equals():
    house = House(cells=300)
    house.fill(house.enter(text(1, 200)))
    big = house.enter(text(2, 200))
    small = house.enter(text(3, 5))
    assert (big.state, small.state) == (State.WAITING, State.WAITING)


def test_a_step_that_does_not_fit_costs_the_weakest_its_place():
    house = House(cells=110, slots=8)
    one = house.fill(house.enter(text(1, 40), Priority.NORMAL, max_tokens=0))
    two = house.fill(house.enter(text(2, 40), Priority.NORMAL, max_tokens=0))
    three = house.fill(house.enter(text(3, 20), Priority.IDLE, max_tokens=0))
    assert house.admission.grow({one: 5, two: 5, three: 1}) == [three]
    two.suspended = True
    assert house.admission.grow({one: 40}) == []
    assert (one.state, two.state) == (State.RUNNING, State.WAITING)


def test_the_strongest_and_oldest_is_left_when_all_must_go():
    house = House(cells=128, slots=8)
    kept = [house.fill(house.enter(text(i, 30), max_tokens=0)) for i in range(4)]
    left = house.admission.grow(dict.fromkeys(kept, 60))
    assert left == kept[:0:-1]
    assert house.admission.running == kept[:1]


def test_forks_of_one_prompt_count_its_idle_cells_once():
    house = House(resident=150)
    parent = house.fill(house.enter(text(1, 100)))
    children = [
        Sequence(list(parent.tokens), parent.params, parent.priority, 1000, parent.deliver)
        for _ in range(3)
    ]
    assert all(house.admission.fork(parent, child, 1.0) for child in children)
    for sequence in (parent, *children):
        house.leave(sequence)
    house.admission.tidy(0.0)
    assert house.admission.idle_cells == 100
    while house.admission.settle():
        pass
    assert house.admission.idle_cells == 100
    assert house.admission.swapped_out == 0


def test_idle_cells_leave_once_the_steps_have_lost_what_saving_them_costs():
    house = House(resident=0)
    house.leave(house.fill(house.enter(text(1, 100))))
    house.enter(text(2, 10))
    price = limits.SAVE_S * 100
    step = price / (100 * limits.WASTED_CELL_COST) / 10  # ten such steps lose it
    for _ in range(9):
        house.admission.tidy(step)
        assert house.admission.idle_cells == 100
    house.admission.tidy(2 * step)
    house.admission.tidy(step)
    assert (house.admission.idle_cells, house.admission.swapped_out) == (0, 1)
    house.leave(house.admission.running[0])
    assert house.enter(text(1, 100)).cached_tokens == 99


def test_as_many_idle_cells_as_were_asked_for_cost_nothing():
    house = House(resident=100)
    house.leave(house.fill(house.enter(text(1, 100))))
    house.enter(text(2, 10))
    house.admission.tidy(1e9)
    assert (house.admission.idle_cells, house.admission.swapped_out) == (100, 0)


def test_at_rest_the_last_one_stays_with_a_copy_and_is_dropped_when_another_comes():
    house = House(resident=0)
    for seed in (1, 2, 3):
        house.leave(house.fill(house.enter(text(seed, 100))))
    saved = []
    house.runtime.save = lambda slot, save=house.runtime.save: saved.append(slot) or save(slot)
    while house.admission.settle():
        house.admission.cells.check_integrity()
    assert (house.admission.idle_cells, len(house.admission.swap)) == (100, 3)
    assert house.admission.cells.reach == 100  # it was moved to the front, too
    saved.clear()
    again = house.enter([*text(3, 100), 7])  # goes on where the last one stopped
    assert (again.filled, house.admission.swapped_in) == (100, 0)
    house.leave(again)
    other = house.enter(text(5, 10))
    assert house.admission.cells.used == 0  # dropped before the other's first step
    house.leave(house.fill(other))
    assert saved == []
    assert house.enter([*text(3, 100), 8]).filled == 100
    assert house.admission.swapped_in == 1


def test_what_has_a_copy_is_dropped_before_another_comes_back_into_its_cells():
    house = House(resident=0)
    away = house.fill(house.enter(text(1, 100)))
    house.leave(away)
    other = house.fill(house.enter(text(2, 120)))
    house.leave(other)
    while house.admission.settle():
        pass
    assert house.admission.cells.used == 120, "the last one stays, with a copy"
    used: list[int] = []
    restore = house.runtime.restore
    house.runtime.restore = lambda slot, state: (
        used.append(house.admission.cells.used) or restore(slot, state)
    )
    back = house.enter([*text(1, 100), 7, 8])
    assert back.filled == 100 and used == [0], "its cells begin where the other's did"


def test_what_is_expected_is_back_in_cells_before_it_comes():
    house = House(resident=0)
    house.leave(house.fill(house.enter(text(1, 100))))
    house.leave(house.fill(house.enter(text(2, 120))))
    while house.admission.settle():
        pass
    house.admission.expect([*text(1, 60), 300, 301])  # goes another way after 60 tokens
    house.admission.cells.check_integrity()
    assert (house.admission.swapped_in, house.admission.cells.used) == (1, 60)
    back = house.enter([*text(1, 60), 300, 301, 7])
    assert (back.filled, house.admission.swapped_in) == (60, 1), "not brought back again"
    assert house.admission.cells.used == 60, "and not copied"


def test_nobody_who_runs_leaves_for_what_is_only_expected():
    house = House(cells=300, resident=0)
    house.leave(house.fill(house.enter(text(1, 100))))
    runs = house.fill(house.enter(text(2, 250), max_tokens=5))
    house.admission.expect(text(1, 100))
    assert (house.admission.swapped_in, house.admission.preemptions) == (0, 0)
    assert runs.state is State.RUNNING
    house.admission.cells.check_integrity()


@pytest.mark.parametrize("known", [text(1, 10), text(7, 100), []])
def test_what_nothing_is_known_of_may_be_expected(known):
    house = House(resident=0)
    house.leave(house.fill(house.enter(text(1, 100))))
    house.admission.expect(known)
    assert house.admission.cells.used == 100
    house.admission.cells.check_integrity()


def test_where_no_copy_can_be_kept_rest_comes_all_the_same():
    house = House(resident=0, swap=0)
    house.leave(house.fill(house.enter(text(1, 100))))
    saved = []
    house.runtime.save = lambda slot: saved.append(slot) or b"state"
    assert not house.admission.settle()
    assert house.admission.idle_cells == 100
    assert saved == []  # it could not have been kept


@pytest.mark.parametrize("restores", [True, False])
def test_a_lone_survivor_behind_many_empty_cells_is_moved_to_the_front(restores):
    house = House(cells=5000, resident=0)
    crowd = house.fill(house.enter(text(1, 3000)))
    survivor = house.fill(house.enter(text(2, 100)))
    house.admission.drop(crowd)
    saved = []
    house.runtime.save = lambda slot, save=house.runtime.save: saved.append(slot) or save(slot)
    if not restores:
        house.runtime.restore = lambda slot, state: False
    house.admission.tidy(1e9)
    assert saved == [survivor.slot]
    assert survivor.state is State.RUNNING
    assert survivor.filled == house.admission.cells.used == (100 if restores else 0)
    house.admission.tidy(1e9)
    assert len(saved) == 1
    house.fill(survivor)
    house.admission.cells.check_integrity()


def test_what_is_forgotten_comes_from_nowhere():
    house = House()
    house.leave(house.fill(house.enter(text(1, 100))))
    house.admission.forget()
    assert house.admission.cells.used == 0
    assert house.enter(text(1, 100)).filled == 0


def test_a_snapshot_of_another_model_is_not_used():
    house = House(resident=0)
    house.leave(house.fill(house.enter(text(1, 100))))
    assert house.admission.settle()
    house.enter(text(2, 5))
    object.__setattr__(house.runtime.info, "fingerprint", "another")
    assert house.enter([*text(1, 100), 1]).filled == 0
    assert len(house.admission.swap) == 0


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_and_goes_the_books_are_in_order(seed):
    dice = random.Random(seed)
    house = House(cells=200, slots=4, resident=60, swap=dice.choice([0, 500, 10**6]))
    everybody: list[Sequence] = []
    for step in range(60):
        prompt = text(dice.randrange(3), dice.randrange(1, 60)) + text(step, dice.randrange(20))
        everybody.append(house.enter(prompt, dice.choice(list(Priority))))
        for sequence in list(house.admission.running):
            action = dice.random()
            if action < 0.4 and sequence.state is State.RUNNING:
                if not house.admission.grow({sequence: sequence.todo}):
                    house.fill(sequence)
            elif action < 0.7:
                house.leave(sequence)
            elif action < 0.8:
                sequence.suspended = not sequence.suspended
        house.admission.admit(2.0)
        house.admission.cells.check_integrity()
        awake = [s for s in house.admission.waiting if not s.suspended]
        assert house.admission.running or not awake


def test_admitting_stays_cheap_with_many_long_prompts_waiting():
    """No timing is asserted: the slots bound how many are looked at, whatever waits."""
    house = House(cells=70_000, slots=64)
    house.enter(text(0, 8000))
    looked_at = 0
    match = house.admission.cells.match

    def counting(*args, **options):
        nonlocal looked_at
        looked_at += 1
        return match(*args, **options)

    house.admission.cells.match = counting
    for i in range(300):
        waiting = Sequence(
            [*text(0, 7000), i % 256, *text(i, 50)],
            SamplingParams(),
            Priority.NORMAL,
            9000,
            lambda s, c: None,
        )
        house.admission.enqueue(waiting)
    began = time.monotonic()
    house.admission.admit(began)
    assert looked_at <= 64
    assert len(house.admission.waiting) == 300


@pytest.mark.parametrize("error", [EngineError("broken"), MemoryError()])
def test_a_snapshot_that_cannot_be_restored_is_computed_again(monkeypatch, error):
    house = House(resident=0)
    tokens = text(1, 100)
    house.leave(house.fill(house.enter(tokens)))
    house.leave(house.fill(house.enter(text(2, 100))))
    while house.admission.settle():
        pass
    assert len(house.admission.swap) == 2

    def restore(*_):
        raise error

    monkeypatch.setattr(house.runtime, "restore", restore)
    back = house.enter([*tokens, 1, 2])
    assert back.state is State.RUNNING and back.filled == 0
    assert not house.admission.swap.holds(tuple(tokens))
    house.leave(house.fill(back))


def test_a_sequence_that_cannot_be_placed_does_not_take_others_with_it(monkeypatch):
    house = House()
    first = house.fill(house.enter(text(1, 50)))
    monkeypatch.setattr(house.admission, "_place", lambda _s: 1 / 0)
    params = SamplingParams(max_tokens=10)
    bad = Sequence(text(2, 50), params, Priority.NORMAL, 1000, lambda s, c: None)
    house.admission.enqueue(bad)
    [(failed, error)] = house.admission.admit(2.0)
    assert failed is bad and isinstance(error, ZeroDivisionError)
    assert house.admission.running == [first] and not house.admission.waiting
    house.admission.cells.check_integrity()


class Disk:
    """Snapshot files whose writer is slow: one at a time waits, until somebody waits for it."""

    def __init__(self) -> None:
        self.held: set[tuple[int, ...]] = set()
        self.busy = False

    def __len__(self) -> int:
        return 0  # it has nothing to be read

    def holds(self, tokens: tuple[int, ...]) -> bool:
        return tokens in self.held

    def put(self, snapshot: Snapshot, *, seconds: float = 0.0) -> bool:
        if snapshot.tokens in self.held:
            return True
        if self.busy and not seconds:
            return False
        self.busy = True
        self.held.add(snapshot.tokens)
        return True


@pytest.mark.parametrize("room", [0, 1, 2, 10])
def test_with_time_left_no_snapshot_is_lost_on_its_way_to_disk(room):
    prompts = {tuple(text(seed, 100)) for seed in (1, 2, 3)}
    disk = Disk()
    house = House(swap=room * 600, files=disk)  # at most 600 bytes a snapshot
    for prompt in prompts:
        house.leave(house.fill(house.enter(list(prompt))))
    assert house.admission.persist(seconds=60.0)
    assert disk.held == prompts


@pytest.mark.parametrize("room", [0, 1, 10])
def test_what_a_busy_disk_refuses_is_still_there_to_be_asked_for_again(room):
    prompts = {tuple(text(seed, 100)) for seed in (1, 2, 3)}
    disk = Disk()
    house = House(swap=room * 600, files=disk)
    for prompt in prompts:
        house.leave(house.fill(house.enter(list(prompt))))
    disk.busy = True
    while not house.admission.persist():
        assert len(disk.held) < len(prompts)
        disk.busy = False  # what it had is written
    assert disk.held == prompts


def test_cells_that_went_wrong_are_emptied_and_computed_again():
    house = House()
    stays = house.fill(house.enter(text(1, 50)))
    house.leave(house.fill(house.enter(text(2, 50))))
    house.runtime.truncate(stays.slot, 3)
    with pytest.raises(EngineError):
        house.admission.cells.check_integrity()
    house.admission.rebuild()
    house.admission.cells.check_integrity()
    assert stays.state is State.WAITING and not house.admission.running
    house.admission.admit(2.0)
    assert stays.state is State.RUNNING and stays.filled == 0
    house.leave(house.fill(stays))
