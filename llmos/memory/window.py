"""The window of one process: which of its pages the model sees, and what stands for the others.

The front is the system prompt with whatever was folded in when it was last built; behind it come
the turns in their order. Appending never changes what precedes it. Where the window grows too
full, one batch of turns leaves together, and a line in the new front names each run of them: after
that the front stands still until the next batch.

Which turns go: every turn is worth something (how recent it is and, where the caller can tell, how
near to what is being talked about), and everything behind the first that goes must be computed
again. Both are weighed.

Knows records, pages and their sizes as it is told them; not the template, the tokenizer, cells.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from llmos import limits
from llmos.errors import StoreCorrupt
from llmos.events import Message
from llmos.memory.pages import CONVERSATION, Kind, Page, page_id, pages_of, parse_id
from llmos.memory.records import Record

__all__ = ["Change", "Held", "Window", "closed", "digest"]

#: What a model is shown where a person had a text forgotten.
FORGOTTEN = "(This text was forgotten.)"
_NO_RESULT = "Error: this call was cut off before it had a result."
_HEADING = "Earlier turns of this conversation are stored and not shown here:"
_QUOTE = 60  # characters of a person's words in a handle

Turn = tuple[int, int]  # pid and number


@dataclass(frozen=True, slots=True)
class Change:
    """A batch that leaves the window, and the front that is built with it.

    Args:
        evicted: Ids of the pages that are no longer shown.
        front: What stands behind the system prompt from now on.
        core: A digest of what was folded into it before the handles.
        sources: Ids of the records that the front quotes.
    """

    evicted: tuple[str, ...]
    front: str
    core: str = ""
    sources: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As a record's content."""
        data = {"evicted": self.evicted, "front": self.front, "core": self.core}
        return json.dumps(data, ensure_ascii=False)

    @classmethod
    def from_json(cls, content: str) -> Change:
        """What ``to_json`` wrote.

        Raises:
            StoreCorrupt: It did not.
        """
        try:
            data = json.loads(content)
            evicted = tuple(map(str, data["evicted"]))
            return cls(evicted, str(data["front"]), str(data.get("core", "")))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreCorrupt("A change of a window does not parse.") from error


@dataclass(slots=True)
class Held:
    """A record of the conversation, in view or not.

    Args:
        record: The record.
        pages: Its pages.
        shown: Which parts are in view.
        tokens: What is in view of it, in tokens, its frame included; of the last measurement.
        pinned: It stays in view.
    """

    record: Record
    pages: tuple[Page, ...]
    shown: set[int]
    tokens: int = 0
    pinned: bool = False

    @property
    def turn(self) -> Turn:
        return self.record.pid, self.record.stored.turn

    @property
    def kind(self) -> str:
        return self.record.stored.message.role

    @property
    def whole(self) -> bool:
        return len(self.shown) == max(len(self.pages), 1)

    def text(self) -> str:
        """What is in view of it, with a note in each gap."""
        if not self.pages:
            return FORGOTTEN
        if self.whole:
            return self.record.stored.message.content
        out: list[str] = []
        gap: list[Page] = []
        for page in self.pages:
            if page.part in self.shown:
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


@dataclass(slots=True)
class _Unit:
    """A turn, as something that can leave."""

    held: list[Held] = field(default_factory=list)
    worth: float = 0.0

    @property
    def tokens(self) -> int:
        return sum(held.tokens for held in self.held)


