from __future__ import annotations

import asyncio
import errno
import json
import os
import pty
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llmos import cli, paths
from llmos.client import Client
from llmos.events import CallStarted
from llmos.visible import visible
from tests.served import command, prepare, run, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield home


def peek(*arguments: str) -> Any:
    """A command in this very process, where its start and its end are not what is tested."""
    return CliRunner().invoke(cli.cli, arguments)


# --- without a kernel -------------------------------------------------------------------------


def test_the_chat_screen_wants_a_terminal(home: Path):
    done = run()
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


def test_a_full_disk_behind_standard_output_is_said_in_a_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    def full(**_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cli.cli, "main", full)
    monkeypatch.setattr(cli.sys, "stdout", cli.sys.stdout)  # put back afterwards
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 74
    assert "The output cannot be written: No space left" in capfd.readouterr().err


def test_a_closed_standard_output_and_bytes_that_are_no_text_are_taken(served: Path):
    for shell in ("{} ask hello >&-", "{} ask $'\\xff\\xfe hello'"):
        done = subprocess.run(
            ["bash", "-c", shell.format(f"{sys.executable} -m llmos")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr


def test_a_mistake_in_llmos_itself_is_one_sentence_and_a_traceback_in_the_log(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(**_: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(cli.cli, "main", broken)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 70
    log = home / "state" / "kernel.log"
    told = capsys.readouterr().err
    assert told == f"llmos: Something went wrong in llmos itself. The details are in {log}.\n"
    assert "ZeroDivisionError: oops" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_every_command_explains_itself():
    runner = CliRunner()
    top = runner.invoke(cli.cli, ["--help"]).output
    for name in ("ask", "ps", "top", "kill", "serve", "stop", "status", "models", "doctor"):
        assert name in top
        if name not in ("models", "doctor"):
            assert "Usage:" in runner.invoke(cli.cli, [name, "--help"]).output


def test_commands_say_in_one_sentence_that_no_kernel_runs(home: Path):
    for arguments, code in (
        ("stop", 0),
        ("ps", 0),
        ("status", 1),
        ("top --once", 1),
        ("kill 1", 1),
    ):
        done = run(*arguments.split())
        assert (done.returncode, "No kernel is running." in done.stdout + done.stderr) == (
            code,
            True,
        )
        assert "Traceback" not in done.stderr
    assert run("ps", "--json").stdout == "[]\n"
    assert not (home / "state").exists()


def test_misuse_is_said_with_an_exit_code_of_its_own():
    assert run("ask").returncode == 2
    assert "There is no question" in run("ask", stdin=" \n").stderr
    assert run("frobnicate").returncode == 2
    assert run("kill", "one").returncode == 2
    assert run("--version").stdout.startswith("llmos, version")


def completed(line: str, word: int) -> list[str]:
    """What bash offers for that word of a command line."""
    told = {"_LLMOS_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(word)}
    shown = CliRunner().invoke(cli.cli, [], env=told, prog_name="llmos").output
    return [row.partition(",")[2] for row in shown.splitlines() if row]


def test_names_are_completed(home: Path):
    assert completed("llmos mod", 1) == ["models"]
    assert completed("llmos models use sta", 3) == ["starter"]
    assert "qwen3-4b" in completed("llmos models pull qw", 3)
    assert completed("llmos kill ", 2) == []  # no kernel runs


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_written(shell: str):
    assert "_LLMOS_COMPLETE" in CliRunner().invoke(cli.cli, ["completion", shell]).output


def test_a_kernel_that_cannot_start_says_why(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LLMOS_ENGINE_MODEL", "scripted:/none.json")
    for arguments in (("ask", "Hello"), ("serve",)):
        done = run(*arguments)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "llmos: There is no script /none.json."
        assert "Traceback" not in done.stderr


# --- with one ---------------------------------------------------------------------------------


def test_ask_starts_a_kernel_answers_and_leaves_nothing_running(served: Path):
    done = run("ask", "Hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Yes.\n", "")
    assert run("ask", stdin="Paint it").stdout == "\x1b[31mred\x1b[0m\n"  # a pipe gets it all
    done = run("ask", "--json", "Delegate", stdin="this")
    told = json.loads(done.stdout)
    assert (done.returncode, told["answer"], told["reason"]) == (0, "I cannot.", "stop")
    assert told["calls"][0]["error"] == "unknown_call"
    assert told["usage"]["completion_tokens"] > 0
    assert peek("ps", "--json").stdout == "[]\n"
    assert len(json.loads(peek("ps", "-a", "--json").stdout)) == 3

    # what is kept can be gone on with, watched, signalled and killed
    assert run("ask", "--keep", "Hello").returncode == 0
    [kept] = json.loads(peek("ps", "--json").stdout)
    pid = str(kept["pid"])
    assert run("ask", "--pid", pid, "Again").stdout == "Yes.\n"
    assert "scripted on script" in peek("top", "--once").stdout
    assert peek("kill", "-s", "stop", pid).exit_code == 0
    assert "stopped" in (shown := peek("ps").stdout) and "Hello" in shown
    assert completed("llmos kill ", 2) == [pid]
    assert completed("llmos kill x", 2) == []
    done = peek("kill", "99", pid)  # one that is not there keeps no other from ending
    assert (done.exit_code, done.stderr) == (1, "llmos: There is no process 99.\n")
    assert peek("ps", "--json").stdout == "[]\n"
    done = run("ask", "--pid", pid, "Hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"llmos: Process {pid} has ended.\n"

    assert "model scripted on script" in peek("status").stdout
    second = run("serve")
    assert second.returncode == 75
    assert second.stderr.startswith("llmos: A kernel is already running")
    assert "Traceback" not in paths.log_file().read_text()
    assert run("stop").stdout == "The kernel has stopped.\n"


async def asking(served: Path, *options: str, **given) -> tuple[subprocess.Popen[bytes], int]:
    """``llmos ask`` in the middle of a call that does not end, and its process's pid."""
    async with await Client.connect() as client, client.subscribe() as events:
        asker = command("ask", *options, "Wait for ever", **given)
        async with asyncio.timeout(30):
            async for event in events:
                if isinstance(event, CallStarted):
                    return asker, event.pid
    raise AssertionError


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGHUP, 143)])
def test_an_ask_that_is_broken_off_leaves_no_process(served: Path, number: int, code: int):
    asker, pid = asyncio.run(asking(served))
    with asker:
        asker.send_signal(number)
        assert asker.wait(30) == code
        assert asker.stderr and asker.stderr.read().strip() == b""
    [process] = json.loads(peek("ps", "-a", "--json").stdout)
    assert (process["pid"], process["state"]) == (pid, "ended")


def test_an_ask_whose_process_is_ended_or_whose_kernel_goes_says_so(served: Path):
    asker, pid = asyncio.run(asking(served))
    with asker:
        assert peek("kill", str(pid)).exit_code == 0
        assert asker.wait(30) == 1
    asker, _ = asyncio.run(asking(served))
    with asker:
        os.kill(json.loads(peek("status", "--json").stdout)["pid"], signal.SIGKILL)
        assert asker.wait(30) == 1
        assert asker.stderr
        assert asker.stderr.read() == b"llmos: The kernel went away.\n"


def test_a_reader_that_goes_early_is_no_error(served: Path):
    reading, writing = os.pipe()
    os.close(reading)
    with command("ask", "Long", stdout=writing) as asker:
        os.close(writing)
        assert asker.wait(60) == 1  # as click has it
        assert asker.stderr and asker.stderr.read() == b""
    assert peek("ps", "--json").stdout == "[]\n"


def test_on_a_terminal_nothing_the_model_wrote_can_act(served: Path):
    ours, theirs = pty.openpty()
    with command("ask", "Paint", stdout=theirs) as asker:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 1024)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert asker.wait(30) == 0
    os.close(ours)
    assert shown.decode().strip() == visible("\x1b[31mred\x1b[0m") == "␛[31mred␛[0m"


def test_a_chat_ends_with_its_terminal_also_without_a_signal(served: Path):
    ours, theirs = pty.openpty()  # led by nobody: whoever is in it gets no signal when it goes
    given = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    with command(**given, env=os.environ | {"TERM": "xterm-256color"}) as chat:
        os.close(theirs)
        shown = b""
        while b"Ask anything" not in shown:
            shown += os.read(ours, 65536)
        # The screen stands before its kernel does, and one still on its way up would be left
        # behind. Nobody reads what the screen paints meanwhile.
        assert run("ask", "Hello").returncode == 0
        os.close(ours)
        assert chat.wait(60) == -signal.SIGHUP


def test_nothing_in_what_is_remembered_can_act_on_a_terminal(served: Path):
    assert run("memory", "add", "red \x1b[31m and \u202eback \x9b2J").returncode == 0
    for arguments in (["ls"], ["show", "m1"], ["search", "red"], ["export"], ["ls", "--json"]):
        done = run("memory", *arguments)
        assert done.returncode == 0 and "red" in done.stdout
        assert not set(done.stdout) & {"\x1b", "\x9b", "\u202e"}
    refused = run("memory", "add", "\u200b\x1b")
    assert refused.returncode == 1 and "no character to be seen" in refused.stderr


def test_each_home_has_a_kernel_of_its_own(served: Path, monkeypatch: pytest.MonkeyPatch):
    assert run("ask", "Hello").returncode == 0
    monkeypatch.setenv("LLMOS_HOME", str(served / "other"))
    assert str(peek("status").exception).startswith("No kernel is running.")
    monkeypatch.setenv("LLMOS_HOME", str(served))
    assert peek("status").exit_code == 0


def test_ctrl_c_while_the_command_is_still_being_loaded_is_silent(home: Path, tmp_path: Path):
    """The module that is loaded last of all raises, as the interpreter does for Ctrl-C."""
    broken = tmp_path / "early" / "click"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise KeyboardInterrupt\n")
    search = os.pathsep.join([str(broken.parent), str(Path(__file__).resolve().parent.parent)])
    ended = subprocess.run(
        [sys.executable, "-m", "llmos", "ps"],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": search},
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")
