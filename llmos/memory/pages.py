"""A page: a stretch of a context, whole, with where it came from.

Every record of the journal is one page, or several where it is long. Pages are cut by their text
alone, so that a page's id means the same stretch under every model and for ever; joined again they
are the record to the letter. Knows text, neither tokens nor what is in view.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from llmos.documents.stretches import split
from llmos.labels import Label
from llmos.memory.records import Record

__all__ = [
    "APART",
    "CONVERSATION",
    "Kind",
    "Page",
    "Turn",
    "page_id",
    "pages_of",
    "parse_id",
]


class Kind(StrEnum):
    """What a page holds: the role of its record."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"
    RECALLED = "recalled"  # pages that were brought back, at the tail of a person's message
    NOTE = "note"  # that what every conversation begins with has changed
    MEMORY = "memory"  # a change of what is remembered
    WINDOW = "window"  # what left the window, and the front that was built then
    SUMMARY = "summary"  # what turns that left it were about, written while nobody was there
    PIN = "pin"  # that pages stay in view, or no longer; their ids are its name
    LINK = "link"  # pages of other conversations that a page is about the same as
    GRANT = "grant"  # what a person allowed for longer than once, or took back
    VERDICT = "verdict"  # what a person was asked about a call, and what they said
    NESTED = "nested"  # a call that a call makes: its name is the id of that one
    CITED = "cited"  # what the sentences of an answer rest on
    ROLE = "role"  # the expert that a conversation was begun with: the record's name
    EXPERT = "expert"  # who speaks in a turn, what it is told and knows; shown with the message
    ARTIFACT = "artifact"  # which files a call made
    EVIDENCE = "evidence"  # a text that answers may cite; its number is the record's name
    HEARD = "heard"  # how many characters of a spoken reply were heard; its page is the name
    VOUCHED = "vouched"  # of a result: values that are trusted whoever wrote it; how it is said


#: Records that people and the model wrote or a call answered; the others are the kernel's own.
CONVERSATION = frozenset({Kind.USER, Kind.ASSISTANT, Kind.TOOL})

#: Records that say something about others; they mean nothing in another journal.
APART = frozenset(
    {
        *(Kind.MEMORY, Kind.SUMMARY, Kind.LINK, Kind.PIN),
        *(Kind.GRANT, Kind.VERDICT, Kind.VOUCHED, Kind.ARTIFACT, Kind.CITED, Kind.EVIDENCE),
        *(Kind.ROLE, Kind.NESTED, Kind.HEARD),
    }
)

#: Pid and number of a turn.
Turn: TypeAlias = tuple[int, int]

_ID = re.compile(r"p([1-9]\d{0,17})(?:\.([1-9]\d{0,8}))?")


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Args:
        id: ``p12``, or ``p12.3`` for the third part of a long record.
        seq: The record's place in the journal.
        part / parts: Which part of how many; 1 of 1 for a whole record.
        kind: What it holds.
        pid / turn: Where it was said.
        time: Seconds since the epoch.
        text: The text, whole.
        label: Where it came from.
    """

    id: str
    seq: int
    part: int
    parts: int
    kind: Kind
    pid: int
    turn: int
    time: float
    text: str
    label: Label


def page_id(seq: int, part: int = 1, parts: int = 1) -> str:
    """The id of a page."""
    return f"p{seq}" if parts == 1 else f"p{seq}.{part}"


def parse_id(written: str) -> tuple[int, int] | None:
    """The record's place and the part (0: the whole record) that ``written`` names, or None."""
    found = _ID.fullmatch(written.strip().strip("[]()").lower())
    return (int(found[1]), int(found[2] or 0)) if found else None


def pages_of(record: Record) -> tuple[Page, ...]:
    """The pages of a record; none of an erased one."""
    if record.erased:
        return ()
    stored, message = record.stored, record.stored.message
    texts = split(message.content)
    return tuple(
        Page(
            id=page_id(stored.seq, part, len(texts)),
            seq=stored.seq,
            part=part,
            parts=len(texts),
            kind=Kind(message.role),
            pid=record.pid,
            turn=stored.turn,
            time=stored.time,
            text=text,
            label=record.label,
        )
        for part, text in enumerate(texts, 1)
    )
