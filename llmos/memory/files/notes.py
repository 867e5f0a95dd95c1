"""What was read of which file: a small SQLite database beside the list of mounts.

A reading is one file read once, under a number that is never given again; its passages are
numbered from 1. It is noted as coming before a passage of it is handed over and as leaving before
one is taken back, so that after a crash it is known what may be in the index and should not be.
Losing the database costs reading everything again. Calls block; they are safe from any thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos import paths
from llmos.errors import MountError
from llmos.memory.files.walk import Stamp, Unread

__all__ = ["Notes", "Reading"]

log = logging.getLogger(__name__)

_COMING, _HERE, _LEAVING = 0, 1, 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (id TEXT NOT NULL, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS readings (
    number INTEGER PRIMARY KEY, mount INTEGER NOT NULL, path BLOB NOT NULL,
    state INTEGER NOT NULL, passages INTEGER NOT NULL,
    size INTEGER NOT NULL DEFAULT 0, mtime_ns INTEGER NOT NULL DEFAULT 0,
    inode INTEGER NOT NULL DEFAULT 0, hash BLOB NOT NULL DEFAULT x'', note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS by_path ON readings (mount, path);
CREATE TABLE IF NOT EXISTS unread (
    mount INTEGER NOT NULL, path BLOB NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (mount, path)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One file, read once.

    Args:
        number: Its own, for ever.
        mount: Number of the mount.
        path: Of the file, relative to the mounted folder.
        passages: How many came of it.
        stamp: The file's when it was read.
        hash: Of its bytes; empty where it must be read again in any case.
        note: Why not all of it was read; empty where all was.
    """

    number: int
    mount: int
    path: bytes
    passages: int
    stamp: Stamp
    hash: bytes
    note: str = ""


