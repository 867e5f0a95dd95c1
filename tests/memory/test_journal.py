"""The journal: durable, ordered, append-only, and honest about what went wrong."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from llmos import limits
from llmos.errors import NoSuchProcess, StoreCorrupt, StoreError, StoreFull
from llmos.events import Message, ToolCall
from llmos.labels import Label, Origin
from llmos.memory import schema
from llmos.memory.check import check
from llmos.memory.journal import Journal, new_id

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    journal = Journal(path)
    yield journal
    await journal.close()


def user(text: str) -> Message:
    return Message("user", text)


def texts(journal: Journal, pid: int) -> list[str]:
    return [stored.message.content for stored in journal.messages(pid)]


async def hold_disk(journal: Journal) -> threading.Event:
    """Keep the writer busy, as a slow disk would, until the event given back is set."""
    held, release = threading.Event(), threading.Event()

    def write(_: sqlite3.Connection) -> None:
        held.set()
        release.wait()

    journal._writer.submit(write)
    await asyncio.to_thread(held.wait)
    return release


def tamper(path: Path, *statements: str) -> None:
    """Change the file behind the journal's back, its triggers dropped."""
    db = sqlite3.connect(path)
    triggers = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for (name,) in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


# --- messages -------------------------------------------------------------------------------


async def test_messages_come_back_whole_and_in_order_after_a_restart(path: Path) -> None:
    first = Journal(path)
    pid = (await first.create_process(title="a chat")).pid
    call = ToolCall("c1", "clock.now", {"zone": "Grüße", "deep": [1, {"b": None, "a": 1.5}]})
    kept = [
        await first.append(pid, user("hello \N{SNOWMAN}\x00"), turn=1),
        await first.append(pid, Message("assistant", "", (call,)), turn=1),
        await first.append(
            pid, Message("tool", "12:00", call_id="c1", name="clock.now"), turn=1, seconds=0.25
        ),
        await first.append(pid, Message("tool", "", name="x"), turn=1, error="denied"),
        await first.append(pid, Message("assistant", "It is"), turn=1, partial=True),
    ]
    await first.close()
    second = Journal(path)
    assert second.messages(pid) == kept
    assert second.messages(pid, after=kept[2].seq) == kept[3:]
    assert [stored.seq for stored in kept] == [1, 2, 3, 4, 5]
    assert second.verify() == []
    await second.close()


