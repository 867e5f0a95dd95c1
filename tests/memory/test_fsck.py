"""fsck: finds what is wrong, rebuilds what is derived, never touches the truth."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from llmos import limits
from llmos.engine.swap import Snapshot
from llmos.engine.swapfile import SwapFiles
from llmos.errors import StoreCorrupt, StoreError, StoreFull
from llmos.events import Message, ToolCall
from llmos.fsck import Snapshots
from llmos.fsck import fsck as command
from llmos.labels import Label, Origin
from llmos.memory.check import check
from llmos.memory.consistency import consistent
from llmos.memory.erase import erase
from llmos.memory.files.mtab import Entry, save
from llmos.memory.files.notes import Notes
from llmos.memory.fsck import Problem, fsck
from llmos.memory.journal import Journal
from llmos.memory.lock import lock
from llmos.memory.passages import Passage
from llmos.memory.salvage import damaged_copies, salvage
from llmos.memory.words import FILE, open_words
from tests.memory.test_journal import tamper


@pytest.fixture
def path(home: Path) -> Path:
    return home / "state" / "journal.db"


CALL = ToolCall("c1", "clock.now", {"n": 1})


async def fill(path: Path, turns: int = 3) -> int:
    """A journal with everything in it that can be; returns the process's pid."""
    journal = Journal(path)
    pid = (await journal.create_process(title="talk", system="Be brief.")).pid
    for turn in range(1, turns + 1):
        asked = await journal.append(
            pid, Message("user", f"{turn}? " + "word " * 300), turn=turn, label=Label(Origin.USER)
        )
        reply = Message("assistant", "", (CALL,))
        await journal.append(pid, reply, turn=turn, label=Label(Origin.MODEL, (asked.id,)))
        number = await journal.start_call(pid, turn, CALL)
        await journal.finish_call(number, result="12:00", seconds=0.5)
        await journal.append(pid, Message("tool", "12:00", call_id="c1"), turn=turn)
        change = json.dumps({"evicted": [f"p{asked.seq}.1"], "front": "- earlier"})
        front = Label(Origin.SYSTEM, (asked.id,))
        await journal.append(pid, Message("window", change), turn=turn, label=front)
        await journal.finish_turn(pid, turn, "stop", tokens=5)
    await journal.fork_process(pid)
    await journal.close()
    return pid


async def append(path: Path, message: Message, **how: Any) -> None:
    journal = Journal(path)
    await journal.append(1, message, **how)
    await journal.close()


def found(path: Path) -> list[str]:
    """What fsck says of the journal alone."""
    return [problem.sentence for problem in asyncio.run(fsck(path, {})).problems]


# --- the journal ------------------------------------------------------------------------------


def test_a_sound_journal_has_no_problems_and_neither_has_none(path: Path) -> None:
    assert found(path) == []
    asyncio.run(fill(path))
    before = path.read_bytes()
    assert found(path) == []
    assert path.read_bytes() == before


def test_an_erased_and_an_imported_journal_are_sound(path: Path) -> None:
    async def work() -> None:
        await fill(path)
        journal = Journal(path)
        await erase(journal, [1, 2], "asked to")
        await journal.close()

    asyncio.run(work())
    assert found(path) == []


