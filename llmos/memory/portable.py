"""Conversations out of the journal and into it: as JSON lines, for machines, and Markdown.

The JSON lines carry everything: processes, records with labels, times, salts and hashes, calls,
turns. Each record can be verified by itself and against the one before it, and the last line
tells whether the file is whole. Markdown is for people; it keeps what was said and by whom.

An import verifies what it reads, gives new numbers and ids, and trusts no text but on the word of
the person who imports, and then never more than it was trusted. The hashes find accidents; they
are not signed, so that a file of ours from somebody else is as good as that person's word.
"""

from __future__ import annotations

import bisect
import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from llmos import __version__, limits
from llmos.errors import NoSuchProcess, StoreError
from llmos.labels import Label, Origin, join
from llmos.memory import records as rows
from llmos.memory.append import Draft
from llmos.memory.bulk import Conversation, Imported, PastCall, PastTurn
from llmos.memory.facts import HOME
from llmos.memory.importing import FORMAT, read
from llmos.memory.journal import EMPLOYERS, Journal
from llmos.memory.markdown import Paper
from llmos.memory.schema import to_json
from llmos.memory.writer import connect, damaged, translate

__all__ = ["FORMAT", "export", "import_conversations", "read"]

_LINEAGE = """WITH RECURSIVE lineage (pid, upto) AS (
    SELECT pid, 9223372036854775807 FROM processes WHERE pid = :pid
    UNION ALL
    SELECT p.parent, min(l.upto, p.fork_seq) FROM lineage l JOIN processes p USING (pid)
    WHERE p.fork_seq IS NOT NULL AND p.parent < p.pid AND :whole
) """
_RECORDS = (
    _LINEAGE
    + f"""SELECT m.*, c.salt, c.body, e.time AS erased_at, e.reason AS erased_for,
    {rows.HEARD.format(upto="AND h.seq <= l.upto")},
    (SELECT hash FROM messages b WHERE b.seq = m.seq - 1) AS previous
    FROM lineage l JOIN messages m ON m.pid = l.pid AND m.seq <= l.upto
    LEFT JOIN contents c USING (seq) LEFT JOIN erasures e USING (seq) ORDER BY m.seq"""
)


def export(
    path: Path, pids: Sequence[int] = (), *, format: Literal["jsonl", "md"] = "jsonl"
) -> Iterator[str]:
    """Processes as text, in pieces that follow each other. Reads one moment of the journal.

    The kernel may run meanwhile. A fork whose parent is not exported along carries the history
    it shares with it.

    Args:
        path: The journal's file.
        pids: Which processes; all, also ended ones, where empty, but the one that keeps what is
            remembered: it holds no conversation, and ``llmos memory export`` writes that.
        format: ``jsonl`` or ``md``.

    Raises:
        NoSuchProcess: One of ``pids`` does not exist.
        StoreError: There is no journal, or it cannot be read.
    """
    if not path.exists():
        raise StoreError(f"There is nothing to export: {path} does not exist.")
    db = connect(path)
    try:
        db.execute("BEGIN")  # one snapshot for all that follows
        chosen = _chosen(db, pids)
        yield from _lines(db, chosen) if format == "jsonl" else _pages(db, chosen)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise damaged(path, "a row does not parse; llmos fsck says more") from error
    finally:
        db.close()


async def import_conversations(
    journal: Journal,
    conversations: Iterable[Conversation],
    *,
    done: Callable[[Conversation, Imported], None] = lambda conversation, imported: None,
) -> list[int]:
    """Keep conversations as new processes, each whole or not at all.

    Forks become forks again where their parent came before them.

    Args:
        journal: An open journal.
        conversations: As ``read`` gives them.
        done: Told of each as soon as it is on the disk.

    Returns:
        Their pids.

    Raises:
        BadFile: A file is not what it says; what came before is kept.
        StoreError: The journal cannot keep them.
    """
    pids: list[int] = []
    known: dict[int, Imported] = {}  # by the number in the file
    parents: dict[int, int] = {}  # of the forks among them, in the file's numbers
    for conversation in conversations:
        if conversation.reason == HOME:  # of an older export: it holds no conversation
            items = iter(conversation.items)
            first = next(items, None)
            if first is None:
                continue
            # Not that process after all: one that says so would be taken for ours.
            conversation = dataclasses.replace(
                conversation, items=chain([first], items), reason="imported"
            )
        if not conversation.pid and not conversation.title:
            conversation = _titled(conversation)
        if conversation.pid and conversation.fork_seq is not None:
            parents[conversation.pid] = conversation.parent
        imported = await journal.import_process(_here(conversation, known, parents))
        if conversation.pid:
            known[conversation.pid] = imported
        pids.append(imported.pid)
        done(conversation, imported)
    return pids


def _titled(conversation: Conversation) -> Conversation:
    """A conversation of another program under the first line of its first message.

    One of ours that has no title lost it: it was made of what was forgotten.
    """
    items = iter(conversation.items)
    read: list[Draft | PastCall | PastTurn] = []
    title = ""
    for item in items:
        read.append(item)
        if isinstance(item, Draft) and (said := item.message.content.strip()):
            title = " ".join(said[: limits.TITLE_CHARS * 4].split())
            break
    if len(title) > limits.TITLE_CHARS:
        title = f"{title[: limits.TITLE_CHARS - 1].rstrip()}…"
    return dataclasses.replace(conversation, items=chain(read, items), title=title)


