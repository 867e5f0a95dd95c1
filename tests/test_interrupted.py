"""Ctrl-C at every moment of ``llmos ask``, typed at a real terminal, with a real kernel behind it.

What must hold whenever it comes: the command ends as a shell expects (130), or had finished; it
says nothing but what it said before; the terminal is as it was; the kernel lives, has nothing to do
and holds no cells too many; and the next question is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmos import paths
from llmos.client import Client
from llmos.events import CallStarted
from tests.kernel.kernels import call
from tests.net import jails
from tests.served import RULES, prepare, stopped_afterwards

#: Read by every Python that a test starts. In a kernel, a step of the engine or the start itself
#: tells a pipe that it is reached and waits for another; in ``llmos ask``, Ctrl-C comes by itself
#: at a call of one of llmos's functions, counted from the start of the command.
_HOOK = '''
import os, signal, sys

folder = os.path.dirname(__file__)

def meet():
    """Say that the moment has come, and wait to be sent on; once."""
    os.unlink(os.path.join(folder, "hold"))
    with open(os.path.join(folder, "reached"), "w") as pipe:
        pipe.write("here")
    with open(os.path.join(folder, "go")) as pipe:
        pipe.read()

def held(moment):
    try:
        with open(os.path.join(folder, "hold")) as file:
            return file.read() == moment
    except FileNotFoundError:
        return False

if "serve" in sys.orig_argv:
    if held("start"):
        meet()
    from llmos.engine.scripted import ScriptedRuntime
    plain = ScriptedRuntime.decode

    def decode(self, runs):
        if held("prefill") and any(len(run.tokens) > 1 for run in runs):
            meet()
        if held("token") and any(len(run.tokens) == 1 for run in runs):
            meet()
        return plain(self, runs)

    ScriptedRuntime.decode = decode

if "ask" in sys.orig_argv and "INTERRUPT_AT" in os.environ:
    at, ours = int(os.environ["INTERRUPT_AT"]), os.sep + "llmos" + os.sep
    passed, begun = 0, False

    def count(frame, event, _):
        global passed, begun
        code = frame.f_code
        if event != "call" or ours not in code.co_filename:
            return
        passed += begun  # before its first call Python has not entered it: nothing hears Ctrl-C
        begun = begun or code.co_name == "main"
        if begun and passed == at:
            os.kill(os.getpid(), signal.SIGINT)

    def tell():
        with open(os.path.join(folder, "passed"), "w") as file:
            file.write(str(passed))

    import atexit
    atexit.register(tell)
    sys.setprofile(count)
'''
_NESTED = "import llmos\nllmos.call('browse.read', address='https://example.org/')"
_CALLS = [
    ("Spin", call("python.run", code="while True: pass")),
    ("Fetch", call("browse.read", address="https://example.org/")),
    ("Nest", call("python.run", code=_NESTED)),
]


@dataclass
class Moments:
    """Where kernels stop and wait.

    Args:
        folder: Of the hook and its pipes.
    """

    folder: Path

    def hold(self, moment: str) -> None:
        """Have the next one that comes to ``moment`` wait there."""
        (self.folder / "hold").write_text(moment)

    def reached(self) -> None:
        """Wait until it did."""
        assert (self.folder / "reached").read_text() == "here"

    def go_on(self) -> None:
        with (self.folder / "go").open("w") as pipe:
            pipe.write("on")


@pytest.fixture
def moments(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Moments]:
    prepare(home, monkeypatch)
    script = {"rules": [*_CALLS, *RULES], "default": "Yes."}
    (home / "script.json").write_text(json.dumps(script))
    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(_HOOK)
    for name in ("reached", "go"):
        os.mkfifo(folder / name)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("LLMOS_MEMORY_CHROMA", "off")
    monkeypatch.setenv("LLMOS_MEMORY_EMBEDDER", "off")
    with stopped_afterwards():
        yield Moments(folder)


class Terminal:
    """``llmos ask`` at a terminal of its own, which a person types at."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self._ours, self._theirs = pty.openpty()
        self._modes = termios.tcgetattr(self._theirs)
        self.shown = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "llmos", "ask", *arguments],
            preexec_fn=lambda: os.login_tty(self._theirs),
            pass_fds=[self._theirs],
            env=os.environ | environ,
        )

    def until(self, text: str) -> None:
        """Read what is shown, up to ``text``."""
        while text.encode() not in self.shown:
            assert select.select([self._ours], [], [], 30)[0], self.shown
            self.shown += os.read(self._ours, 4096)

    def interrupt(self) -> None:
        os.write(self._ours, b"\x03")

    def end(self) -> int:
        """Wait for its end and look at what it left; returns its exit code."""
        code = self._process.wait(30)
        os.set_blocking(self._ours, False)
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._ours, 4096):
                self.shown += part
        assert termios.tcgetattr(self._theirs) == self._modes
        os.close(self._ours)
        os.close(self._theirs)
        told = self.shown.decode()
        for word in ("Traceback", "Error", "llmos:", "went wrong", "never awaited"):
            assert word not in told, told
        return code


