"""The journal's one writer: a thread that commits queued writes in order, many at a time.

A write is a function of the connection. All that are queued when the thread comes round share one
transaction and so one flush of the disk; each is acknowledged only after that commit. A write
that fails is undone alone. Work that no transaction can hold runs by itself, between two of them.
Knows SQLite and its errors, nothing of what is written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from llmos import limits, paths
from llmos.errors import LlmosError, StoreCorrupt, StoreError, StoreFull
from llmos.failpoints import failpoint

__all__ = ["Writer", "connect", "damaged", "free_bytes", "full", "rewrite", "translate"]

T = TypeVar("T")
_DISK_FULL_REMEDY = "Free some space; nothing that was acknowledged is lost."
#: An error of the disk with less free than this is taken for a full disk, in bytes.
_NEARLY_NOTHING = 256 * 1024


def full(path: Path, free: int = 0) -> StoreFull:
    """The error for a disk that has no room for the journal, ``free`` bytes or none."""
    left = f"has only {free >> 20} MB left" if free >> 20 else "is full"
    return StoreFull(f"The disk that holds {path} {left}.", remedy=_DISK_FULL_REMEDY)


def damaged(path: Path, why: str) -> StoreCorrupt:
    """The error for a file that is no whole journal. Nothing is moved or repaired by itself."""
    return StoreCorrupt(
        f"The journal {path} is damaged ({why}).",
        remedy="Stop llmos, keep a copy of the file and of those beside it that end in -wal "
        "and -shm, and put a backup in its place; or move them away to start anew.",
    )


def free_bytes(path: Path) -> int:
    """Space left on the disk that holds ``path``, in bytes; 0 where it cannot be told."""
    try:
        return shutil.disk_usage(path if path.exists() else path.parent).free
    except OSError:
        return 0


def translate(error: Exception, path: Path) -> StoreError:
    """The sentence for what SQLite or the operating system said about the file ``path``."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return full(path)
        return _unwritable(path, error.strerror or str(error))
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code == sqlite3.SQLITE_FULL:
        return full(path)
    if code == sqlite3.SQLITE_IOERR and free_bytes(path) < _NEARLY_NOTHING:
        return full(path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, str(error))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return _unwritable(path, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"Another program holds the journal {path}.", remedy="Close it and try again."
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(
            f"The disk failed under the journal {path} ({error}).",
            remedy="Check the disk, and copy the journal to a safe place.",
        )
    return StoreError(f"The journal {path} failed ({error}).")


def _unwritable(path: Path, why: str) -> StoreError:
    return StoreError(
        f"The journal {path} cannot be opened for writing ({why}).",
        remedy="Make its directory writable for you, or choose another state directory.",
    )


def _create(path: Path) -> None:
    """Make the file, private from its first moment, and its directory where there is none."""
    if not path.parent.is_dir():
        paths.private_dir(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if path.is_file() and path.stat().st_mode & 0o077:
            path.chmod(0o600)  # SQLite gives the files beside it the same mode
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def connect(path: Path, *, write: bool = False, forgiving: bool = False) -> sqlite3.Connection:
    """Open the journal's file.

    Args:
        path: The file; created where ``write`` is set.
        write: For the writer; other connections can only read.
        forgiving: Read past a table, an index or a trigger whose own definition is damaged.

    Raises:
        StoreError: It cannot be opened, is damaged, or cannot be used safely where it lies.
    """
    db: sqlite3.Connection | None = None
    try:
        if write:
            _create(path)
        uri = f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
        db = sqlite3.connect(
            uri,
            uri=True,
            timeout=limits.STORE_BUSY_S,
            isolation_level=None,  # transactions begin and end where the code says so
            check_same_thread=False,
        )
        db.row_factory = sqlite3.Row
        if write:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreError(
                    f"The file system that holds {path} cannot keep a write-ahead log.",
                    remedy="Choose a state directory on a local disk.",
                )
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA fullfsync = ON")  # macOS: through the drive's own cache
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA journal_size_limit = 67108864")
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten
        else:
            db.execute("PRAGMA query_only = ON")
            if forgiving:
                db.execute("PRAGMA writable_schema = ON")  # what does not parse is passed over
            db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except (sqlite3.Error, OSError, LlmosError) as error:
        if db is not None:
            db.close()
        raise translate(error, path) from error
    return db


def rewrite(db: sqlite3.Connection, path: Path) -> None:
    """Write the file anew without a trace of what was deleted from it, and empty the log.

    Overwriting deleted rows is not enough: rows that once moved to another page left copies in
    the gaps. Takes time and free space in proportion to the file.

    Args:
        db: A connection for writing, without a running transaction.
        path: Its file, for the error sentence.

    Raises:
        StoreError: Another program reads the file and does not end.
    """
    db.execute("VACUUM")
    failpoint("journal.checkpoint")
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise StoreError(
            f"Another program reads {path}, so that erased text is still in its log.",
            remedy="Close it; the text goes when llmos starts or erases the next time.",
        )


class _Job(NamedTuple):
    """One piece of work and who waits for it.

    Args:
        alone: It runs outside a transaction.
    """

    work: Callable[[sqlite3.Connection], Any]
    future: Future[Any]
    alone: bool = False


class Writer:
    """Runs writes on a connection of its own, in a thread of its own.

    Args:
        db: A connection opened for writing; the writer owns it from now on.
        path: Its file, for error sentences.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self.commits = 0  # transactions committed so far
        self._db = db
        self._path = path
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards _closed against the queue's end
        self._closed = False
        # A daemon: what was not acknowledged must not keep a dying process alive.
        self._thread = threading.Thread(target=self._loop, name="journal", daemon=True)
        self._thread.start()

    def submit(self, write: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Queue ``write``; its result is there once it is on the disk.

        ``write`` runs inside a transaction; what it raises undoes it alone. It is never withdrawn:
        whoever stops waiting for it must expect it to have happened.

        Raises:
            StoreError: The journal is closed.
        """
        return self._put(write, alone=False)

    def alone(self, work: Callable[[sqlite3.Connection], T]) -> Future[T]:
        """Queue ``work`` to run outside a transaction; what it did before it failed stays done.

        Raises:
            StoreError: The journal is closed.
        """
        return self._put(work, alone=True)

    def _put(self, work: Callable[[sqlite3.Connection], T], *, alone: bool) -> Future[T]:
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        with self._lock:
            if self._closed:
                raise StoreError(f"The journal {self._path} is closed.")
            self._queue.put(_Job(work, future, alone))
        return future

    def close(self) -> None:
        """Commit what is queued and close the connection. Blocks; safe to call twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        while True:
            jobs: list[_Job] = []
            job = self._queue.get()
            while job is not None and not job.alone:
                jobs.append(job)
                if len(jobs) == limits.STORE_GROUP:
                    break
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
            self._commit(jobs)
            if job is None:
                break
            if job.alone:
                self._run_alone(job)
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _commit(self, jobs: list[_Job]) -> None:
        """Write ``jobs`` in one transaction, then acknowledge them.

        Where the transaction as a whole fails (a full disk), each is tried again by itself, so
        that a write too large for what is left doesn't take smaller ones with it.
        """
        if not jobs:
            return
        outcomes: list[tuple[Any, Exception | None]] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for job in jobs:
                outcomes.append(self._run(job.work))
            failpoint("journal.before_commit")
            self._db.execute("COMMIT")
            failpoint("journal.after_commit")
            self.commits += 1
        except Exception as error:
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            explained = self._explain(error)
            if len(jobs) > 1 and isinstance(explained, StoreFull):
                for job in jobs:
                    self._commit([job])
            else:
                for job in jobs:
                    job.future.set_exception(explained)
            return
        for job, (result, failed) in zip(jobs, outcomes, strict=True):
            failpoint("journal.before_ack")
            if failed is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(failed)

    def _run_alone(self, job: _Job) -> None:
        try:
            job.future.set_result(job.work(self._db))
        except Exception as error:
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
            job.future.set_exception(self._explain(error))

    def _run(self, write: Callable[[sqlite3.Connection], T]) -> tuple[T | None, Exception | None]:
        """Run one write; undo it alone when it fails."""
        self._db.execute("SAVEPOINT job")
        try:
            result = write(self._db)
        except Exception as error:
            if not self._db.in_transaction:
                raise  # SQLite has given up the whole transaction
            self._db.execute("ROLLBACK TO job")
            self._db.execute("RELEASE job")
            return None, self._explain(error)
        self._db.execute("RELEASE job")
        return result, None

    def _explain(self, error: Exception) -> Exception:
        """A sentence for what the store said; a caller's own mistake stays what it is."""
        if isinstance(error, sqlite3.Error | OSError):
            explained = translate(error, self._path)
            explained.__cause__ = error
            return explained
        return error
