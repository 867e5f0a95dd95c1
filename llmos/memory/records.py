"""What the journal gives back: small frozen dataclasses, and how they are read from its rows.

Knows the columns of the schema, not where rows come from. A row that doesn't parse raises
``ValueError``, ``TypeError`` or ``KeyError``; the journal makes one sentence of it.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

from llmos.events import BY_REMINDER, Message, StoredMessage, ToolCall
from llmos.labels import Label, Origin

__all__ = [
    "HEARD",
    "IMPORTED",
    "Record",
    "StoredCall",
    "StoredProcess",
    "call",
    "is_id",
    "new_id",
    "own_words",
    "piped",
    "process",
    "record",
    "unheard",
    "unsaid",
]

#: Stands before the id that an imported record had elsewhere, among its sources.
IMPORTED = "import:"
#: For a query over ``messages m``: how many characters of a reply were heard, NULL for all; the
#: least of what its records of the role ``heard`` say. ``{upto}`` may bound these.
HEARD = """CASE WHEN m.role = 'assistant' THEN (
    SELECT min(CAST(json_extract(b.body, '$.content') AS INTEGER))
    FROM messages h JOIN contents b ON b.seq = h.seq
    WHERE h.pid = m.pid AND h.turn = m.turn AND h.role = 'heard' AND h.name = 'p' || m.seq {upto}
) END AS heard"""
_ID = re.compile("[0-9a-f]{32}")
_PIPED = re.compile(r"piped:(0|[1-9]\d{0,9})")


@dataclass(frozen=True, slots=True)
class Record:
    """A message with what only the kernel needs of it.

    Args:
        pid: The process it was said in; of a forked process's early messages, an ancestor.
        label: Where the content came from.
        erased: The content was erased, the message is empty.
    """

    pid: int
    stored: StoredMessage
    label: Label
    erased: bool = False


@dataclass(frozen=True, slots=True)
class StoredProcess:
    """A process as the journal keeps it.

    Args:
        parent: 0 for none.
        fork_seq: For a fork, the last message it shares with its parent (0: none yet); None for
            a process with a history of its own.
        created / active / ended: Seconds since the epoch; ``ended`` is None while it lives.
        turns: Number of the last turn.
        tokens / seconds / calls: Used so far; of a fork, since it was forked.
        context_tokens: Fill of the window after the last turn, in tokens; 0 where there was none.
        employed: Its parent started it by a call and pays for it.
    """

    pid: int
    title: str
    system: str
    priority: str
    parent: int
    fork_seq: int | None
    budget: dict[str, float]
    created: float
    active: float
    ended: float | None
    reason: str
    turns: int
    tokens: int
    seconds: float
    calls: int
    context_tokens: int = 0
    employed: bool = False


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A system call as the journal keeps it.

    Args:
        number: Names it, for ``finish_call``; the model's own call ids may repeat.
        started / finished: Seconds since the epoch; ``finished`` is None for a call that is under
            way, or was when the kernel died.
        seconds: How long it took, by a clock that nobody sets.
        error: Stable code, empty when it succeeded.
        result_hash: SHA-256 of the result, in hexadecimal.
        effect: As its declaration had it when it was made; empty where that is not known.
    """

    number: int
    pid: int
    turn: int
    call: ToolCall
    started: float
    finished: float | None = None
    seconds: float = 0.0
    error: str = ""
    result_hash: str = ""
    result_bytes: int = 0
    effect: str = ""


def piped(words: str, given: str) -> Message:
    """A person's message to which they piped a text that need not be theirs.

    Its record is labelled as a stranger's, whole; its name tells how much of it is the person's:
    nothing, where they said nothing beside it.
    """
    # Halves of a surrogate pair would come out of the journal's JSON as one character, and the
    # words would then end within what was piped.
    words = words.encode("utf-8", "replace").decode("utf-8")
    text = f"{words}\n\n{given}" if words else given
    return Message("user", text, name=f"piped:{len(words)}")


