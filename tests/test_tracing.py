"""``llmos trace``, ``llmos audit`` and ``llmos replay`` against a kernel of their own."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.client import Client
from llmos.events import CallAnswered, CallAsked, CallFinished, CallStarted, ToolCall
from llmos.memory.trail import Traced
from llmos.tracing import _declared, _Lines
from tests.served import command, prepare, run, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield home


async def _talk(*texts: str) -> int:
    async with await Client.connect() as client:
        pid = (await client.create()).pid
        for text in texts:
            await client.send(pid, text)
            await client.wait(pid)
        return pid


def test_the_past_is_told_with_and_without_a_kernel(served):
    pid = str(asyncio.run(_talk("Delegate")))
    living = run("trace", pid, "--past")
    assert "no.such() = unknown_call <0.0" in living.stdout
    assert "[undeclared; not made" in living.stdout
    told = json.loads(run("trace", pid, "--past", "--json").stdout)
    assert (told["type"], told["name"], told["error"]) == ("call", "no.such", "unknown_call")
    run("stop")
    assert run("trace", pid).stdout == living.stdout
    refused = run("trace", "99")
    assert refused.returncode == 1 and "There is no process 99." in refused.stderr


def test_a_chat_without_calls_says_that_there_are_none(served):
    pid = str(asyncio.run(_talk("Hello")))
    told = run("trace", pid, "--past")
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr == f"No call was made in process {pid} so far.\n"
    quiet = run("trace", pid, "--past", "--json")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    with command("trace", pid) as watching:
        assert watching.stderr is not None
        assert watching.stderr.readline().decode() == told.stderr
        follows = f"Following process {pid}; Ctrl-C ends. With --past only the past is shown.\n"
        assert watching.stderr.readline().decode() == follows
        watching.terminate()
    run("stop")
    assert run("trace", pid).stderr == told.stderr


def test_following_ends_when_nobody_reads_it_any_more(served):
    pid = str(asyncio.run(_talk("Hello")))
    with command("trace", pid) as watching:
        assert watching.stdout is not None and watching.stderr is not None
        assert b"No call was made" in watching.stderr.readline()
        assert b"Following" in watching.stderr.readline()
        watching.stdout.close()  # as `| head` does; the process itself is at rest
        assert watching.wait(timeout=60) == 0


def test_calls_are_followed_live(served):
    pid = asyncio.run(_talk("Delegate"))
    with command("trace", str(pid), "--full") as watching:
        assert watching.stdout is not None
        assert b"no.such() = unknown_call" in watching.stdout.readline()  # it is subscribed now

        async def call() -> None:
            async with await Client.connect() as client:
                await client.send(pid, "Wait for ever")
                await asyncio.to_thread(started.append, watching.stdout.readline())
                await client.signal(pid, "interrupt")
                await client.wait(pid)
                await client.kill(pid)

        started: list[bytes] = []
        asyncio.run(call())
        rest, _ = watching.communicate(timeout=60)
    assert b" test.wait() ..." in started[0]
    assert b"<... test.wait> = interrupted <" in rest and watching.returncode == 0


def test_an_audit_of_what_holds_and_of_what_was_changed(served):
    assert run("audit").returncode == 0  # nothing is there yet
    asyncio.run(_talk("Delegate", "Hello"))
    sound = run("audit")
    assert sound.returncode == 0 and "The hash chain holds" in sound.stdout
    assert "1 call, 0 that may have changed something, 1 denied." in sound.stdout
    run("stop")
    with sqlite3.connect(served / "state" / "journal.db") as db:
        db.execute("DROP TRIGGER contents_no_update")
        db.execute("UPDATE contents SET body = replace(body, 'Hello', 'Howdy')")
        db.execute("DROP TRIGGER calls_no_update")
        db.execute("UPDATE calls SET name = 'files.write', error = ''")
    db.close()
    broken = run("audit")
    assert broken.returncode == 1
    assert "The content of message" in broken.stdout and "was changed" in broken.stdout
    assert "Call 1 (files.write) is not what the model wrote." in broken.stdout
    told = json.loads(run("audit", "--json").stdout)
    assert not told["sound"] and len(told["problems"]) == 2
    assert [call["name"] for call in told["effected"]] == ["files.write"]
    assert told["effected"][0]["allowed"].startswith("without a question: ")


def test_an_audit_that_cannot_be_made_says_so(served):
    (served / "state").mkdir()
    (served / "state" / "journal.db").write_bytes(b"no journal" * 1000)
    done = run("audit", "--json")
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert json.loads(done.stdout)


def test_a_replay_says_whether_anything_differs(served):
    pid = asyncio.run(_talk("Hello", "Delegate"))
    same = run("replay", str(pid))
    assert same.returncode == 0, same.stderr
    assert "Turn 1: the same.\nTurn 2: the same.\n2 turns replayed, 0 of them differ." in (
        same.stdout
    )
    run("stop")
    (served / "script.json").write_text(json.dumps({"rules": [], "default": "No.\x1b[31m"}))
    other = run("replay", str(pid))
    assert other.returncode == 1
    assert "Turn 1 differs.\n  - Yes.\n  + No.␛[31m\n" in other.stdout
    assert "  - no.such {}" in other.stdout
    told = json.loads(run("replay", str(pid), "--json").stdout)
    assert [turn["same"] for turn in told["turns"]] == [False, False]


def test_what_a_call_holds_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]):
    lines = _Lines(full=False, as_json=False)
    evil = {"path": "a\x1b]0;owned\x07\n12:00:00 files.read() = ok", "text": "x" * 500}
    lines.past(Traced(1, 1, 1, "c1", 0.0, "files.write", evil, "write", verdict="once"))
    call = ToolCall("c2", "files.write", evil)
    lines.live(CallStarted(pid=1, turn=1, call=call))
    lines.live(CallAsked(pid=1, turn=1, call=call, title="Write\n\x1b[1mit?"))
    lines.live(CallAnswered(pid=1, turn=1, call_id="c2", answer="no"))
    lines.live(CallFinished(pid=1, turn=1, call=call, result="", seconds=0.1, error="call_denied"))
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and len(out.splitlines()) == 5
    assert "allowed once" in out and "denied by the person" in out and "…" in out


def test_calls_of_experts_have_the_effect_that_their_manifests_declare(home):
    """Else every reading of a table would be listed as a possible change."""
    effect = _declared()
    assert (effect("table.describe"), effect("files.write")) == ("read", "write")
    assert (effect("reader.extract"), effect("no.such")) == ("read", "")


def test_who_asked_for_a_call_is_told_where_it_was_not_the_model(
    capsys: pytest.CaptureFixture[str],
):
    for by in ("reader.extract", "python.run", ""):
        call = Traced(1, 1, 1, "n1", 0.0, "files.read", {}, "read", inner=True, by=by)
        _Lines(full=False, as_json=False).past(call)
    told = [line.partition("[")[2] for line in capsys.readouterr().out.splitlines()]
    assert told == [
        "read; for the reader]",
        "read; for code of python.run]",
        "read; for another call]",
    ]
