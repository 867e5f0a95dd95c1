"""The line to the kernel: what is sent, what is left out, and what a person is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace

import pytest
from websockets.asyncio.server import unix_serve

from llmos.errors import KernelUnreachable
from llmos.voice import link as module
from llmos.voice.link import Link

SOUND = {"type": "input_audio_buffer.append", "audio": "AAAA"}


@contextlib.asynccontextmanager
async def kernel(home, talk):
    """A kernel's socket, at which ``talk`` says what the test wants."""
    path = home / "k.sock"
    async with unix_serve(talk, str(path)):
        yield Link(SimpleNamespace(socket=path))


async def test_events_go_both_ways_and_the_process_is_kept(home):
    got = []

    async def talk(connection):
        got.append(connection.request.path)
        await connection.send(json.dumps({"type": "llmos.process", "pid": 7}))
        async for line in connection:
            got.append(json.loads(line))
            if got[-1]["type"] == "response.create":
                await connection.close()

    async with kernel(home, talk) as link:
        link.send({"type": "response.cancel"})  # of a session that is no more
        events = link.events({"type": "realtime"})
        assert await anext(events) == {"type": "llmos.process", "pid": 7}
        link.send(SOUND)
        link.send({"type": "response.create"})
        with pytest.raises(KernelUnreachable, match="went away"):
            await anext(events)
        assert link.pid == 7
        async with contextlib.aclosing(link.events({})) as again:
            await anext(again)
    assert got[:4] == [
        "/v1/realtime?llmos=1",
        {"type": "session.update", "session": {"type": "realtime"}},
        SOUND,
        {"type": "response.create"},
    ]
    assert got[4] == "/v1/realtime?llmos=1&process=7"


async def test_a_kernel_that_is_slow_loses_sound_and_nothing_else(home, monkeypatch):
    monkeypatch.setattr(module, "WAITING", 3)
    link = Link(SimpleNamespace(socket=home / "none"))
    for _ in range(5):
        link.send(SOUND)
    for number in range(5):
        link.send({"type": "conversation.item.truncate", "item_id": f"i{number}"})
    assert link.lost == 2
    sent = [await link._next() for _ in range(8)]
    assert [event.get("item_id") for event in sent] == [None] * 3 + [f"i{n}" for n in range(5)]
    link.send(SOUND)
    assert link.lost == 2  # there is room again


async def test_without_a_kernel_one_sentence_says_so(home):
    link = Link(SimpleNamespace(socket=home / "none"))
    with pytest.raises(KernelUnreachable, match="does not take calls"):
        async with asyncio.timeout(20):
            await anext(link.events({}))
