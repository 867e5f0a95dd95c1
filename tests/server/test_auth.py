"""Who comes in over TCP, and how large a body may be."""

from __future__ import annotations

import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from llmos import limits
from llmos.server.auth import TcpGuard

BEARER = {"Authorization": "Bearer secret"}


async def test_the_unix_socket_needs_no_token(http):
    assert (await http.get("/v1/models")).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer", "secret", "Basic secret", "Bearer secret x", "ü"]
)
async def test_tcp_refuses_a_request_without_the_token(served, header):
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    async with served.tcp() as tcp:
        answer = await tcp.get("/v1/models", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_tcp_takes_the_token(served):
    async with served.tcp(**BEARER) as tcp:
        assert (await tcp.get("/v1/models")).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.:1", ""])
async def test_a_foreign_name_for_this_machine_is_refused(served, host):
    async with served.tcp(**BEARER) as tcp:
        answer = await tcp.get("/v1/models", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]", "[::1]:80"])
async def test_loopback_names_are_accepted(served, host):
    async with served.tcp(**BEARER) as tcp:
        assert (await tcp.get("/v1/models", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
async def test_a_page_of_another_origin_is_refused_even_with_the_token(served, origin):
    async with served.tcp(**BEARER) as tcp:
        answer = await tcp.get("/v1/models", headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_not_allowed"


async def test_events_over_tcp_need_the_token_too(served):
    uri = f"ws://127.0.0.1:{served.port}/kernel/v1/events"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(uri, proxy=None):
            pass
    assert refused.value.response.status_code == 401
    async with connect(uri, proxy=None, additional_headers=BEARER) as socket:
        assert json.loads(await socket.recv()) == {"type": "hello"}


def test_an_empty_token_guards_nothing_and_is_refused():
    with pytest.raises(ValueError, match="token"):
        TcpGuard(lambda *_: None, "")


async def test_a_body_that_says_it_is_too_large_gets_413(http):
    answer = await http.post("/v1/chat/completions", content=b" " * (100 << 20))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert (await http.get("/v1/models")).status_code == 200


async def test_a_chunked_body_gets_413_when_it_passes_the_limit(http):
    sent = 0

    async def parts():
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * (1 << 20)

    answer = await http.post("/v1/chat/completions", content=parts())
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


async def test_a_body_at_the_limit_is_read(http, monkeypatch):
    monkeypatch.setattr(limits, "BODY_BYTES", 1000)
    answer = await http.post("/v1/chat/completions", content=b" " * 1000)
    assert answer.status_code == 400
    answer = await http.post("/v1/chat/completions", content=b" " * 1001)
    assert answer.status_code == 413
