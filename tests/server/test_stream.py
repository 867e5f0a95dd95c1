"""Streams: merged without loss, cancelled when nobody reads."""

from __future__ import annotations

import asyncio

import pytest

from llmos.engine.backend import Chunk
from llmos.errors import EngineError
from llmos.server.stream import EventStream, cancel_when_gone, merged


class Said:
    """A generation that says what it is given; an exception is raised."""

    def __init__(self, *items):
        self.items = items
        self.cancels = 0

    def cancel(self):
        self.cancels += 1

    async def __aiter__(self):
        for item in self.items:
            await asyncio.sleep(0)
            if isinstance(item, Exception):
                raise item
            yield item


def said(*texts):
    return Said(*map(Chunk, texts))


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_every_chunk_comes_once_and_in_its_generation_s_order(count):
    got = [[] for _ in range(count)]
    async for index, chunk in merged([said("a", "b", "c") for _ in range(count)]):
        got[index].append(chunk.text)
    assert got == [["a", "b", "c"]] * count


async def test_what_one_generation_raises_ends_the_whole():
    with pytest.raises(EngineError, match="broke"):
        async for _ in merged([said("a"), Said(EngineError("It broke."))]):
            pass


async def test_generations_are_cancelled_when_the_block_is_left():
    generation = said("a")

    async def receive():
        await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        async with cancel_when_gone(receive, [generation]):
            raise ZeroDivisionError
    assert generation.cancels


async def test_a_client_that_is_gone_cancels_before_the_next_chunk():
    generation, gone = said("a"), asyncio.Event()

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async with cancel_when_gone(receive, [generation]) as left:
        assert not generation.cancels
        gone.set()
        await left.wait()
        assert generation.cancels == 1


async def test_an_error_becomes_the_last_event_without_its_details():
    async def events():
        yield b"data: 1\n\n"
        raise ZeroDivisionError("a secret detail")

    async def receive():
        await asyncio.Event().wait()

    sent = []

    async def send(message):
        sent.append(message)

    await EventStream(events(), [])({}, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    assert body.startswith(b'data: 1\n\ndata: {"error": {')
    assert b"secret" not in body
    assert sent[-1]["more_body"] is False


async def test_a_client_gone_before_the_first_byte_cancels_too():
    generation = said("a")

    async def events():
        yield b"data: a\n\n"

    async def receive():
        await asyncio.Event().wait()

    async def send(_message):
        raise OSError("the socket is closed")

    with pytest.raises(OSError, match="closed"):
        await EventStream(events(), [generation])({}, receive, send)
    assert generation.cancels