def at_rest() -> None:
    """The kernel lives and is idle, its cells are in order, and it answers the next question."""

    async def look() -> None:
        async with await Client.connect() as client, asyncio.timeout(30):
            for process in await client.processes():
                await client.kill(process.pid)  # of a command that ended before it could do so
            stats: dict[str, Any] = {"engine": {"running": 1, "waiting": 0}}
            while stats["engine"]["running"] or stats["engine"]["waiting"]:
                stats = await client.stats()
            pid = (await client.create()).pid
            await client.send(pid, "Hello")
            await client.wait(pid)
            assert (await client.messages(pid))[-1].message.content == "Yes."
            await client.kill(pid)
            assert await client.processes() == []

    asyncio.run(look())
    # When it idles the engine holds its books against the runtime's, and says where they differ.
    log = paths.log_file().read_text()
    assert "the cells are not what they should be" not in log
    assert "Traceback" not in log


def nothing_left() -> None:
    """The command ended its process."""

    async def look() -> None:
        async with await Client.connect() as client:
            assert await client.processes() == []

    asyncio.run(look())


def test_while_the_kernel_starts(moments: Moments):
    moments.hold("start")
    asked = Terminal("Hello")
    moments.reached()
    asked.interrupt()
    assert asked.end() == 130
    moments.go_on()  # the kernel has a session of its own: no Ctrl-C came to it
    at_rest()


@pytest.mark.parametrize("moment", ["prefill", "token"])
def test_while_the_model_reads_or_writes(moments: Moments, moment: str):
    at_rest()
    moments.hold(moment)
    asked = Terminal("Long")
    moments.reached()
    asked.interrupt()
    moments.go_on()
    assert asked.end() in (0, 130)
    nothing_left()
    at_rest()


async def _started(asked: Callable[[], Terminal]) -> Terminal:
    """A terminal whose question has led to a call that runs."""
    async with await Client.connect() as client, client.subscribe() as events:
        terminal = asked()
        async with asyncio.timeout(30):
            async for event in events:
                if isinstance(event, CallStarted):
                    return terminal
    raise AssertionError


@pytest.mark.parametrize("words", ["Spin", "Wait for ever"])
def test_while_a_call_runs(moments: Moments, words: str):
    asyncio.run(jails.jail())
    asked = asyncio.run(_started(lambda: Terminal(words)))
    asked.interrupt()
    assert asked.end() == 130
    nothing_left()
    at_rest()


@pytest.mark.parametrize("words", ["Fetch", "Nest"])
def test_while_a_question_is_open(moments: Moments, words: str):
    asyncio.run(jails.jail())
    asked = Terminal(words)
    asked.until("[N]o: ")
    asked.interrupt()
    assert asked.end() == 130
    nothing_left()
    at_rest()


def test_at_any_function_of_the_command_from_its_start_to_its_end(moments: Moments):
    at_rest()
    whole = Terminal("Hello", INTERRUPT_AT="-1")
    assert whole.end() == 0
    calls = int((moments.folder / "passed").read_text())
    assert calls > 100
    points = sorted({*(1 + calls * n // 14 for n in range(14)), *range(calls - 4, calls + 1)})
    for point in points:
        asked = Terminal("Hello", INTERRUPT_AT=str(point))
        assert asked.end() in (0, 130), point
    at_rest()
