"""The window of one process: which of its pages the model sees, and what stands for the others.

The front is the system prompt with whatever was folded in when it was last built; behind it come
the turns in their order. Appending never changes what precedes it. Where the window grows too
full, one batch of turns leaves together, and a line in the new front names each run of them: after
that the front stands still until the next batch.

Which turns go, ``leaving.py`` weighs. What a person pinned stays, as far as it leaves room for
others, and a turn is in view as long as anything that was said in it is.

Knows records, pages and their sizes as it is told them; not the template, the tokenizer, cells.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace

from llmos import limits
from llmos.events import Message
from llmos.labels import Origin
from llmos.memory.derived import Segment, Summary, segments
from llmos.memory.leaving import Unit, cheapest, filled, squeezed, trimmed
from llmos.memory.pages import (
    APART,
    CONVERSATION,
    Kind,
    Page,
    Turn,
    page_id,
    pages_of,
    parse_id,
)
from llmos.memory.records import Record, own_words, unheard
from llmos.memory.view import FORGOTTEN, Change, Held

__all__ = ["FORGOTTEN", "Change", "Held", "Window", "closed", "digest"]

_NO_RESULT = "Error: this call was cut off before it had a result."
_HEADING = "Earlier turns of this conversation are stored and not shown here:"
_QUOTE = 60  # characters of a person's words in a handle


class Window:
    """One process's pages.

    Args:
        system: The system prompt; its bytes come first and never change.
        summary_bytes: Of summaries in its front.
    """

    def __init__(self, system: str, *, summary_bytes: int = 0) -> None:
        self.system = system
        self._summary_bytes = summary_bytes
        self.front = ""
        self.sources: tuple[str, ...] = ()  # ids of the records that the front quotes
        self.core = ""  # a digest of what every conversation begins with, as the front has it
        self.stale = False  # the front was erased, and must be built anew
        self.held: list[Held] = []
        self.system_tokens = 0  # of system prompt and front, of the last measurement
        self._turns: dict[Turn, list[Held]] = {}
        self._summaries: dict[str, Summary] = {}  # by the id of the record

    # --- what is there ----------------------------------------------------------------------

    def add(self, record: Record) -> Held | None:
        """Take a record in, in view whole; None for one that is no part of a conversation."""
        kind, name = record.stored.message.role, record.stored.message.name
        if kind == Kind.WINDOW:
            self.apply(Change.of(record))
            self.stale = record.erased
        elif kind == Kind.PIN:
            self.pin(name.split(), record.stored.message.content == "pin")
        if kind == Kind.WINDOW or kind in APART or unheard(record):
            return None
        pages = pages_of(record)
        held = Held(record, pages, {page.part for page in pages} or {1})
        self.held.append(held)
        self._turns.setdefault(held.turn, []).append(held)
        return held

    def drop(self, turn: Turn) -> None:
        """Forget a turn, as if it had never been said."""
        self._turns.pop(turn, None)
        self.held = [held for held in self.held if held.turn != turn]

    def apply(self, change: Change) -> None:
        """Take pages out of view, or into it again, and put up a new front."""
        gone, back = _places(change.evicted), _places(change.returned)
        for held in self.held if gone or back else ():
            seq = held.record.stored.seq
            if seq in gone:  # of an erased record nobody knows the parts any more
                held.shown -= gone[seq] if held.pages else held.parts
            if seq in back:
                held.shown |= back[seq] & held.parts if held.pages else held.parts
        self.front, self.core, self.sources = change.front, change.core, change.sources
        self.stale = False

    def pin(self, ids: Iterable[str], pinned: bool = True) -> None:
        """Have pages stay in view when room is made, or no longer; unknown ids are no matter."""
        wanted = set(ids)
        for held in self.held:
            parts = {page.part for page in held.pages if page.id in wanted}
            held.pins = held.pins | parts if pinned else held.pins - parts

    def named(self, written: str) -> tuple[str, ...]:
        """Ids of the pages of what was said that ``written`` names: one, or all of a record."""
        seq, part = parse_id(written) or (0, 0)
        return tuple(
            page.id
            for held in self.held
            if held.record.stored.seq == seq and held.kind in CONVERSATION
            for page in held.pages
            if part in (0, page.part)
        )

    def pinned(self) -> set[str]:
        """Ids of the pages that are pinned."""
        return {id for held in self.held for id in held.ids(held.pins)}

    @property
    def told(self) -> str:
        """A digest of what the model knows that every conversation begins with.

        What it was told last: in a note that is in view, or else in the front.
        """
        notes = [held for held in self.held if held.kind == Kind.NOTE and held.shown]
        return notes[-1].record.stored.message.name if notes else self.core

    def turns(self) -> list[Turn]:
        """The turns in view, oldest first."""
        return list(dict.fromkeys(held.turn for held in self._in_view()))

    def words(self, turn: Turn) -> str:
        """What the person said in a turn, whole, in view or not; no reminder, no piped text."""
        said = [held.record for held in self._turns.get(turn, ()) if held.kind == Kind.USER]
        return "\n".join(filter(None, map(own_words, said)))

    def brought_from(self, turn: Turn) -> tuple[str, ...]:
        """Ids of the records that what was brought back into a turn was made of."""
        held = self._turns.get(turn, ())
        sources = (s for h in held if h.kind == Kind.RECALLED for s in h.record.label.sources)
        return tuple(dict.fromkeys(sources))

    @property
    def foreign(self) -> bool:
        """Whether anything in the conversation, in view or not, is by nobody who is vouched for."""
        return any(held.record.label.origin is Origin.UNTRUSTED for held in self.held)

    @property
    def private(self) -> bool:
        """Whether anything in the conversation is the person's own, not to be told to others."""
        return any(held.record.label.private for held in self.held)

    def said_in(self, turn: Turn) -> tuple[str, ...]:
        """Ids of the records that hold a person's words of a turn."""
        held = self._turns.get(turn, ())
        return tuple(h.record.stored.id for h in held if h.kind == Kind.USER)

    def pages(self) -> list[tuple[Page, bool]]:
        """The page table: every page of the conversation, and whether it is in view."""
        return [(page, page.part in held.shown) for held in self.held for page in held.pages]

    def out_of_view(self) -> set[str]:
        """Ids of the pages that are not in view."""
        return {page.id for page, shown in self.pages() if not shown}

    def summarise(self, id: str, summary: Summary) -> None:
        """Know what some turns were about, for the next front in which they are not shown.

        Args:
            id: Of the record that keeps it.
            summary: Of turns of this conversation or of another, which is no matter.
        """
        if summary.turns and all(turn in self._turns for turn in summary.turns):
            self._summaries[id] = summary

    def summaries(self) -> dict[str, Summary]:
        """What is known of turns of this conversation, by the id of the record that keeps it."""
        return dict(self._summaries)

    def runs(self) -> list[list[Turn]]:
        """The turns that are out of view, in runs of such that follow each other."""
        return _runs(self._turns, self._absent())

    def said(self, turn: Turn) -> list[Record]:
        """The records of a turn in which something was said."""
        held = self._turns.get(turn, ())
        return [h.record for h in held if h.kind in CONVERSATION and not h.record.erased]

    def handle(self, turns: Sequence[Turn]) -> str:
        """The line that stands for these turns where there is no summary of them."""
        return self._handle(turns)[0]

    def clean_turns(self) -> set[Turn]:
        """The turns before anything came into view that nobody vouches for."""
        clean: set[Turn] = set()
        for turn, held in self._turns.items():
            if any(h.record.label.origin is Origin.UNTRUSTED for h in held):
                break
            clean.add(turn)
        return clean

    # --- what the model is shown ------------------------------------------------------------

    def messages(self) -> list[Message]:
        """What is in view: the front, then turn after turn."""
        return [Message("system", self.head()), *closed(self._messages(whole=False))]

    def conversation(self) -> list[Message]:
        """The turns in view alone, without what was brought back or piped into them."""
        return self._messages(whole=True)

    def head(self) -> str:
        """What stands before all that was said: the system prompt and the front."""
        return f"{self.system}\n\n{self.front}" if self.front else self.system

    def _messages(self, *, whole: bool) -> list[Message]:
        out = []
        for held in self._in_view():
            if held.kind not in CONVERSATION:
                continue
            message = held.record.stored.message
            text = held.text()
            if held.kind == Kind.USER and not whole:
                text = "\n\n".join([*(b.text() for b in self._brought(held)), text])
            elif own_words(held.record) not in ("", message.content):
                # As much of the person's own words as is in view; they stand before the rest.
                text = _begins_alike(own_words(held.record), text)
            # Of a user message it is for people: templates would show it as a speaker's name.
            name = message.name if held.kind == Kind.TOOL else ""
            out.append(Message(message.role, text, message.calls, message.call_id, name))
        return out

    def _in_view(self) -> list[Held]:
        """What is shown: of a turn in view everything that was said, if only by a note."""
        seen = self._seen()
        return [h for h in self.held if h.shown or (h.kind in CONVERSATION and h.turn in seen)]

    def _seen(self) -> set[Turn]:
        """The turns that are in view."""
        return {held.turn for held in self.held if held.shown and held.kind in CONVERSATION}

    def _absent(self) -> set[Turn]:
        """The turns that are not."""
        return {held.turn for held in self.held if held.kind in CONVERSATION} - self._seen()

    def _brought(self, held: Held) -> list[Held]:
        """What was brought into the turn of the person's message ``held``, in view."""
        turn = self._turns[held.turn]
        first = next(h for h in turn if h.kind == Kind.USER)
        return [h for h in turn if h.kind not in CONVERSATION and h.shown] if held is first else []

    # --- sizes ------------------------------------------------------------------------------

    def measure(self, sizes: Callable[[Sequence[str]], Sequence[int]]) -> None:
        """Learn the exact size of everything in view.

        Args:
            sizes: Gives for texts, in the order they are in view, the tokens of each with what
                frames it.
        """
        placed: list[Held] = []
        for held in self._in_view():
            if held.kind in CONVERSATION:
                placed += [*(self._brought(held) if held.kind == Kind.USER else ()), held]
        first, *rest = sizes([self.head(), *(held.text() for held in placed)])
        self.system_tokens = first
        for held, tokens in zip(placed, rest, strict=True):
            held.tokens = tokens

    # --- making room ------------------------------------------------------------------------

    def evict(
        self,
        excess: int,
        size: int,
        *,
        relevance: Mapping[Turn, float] | None = None,
        core: str = "",
        core_sources: Sequence[str] = (),
    ) -> Change | None:
        """Choose what leaves so that about ``excess`` tokens come free; ``apply`` does it.

        Call ``measure`` before. The newest turn stays.

        Args:
            excess: Tokens.
            size: The whole window, in tokens.
            relevance: How near turns are to what is talked about, beyond the others: 0 to 1.
            core: What is folded into the new front before the handles.
            core_sources: Ids of the records that it is made of.

        Returns:
            What is to leave; None where nothing can.
        """
        units = self._units(relevance or {}, size)
        if not units:
            return None
        leaving = {unit.turn for unit in cheapest(units, excess, size)}
        evicted = [id for held in self.held if held.turn in leaving for id in held.ids()]
        return self._built(evicted, self._absent() | leaving, core, core_sources)

    def trim(self, held: Held, count: Callable[[str], int], room: int) -> Change | None:
        """Show of a long record only what fits into ``room`` tokens; None where all of it does."""
        gone = trimmed(held, count, room)
        return self.without(gone) if gone else None

    def squeeze(self, excess: int, count: Callable[[str], int]) -> Change | None:
        """Show less of the newest turn, where it is too long by itself; None for nothing less.

        Call ``measure`` before.

        Args:
            excess: Tokens that are to come free.
            count: Tokens of a text.
        """
        newest = [held for held in self._in_view() if held.kind in CONVERSATION][-1:]
        turn = [h for each in newest for h in self._turns[each.turn] if h.kind in CONVERSATION]
        gone = squeezed(turn, excess, count)
        return self.without(gone) if gone else None

    def without(self, gone: Sequence[str]) -> Change:
        """Pages leave, and the front stands."""
        return Change(tuple(gone), self.front, self.core, self.sources)

    def brought(
        self,
        ids: Iterable[str],
        count: Callable[[str], int],
        room: int,
        *,
        core: str = "",
        core_sources: Sequence[str] = (),
    ) -> Change | None:
        """Have pages of one turn in view, and the turn with them, to stay there.

        Of a turn that is too long there are these pages, the first of each of its records, and as
        much as there is room for of what would be in view without the pin.

        Args:
            ids: Of pages of what was said.
            count: Tokens of a text.
            room: Tokens that everything pinned may have.
            core / core_sources: As for ``evict``.

        Returns:
            The change; None where there is too little room.
        """
        wanted, seen = set(ids), self._seen()
        said = [held for held in self.held if held.kind in CONVERSATION]
        kept = {id(h): h.pins | {page.part for page in h.pages if page.id in wanted} for h in said}
        turns = {held.turn for held in said if not wanted.isdisjoint(held.ids(held.parts))}
        others = {held.turn for held in said if held.pins and held.turn in seen} - turns
        room -= sum(count(held.text()) for held in said if held.turn in others)
        here = [held for held in said if held.turn in turns]
        whole = {id(h): kept[id(h)] | (h.shown if h.turn in seen else h.parts) for h in here}
        least = {id(h): kept[id(h)] or {1} for h in here}
        parts = filled(here, least, whole, count, room)
        if parts is None:
            return None
        evicted = [i for held in here for i in held.ids(held.shown - parts[id(held)])]
        returned = tuple(i for held in here for i in held.ids(parts[id(held)] - held.shown))
        if turns <= seen:
            return replace(self.without(evicted), returned=returned)
        built = self._built(evicted, self._absent() - turns, core, core_sources)
        return replace(built, returned=returned)

    def rebuilt(self, core: str = "", core_sources: Sequence[str] = ()) -> Change:
        """The front as it would be built now, nothing else leaving."""
        return self._built((), self._absent(), core, core_sources)

    def _built(
        self,
        evicted: Sequence[str],
        absent: Set[Turn],
        core: str,
        core_sources: Sequence[str],
    ) -> Change:
        """What leaves, and the front that stands for the turns in ``absent``."""
        said = [held for held in self.held if held.kind in CONVERSATION]
        lines, sources = self._handles([held for held in said if held.turn in absent])
        handles = "\n".join([_HEADING, *lines]) if lines else ""
        front = "\n\n".join(part for part in (core, handles) if part)
        return Change(tuple(evicted), front, digest(core_sources), (*core_sources, *sources))

    def _units(self, relevance: Mapping[Turn, float], size: int) -> list[Unit]:
        """The turns that may leave, oldest first, each with its worth."""
        units: dict[Turn, Unit] = {}
        for held in self._in_view():
            units.setdefault(held.turn, Unit(held.turn)).held.append(held)
        stay = set(list(units)[-1:])
        left = size * limits.PINNED_SHARE * limits.PINNED_FRAMES
        for place, unit in enumerate(units.values()):
            unit.worth = place / len(units) + relevance.get(unit.turn, 0.0)
            if unit.pinned and unit.tokens <= left:  # a window may be smaller than it was
                left -= unit.tokens
                stay.add(unit.turn)
        return [unit for unit in units.values() if unit.turn not in stay]

    def _handles(self, gone: Sequence[Held]) -> tuple[list[str], tuple[str, ...]]:
        """One line for each run of turns that is out of view, and what the lines quote."""
        ids = {summary: id for id, summary in self._summaries.items()}
        lines: list[str] = []
        sources: list[str] = []
        for turns, summary in self._told(_runs(self._turns, {held.turn for held in gone})):
            line, quoted = self._handle(turns, summary)
            lines.append(line)
            sources += quoted if summary is None else [ids[summary]]
        return lines, tuple(sources)

    def _told(
        self, runs: Iterable[Sequence[Turn]]
    ) -> list[tuple[tuple[Turn, ...], Summary | None]]:
        """Runs of turns cut to a line each, with its summary where there is one and room for it.

        The newest have theirs first; the others are told by their first words.
        """
        room = self._summary_bytes
        out: list[Segment] = []
        for run in reversed(list(runs)):
            bare: tuple[Turn, ...] = ()
            for turns, summary in reversed(segments(run, self._summaries.values())):
                size = len(summary.text.encode()) if summary is not None else room + 1
                if size > room:
                    bare = turns + bare
                    continue
                room -= size
                out += [(bare, None)] if bare else []
                out.append((turns, summary))
                bare = ()
            out += [(bare, None)] if bare else []
        return out[::-1]

    def _handle(self, run: Sequence[Turn], summary: Summary | None = None) -> tuple[str, list[str]]:
        held = [h for turn in run for h in self._turns[turn] if h.kind in CONVERSATION]
        first, last = held[0].record.stored, held[-1].record.stored
        # What nobody vouches for is not quoted in the front: an instruction would weigh most there.
        asked = [
            h.record
            for h in held
            if h.kind == Kind.USER
            and not h.record.erased
            and h.record.label.origin is not Origin.UNTRUSTED
        ]
        quoted = asked if len(asked) < 3 else [asked[0], asked[-1]]
        day = time.strftime("%Y-%m-%d", time.localtime(first.time))
        count = "1 turn" if len(run) == 1 else f"{len(run)} turns"
        said = " … ".join(f"“{_quote(r.stored.message.content)}”" for r in quoted)
        if summary is not None:
            said = summary.text
        ids = (
            page_id(first.seq) if first is last else f"{page_id(first.seq)} to {page_id(last.seq)}"
        )
        return f"- {ids} ({count}, {day}): {said}".rstrip(": "), [r.stored.id for r in quoted]


