"""Who holds a connection without asking is sent away, and never costs the others theirs."""

from __future__ import annotations

import asyncio
import json
import resource

import pytest

from llmos import limits
from llmos.server import connection

GET = b"GET /v1/models HTTP/1.1\r\nHost: kernel\r\n"


async def open_one(served):
    return await asyncio.open_unix_connection(str(served.socket))


async def answer_of(reader):
    """Status and error code of everything that comes until the other side closes."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize("sent", [b"", b"GET /v1/models HT", GET], ids=["none", "line", "fields"])
async def test_a_head_that_never_ends_is_given_up(served, monkeypatch, sent):
    monkeypatch.setattr(limits, "HEAD_S", 0.05)
    reader, writer = await open_one(served)
    writer.write(sent)
    assert await answer_of(reader) == (408, "request_timeout")
    writer.close()


async def test_the_second_head_on_a_connection_has_its_own_time(served, monkeypatch):
    reader, writer = await open_one(served)
    writer.write(GET + b"\r\n")
    await reader.readuntil(b"}]}")
    monkeypatch.setattr(limits, "HEAD_S", 0.05)
    writer.write(GET)
    assert await answer_of(reader) == (408, "request_timeout")
    writer.close()


async def test_a_connection_that_waits_for_its_answer_is_left_alone(kernel, served, monkeypatch):
    monkeypatch.setattr(limits, "HEAD_S", 0.01)
    monkeypatch.setattr(limits, "BODY_PAUSE_S", 0.01)
    kernel.busy.set()
    created = await kernel.create()
    async with served.http() as http:
        request = http.post(f"/kernel/v1/processes/{created.pid}/wait", json={})
        waiting = asyncio.ensure_future(request)
        await kernel.waiting.wait()
        for _ in range(5):  # well beyond both limits
            await asyncio.wait({waiting}, timeout=0.01)
        assert not waiting.done()
        waiting.cancel()
        await kernel.waits_cancelled.wait()


async def test_a_body_that_stops_coming_gets_408(served, monkeypatch):
    monkeypatch.setattr(limits, "BODY_PAUSE_S", 0.05)
    reader, writer = await open_one(served)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: kernel\r\nContent-Length: 100\r\n"
    writer.write(head + b"Content-Type: application/json\r\n\r\n{")
    status, _ = await answer_of(reader)
    assert status == 408
    writer.close()


async def test_one_connection_too_many_is_told_so_and_a_place_is_free_again_later(
    kernel, tmp_path, serving, monkeypatch
):
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 2)
    async with serving(kernel, tmp_path / "k.sock") as served:
        held = [await open_one(served) for _ in range(2)]
        reader, writer = await open_one(served)
        assert await answer_of(reader) == (503, "too_many_connections")
        writer.close()
        kept, place = held.pop()
        place.close()
        kept.feed_eof()
        async with asyncio.timeout(10):
            while True:  # the server hears of the end a moment later
                async with served.http() as http:
                    if (await http.get("/v1/models")).status_code == 200:
                        break
        held[0][1].close()


async def test_what_is_not_http_gets_an_error_in_json(served):
    reader, writer = await open_one(served)
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert await answer_of(reader) == (400, "invalid_http")
    writer.close()


def test_connections_leave_descriptors_to_the_rest():
    room = connection.make_room()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < room <= limits.CONNECTIONS_MAX
    assert room + limits.FILES_KEPT <= soft or room == 1
