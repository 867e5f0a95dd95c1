"""``llmos reminders`` against a real kernel, in a process of its own, on the scripted double."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from llmos import paths
from llmos.client import Client
from llmos.reminders import lost, waiting
from tests.served import prepare, run, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield home


def _kept(*rows: tuple[str, int, float, str]) -> None:
    """Reminders (id, pid, seconds from now, text) that a kernel left; none may be running."""
    timers = [
        {"id": id, "pid": pid, "due": time.time() + ahead, "text": text}
        for id, pid, ahead, text in rows
    ]
    file = paths.private_dir(paths.state_dir()) / "timers.json"
    file.write_text(json.dumps({"next": 9, "timers": timers}))


async def _processes(*titles: str) -> list[int]:
    """New processes of a kernel that is stopped again."""
    async with await Client.connect() as client:
        pids = [(await client.create(title=title)).pid for title in titles]
    assert run("stop").returncode == 0
    return pids


def test_a_person_sees_and_cancels_the_reminders_of_all_chats(served: Path):
    shopping, other = asyncio.run(_processes("Shopping", ""))
    _kept(
        ("t1", other, 9e5, ""),
        ("t2", shopping, 8e5, "milk\n\x1b[31mand eggs"),
        ("t3", shopping, 7e5, "bread"),
    )
    first, second, third = run("reminders").stdout.splitlines()  # starts a kernel
    assert first.startswith("t3 ") and first.endswith(f": bread  [process {shopping} (Shopping)]")
    assert second.startswith("t2 ") and "\x1b" not in second and ": milk " in second
    assert third.startswith("t1 ") and third.endswith(f"  [process {other}]")
    rows = json.loads(run("reminders", "list", "--json").stdout)
    assert [(row["id"], row["pid"]) for row in rows] == [
        ("t3", shopping),
        ("t2", shopping),
        ("t1", other),
    ]
    cancelled = run("reminders", "cancel", "t3")
    assert cancelled.stdout.startswith("Cancelled t3, ") and cancelled.stdout.endswith(": bread\n")
    missing = run("reminders", "cancel", "t3")
    assert missing.returncode == 1
    assert missing.stderr == "llmos: There is no such reminder. There are: t1, t2.\n"
    assert len(run("reminders", "cancel", "all").stdout.splitlines()) == 2
    assert run("reminders").stdout.startswith("There are no reminders.")
    assert run("reminders", "cancel", "all").stdout == "There are no reminders.\n"


def test_kill_and_stop_say_what_becomes_of_reminders(served: Path):
    first, second = asyncio.run(_processes("A", "B"))
    _kept(("t1", first, 9e5, "a"), ("t2", first, 8e5, "b"), ("t3", second, 7e5, "call mum"))
    assert run("reminders").returncode == 0  # starts a kernel
    assert run("kill", str(first)).stdout == "Its 2 reminders are cancelled.\n"
    stopped, told = run("stop").stdout.splitlines()
    assert stopped == "The kernel has stopped."
    assert told.startswith("1 reminder is waiting (next: ")
    assert told.endswith(", call mum); it rings when llmos runs again.")
    [row] = json.loads(run("reminders", "--json").stdout)
    assert row["id"] == "t3"
    killed = run("kill", "--signal", "terminate", str(second), str(second))
    assert killed.stdout == f"Process {second}: Its reminder is cancelled.\n"
    assert run("stop").stdout == "The kernel has stopped.\n"


def _row(id: str, due: datetime, text: str = "") -> dict[str, object]:
    return {"id": id, "due": due.timestamp(), "text": text, "pid": 1, "title": ""}


def test_what_is_said_of_several_is_the_next_one_and_how_many_wait():
    noon = (datetime.now() + timedelta(days=1)).replace(hour=12, minute=0)
    rows = [_row("t1", noon), _row("t2", noon + timedelta(days=9), "milk")]
    assert waiting(rows) == (
        "2 reminders are waiting (next: 12:00 tomorrow); they ring when llmos runs again."
    )
    assert waiting([]) == lost([], []) == ""


def test_a_reminder_that_rang_meanwhile_is_not_said_to_be_cancelled():
    now = datetime.now()
    rang, later = _row("t1", now - timedelta(minutes=1)), _row("t2", now + timedelta(hours=1))
    assert lost([rang, later], [later]) == ""
    assert lost([rang, later], []) == "Its reminder is cancelled."