def _begins_alike(one: str, other: str) -> str:
    """What two texts begin with, both."""
    differ = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differ, min(len(one), len(other)))]


def _runs(turns: Iterable[Turn], absent: Set[Turn]) -> list[list[Turn]]:
    """The turns that are in ``absent``, cut where one stands between them that is not."""
    runs: list[list[Turn]] = [[]]
    for turn in turns:
        if turn in absent:
            runs[-1].append(turn)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _places(ids: Iterable[str]) -> dict[int, set[int]]:
    """The parts that page ids name, by the place of their record; a whole record is its first."""
    out: dict[int, set[int]] = {}
    for id in ids:
        if (named := parse_id(id)) is not None:
            out.setdefault(named[0], set()).add(named[1] or 1)
    return out


def digest(sources: Sequence[str]) -> str:
    """Tells what a front was built with from what it would be built with now; empty for nothing.

    Made of the records' ids, not of their texts: it stays when these are erased.
    """
    return hashlib.sha256(" ".join(sources).encode()).hexdigest()[:16] if sources else ""


def _quote(text: str) -> str:
    """The beginning of a text, in whole words: half a number would be another number."""
    line = " ".join(text[: 4 * _QUOTE].split())
    if len(line) <= _QUOTE:
        return line
    words = line[:_QUOTE].rpartition(" ")[0]
    return f"{words or line[: _QUOTE - 1]}…"


def closed(history: Sequence[Message]) -> list[Message]:
    """The history with a result for every call: templates refuse calls without one.

    A call is left without a result where the kernel was killed, or the disk was full, before the
    result was kept.
    """
    out: list[Message] = []
    waiting: dict[str, Message] = {}
    for message in history:
        if message.role != "tool":
            out += waiting.values()
            waiting = {
                call.id: Message("tool", _NO_RESULT, call_id=call.id, name=call.name)
                for call in message.calls
            }
        else:
            waiting.pop(message.call_id, None)
        out.append(message)
    return [*out, *waiting.values()]
