"""What left the window comes back: by its id (a page fault), by a search, or ahead of need.

Prefetch: on each turn of a person the index is searched with their words, and what clears the
threshold is brought in once, at the tail, with a line that says where it comes from. Little and
well: a small model that is shown three pages finds less in them than in one.

Knows the journal, the index and a window; not processes, not the model.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmos import limits
from llmos.errors import NotStored
from llmos.events import Message
from llmos.labels import PRIVATE, Label, Origin, join
from llmos.memory.facts import Facts
from llmos.memory.feed import Feed
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind, Page, pages_of, parse_id
from llmos.memory.passages import Hit, Scope
from llmos.memory.records import Record
from llmos.memory.window import Window

__all__ = [
    "Counts",
    "Recall",
    "Recalled",
    "asks",
    "fits",
    "glimpse",
    "nearest_first",
    "places_of",
    "query_of",
    "sentences_of",
]

_SENTENCES = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？])|\n+")
_STEM = 6  # characters
_FILE = "file:"  # before the place in a file, among sources
_ASKS = re.compile(r"[^.!:\n]{0,300}\?")  # a question and nothing else
_ASKED = re.compile(r"[^.!?:;\n]{8,}[?？]\s*$")  # the last sentence, a question
_SPEAKERS = {"user": "the person", "assistant": "you", "tool": "a call's result"}


@dataclass(slots=True)
class Counts:
    """How often memory was needed.

    Args:
        faults: Pages brought back by their id.
        prefetches: Turns for which something was brought back ahead of need.
        prefetched: Pages brought back so.
        returned: Of all pages brought back, those that had been brought back before (thrashing).
        searches: Searches made.
    """

    faults: int = 0
    prefetches: int = 0
    prefetched: int = 0
    returned: int = 0
    searches: int = 0
    _seen: set[tuple[int, str]] = field(default_factory=set)

    def prefetch(self, pid: int, pages: Sequence[str]) -> None:
        """Pages were brought back ahead of need."""
        self.prefetches += 1
        self.prefetched += len(pages)
        for page in pages:
            self.brought(pid, page)

    def brought(self, pid: int, page: str) -> None:
        """A page came back into the window of ``pid``."""
        if (pid, page) in self._seen:
            self.returned += 1
        self._seen.add((pid, page))


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is brought back at the tail: a record's content and its label.

    Args:
        pages: Ids of what it is.
        places: Where each stands, for a person.
    """

    message: Message
    label: Label
    pages: tuple[str, ...]
    places: tuple[str, ...]