def own_words(record: Record) -> str:
    """What of a user message's record a person said themselves; empty where it is nobody's word."""
    message = record.stored.message
    if found := _PIPED.fullmatch(message.name):
        return message.content[: int(found[1])]
    return message.content if record.label.origin is Origin.USER else ""


def unsaid(record: Record) -> str:
    """What of a user message's record is known to be no person's word; mostly nothing.

    A reminder, the task that a model gave a child, and what was piped in.
    """
    message = record.stored.message
    if message.role != "user":
        return ""
    if _PIPED.fullmatch(message.name):
        return message.content[len(own_words(record)) :].lstrip("\n")
    by_model = message.name == BY_REMINDER or record.label.origin is Origin.MODEL
    return message.content if by_model else ""


def unheard(record: Record) -> bool:
    """Whether it is a reply of which nothing was heard: no part of the conversation."""
    stored, message = record.stored, record.stored.message
    silent = message.role == "assistant" and not (message.content or message.calls)
    return silent and stored.partial and not record.erased


def new_id() -> str:
    """A fresh id, 32 hexadecimal digits: version 7 of RFC 9562 (time first, then random)."""
    milliseconds = time.time_ns() // 1_000_000 & (1 << 48) - 1
    random = int.from_bytes(os.urandom(10), "big")
    high = milliseconds << 16 | 0x7000 | random >> 68
    low = 0b10 << 62 | random & (1 << 62) - 1
    return f"{high:016x}{low:016x}"


def is_id(source: str) -> bool:
    """Whether a label's source has the form of a record's id; other things are sources too."""
    return _ID.fullmatch(source) is not None


def process(row: sqlite3.Row) -> StoredProcess:
    """The process in a row of ``processes`` with its sums."""
    return StoredProcess(
        pid=row["pid"],
        title=row["title"],
        system=row["system"],
        priority=row["priority"],
        parent=row["parent"] or 0,
        fork_seq=row["fork_seq"],
        budget=json.loads(row["budget"]),
        created=row["created"],
        active=row["active"],
        ended=row["ended"],
        reason=row["reason"],
        turns=row["turns"],
        tokens=int(row["tokens"]),
        seconds=row["seconds"],
        calls=row["calls"],
        context_tokens=row["context_tokens"] or 0,
        employed=bool(row["employed"]),
    )


def record(row: sqlite3.Row) -> Record:
    """The message in a row of ``messages`` with its ``body``, NULL for an erased one.

    Of a reply that was cut to what was ``heard``, only that.
    """
    erased = row["body"] is None
    body: dict[str, Any] = {"content": "", "calls": []}
    if not erased:
        body = json.loads(row["body"])
    message = Message(
        role=row["role"],
        content=body["content"][: row["heard"]],
        calls=tuple(ToolCall(*values) for values in body["calls"]),
        call_id=row["call_id"],
        name=row["name"],
    )
    stored = StoredMessage(
        seq=row["seq"],
        id=row["id"],
        turn=row["turn"],
        time=row["time"],
        message=message,
        error=row["error"],
        seconds=row["seconds"],
        partial=bool(row["partial"]) or row["heard"] is not None,
    )
    try:
        origin = Origin(row["origin"])
    except ValueError:  # what isn't known gets the strictest reading
        origin = Origin.UNTRUSTED
    return Record(row["pid"], stored, Label(origin, tuple(json.loads(row["sources"]))), erased)


def call(row: sqlite3.Row) -> StoredCall:
    """The call in a row of ``calls``."""
    return StoredCall(
        number=row["number"],
        pid=row["pid"],
        turn=row["turn"],
        call=ToolCall(row["call_id"], row["name"], json.loads(row["arguments"])),
        started=row["started"],
        finished=row["finished"],
        seconds=row["seconds"] or 0.0,
        error=row["error"] or "",
        result_hash=(row["result_hash"] or b"").hex(),
        result_bytes=row["result_bytes"] or 0,
        effect=row["effect"] or "",
    )