class Window:
    """One process's pages.

    Args:
        system: The system prompt; its bytes come first and never change.
    """

    def __init__(self, system: str) -> None:
        self.system = system
        self.front = ""
        self.sources: tuple[str, ...] = ()  # ids of the records that the front quotes
        self.core = ""  # a digest of what the model was told every conversation begins with
        self.held: list[Held] = []
        self.system_tokens = 0  # of system prompt and front, of the last measurement
        self._turns: dict[Turn, list[Held]] = {}

    # --- what is there ----------------------------------------------------------------------

    def add(self, record: Record) -> Held | None:
        """Take a record in, in view whole; None for one that is no part of a conversation."""
        kind = record.stored.message.role
        if kind == Kind.WINDOW:
            if not record.erased:
                change = Change.from_json(record.stored.message.content)
                self.apply(replace(change, sources=record.label.sources))
            return None
        if kind == Kind.MEMORY:
            return None
        if kind == Kind.NOTE:
            self.core = record.stored.message.name
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
        """Take pages out of view and put up a new front."""
        gone = set(change.evicted)
        erased = {named[0] for id in gone if (named := parse_id(id))}
        for held in self.held if gone else ():
            held.shown -= {page.part for page in held.pages if page.id in gone}
            if not held.pages and held.record.stored.seq in erased:
                held.shown.clear()
        self.front, self.core, self.sources = change.front, change.core, change.sources

    def words(self, turn: Turn) -> str:
        """What the person said in a turn, whole, in view or not."""
        said = [held.record for held in self._turns.get(turn, ()) if held.kind == Kind.USER]
        return "\n".join(record.stored.message.content for record in said)

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

    # --- what the model is shown ------------------------------------------------------------

    def messages(self) -> list[Message]:
        """What is in view: the front, then turn after turn."""
        return [Message("system", self._head()), *closed(self._messages(whole=False))]

    def conversation(self) -> list[Message]:
        """The turns in view alone, without what was brought back into them."""
        return self._messages(whole=True)

    def _head(self) -> str:
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
            out.append(Message(message.role, text, message.calls, message.call_id, message.name))
        return out

    def _in_view(self) -> Iterable[Held]:
        return (held for held in self.held if held.shown)

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
        first, *rest = sizes([self._head(), *(held.text() for held in placed)])
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
            relevance: How near each turn is to what is talked about, 0 to 1.
            core: What is folded into the new front before the handles.
            core_sources: Ids of the records that it is made of.

        Returns:
            What is to leave; None where nothing can.
        """
        units = self._units(relevance or {})
        if not units:
            return None
        victims = _cheapest(units, excess, size)
        leaving = {id(held) for unit in victims for held in unit.held}
        evicted = tuple(
            page_id(held.record.stored.seq, page.part, page.parts)
            for held in self.held
            if id(held) in leaving
            for page in held.pages
            if page.part in held.shown
        ) + tuple(
            page_id(held.record.stored.seq)
            for held in self.held
            if id(held) in leaving and not held.pages
        )
        return self._built(evicted, leaving, core, core_sources)

    def trim(self, held: Held, count: Callable[[str], int], room: int) -> tuple[str, ...]:
        """Which pages of a long record to leave out of view so that about ``room`` tokens stay.

        Its beginning stays, and its end: a question stands at one of the two.

        Args:
            held: The record.
            count: Tokens of a text.
            room: Tokens.

        Returns:
            Ids of pages; none where the record fits.
        """
        pages = held.pages
        if len(pages) < 2 or sum(len(p.text.encode()) for p in pages) <= room:
            return ()
        sizes: dict[int, int] = {}
        keep, left, front, back = set[int](), room, 0, len(pages) - 1
        while front <= back:
            # Two pages from the beginning for one from the end, the end first.
            at = back if len(keep) % 3 == 0 else front
            sizes[at] = count(pages[at].text)
            if sizes[at] > left and keep:
                break
            keep.add(at)
            left -= sizes[at]
            front, back = (front, back - 1) if at == back else (front + 1, back)
        return tuple(page.id for at, page in enumerate(pages) if at not in keep)

    def rebuilt(self, core: str = "", core_sources: Sequence[str] = ()) -> Change:
        """The front as it would be built now, nothing else leaving."""
        return self._built((), frozenset(), core, core_sources)

    def _built(
        self,
        evicted: tuple[str, ...],
        leaving: Set[int],
        core: str,
        core_sources: Sequence[str],
    ) -> Change:
        said = [held for held in self.held if held.kind in CONVERSATION]
        lines, sources = self._handles([h for h in said if id(h) in leaving or not h.shown])
        handles = "\n".join([_HEADING, *lines]) if lines else ""
        front = "\n\n".join(part for part in (core, handles) if part)
        return Change(evicted, front, digest(core_sources), (*core_sources, *sources))

    def _units(self, relevance: Mapping[Turn, float]) -> list[_Unit]:
        """The turns that may leave, oldest first, each with its worth."""
        units: dict[Turn, _Unit] = {}
        for held in self._in_view():
            units.setdefault(held.turn, _Unit()).held.append(held)
        order = list(units)
        for place, turn in enumerate(order):
            units[turn].worth = place / len(order) + relevance.get(turn, 0.0)
        return [
            units[turn] for turn in order[:-1] if not any(held.pinned for held in units[turn].held)
        ]

    def _handles(self, gone: Sequence[Held]) -> tuple[list[str], tuple[str, ...]]:
        """One line for each run of turns that is out of view, and what the lines quote."""
        absent = {held.turn for held in gone}
        runs: list[list[Turn]] = [[]]
        for turn in self._turns:
            if turn in absent:
                runs[-1].append(turn)
            elif runs[-1]:
                runs.append([])
        lines: list[str] = []
        sources: list[str] = []
        for run in filter(None, runs):
            line, quoted = self._handle(run)
            lines.append(line)
            sources += quoted
        return lines, tuple(sources)

    def _handle(self, run: Sequence[Turn]) -> tuple[str, list[str]]:
        held = [h for turn in run for h in self._turns[turn] if h.kind in CONVERSATION]
        first, last = held[0].record.stored, held[-1].record.stored
        asked = [h.record for h in held if h.kind == Kind.USER and not h.record.erased]
        quoted = asked if len(asked) < 3 else [asked[0], asked[-1]]
        day = time.strftime("%Y-%m-%d", time.localtime(first.time))
        count = "1 turn" if len(run) == 1 else f"{len(run)} turns"
        said = " … ".join(f"“{_quote(r.stored.message.content)}”" for r in quoted)
        ids = (
            page_id(first.seq) if first is last else f"{page_id(first.seq)} to {page_id(last.seq)}"
        )
        return f"- {ids} ({count}, {day}): {said}".rstrip(": "), [r.stored.id for r in quoted]


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


def _cheapest(units: Sequence[_Unit], excess: int, size: int) -> list[_Unit]:
    """The units whose loss, and what must be computed again behind the first, cost least.

    For every unit that could be the first to go: the least worth a token among it and those
    behind it, until enough is free.
    """
    if len(units) > limits.WEIGHED_TURNS:  # an import: the oldest go without much ado
        return _oldest(units, excess)
    best, least = list(units), float("inf")
    total = sum(unit.tokens for unit in units)
    before = 0
    for first, unit in enumerate(units):
        behind = sorted(units[first + 1 :], key=lambda u: u.worth / max(u.tokens, 1))
        victims, freed = [unit], unit.tokens
        for other in behind:
            if freed >= excess:
                break
            victims.append(other)
            freed += other.tokens
        again = total - before - freed
        loss = sum(u.worth for u in victims) + limits.REFILL_COST * again / size
        if (freed >= excess or first == 0) and loss < least:
            best, least = victims, loss
        before += unit.tokens
    return best


def _oldest(units: Sequence[_Unit], excess: int) -> list[_Unit]:
    freed, victims = 0, []
    for unit in units:
        if freed >= excess:
            break
        victims.append(unit)
        freed += unit.tokens
    return victims


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