class Recall:
    """Brings pages back.

    Args:
        journal: Where every page is whole.
        index: What can be searched.
        feed: Brings the index up to date.
        facts: What is remembered.
    """

    def __init__(self, journal: Journal, index: Index, feed: Feed, facts: Facts) -> None:
        self.counts = Counts()
        self._facts = facts
        self._journal = journal
        self._index = index
        self._feed = feed

    async def pages(self, written: str) -> tuple[Page, ...]:
        """The page that ``written`` names, or all pages of the record it names.

        Raises:
            NotStored: There is none; or it was forgotten.
        """
        named = parse_id(written)
        found = await asyncio.to_thread(self._journal.record, named[0]) if named else None
        pages = pages_of(found) if found is not None else ()
        wanted = tuple(p for p in pages if named and named[1] in (0, p.part))
        if not wanted:
            raise NotStored(f"There is no page {written.strip()[:40]!r}.")
        return wanted

    async def search(self, query: str, *, k: int = 5, scope: Scope | None = None) -> list[Hit]:
        """Passages by meaning and by words, best first."""
        self.counts.searches += 1
        await self._feed.catch_up()
        more = k + limits.SEARCH_BEYOND
        hits = await self._index.search(query, k=more, scope=scope or Scope())
        return sorted(hits, key=_weight, reverse=True)[:k]

    async def prefetch(
        self,
        window: Window,
        pids: Sequence[int],
        text: str,
        *,
        most: int,
        room: int,
        count: Callable[[str], int],
        brief: bool = False,
    ) -> Recalled | None:
        """What of everything out of view belongs to a person's words.

        Args:
            window: What is in view.
            pids: The processes that make up this conversation.
            text: What the person said.
            most: Pages.
            room: Tokens.
            count: Tokens of a text.
            brief: Bring back only the part of a page that the words are about.
        """
        query = query_of(text)
        if not query:
            return None
        news = asyncio.ensure_future(self._feed.catch_up())
        await asyncio.wait({news}, timeout=limits.PREFETCH_WAIT_S)
        if news.done():
            news.result()  # why it failed is told where it is asked for
        hits = await self._candidates(query, window.out_of_view(), pids, most)
        looks = limits.PREFETCH_LOOKS
        told: list[str] = []
        labels: list[Label] = []
        ids: list[str] = []
        places: list[str] = []
        for hit in hits:
            if len(ids) == most:
                break
            if not belongs(hit):
                looks -= 1
                if looks < 0 or not await self._tells(hit, query):
                    continue
            about = (lambda text: excerpt(text, query)) if brief else str
            try:
                block, label = await self._block(hit, about)
            except NotStored:  # forgotten since it was indexed
                continue
            size = count(block)
            if size > room:
                continue
            room -= size
            told.append(block)
            ids.append(hit.passage.id)
            places.append(_place(hit))
            labels.append(label)
        if not ids:
            return None
        message = Message(Kind.RECALLED, "\n\n".join(told), name=" ".join(ids))
        return Recalled(message, join(*labels), tuple(ids), tuple(places))

    async def _candidates(
        self, query: str, hidden: set[str], pids: Sequence[int], most: int
    ) -> list[Hit]:
        """What might belong to ``query``: what is out of view here, facts, mounted files."""
        k = most + limits.PREFETCH_BEYOND
        hits: list[Hit] = []
        if hidden:
            scope = Scope(pids=tuple(pids), only=frozenset(hidden))
            hits += await self._index.search(query, k=k, scope=scope)
        hits += await self._index.search(query, k=k, scope=Scope(sources=("fact", "file")))
        return nearest_first(sorted(hits, key=_weight, reverse=True))

    async def _tells(self, hit: Hit, query: str) -> bool:
        """Whether a sentence of a passage is near to a person's words, where the whole is not.

        What was said among other things is far from a question about it, taken together.
        """
        sentence = telling(hit.passage.text, query)
        if asks(sentence) or len(sentence) == len(hit.passage.text.strip()):
            return False
        vectors = await self._index.vectors([query, sentence])
        return vectors is not None and float(vectors[0] @ vectors[1]) >= limits.PREFETCH_TELLS

    async def _block(self, hit: Hit, about: Callable[[str], str]) -> tuple[str, Label]:
        """A passage as the model is shown it, and its label with what it was made of.

        Args:
            about: What is shown of its text.
        """
        if hit.passage.source == "fact":
            fact = self._facts.get(hit.passage.id)
            sources = (*fact.label.sources, *fact.records.values())
            block = _context(f"{fact.id}, {_day(fact.time)}", fact.text)
            return block, Label(fact.label.origin, sources)
        if hit.passage.source == "file":
            passage = hit.passage
            label = Label(Origin.UNTRUSTED, (f"{_FILE}{passage.place}", PRIVATE))
            return _context(passage.place, about(passage.text)), label
        [page] = await self.pages(hit.passage.id)
        record = await asyncio.to_thread(self._journal.record, page.seq)
        assert record is not None
        return shown(page, about(page.text)), Label(
            page.label.origin, (*page.label.sources, record.stored.id)
        )


def belongs(hit: Hit) -> bool:
    """Whether a passage is near enough to a person's words to be shown unasked.

    Near in meaning, or holding the rare words of the question and not far off in meaning. A mere
    question tells nothing, however near it is.
    """
    if asks(hit.passage.text):
        return False
    similar, words = hit.similarity, hit.words or 0.0
    if similar is None:  # its vector is still being made
        return words >= limits.PREFETCH_WORDS
    near = similar >= limits.PREFETCH_SIMILAR
    return near or (words >= limits.PREFETCH_WORDS and similar >= limits.PREFETCH_RELATED)


def asks(text: str) -> bool:
    """Whether a text is a question and nothing else."""
    return _ASKS.fullmatch(text.strip()) is not None


def places_of(record: Record) -> tuple[str, ...]:
    """Where what ``record`` brought back stands, for a person.

    Files come first, each place once: the record names passages by ids that a newer reading of the
    file has replaced, and their places only among its sources.
    """
    content = record.stored.message.content
    sources = [s.removeprefix(_FILE) for s in record.label.sources if s.startswith(_FILE)]
    files = [place for place in sources if record.erased or f"({place}): " in content]
    ids = record.stored.message.name.split()
    return (*files, *(_named(id) for id in ids if not id.startswith("f")))


def _place(hit: Hit) -> str:
    """Where a passage stands, for a person."""
    return hit.passage.place if hit.passage.source == "file" else _named(hit.passage.id)


def _named(id: str) -> str:
    """A memory or a page, for a person."""
    return f"what is remembered ({id})" if id.startswith("m") else id


def _weight(hit: Hit) -> float:
    """A hit's score: what the model itself said, and what only asks, counts for less."""
    echo = limits.ECHO_WEIGHT if hit.passage.speaker == Kind.ASSISTANT else 1.0
    return hit.score * echo * (limits.ASKING_WEIGHT if asks(hit.passage.text) else 1.0)