class Notes:
    """The database, open. One that is damaged is moved aside, and a new one begun.

    Args:
        path: The file; created readable by this user alone.

    Raises:
        MountError: It can't be opened or created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()  # guards _db and _number
        try:
            try:
                self._db, self.id, self._number = _open(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                log.warning("%s is damaged (%s): it is moved aside and made again", path, error)
                for ending in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(f"{path}{ending}", f"{path}.damaged{ending}")
                self._db, self.id, self._number = _open(path)
        except (OSError, sqlite3.Error) as error:
            raise MountError(f"The notes on mounted files {path} can't be opened ({error}).") from (
                error
            )

    def close(self) -> None:
        """Safe to call twice."""
        with self._lock:
            self._db.close()

    def new_number(self) -> int:
        """A number for a reading, never given before."""
        with self._lock:
            self._number += 1
            return self._number

    # --- what is there ----------------------------------------------------------------------

    def readings(self, mount: int) -> dict[bytes, Reading]:
        """By path, what was read and is in the index."""
        with self._using() as db:
            rows = db.execute(
                "SELECT number, mount, path, passages, size, mtime_ns, inode, hash, note"
                " FROM readings WHERE mount = ? AND state = ?",
                (mount, _HERE),
            ).fetchall()
        return {
            path: Reading(number, at, path, passages, Stamp(size, mtime_ns, inode), digest, note)
            for number, at, path, passages, size, mtime_ns, inode, digest, note in rows
        }

    def unfinished(self, mount: int) -> list[tuple[int, int]]:
        """Number and passages of readings that came or left only in part."""
        with self._using() as db:
            return db.execute(
                "SELECT number, passages FROM readings WHERE mount = ? AND state <> ?",
                (mount, _HERE),
            ).fetchall()

    def counts(self, mount: int) -> tuple[int, int, int]:
        """Files that gave passages, passages, and files not read or not to the end."""
        with self._using() as db:
            files, passages, noted = db.execute(
                "SELECT coalesce(sum(passages > 0), 0), coalesce(sum(passages), 0),"
                " coalesce(sum(note <> ''), 0) FROM readings WHERE mount = ? AND state = ?",
                (mount, _HERE),
            ).fetchone()
            sql = "SELECT count(*) FROM unread WHERE mount = ?"
            return files, passages, noted + db.execute(sql, (mount,)).fetchone()[0]

    def skipped(self, mount: int, limit: int) -> list[tuple[bytes, str]]:
        """Path and reason of what was not read, or not to the end, in the order of names."""
        with self._using() as db:
            return db.execute(
                "SELECT path, note FROM readings WHERE mount = :mount AND state = :state"
                " AND note <> '' UNION ALL SELECT path, reason FROM unread WHERE mount = :mount"
                " ORDER BY 1 LIMIT :limit",
                {"mount": mount, "state": _HERE, "limit": limit},
            ).fetchall()

    # --- what comes and goes ----------------------------------------------------------------

    def coming(self, mount: int, upto: Collection[tuple[int, bytes, int]]) -> None:
        """Note that passages are about to be handed over.

        Args:
            upto: Number and path of readings, and the last passage of each so far.
        """
        with self._using() as db:
            db.executemany(
                "INSERT INTO readings (number, mount, path, state, passages) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (number) DO UPDATE SET passages = excluded.passages",
                [(number, mount, path, _COMING, last) for number, path, last in upto],
            )
            self._keep_number(db)

    def here(self, readings: Sequence[Reading]) -> list[tuple[int, int]]:
        """Note that readings are in the index, whole.

        Returns:
            Number and passages of those that they replace, noted as leaving.
        """
        old: list[tuple[int, int]] = []
        with self._using() as db:
            for new in readings:
                place = (new.mount, new.path, new.number)
                where = "WHERE mount = ? AND path = ? AND number <> ?"
                old += db.execute(f"SELECT number, passages FROM readings {where}", place)
                db.execute(f"UPDATE readings SET state = {_LEAVING} {where}", place)
                stamp = (new.stamp.size, new.stamp.mtime_ns, new.stamp.inode)
                row = (new.number, new.mount, new.path, _HERE, new.passages)
                db.execute(
                    "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*row, *stamp, new.hash, new.note),
                )
            self._keep_number(db)
        return old

    def restamp(self, reading: Reading, stamp: Stamp) -> None:
        """Note that a file's stamp changed and its bytes did not."""
        with self._using() as db:
            db.execute(
                "UPDATE readings SET size = ?, mtime_ns = ?, inode = ? WHERE number = ?",
                (stamp.size, stamp.mtime_ns, stamp.inode, reading.number),
            )

    def leaving(self, numbers: Collection[int]) -> None:
        """Note that the passages of readings are about to be taken back."""
        with self._using() as db:
            db.executemany(
                f"UPDATE readings SET state = {_LEAVING} WHERE number = ?",
                [(number,) for number in numbers],
            )

    def gone(self, numbers: Collection[int]) -> None:
        """Strike readings of which nothing is in the index any more."""
        with self._using() as db:
            numbered = [(number,) for number in numbers]
            db.executemany("DELETE FROM readings WHERE number = ?", numbered)

    def unread(self, mount: int, found: Sequence[Unread], gone: Collection[bytes] | None) -> None:
        """Note what can't be read and why.

        Args:
            found: What there is of it.
            gone: The paths to which that is no longer so; all but these where None.
        """
        with self._using() as db:
            if gone is None:
                db.execute("DELETE FROM unread WHERE mount = ?", (mount,))
            for path in gone or ():
                db.execute("DELETE FROM unread WHERE mount = ? AND path = ?", (mount, path))
            db.executemany(
                "INSERT OR REPLACE INTO unread VALUES (?, ?, ?)",
                [(mount, one.path, one.reason) for one in found],
            )

    def forget(self, mount: int) -> None:
        """Strike all that is noted of a mount, and overwrite it."""
        with self._using() as db:
            db.execute("DELETE FROM readings WHERE mount = ?", (mount,))
            db.execute("DELETE FROM unread WHERE mount = ?", (mount,))
        with self._using() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one transaction.

        Raises:
            MountError: The database fails.
        """
        with self._lock:
            try:
                with self._db:
                    yield self._db
            except sqlite3.Error as error:
                raise MountError(
                    f"The notes on mounted files {self.path} can't be used ({error})."
                ) from error

    def _keep_number(self, db: sqlite3.Connection) -> None:
        db.execute("UPDATE meta SET number = ?", (self._number,))


def _open(path: Path) -> tuple[sqlite3.Connection, str, int]:
    paths.private_dir(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # what is noted as coming must not be lost
        db.execute("PRAGMA secure_delete = ON")  # names of files that were umounted
        with db:
            db.executescript(_SCHEMA)
            if db.execute("SELECT 1 FROM meta").fetchone() is None:
                db.execute("INSERT INTO meta VALUES (?, 0)", (os.urandom(8).hex(),))
        identity, number = db.execute("SELECT id, number FROM meta").fetchone()
    except BaseException:
        db.close()
        raise
    return db, identity, number
