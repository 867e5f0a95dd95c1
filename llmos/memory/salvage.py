"""Salvage: a new journal with every record of a damaged one that still verifies.

The damaged file stays, whole, under another name; so does what is erased later, until that file is
deleted. A record is taken over where its own hash holds
against the one before it, or where that one is gone and the hash of its content holds. Places,
ids and hashes stay as they were; runs of lost records are written down, so that the new journal
is sound and says itself what it lacks.

Reads row by row, by number alone: an index that is damaged does not hide what is there. Where not
even the table of tables can be read, nothing can be saved here.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import LlmosError, StoreCorrupt, StoreError
from llmos.memory.check import EVERY, Progress, check, silent
from llmos.memory.schema import GENESIS, content_hash, migrate, record_hash
from llmos.memory.writer import connect, free_bytes, full, translate

__all__ = ["Salvaged", "damaged_copies", "salvage"]

#: No row of the journal takes fewer bytes, so that a file holds at most so many.
_ROW_BYTES = 16
_KEPT = ".damaged-"  # in the name of what was put aside; the time follows
_LOST = "lost when the journal was damaged"


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved.

    Args:
        kept: The damaged journal's file, under its new name.
        records: Taken over, contents included where they were not erased.
        lost: Runs of places of records that are lost, first and last.
        contents: Places of records of which only the content is lost.
        processes: Pids that had records, but no row of their own any more; they have one again.
        rows: How many calls and turns are lost.
    """

    kept: Path
    records: int
    lost: tuple[tuple[int, int], ...]
    contents: tuple[int, ...]
    processes: tuple[int, ...]
    rows: int = 0


def damaged_copies(journal: Path) -> list[Path]:
    """The damaged journals that salvage put aside beside this one, oldest first."""
    return sorted(journal.parent.glob(f"{journal.name}{_KEPT}*"))


def salvage(journal: Path, progress: Progress = silent) -> Salvaged:
    """Put a sound journal in the place of a damaged one, which is kept beside it.

    Call it with the kernel stopped. Cut off at any moment, both the old and what there is of the
    new are on the disk, and nothing is lost.

    Args:
        journal: The damaged journal's file.
        progress: Told how far it is.

    Raises:
        StoreCorrupt: Not even its tables can be found.
        StoreFull: There is no room for a second one.
    """
    if free_bytes(journal) < journal.stat().st_size + limits.STORE_FREE_BYTES:
        raise full(journal, free_bytes(journal))
    stamp = time.strftime("%Y%m%d-%H%M%S")
    made = journal.with_name(f"{journal.name}.salvaged-{stamp}")
    kept = journal.with_name(f"{journal.name}{_KEPT}{stamp}")
    if made.exists() or kept.exists():
        raise StoreError(f"{kept} exists already; wait a second and try again.")
    old = _opened(journal)
    try:
        new = connect(made, write=True)
        try:
            migrate(new)
            done = _Copy(old, new, _most(journal), progress).run(kept)
        finally:
            new.close()
    except sqlite3.Error as error:
        raise translate(error, made) from error
    finally:
        old.close()
    if problems := check(made, progress):
        raise StoreError(f"The salvaged journal {made} is not sound: {problems[0]}")
    _exchange(journal, made, kept)
    return done


def _opened(journal: Path) -> sqlite3.Connection:
    """A connection that reads; with it the log of what was committed last is taken into account."""
    try:
        return connect(journal, forgiving=True)
    except LlmosError as error:
        raise StoreCorrupt(
            f"Nothing can be saved from {journal}: its table of tables cannot be read.",
            remedy="Put a backup in its place, or move it away to start anew.",
        ) from error


def _most(journal: Path) -> int:
    """No table has more rows than this."""
    log = journal.with_name(journal.name + "-wal")
    size = journal.stat().st_size + (log.stat().st_size if log.exists() else 0)
    return size // _ROW_BYTES


