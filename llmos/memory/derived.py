"""What was made of what was said while nobody was there: summaries of turns, links between pages.

Each is a record of the journal whose label names everything it was made of. Erasing one of its
sources erases it; erasing it alone undoes it, and nothing else changes: what it was made of stays.

Knows records; not how summaries are written, nor what is similar.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmos.errors import NotStored
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind, Turn
from llmos.memory.records import Record

__all__ = [
    "UNDONE",
    "Derived",
    "Link",
    "Made",
    "MadeKind",
    "Segment",
    "Summary",
    "derived_id",
    "segments",
]

log = logging.getLogger(__name__)

#: Why something derived was erased alone.
UNDONE = "undone"

MadeKind: TypeAlias = Literal["summary", "link", "merged"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What some turns that follow each other were about.

    Args:
        turns: In their order.
        text: One or two sentences.
    """

    turns: tuple[Turn, ...]
    text: str

    def to_json(self) -> str:
        """As a record's content."""
        return json.dumps({"turns": self.turns, "text": self.text}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A page and those of other conversations that are about the same, nearest first."""

    page: str
    to: tuple[str, ...]

    def to_json(self) -> str:
        """As a record's content."""
        return json.dumps({"page": self.page, "to": self.to}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Made:
    """Something derived, for a person to see and to undo.

    Args:
        id: ``d12``.
        kind: What it is.
        text: The summary, or which things are linked or merged.
        time: When it was made, in seconds since the epoch.
        pid: The process it belongs to; 0 for none.
    """

    id: str
    kind: MadeKind
    text: str
    time: float
    pid: int = 0


#: Turns that follow each other, with their summary where there is one.
Segment: TypeAlias = tuple[tuple[Turn, ...], Summary | None]


def derived_id(seq: int) -> str:
    """The id of what was derived at a place of the journal."""
    return f"d{seq}"


class Derived:
    """Everything derived that a journal holds. What does not parse is left out, and logged.

    Args:
        journal: Where it is kept.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._summaries: dict[str, Summary] | None = None
        self._links: dict[str, list[str]] | None = None
        self._changes = 0

    def changed(self) -> None:
        """Something derived was kept or erased: what is known of it is read anew."""
        self._changes += 1
        self._summaries = self._links = None

    def made(self) -> list[Made]:
        """All there is, newest first; call it in a thread."""
        out = []
        for kind in (Kind.SUMMARY, Kind.LINK, Kind.MEMORY):
            for record in self._journal.records_of(kind):
                if (made := told(record)) is not None:
                    out.append(made)
        return sorted(out, key=lambda made: (-made.time, -int(made.id[1:])))

    def summaries(self) -> dict[str, Summary]:
        """All summaries by the id of their record; call it in a thread."""
        if (known := self._summaries) is None:
            changes = self._changes
            known = {
                record.stored.id: parsed
                for record in self._journal.records_of(Kind.SUMMARY)
                if isinstance(parsed := _parsed(record), Summary)
            }
            if changes == self._changes:  # nothing of it was erased while it was read
                self._summaries = known
        return known

    def links(self) -> dict[str, list[str]]:
        """For each page those it is linked with, in both directions; call it in a thread."""
        if (known := self._links) is None:
            changes = self._changes
            found: dict[str, list[str]] = defaultdict(list)
            for record in self._journal.records_of(Kind.LINK):
                if isinstance(link := _parsed(record), Link):
                    for other in link.to:
                        found[link.page].append(other)
                        found[other].append(link.page)
            known = dict(found)
            if changes == self._changes:
                self._links = known
        return known

    def sources(self, kind: Kind) -> list[frozenset[str]]:
        """What each of a kind was made of, undone and forgotten ones included."""
        return [frozenset(record.label.sources) for record in self._journal.records_of(kind)]

    def undone(self, kind: Kind) -> list[frozenset[str]]:
        """What each of a kind that was undone had been made of; call it in a thread."""
        undone = set(self._journal.erased(UNDONE))
        return [
            frozenset(record.label.sources)
            for record in self._journal.records_of(kind)
            if record.stored.seq in undone
        ]

    def find(self, written: str) -> Record:
        """The record that ``written`` (``d12``) names.

        Raises:
            NotStored: Nothing derived is called so, or it was undone.
        """
        name = written.strip().lower()
        seq = int(name[1:]) if name[:1] == "d" and name[1:].isdecimal() else 0
        found = self._journal.record(seq) if 0 < seq < 1 << 63 else None
        if found is None or told(found) is None:
            raise NotStored(
                f"Nothing that a dream made is called {written.strip()[:40]!r}.",
                remedy="llmos dream ls lists what there is.",
            )
        return found


def told(record: Record) -> Made | None:
    """What a record is, for a person; None for one that keeps nothing derived."""
    seq, time = record.stored.seq, record.stored.time
    match _parsed(record):
        case Summary(turns=turns, text=text):
            return Made(derived_id(seq), "summary", text, time, turns[-1][0] if turns else 0)
        case Link(page=page, to=to):
            text = f"{page} is about the same as {', '.join(to)}"
            return Made(derived_id(seq), "link", text, time)
        case (str(less), str(more)):
            return Made(derived_id(seq), "merged", f"{less} says the same as {more}", time)
    return None


def _parsed(record: Record) -> Summary | Link | tuple[str, str] | None:
    """What a record keeps: a summary, a link, the ids of two merged memories, or something else."""
    if record.erased:
        return None
    kind = record.stored.message.role
    try:
        data = json.loads(record.stored.message.content)
        if kind == Kind.SUMMARY:
            turns = tuple((int(pid), int(turn)) for pid, turn in data["turns"])
            return Summary(turns, str(data["text"]))
        if kind == Kind.LINK:
            return Link(str(data["page"]), tuple(map(str, data["to"])))
        if kind == Kind.MEMORY and data["op"] == "merge":
            return str(data["id"]), str(data["into"])
    except (ValueError, KeyError, TypeError):
        log.warning("the %s at %d does not parse and is left out", kind, record.stored.seq)
    return None


def segments(run: Sequence[Turn], summaries: Iterable[Summary]) -> list[Segment]:
    """A run of turns cut to what is summarised and what is not, in order.

    Where several summaries begin at a turn, the widest one that the run holds whole counts.
    """
    starting: dict[Turn, list[Summary]] = defaultdict(list)
    for summary in summaries:
        if summary.turns:
            starting[summary.turns[0]].append(summary)
    return list(_segments(tuple(run), starting))


def _segments(run: tuple[Turn, ...], starting: dict[Turn, list[Summary]]) -> Iterator[Segment]:
    bare: list[Turn] = []
    at = 0
    while at < len(run):
        fits = [s for s in starting.get(run[at], ()) if run[at : at + len(s.turns)] == s.turns]
        if not fits:
            bare.append(run[at])
            at += 1
            continue
        if bare:
            yield tuple(bare), None
            bare = []
        widest = max(fits, key=lambda s: len(s.turns))
        yield widest.turns, widest
        at += len(widest.turns)
    if bare:
        yield tuple(bare), None
