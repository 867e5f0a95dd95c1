"""Parts of a Realtime session: what waits to be sent, what waits for an answer, what is kept."""

from __future__ import annotations

import asyncio
import json

import pytest

from llmos import limits
from llmos.server.realtime_items import Items, written_item
from llmos.server.realtime_outbox import Outbox
from llmos.server.realtime_response import kept_of
from llmos.server.realtime_settings import Refusal


def tell_delta(outbox: Outbox, response: str, size: int = 10) -> None:
    outbox.tell("response.output_audio.delta", response_id=response, delta="x" * size)


async def test_events_are_sent_in_their_order():
    outbox = Outbox()
    lines = outbox.lines()
    first = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    outbox.tell("one")
    outbox.tell("two")
    assert json.loads(await first)["type"] == "one"
    assert json.loads(await anext(lines))["type"] == "two"


async def test_of_an_answer_that_is_broken_off_only_its_end_is_sent():
    outbox = Outbox()
    tell_delta(outbox, "a")
    tell_delta(outbox, "b")
    outbox.tell("response.output_audio.done", response_id="a")
    outbox.drop("a")
    lines = outbox.lines()
    sent = [json.loads(await anext(lines)) for _ in range(2)]
    assert [(e["type"].split(".")[-1], e["response_id"]) for e in sent] == [
        ("delta", "b"),
        ("done", "a"),
    ]


async def test_no_more_sound_is_made_than_a_client_takes():
    outbox = Outbox()
    await outbox.room()
    tell_delta(outbox, "a", limits.REALTIME_OUT_BYTES)
    waits = asyncio.ensure_future(outbox.room())
    await asyncio.sleep(0)
    assert not waits.done()
    await anext(outbox.lines())
    await waits
    tell_delta(outbox, "a", limits.REALTIME_OUT_BYTES)
    outbox.drop("a")
    await outbox.room()


async def test_a_client_that_reads_nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(limits, "REALTIME_OUT_EVENTS", 3)
    outbox = Outbox()
    for _ in range(5):
        outbox.tell("one")
    assert outbox.full
    assert [line async for line in outbox.lines()] == []


async def test_a_client_that_reads_nothing_holds_no_memory(monkeypatch):
    monkeypatch.setattr(limits, "REALTIME_OUT_CHARS", 10_000)
    outbox = Outbox()
    for _ in range(5):
        outbox.tell("one", text="x" * 4_000)
    assert outbox.full
    assert len(outbox._waiting) == 0


@pytest.mark.parametrize(
    ("kept", "heard", "left"),
    [
        ("It is so.", "It is", "It is"),
        ("It is so.", "", ""),
        ("It is so. [1] Yes.", "It is so. [1]", "It is so. [1]"),
        ("It is so. Yes.", "It is so. [2] Yes.", "It is so. Yes."),
        ("It is so. Yes.", "It is so. [2]", "It is so. "),
        ("It is", "It is so.", "It is"),
    ],
)
def test_what_was_heard_is_found_in_what_is_kept(kept, heard, left):
    assert kept_of(kept, heard) == left


def test_items_come_at_the_end_and_have_names_of_their_own():
    items = Items()
    assert items.placed("a", "root") == "a"
    assert items.add("a", written_item("a", "x")) is None
    assert items.add("b", written_item("b", "y")) == "a"
    assert items.placed(None, "b").startswith("item_")
    for id, after in (("a", None), ("c", "a"), ("c", "root"), ("c", "unknown")):
        with pytest.raises(Refusal):
            items.placed(id, after)


def test_only_so_many_items_are_kept_and_so_many_wait(monkeypatch):
    monkeypatch.setattr(limits, "REALTIME_ITEMS", 2)
    monkeypatch.setattr(limits, "REALTIME_WAITING", 2)
    items = Items()
    for id in "abc":
        items.add(id, written_item(id, id))
        items.wait(id, id)
    assert items.text() == "b\nc"
    with pytest.raises(Refusal):
        items.item("a")
    with pytest.raises(Refusal):
        items.require_room()
    items.answered(items.waiting)
    items.require_room()
    with pytest.raises(Refusal):
        items.delete("b")
