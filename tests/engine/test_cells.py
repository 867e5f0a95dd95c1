"""The prefix tree against a model that keeps, for every slot, a list of numbered cells."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmos.engine.backend import Run
from llmos.engine.cells import Cells, common_prefix
from llmos.engine.scripted import ScriptedRuntime
from llmos.errors import EngineError

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=6)


def put(cells: Cells, runtime: ScriptedRuntime, slot: int, tokens: list[int]) -> None:
    runtime.decode([Run(slot, runtime.length(slot), tokens, False)])
    cells.append(slot, tokens)


def made(slots: int = 5) -> tuple[Cells, ScriptedRuntime]:
    runtime = ScriptedRuntime(slots=slots, window=1000)
    return Cells(runtime), runtime


def shared(a: list[int], b: list[int]) -> int:
    return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))))


class Tree(RuleBasedStateMachine):
    """``held`` maps a slot to (cell number, token) pairs; sharing copies the pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.runtime = made()
        self.held: dict[int, list[tuple[int, int]]] = {}
        self.numbers = itertools.count()

    def pick(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.held)))

    @precondition(lambda self: len(self.held) < 5)
    @rule()
    def take(self) -> None:
        slot = self.cells.take_slot()
        assert slot not in self.held
        self.held[slot] = []

    @precondition(lambda self: self.held)
    @rule(data=st.data(), tokens=TOKENS)
    def append(self, data: st.DataObject, tokens: list[int]) -> None:
        slot = self.pick(data)
        put(self.cells, self.runtime, slot, tokens)
        self.held[slot] += [(next(self.numbers), token) for token in tokens]

    @precondition(lambda self: 0 < len(self.held) < 5)
    @rule(data=st.data())
    def share(self, data: st.DataObject) -> None:
        source = self.pick(data)
        if not self.held[source]:
            return
        length = data.draw(st.integers(1, len(self.held[source])))
        target = self.cells.take_slot()
        self.cells.share(source, target, length)
        self.held[target] = self.held[source][:length]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def truncate(self, data: st.DataObject) -> None:
        slot = self.pick(data)
        length = data.draw(st.integers(0, len(self.held[slot])))
        assert self.cells.truncate(slot, length)
        del self.held[slot][length:]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        slot = self.pick(data)
        self.cells.release(slot)
        del self.held[slot]

    @rule(tokens=TOKENS, whole=st.booleans())
    def match(self, tokens: list[int], whole: bool) -> None:
        found = 0
        for pairs in self.held.values():
            common = shared([token for _, token in pairs], tokens)
            if not whole or common == len(pairs):
                found = max(found, common)
        slot, length = self.cells.match(tokens, whole=whole)
        assert length == found
        if length:
            assert self.cells.tokens(slot)[:length] == tokens[:length]
            assert not whole or self.cells.length(slot) == length
        else:
            assert slot == -1

    @invariant()
    def agrees(self) -> None:
        self.cells.check_integrity()
        distinct = {number for pairs in self.held.values() for number, _ in pairs}
        assert self.cells.used == len(distinct)
        assert self.cells.slots_free == 5 - len(self.held)
        for slot, pairs in self.held.items():
            assert self.cells.tokens(slot) == [token for _, token in pairs]
            mine = {number for number, _ in pairs}
            others = {n for s, p in self.held.items() if s != slot for n, _ in p}
            assert self.cells.exclusive(slot) == len(mine - others)
        some = sorted(self.held)[::2]
        assert self.cells.held(some) == len({n for s in some for n, _ in self.held[s]})


TestTree = Tree.TestCase
TestTree.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(a=st.lists(st.integers(0, 1)), b=st.lists(st.integers(0, 1)), start=st.integers(0, 5))
def test_the_common_prefix_is_what_a_loop_would_find(a, b, start):
    assert common_prefix(a, b, start) == shared(a, b[start:])
    assert common_prefix(tuple(a), tuple(b), start) == shared(a, b[start:])


def test_a_shared_cell_lives_as_long_as_anybody_holds_it():
    cells, runtime = made()
    one = cells.take_slot()
    put(cells, runtime, one, [1, 2, 3, 4])
    two = cells.take_slot()
    cells.share(one, two, 3)
    cells.release(one)
    assert cells.used == 3
    assert cells.tokens(two) == [1, 2, 3]
    cells.release(two)
    assert cells.free == cells.total


def test_equal_tokens_computed_apart_stay_apart():
    cells, runtime = made()
    for _ in range(2):
        put(cells, runtime, cells.take_slot(), [1, 2, 3])
    assert cells.used == 6


def test_a_long_life_of_short_forks_leaves_one_run():
    cells, runtime = made()
    trunk = cells.take_slot()
    put(cells, runtime, trunk, list(range(200)))
    for length in range(1, 200):
        branch = cells.take_slot()
        cells.share(trunk, branch, length)
        put(cells, runtime, branch, [1])
        cells.release(branch)
    assert len(list(cells._end[trunk].path())) == 1
    cells.check_integrity()


def test_no_slot_is_given_twice():
    cells, _ = made(slots=2)
    assert {cells.take_slot(), cells.take_slot()} == {0, 1}
    with pytest.raises(EngineError, match="Every sequence slot is taken"):
        cells.take_slot()


def test_sharing_more_than_there_is_is_refused():
    cells, runtime = made()
    slot = cells.take_slot()
    put(cells, runtime, slot, [1, 2])
    with pytest.raises(EngineError, match="holds 2 tokens, not 3"):
        cells.share(slot, cells.take_slot(), 3)


def test_a_difference_from_the_runtime_is_found():
    cells, runtime = made()
    slot = cells.take_slot()
    put(cells, runtime, slot, [1, 2])
    runtime.truncate(slot, 1)
    with pytest.raises(EngineError, match="holds 1 tokens, not 2"):
        cells.check_integrity()
