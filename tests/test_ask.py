"""``llmos ask`` says what its answer rests on: what was brought back, and what was not in view."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from llmos.ask import _Heard, _Printer
from llmos.client import Client
from llmos.events import CallAsked, Cited, ReplyDelta, ReplyFinished, Source, TurnFinished, Usage
from tests.served import RULES, command, prepare, run, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch):
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield home


async def mounted(folder: Path) -> None:
    """Mount ``folder`` and wait until it is read."""
    async with await Client.connect() as client, asyncio.timeout(30):
        await client.mount(folder)
        while (await client.mounts())[0]["state"] != "ready":
            await asyncio.sleep(0)


def test_what_was_brought_back_is_named_with_its_place(served: Path, tmp_path: Path):
    folder = tmp_path / "boats"
    folder.mkdir()
    (folder / "boat.md").write_text("The boat Esmeralda lies in the harbour of Setubal.\n")
    asyncio.run(mounted(folder))
    done = run("ask", "In which harbour does the boat Esmeralda lie?")
    assert (done.returncode, done.stdout) == (0, "Yes.\n")
    assert done.stderr.startswith("↩ from ")
    assert "boat.md" in done.stderr
    assert done.stderr.endswith(", line 1\n")
    done = run("ask", "--json", "In which harbour does the boat Esmeralda lie?")
    [back] = json.loads(done.stdout)["recalled"]
    assert back["page"].startswith("f1-")
    assert back["place"].endswith("boat.md, line 1")
    assert done.stderr == ""


def test_what_is_piped_in_is_read_with_the_question_and_is_nobodys_word(served: Path):
    async def last() -> tuple[str, str]:
        async with await Client.connect() as client:
            [said, *_] = await client.messages((await client.processes())[0].pid)
            return said.message.name, said.message.content

    assert run("ask", "--keep", "Sum this up.", stdin="All is well.\n").returncode == 0
    assert asyncio.run(last()) == ("piped:12", "Sum this up.\n\nAll is well.")
    assert run("ask", "--keep", stdin="Is all well?\n").returncode == 0  # it is answered itself
    assert asyncio.run(last()) == ("piped:0", "Is all well?")


def test_a_message_of_which_only_the_ends_are_in_view_is_answered_with_a_warning(served: Path):
    done = run("ask", "--json", "Sum this up.", stdin="All is well on board. " * 10_000)
    assert json.loads(done.stdout)["answer"] == "Yes."
    assert "only its beginning and its end in view" in done.stderr


def test_a_pipe_without_an_end_is_refused_in_a_sentence(home: Path):
    endless = "import sys\nwhile True: sys.stdout.write('all is well ' * 100_000)"
    with subprocess.Popen(
        [sys.executable, "-c", endless], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "llmos", "ask", "Sum this up."],
            stdin=pipe.stdout,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert pipe.stdout is not None
        pipe.stdout.close()
    assert (done.returncode, done.stdout) == (2, "")
    assert "What is piped in is longer than 10,000,000 characters." in done.stderr


def test_an_expert_that_is_not_there_is_one_sentence_with_the_nearest_name(served: Path):
    told = "There is no expert @analist. Did you mean @analyst? Installed: @analyst, @coder, @"
    for words in (("--expert", "analist", "Which columns?"), ("@analist which columns?",)):
        done = run("ask", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"llmos: {told}")
    assert "begin it with something else than @" in done.stderr
    assert json.loads(run("ps", "--json").stdout) == []
    assert run("ask", "--expert", "@Coder", "Hello").stdout == "Yes.\n"
    assert run("ask", "me@example.org asks @analist").stdout == "Yes.\n"


_NOTES = """
name = "notes"
version = "1.0"
summary = "Keeps notes."

