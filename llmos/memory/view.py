"""What is in view of a conversation's records, and how that changes.

A record is in view whole, in part or not at all; where part of one is not, a note stands in the
gap that names the pages. Every change is kept in the journal, so that it can be made again.

Knows records and pages, neither turns nor sizes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from llmos.errors import StoreCorrupt
from llmos.events import Message
from llmos.memory.pages import Kind, Page, Turn, page_id
from llmos.memory.records import Record

__all__ = ["FORGOTTEN", "Change", "Held"]

#: What a model is shown where a person had a text forgotten.
FORGOTTEN = "(This text was forgotten.)"
_BACK = "+"  # before the id of a page that came back, in the name of a change's record


@dataclass(frozen=True, slots=True)
class Change:
    """A change of what is in view, and the front that stands from then on.

    Args:
        evicted: Ids of the pages that are no longer shown.
        front: What stands behind the system prompt from now on.
        core: A digest of what was folded into it before the handles.
        sources: Ids of the records that the front quotes.
        returned: Ids of the pages that are shown again.
    """

    evicted: tuple[str, ...]
    front: str
    core: str = ""
    sources: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()

    def message(self) -> Message:
        """As a record. The ids stand in its name, too: they stay when the front is erased."""
        ids = [*self.evicted, *(f"{_BACK}{id}" for id in self.returned)]
        return Message(Kind.WINDOW, self.to_json(), name=" ".join(ids))

    def to_json(self) -> str:
        """As a record's content."""
        data = {"evicted": self.evicted, "front": self.front, "core": self.core}
        if self.returned:
            data["returned"] = self.returned
        return json.dumps(data, ensure_ascii=False)

    @classmethod
    def of(cls, record: Record) -> Change:
        """What a record keeps; of an erased one, what is in view but for the front.

        Raises:
            StoreCorrupt: It does not parse.
        """
        message = record.stored.message
        if record.erased:
            ids = message.name.split()
            evicted = tuple(id for id in ids if not id.startswith(_BACK))
            returned = tuple(id[len(_BACK) :] for id in ids if id.startswith(_BACK))
            return cls(evicted, "", returned=returned)
        try:
            data = json.loads(message.content)
            return cls(
                tuple(map(str, data["evicted"])),
                str(data["front"]),
                str(data.get("core", "")),
                record.label.sources,
                tuple(map(str, data.get("returned", ()))),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorrupt("A change of a window does not parse.") from error


@dataclass(slots=True)
class Held:
    """A record of the conversation, in view or not.

    Args:
        record: The record.
        pages: Its pages; none where it was erased.
        shown: Which parts are in view; of an erased record, 1 where it is.
        tokens: What is in view of it, in tokens, its frame included; of the last measurement.
        pins: Which parts a person pinned.
    """

    record: Record
    pages: tuple[Page, ...]
    shown: set[int]
    tokens: int = 0
    pins: set[int] = field(default_factory=set)

    @property
    def turn(self) -> Turn:
        return self.record.pid, self.record.stored.turn

    @property
    def kind(self) -> str:
        return self.record.stored.message.role

    @property
    def parts(self) -> set[int]:
        """All that can be in view."""
        return {page.part for page in self.pages} or {1}

    def ids(self, parts: Iterable[int] | None = None) -> tuple[str, ...]:
        """Ids of parts, in their order; of those in view where none are given."""
        wanted = self.shown if parts is None else set(parts)
        if not self.pages:
            return (page_id(self.record.stored.seq),) if wanted else ()
        return tuple(page.id for page in self.pages if page.part in wanted)

    def text(self, parts: Set[int] | None = None) -> str:
        """What is in view of it, or would be if ``parts`` were, with a note in each gap."""
        shown = self.shown if parts is None else parts
        if not self.pages:
            return FORGOTTEN
        if len(shown) == len(self.pages):
            return self.record.stored.message.content
        out: list[str] = []
        gap: list[Page] = []
        for page in self.pages:
            if page.part in shown:
                out += [_gap(gap), page.text]
                gap = []
            else:
                gap.append(page)
        return "".join([*out, _gap(gap)])


def _gap(pages: Sequence[Page]) -> str:
    if not pages:
        return ""
    ids = pages[0].id if len(pages) == 1 else f"{pages[0].id} to {pages[-1].id}"
    characters = sum(len(page.text) for page in pages)
    return f"\n[{ids}: {characters:,} characters, stored and not shown here]\n"