@pytest.mark.parametrize(
    ("message", "how", "problem"),
    [
        (
            Message("note", "x"),
            {"label": Label(Origin.MODEL, ("0" * 32,))},
            f"made of {'0' * 32}, which is not there",
        ),
        (Message("window", "{}"), {}, "What left the window at message 13 cannot be read"),
        (
            Message("window", '{"evicted": ["p99"], "front": ""}'),
            {},
            "names page p99, which is not there",
        ),
        (
            Message("window", '{"evicted": ["p14"], "front": ""}'),
            {},
            "names page p14, which is not there",
        ),
        (
            Message("window", '{"evicted": ["p1.77"], "front": ""}'),
            {},
            "names page p1.77, and the record has fewer",
        ),
        (
            Message("window", '{"evicted": ["me"], "front": ""}'),
            {},
            "is called me, which is no page's id",
        ),
        (
            Message("tool", "x", call_id="c7"),
            {"turn": 1},
            "the result of a call that was never made",
        ),
    ],
)
def test_a_record_that_refers_to_nothing_is_found(
    path: Path, message: Message, how: dict[str, Any], problem: str
) -> None:
    asyncio.run(fill(path))
    asyncio.run(append(path, message, **how))
    [sentence] = found(path)
    assert problem in sentence


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE turns SET turn = 77 WHERE number = 1", "Turn 77 of process 1 ended, and nothing"),
        ("UPDATE calls SET turn = 77 WHERE number = 1", "Call 1 was made in turn 77 of process 1"),
        ("UPDATE calls SET seconds = NULL WHERE number = 2", "neither under way nor finished"),
        ("UPDATE processes SET fork_seq = 99 WHERE pid = 2", "forked at message 99, which is not"),
        ("UPDATE processes SET parent = NULL WHERE pid = 2", "was forked from no process"),
        ("UPDATE processes SET budget = 'no' WHERE pid = 1", "budget of process 1 cannot be read"),
        ("INSERT INTO erasures VALUES (1, 0, 'x')", "to be erased, and its content is still there"),
        ("DELETE FROM contents WHERE seq = 3", "content of message 3 is lost"),
    ],
)
def test_rows_that_contradict_each_other_are_found(
    path: Path, statement: str, problem: str
) -> None:
    asyncio.run(fill(path))
    tamper(path, statement)
    assert any(problem in sentence for sentence in found(path)), found(path)


def test_progress_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(fill(path))
    monkeypatch.setattr("llmos.memory.check.EVERY", 1)
    monkeypatch.setattr("llmos.memory.consistency.EVERY", 1)
    told: list[tuple[str, int, int]] = []
    asyncio.run(fsck(path, {}, progress=lambda *what: told.append(what)))
    assert ("the records", 12, 12) in told
    assert ("what it says", 12, 12) in told


# --- what is derived --------------------------------------------------------------------------


class Index:
    """Something derived, as broken as a test wants it."""

    def __init__(self, *problems: str, mends: bool = True, raises: bool = False) -> None:
        self.found = list(problems)
        self.mends = mends
        self.raises = raises
        self.rebuilt = 0

    def problems(self) -> list[str]:
        if self.raises:
            raise RuntimeError("segment missing")
        return self.found

    async def rebuild(self) -> None:
        self.rebuilt += 1
        if not self.mends:
            raise OSError("read-only")
        self.found = []
        self.raises = False


async def test_what_is_derived_is_rebuilt_only_when_asked_and_only_where_unsound(
    path: Path,
) -> None:
    sound, broken, crashing = Index(), Index("3 passages are missing."), Index(raises=True)
    stuck = Index("It is stuck.", mends=False)
    derived = {"sound": sound, "broken": broken, "crashing": crashing, "stuck": stuck}
    first = await fsck(path, derived)
    assert [(p.where, p.repaired) for p in first.problems] == [
        ("broken", False),
        ("crashing", False),
        ("stuck", False),
    ]
    assert "segment missing" in first.problems[1].sentence
    assert broken.rebuilt == 0
    second = await fsck(path, derived, repair=True)
    assert [problem.repaired for problem in second.problems] == [True, True, False]
    assert sound.rebuilt == 0
    third = await fsck(path, derived)
    assert third.problems == (Problem("stuck", "It is stuck."),)
    assert not third.journal_damaged


def snapshots(folder: Path, count: int = 4) -> list[Path]:
    files = SwapFiles(folder, 1 << 30, "model")
    for n in range(count):
        tokens = tuple(range(n * 1000, n * 1000 + limits.SWAP_FILE_TOKENS))
        files.put(Snapshot(tokens, bytearray(os.urandom(5000)), "model"))
    files.close()
    return sorted(folder.glob("*.snapshot"))


