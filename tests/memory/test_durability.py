"""Kill -9, failing disks, clocks set back: what was acknowledged is there, and once."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmos.errors import KernelRunning, StoreError, StoreFull
from llmos.events import Message
from llmos.memory import records
from llmos.memory.append import Draft
from llmos.memory.bulk import Conversation
from llmos.memory.consistency import consistent
from llmos.memory.journal import Journal, new_id
from llmos.memory.lock import lock
from tests.kernel.dying import RULES, sending
from tests.kernel.kernels import kernel_on
from tests.memory.nursery import Nursery, label_of, nursery

ROOT = Path(__file__).resolve().parents[2]
KILLED = signal.SIGKILL  # as waitpid tells it
OPENING_S = 5.0  # a bound, not a measurement: opening takes a few milliseconds


@pytest.fixture(scope="module")
def children() -> Iterator[Nursery]:
    with nursery() as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def user(text: str) -> Message:
    return Message("user", text)


class Account:
    """What the children of one journal were told, against what the journal holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: dict[str, tuple[int, str]] = {}
        self.last: dict[str, set[Any]] = {
            name: set()
            for name in ("started", "finished", "turn", "born", "ended", "doomed", "erased")
        }
        self.interrupted: set[int] = set()

    def add(self, acknowledged: list[list[Any]]) -> None:
        for kind, *what in acknowledged:
            if kind == "message":
                self.said[what[0]] = (what[1], what[2])
            else:
                self.last[kind].add(tuple(what) if len(what) > 1 else what[0])

    async def settle(self) -> None:
        """Open the journal as the next kernel would, and see that nothing is missing."""
        began = time.monotonic()
        journal = Journal(self.path)
        assert time.monotonic() - began < OPENING_S
        try:
            self._records(journal)
            await self._calls(journal)
            ended = {p.pid for p in journal.processes(ended=True) if p.ended is not None}
            assert self.last["born"] <= {p.pid for p in journal.processes(ended=True)}
            assert self.last["ended"] <= ended
            rows = await journal.change(
                lambda db: db.execute("SELECT pid, turn FROM turns").fetchall()
            )
            assert self.last["turn"] <= {tuple(row) for row in rows}
            assert journal.verify() == []
            self._erased(journal)  # a write has waited its turn behind the rest of the erasing
        finally:
            await journal.close()

    def _records(self, journal: Journal) -> None:
        stored = {record.stored.id: record for record in journal.records()}
        assert self.said.keys() <= stored.keys()
        for id, (number, text) in self.said.items():
            assert stored[id].stored.message.content == text
            assert stored[id].label == label_of(number)

    def _erased(self, journal: Journal) -> None:
        """What was erased, or whose erasing was under way and counts, is in no file."""
        gone = {record.stored.seq for record in journal.records() if record.erased}
        assert {seq for seq, _ in self.last["erased"]} <= gone
        raw = b"".join(file.read_bytes() for file in self.path.parent.iterdir())
        for seq, text in self.last["doomed"]:
            assert (text.encode() in raw) is (seq not in gone)

    async def _calls(self, journal: Journal) -> None:
        """Close what was under way, as a kernel does that starts; nothing is closed twice."""
        calls = {c.number: c for p in journal.processes(True) for c in journal.calls(p.pid)}
        assert self.last["started"] <= calls.keys()
        assert all(not calls[number].error for number in self.last["finished"])
        found = {call.number for call in journal.open_calls()}
        assert not found & (self.interrupted | self.last["finished"])
        for number in found:
            await journal.finish_call(number, error="interrupted")
        self.interrupted |= found
        assert journal.open_calls() == []


# --- kill -9 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", range(4))
async def test_what_was_acknowledged_survives_a_kill_at_any_moment(
    children: Nursery, path: Path, batch: int
) -> None:
    dice, account = random.Random(batch), Account(path)
    for _ in range(30):
        after, seed = dice.randrange(1, 25), dice.random()
        said, status = await asyncio.to_thread(
            children.order, job="live", path=path, after=after, seed=seed
        )
        assert status == KILLED
        assert len(said) >= after
        account.add(said)
        await account.settle()


@pytest.mark.parametrize(
    "place",
    [
        "journal.append",
        "journal.before_commit",
        "journal.after_commit",
        "journal.before_ack",
        "journal.start_call",
        "journal.finish_call",
        "journal.finish_turn",
        "journal.end_process",
    ],
)
async def test_what_was_acknowledged_survives_a_kill_at(
    children: Nursery, path: Path, place: str
) -> None:
    account = Account(path)
    for times in (1, 2, 3, 4, 5, 7, 9, 11, 13, 17):
        said, status = await asyncio.to_thread(
            children.order, job="live", path=path, failpoint=f"{place}:{times}"
        )
        assert status == KILLED
        account.add(said)
        await account.settle()