def _here(
    conversation: Conversation, known: dict[int, Imported], parents: dict[int, int]
) -> Conversation:
    """The conversation with its parent as it is numbered here; without one that is not here."""
    parent = known.get(conversation.parent)
    if parent is None:
        items = conversation.items
        if conversation.employed:  # whom it worked for is not here, nor what those had been shown
            items = map(_distrusted, items)
        return dataclasses.replace(
            conversation, items=items, parent=0, fork_seq=None, employed=False
        )
    fork_seq = conversation.fork_seq
    if fork_seq is not None:  # the last record it shares is the parent's, or an ancestor's
        shared, above = 0, conversation.parent
        for _ in range(len(known)):
            if above not in known:
                break
            shared = max(shared, _place(known[above].places, fork_seq))
            above = parents.get(above, 0)
        fork_seq = shared
    return dataclasses.replace(conversation, parent=parent.pid, fork_seq=fork_seq)


def _distrusted(item: Draft | PastCall | PastTurn) -> Draft | PastCall | PastTurn:
    """A record as one by strangers, and private: its words may say what nobody knows of here."""
    if not isinstance(item, Draft):
        return item
    return dataclasses.replace(item, label=join(item.label, Label(Origin.UNTRUSTED).kept_private()))


def _place(places: Sequence[tuple[int, int]], seq: int) -> int:
    """Where the last record up to ``seq`` stands here: not all are imported. 0 where none is."""
    at = bisect.bisect_right(places, seq, key=lambda place: place[0])
    return places[at - 1][1] if at else 0


# --- reading the journal ----------------------------------------------------------------------


def _chosen(db: sqlite3.Connection, pids: Sequence[int]) -> list[sqlite3.Row]:
    """The rows of the processes, parents before their children."""
    if not pids:
        found = db.execute("SELECT * FROM processes ORDER BY pid").fetchall()
        return [row for row in found if row["ended"] is None or row["reason"] != HOME]
    found = []
    for pid in sorted(set(pids)):
        try:
            row = db.execute("SELECT * FROM processes WHERE pid = ?", (pid,)).fetchone()
        except OverflowError:
            row = None
        if row is None:
            raise NoSuchProcess(f"There is no process {pid}.")
        found.append(row)
    return found


def _records(db: sqlite3.Connection, pid: int, *, whole: bool) -> Iterator[sqlite3.Row]:
    """The records of a process; ``whole``: with those it shares with its ancestors."""
    return db.execute(_RECORDS, {"pid": pid, "whole": whole})


def _lines(db: sqlite3.Connection, chosen: Sequence[sqlite3.Row]) -> Iterator[str]:
    """The JSON lines."""
    first = {"type": "journal", "format": FORMAT, "llmos": __version__, "processes": len(chosen)}
    yield _line(first)
    along = {row["pid"] for row in chosen}
    count = 0
    for row in chosen:
        forked = row["fork_seq"] is not None and row["parent"] in along
        yield _line(_process(row, forked, row["parent"] in along, _works(db, row["pid"])))
        for record in _records(db, row["pid"], whole=not forked):
            count += 1
            yield _line(_record(record))
        for call in db.execute("SELECT * FROM calls WHERE pid = ? ORDER BY number", (row["pid"],)):
            yield _line(_call(call))
        for turn in db.execute("SELECT * FROM turns WHERE pid = ? ORDER BY number", (row["pid"],)):
            keys = ("turn", "time", "reason", "tokens", "seconds")
            yield _line({"type": "turn", **{key: turn[key] for key in keys}})
    yield _line({"type": "end", "processes": len(chosen), "records": count})


def _line(data: dict[str, Any]) -> str:
    return to_json(data) + "\n"


def _works(db: sqlite3.Connection, pid: int) -> bool:
    """Whether a process, or one that it is a fork of, works for another."""
    return db.execute(EMPLOYERS, {"pid": pid}).fetchone() is not None


def _process(row: sqlite3.Row, forked: bool, related: bool, works: bool) -> dict[str, Any]:
    keys = ("pid", "title", "system", "priority", "created", "ended", "reason")
    return {
        "type": "process",
        **{key: row[key] for key in keys},
        "budget": json.loads(row["budget"]),
        "parent": row["parent"] if related else 0,
        "fork_seq": row["fork_seq"] if forked else None,
        # Without those it is related to in the file this is all that tells of them.
        "employed": bool(row["employed"]) if related else works,
    }


def _record(row: sqlite3.Row) -> dict[str, Any]:
    keys = ("seq", "id", "pid", "turn", "time", "role", "call_id", "name", "error", "seconds")
    data: dict[str, Any] = {"type": "record", **{key: row[key] for key in keys}}
    data |= {"partial": bool(row["partial"]), "origin": row["origin"]}
    data["sources"] = json.loads(row["sources"])
    data |= {key: row[key].hex() for key in ("content_hash", "hash")}
    data["previous"] = row["previous"].hex() if row["previous"] is not None else ""
    if row["body"] is None:
        data["erased"] = {
            "time": row["erased_at"] or row["time"],
            "reason": row["erased_for"] or "",
        }
    else:
        body = json.loads(row["body"])
        data |= {"salt": row["salt"].hex(), "content": body["content"], "calls": body["calls"]}
        if row["heard"] is not None:  # the content stays whole: its hash is verified
            data["heard"] = row["heard"]
    return data


def _call(row: sqlite3.Row) -> dict[str, Any]:
    keys = ("turn", "call_id", "name", "started", "finished", "seconds", "error", "result_bytes")
    return {
        "type": "call",
        **{key: row[key] for key in keys},
        "arguments": json.loads(row["arguments"]),
        "result_hash": (row["result_hash"] or b"").hex(),
    }


def _pages(db: sqlite3.Connection, chosen: Sequence[sqlite3.Row]) -> Iterator[str]:
    """The Markdown."""
    for row in chosen:
        paper = Paper(row["pid"], row["title"], row["created"], row["ended"])
        yield paper.head()
        for record in _records(db, row["pid"], whole=True):
            yield paper.turn(rows.record(record), bool(record["erased_at"]))
        yield paper.end()
