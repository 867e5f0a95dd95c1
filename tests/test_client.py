from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llmos import limits, paths
from llmos.client import Client
from llmos.errors import (
    KernelError,
    KernelStopped,
    KernelUnreachable,
    NoSuchProcess,
    ProcessEnded,
)
from llmos.events import CallStarted, TurnFinished, TurnStarted
from tests.served import command, prepare, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield home


async def answer(client: Client, pid: int, text: str) -> TurnFinished:
    async with client.subscribe(pid) as events:
        message = await client.send(pid, text)
        started = False
        async with asyncio.timeout(30):
            async for event in events:
                started |= isinstance(event, TurnStarted) and event.message_id == message
                if started and isinstance(event, TurnFinished):
                    return event
    raise AssertionError


async def test_a_terminal_starts_the_kernel_and_everything_works_over_its_socket(served: Path):
    with pytest.raises(KernelUnreachable, match="No kernel is running"):
        await Client.connect(start=False)
    async with await Client.connect() as client:
        status = await client.status()
        assert status["pid"] != os.getpid() and status["engine"] == "running"
        made = await client.create(title="one", priority="normal", budget={"tokens": 500})
        assert (await answer(client, made.pid, "Hello")).reason == "stop"
        for seconds in (0, 5, None):
            assert (await client.wait(made.pid, seconds=seconds)).state == "ready"
        assert [m.message.content for m in await client.messages(made.pid)] == ["Hello", "Yes."]
        assert (await client.heard(made.pid, 1, "Ye")).pid == made.pid
        with pytest.raises(KernelError, match="not the beginning"):
            await client.heard(made.pid, 1, "Yes.")
        assert [m.message.content for m in await client.messages(made.pid)] == ["Hello", "Ye"]
        child = await client.fork(made.pid)
        assert (await client.rename(child.pid, "two")).title == "two"
        assert (await client.signal(child.pid, "stop")).state == "stopped"
        assert (await client.kill(child.pid)).state == "ended"
        assert [p.pid for p in await client.processes()] == [made.pid]
        assert len(await client.processes(ended=True)) == 2
        assert (await client.stats())["engine"]["running"] == 0
        with pytest.raises(NoSuchProcess):
            await client.process(99)
        with pytest.raises(ProcessEnded):
            await client.send(child.pid, "Hello")
        with pytest.raises(NoSuchProcess):
            async with client.subscribe(99):
                pass
    for file in ("kernel.log", "journal.db", "kernel.lock"):
        assert stat.S_IMODE((served / "state" / file).stat().st_mode) == 0o600


async def test_two_terminals_that_start_at_once_share_one_kernel(served: Path):
    first, second = await asyncio.gather(Client.connect(), Client.connect())
    async with first, second:
        assert (await first.status())["pid"] == (await second.status())["pid"]


async def test_a_kernel_that_was_killed_is_noticed_and_a_new_one_has_everything(served: Path):
    async with await Client.connect() as client:
        pid = (await client.create()).pid
        await answer(client, pid, "Hello")
        async with client.subscribe(pid) as events:
            await client.send(pid, "Wait for ever")
            while not isinstance(await anext(events), CallStarted):
                pass
            acknowledged = await client.messages(pid)
            os.kill((await client.status())["pid"], signal.SIGKILL)
            with pytest.raises(KernelUnreachable) as told:
                async for _ in events:
                    pass
            assert not isinstance(told.value, KernelStopped)
        with pytest.raises(KernelUnreachable):
            await client.status()
    async with await Client.connect() as client:
        assert (await client.messages(pid))[: len(acknowledged)] == acknowledged
        assert (await client.process(pid)).state == "ready"


async def test_a_kernel_stops_in_time_though_a_call_hangs_and_keeps_what_is_there(served: Path):
    async with await Client.connect() as client:
        pid = (await client.create()).pid
        async with client.subscribe(pid) as events:
            await client.send(pid, "Wait for ever")
            while not isinstance(await anext(events), CallStarted):
                pass
            await client.shutdown()
            with pytest.raises(KernelStopped):
                async for _ in events:
                    pass
        await client.gone()
    async with await Client.connect() as client:
        assert (await client.messages(pid))[-1].error == "interrupted"


