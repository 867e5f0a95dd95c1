"""The index's one SQLite file: passages, their words (FTS5), their vectors, cursors.

Everything here can be made anew from the journal, so nothing here is precious: a file that is
damaged, unreadable or of another version is put aside when it is opened, and a new one is begun.
One connection writes, under a lock; each reader has a connection of its own and never waits for
it (WAL). Blocks; safe from any thread. Doesn't rank (``lists.py``) and doesn't embed.

A passage's number ``n`` is given once and never again, and vectors are made in its order: what
has no vector yet are the passages behind the last that has.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llmos import limits, paths
from llmos.errors import StoreCorrupt, StoreError, StoreFull
from llmos.memory.index_schema import (
    COLUMNS,
    ENTRIES,
    MIRRORED,
    Row,
    index_words,
    passage,
    prepare,
    problems,
    values,
)
from llmos.memory.passages import Passage

__all__ = ["FILE", "Words", "open_words"]

log = logging.getLogger(__name__)

FILE = "index.db"


def open_words(folder: Path, space: str) -> Words:
    """Open the file in ``folder``, or put it aside and begin a new one.

    Args:
        folder: Created where it is not there.
        space: Name of the vector space; vectors of another one are dropped. Empty: leave them.

    Raises:
        StoreError: There can be no file in this folder.
    """
    try:
        path = paths.remade_dir(folder) / FILE
    except OSError as error:
        raise StoreError(
            f"The search index cannot be kept in {folder}: {error.strerror or error}.",
            remedy="Move what is there away, or make its folder writable for you.",
        ) from error
    suspect = path.with_name(f"{FILE}.damaged")
    try:
        if suspect.exists():
            raise StoreCorrupt("damage was found while it was in use")
        return Words(path, space)
    except StoreCorrupt as error:
        log.warning("the search index %s is put aside and begun anew: %s", path, error)
        try:
            for end in ("", "-wal", "-shm"):
                file = path.with_name(path.name + end)
                if os.path.lexists(file):
                    os.replace(file, path.with_name(f"{FILE}.broken{end}"))
            suspect.unlink(missing_ok=True)
        except OSError as failed:
            raise StoreError(
                f"The search index {path} is damaged and cannot be put aside ({failed.strerror}).",
                remedy="Move it away, or make its folder writable for you.",
            ) from failed
    return Words(path, space)


class Words:
    """The file, open.

    Args:
        path: The file; created readable by this user alone.
        space: See ``open_words``.

    Raises:
        StoreCorrupt: It is damaged, unreadable, or not of this version. It is left as it is.
        StoreError: It cannot be written.
    """

    def __init__(self, path: Path, space: str) -> None:
        self.path = path
        self.total = 0  # passages
        self.embedded = 0  # of them, those with vectors
        self._lock = threading.RLock()  # guards _db and the counts
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._closed = False
        self._db = self._connect()
        try:
            self._open(space)
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise self._translate(error, opening=True) from error
            raise

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._closed = True
            with contextlib.suppress(queue.Empty):
                while True:
                    self._readers.get_nowait().close()
            self._db.close()

    # --- writing ----------------------------------------------------------------------------

    def put(self, passages: Sequence[Passage]) -> None:
        """Add passages, or replace those of the same id; what is the same already stays."""
        for start in range(0, len(passages), limits.INDEX_GROUP):
            with self.writing() as db:
                for one in passages[start : start + limits.INDEX_GROUP]:
                    self._put(db, one)

    def drop(self, ids: Iterable[str]) -> None:
        """Take passages out, with their words and vectors; unknown ids are no matter.

        ``erase`` afterwards leaves no trace of them.
        """
        wanted = list(ids)
        for start in range(0, len(wanted), limits.INDEX_GROUP):
            with self.writing() as db:
                for id in wanted[start : start + limits.INDEX_GROUP]:
                    row = db.execute(f"SELECT {COLUMNS} FROM passages WHERE id = ?", (id,))
                    if found := row.fetchone():
                        self._drop(db, found)

    def erase(self) -> None:
        """Leave no byte of what was dropped or replaced in the file or beside it.

        FTS5 keeps the words of a deleted row until it merges them away ("optimize"; its own
        secure deletion needs SQLite 3.42 and leaves beginnings of words). SQLite's
        ``secure_delete`` overwrites what is deleted, but not what its trees leave behind when
        they move rows: in 10 MB of random deletions 26 words of 146,000 were left, and after
        VACUUM none. Takes time with the size of the file; readers go on meanwhile.

        Raises:
            StoreFull: There is no room for the copy that this needs.
            StoreError: The log could not be cut because somebody reads without end.
        """
        with self._lock, self._told():
            self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
            self._db.execute("VACUUM")
            (busy, _, _) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreError(f"Another program reads {self.path}: traces may be left beside it.")
        for file in self.path.parent.glob(f"{FILE}.broken*"):
            if file.is_symlink() or not file.is_dir():  # a folder that stood there is not ours
                file.unlink(missing_ok=True)

    def enter(self, space: str) -> None:
        """Vectors are of this space from now on; those of another one are dropped. See above."""
        if not space or self.meta("space") == space:
            return
        if self.embedded:
            log.info("the embedder is another one: %d vectors are made anew", self.embedded)
        with self.writing() as db:
            self._drop_vectors(db)
            db.execute("INSERT OR REPLACE INTO meta VALUES ('space', ?)", (space,))

    def move(self, name: str, to: int) -> None:
        """Keep how far a source was read."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (name, to))

    def cursor(self, name: str) -> int:
        """How far a source was read; 0 for one that never was."""
        with self.reading() as db:
            row = db.execute("SELECT place FROM cursors WHERE name = ?", (name,)).fetchone()
        return row[0] if row else 0

    def rebuild(self) -> None:
        """Make words anew from the passages, and drop all vectors. Searches see it all at once."""
        with self.writing() as db:
            db.execute("INSERT INTO words (words) VALUES ('delete-all')")
            for row in db.execute(f"SELECT {COLUMNS} FROM passages"):
                index_words(db, row)
            self._drop_vectors(db)

    # --- vectors ----------------------------------------------------------------------------

    def pending(self, limit: int) -> list[tuple[int, Passage]]:
        """The next passages without vectors, in the order of their numbers."""
        with self.reading() as db:
            rows = db.execute(
                f"SELECT {COLUMNS} FROM passages"
                " WHERE n > (SELECT coalesce(max(n), 0) FROM vectors) ORDER BY n LIMIT ?",
                (limit,),
            )
            return [(row[0], passage(row)) for row in rows]

    def add_vectors(self, pairs: Sequence[tuple[int, bytes]]) -> None:
        """Keep vectors; those of passages that went in the meantime are left out."""
        with self.writing() as db:
            for n, pair in pairs:
                sql = "INSERT INTO vectors SELECT n, ? FROM passages WHERE n = ?"
                self.embedded += db.execute(sql, (pair, n)).rowcount

    # --- inside and for the other files of the index ----------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, undone when the body raises."""
        with self._lock, self._told():
            counts = self.total, self.embedded
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self.total, self.embedded = counts
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that can only read, for one thread at a time."""
        with self._told():
            try:
                db = self._readers.get_nowait()
            except queue.Empty:
                db = self._connect(write=False)
            try:
                yield db
            finally:
                with self._lock:
                    if self._closed or self._readers.qsize() >= limits.INDEX_READERS:
                        db.close()
                    else:
                        self._readers.put(db)

    def meta(self, key: str) -> Any:
        """A value kept under ``key``, or None."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def check(self) -> list[str]:
        """Check the file, the words and the counts. Reads all of it.

        Returns:
            A sentence a problem, at most ``limits.STORE_PROBLEMS``.
        """
        try:
            with self._lock:
                return list(problems(self._db))
        except sqlite3.Error as error:
            return [f"The search index {self.path} cannot be read to its end ({error})."]

    def _put(self, db: sqlite3.Connection, one: Passage) -> None:
        new = values(one)
        sql = f"SELECT {COLUMNS} FROM passages WHERE id = ?"
        old: Row | None = db.execute(sql, (new[0],)).fetchone()
        if old is not None:
            if old[1:] == new:
                return
            self._drop(db, old)
        places = ", ".join("?" * len(new))
        columns = COLUMNS.removeprefix("n, ")
        made = db.execute(f"INSERT INTO passages ({columns}) VALUES ({places})", new)
        assert made.lastrowid is not None
        index_words(db, (made.lastrowid, *new))
        self.total += 1

    def _drop(self, db: sqlite3.Connection, row: Row) -> None:
        n = row[0]
        index_words(db, row, delete=True)
        db.execute("DELETE FROM passages WHERE n = ?", (n,))
        self.total -= 1
        db.execute(
            f"INSERT INTO gone SELECT n, {ENTRIES} FROM vectors WHERE n = ? AND {MIRRORED}", (n,)
        )
        self.embedded -= db.execute("DELETE FROM vectors WHERE n = ?", (n,)).rowcount

    def _drop_vectors(self, db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM vectors")
        self.embedded = 0
        self.forget_mirror(db)

    def forget_mirror(self, db: sqlite3.Connection) -> None:
        """Begin a new copy for Chroma, within a transaction: whatever it has now is void."""
        db.execute("DELETE FROM gone")
        values = [("mirrored", 0), ("mirror_entries", 0), ("mirror", uuid.uuid4().hex)]
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)

    def _connect(self, *, write: bool = True) -> sqlite3.Connection:
        if write and not os.path.lexists(self.path):
            try:
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            except OSError as error:
                raise StoreError(
                    f"The search index {self.path} cannot be made ({error.strerror}).",
                    remedy="Make its folder writable for you.",
                ) from error
        mode = "rw" if write else "ro"
        try:
            db = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=limits.STORE_BUSY_S,
                isolation_level=None,
                check_same_thread=False,
            )
            db.execute(f"PRAGMA cache_size = -{limits.INDEX_CACHE_KB}")
            db.execute("PRAGMA trusted_schema = OFF" if write else "PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise self._translate(error, opening=write) from error
        return db

    def _open(self, space: str) -> None:
        db = self._db
        if self.path.stat().st_size == 0:
            db.execute("PRAGMA page_size = 8192")  # five pairs of vectors fit one page, not two
        elif self.path.stat().st_size <= limits.INDEX_CHECK_BYTES:
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":
                raise StoreCorrupt(f"it is damaged ({said})")
        db.execute("PRAGMA journal_mode = WAL")
        # The journal is the truth: what a power cut takes from here, cursors included, is fed anew.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA journal_size_limit = {limits.INDEX_LOG_BYTES}")
        prepare(db)
        db.execute("SELECT rowid FROM words WHERE words MATCH 'a' LIMIT 1").fetchone()
        (self.total,) = db.execute("SELECT count(*) FROM passages").fetchone()
        (self.embedded,) = db.execute("SELECT count(*) FROM vectors").fetchone()
        self.enter(space)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            raise self._translate(error) from error

    def _translate(self, error: Exception, *, opening: bool = False) -> StoreError:
        """The sentence for what SQLite said; damage is noted down for the next opening."""
        name, code = f"The search index {self.path}", getattr(error, "sqlite_errorcode", 0) & 0xFF
        unreadable = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or (
            opening and code in unreadable
        ):
            if not opening:
                with contextlib.suppress(OSError):
                    self.path.with_name(f"{FILE}.damaged").touch(mode=0o600)
            return StoreCorrupt(
                f"{name} is damaged ({error}).",
                remedy="Restart llmos: it is made anew from the journal.",
            )
        if code == sqlite3.SQLITE_FULL:
            return StoreFull(f"The disk that holds {self.path} is full.", remedy="Free some space.")
        if "no such module: fts5" in str(error):
            return StoreError(
                "This Python's SQLite has no full-text search (FTS5).",
                remedy="Use a Python whose SQLite has it, as those of python.org do.",
            )
        return StoreError(f"{name} failed ({error}).")
