"""Checks a journal from end to end: the file, the references, the hash chain, the contents.

Says whether the journal is what was written; whether what was written makes sense together is
``consistency``'s business. Reads only, on a connection of its own, also beside a running kernel.
Tells problems in sentences; repairs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from llmos import limits
from llmos.errors import StoreError
from llmos.memory.schema import GENESIS, content_hash, record_hash
from llmos.memory.writer import connect

__all__ = ["EVERY", "Progress", "check", "losses", "sentences", "silent"]

#: Told what is being done, and how many of how many are; the last is 0 where nobody knows.
Progress = Callable[[str, int, int], None]

#: Records between two reports of progress.
EVERY = 1000


def silent(what: str, done: int, total: int) -> None:
    """The progress that nobody wants to see."""


def check(path: Path, progress: Progress = silent) -> list[str]:
    """Check the journal at ``path``. Reads all of it.

    Returns:
        One sentence a problem, at most ``limits.STORE_PROBLEMS``; none for a sound journal.
    """
    return sentences(path, _problems, progress)


def sentences(
    path: Path,
    look: Callable[[sqlite3.Connection, Progress], Iterator[str]],
    progress: Progress,
) -> list[str]:
    """What ``look`` finds in one moment of the journal, at most ``limits.STORE_PROBLEMS``."""
    problems: list[str] = []
    try:
        db = connect(path)
    except StoreError as error:
        return [str(error)]
    with closing(db):
        try:
            db.execute("BEGIN")  # one snapshot for all that follows
            for problem in islice(look(db, progress), limits.STORE_PROBLEMS):
                problems.append(problem)
        except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(f"The journal cannot be read to its end ({error}).")
    return problems


def _problems(db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    progress("the file", 0, 0)
    for (said,) in db.execute(f"PRAGMA integrity_check({limits.STORE_PROBLEMS})"):
        if said != "ok":
            yield f"The file is damaged: {said}."
    for row in db.execute("PRAGMA foreign_key_check"):
        yield f"Row {row['rowid']} of {row['table']} refers to {row['parent']} that is not there."
    yield from _chain(db, progress)
    for row in db.execute("SELECT pid, parent FROM processes WHERE parent >= pid"):
        yield f"Process {row['pid']} is older than its parent {row['parent']}."


def _chain(db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    """Problems of the messages: records lost or changed, contents lost or changed."""
    previous, last = GENESIS, 0
    known = losses(db)
    (total,) = db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()
    for row in db.execute(
        "SELECT m.*, c.salt, c.body, e.seq AS erasure FROM messages m"
        " LEFT JOIN contents c USING (seq) LEFT JOIN erasures e USING (seq) ORDER BY m.seq"
    ):
        seq = row["seq"]
        if seq % EVERY == 0:
            progress("the records", seq, total)
        if seq != last + 1:
            if (last + 1, seq - 1) not in known:
                yield _lost(last + 1, seq - 1)
        elif record_hash(previous, dict(row)) != row["hash"]:
            yield f"The record of message {seq} was changed, or the one before it."
        if row["body"] is None and row["erasure"] is None:
            yield f"The content of message {seq} is lost."
        elif (
            row["body"] is not None
            and content_hash(row["salt"], row["body"]) != row["content_hash"]
        ):
            yield f"The content of message {seq} was changed."
        elif row["body"] is not None and row["erasure"] is not None:
            yield f"Message {seq} was to be erased, and its content is still there."
        previous, last = row["hash"], seq
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    if given and given["seq"] > last and (last + 1, given["seq"]) not in known:
        yield _lost(last + 1, given["seq"])


def losses(db: sqlite3.Connection) -> set[tuple[int, int]]:
    """Runs of messages that are known to be lost: the journal was salvaged without them."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'losses'").fetchone():
        return set()  # of a version that had none
    return {(row["first"], row["last"]) for row in db.execute("SELECT * FROM losses")}


def _lost(first: int, last: int) -> str:
    return f"Message {first} is lost." if first == last else f"Messages {first} to {last} are lost."
