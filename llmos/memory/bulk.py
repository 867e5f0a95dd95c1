"""A whole conversation into the journal at once: what an import hands over, and its rows.

Works inside the writer's transaction and on its connection, as ``append`` does for one record.
Knows nothing of the files that conversations come from; checks are the reader's.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llmos import limits
from llmos.errors import StoreError
from llmos.events import ToolCall
from llmos.labels import Label, Origin
from llmos.memory.append import Draft, insert_record, json_text, plain, prepared, real
from llmos.memory.records import IMPORTED, is_id, new_id

__all__ = ["Conversation", "Imported", "PastCall", "PastTurn", "insert_conversation", "spoken"]


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call that was made elsewhere, and is never made again."""

    turn: int
    call: ToolCall
    started: float
    finished: float
    seconds: float = 0.0
    error: str = ""
    result_hash: bytes = b""
    result_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PastTurn:
    """A turn that ended elsewhere."""

    turn: int
    time: float
    reason: str
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Conversation:
    """A whole process that is to be kept, and what happened in it, oldest first.

    Args:
        pid: Its number in the file it comes from; 0 where it had none.
        parent / fork_seq: As in ``StoredProcess``; in the numbers of the file, until the import
            has put in those of this journal.
        created / ended: Seconds since the epoch; ``ended`` is None for one that lives on.
        items: Read while they are written, once.
        left_out: Sentences about what the file holds and this does not, or the other way round;
            whole once the items are read.
    """

    title: str = ""
    system: str = ""
    priority: str = "interactive"
    budget: Mapping[str, float] = field(default_factory=dict)
    pid: int = 0
    parent: int = 0
    fork_seq: int | None = None
    employed: bool = False
    created: float = 0.0
    ended: float | None = None
    reason: str = ""
    items: Iterable[Draft | PastCall | PastTurn] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a conversation.

    Args:
        places: Pairs of a record's place in the file's journal and its place here, ascending.
        copy: All that was said in it was in this journal before.
    """

    pid: int
    records: int
    places: tuple[tuple[int, int], ...] = ()
    copy: bool = False


def spoken(role: str, *, mine: bool) -> Origin:
    """How far a text from elsewhere is trusted.

    Args:
        role: Who is said to have said it.
        mine: The person who imports says that it is their own conversation. Without their word,
            nobody's is taken.
    """
    known = {"user": Origin.USER, "assistant": Origin.MODEL} if mine else {}
    return known.get(role, Origin.UNTRUSTED)


def insert_conversation(db: sqlite3.Connection, conversation: Conversation) -> Imported:
    """Keep a conversation that happened elsewhere, as a new process.

    Records get new ids; the old one stands first among a record's sources, behind ``import:``.
    Sources within the conversation are carried over to the new ids. No turn of it is left open:
    nothing that was said elsewhere is answered here.

    Raises:
        StoreError: It cannot be kept. Whatever reading its items raises comes through, too.
    """
    pid = db.execute(
        "INSERT INTO processes (title, system, priority, parent, fork_seq, budget, created, ended,"
        " reason, employed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            plain(conversation.title),
            plain(conversation.system),
            plain(conversation.priority),
            conversation.parent or None,
            conversation.fork_seq,
            json_text(dict(conversation.budget)),
            real(conversation.created),
            None if conversation.ended is None else real(conversation.ended),
            plain(conversation.reason),
            int(conversation.employed),
        ),
    ).lastrowid
    assert pid is not None
    ids: dict[str, str] = {}
    places: list[tuple[int, int]] = []
    count, last = 0, ""
    for item in conversation.items:
        match item:
            case Draft():
                count += 1
                if count > limits.IMPORT_RECORDS:
                    raise StoreError(
                        f"A conversation of more than {limits.IMPORT_RECORDS:,} messages cannot be"
                        " imported."
                    )
                new, last = new_id(), item.id
                draft = _as_imported(item, new, ids)
                seq = insert_record(db, prepared(pid, draft), item.erased)
                if item.id:
                    ids[item.id] = new
                if item.seq:
                    places.append((item.seq, seq))
            case PastCall():
                _insert_call(db, pid, item)
            case PastTurn():
                _insert_turn(db, pid, item)
    db.execute(
        "INSERT INTO turns (pid, turn, time, reason, tokens, seconds)"
        " SELECT pid, turn, max(time), 'imported', 0, 0 FROM messages m WHERE pid = :pid"
        " AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.pid = m.pid AND t.turn = m.turn)"
        " GROUP BY turn ORDER BY turn",
        {"pid": pid},
    )
    return Imported(pid, count, tuple(places), bool(last) and _known(db, pid, last))


def _known(db: sqlite3.Connection, pid: int, id: str) -> bool:
    """Whether a record of that id is in another process, or was imported into one."""
    first = f'["{IMPORTED}{id}"'
    sql = "SELECT 1 FROM messages WHERE pid != ? AND (id = ? OR substr(sources, 1, ?) = ?) LIMIT 1"
    return db.execute(sql, (pid, plain(id), len(first), plain(first))).fetchone() is not None


def _as_imported(draft: Draft, new: str, ids: Mapping[str, str]) -> Draft:
    """``draft`` under a new id, its sources as they are known here."""
    own = [IMPORTED + draft.id] if draft.id else []
    others = [
        ids.get(source) or (IMPORTED + source if is_id(source) else source)
        for source in draft.label.sources
    ]
    sources = tuple(dict.fromkeys(own + others))
    return dataclasses.replace(draft, id=new, label=Label(draft.label.origin, sources))


def _insert_call(db: sqlite3.Connection, pid: int, past: PastCall) -> None:
    number = db.execute(
        "INSERT INTO calls (pid, turn, call_id, name, arguments, started, finished, seconds,"
        " error, result_hash, result_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            pid,
            past.turn,
            plain(past.call.id),
            plain(past.call.name),
            json_text(past.call.arguments),
            real(past.started),
            real(past.finished),
            real(past.seconds),
            plain(past.error),
            past.result_hash or None,
            past.result_bytes if past.result_hash else None,
        ),
    ).lastrowid
    if not past.result_hash:
        row = (number, real(past.finished), "before it was imported")
        db.execute("INSERT INTO call_erasures VALUES (?, ?, ?)", row)


def _insert_turn(db: sqlite3.Connection, pid: int, past: PastTurn) -> None:
    db.execute(
        "INSERT INTO turns (pid, turn, time, reason, tokens, seconds) VALUES (?, ?, ?, ?, ?, ?)",
        (pid, past.turn, real(past.time), plain(past.reason), past.tokens, real(past.seconds)),
    )
