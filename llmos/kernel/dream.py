"""Idle consolidation: what is done with memory while nobody is there.

Three things, each in small steps: memories that say no more than another one are merged into it;
turns that left a window are summarised, for the line that stands for them; pages of
different conversations that are about the same are linked. All of it is derived: it keeps its
sources, goes when they go, and can be undone. It ends at once when it is cancelled, and begins
where it left off: what was made, or undone, is not made again.

What stands below a text that nobody vouches for is not summarised: a summary stands in the front
of the window, where an instruction would have most weight.

Knows the journal, windows and the model; not when it is time to dream (``kernel/idle.py``).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from llmos import limits
from llmos.engine.backend import Backend, Priority, SamplingParams
from llmos.events import Message
from llmos.kernel.memory import Memory
from llmos.kernel.process import Process
from llmos.kernel.transcript import Transcript
from llmos.labels import Label, Origin, join
from llmos.memory.derived import (
    Derived,
    DreamState,
    Link,
    Made,
    MadeKind,
    Summary,
    Turn,
    derived_id,
    segments,
)
from llmos.memory.extract import central
from llmos.memory.facts import Fact
from llmos.memory.journal import Journal, new_id
from llmos.memory.pages import Kind, Page, pages_of
from llmos.memory.passages import Scope
from llmos.memory.recall import asks, sentences_of
from llmos.memory.records import Record
from llmos.memory.sayings import says_no_more, strays
from llmos.memory.window import Window
from llmos.visible import visible

__all__ = ["Dream"]

log = logging.getLogger(__name__)

_CURSOR = "dream"  # how far pages were linked
_SPEAKERS = {Kind.USER: "Person", Kind.ASSISTANT: "Assistant", Kind.TOOL: "Result"}
_END = re.compile(r"[.!?…。！？][\"”’')\]]*(?=\s|$)")
_ASK = (
    "Below is a part of an earlier conversation. Say in one or two sentences what it was about and "
    "what was decided. Use only what stands there.\n\n"
)


class Dream:
    """Consolidates one kernel's memory.

    Args:
        backend: Writes summaries.
        journal: Where everything derived is kept.
        memory: Facts and the index, started.
        transcript: Opens windows.
        processes: Gives the living processes, those used last first.
        writes: The model writes summaries; where it is too small for that, the sentences that say
            most are quoted.
    """

    def __init__(
        self,
        backend: Backend,
        journal: Journal,
        memory: Memory,
        transcript: Transcript,
        processes: Callable[[], Iterable[Process]],
        *,
        writes: bool = True,
    ) -> None:
        self.state = DreamState()
        self._backend = backend
        self._journal = journal
        self._memory = memory
        self._transcript = transcript
        self._processes = processes
        self._writes = writes
        self._derived = Derived(journal)
        self._refused: set[frozenset[str]] = set()
        self._undone: set[str] = set()

    async def run(self, *, write: bool = True) -> DreamState:
        """Consolidate until nothing is left to do, or this is cancelled.

        Args:
            write: Have the model write summaries.

        Returns:
            What was made.

        Raises:
            StoreError: The journal or the index cannot be read or written.
        """
        self.state = DreamState("memories")
        try:
            known = await asyncio.to_thread(self._derived.known)
            self._undone = await asyncio.to_thread(self._derived.undone)
            await self._merge(known)
            if write:
                await self._summarise(known)
            await self._link(known)
        finally:
            self.state = replace(self.state, step="", done=0, of=0)
        return self.state

    # --- memories that say the same ---------------------------------------------------------

    async def _merge(self, known: set[frozenset[str]]) -> None:
        """Merge each fact into one that says all of it and more."""
        facts = [fact for fact in self._memory.facts.all() if fact.label.origin <= Origin.USER]
        gone: set[str] = set()
        for at, less in enumerate(facts):
            self._at("memories", at, len(facts))
            await asyncio.sleep(0)  # whoever waits goes first
            for more in facts:
                sources = frozenset((*less.records.values(), *more.records.values()))
                same = less is not more and not {less.id, more.id} & gone and sources not in known
                if same and _covers(more, less):
                    fact = await self._memory.merge(less.id, more.id)
                    known.add(sources)
                    gone.add(less.id)
                    text = f"{less.id} says no more than {fact.id}"
                    self._made(max(fact.records), "merged", text)
                    break

    # --- turns that left a window -----------------------------------------------------------

    async def _summarise(self, known: set[frozenset[str]]) -> None:
        """Write a summary of all turns that are out of view and have none."""
        left = {r.pid for r in await asyncio.to_thread(self._journal.records_of, Kind.WINDOW)}
        processes = list(self._processes())
        for at, process in enumerate(processes):
            self._at("turns", at, len(processes))
            lineage = await asyncio.to_thread(self._journal.lineage, process.pid)
            if process.task is not None or left.isdisjoint(lineage):
                continue
            first = process.first_open_turn or process.turns + 1
            window = await self._transcript.open(process, first)
            summaries = dict(window.summaries())
            for run in window.runs():
                parts = segments(run, summaries.values())
                for turns, summary in parts:
                    if summary is None:
                        await self._write_each(window, turns, known)
                told = [summary for _, summary in parts if summary is not None]
                if len(told) > limits.SUMMARIES_A_RUN:
                    await self._write_over(window, told, known)

    async def _write_each(
        self, window: Window, turns: Sequence[Turn], known: set[frozenset[str]]
    ) -> None:
        """Summaries of turns that follow each other, as many in one as can be read at once.

        Of what is too long, or nobody's word, or was undone, the handle goes on quoting the
        question.
        """
        room = int(self._backend.info.window * limits.SUMMARY_READS)
        batch: list[Turn] = []
        used = 0
        for turn in turns:
            records = window.said(turn)
            size = self._backend.count(_written(records))
            undone = any(record.stored.id in self._undone for record in records)
            unfit = undone or size > room or window.tainted(turn)
            if unfit or used + size > room:
                await self._write_batch(window, batch, known)
                batch, used = [], 0
            if not unfit:
                batch.append(turn)
                used += size
        await self._write_batch(window, batch, known)

    async def _write_batch(
        self, window: Window, turns: Sequence[Turn], known: set[frozenset[str]]
    ) -> None:
        text = _written([record for turn in turns for record in window.said(turn)])
        if len(text) >= limits.SUMMARY_WORTH:  # a quote says as much of less
            await self._write(window, turns, text, known)

    async def _write_over(
        self, window: Window, told: Sequence[Summary], known: set[frozenset[str]]
    ) -> None:
        """One summary of several that follow each other."""
        ids = {summary: id for id, summary in window.summaries()}
        turns = [turn for summary in told for turn in summary.turns]
        text = "\n".join(summary.text for summary in told)
        await self._write(window, turns, text, known, tuple(ids[summary] for summary in told))

    async def _write(
        self,
        window: Window,
        turns: Sequence[Turn],
        text: str,
        known: set[frozenset[str]],
        over: tuple[str, ...] = (),
    ) -> None:
        records = [record for turn in turns for record in window.said(turn)]
        sources = (*(record.stored.id for record in records), *over)
        if frozenset(sources) in known | self._refused:
            return
        written = await (self._ask(text) if self._writes else self._quote(records))
        if not written:
            return
        if reason := strays(written, text):
            log.info("a summary is not kept: %s stand in none of its sources", reason)
            self.state = replace(self.state, refused=self.state.refused + 1)
            self._refused.add(frozenset(sources))  # the same model would write the same again
            return
        summary = Summary(tuple(turns), written)
        origin = max(Origin.MODEL, join(*(record.label for record in records)).origin)
        record = await self._keep(Kind.SUMMARY, summary.to_json(), Label(origin, sources))
        known.add(frozenset(sources))
        self._made(record.stored.seq, "summary", written, turns[-1][0])
        for process in self._processes():
            if process.window is not None:
                process.window.summarise(record.stored.id, summary)

    async def _ask(self, text: str) -> str:
        """What the model says a text was about, in whole sentences on one line."""
        prompt = await self._backend.prompt([Message("user", f"{_ASK}{text}")])
        params = SamplingParams(
            max_tokens=limits.SUMMARY_TOKENS, dry_multiplier=0.8, stop=("\n\n",)
        )
        [generation] = self._backend.generate(prompt, params, priority=Priority.IDLE)
        out: list[str] = []
        try:
            async for chunk in generation:
                out.append(chunk.text)
                if chunk.error is not None:
                    raise chunk.error
        finally:
            generation.cancel()
        return _sentences("".join(out))

    async def _quote(self, records: Sequence[Record]) -> str:
        """The sentences of the person's that say most of what was talked about."""
        said = [r.stored.message.content for r in records if r.stored.message.role == Kind.USER]
        sentences = [
            line
            for text in said
            for part in sentences_of(text)
            if len(line := visible(" ".join(part.split()))) >= limits.SUMMARY_WORTH / 16
        ][: limits.SUMMARY_SENTENCES]
        vectors = await self._memory.index.vectors(sentences) if sentences else None
        if vectors is None:
            return ""
        chosen = central(sentences, vectors, limits.SUMMARY_QUOTES)
        return f"“{' … '.join(chosen)}”" if chosen else ""

    # --- pages that are about the same ------------------------------------------------------

    async def _link(self, known: set[frozenset[str]]) -> None:
        """Link what was said newly with what other conversations hold about the same."""
        index = self._memory.index
        for _ in range(limits.DREAM_PAGES // limits.FEED_RECORDS):
            after = index.cursor(_CURSOR)
            records = await asyncio.to_thread(self._journal.records, 0, after, limits.FEED_RECORDS)
            if not records:
                return
            pages = [page for record in records for page in pages_of(record) if _linkable(page)]
            for at, page in enumerate(pages):
                self._at("pages", at, len(pages))
                await self._link_page(page, known)
            await index.move(_CURSOR, records[-1].stored.seq)

    async def _link_page(self, page: Page, known: set[frozenset[str]]) -> None:
        lineage = await asyncio.to_thread(self._journal.lineage, page.pid)
        hits = await self._memory.index.search(
            page.text[: limits.QUERY_CHARS], k=limits.LINK_LOOKS, scope=Scope(sources=("turn",))
        )
        near = [
            hit.passage
            for hit in hits
            if hit.passage.pid not in lineage
            and (hit.similarity or 0.0) >= limits.LINK_SIMILAR
            and not asks(hit.passage.text)
        ][: limits.LINKS_A_PAGE]
        to = tuple(passage.id for passage in near)
        sources = await self._memory.record_ids((page.id, *to)) if to else ()
        if len(sources) < 2 or frozenset(sources) in known:
            return
        link = Link(page.id, to)
        record = await self._keep(Kind.LINK, link.to_json(), Label(Origin.SYSTEM, sources))
        known.add(frozenset(sources))
        text = f"{page.id} is about the same as {', '.join(to)}"
        self._made(record.stored.seq, "link", text, page.pid)

    # --- keeping ----------------------------------------------------------------------------

    async def _keep(self, kind: Kind, content: str, label: Label) -> Record:
        home = await self._memory.facts.home()
        message = Message(kind, content)
        stored = await self._journal.append(home, message, turn=0, label=label, id=new_id())
        return Record(home, stored, label)

    def _at(self, step: str, done: int, of: int) -> None:
        self.state = replace(self.state, step=step, done=done, of=of)

    def _made(self, seq: int, kind: MadeKind, text: str, pid: int = 0) -> None:
        made = Made(derived_id(seq), kind, text, time.time(), pid)
        self.state = replace(self.state, made=(*self.state.made, made)[-limits.DREAM_MADE :])


def _covers(more: Fact, less: Fact) -> bool:
    """Whether ``less`` may go, since ``more`` says it too; of two that say the same, the older."""
    if less.block != more.block or not says_no_more(less.text, more.text):
        return False
    same = says_no_more(more.text, less.text)
    return not same or (less.time, int(less.id[1:])) < (more.time, int(more.id[1:]))


def _written(records: Sequence[Record]) -> str:
    """What was said, as the model is given it to summarise."""
    return "\n".join(
        f"{_SPEAKERS[Kind(r.stored.message.role)]}: {' '.join(r.stored.message.content.split())}"
        for r in records
        if r.stored.message.content.strip()
    )


def _sentences(text: str) -> str:
    """The whole sentences of a text, on one line; its beginning where it has none."""
    line = visible(" ".join(text.split()))[: limits.SUMMARY_CHARS]
    ends = [found.end() for found in _END.finditer(line)]
    return line[: ends[-1]].strip() if ends else line.strip()


def _linkable(page: Page) -> bool:
    """Whether a page says enough to be about something."""
    said = page.kind in (Kind.USER, Kind.ASSISTANT)
    return said and len(page.text) >= limits.LINK_CHARS and not asks(page.text)
