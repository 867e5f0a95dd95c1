"""The journal: what processes were, what was said in them and what they called. The truth.

SQLite, append-only and hash-chained. What an ``async`` method here has done is on the disk when
it returns and survives kill -9 and a power cut. The order of things is ``seq``; times are for
people, since clocks are set back.

The journal doesn't decide anything: it doesn't check roles, labels, budgets or whether an ended
process may still speak (the last words of a killed one must not be lost). It doesn't notice a
journal replaced whole by an older copy, or one rewritten by somebody who also recomputes the
chain: the chain finds accidents and careless edits, it isn't signed.

Writes go through one ``Writer``; reads are synchronous, short, and safe from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from llmos import limits
from llmos.errors import NoSuchProcess, StoreError
from llmos.events import Message, StoredMessage, ToolCall
from llmos.failpoints import failpoint
from llmos.labels import Label
from llmos.memory import records as rows
from llmos.memory.append import Draft, insert_record, json_text, plain, prepared, real
from llmos.memory.bulk import Conversation, Imported, insert_conversation
from llmos.memory.check import check
from llmos.memory.records import Record, StoredCall, StoredProcess, new_id
from llmos.memory.schema import migrate
from llmos.memory.writer import Writer, connect, damaged, free_bytes, full, rewrite, translate

__all__ = ["EMPLOYERS", "Journal", "Record", "StoredCall", "StoredProcess", "new_id"]

log = logging.getLogger(__name__)

R = TypeVar("R")
T = TypeVar("T")

_SCRUB = "scrub"  # the name of that chore

# The lineage of a process: itself, and its ancestors by fork up to where it left each.
_LINEAGE = """WITH RECURSIVE lineage (pid, upto) AS (
    SELECT pid, 9223372036854775807 FROM processes WHERE pid = :pid
    UNION ALL
    SELECT p.parent, min(l.upto, p.fork_seq) FROM lineage l JOIN processes p USING (pid)
    WHERE p.fork_seq IS NOT NULL AND p.parent < p.pid
) """
# Who gave a process its task, or one it was forked from; and who gave that one its own.
EMPLOYERS = """WITH RECURSIVE above (pid, parent, employed) AS (
    SELECT pid, parent, employed FROM processes WHERE pid = :pid
    UNION
    SELECT p.pid, p.parent, p.employed FROM above a JOIN processes p ON p.pid = a.parent
    WHERE p.pid < a.pid AND (a.employed OR EXISTS (
        SELECT 1 FROM processes f WHERE f.pid = a.pid AND f.fork_seq IS NOT NULL))
) SELECT DISTINCT parent AS pid FROM above WHERE employed ORDER BY pid DESC"""
_MESSAGES = (
    f"SELECT m.*, c.body, {rows.HEARD.format(upto='')}"
    " FROM messages m LEFT JOIN contents c USING (seq) "
)
# What was cut after a fork was made is whole in the fork.
_SHARED = (
    f"SELECT m.*, c.body, {rows.HEARD.format(upto='AND h.seq <= l.upto')}"
    " FROM messages m LEFT JOIN contents c USING (seq)"
    " JOIN lineage l ON m.pid = l.pid AND m.seq <= l.upto"
)
# The number of the last turn is the highest, not the newest record's: a message may wait for its
# turn while the one before is answered.
_PROCESSES = """SELECT p.*, coalesce(
        (SELECT max(turn) FROM messages WHERE pid = p.pid), shared.turn, 0) AS turns,
    coalesce(own.time, p.created) AS active,
    (SELECT total(tokens) FROM turns WHERE pid = p.pid) AS tokens,
    (SELECT total(seconds) FROM turns WHERE pid = p.pid) AS seconds,
    (SELECT count(*) FROM calls WHERE pid = p.pid) AS calls,
    (SELECT context_tokens FROM turns WHERE pid = p.pid AND context_tokens > 0
        ORDER BY number DESC LIMIT 1) AS context_tokens
    FROM processes p
    LEFT JOIN messages own ON own.seq = (SELECT max(seq) FROM messages WHERE pid = p.pid)
    LEFT JOIN messages shared ON shared.seq = p.fork_seq """

# A person's messages to living processes, of whose turns nothing else was kept, nor an end.
_UNANSWERED = (
    _MESSAGES
    + """JOIN processes p USING (pid) WHERE m.role = 'user' AND p.ended IS NULL
    AND NOT EXISTS (SELECT 1 FROM turns WHERE pid = m.pid AND turn = m.turn)
    AND NOT EXISTS (SELECT 1 FROM calls WHERE pid = m.pid AND turn = m.turn)
    AND NOT EXISTS (SELECT 1 FROM messages o
        WHERE o.pid = m.pid AND o.turn = m.turn
            AND o.role IN ('assistant', 'tool'))
    ORDER BY m.seq"""
)


def _unmake(path: Path) -> None:
    """Take away a journal that could not be begun: it holds nothing, and would look damaged."""
    for ending in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            os.unlink(f"{path}{ending}")


class Journal:
    """One journal file, open.

    Args:
        path: The file; created with its directory, readable by this user alone.
        clock: Gives seconds since the epoch.

    Raises:
        StoreFull: Less than ``limits.STORE_FREE_BYTES`` are free on the disk.
        StoreCorrupt: The file is damaged or no journal. It is left as it is.
        StoreError: It cannot be written, or a newer llmos wrote it.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        new = not path.exists()
        try:
            db = connect(path, write=True)
        except StoreError:
            if new:
                _unmake(path)
            raise
        try:
            self._require_space()
            migrate(db)
            unfinished = db.execute("SELECT 1 FROM chores WHERE name = ?", (_SCRUB,)).fetchone()
            self._reader = connect(path)
        except BaseException as error:
            db.close()
            if new:
                _unmake(path)
            if isinstance(error, sqlite3.Error):
                raise translate(error, path) from error
            raise
        self._read_lock = threading.Lock()  # guards _reader
        self._closed = False
        self._writer = Writer(db, path)
        if unfinished:  # it was killed while it erased; nobody waits for the rest
            self._writer.alone(self._scrub).add_done_callback(_told)

    @property
    def commits(self) -> int:
        """Transactions committed since it was opened; many writes may share one."""
        return self._writer.commits

    async def close(self) -> None:
        """Commit what is queued, then close. Safe to call twice."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._read_lock:
            self._closed = True
            self._reader.close()  # first, so that the writer is the last and tidies the log
        self._writer.close()

    # --- processes --------------------------------------------------------------------------

    async def create_process(
        self,
        *,
        title: str = "",
        system: str = "",
        priority: str = "interactive",
        parent: int = 0,
        budget: Mapping[str, float] | None = None,
        employed: bool = False,
    ) -> StoredProcess:
        """Keep a new process. Its pid was never used before and never will be again.

        Args:
            employed: Its parent started it by a call and pays for it.

        Raises:
            NoSuchProcess: There is no ``parent``.
            StoreFull: The disk is (nearly) full.
        """
        return await self._create(title, system, priority, parent, budget, None, employed)

    async def fork_process(
        self,
        pid: int,
        *,
        title: str | None = None,
        priority: str | None = None,
        budget: Mapping[str, float] | None = None,
        upto: int | None = None,
    ) -> StoredProcess:
        """Keep a new process that shares the history of ``pid``. Nothing is copied.

        Args:
            title / priority: As the parent's where not given; the system text always is.
            upto: The last message shared; all that are journalled so far where not given.

        Raises:
            NoSuchProcess: There is no ``pid``.
            StoreFull: The disk is (nearly) full.
        """
        last = (1 << 63) - 1 if upto is None else upto
        return await self._create(title, None, priority, pid, budget, last)

    async def end_process(self, pid: int, reason: str = "") -> None:
        """Keep that a process has ended. The first reason stays.

        Raises:
            NoSuchProcess: There is no ``pid``.
        """
        ended = real(self._clock())

        def write(db: sqlite3.Connection) -> None:
            _require_process(db, pid)
            failpoint("journal.end_process")
            sql = "UPDATE processes SET ended = ?, reason = ? WHERE pid = ? AND ended IS NULL"
            db.execute(sql, (ended, plain(reason), pid))

        await self._write(write)

    async def rename(self, pid: int, title: str) -> None:
        """Give a process another title.

        Raises:
            NoSuchProcess: There is no ``pid``.
        """

        def write(db: sqlite3.Connection) -> None:
            _require_process(db, pid)
            db.execute("UPDATE processes SET title = ? WHERE pid = ?", (plain(title), pid))

        await self._write(write)

    def process(self, pid: int) -> StoredProcess:
        """One process.

        Raises:
            NoSuchProcess: There is no ``pid``.
        """
        found = self._read(rows.process, _PROCESSES + "WHERE p.pid = ?", (pid,))
        if not found:
            raise NoSuchProcess(f"There is no process {pid}.")
        return found[0]

    def processes(self, ended: bool = False) -> list[StoredProcess]:
        """All processes, newest first; also those that ended, where asked."""
        where = "" if ended else "WHERE p.ended IS NULL "
        sql = _PROCESSES + where + "ORDER BY p.pid DESC"
        return self._read(rows.process, sql)

    def paid(self) -> dict[int, tuple[int, int]]:
        """By pid, the tokens and calls that a process pays for: used by those it employed."""
        found = self._read(
            rows.process, _PROCESSES + "WHERE p.employed ORDER BY p.pid DESC"
        )  # a child's pid is above its parent's, so what it pays for is summed up before it
        sums: dict[int, tuple[int, int]] = {}
        for child in found:
            below, above = sums.get(child.pid, (0, 0)), sums.get(child.parent, (0, 0))
            sums[child.parent] = (
                above[0] + below[0] + child.tokens,
                above[1] + below[1] + child.calls,
            )
        return sums

    # --- messages ---------------------------------------------------------------------------

    async def append(
        self,
        pid: int,
        message: Message,
        *,
        turn: int = 0,
        label: Label | None = None,
        error: str = "",
        seconds: float = 0.0,
        partial: bool = False,
        id: str = "",
    ) -> StoredMessage:
        """Keep a message; it is on the disk when this returns.

        If the waiting task is cancelled, the message is kept nevertheless.

        Args:
            label: Where the content came from; the strictest reading where not given.
            error / seconds / partial: See ``StoredMessage``.
            id: Its id, never used before; a fresh one where not given.

        Raises:
            NoSuchProcess: There is no ``pid``.
            StoreFull: The disk is full. A user's message is refused while there is still room
                for the replies and results of turns that are running.
            StoreError: It cannot be kept; the sentence says why.
        """
        if message.role == "user":
            self._require_space()
        draft = Draft(
            message,
            turn,
            self._clock(),
            label or Label(),
            error=error,
            seconds=seconds,
            partial=partial,
            id=id,
        )
        record = prepared(pid, draft)

        def write(db: sqlite3.Connection) -> StoredMessage:
            _require_process(db, pid)
            seq, row = insert_record(db, record), record.row
            return StoredMessage(
                seq, row["id"], turn, row["time"], message, row["error"], row["seconds"], partial
            )

        stored = await self._write(write)
        failpoint(f"journal.appended.{message.role}")
        return stored

    async def import_process(self, conversation: Conversation) -> Imported:
        """Keep a conversation that happened elsewhere, as a new process: all of it or nothing.

        Its items are read while they are written, in the writer's thread; other writes wait.

        Raises:
            StoreError: It cannot be kept. Whatever reading the items raises comes through, too.
        """
        self._require_space()

        def write(db: sqlite3.Connection) -> Imported:
            if conversation.parent:
                _require_process(db, conversation.parent)
            return insert_conversation(db, conversation)

        return await self._write(write)

    def messages(self, pid: int, after: int = 0) -> list[StoredMessage]:
        """The conversation of a process, oldest first, after place ``after``.

        Of a fork: what it shares with its parent, then its own.

        Raises:
            NoSuchProcess: There is no ``pid``.
        """
        return [record.stored for record in self.records(pid, after)]

    def records(
        self, pid: int = 0, after: int = 0, limit: int = -1, *, role: str = ""
    ) -> list[Record]:
        """As ``messages``, with labels.

        Args:
            pid: A process, or 0 for the messages of all (each once, forks or not).
            limit: The most to read, -1 for all.
            role: Only those of this role, where given.

        Raises:
            NoSuchProcess: There is no such ``pid``.
        """
        values = {"pid": pid, "after": after, "limit": limit, "role": str(role)}
        tail = "m.seq > :after AND :role IN ('', m.role) ORDER BY m.seq LIMIT :limit"
        if pid == 0:
            return self._read(rows.record, f"{_MESSAGES} WHERE {tail}", values)
        found = self._read(rows.record, f"{_LINEAGE} {_SHARED} WHERE {tail}", values)
        if not found:
            self.process(pid)  # raises where there is none
        return found

    def record(self, seq: int) -> Record | None:
        """The record at a place of the journal; None where there is none."""
        found = self._read(rows.record, f"{_MESSAGES} WHERE m.seq = ?", (seq,))
        return found[0] if found else None

    def following(self, seq: int, roles: Iterable[str]) -> Record | None:
        """The next record of one of ``roles`` in the process of the record at ``seq``."""
        sql = f"""{_MESSAGES} WHERE m.pid = (SELECT pid FROM messages WHERE seq = :seq)
            AND m.seq > :seq AND m.role IN (SELECT value FROM json_each(:roles))
            ORDER BY m.seq LIMIT 1"""
        values = {"seq": seq, "roles": json_text([str(role) for role in roles])}
        found = self._read(rows.record, sql, values)
        return found[0] if found else None

    def records_of(self, role: str) -> list[Record]:
        """All records of a role, of all processes, oldest first."""
        return self._read(rows.record, f"{_MESSAGES} WHERE m.role = ? ORDER BY m.seq", (role,))

    def erased(self, reason: str = "") -> list[int]:
        """Places of all records that were erased, or of those that were for one reason."""
        asked = "SELECT seq FROM erasures WHERE ? IN ('', reason) ORDER BY seq"
        return self._read(lambda row: int(row["seq"]), asked, (reason,))

    def lineage(self, pid: int) -> list[int]:
        """A process and those it was forked from.

        Raises:
            NoSuchProcess: There is no ``pid``.
        """
        found = self._read(
            lambda row: int(row["pid"]), f"{_LINEAGE} SELECT pid FROM lineage", {"pid": pid}
        )
        if not found:
            self.process(pid)  # raises where there is none
        return found

    def employers(self, pid: int) -> list[int]:
        """Those that a process works for, up to the one in which a person speaks.

        Of a fork, also those that what it was forked from works for: their words are in it.
        """
        return self._read(lambda row: int(row["pid"]), EMPLOYERS, {"pid": pid})

    def unanswered(self) -> list[Record]:
        """Messages to living processes whose turns left nothing behind, oldest first."""
        return self._read(rows.record, _UNANSWERED)

    # --- calls and turns --------------------------------------------------------------------

    async def start_call(self, pid: int, turn: int, call: ToolCall, effect: str = "") -> int:
        """Keep that a system call is about to be made. Wait for it before the call acts.

        Args:
            effect: As its declaration has it now; empty where there is no such call.

        Returns:
            The call's number, for ``finish_call``.
        """
        row = (
            pid,
            turn,
            plain(call.id),
            plain(call.name),
            json_text(call.arguments),
            real(self._clock()),
            plain(effect),
        )

        def write(db: sqlite3.Connection) -> int:
            _require_process(db, pid)
            number = db.execute(
                "INSERT INTO calls (pid, turn, call_id, name, arguments, started, effect)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            ).lastrowid
            assert number is not None
            failpoint("journal.start_call")
            return number

        return await self._write(write)

    async def finish_call(
        self, number: int, *, result: str = "", seconds: float = 0.0, error: str = ""
    ) -> None:
        """Keep how a call ended. The result itself is kept as a message, here only its hash.

        Raises:
            StoreError: There is no such call under way.
        """
        raw = result.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(raw).digest()
        row = (real(self._clock()), real(seconds), plain(error), digest, len(raw), number)

        def write(db: sqlite3.Connection) -> None:
            changed = db.execute(
                "UPDATE calls SET finished = ?, seconds = ?, error = ?, result_hash = ?,"
                " result_bytes = ? WHERE number = ? AND finished IS NULL",
                row,
            ).rowcount
            if not changed:
                raise StoreError(f"There is no call {number} under way.")
            failpoint("journal.finish_call")

        await self._write(write)

    def calls(self, pid: int) -> list[StoredCall]:
        """The calls a process made, oldest first."""
        sql = "SELECT * FROM calls WHERE pid = ? ORDER BY number"
        return self._read(rows.call, sql, (pid,))

    def open_calls(self) -> list[StoredCall]:
        """Calls under way; at start, those that a killed kernel left behind."""
        sql = "SELECT * FROM calls WHERE finished IS NULL ORDER BY number"
        return self._read(rows.call, sql)

    async def finish_turn(
        self,
        pid: int,
        turn: int,
        reason: str,
        *,
        tokens: int = 0,
        seconds: float = 0.0,
        context_tokens: int = 0,
    ) -> None:
        """Keep that a turn is over and what it used; ``StoredProcess`` has the sums.

        Args:
            context_tokens: Fill of the window after it; 0 where it is not known.
        """
        time = real(self._clock())
        row = (pid, turn, time, plain(reason), tokens, real(seconds), context_tokens)

        def write(db: sqlite3.Connection) -> None:
            _require_process(db, pid)
            db.execute(
                "INSERT INTO turns (pid, turn, time, reason, tokens, seconds, context_tokens)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            failpoint("journal.finish_turn")

        await self._write(write)

    def turns_ended(self, pid: int, reason: str) -> set[tuple[int, int]]:
        """Pid and number of the turns that ended so, of a process and those it was forked from."""
        sql = f"{_LINEAGE} SELECT pid, turn FROM turns JOIN lineage USING (pid) WHERE reason = :why"
        values = {"pid": pid, "why": reason}
        return set(self._read(lambda row: (row["pid"], row["turn"]), sql, values))

    # --- for the modules beside this one ----------------------------------------------------

    async def change(self, write: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``write`` in a transaction; what it did is on the disk when this returns.

        The tables' triggers hold for it as for everybody: it can add, and erase what may be
        erased. What it raises undoes it alone.
        """
        return await self._write(write)

    async def ask(self, chore: str) -> None:
        """Keep that ``chore`` is to be done: whoever starts after a kill finds it in ``asked``.

        Raises:
            StoreError: It cannot be kept.
        """

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR IGNORE INTO chores VALUES (?)", (plain(chore),))

        await self._write(write)

    async def done(self, chore: str) -> None:
        """It is done; one that nobody asked for is no matter.

        Raises:
            StoreError: That cannot be kept: it will be found again.
        """

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM chores WHERE name = ?", (plain(chore),))

        await self._write(write)

    def asked(self) -> list[str]:
        """Chores that were asked for and are not done, oldest first."""
        sql = "SELECT name FROM chores WHERE name <> ? ORDER BY rowid"
        return self._read(lambda row: str(row["name"]), sql, (_SCRUB,))

    async def scrub(self) -> None:
        """Leave no byte of what was erased in the journal's files.

        Rewrites the whole file; other writes wait. One that was asked for (``ask_scrub``) and is
        cut off by a kill is done when the journal is opened the next time.

        Raises:
            StoreError: There is no room for a second copy, or another program reads the journal.
        """
        await asyncio.wrap_future(self._writer.alone(self._scrub))

    @staticmethod
    def ask_scrub(db: sqlite3.Connection) -> None:
        """Within a ``change``: have the file scrubbed, if need be at the next start."""
        db.execute("INSERT OR IGNORE INTO chores VALUES (?)", (_SCRUB,))

    def _scrub(self, db: sqlite3.Connection) -> None:
        failpoint("journal.scrub")
        rewrite(db, self.path)
        failpoint("journal.scrubbed")
        db.execute("DELETE FROM chores WHERE name = ?", (_SCRUB,))

    # --- checking ---------------------------------------------------------------------------

    def verify(self) -> list[str]:
        """Check the whole journal: the file, the references, the chain, the contents.

        Reads everything, on a connection of its own; call it in a thread.

        Returns:
            One sentence a problem, at most ``limits.STORE_PROBLEMS``; none for a sound journal.
        """
        return check(self.path)

    # --- inside -----------------------------------------------------------------------------

    async def _create(
        self,
        title: str | None,
        system: str | None,
        priority: str | None,
        parent: int,
        budget: Mapping[str, float] | None,
        fork_upto: int | None,
        employed: bool = False,
    ) -> StoredProcess:
        self._require_space()
        created = real(self._clock())
        budget_json = json_text(dict(budget or {}))

        def write(db: sqlite3.Connection) -> StoredProcess:
            old = _require_process(db, parent) if parent else None
            fork_seq = None
            if fork_upto is not None:
                (fork_seq,) = db.execute(
                    f"{_LINEAGE} SELECT coalesce(max(m.seq), 0) FROM lineage l"
                    " JOIN messages m ON m.pid = l.pid AND m.seq <= min(l.upto, :upto)",
                    {"pid": parent, "upto": fork_upto},
                ).fetchone()

            def given(value: str | None, column: str) -> str:
                inherited = old[column] if old is not None else ""
                return inherited if value is None else plain(value)

            pid = db.execute(
                "INSERT INTO processes (title, system, priority, parent, fork_seq, budget,"
                " created, employed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    given(title, "title"),
                    given(system, "system"),
                    given(priority, "priority"),
                    parent or None,
                    fork_seq,
                    budget_json,
                    created,
                    int(employed),
                ),
            ).lastrowid
            return rows.process(db.execute(_PROCESSES + "WHERE p.pid = ?", (pid,)).fetchone())

        return await self._write(write)

    def _require_space(self) -> None:
        """Refuse new work while there is still room to finish the work that runs."""
        free = free_bytes(self.path)
        if free < limits.STORE_FREE_BYTES:
            raise full(self.path, free)

    async def _write(self, write: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(write))

    def _read(self, parse: Callable[[sqlite3.Row], R], sql: str, values: Any = ()) -> list[R]:
        with self._read_lock:
            if self._closed:
                raise StoreError(f"The journal {self.path} is closed.")
            try:
                found = self._reader.execute(sql, values).fetchall()
            except OverflowError:  # a number larger than any the journal gave out
                return []
            except sqlite3.Error as error:
                raise translate(error, self.path) from error
        try:
            return [parse(row) for row in found]
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(self.path, "a row does not parse") from error


def _told(done: Future[None]) -> None:
    """Log why nobody's work failed."""
    if error := done.exception():
        log.warning("erased text is still in the journal's files: %s", error)


def _require_process(db: sqlite3.Connection, pid: int) -> sqlite3.Row:
    try:
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM processes WHERE pid = ?", (pid,)
        ).fetchone()
    except OverflowError:
        row = None
    if row is None:
        raise NoSuchProcess(f"There is no process {pid}.")
    return row
