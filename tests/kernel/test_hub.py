from __future__ import annotations

import asyncio

import pytest

from llmos import limits
from llmos.errors import KernelError
from llmos.events import Event, ReplyDelta
from llmos.kernel.hub import Hub


def delta(pid: int, text: str = "x") -> ReplyDelta:
    return ReplyDelta(pid=pid, turn=1, text=text)


async def test_a_listener_hears_its_process_and_nothing_else():
    hub = Hub(lambda pid: [])
    with hub.subscribe(1) as one, hub.subscribe(0) as everything:
        hub.publish(delta(2))
        hub.publish(delta(1))
        hub.close()
        assert [e.pid async for e in one] == [1]
        assert [e.pid async for e in everything] == [2, 1]
    assert len(hub) == 0


async def test_what_is_under_way_comes_first():
    hub = Hub(lambda pid: [delta(pid or 7, "before")])
    with hub.subscribe(0) as events:
        hub.publish(delta(3, "after"))
        assert [(await anext(events)).pid for _ in range(2)] == [7, 3]


async def test_a_slow_listener_is_dropped_and_told_and_holds_no_memory(monkeypatch):
    monkeypatch.setattr(limits, "EVENT_BACKLOG", 3)
    hub = Hub(lambda pid: [])
    with hub.subscribe(1) as slow, hub.subscribe(1) as quick:
        heard: list[Event] = []
        for _ in range(10):
            hub.publish(delta(1))
            heard.append(await anext(quick))
        assert len(heard) == 10
        got: list[Event] = []
        with pytest.raises(KernelError, match="too slow"):
            got.extend([event async for event in slow])
        assert len(got) <= 3
        [lost] = [listener for listener in hub._listeners if listener.lost]
        assert lost.queue.qsize() <= 3


async def test_who_comes_after_the_close_is_sent_away():
    hub = Hub(lambda pid: [])
    hub.close()
    with hub.subscribe(1) as events:
        assert [e async for e in events] == []


async def test_why_a_kernel_broke_down_is_told_to_who_listens_and_to_who_comes_later():
    hub = Hub(lambda pid: [])
    with hub.subscribe(0) as events:
        hub.close("The kernel broke down.")
        hub.close()
        with pytest.raises(KernelError, match="broke down"):
            await anext(events)
    with hub.subscribe(0) as events, pytest.raises(KernelError, match="broke down"):
        await anext(events)


async def test_a_closed_hub_is_empty_when_the_last_listener_has_gone():
    hub = Hub(lambda pid: [])
    await hub.empty()
    with hub.subscribe(1), hub.subscribe(2):
        waiting = asyncio.create_task(hub.empty())
        hub.close()
        await asyncio.wait({waiting}, timeout=0)
        assert not waiting.done()
    await waiting