async def test_an_erasing_that_is_killed_is_done_or_undone_and_leaves_no_byte(
    children: Nursery, path: Path
) -> None:
    account = Account(path)
    places = [
        *(f"journal.{place}:{n}" for place in ("scrub", "checkpoint", "scrubbed") for n in (1, 4)),
        *(f"journal.after_commit:{n}" for n in (5, 9, 12, 20)),
        "journal.before_commit:9",
    ]
    for place in places:
        said, status = await asyncio.to_thread(
            children.order, job="live", path=path, failpoint=place, erasing=True
        )
        assert status == KILLED
        account.add(said)
        await account.settle()
    assert account.last["erased"]
    assert account.last["doomed"] - account.last["erased"]


async def test_a_call_is_never_made_twice_whenever_the_kernel_is_killed(
    children: Nursery, home: Path
) -> None:
    """Before it starts, between its note in the journal and the call, before its end is kept."""
    places = (
        "kernel.before_call",
        "kernel.after_call",
        "journal.start_call",
        "journal.finish_call",
    )
    rounds = 0
    interrupted = 0
    for place in places:
        for times in (1, 2, 3):
            said, status = await asyncio.to_thread(
                children.order, job="send", path=home, failpoint=f"{place}:{times}"
            )
            assert status == KILLED
            assert len(said) == times
            rounds += 1
            async with kernel_on(home, RULES, calls=[sending(home)]) as kernel:
                for process in kernel.processes():
                    await kernel.wait(process.pid)
                assert kernel.journal.open_calls() == []
                calls = [
                    c for p in kernel.processes(ended=True) for c in kernel.journal.calls(p.pid)
                ]
                interrupted = sum(call.error == "interrupted" for call in calls)
                stored = {record.stored.id for record in kernel.journal.records()}
                assert {id for _, id in said} <= stored
                assert kernel.journal.verify() == []
            sent = (home / "sent").read_text().split() if (home / "sent").exists() else []
            assert len(sent) == len(set(sent))
    # Of those killed in the transaction that begins a call there is no call to close.
    assert interrupted == rounds - 3
    assert consistent(home / "state" / "journal.db") == []


# --- a disk that fails ------------------------------------------------------------------------


class _Failing:
    """A connection whose statements fail when ``when`` says so, as SQLite would have it."""

    def __init__(self, db: sqlite3.Connection, code: int) -> None:
        self._db = db
        self._code = code
        self.when = ""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if self.when and sql.startswith(self.when):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = self._code
            raise error
        return self._db.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


@pytest.mark.parametrize("when", ["BEGIN", "INSERT INTO contents", "COMMIT", "RELEASE"])
@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, StoreError, "disk failed"),
        (sqlite3.SQLITE_IOERR_WRITE, StoreError, "disk failed"),
        (sqlite3.SQLITE_FULL, StoreFull, "is full"),
    ],
)
async def test_a_write_the_disk_refuses_is_not_acknowledged_and_the_next_one_is_kept(
    path: Path, when: str, code: int, error: type[StoreError], sentence: str
) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    await journal.append(pid, user("before"))
    db = _Failing(journal._writer._db, code)
    journal._writer._db = db  # type: ignore[assignment]
    db.when = when
    with pytest.raises(error, match=sentence):
        await journal.append(pid, user("refused"))
    db.when = ""
    await journal.append(pid, user("after"))
    assert [m.message.content for m in journal.messages(pid)] == ["before", "after"]
    assert journal.verify() == []
    await journal.close()


