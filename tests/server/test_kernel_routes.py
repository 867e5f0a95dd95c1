"""/kernel/v1, through the client that terminals use and through bare HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from llmos import limits
from llmos.client import Client
from llmos.errors import (
    BudgetExceeded,
    KernelError,
    KernelStopped,
    KernelUnreachable,
    NoSuchProcess,
)
from llmos.events import Message, Recalled, ReplyDelta, StoredMessage, ToolCall, WindowChanged
from llmos.server.kernel_routes import DROPPED, STOPPED


@pytest.fixture
async def terminal(served):
    async with Client(served.socket) as client:
        yield client


def events(served, pid=0):
    return unix_connect(str(served.socket), f"ws://kernel/kernel/v1/events?pid={pid}")


async def test_a_terminal_can_do_everything(terminal):
    assert (await terminal.status())["model"] == {"name": "starter"}
    assert await terminal.stats() == {"engine": {}}
    first = await terminal.create(title="one", priority="normal", budget={"tokens": 10})
    child = await terminal.fork(first.pid)
    assert child.parent == first.pid
    assert (await terminal.rename(first.pid, "uno")).title == "uno"
    assert (await terminal.signal(first.pid, "stop")).state == "stopped"
    sent = await terminal.send(first.pid, "Hi.")
    stored = await terminal.messages(first.pid)
    assert [(m.id, m.message.content) for m in stored] == [(sent, "Hi.")]
    assert await terminal.messages(first.pid, after=stored[0].seq) == []
    assert (await terminal.wait(first.pid, seconds=1)).pid == first.pid
    assert (await terminal.kill(first.pid)).state == "ended"
    assert [p.pid for p in await terminal.processes()] == [child.pid]
    assert len(await terminal.processes(ended=True)) == 2


async def test_the_kernel_s_errors_arrive_as_what_they_were(terminal):
    with pytest.raises(NoSuchProcess, match="no process 99"):
        await terminal.process(99)
    pid = (await terminal.create()).pid
    await terminal.kill(pid)
    with pytest.raises(BudgetExceeded):
        await terminal.fork(pid)
    with pytest.raises(KernelError):
        await terminal.signal(pid, "interrupt")


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", "processes", {"priority": "urgent"}, "priority"),
        ("POST", "processes", {"budget": {"tokens": -1}}, "budget.tokens"),
        ("POST", "processes", {"budget": {"watts": 1}}, "budget.watts"),
        ("POST", "processes", {"titel": ""}, "titel"),
        ("PATCH", "processes/1", {}, "title"),
        ("POST", "processes/1/signal", {"signal": "hup"}, "signal"),
        ("POST", "processes/1/heard", {"turn": 0, "text": ""}, "turn"),
        ("POST", "processes/1/heard", {"turn": 1}, "text"),
        ("POST", "processes/1/wait", {"seconds": "long"}, "seconds"),
        ("POST", "processes/1/messages", {"content": ""}, "content"),
        ("GET", "processes/zero", None, "pid"),
        ("GET", "processes/0", None, "pid"),
        ("GET", "processes?ended=perhaps", None, "ended"),
        ("GET", "processes/1/messages?after=-1", None, "after"),
    ],
)
async def test_a_wrong_request_is_told_where(http, method, path, body, param):
    answer = await http.request(method, f"/kernel/v1/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_shutdown_answers_before_the_kernel_stops(terminal, kernel):
    await terminal.shutdown()
    await kernel.stopped.wait()


async def test_a_client_that_goes_ends_its_wait(terminal, kernel):
    pid = (await terminal.create()).pid
    kernel.busy.set()
    waiting = asyncio.create_task(terminal.wait(pid))
    await kernel.waiting.wait()
    waiting.cancel()
    await kernel.waits_cancelled.wait()


async def test_events_begin_with_hello_and_come_as_json(served, kernel):
    async with events(served) as socket:
        assert json.loads(await socket.recv()) == {"type": "hello"}
        kernel.events.put_nowait(ReplyDelta(pid=1, turn=2, text="hé"))
        got = json.loads(await socket.recv())
    assert got == {"type": "reply.delta", "pid": 1, "seq": 0, "turn": 2, "text": "hé", "tokens": 0}


async def test_a_terminal_reads_events(terminal, kernel):
    async with terminal.subscribe() as stream:
        event = ReplyDelta(pid=1, turn=2, text="x", tokens=1)
        kernel.events.put_nowait(event)
        assert await anext(stream) == event


async def test_a_slow_terminal_is_dropped_with_a_close_code(served, kernel):
    async with events(served) as socket:
        await socket.recv()
        kernel.events.put_nowait(KernelError("Too slow: events were lost."))
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd.code == DROPPED
    assert closed.value.rcvd.reason == "Too slow: events were lost."


async def test_a_terminal_that_closes_is_unsubscribed(served, kernel):
    async with events(served) as socket:
        await socket.recv()
        assert kernel.subscribed.is_set()
    await kernel.unsubscribed.wait()


async def test_a_terminal_that_takes_nothing_is_unsubscribed(served, kernel, monkeypatch):
    monkeypatch.setattr(limits, "EVENT_SEND_S", 0.02)
    monkeypatch.setattr(limits, "GOODBYE_S", 0.02)
    async with events(served) as socket:
        await socket.recv()
        for _ in range(200):
            kernel.events.put_nowait(ReplyDelta(pid=1, turn=1, text="x" * 100_000))
        await kernel.unsubscribed.wait()
        socket.transport.abort()


async def test_what_happened_to_the_window_comes_only_when_it_is_asked_for(terminal, http, kernel):
    pid = (await terminal.create()).pid
    await terminal.send(pid, "Hi.")
    left = WindowChanged(pid=pid, seq=50, turn=1, evicted=("p1", "p2"))
    back = Recalled(pid=pid, seq=51, turn=1, pages=("f1-1.1",), places=("boat.md, lines 1-3",))
    kernel.notes = [left, back]
    [hi] = await terminal.messages(pid)
    assert await terminal.history(pid) == [hi, left, back]
    assert await terminal.history(pid, after=50) == [back]
    answer = (await http.get(f"/kernel/v1/processes/{pid}/messages")).json()
    assert (len(answer["messages"]), answer["notes"]) == (1, [])


async def test_a_kernel_that_was_stopped_says_so(served, terminal, kernel):
    kernel.events.put_nowait(None)
    async with events(served) as socket:
        await socket.recv()
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd.code == STOPPED
    kernel.events.put_nowait(None)
    async with terminal.subscribe() as stream:
        with pytest.raises(KernelStopped, match=r"The kernel was stopped\."):
            await anext(stream)


async def test_a_kernel_that_breaks_down_was_not_stopped(terminal, kernel):
    kernel.events.put_nowait(KernelError("The kernel broke down."))
    async with terminal.subscribe() as stream:
        with pytest.raises(KernelUnreachable, match="broke down") as told:
            await anext(stream)
    assert not isinstance(told.value, KernelStopped)


async def test_the_end_of_the_kernel_is_told_as_such(kernel, tmp_path, serving):
    async with serving(kernel, tmp_path / "other.sock") as server:
        socket = await events(server)
        await socket.recv()
    with pytest.raises(ConnectionClosed) as closed:
        await socket.recv()
    assert closed.value.rcvd.code == 1012
    await socket.close()


@pytest.mark.parametrize(("pid", "status"), [("7", 404), ("x", 400), ("-1", 400), ("9" * 50, 400)])
async def test_events_of_no_process_are_refused_with_a_sentence(served, pid, status):
    with pytest.raises(InvalidStatus) as refused:
        async with events(served, pid):
            pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["error"]["message"]


async def test_models_are_listed_and_retrieved(client, http):
    models = [model async for model in client.models.list()]
    assert [model.id for model in models] == ["starter", "numbers"]
    assert [model.context_window for model in models] == [512, 8]
    assert (await client.models.retrieve("starter")).object == "model"
    assert (await client.models.retrieve("numbers")).id == "numbers"
    assert (await http.get("/v1/models/org/other")).status_code == 404


async def test_half_a_surrogate_pair_keeps_no_terminal_from_reading_on(served, terminal, kernel):
    pid = (await terminal.create()).pid
    call = ToolCall("c", "t.run", {"path": "a\ud800b"})
    message = Message("assistant", "a\ud800b", (call,))
    kernel.stored[pid].append(StoredMessage(1, "m1", 1, 0.0, message))
    [stored] = await terminal.messages(pid)
    assert stored.message.content == "a?b"
    assert stored.message.calls[0].arguments == {"path": "a?b"}
    async with events(served) as socket:
        await socket.recv()
        kernel.events.put_nowait(ReplyDelta(pid=pid, turn=1, text="a\ud800b"))
        assert json.loads(await socket.recv())["text"] == "a?b"
