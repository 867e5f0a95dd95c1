"""Somebody else's server: by hand for what goes wrong, a real kernel's for what goes right."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmos.engine.backend import Chunk, Generation, SamplingParams
from llmos.engine.remote import RemoteBackend
from llmos.errors import EngineError, PromptTooLong, RemoteError
from llmos.events import Message, ToolCall
from llmos.kernel.callformat import CallFormat
from llmos.kernel.kernel import Kernel
from llmos.kernel.syscalls import Outcome, SyscallTable
from llmos.memory.journal import Journal
from llmos.server import create_app
from tests.kernel.kernels import call, kernel_on, row, said, turn

TOOL = {
    "type": "function",
    "function": {"name": "t.add", "description": "", "parameters": {"type": "object"}},
}
HELLO = [Message("user", "Hello")]


class Server:
    """An ASGI application that answers as a test says."""

    def __init__(self, *events: Any, status: int = 200, tools: bool = True, models: Any = None):
        self.events = events
        self.status = status
        self.tools = tools
        self.models = {"data": [{"id": "m", "max_model_len": 4096}]} if models is None else models
        self.asked: list[dict[str, Any]] = []
        self.gate: asyncio.Event | None = None
        self.disconnected = asyncio.Event()

    async def __call__(self, scope: Any, receive: Callable[..., Any], send: Any) -> None:
        body = b""
        while True:
            part = await receive()
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        if scope["path"].endswith("/models"):
            await self._answer(send, 200, json.dumps(self.models).encode())
            return
        asked = json.loads(body)
        if not asked.get("stream"):  # the question whether it takes tools
            await self._answer(send, 200 if self.tools else 400, b"{}")
            return
        self.asked.append(asked)
        if self.status != 200:
            await self._answer(send, self.status, json.dumps(self.events[0]).encode())
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for event in self.events:
            if event is ...:  # the connection is cut
                raise httpx.ReadError("reset")
            line = event if isinstance(event, str) else f"data: {json.dumps(event)}"
            await send(self._piece(f"{line}\n\n".encode()))
        await send({"type": "http.response.body", "body": b""})

    @staticmethod
    def _piece(body: bytes) -> dict[str, Any]:
        return {"type": "http.response.body", "body": body, "more_body": True}

    async def _answer(self, send: Any, status: int, body: bytes) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


def delta(finish: str | None = None, **values: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": values, "finish_reason": finish}]}


@contextlib.asynccontextmanager
async def remote(server: Any, address: str = "http://model/v1") -> AsyncIterator[RemoteBackend]:
    backend = RemoteBackend(address, transport=httpx.ASGITransport(server))
    try:
        await backend.start()
        yield backend
    finally:
        await backend.close()


async def chunks(generation: Generation) -> list[Chunk]:
    async with asyncio.timeout(20):
        return [chunk async for chunk in generation]


async def reply(server: Server, params: SamplingParams | None = None, tools: Any = ()) -> Chunk:
    """Text and end of one reply, as one chunk."""
    async with remote(server) as backend:
        prompt = await backend.prompt(HELLO, tools=tools)
        [generation] = backend.generate(prompt, params or SamplingParams())
        got = await chunks(generation)
    assert [c.finish for c in got[:-1]] == [""] * (len(got) - 1)
    last = got[-1]
    return Chunk(
        "".join(c.text for c in got), finish=last.finish, usage=last.usage, error=last.error
    )


# --- what goes right --------------------------------------------------------------------------


async def test_a_reply_streams_with_the_servers_own_counts():
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": None}
    server = Server(
        ": keep-alive", delta(role="assistant"), delta(content="Hel"), delta(content="lo"),
        delta("stop"), {"choices": [], "usage": usage}, "data: [DONE]",
    )  # fmt: skip
    got = await reply(server, SamplingParams(max_tokens=9, temperature=0.5, stop=("x",), top_k=3))
    assert (got.text, got.finish) == ("Hello", "stop")
    assert got.usage and (got.usage.prompt_tokens, got.usage.completion_tokens) == (7, 3)
    [asked] = server.asked
    assert asked["messages"] == [{"role": "user", "content": "Hello"}]
    assert (asked["model"], asked["max_tokens"], asked["top_k"]) == ("m", 9, 3)
    assert "grammar" not in asked and "min_p" not in asked


async def test_calls_the_server_parsed_reach_the_kernel_under_their_own_names():
    pieces = [
        {"index": 0, "function": {"name": "t_add", "arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ": 1}"}},
        {"index": 1, "function": {"name": "t_add", "arguments": {"a": 2}}},
    ]
    server = Server(
        delta(content="Adding."),
        *[delta(tool_calls=[piece]) for piece in pieces],
        delta("tool_calls"),
        "data: [DONE]",
    )
    got = await reply(server, tools=[TOOL])
    assert server.asked[0]["tools"][0]["function"]["name"] == "t_add"  # OpenAI takes no dots
    async with remote(server) as backend:
        text, calls = CallFormat.of(backend.info).parse(got.text)
    assert (text, got.finish) == ("Adding.", "stop")
    assert [(c.name, c.arguments) for c in calls] == [("t.add", {"a": 1}), ("t.add", {"a": 2})]


async def test_names_on_the_wire_stay_apart():
    tools = [
        {**TOOL, "function": {**TOOL["function"], "name": n}} for n in ("a.b", "a_b", "x" * 90)
    ]
    server = Server(delta("stop", content="Yes"), "data: [DONE]")
    await reply(server, tools=tools)
    names = [t["function"]["name"] for t in server.asked[0]["tools"]]
    assert len(set(names)) == 3 and all(len(name) <= 64 for name in names)


async def test_a_conversation_with_calls_is_sent_in_the_servers_form():
    server = Server(delta("stop", content="3"), "data: [DONE]")
    made = ToolCall("c1", "t.add", {"a": 1})
    messages = [*HELLO, Message("assistant", "", (made,)), Message("tool", "3", call_id="c1")]
    async with remote(server) as backend:
        prompt = await backend.prompt(messages, tools=[TOOL])
        [generation] = backend.generate(prompt, SamplingParams(grammar="root ::= x"))
        await chunks(generation)
    [asked] = server.asked
    assert asked["messages"][1]["tool_calls"][0]["function"]["name"] == "t_add"
    assert asked["messages"][2] == {"role": "tool", "content": "3", "tool_call_id": "c1"}
    assert asked["tool_choice"] == "required" and "grammar" not in asked


async def test_a_server_that_refuses_tools_is_told_of_them_in_words():
    async with remote(Server(tools=False)) as backend:
        assert CallFormat.of(backend.info).name == "generic"
    async with remote(Server(tools=True)) as backend:
        assert CallFormat.of(backend.info).name == "hermes"


async def test_the_window_is_the_servers():
    async with remote(Server()) as backend:
        assert (backend.info.name, backend.info.window) == ("m", 4096)
    lying = {"data": [{"id": "m", "max_model_len": "many", "meta": {"n_ctx": -5}}, None]}
    async with remote(Server(models=lying)) as backend:
        assert backend.info.window == 8192


# --- what goes wrong --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([delta(content="Hel"), ...], "cannot be reached"),
        ([delta(content="Hel")], "broke off in the middle"),
        ([], "broke off in the middle"),
        (["data: {oops"], "not JSON"),
        (["data: [1]"], "not a reply"),
        ([{"choices": [None]}], "not a reply"),
        ([{"choices": [{"delta": {"tool_calls": [{"index": "x"}]}}]}], "not a reply"),
        ([{"choices": "no"}], "not a reply"),
        ([{"error": {"message": "It overheated."}}], "It overheated."),
    ],
)
async def test_a_reply_that_breaks_ends_with_a_sentence(events: list[Any], sentence: str):
    got = await reply(Server(*events))
    assert got.finish == "error"
    assert isinstance(got.error, EngineError) and sentence in got.error.sentence


async def test_a_refusal_is_told_in_the_servers_words():
    got = await reply(Server({"error": {"message": "Pay first."}}, status=402))
    assert got.error and got.error.sentence == "The model server refused (402): Pay first."
    got = await reply(Server({"error": {"message": "Pay\x1b[2J \u202efirst"}}, status=402))
    assert got.error and got.error.sentence.isprintable() and "\x1b" not in got.error.sentence
    too_long = {"error": {"message": "Too long.", "code": PromptTooLong.code}}
    got = await reply(Server(too_long, status=400))
    assert got.error and got.error.code == PromptTooLong.code


async def test_a_server_that_does_not_stop_is_cut_off():
    server = Server(*[delta(content="x")] * 50)
    got = await reply(server, SamplingParams(max_tokens=5))
    assert got.finish == "length" and len(got.text) <= 6


async def test_a_wrong_model_or_no_model_is_refused_at_the_start():
    with pytest.raises(RemoteError, match="has no model 'other'; it has m"):
        async with remote(Server(), "http://model/v1#other"):
            pass
    with pytest.raises(RemoteError, match="serves no model"):
        async with remote(Server(models={"data": []})):
            pass
    for odd in ([], {"data": 3}, {"object": "list"}):
        with pytest.raises(RemoteError, match="lists no models"):
            async with remote(Server(models=odd)):
                pass
    for address in ("http://", "http:///v1", "http://a:b/v1"):
        with pytest.raises(RemoteError, match="not an address"):
            RemoteBackend(address)


async def test_a_server_that_is_not_there_is_said_to_be_unreachable():
    backend = RemoteBackend("http://127.0.0.1:9/v1")
    with pytest.raises(RemoteError, match="cannot be reached"):
        await backend.start()
    await backend.close()
    assert not backend.alive


async def test_a_reply_cancelled_before_it_began_still_ends():
    async with remote(Server(delta("stop", content="x"), "data: [DONE]")) as backend:
        [generation] = backend.generate(await backend.prompt(HELLO), SamplingParams())
        generation.cancel()
        generation.cancel()
        assert [c.finish for c in await chunks(generation)] == ["cancelled"]
        assert backend.stats()["running"] == 0


# --- a kernel's own /v1 -----------------------------------------------------------------------


@contextlib.asynccontextmanager
async def far_and_near(
    home: Path, script: Any, calls: Any = (), **far: Any
) -> AsyncIterator[tuple[Kernel, Kernel]]:
    """A kernel, and another one whose processor is the first one's server."""
    async with kernel_on(home / "far", script, **far) as server:
        transport = httpx.ASGITransport(create_app(server))
        backend = RemoteBackend("http://kernel/v1#scripted", transport=transport)
        await backend.start()
        journal = Journal(home / "near" / "journal.db")
        kernel = Kernel(server.config, backend, journal, SyscallTable(calls))
        try:
            yield server, kernel
        finally:
            await kernel.close()


