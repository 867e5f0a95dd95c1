"""The snapshot store: bounded, least recently used first out, longest prefix wins."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos.engine.swap import Snapshot, SwapStore


def snapshot(*tokens: int, size: int = 10) -> Snapshot:
    return Snapshot(tokens, bytes(size), "model")


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.integers(0, 40))),
    st.booleans(),
)
def test_the_bytes_counted_are_the_bytes_held_and_within_the_budget(puts, rewinds):
    store = SwapStore(60, rewinds=rewinds)
    for tokens, size in puts:
        store.put(snapshot(*tokens, size=size))
        store.match([0, 1])
        assert store.bytes == sum(len(s.state) for s in store._kept.values()) <= 60


def test_the_least_recently_used_snapshot_goes_first():
    store = SwapStore(20)
    store.put(snapshot(1, 1))
    store.put(snapshot(2, 2))
    store.match([1, 1])
    store.put(snapshot(3, 3))
    assert store.match([1, 1])[1] == 2
    assert store.match([2, 2])[0] is None
    assert store.dropped == 1


def test_a_snapshot_larger_than_the_budget_is_refused_and_costs_nobody():
    store = SwapStore(20)
    store.put(snapshot(1))
    assert not store.put(snapshot(2, size=21))
    assert len(store) == 1


def test_a_longer_snapshot_supersedes_its_prefix_where_memory_rewinds():
    assert len(_two(rewinds=True)) == 1
    assert len(_two(rewinds=False)) == 2


def _two(rewinds: bool) -> SwapStore:
    store = SwapStore(100, rewinds=rewinds)
    store.put(snapshot(1, 2))
    store.put(snapshot(1, 2, 3))
    return store


def test_the_longest_shared_prefix_wins():
    store = SwapStore(100)
    store.put(snapshot(1, 2, 9))
    store.put(snapshot(1, 2, 3, 4, 9))
    found, length = store.match([1, 2, 3, 4, 5])
    assert length == 4
    assert found is not None
    assert found.tokens == (1, 2, 3, 4, 9)


def test_only_whole_snapshots_count_where_memory_cannot_rewind():
    store = SwapStore(100, rewinds=False)
    store.put(snapshot(1, 2))
    store.put(snapshot(1, 2, 3, 9))
    assert store.match([1, 2, 3, 4], whole=True)[1] == 2


def test_a_discarded_snapshot_is_gone_but_not_its_successor():
    store = SwapStore(100)
    old, new = snapshot(1, 2), snapshot(1, 2)
    store.put(old)
    store.put(new)
    store.discard(old)
    assert len(store) == 1
    store.discard(new)
    assert (len(store), store.bytes) == (0, 0)