def nearest_first(hits: Sequence[Hit]) -> list[Hit]:
    """Hits in the order of their weights, but of those about as good as the best the nearest first.

    Scores are made of ranks, and of two that are next to each other in rank one may be much nearer:
    a page can hold the answer, and the one before it only have that for a neighbour.

    Args:
        hits: The best first.
    """
    about = [hit for hit in hits if _weight(hit) >= limits.PREFETCH_TIED * _weight(hits[0])]
    near = sorted(about, key=lambda hit: hit.similarity or 0.0, reverse=True)
    return [*near, *hits[len(about) :]]


def excerpt(text: str, query: str, size: int = limits.EXCERPT_CHARS) -> str:
    """The part of a text that holds most of a question's words, the rarer the more.

    Whole sentences, with as many of their neighbours as fit; an ellipsis stands where text is left
    out. A text that is hardly longer comes back as it is.
    """
    parts = sentences_of(text)
    if len(text) <= size * 1.25 or len(parts) < 2:
        return text
    first = last = best = _telling(parts, query)
    length = len(parts[best])
    while True:
        before = len(parts[first - 1]) if first else size
        after = len(parts[last + 1]) if last + 1 < len(parts) else size
        if length + min(before, after) > size:
            break
        length += min(before, after)
        first, last = (first - 1, last) if before <= after else (first, last + 1)
    chosen = " ".join(part.strip() for part in parts[first : last + 1])
    return f"{'… ' if first else ''}{chosen}{' …' if last + 1 < len(parts) else ''}"


def glimpse(text: str, query: str, size: int = limits.SEARCH_GLIMPSE) -> str:
    """One line of a text, cut around where most of a question's words stand close together.

    Args:
        size: Characters, ellipses aside. Whole words; a text that fits comes back whole.
    """
    line = " ".join(text.split())
    if len(line) <= size:
        return line
    wanted = _stems(query)
    places = [(found.start(), found[0].lower()[:_STEM]) for found in re.finditer(r"\w+", line)]
    places = [(at, stem) for at, stem in places if stem in wanted]
    if not places:  # a script without spaces has the words within longer ones
        at = line.casefold().find(query.strip().casefold())
        places = [(max(at, 0), "")]
    room = size * 3 // 4  # what is sought stands with something before it
    first = max(
        (at for at, _ in places),
        key=lambda at: (len({stem for there, stem in places if at <= there < at + room}), -at),
    )
    last = max(at for at, _ in places if at < first + room)
    begin = max(min(first - (size - last + first) // 2, len(line) - size), 0)
    if begin:
        begin = line.find(" ", begin, first) + 1 or begin
    end = begin + size
    if end < len(line):
        end = max(line.rfind(" ", first + 1, end), first + 1) if " " in line[first:end] else end
    return f"{'… ' if begin else ''}{line[begin:end]}{' …' if end < len(line) else ''}"


def fits(hit: Hit) -> bool:
    """Whether a passage that a search found is more than merely the nearest there is."""
    near = hit.similarity is not None and hit.similarity >= limits.SEARCH_FITS
    return near or bool(hit.words)


def sentences_of(text: str) -> list[str]:
    """The sentences of a text, and its lines."""
    return [part for part in _SENTENCES.split(text.strip()) if part.strip()]


def telling(text: str, query: str) -> str:
    """The sentence of a text that holds most of a question's words, the rarer the more."""
    parts = sentences_of(text)
    return parts[_telling(parts, query)].strip() if parts else ""


def _telling(parts: Sequence[str], query: str) -> int:
    held = [_stems(part) for part in parts]
    weights = {
        stem: 1 / among for stem in _stems(query) if (among := sum(stem in stems for stems in held))
    }
    return max(range(len(parts)), key=lambda at: sum(weights.get(s, 0.0) for s in held[at]))


def _stems(text: str) -> set[str]:
    """The words of a text, cut to what their forms share."""
    return {word[:_STEM] for word in re.findall(r"\w+", text.lower()) if len(word) > 2}


def shown(page: Page, text: str = "") -> str:
    """A page, or the part of it that is given, as the model is shown it again."""
    speaker = _SPEAKERS.get(page.kind, page.kind)
    return _context(f"{page.id}, {speaker}, {_day(page.time)}", text or page.text)


def _context(source: str, text: str) -> str:
    """A text that was brought back, as the starter model makes most of it (``bench``: forms)."""
    return f'Context ({source}): "{text.strip()}"'


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def query_of(text: str) -> str:
    """What a message asks: all of a short one, of a long one the paragraph that is a question.

    Empty where a long message asks nothing: what somebody pastes or tells at length is like much
    that was said before, and needs none of it.
    """
    text = text.strip()
    if len(text) <= limits.QUERY_CHARS:
        return text
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text)]
    for paragraph in (paragraphs[-1], paragraphs[0]):
        if len(paragraph) <= limits.QUERY_CHARS and re.search(r"[?？]", paragraph):
            return paragraph
    asked = _ASKED.search(text[-limits.QUERY_CHARS :])  # typed on right behind what was pasted
    return asked[0].strip() if asked else ""
