"""How a record becomes rows of the journal.

Works inside the writer's transaction and on its connection. Every record is chained to the one
before it, whoever it belongs to. Decides nothing: roles, labels and times are the caller's.
"""

from __future__ import annotations

import math
import os
import sqlite3
from dataclasses import dataclass, field
from typing import Any

from llmos.errors import StoreError
from llmos.events import Message
from llmos.failpoints import failpoint
from llmos.labels import Label
from llmos.memory.records import new_id
from llmos.memory.schema import GENESIS, content_hash, record_hash, to_json

__all__ = [
    "Draft",
    "Prepared",
    "body_text",
    "insert_record",
    "json_text",
    "plain",
    "prepared",
    "real",
]


@dataclass(frozen=True, slots=True)
class Draft:
    """A record that is to be kept.

    Args:
        time: Seconds since the epoch.
        id: Its id; a fresh one where empty. Of an import, its id in the file.
        seq: Of an import, its place in the journal it comes from; 0 where it had none.
        erased: When and why its content was erased; None for a whole one.
    """

    message: Message
    turn: int = 0
    time: float = 0.0
    label: Label = field(default_factory=Label)
    error: str = ""
    seconds: float = 0.0
    partial: bool = False
    id: str = ""
    seq: int = 0
    erased: tuple[float, str] | None = None


def plain(value: str) -> str:
    """``value`` as UTF-8 can hold it; a lone surrogate becomes a question mark."""
    return value.encode("utf-8", "replace").decode("utf-8")


def json_text(value: Any) -> str:
    """``value`` as JSON text, its order kept: it decides the tokens of a rendered prompt."""
    try:
        return to_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"This cannot be kept in the journal: {error}.") from error


def real(value: float) -> float:
    """``value`` as SQLite gives it back, which has no NaN and no negative zero."""
    if not math.isfinite(value):
        raise StoreError(f"{value} is no time that the journal can keep.")
    return float(value) + 0.0


def body_text(message: Message) -> str:
    """What of a message is its content: kept apart, hashed, and one day perhaps erased."""
    calls = [[call.id, call.name, call.arguments] for call in message.calls]
    return json_text({"content": message.content, "calls": calls})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A record's row, but for its place in the journal, and its content."""

    row: dict[str, Any]
    salt: bytes
    body: str


def prepared(pid: int, draft: Draft) -> Prepared:
    """Everything of a record that does not depend on what stands before it.

    Raises:
        StoreError: It cannot be kept.
    """
    body, salt = body_text(draft.message), os.urandom(16)
    row: dict[str, Any] = {
        "id": plain(draft.id) or new_id(),
        "pid": pid,
        "turn": draft.turn,
        "time": real(draft.time),
        "role": plain(draft.message.role),
        "call_id": plain(draft.message.call_id),
        "name": plain(draft.message.name),
        "error": plain(draft.error),
        "seconds": real(draft.seconds),
        "partial": int(draft.partial),
        "origin": int(draft.label.origin),
        "sources": json_text(list(draft.label.sources)),
        "content_hash": content_hash(salt, body),
    }
    return Prepared(row, salt, body)


def insert_record(
    db: sqlite3.Connection, record: Prepared, erased: tuple[float, str] | None = None
) -> int:
    """Chain a record to the last one; returns its place.

    Args:
        erased: When and why its content, which is not kept, was erased.

    Raises:
        StoreError: There is a record of that id.
    """
    if db.execute("SELECT 1 FROM messages WHERE id = ?", (record.row["id"],)).fetchone():
        raise StoreError(f"There is a message {record.row['id']} already.")
    head = db.execute("SELECT hash FROM messages ORDER BY seq DESC LIMIT 1").fetchone()
    given = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
    seq: int = given[0] + 1 if given else 1
    values = {**record.row, "seq": seq}
    values["hash"] = record_hash(head[0] if head else GENESIS, values)
    columns = ", ".join(values)
    places = ", ".join(f":{column}" for column in values)
    db.execute(f"INSERT INTO messages ({columns}) VALUES ({places})", values)
    failpoint("journal.append")
    failpoint(f"journal.append.{record.row['role']}")
    if erased is None:
        db.execute("INSERT INTO contents VALUES (?, ?, ?)", (seq, record.salt, record.body))
    else:
        db.execute(
            "INSERT INTO erasures VALUES (?, ?, ?)", (seq, real(erased[0]), plain(erased[1]))
        )
    return seq
