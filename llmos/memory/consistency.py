"""Whether what a sound journal says makes sense together: sources, pages, calls, turns.

``check`` has looked whether it is what was written; here it is read for what it means. Of a
journal that was salvaged little can be asked: what its records refer to may be lost.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from llmos.documents.stretches import split
from llmos.memory.check import EVERY, Progress, losses, sentences, silent
from llmos.memory.pages import Kind, parse_id
from llmos.memory.records import is_id

__all__ = ["consistent"]


def consistent(path: Path, progress: Progress = silent) -> list[str]:
    """Check that what the journal at ``path`` says makes sense. Reads all of it.

    Returns:
        One sentence a problem, at most ``limits.STORE_PROBLEMS``.
    """
    return sentences(path, _contradictions, progress)


def _contradictions(db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    progress("what it says", 0, 0)
    lossy = bool(losses(db))
    (total,) = db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()
    for row in db.execute(
        "SELECT m.seq, m.id, m.pid, m.turn, m.role, m.call_id, m.sources, c.body FROM messages m"
        " LEFT JOIN contents c USING (seq) ORDER BY m.seq"
    ):
        if row["seq"] % EVERY == 0:
            progress("what it says", row["seq"], total)
        if not lossy:
            yield from _sources(db, row)
            if row["role"] == Kind.WINDOW and row["body"] is not None:
                yield from _window(db, row)
            if row["role"] == Kind.HEARD and row["body"] is not None:
                yield from _heard(db, row)
            if row["role"] == Kind.TOOL and row["call_id"]:
                yield from _result(db, row)
    yield from _processes(db, lossy)
    yield from _calls_and_turns(db, lossy)


def _sources(db: sqlite3.Connection, row: sqlite3.Row) -> Iterator[str]:
    for source in json.loads(row["sources"]):
        if not isinstance(source, str):
            yield f"Message {row['seq']} names a source that is no id."
        elif is_id(source):
            found = db.execute("SELECT seq FROM messages WHERE id = ?", (source,)).fetchone()
            if found is None:
                yield f"Message {row['seq']} was made of {source}, which is not there."
            elif found["seq"] >= row["seq"]:
                yield f"Message {row['seq']} was made of message {found['seq']}, which is newer."


def _window(db: sqlite3.Connection, row: sqlite3.Row) -> Iterator[str]:
    """Problems of what left a window: pages that were never there."""
    where = f"What left the window at message {row['seq']}"
    try:
        gone = json.loads(json.loads(row["body"])["content"])["evicted"]
        places = [(str(page), parse_id(str(page))) for page in gone]
    except (ValueError, KeyError, TypeError):
        yield f"{where} cannot be read."
        return
    for page, place in places:
        if place is None:
            yield f"{where} is called {page}, which is no page's id."
            continue
        seq, part = place
        found = db.execute(
            "SELECT m.seq, c.body FROM messages m LEFT JOIN contents c USING (seq)"
            " WHERE m.seq = ? AND m.seq < ?",
            (seq, row["seq"]),
        ).fetchone()
        if found is None:
            yield f"{where} names page {page}, which is not there."
        elif part > 1 and found["body"] is not None and part > _parts(found["body"]):
            yield f"{where} names page {page}, and the record has fewer."


def _heard(db: sqlite3.Connection, row: sqlite3.Row) -> Iterator[str]:
    """What was heard must be the beginning of a reply in the same turn."""
    where = f"What was heard by message {row['seq']}"
    try:
        (page,), length = (
            db.execute("SELECT name FROM messages WHERE seq = ?", (row["seq"],)).fetchone(),
            int(json.loads(row["body"])["content"]),
        )
    except (ValueError, KeyError, TypeError):
        yield f"{where} cannot be read."
        return
    seq, _ = parse_id(page) or (0, 0)
    reply = db.execute(
        "SELECT c.body FROM messages m LEFT JOIN contents c USING (seq) WHERE m.seq = ?"
        " AND m.seq < ? AND m.pid = ? AND m.turn = ? AND m.role = 'assistant'",
        (seq, row["seq"], row["pid"], row["turn"]),
    ).fetchone()
    if reply is None:
        yield f"{where} is of {page}, which is no reply of that turn."
    elif reply["body"] is not None and not (
        0 <= length <= len(json.loads(reply["body"])["content"])
    ):
        yield f"{where} is longer than the reply."


def _parts(body: str) -> int:
    return len(split(json.loads(body)["content"]))


def _result(db: sqlite3.Connection, row: sqlite3.Row) -> Iterator[str]:
    """A result must answer a call that was made, as far as that is not erased."""
    turn = (row["pid"], row["turn"])
    made = "SELECT 1 FROM calls WHERE pid = ? AND turn = ? AND call_id = ?"
    if db.execute(made, (*turn, row["call_id"])).fetchone():
        return
    for reply in db.execute(
        "SELECT c.body FROM messages m LEFT JOIN contents c USING (seq)"
        " WHERE m.pid = ? AND m.turn = ? AND m.role = 'assistant' AND m.seq < ?",
        (*turn, row["seq"]),
    ):
        told = None if reply["body"] is None else json.loads(reply["body"])["calls"]
        if told is None or any(call[0] == row["call_id"] for call in told):
            return
    yield f"Message {row['seq']} is the result of a call that was never made."


def _processes(db: sqlite3.Connection, lossy: bool) -> Iterator[str]:
    for row in (
        ()
        if lossy
        else db.execute(
            "SELECT pid, fork_seq FROM processes p WHERE fork_seq > 0"
            " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.seq = p.fork_seq)"
        )
    ):
        yield f"Process {row['pid']} was forked at message {row['fork_seq']}, which is not there."
    for row in db.execute(
        "SELECT pid FROM processes WHERE fork_seq IS NOT NULL AND parent IS NULL"
    ):
        yield f"Process {row['pid']} was forked from no process."
    for row in db.execute("SELECT pid, budget FROM processes"):
        try:
            readable = isinstance(json.loads(row["budget"]), dict)
        except (ValueError, TypeError):
            readable = False
        if not readable:
            yield f"The budget of process {row['pid']} cannot be read."


def _calls_and_turns(db: sqlite3.Connection, lossy: bool) -> Iterator[str]:
    for row in db.execute(
        "SELECT number FROM calls WHERE finished IS NULL"
        " AND (seconds IS NOT NULL OR error IS NOT NULL OR result_hash IS NOT NULL)"
        " OR finished IS NOT NULL AND (seconds IS NULL OR error IS NULL)"
    ):
        yield f"Call {row['number']} is neither under way nor finished."
    if lossy:
        return
    for row in db.execute(
        "SELECT number, pid, turn FROM turns t WHERE turn > 0 AND NOT EXISTS"
        " (SELECT 1 FROM messages m WHERE m.pid = t.pid AND m.turn = t.turn)"
    ):
        yield f"Turn {row['turn']} of process {row['pid']} ended, and nothing was said in it."
    for row in db.execute(
        "SELECT number, pid, turn FROM calls c WHERE turn > 0 AND NOT EXISTS"
        " (SELECT 1 FROM messages m WHERE m.pid = c.pid AND m.turn = c.turn)"
    ):
        where = f"turn {row['turn']} of process {row['pid']}"
        yield f"Call {row['number']} was made in {where}, in which nothing was said."