async def test_a_kernel_on_another_kernel_makes_the_same_calls(home: Path):
    async def double(_process: Any, arguments: Any) -> Outcome:
        return Outcome(f"doubled {2 * arguments['n']}")

    rules = [("doubled 42", "It is 42."), ("Double", "Wait. " + call("test.double", n=21))]
    remote_rules = [(a, b.replace("test.double", "test_double")) for a, b in rules]
    async with far_and_near(home, remote_rules, [row("test.double", double)]) as (far, near):
        assert near.backend.info.window == far.backend.info.window
        pid = (await near.create()).pid
        _, finished = await turn(near, pid, "Double 21")
        assert finished.reason == "stop" and finished.usage.prompt_tokens > 0
        here = said(near, pid)
    async with kernel_on(home / "alone", rules, calls=[row("test.double", double)]) as alone:
        pid = (await alone.create()).pid
        await turn(alone, pid, "Double 21")
        assert said(alone, pid) == here


async def test_cancelling_a_remote_reply_frees_the_other_side(home: Path):
    async with far_and_near(home, lambda _: "word " * 600, slow=True) as (_far, near):
        prompt = await near.backend.prompt(HELLO)
        [generation] = near.backend.generate(prompt, SamplingParams(max_tokens=3000))
        await asyncio.sleep(0)
        generation.suspend()
        generation.resume()
        generation.cancel()
        assert (await chunks(generation))[-1].finish == "cancelled"


async def test_a_password_in_the_address_is_shown_nowhere():
    backend = RemoteBackend("http://me:secret@127.0.0.1:9/v1")
    with pytest.raises(RemoteError) as caught:
        await backend.start()
    assert "secret" not in f"{caught.value} {backend.info}"
    assert "127.0.0.1:9" in backend.info.name
    await backend.close()
    for bad in ("http://me:secret@/v1", "http://me:secret@host:x/v1"):
        with pytest.raises(RemoteError) as caught:
            RemoteBackend(bad)
        assert "secret" not in str(caught.value)