[[call]]
function = "keep"
description = "Keeps a note."
effect = "write"
"""


@pytest.fixture
def noting(home: Path, monkeypatch: pytest.MonkeyPatch):
    """A kernel whose model keeps a note where it is asked to, and says nothing where it is not."""
    prepare(home, monkeypatch)
    tool = home / "tools" / "notes"
    tool.mkdir()
    (tool / "tool.toml").write_text(_NOTES)
    (tool / "__init__.py").write_text("def keep() -> str:\n    return 'kept'\n")
    keep = '<tool_call>\n{"name": "notes.keep", "arguments": {}}\n</tool_call>'
    rules = [["Keep a note", keep], ["Say nothing", " "], *RULES]
    (home / "script.json").write_text(json.dumps({"rules": rules, "default": "Yes."}))
    with stopped_afterwards():
        yield home


def read_until(terminal: int, text: str) -> str:
    """What is written to the terminal, up to ``text``; the command's own end is the other end."""
    read = ""
    while text not in read:
        read += os.read(terminal, 4096).decode("utf-8", "replace")
    return read


def test_who_pipes_a_text_in_is_asked_at_the_terminal(noting: Path):
    person, here = pty.openpty()
    with command(
        "ask",
        "Keep a note",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=here,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0),
    ) as asking:
        os.close(here)
        assert asking.stdin is not None and asking.stdout is not None
        asking.stdin.write(b"All is well on board.")
        asking.stdin.close()
        assert "notes.keep" in read_until(person, "[N]o: ")
        os.write(person, b"y\n")
        assert asking.stdout.read() == b"Yes.\n"
        assert asking.wait(60) == 0
    os.close(person)


def test_a_stop_tells_of_a_question_that_nobody_answered(noting: Path):
    async def asked() -> None:
        async with await Client.connect() as client:
            pid = (await client.create()).pid
            async with client.subscribe(pid, answers=True) as events:
                await client.send(pid, "Keep a note", given="All is well on board.")
                async for event in events:
                    if isinstance(event, CallAsked):
                        break
                told = (await asyncio.to_thread(run, "stop")).stdout.splitlines()
        sentence = "A question was not answered, so that call was not made: "
        assert told == ["The kernel has stopped.", f"{sentence}notes.keep in process {pid}."]

    asyncio.run(asked())


def test_nobody_is_asked_by_a_command_that_a_program_reads(noting: Path):
    done = run("ask", "--json", "Keep a note", stdin="All is well on board.")
    [call, *_] = json.loads(done.stdout)["calls"]
    assert (done.returncode, call["error"]) == (0, "denied")  # it was answered: that it was not
    assert "nobody was there to allow it" in call["result"]


def test_an_answer_that_says_nothing_is_a_failure(noting: Path):
    done = run("ask", "Say nothing")
    assert done.returncode == 1
    assert done.stderr.startswith("llmos: There is no answer")
    done = run("ask", "--json", "Say nothing")
    assert (done.returncode, json.loads(done.stdout)["reason"]) == (1, "stop")


def test_what_an_answer_rests_on_is_named_with_the_words_that_say_so(
    capsys: pytest.CaptureFixture[str],
):
    heard = _Heard()
    heard.take(ReplyDelta(pid=1, turn=1, text="Gulls scream [1][7].", tokens=4))
    said = ReplyFinished(pid=1, turn=1, message_id="m", text="Gulls scream [1].", calls=())
    heard.take(said)
    source = Source(1, "Gulls\x1b[2J", "https://gulls.example", "Gulls  scream.", "Gulls scream")
    heard.take(Cited(pid=1, turn=1, message_id="m", sources=(source,), dropped=(7,)))
    last = TurnFinished(pid=1, turn=1, reason="stop", usage=Usage())
    printer = _Printer(as_json=False)
    printer.end(heard, last)
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("[1] Gulls") and told[0].endswith(", https://gulls.example")
    assert told[1:] == ["    “Gulls scream.”", "Not so in its source: [7]"]
    assert "\x1b" not in told[0]
    _Printer(as_json=True).end(heard, last)
    summary = json.loads(capsys.readouterr().out)
    assert summary["answer"] == "Gulls scream [1]."
    assert summary["sources"][0]["quote"] == "Gulls  scream."