async def test_unsound_snapshots_are_dropped_and_the_others_stay(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SWAP_FILE_SPARE_BYTES", 0)
    short, flipped, none, whole = snapshots(tmp_path / "swap")
    os.truncate(short, 3000)
    raw = bytearray(flipped.read_bytes())
    raw[-100] ^= 1
    flipped.write_bytes(raw)
    none.write_bytes(b"once upon a time")
    derived = {"snapshots": Snapshots(tmp_path / "swap")}
    report = await fsck(path, derived)
    reasons = " ".join(problem.sentence for problem in report.problems)
    assert len(report.problems) == 3
    assert "its checksum is wrong" in reasons and "it is no snapshot" in reasons
    await fsck(path, derived, repair=True)
    assert list((tmp_path / "swap").glob("*")) == [whole]
    assert (await fsck(path, derived)).sound
    assert Snapshots(tmp_path / "never made").problems() == []


# --- salvage ----------------------------------------------------------------------------------


def damage(path: Path, *pages: int) -> None:
    """Overwrite whole pages of the file."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xaa" * 4096)


async def texts(path: Path) -> dict[str, str]:
    """Id to content of all records that a journal holds."""
    journal = Journal(path)
    try:
        return {r.stored.id: r.stored.message.content for r in journal.records() if not r.erased}
    finally:
        await journal.close()


@pytest.mark.parametrize(
    ("statement", "lost", "contents"),
    [
        ("UPDATE messages SET origin = 0 WHERE seq = 5", ((5, 5),), ()),
        ("UPDATE contents SET body = replace(body, '2?', '3?')", (), (5,)),
        ("DELETE FROM messages WHERE seq IN (1, 2)", ((1, 2),), ()),
        ("DELETE FROM messages WHERE seq > 10", ((11, 12),), ()),
        ("DELETE FROM contents WHERE seq = 3", (), (3,)),
        ("UPDATE messages SET hash = zeroblob(32) WHERE seq = 6", ((6, 6),), ()),
        ("UPDATE messages SET role = 'x', hash = 'no' WHERE seq IN (4, 8)", ((4, 4), (8, 8)), ()),
    ],
)
async def test_every_record_that_verifies_is_saved_and_the_rest_is_named(
    path: Path, statement: str, lost: Any, contents: Any
) -> None:
    await fill(path)
    before = await texts(path)
    tamper(path, statement)
    damaged = path.read_bytes()
    done = salvage(path)
    assert (done.lost, done.contents) == (lost, contents)
    assert done.kept.read_bytes() == damaged
    assert done.kept in damaged_copies(path)
    assert (check(path), consistent(path)) == ([], [])
    after = await texts(path)
    gone = {seq for a, b in lost for seq in range(a, b + 1)} | set(contents)
    assert after == {id: text for n, (id, text) in enumerate(before.items(), 1) if n not in gone}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    journal = Journal(path)
    assert (await journal.append(1, Message("user", "on it goes"))).seq == 13
    assert journal.verify() == []
    await journal.close()


async def test_what_was_to_be_forgotten_is_still_to_be_in_a_salvaged_journal(path: Path) -> None:
    await fill(path)
    journal = Journal(path)
    await journal.ask("forget m12")
    await journal.close()
    tamper(path, "UPDATE messages SET origin = 0 WHERE seq = 5")
    salvage(path)
    journal = Journal(path)
    assert journal.asked() == ["forget m12"]
    await journal.done("forget m12")
    assert journal.asked() == []
    await journal.close()


async def test_whatever_page_is_destroyed_nothing_that_can_be_read_is_lost(path: Path) -> None:
    await fill(path, turns=40)
    sound = path.read_bytes()
    before = await texts(path)
    dice = random.Random(5)
    saved = 0
    for page in dice.sample(range(1, len(sound) // 4096), 12):
        for file in path.parent.iterdir():
            file.unlink()
        path.write_bytes(sound)
        damage(path, page)
        try:
            done = salvage(path)
        except (StoreCorrupt, StoreError) as error:  # the table of tables itself
            assert "cannot be read" in str(error) or "damaged" in str(error)
            assert path.exists()
            continue
        saved += 1
        assert check(path) == []
        after = await texts(path)
        assert after.items() <= before.items()
        lost = sum(b - a + 1 for a, b in done.lost) + len(done.contents)
        assert len(before) - len(after) == lost
        assert done.kept.stat().st_size == len(sound)
    assert saved >= 8


async def test_a_process_whose_row_is_lost_keeps_its_records(path: Path) -> None:
    await fill(path)
    before = await texts(path)
    tamper(path, "DELETE FROM processes WHERE pid = 1")
    done = salvage(path)
    assert done.processes == (1,)
    assert await texts(path) == before
    assert check(path) == []


async def test_a_salvaged_journal_can_be_salvaged_again(path: Path) -> None:
    await fill(path)
    tamper(path, "DELETE FROM messages WHERE seq = 4")
    salvage(path)
    tamper(path, "DELETE FROM messages WHERE seq = 5")
    for kept in path.parent.glob("*damaged*"):
        kept.unlink()
    assert salvage(path).lost == ((4, 5),)
    assert check(path) == []


async def test_a_log_that_was_not_yet_folded_in_is_saved_too_and_never_applied_to_the_new_file(
    path: Path,
) -> None:
    await fill(path)
    journal = Journal(path)
    late = await journal.append(1, Message("user", "still in the log"), turn=9)
    log = path.with_name(path.name + "-wal").read_bytes()
    main = path.read_bytes()
    await journal.close()
    path.write_bytes(main)  # as a kill leaves it
    path.with_name(path.name + "-wal").write_bytes(log)
    salvage(path)
    assert late.id in await texts(path)
    assert check(path) == []


async def test_a_damaged_definition_of_a_trigger_hides_no_record(path: Path) -> None:
    await fill(path)
    data = bytearray(path.read_bytes())
    at = data.index(b"CREATE TRIGGER messages_no_delete")
    data[at + 7] ^= 4
    path.write_bytes(data)
    assert check(path)
    saved = salvage(path)
    assert (saved.lost, saved.contents) == ((), ())
    assert saved.records > 0
    assert check(path) == []


async def test_salvage_needs_room_and_a_file_that_is_some_kind_of_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path)
    with monkeypatch.context() as patch:
        patch.setattr(limits, "STORE_FREE_BYTES", 1 << 62)
        with pytest.raises(StoreFull):
            salvage(path)
    path.write_bytes(b"once upon a time " * 1000)
    with pytest.raises(StoreCorrupt, match="Nothing can be saved"):
        salvage(path)
    assert path.read_bytes() == b"once upon a time " * 1000


# --- the command ------------------------------------------------------------------------------


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_command_exits_with_0_when_all_is_sound(path: Path) -> None:
    assert run() == (0, "All is sound (nothing is there yet).\n")
    asyncio.run(fill(path))
    code, said = run()
    assert code == 0
    assert said.startswith("All is sound (journal, ")
    assert json.loads(run("--json")[1])["sound"] is True
    assert "nothing to salvage" in run("--salvage")[1]


def test_the_command_exits_with_1_when_there_are_problems_and_salvages_when_asked(
    path: Path,
) -> None:
    asyncio.run(fill(path))
    tamper(path, "DELETE FROM messages WHERE seq IN (2, 3, 7)")
    code, said = run()
    assert code == 1
    assert "journal: Messages 2 to 3 are lost." in said and "--salvage" in said
    code, said = run("--repair")
    assert code == 1
    assert len(list(path.parent.glob("*damaged*"))) == 0  # the truth is not touched
    code, said = run("--salvage")
    assert code == 1
    assert "Saved: 9 messages." in said and "Lost: messages 2 to 3, 7." in said
    assert run()[0] == 0


def test_records_that_contradict_each_other_are_not_what_salvage_is_for(path: Path) -> None:
    asyncio.run(fill(path))
    asyncio.run(append(path, Message("tool", "x", call_id="c7"), turn=1))
    code, said = run("--salvage")
    assert code == 1
    assert said.startswith("records: Message 13 is the result") and "nothing to salvage" in said
    assert "--repair" not in said


def test_the_command_names_problems_and_what_was_saved_in_json(path: Path) -> None:
    asyncio.run(fill(path))
    tamper(path, "DELETE FROM messages WHERE seq = 7")
    code, said = run("--json", "--salvage")
    data = json.loads(said)
    assert code == 1
    assert data["problems"][-1] == {
        "where": "journal",
        "sentence": "Message 7 is lost.",
        "repaired": False,
    }
    assert data["salvaged"]["lost"] == [[7, 7]]
    assert Path(data["salvaged"]["kept"]).exists()


def test_the_command_repairs_snapshots(
    path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SWAP_FILE_SPARE_BYTES", 0)
    asyncio.run(fill(path))
    [file] = snapshots(home / "state" / "swap", 1)
    os.truncate(file, 100)
    code, said = run()
    assert code == 1 and "snapshots: " in said and "--repair" in said
    code, said = run("--repair")
    assert code == 1 and "Repaired." in said
    assert run()[0] == 0


def test_a_list_of_mounts_or_notes_that_are_damaged_are_found_and_put_aside(
    path: Path, home: Path
) -> None:
    asyncio.run(fill(path))
    state = home / "state"
    notes = Notes(state / "mounts.db")
    notes.coming(1, [(1, b"a.txt", 1)])
    listed = state / "mounts.json"
    save(listed, 2, [Entry(1, "/notes", 1, 1, notes.id)])
    assert run()[0] == 0, "beside an open log, too"
    notes.close()
    words = open_words(state / "index", "")
    words.put([Passage("f1-1.1", "file", 0, "a.txt", 1.0, "Read of a file.")])
    words.close()
    (state / "mounts.db").write_bytes(b"no database " * 1000)
    code, said = run()
    assert code == 1 and said.count("mounts.db cannot be read") == 1
    assert "reads the mounted folders again" in said
    assert "Repaired." in run("--repair")[1] and run()[0] == 0
    assert listed.exists(), "which folders are mounted is known"
    assert b"Read of a file" not in (state / "index" / FILE).read_bytes()
    listed.write_text('{"version": 1, "mounts": [')
    code, said = run()
    assert code == 1 and said.count("can't be read") == 1 and "which folders were mounted" in said
    assert "Repaired." in run("--repair")[1] and run()[0] == 0
    assert list(state.glob("mounts.json.damaged-*")) and not listed.exists()
    listed.write_text('{"version": 99}')
    (state / "mounts.db").write_bytes(b"no database " * 1000)
    assert run("--repair")[0] == 1 and listed.read_text() == '{"version": 99}', "a newer one stays"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"fingerprint": "x"}', '{"fingerprint": "x", "tokens": [["a"]]}', "\xff"]
)
def test_tokens_of_texts_that_make_no_sense_are_found_and_removed(
    path: Path, home: Path, text: str
) -> None:
    asyncio.run(fill(path))
    file = home / "state" / "swap" / "texts.json"
    file.parent.mkdir()
    file.write_text('{"fingerprint": "x", "tokens": [[1, 2], []]}')
    assert run()[0] == 0
    file.write_text(text, "latin-1")
    code, said = run()
    assert code == 1 and said.count("texts: texts.json") == 1
    assert "Repaired." in run("--repair")[1]
    assert not file.exists() and run()[0] == 0


def test_an_index_without_a_table_is_put_aside_and_what_failed_stands_in_the_log(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(fill(path))
    folder = path.parent / "index"
    open_words(folder, "").close()
    tamper(folder / FILE, "DROP TABLE passages")
    done = CliRunner().invoke(command, ["--repair"])
    assert done.exit_code == 1
    assert "Repaired" in done.output
    assert CliRunner().invoke(command, []).exit_code == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_journal_that_is_a_pipe_is_told_and_not_waited_for(path: Path) -> None:
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    done = CliRunner().invoke(command, [])
    assert (done.exit_code, f"{path} is no file" in done.output) == (1, True)


def test_folders_in_the_place_of_what_is_derived_are_removed(path: Path) -> None:
    asyncio.run(fill(path))
    for name in ("texts.json", "d.snapshot"):
        (path.parent / "swap" / name / "within").mkdir(parents=True)
    assert CliRunner().invoke(command, ["--repair"]).exit_code == 1
    assert CliRunner().invoke(command, []).exit_code == 0


async def test_a_problem_is_told_once(path: Path) -> None:
    class Twice:
        def problems(self) -> list[str]:
            return ["It is broken.", "It is broken."]

        async def rebuild(self) -> None: ...

    report = await fsck(path, {"twice": Twice()})
    assert [problem.sentence for problem in report.problems] == ["It is broken."]


def test_the_command_exits_with_2_when_a_kernel_runs_or_the_journal_cannot_be_saved(
    path: Path,
) -> None:
    asyncio.run(fill(path))
    with lock(path.parent):
        code, said = run()
        assert code == 2 and "already running" in said
        code, said = run("--json")
        assert code == 2 and json.loads(said)["error"]["code"] == "kernel_running"
    path.write_bytes(b"once upon a time " * 1000)
    assert run()[0] == 1
    code, said = run("--salvage")
    assert code == 2 and "Nothing can be saved" in said


def test_a_journal_of_another_program_is_not_called_sound(path: Path) -> None:
    path.parent.mkdir(parents=True)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE cookies (name)")
    db.close()
    assert run()[0] == 1