async def test_the_order_of_a_calls_arguments_is_kept(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    call = ToolCall("1", "a.b", {"z": 1, "a": 2})
    await journal.append(pid, Message("assistant", "", (call,)))
    assert list(journal.messages(pid)[0].message.calls[0].arguments) == ["z", "a"]


async def test_text_that_utf8_cannot_hold_is_kept(journal: Journal) -> None:
    pid = (await journal.create_process(title="bad \ud83d title")).pid
    await journal.append(pid, user("half a pair \ud83d"))
    assert texts(journal, pid) == ["half a pair \ud83d"]
    assert journal.process(pid).title == "bad ? title"
    assert journal.verify() == []


async def test_labels_come_back_and_the_default_is_the_strictest(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    label = Label(Origin.PLUGIN, ("a", "b"))
    await journal.append(pid, user("x"), label=label)
    await journal.append(pid, user("y"))
    assert [record.label for record in journal.records(pid)] == [label, Label(Origin.UNTRUSTED)]


async def test_a_label_of_a_kind_not_known_is_read_as_untrusted(path: Path) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    await journal.append(pid, user("x"), label=Label(Origin.SYSTEM))
    await journal.close()
    tamper(path, "UPDATE messages SET origin = 99")
    journal = Journal(path)
    assert journal.records(pid)[0].label.origin is Origin.UNTRUSTED
    await journal.close()


async def test_order_is_the_order_of_appending_when_the_clock_is_set_back(path: Path) -> None:
    times = iter([50.0, 100.0, 20.0, -5.0])
    journal = Journal(path, clock=lambda: next(times))
    pid = (await journal.create_process()).pid
    for text in "abc":
        await journal.append(pid, user(text))
    assert [(m.message.content, m.time) for m in journal.messages(pid)] == [
        ("a", 100.0),
        ("b", 20.0),
        ("c", -5.0),
    ]
    assert journal.verify() == []
    await journal.close()


async def test_records_of_all_processes_can_be_read_in_pieces(journal: Journal) -> None:
    a = (await journal.create_process()).pid
    b = (await journal.create_process()).pid
    for pid, text in ((a, "1"), (b, "2"), (a, "3")):
        await journal.append(pid, user(text))
    first = journal.records(limit=2)
    rest = journal.records(after=first[-1].stored.seq)
    assert [(r.pid, r.stored.message.content) for r in first + rest] == [
        (a, "1"),
        (b, "2"),
        (a, "3"),
    ]


async def test_a_message_for_no_process_is_refused(journal: Journal) -> None:
    for pid in (7, 0, -1, 1 << 70):
        with pytest.raises(NoSuchProcess):
            await journal.append(pid, user("x"))
    for pid in (7, 1 << 70):
        with pytest.raises(NoSuchProcess):
            journal.messages(pid)
    assert journal.verify() == []


async def test_an_id_is_never_used_twice(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    stored = await journal.append(pid, user("x"), id="mine")
    assert stored.id == "mine"
    with pytest.raises(StoreError, match="mine already"):
        await journal.append(pid, user("y"), id="mine")
    assert texts(journal, pid) == ["x"]


async def test_what_json_cannot_say_is_refused_in_a_sentence(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    loop: list[object] = []
    loop.append(loop)
    for arguments in ({"a": b"bytes"}, {"a": loop}):
        with pytest.raises(StoreError, match="cannot be kept"):
            await journal.append(pid, Message("assistant", "", (ToolCall("1", "x", arguments),)))
    with pytest.raises(StoreError, match="nan"):
        await journal.append(pid, user("x"), seconds=float("nan"))


async def test_a_cancelled_append_is_kept_nevertheless(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    release = await hold_disk(journal)
    task = asyncio.create_task(journal.append(pid, user("said")))
    await asyncio.sleep(0)  # let it reach the queue
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await journal.append(pid, user("after"))
    assert texts(journal, pid) == ["said", "after"]


def test_ids_are_version_7_and_differ() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(i) == 32 and i[12] == "7" and i[16] in "89ab" for i in ids)


# --- processes ------------------------------------------------------------------------------


async def test_a_process_comes_back_with_all_that_was_told(path: Path) -> None:
    journal = Journal(path, clock=lambda: 12.5)
    made = await journal.create_process(
        title="t", system="Be brief.", priority="idle", budget={"tokens": 100, "seconds": 1.5}
    )
    child = await journal.create_process(parent=made.pid)
    await journal.close()
    journal = Journal(path)
    assert journal.process(made.pid) == made
    assert made.budget == {"tokens": 100, "seconds": 1.5}
    assert (made.system, made.priority, made.parent, made.created) == ("Be brief.", "idle", 0, 12.5)
    assert child.parent == made.pid
    assert child.fork_seq is None
    assert [p.pid for p in journal.processes()] == [child.pid, made.pid]
    await journal.close()


async def test_an_ended_process_is_listed_only_when_asked_for(journal: Journal) -> None:
    a = (await journal.create_process()).pid
    b = (await journal.create_process()).pid
    await journal.end_process(a, "killed")
    await journal.end_process(a, "again")
    assert [p.pid for p in journal.processes()] == [b]
    assert [p.reason for p in journal.processes(ended=True)] == ["", "killed"]
    await journal.append(a, Message("assistant", "last wor"), partial=True)
    assert texts(journal, a) == ["last wor"]


async def test_a_pid_is_never_given_out_again(path: Path) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    await journal.close()
    tamper(path, "DELETE FROM processes")
    journal = Journal(path)
    assert (await journal.create_process()).pid == pid + 1
    await journal.close()


async def test_a_process_is_renamed(journal: Journal) -> None:
    pid = (await journal.create_process(title="old")).pid
    await journal.rename(pid, "new")
    assert journal.process(pid).title == "new"


async def test_what_is_asked_of_no_process_is_refused(journal: Journal) -> None:
    for wanted in (
        journal.end_process(9, ""),
        journal.rename(9, "x"),
        journal.fork_process(9),
        journal.create_process(parent=9),
        journal.start_call(9, 1, ToolCall("1", "x", {})),
        journal.finish_turn(9, 1, "stop"),
    ):
        with pytest.raises(NoSuchProcess, match="no process 9"):
            await wanted
    assert journal.processes(ended=True) == []


async def test_turns_and_what_they_used_survive_a_restart(path: Path) -> None:
    journal = Journal(path, clock=lambda: 3.0)
    pid = (await journal.create_process()).pid
    await journal.append(pid, user("x"), turn=1)
    await journal.append(pid, user("y"), turn=2)
    await journal.finish_turn(pid, 1, "stop", tokens=10, seconds=0.5)
    await journal.finish_turn(pid, 2, "length", tokens=5, seconds=0.25)
    await journal.start_call(pid, 2, ToolCall("1", "x", {}))
    await journal.close()
    journal = Journal(path)
    process = journal.process(pid)
    assert (process.turns, process.tokens, process.seconds, process.calls) == (2, 15, 0.75, 1)
    assert process.active == 3.0
    await journal.close()


# --- forks ----------------------------------------------------------------------------------


async def test_a_fork_shares_the_past_and_not_the_future(journal: Journal) -> None:
    parent = (await journal.create_process(title="p", system="s", priority="idle")).pid
    await journal.append(parent, user("1"), turn=1)
    await journal.append(parent, user("2"), turn=2)
    child = await journal.fork_process(parent)
    await journal.append(parent, user("parent 3"))
    await journal.append(child.pid, user("child 3"))
    assert texts(journal, parent) == ["1", "2", "parent 3"]
    assert texts(journal, child.pid) == ["1", "2", "child 3"]
    assert (child.title, child.system, child.priority) == ("p", "s", "idle")
    assert (child.parent, child.fork_seq, child.turns) == (parent, 2, 2)
    assert len(journal.records()) == 4  # nothing was copied
    assert journal.verify() == []


async def test_a_fork_of_a_fork_sees_each_ancestor_up_to_where_it_left(journal: Journal) -> None:
    a = (await journal.create_process()).pid
    await journal.append(a, user("a1"))
    second = await journal.append(a, user("a2"))
    b = (await journal.fork_process(a)).pid
    await journal.append(a, user("a3"))
    await journal.append(b, user("b1"))
    c = (await journal.fork_process(b, title="c", priority="normal", budget={"calls": 1})).pid
    early = (await journal.fork_process(b, upto=second.seq - 1)).pid
    await journal.append(b, user("b2"))
    await journal.append(c, user("c1"))
    await journal.append(early, user("e1"))
    assert texts(journal, c) == ["a1", "a2", "b1", "c1"]
    assert texts(journal, early) == ["a1", "e1"]
    assert [m.message.content for m in journal.messages(c, after=second.seq)] == ["b1", "c1"]
    assert journal.process(c).budget == {"calls": 1}
    assert journal.process(c).priority == "normal"


async def test_a_fork_of_an_empty_or_ended_process_works(journal: Journal) -> None:
    empty = (await journal.create_process()).pid
    child = await journal.fork_process(empty)
    await journal.append(empty, user("later"))
    assert child.fork_seq == 0
    assert journal.messages(child.pid) == []
    await journal.end_process(empty, "done")
    assert texts(journal, (await journal.fork_process(empty)).pid) == ["later"]


async def test_a_fork_sees_all_that_was_appended_before_it(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    forked = asyncio.gather(
        asyncio.gather(*(journal.append(pid, user(str(n))) for n in range(20))),
        journal.fork_process(pid),
    )
    _, child = await forked
    assert texts(journal, child.pid) == [str(n) for n in range(20)]


# --- calls ----------------------------------------------------------------------------------


async def test_a_call_is_kept_from_start_to_finish(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    call = ToolCall("call_1", "files.read", {"path": "a", "n": 2})
    number = await journal.start_call(pid, 3, call)
    again = await journal.start_call(pid, 3, call)  # models repeat ids
    assert [c.number for c in journal.open_calls()] == [number, again]
    await journal.finish_call(number, result="four", seconds=0.5)
    await journal.finish_call(again, seconds=1.0, error="denied")
    assert journal.open_calls() == []
    first, second = journal.calls(pid)
    assert (first.call, first.turn, first.seconds, first.error) == (call, 3, 0.5, "")
    assert first.result_bytes == 4
    assert first.result_hash.startswith("04efaf08")
    assert second.error == "denied"
    with pytest.raises(StoreError, match="no call"):
        await journal.finish_call(number)


# --- durability -----------------------------------------------------------------------------

WRITES_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from llmos.events import Message, ToolCall
from llmos.memory.journal import Journal

async def main():
    journal = Journal(Path(sys.argv[1]))
    pid = (await journal.create_process()).pid
    await journal.start_call(pid, 1, ToolCall(f"of {pid}", "slow.call", {}))
    async def talk(who):
        for n in range(10_000):
            stored = await journal.append(pid, Message("user", f"{who} {n} " + "x" * (n % 3000)))
            print(stored.id, flush=True)
    await asyncio.gather(*(talk(who) for who in range(4)))

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    dice = random.Random(7)
    acknowledged: list[str] = []
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", WRITES_UNTIL_KILLED, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRON,
        ) as child:
            assert child.stdout is not None
            for _ in range(dice.randrange(1, 150)):
                acknowledged.append(child.stdout.readline().strip())
            child.send_signal(signal.SIGKILL)
            # What it had said before it died counts too, but for a line cut short.
            acknowledged += [line.strip() for line in child.stdout if len(line) == 33]
    journal = Journal(path)
    stored = [record.stored.id for record in journal.records()]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)
    assert journal.verify() == []
    assert [call.call.id for call in journal.open_calls()] == [f"of {n}" for n in range(1, 11)]
    asyncio.run(journal.close())


async def test_many_appends_at_once_share_a_commit(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    release = await hold_disk(journal)
    before = journal.commits
    tasks = [asyncio.create_task(journal.append(pid, user(str(n)))) for n in range(200)]
    await asyncio.sleep(0)  # all reach the queue
    assert not any(task.done() for task in tasks)
    release.set()
    stored = await asyncio.gather(*tasks)
    assert journal.commits - before == 2  # the one that was held, and all the others
    assert [s.seq for s in stored] == list(range(1, 201))
    assert texts(journal, pid) == [str(n) for n in range(200)]
    assert journal.verify() == []


async def test_one_refused_write_does_not_undo_its_neighbours(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    results = await asyncio.gather(
        journal.append(pid, user("a"), id="same"),
        journal.append(pid, user("b"), id="same"),
        journal.append(99, user("c")),
        journal.append(pid, user("d")),
        return_exceptions=True,
    )
    assert [type(r).__name__ for r in results] == [
        "StoredMessage",
        "StoreError",
        "NoSuchProcess",
        "StoredMessage",
    ]
    assert texts(journal, pid) == ["a", "d"]
    assert journal.verify() == []


async def test_a_write_that_fails_halfway_is_undone_alone(journal: Journal) -> None:
    pid = (await journal.create_process(title="before")).pid

    def halfway(db: sqlite3.Connection) -> None:
        db.execute("UPDATE processes SET title = 'half'")
        raise KeyError("halfway")

    release = await hold_disk(journal)
    together = asyncio.gather(
        journal.append(pid, user("a")),
        journal._write(halfway),
        journal.append(pid, user("b")),
        return_exceptions=True,
    )
    await asyncio.sleep(0)  # all reach the queue
    release.set()
    assert isinstance((await together)[1], KeyError)
    assert journal.process(pid).title == "before"
    assert texts(journal, pid) == ["a", "b"]


async def test_two_openings_of_one_file_keep_one_chain(path: Path) -> None:
    a, b = Journal(path), Journal(path)
    pid = (await a.create_process()).pid
    await asyncio.gather(
        *(j.append(pid, user(str(n))) for n in range(20) for j in (a, b)),
    )
    assert len(b.messages(pid)) == 40
    assert a.verify() == []
    await a.close()
    await b.close()


async def test_closing_commits_what_is_queued(path: Path) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    tasks = [asyncio.create_task(journal.append(pid, user(str(n)))) for n in range(50)]
    await asyncio.sleep(0)
    await journal.close()
    await journal.close()
    assert len(await asyncio.gather(*tasks)) == 50
    assert not path.with_name(path.name + "-wal").exists()
    with pytest.raises(StoreError, match="closed"):
        await journal.append(pid, user("x"))
    with pytest.raises(StoreError, match="closed"):
        journal.messages(pid)


async def test_every_commit_reaches_the_disk(journal: Journal) -> None:
    def settings(db: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    full = 2
    assert await journal._write(settings) == ["wal", full, 1]


# --- append-only and chained ----------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE messages SET role = 'system'",
        "DELETE FROM messages",
        "UPDATE contents SET body = '{}'",
        "DELETE FROM contents",
        "DELETE FROM processes",
        "UPDATE processes SET parent = 1",
        "DELETE FROM calls",
        "UPDATE calls SET error = 'none'",
        "DELETE FROM turns",
        "UPDATE turns SET tokens = 0",
    ],
)
async def test_the_store_itself_refuses_to_change_the_past(
    journal: Journal, statement: str
) -> None:
    pid = (await journal.create_process()).pid
    await journal.append(pid, user("x"))
    await journal.finish_call(await journal.start_call(pid, 1, ToolCall("1", "x", {})))
    await journal.finish_turn(pid, 1, "stop", tokens=3)
    with pytest.raises(StoreError, match="append-only"):
        await journal._write(lambda db: db.execute(statement).rowcount)
    assert texts(journal, pid) == ["x"]


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE messages SET role = 'system' WHERE seq = 2", "record of message 2 was changed"),
        ("UPDATE messages SET origin = 0 WHERE seq = 4", "record of message 4 was changed"),
        ("UPDATE contents SET body = replace(body, 'm2', 'no')", "content of message 2 was"),
        ("DELETE FROM contents WHERE seq = 3", "content of message 3 is lost"),
        ("DELETE FROM messages WHERE seq IN (1, 2)", "Messages 1 to 2 are lost"),
        ("DELETE FROM messages WHERE seq = 4", "Message 4 is lost"),
        ("UPDATE messages SET seq = 9 WHERE seq = 4", "Messages 4 to 8 are lost"),
        ("UPDATE messages SET content_hash = 'text' WHERE seq = 1", "cannot be read"),
        ("UPDATE messages SET pid = 44 WHERE seq = 1", "refers to processes that is not there"),
    ],
)
async def test_a_change_behind_its_back_is_found(path: Path, statement: str, problem: str) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    for n in range(1, 5):
        await journal.append(pid, user(f"m{n}"))
    assert journal.verify() == []
    await journal.close()
    tamper(path, statement)
    journal = Journal(path)
    assert any(problem in found for found in journal.verify()), journal.verify()
    await journal.close()


async def test_an_erased_content_leaves_the_chain_whole(path: Path, journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    for text in ("a", "a secret", "c"):
        await journal.append(pid, user(text))

    def erase(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO erasures VALUES (2, 0, 'asked to')")
        db.execute("DELETE FROM contents WHERE seq = 2")

    await journal._write(erase)
    assert journal.verify() == []
    assert texts(journal, pid) == ["a", "", "c"]
    assert [record.erased for record in journal.records(pid)] == [False, True, False]
    await journal.append(pid, user("d"))
    assert journal.verify() == []


async def test_equal_contents_have_different_hashes(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    for _ in range(2):
        await journal.append(pid, user("yes"))
    rows = await journal._write(
        lambda db: db.execute("SELECT count(DISTINCT content_hash) FROM messages").fetchall()
    )
    assert rows[0][0] == 2


# --- opening --------------------------------------------------------------------------------


async def test_the_files_are_private(path: Path, journal: Journal) -> None:
    await journal.create_process()
    files = list(path.parent.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_file_that_others_could_read_is_made_private(path: Path) -> None:
    await Journal(path).close()
    path.chmod(0o644)
    await Journal(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a b%20c?d#e.db", "jöurnal.db"])
async def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    journal = Journal(tmp_path / name)
    await journal.create_process()
    await journal.close()
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_that_is_no_database_is_named_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"once upon a time " * 100)
    with pytest.raises(StoreCorrupt, match=r"journal\.db is damaged.*not a database.*backup"):
        Journal(path)
    assert path.read_bytes() == b"once upon a time " * 100


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE cookies (name)")
    db.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        Journal(path)


async def test_a_damaged_page_is_found_and_never_a_crash(path: Path) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    for n in range(200):
        await journal.append(pid, user(f"{n} " + "word " * 100))
    await journal.close()
    whole = path.read_bytes()
    found = 0
    for page in range(1, len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + b"\xaa" * 4096 + whole[(page + 1) * 4096 :])
        try:
            journal = Journal(path)
        except StoreCorrupt:
            found += 1
            continue
        try:
            found += bool(journal.verify())
            journal.messages(pid)
        except (StoreCorrupt, NoSuchProcess):
            pass
        finally:
            await journal.close()
    assert found == len(whole) // 4096 - 1


async def test_a_file_cut_short_is_corrupt(path: Path) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    for n in range(50):
        await journal.append(pid, user(f"{n} " + "word " * 200))
    await journal.close()
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreCorrupt, match="damaged"):
        Journal(path)


async def test_a_journal_of_a_newer_version_is_refused(path: Path) -> None:
    await Journal(path).close()
    db = sqlite3.connect(path)
    db.execute("INSERT INTO migrations VALUES ('m999_future', 0)")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match=r"newer llmos \(it has m999_future\)"):
        Journal(path)


async def test_an_older_journal_is_migrated_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    await journal.append(pid, user("kept"))
    await journal.close()

    def _m999_moods(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE moods (pid INTEGER, mood TEXT)")

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, _m999_moods])
    for _ in range(2):
        journal = Journal(path)
        assert texts(journal, pid) == ["kept"]
        assert journal.verify() == []
        await journal.close()
    db = sqlite3.connect(path)
    names = [name for (name,) in db.execute("SELECT name FROM migrations ORDER BY rowid")]
    db.close()
    assert names[:2] == ["m001_journal", "m002_turns"]
    assert names[-1] == "m999_moods"


async def test_a_migration_that_fails_leaves_the_journal_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Journal(path).close()

    def _m999_broken(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (a)")
        db.execute("CREATE TABLE half (a)")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, _m999_broken])
        with pytest.raises(StoreError, match="half already exists"):
            Journal(path)
    journal = Journal(path)
    assert journal.verify() == []
    await journal.close()


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A directory that this process cannot write, also when root runs the tests."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o555)
    nobody, me = 65534, os.geteuid()
    if me == 0:
        os.seteuid(nobody)
    try:
        yield directory
    finally:
        os.seteuid(me)
        directory.chmod(0o755)
        shutil.rmtree(directory)


def test_a_read_only_directory_gives_one_sentence(read_only: Path) -> None:
    for path in (read_only / "journal.db", read_only / "state" / "journal.db"):
        with pytest.raises(StoreError, match=r"cannot be opened for writing.*Permission"):
            Journal(path)


def test_a_directory_in_the_files_place_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Journal(tmp_path)


# --- a full disk ----------------------------------------------------------------------------


def test_it_does_not_open_on_a_nearly_full_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_FREE_BYTES", 1 << 62)
    with pytest.raises(StoreFull, match=r"disk that holds .*journal\.db has only .* Free some"):
        Journal(path)


def test_a_first_start_on_a_full_disk_leaves_no_journal_that_looks_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "journal.db"
    with monkeypatch.context() as full:
        full.setattr(limits, "STORE_FREE_BYTES", 1 << 62)
        with pytest.raises(StoreFull):
            Journal(path)
    assert not list(path.parent.iterdir())
    Journal(path)._close()
    assert check(path) == []
    with monkeypatch.context() as full:  # what was begun before is left as it is
        full.setattr(limits, "STORE_FREE_BYTES", 1 << 62)
        with pytest.raises(StoreFull):
            Journal(path)
    assert check(path) == []


async def test_a_nearly_full_disk_refuses_new_work_but_not_the_running(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = (await journal.create_process()).pid
    monkeypatch.setattr(limits, "STORE_FREE_BYTES", 1 << 62)
    for refused in (
        journal.append(pid, user("more")),
        journal.create_process(),
        journal.fork_process(pid),
    ):
        with pytest.raises(StoreFull):
            await refused
    await journal.append(pid, Message("assistant", "the end of a turn"))
    await journal.end_process(pid, "done")


async def test_a_store_that_is_full_keeps_what_it_has_and_goes_on_when_there_is_room(
    journal: Journal,
) -> None:
    pid = (await journal.create_process()).pid
    await journal.append(pid, user("early"))

    def room(db: sqlite3.Connection, pages: int) -> None:
        used = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {used + pages}")

    await journal._write(lambda db: room(db, 4))
    results = await asyncio.gather(
        journal.append(pid, user("small")),
        journal.append(pid, user("huge " * 20_000)),
        journal.append(pid, user("small too")),
        return_exceptions=True,
    )
    assert [type(r).__name__ for r in results] == ["StoredMessage", "StoreFull", "StoredMessage"]
    assert texts(journal, pid) == ["early", "small", "small too"]
    assert journal.verify() == []
    await journal._write(lambda db: room(db, 10_000))
    await journal.append(pid, user("huge " * 20_000))
    assert len(journal.messages(pid)) == 4
    assert journal.verify() == []


FILLS_A_DISK = """
import asyncio, sys
from pathlib import Path
from llmos import limits
from llmos.errors import StoreFull
from llmos.events import Message
from llmos.memory.journal import Journal

async def main():
    limits.STORE_FREE_BYTES = 0  # no reserve: let the disk itself say no
    path = Path(sys.argv[1]) / "state" / "journal.db"
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    ballast = Path(sys.argv[1]) / "ballast"
    ballast.write_bytes(bytes(400_000))
    kept, refused = [], 0
    while refused < 3:
        try:
            kept.append((await journal.append(pid, Message("user", "x" * 20_000))).id)
        except StoreFull:
            refused += 1
    assert len(kept) > 5, kept
    assert [m.id for m in journal.messages(pid)] == kept
    ballast.unlink()
    kept.append((await journal.append(pid, Message("user", "room again"))).id)
    await journal.close()
    journal = Journal(path)
    assert [m.id for m in journal.messages(pid)] == kept
    assert journal.verify() == [], journal.verify()
    await journal.close()
    print("kept", len(kept))

asyncio.run(main())
"""


def test_nothing_acknowledged_is_lost_on_a_disk_that_really_is_full(tmp_path: Path) -> None:
    script = (
        f'mount -t tmpfs -o size=2m none "{tmp_path}" || exit 77; '
        f'exec "{sys.executable}" -c "$SCRIPT" "{tmp_path}"'
    )
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare(1) to mount a small file system")
    done = subprocess.run(
        [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", script],
        env={**ENVIRON, "SCRIPT": FILLS_A_DISK},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this system lets nobody mount a small file system of their own")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kept")