def _exchange(journal: Path, made: Path, kept: Path) -> None:
    """Put ``made`` in the place of ``journal``, which becomes ``kept`` with the files beside it.

    A log left behind would be applied to the new file: it goes first. Whatever is cut off here
    leaves a journal in its place.
    """
    os.link(journal, kept)
    for ending in ("-wal", "-shm"):
        beside = journal.with_name(journal.name + ending)
        with contextlib.suppress(FileNotFoundError):
            beside.rename(kept.with_name(kept.name + ending))
    os.replace(made, journal)
    for ending in ("-wal", "-shm"):
        made.with_name(made.name + ending).unlink(missing_ok=True)
    directory = os.open(journal.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@dataclass(slots=True)
class _Copy:
    """Copies the tables, one after the other."""

    old: sqlite3.Connection
    new: sqlite3.Connection
    most: int
    progress: Progress
    lost: list[tuple[int, int]] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    made_up: list[int] = field(default_factory=list)
    records: int = 0
    rows: int = 0
    columns: dict[str, frozenset[str]] = field(default_factory=dict)

    def run(self, kept: Path) -> Salvaged:
        """Copy everything in one transaction."""
        # The row that is lost may be the one that others refer to.
        self.new.execute("PRAGMA foreign_keys = OFF")
        self.new.execute("BEGIN IMMEDIATE")
        self._processes()
        self._messages()
        self._rows("calls", "number")
        self._rows("call_erasures", "number")
        self._rows("turns", "number")
        self._chores()
        self._missing_processes()
        self.new.execute("COMMIT")
        return Salvaged(
            kept,
            self.records,
            tuple(self.lost),
            tuple(self.contents),
            tuple(self.made_up),
            self.rows,
        )

    # --- reading what can be read -------------------------------------------------------------

    def _last(self, table: str, key: str) -> int:
        """The highest number a row of ``table`` can have."""
        given = self._number(f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'")
        there = self._number(f"SELECT max({key}) FROM {table} NOT INDEXED")
        known = max(given or 0, there or 0)
        return min(known if known or there is not None else self.most, self.most)

    def _number(self, sql: str) -> int | None:
        """What a query for one number gives; 0 for nothing, None where it cannot be answered."""
        try:
            found = self.old.execute(sql).fetchone()
            return int(found[0] or 0) if found else 0
        except (sqlite3.Error, ValueError, TypeError):
            return None

    def _row(self, table: str, key: str, number: int) -> dict[str, Any] | None:
        try:
            row = self.old.execute(
                f"SELECT * FROM {table} NOT INDEXED WHERE {key} = ?", (number,)
            ).fetchone()
        except (sqlite3.Error, ValueError, MemoryError):
            return None
        return dict(row) if row is not None else None

    def _all(self, table: str, key: str) -> Iterator[tuple[int, dict[str, Any] | None]]:
        """Every number of ``table``, with its row where it can be read."""
        last = self._last(table, key)
        for number in range(1, last + 1):
            if number % EVERY == 0:
                self.progress(table, number, last)
            yield number, self._row(table, key, number)

    # --- writing ------------------------------------------------------------------------------

    def _insert(self, table: str, row: dict[str, Any]) -> bool:
        """Whether the row could be taken over."""
        columns = self._columns(table)
        values = {name: value for name, value in row.items() if name in columns}
        names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        try:
            self.new.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", values)
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError):
            return False
        return True

    def _columns(self, table: str) -> frozenset[str]:
        if table not in self.columns:
            rows = self.new.execute(f"PRAGMA table_info({table})")
            self.columns[table] = frozenset(row["name"] for row in rows)
        return self.columns[table]

    def _rows(self, table: str, key: str) -> None:
        exists = self.new.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        if not exists:
            return
        for _, row in self._all(table, key):
            if row is None:
                self.rows += table != "call_erasures"  # of the others no number is left out
            elif not (_sensible(table, row) and self._insert(table, row)):
                self.rows += 1

    def _chores(self) -> None:
        """What was asked for and is not done: to forget something, above all."""
        try:
            found = self.old.execute("SELECT name FROM chores").fetchall()
        except sqlite3.Error:  # they cannot be read, or an older llmos had none
            return
        for row in found:
            self._insert("chores", dict(row))

    def _processes(self) -> None:
        for number, row in self._all("processes", "pid"):
            if row is None or (row["parent"] or 0) >= number or not _sensible("processes", row):
                continue
            self._insert("processes", row)

    def _messages(self) -> None:
        """The records, each verified, and notes of what is lost between them."""
        previous: bytes | None = GENESIS  # None: the one before is not known to be right
        for seq, row in self._all("messages", "seq"):
            if row is None or not self._message(row, previous):
                self._lose(seq)
                # The next one was chained to this one's hash, whatever else of it is wrong.
                previous = None
                continue
            self.records += 1
            previous = row["hash"]
        for first, last in self.lost:
            self.new.execute("INSERT INTO losses VALUES (?, ?, ?)", (first, last, time.time()))
        if self.lost:
            highest = max(self.lost[-1][1], self._given())
            self.new.execute("DELETE FROM sqlite_sequence WHERE name = 'messages'")
            self.new.execute("INSERT INTO sqlite_sequence VALUES ('messages', ?)", (highest,))

    def _given(self) -> int:
        found = self.new.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'messages'"
        ).fetchone()
        return found[0] if found else 0

    def _message(self, row: dict[str, Any], previous: bytes | None) -> bool:
        """Take a record over, if it verifies."""
        seq = row["seq"]
        try:
            chained = previous is None or record_hash(previous, row) == row["hash"]
            content = self._row("contents", "seq", seq)
            whole = content is not None and (
                content_hash(content["salt"], content["body"]) == row["content_hash"]
            )
        except (TypeError, ValueError, AttributeError, KeyError):
            return False
        erased = self._row("erasures", "seq", seq)
        alone = previous is None and not whole and erased is None  # nothing vouches for it
        if not chained or alone or not self._insert("messages", row):
            return False
        if whole and content is not None and erased is None:
            self._insert("contents", content)
        elif erased is not None:
            self._insert("erasures", erased)
        else:
            self.contents.append(seq)
            self._insert("erasures", {"seq": seq, "time": time.time(), "reason": _LOST})
        return True

    def _lose(self, seq: int) -> None:
        if self.lost and self.lost[-1][1] == seq - 1:
            self.lost[-1] = (self.lost[-1][0], seq)
        else:
            self.lost.append((seq, seq))

    def _missing_processes(self) -> None:
        """Rows for processes of which something is left, but not their own."""
        for table in ("messages", "calls", "turns"):
            for (pid,) in self._orphans(f"SELECT DISTINCT pid FROM {table}"):
                self._make_up(pid)
        for (pid,) in self._orphans("SELECT DISTINCT parent FROM processes WHERE parent > 0"):
            self._make_up(pid)

    def _orphans(self, pids: str) -> Sequence[sqlite3.Row]:
        return self.new.execute(f"{pids} EXCEPT SELECT pid FROM processes").fetchall()

    def _make_up(self, pid: int) -> None:
        self.made_up.append(pid)
        said = "SELECT coalesce(min(time), 0) FROM messages WHERE pid = ?"
        (created,) = self.new.execute(said, (pid,)).fetchone()
        self.new.execute(
            "INSERT INTO processes (pid, title, system, priority, budget, created)"
            " VALUES (?, '', '', 'interactive', '{}', ?)",
            (pid, created),
        )


def _sensible(table: str, row: dict[str, Any]) -> bool:
    """Whether a row that carries no hash of its own can be used."""
    try:
        if table == "processes":
            numbers = isinstance(row["pid"], int) and isinstance(row["created"], float)
            return numbers and isinstance(json.loads(row["budget"]), dict)
        if table == "calls":
            return isinstance(row["pid"], int) and isinstance(json.loads(row["arguments"]), dict)
        return True
    except (ValueError, TypeError, KeyError):
        return False