async def test_a_kernel_that_cannot_start_says_why_to_the_terminal(
    served: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LLMOS_ENGINE_MODEL", f"scripted:{served}/none.json")
    with pytest.raises(KernelUnreachable) as caught:
        await Client.connect()
    assert str(caught.value) == f"There is no script {served}/none.json."
    (served / "state2").write_text("in the way")
    with pytest.raises(KernelUnreachable, match="cannot be used"):
        await Client.connect(state=served / "state2")


async def test_a_background_kernel_stops_when_nobody_needs_it(
    served: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LLMOS_SERVER_IDLE_MINUTES", "0.005")
    async with await Client.connect() as client:
        async with client.subscribe():  # a chat screen that is open keeps it
            with pytest.raises(Exception, match="still running"):
                await client.gone(1.0)
        await client.gone()
        async with asyncio.timeout(30):
            while client.socket.exists():  # taking it away is the last thing a server does
                await asyncio.sleep(0)


async def test_nothing_in_the_persons_directory_is_imported_into_the_kernel(
    served: Path, monkeypatch: pytest.MonkeyPatch
):
    here = served / "here"
    here.mkdir()
    for name in ("click", "llmos", "platformdirs"):
        (here / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(here)
    async with await Client.connect() as client:
        assert await client.alive()


async def test_a_kernel_killed_by_a_signal_of_its_own_leaves_its_stack_in_the_log(served: Path):
    async with await Client.connect() as client:
        pid = (await client.status())["pid"]
        os.kill(pid, signal.SIGSEGV)
        await client.gone()
    assert "Fatal Python error: Segmentation fault" in (served / "state/kernel.log").read_text()


async def test_a_kernel_that_loads_is_waited_for_as_long_as_it_lives(
    served: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "START_SECONDS", -1.0)  # no patience but for one that has spoken
    monkeypatch.setattr("llmos.client._serve_process", slow_kernel)
    with pytest.raises(KernelUnreachable, match="no room"):
        await Client.connect()
    monkeypatch.setattr("llmos.client._serve_process", silent_kernel)
    with pytest.raises(KernelUnreachable, match="not become ready"):
        await Client.connect()


def kernel_that(does: str, said: Any) -> subprocess.Popen[bytes]:
    said.write(b"Loading x\n" if "Loading" in does else b"")
    said.flush()
    return subprocess.Popen([sys.executable, "-c", does], stderr=said)


def slow_kernel(_state: Path, _arguments: tuple[str, ...], said: Any) -> subprocess.Popen[bytes]:
    return kernel_that("import sys; sys.exit('llmos: Loading found no room')", said)


def silent_kernel(_state: Path, _arguments: tuple[str, ...], said: Any) -> subprocess.Popen[bytes]:
    return kernel_that("input()", said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_a_kernel_in_the_foreground_cleanly(served: Path, number: int):
    with command("serve", stdout=subprocess.DEVNULL) as kernel:
        assert kernel.stderr
        for line in kernel.stderr:
            if line.startswith(b"Ready: scripted"):
                break
        socket = paths.socket_path(served / "state")
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        kernel.send_signal(number)
        assert kernel.wait(30) == 0
        assert not socket.exists()
        assert b"Traceback" not in kernel.stderr.read()


def test_a_port_needs_the_token_and_secrets_stay_out_of_the_log(
    served: Path, monkeypatch: pytest.MonkeyPatch
):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("LLMOS_ENGINE_API_KEY", "key-secret")
    with command("serve", "--port", str(port), stdout=subprocess.DEVNULL) as kernel:
        assert kernel.stderr
        assert any(line.startswith(b"Ready") for line in kernel.stderr)
        token = (served / "state" / "token").read_text().strip()
        url = f"http://127.0.0.1:{port}/kernel/v1/status"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": f"Bearer {token}"}).status_code == 200
        kernel.terminate()
        assert kernel.wait(30) == 0
    log = (served / "state" / "kernel.log").read_text()
    assert token not in log and "key-secret" not in log


async def test_a_kernel_that_does_not_answer_does_not_hang_the_terminal(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("llmos.client.ANSWER_SECONDS", 0.1)
    socket = paths.socket_path(paths.private_dir(home / "state"))
    quiet = await asyncio.start_unix_server(lambda *_: asyncio.sleep(60), socket)
    try:
        client = Client(socket)
        with pytest.raises(KernelUnreachable, match="does not answer"):
            await client.status()
        with pytest.raises(KernelUnreachable):
            async with client.subscribe():
                pass
        await client.close()
    finally:
        quiet.close()
