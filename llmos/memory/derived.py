"""What was made of what was said while nobody was there: summaries of turns, links between pages.

Each is a record of the journal whose label names everything it was made of. Erasing one of its
sources erases it, erasing it alone undoes it, and nothing else changes: what it was made of stays.

Knows records; not how summaries are written, nor what is similar.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmos.errors import NotStored, StoreCorrupt
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind
from llmos.memory.records import Record

__all__ = [
    "UNDONE",
    "Derived",
    "DreamState",
    "Link",
    "Made",
    "MadeKind",
    "Summary",
    "Turn",
    "derived_id",
    "segments",
]

#: Why something derived was erased alone.
UNDONE = "undone"

#: Pid and number.
Turn: TypeAlias = tuple[int, int]

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

    @classmethod
    def from_json(cls, content: str) -> Summary:
        """What ``to_json`` wrote.

        Raises:
            StoreCorrupt: It did not.
        """
        try:
            data = json.loads(content)
            turns = tuple((int(pid), int(turn)) for pid, turn in data["turns"])
            return cls(turns, str(data["text"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorrupt("A summary does not parse.") from error


@dataclass(frozen=True, slots=True)
class Link:
    """A page and those of other conversations that are about the same, nearest first."""

    page: str
    to: tuple[str, ...]

    def to_json(self) -> str:
        """As a record's content."""
        return json.dumps({"page": self.page, "to": self.to}, ensure_ascii=False)

    @classmethod
    def from_json(cls, content: str) -> Link:
        """What ``to_json`` wrote.

        Raises:
            StoreCorrupt: It did not.
        """
        try:
            data = json.loads(content)
            return cls(str(data["page"]), tuple(map(str, data["to"])))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorrupt("A link between pages does not parse.") from error


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


@dataclass(frozen=True, slots=True)
class DreamState:
    """How far a dream is, for a person.

    Args:
        step: ``memories``, ``turns``, ``pages``; empty where none is under way.
        done / of: Within the step; ``of`` is 0 where it is not known.
        made: What was made, in its order.
        refused: Summaries that the model wrote and that were not kept: they said what their source
            does not.
    """

    step: str = ""
    done: int = 0
    of: int = 0
    made: tuple[Made, ...] = ()
    refused: int = 0


def derived_id(seq: int) -> str:
    """The id of what was derived at a place of the journal."""
    return f"d{seq}"


class Derived:
    """Everything derived that a journal holds; read anew at each question.

    Args:
        journal: Where it is kept.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def made(self) -> list[Made]:
        """All there is, newest first; call it in a thread."""
        out: list[Made] = []
        for record in self._journal.records_of(Kind.SUMMARY):
            if not record.erased:
                summary = Summary.from_json(record.stored.message.content)
                pid = summary.turns[-1][0] if summary.turns else 0
                made = derived_id(record.stored.seq)
                out.append(Made(made, "summary", summary.text, record.stored.time, pid))
        for record in self._journal.records_of(Kind.LINK):
            if not record.erased:
                link = Link.from_json(record.stored.message.content)
                text = f"{link.page} is about the same as {', '.join(link.to)}"
                made = derived_id(record.stored.seq)
                out.append(Made(made, "link", text, record.stored.time))
        for record in self._journal.records_of(Kind.MEMORY):
            if (merge := _merge(record)) is not None:
                text = f"{merge[0]} says no more than {merge[1]}"
                made = derived_id(record.stored.seq)
                out.append(Made(made, "merged", text, record.stored.time))
        return sorted(out, key=lambda made: (-made.time, -int(made.id[1:])))

    def links(self) -> dict[str, list[str]]:
        """For each page those it is linked with, in both directions; call it in a thread."""
        out: dict[str, list[str]] = defaultdict(list)
        for record in self._journal.records_of(Kind.LINK):
            if not record.erased:
                link = Link.from_json(record.stored.message.content)
                for other in link.to:
                    out[link.page].append(other)
                    out[other].append(link.page)
        return dict(out)

    def known(self) -> set[frozenset[str]]:
        """What everything derived was made of, what was undone or forgotten included.

        What was made of the same before is not made again: a person may have undone it.
        """
        kinds = (Kind.SUMMARY, Kind.LINK, Kind.MEMORY)
        return {
            frozenset(record.label.sources)
            for kind in kinds
            for record in self._journal.records_of(kind)
            if record.label.sources
        }

    def undone(self) -> set[str]:
        """Ids of the records of which a summary was undone; call it in a thread."""
        undone = set(self._journal.erased(UNDONE))
        return {
            source
            for record in self._journal.records_of(Kind.SUMMARY)
            if record.stored.seq in undone
            for source in record.label.sources
        }

    def find(self, written: str) -> Record:
        """The record that ``written`` (``d12``) names.

        Raises:
            NotStored: Nothing derived is called so, or it was undone.
        """
        name = written.strip().lower()
        seq = int(name[1:]) if name[:1] == "d" and name[1:].isdecimal() else 0
        found = self._journal.record(seq) if 0 < seq < 1 << 63 else None
        if found is not None and not found.erased:
            derived = found.stored.message.role in (Kind.SUMMARY, Kind.LINK)
            if derived or _merge(found) is not None:
                return found
        raise NotStored(f"There is nothing derived that is called {written.strip()[:40]!r}.")


def _merge(record: Record) -> tuple[str, str] | None:
    """The ids of two memories that a record merges; None for any other."""
    if record.erased or record.stored.message.role != Kind.MEMORY:
        return None
    try:
        data = json.loads(record.stored.message.content)
        return (str(data["id"]), str(data["into"])) if data["op"] == "merge" else None
    except (ValueError, KeyError, TypeError):
        return None


def segments(
    run: Sequence[Turn], summaries: Iterable[Summary]
) -> list[tuple[tuple[Turn, ...], Summary | None]]:
    """A run of turns cut to what is summarised and what is not, in order.

    Where several summaries begin at a turn, the one that covers most counts.
    """
    widest: dict[Turn, Summary] = {}
    for summary in summaries:
        first = summary.turns[0] if summary.turns else None
        if first is not None and len(summary.turns) >= len(getattr(widest.get(first), "turns", ())):
            widest[first] = summary
    out: list[tuple[tuple[Turn, ...], Summary | None]] = []
    bare: list[Turn] = []
    at = 0
    while at < len(run):
        found = widest.get(run[at])
        if found is not None and tuple(run[at : at + len(found.turns)]) == found.turns:
            if bare:
                out.append((tuple(bare), None))
                bare = []
            out.append((found.turns, found))
            at += len(found.turns)
        else:
            bare.append(run[at])
            at += 1
    return [*out, (tuple(bare), None)] if bare else out
