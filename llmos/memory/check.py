"""Checks a journal from end to end: the file, the references, the hash chain, the contents.

Reads only, on a connection of its own, also beside a running kernel. Tells problems in sentences;
repairs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from llmos import limits
from llmos.errors import StoreError
from llmos.memory.schema import GENESIS, content_hash, record_hash
from llmos.memory.writer import connect

__all__ = ["check"]


def check(path: Path) -> list[str]:
    """Check the journal at ``path``. Reads all of it.

    Returns:
        One sentence a problem, at most ``limits.STORE_PROBLEMS``; none for a sound journal.
    """
    problems: list[str] = []
    try:
        db = connect(path)
    except StoreError as error:
        return [str(error)]
    try:
        db.execute("BEGIN")  # one snapshot for all that follows
        for problem in islice(_problems(db), limits.STORE_PROBLEMS):
            problems.append(problem)
    except (sqlite3.Error, ValueError, TypeError, AttributeError) as error:
        problems.append(f"The journal cannot be read to its end ({error}).")
    finally:
        db.close()
    return problems


def _problems(db: sqlite3.Connection) -> Iterator[str]:
    for (said,) in db.execute(f"PRAGMA integrity_check({limits.STORE_PROBLEMS})"):
        if said != "ok":
            yield f"The file is damaged: {said}."
    for row in db.execute("PRAGMA foreign_key_check"):
        yield f"Row {row['rowid']} of {row['table']} refers to {row['parent']} that is not there."
    yield from _chain(db)
    for row in db.execute("SELECT pid, parent FROM processes WHERE parent >= pid"):
        yield f"Process {row['pid']} is older than its parent {row['parent']}."


def _chain(db: sqlite3.Connection) -> Iterator[str]:
    """Problems of the messages: records lost or changed, contents lost or changed."""
    previous, last = GENESIS, 0
    for row in db.execute(
        "SELECT m.*, c.salt, c.body, e.seq AS erasure FROM messages m"
        " LEFT JOIN contents c USING (seq) LEFT JOIN erasures e USING (seq) ORDER BY m.seq"
    ):
        seq = row["seq"]
        if seq != last + 1:
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
        previous, last = row["hash"], seq
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    if given and given["seq"] > last:
        yield _lost(last + 1, given["seq"])


def _lost(first: int, last: int) -> str:
    return f"Message {first} is lost." if first == last else f"Messages {first} to {last} are lost."