FAILING_SYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
static int fails(void) { return access(getenv("SYNC_FAILS"), F_OK) == 0; }
#define SYNC(name) int name(int fd) { \
    if (fails()) { errno = EIO; return -1; } \
    return ((int (*)(int)) dlsym(RTLD_NEXT, #name))(fd); }
SYNC(fsync)
SYNC(fdatasync)
"""

SYNCS_FAIL = """
import asyncio, os, sys
from pathlib import Path
from llmos.errors import StoreError
from llmos.events import Message
from llmos.memory.journal import Journal

async def main():
    path, fails = Path(sys.argv[1]), Path(os.environ["SYNC_FAILS"])
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    kept = [(await journal.append(pid, Message("user", "before"))).id]
    refused = 0
    for n in range(20):
        fails.touch()
        try:
            kept.append((await journal.append(pid, Message("user", "x" * 5000))).id)
        except StoreError as error:
            refused += 1
            assert "disk failed" in str(error), error
        fails.unlink()
        try:
            kept.append((await journal.append(pid, Message("user", "after"))).id)
        except StoreError:
            pass
    assert refused == 20, refused
    await journal.close()
    journal = Journal(path)
    stored = [m.id for m in journal.messages(pid)]
    assert set(kept) <= set(stored) and len(kept) > 1, (kept, stored)
    assert journal.verify() == [], journal.verify()
    await journal.close()
    print("kept", len(kept))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="replaces fsync through LD_PRELOAD")
def test_a_sync_that_fails_is_an_error_and_never_an_acknowledgement(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler (cc) to replace fsync")
    library = tmp_path / "sync.so"
    command = [compiler, "-shared", "-fPIC", "-o", str(library), "-x", "c", "-", "-ldl"]
    subprocess.run(command, input=FAILING_SYNC, text=True, check=True)
    done = subprocess.run(
        [sys.executable, "-c", SYNCS_FAIL, str(tmp_path / "state" / "journal.db")],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LD_PRELOAD": str(library),
            "SYNC_FAILS": str(tmp_path / "now"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kept")


FILES_MAY_NOT_GROW = """
import asyncio, resource, signal, sys
from pathlib import Path
from llmos.errors import StoreError
from llmos.events import Message
from llmos.memory.journal import Journal

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    journal = Journal(Path(sys.argv[1]))
    pid = (await journal.create_process()).pid
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept, refused = [], 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most[1]))
    while refused < 5:
        try:
            kept.append((await journal.append(pid, Message("assistant", "x" * 20_000))).id)
        except StoreError:
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert kept and [m.id for m in journal.messages(pid)] == kept
    kept.append((await journal.append(pid, Message("user", "room again"))).id)
    await journal.close()
    journal = Journal(Path(sys.argv[1]))
    assert [m.id for m in journal.messages(pid)] == kept
    assert journal.verify() == [], journal.verify()
    await journal.close()
    print("kept", len(kept))

asyncio.run(main())
"""


def test_nothing_acknowledged_is_lost_when_no_file_may_grow(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILES_MAY_NOT_GROW, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kept")


async def test_an_import_the_disk_refuses_leaves_nothing_behind(path: Path) -> None:
    journal = Journal(path)

    async def room(pages: int) -> None:
        def set_room(db: sqlite3.Connection) -> None:
            used = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {used + pages}")

        await journal.change(set_room)

    await room(20)
    many = Conversation(title="much", items=[Draft(user("x" * 20_000)) for _ in range(50)])
    with pytest.raises(StoreFull):
        await journal.import_process(many)
    assert journal.processes(ended=True) == []
    assert journal.records() == []
    await room(10_000)
    assert (await journal.import_process(many)).records == 50
    assert journal.verify() == []
    await journal.close()


# --- clocks and kernels -----------------------------------------------------------------------


async def test_a_clock_set_back_between_and_during_runs_changes_no_order_and_repeats_no_id(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr(records.time, "time_ns", lambda: int(now[0]) * 1_000_000_000)
    ids: list[str] = []
    for _ in range(4):
        now[0] -= 86_400
        journal = Journal(path, clock=lambda: now[0])
        pid = (await journal.create_process()).pid
        for _ in range(3):
            now[0] -= 60
            ids.append((await journal.append(pid, user(str(len(ids))))).id)
        await journal.close()
    journal = Journal(path)
    stored = [record.stored for record in journal.records()]
    assert [m.id for m in stored] == ids
    assert [m.seq for m in stored] == list(range(1, 13))
    assert [m.message.content for m in stored] == [str(n) for n in range(12)]
    assert [p.pid for p in journal.processes()] == [4, 3, 2, 1]
    assert journal.verify() == []
    await journal.close()


def test_ids_made_in_one_instant_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records.time, "time_ns", lambda: 0)
    assert len({new_id() for _ in range(10_000)}) == 10_000


HOLDS_THE_LOCK = """
import sys
from pathlib import Path
from llmos.memory.lock import lock

with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_kernel_is_refused_until_the_first_is_gone_even_by_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(KernelRunning, match="already running"), lock(tmp_path):
            pass
        first.kill()
    with lock(tmp_path):
        pass


async def test_two_writers_on_one_file_lose_nothing_even_so(path: Path) -> None:
    """The lock forbids it; the journal survives it."""
    journals = [Journal(path), Journal(path)]
    pid = (await journals[0].create_process()).pid
    kept = await asyncio.gather(
        *(j.append(pid, user(f"{n}")) for n in range(50) for j in journals), return_exceptions=True
    )
    ids = {stored.id for stored in kept if not isinstance(stored, BaseException)}
    assert ids <= {m.id for m in journals[1].messages(pid)}
    assert journals[0].verify() == []
    for journal in journals:
        await journal.close()
