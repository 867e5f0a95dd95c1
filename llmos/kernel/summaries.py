"""Turns that left a window are summarised, for the line that stands for them in its front.

A step of a dream. A model writes one or two sentences, which are kept only where they keep to what
was said; a model too small for that writes nothing, and the sentences that say most are quoted.
One that only repeats the words of the line that stands there anyway is not kept.
What stands below a text that nobody vouches for is not summarised: a summary stands in the front
of the window, where an instruction would have most weight.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterable, Sequence

from llmos import limits
from llmos.engine.backend import Backend, SamplingParams
from llmos.errors import LlmosError, StoreError
from llmos.events import Message
from llmos.kernel.aside import aside
from llmos.kernel.dreaming import Notebook
from llmos.kernel.process import Process
from llmos.kernel.transcript import Transcript
from llmos.labels import Label, Origin, join
from llmos.memory.derived import Summary, segments
from llmos.memory.extract import central
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind, Turn
from llmos.memory.recall import asks, sentences_of
from llmos.memory.records import Record
from llmos.memory.sayings import strays
from llmos.memory.window import Window
from llmos.visible import visible

__all__ = ["Summaries", "repeats"]

log = logging.getLogger(__name__)

_SPEAKERS = {Kind.USER: "Person", Kind.ASSISTANT: "Assistant", Kind.TOOL: "Result"}
_END = re.compile(r"[.!?…。！？][\"”’')\]]*(?=\s|$)")
_BETWEEN = " … "  # two sentences that are quoted
_ASK = (
    "Below is a part of an earlier conversation. Say in one or two sentences what it was about and "
    "what was decided. Use only what stands there.\n\n"
)


class Summaries:
    """Summarises what is out of view, of all processes.

    Args:
        backend: Writes summaries, and counts tokens.
        journal: Knows which processes have anything out of view.
        index: Makes the vectors by which sentences are chosen.
        transcript: Opens windows.
        notebook: Keeps what is made.
        processes: Gives the living processes, those used last first.
        writes: The model writes; otherwise what was said is quoted.
    """

    def __init__(
        self,
        backend: Backend,
        journal: Journal,
        index: Index,
        transcript: Transcript,
        notebook: Notebook,
        processes: Callable[[], Iterable[Process]],
        *,
        writes: bool,
    ) -> None:
        self._backend = backend
        self._journal = journal
        self._index = index
        self._transcript = transcript
        self._notebook = notebook
        self._processes = processes
        self._writes = self._asks = writes
        self._known: set[frozenset[str]] = set()  # of what there is a summary, or was one
        self._undone: frozenset[str] = frozenset()  # records whose summary a person undid
        self._refused: set[frozenset[str]] = set()  # the same model would write the same again

    async def run(self, *, write: bool = True) -> None:
        """Summarise all turns that are out of view and have no summary.

        Args:
            write: The model may be asked; otherwise what was said is quoted.

        Raises:
            StoreError: The journal cannot be read or written.
        """
        self._asks = write and self._writes
        derived = self._notebook.derived
        self._known = set(await asyncio.to_thread(derived.sources, Kind.SUMMARY))
        undone = await asyncio.to_thread(derived.undone, Kind.SUMMARY)
        self._undone = frozenset().union(*undone)
        left = {r.pid for r in await asyncio.to_thread(self._journal.records_of, Kind.WINDOW)}
        processes = list(self._processes())
        for at, process in enumerate(processes):
            await self._notebook.at("turns", at, len(processes))
            lineage = await asyncio.to_thread(self._journal.lineage, process.pid)
            if process.task is not None or left.isdisjoint(lineage):
                continue
            try:
                await self._of(process)
            except StoreError:
                raise
            except LlmosError as error:  # the others have theirs all the same
                log.warning("process %d is not summarised: %s", process.pid, error)

    async def _of(self, process: Process) -> None:
        """Summarise what is out of view of one process."""
        turn = process.first_open_turn or process.turns + 1
        window = await self._transcript.open(process, turn)
        clean = window.clean_turns()
        for run in window.runs():
            parts = segments(run, window.summaries().values())
            row: list[Summary] = []
            for turns, summary in [*parts, ((), None)]:
                if summary is not None:
                    row.append(summary)
                    continue
                if len(row) > limits.SUMMARIES_A_RUN:
                    await self._summarise_over(window, row)
                row = []
                await self._summarise(window, turns, clean)

    async def _summarise(self, window: Window, turns: Sequence[Turn], clean: set[Turn]) -> None:
        """Summaries of turns that follow each other, as many in one as can be read at once.

        Of what is too long, or nobody's word, or was undone, the handle goes on quoting the
        question.
        """
        room = self._room
        shown = window.handle(turns) if turns else ""
        batch: list[Turn] = []
        used = 0
        for turn in turns:
            records = window.said(turn)
            size = room + 1
            if turn in clean and all(r.stored.id not in self._undone for r in records):
                size = await self._size(_written(records))
            if used + size > room:
                await self._batch(window, batch, shown)
                batch, used = [], 0
            if size <= room:
                batch.append(turn)
                used += size
        await self._batch(window, batch, shown)

    async def _batch(self, window: Window, turns: Sequence[Turn], shown: str) -> None:
        records = [record for turn in turns for record in window.said(turn)]
        text = _written(records)
        sources = tuple(record.stored.id for record in records)
        if len(text) < limits.SUMMARY_WORTH or self._done(sources):
            return  # a quote says as much of little
        said = [r.stored.message.content for r in records if r.stored.message.role == Kind.USER]
        sentences = [part for text in said for part in sentences_of(text)]
        await self._make(turns, text, sentences, records, sources, shown)

    async def _summarise_over(self, window: Window, told: Sequence[Summary]) -> None:
        """One summary of several that follow each other, as many as can be read at once."""
        ids = {summary: id for id, summary in window.summaries().items()}
        read: list[Summary] = []
        used = 0
        for summary in told:
            used += await self._size(summary.text)
            if used > self._room:
                break
            read.append(summary)
        turns = [turn for summary in read for turn in summary.turns]
        records = [record for turn in turns for record in window.said(turn)]
        sources = (*(r.stored.id for r in records), *(ids[summary] for summary in read))
        if len(read) < 2 or self._done(sources) or not self._undone.isdisjoint(sources):
            return
        sentences = [part for s in read for part in s.text.strip("“”").split(_BETWEEN)]
        await self._make(turns, "\n".join(s.text for s in read), sentences, records, sources)

    async def _make(
        self,
        turns: Sequence[Turn],
        text: str,
        sentences: Sequence[str],
        records: Sequence[Record],
        sources: tuple[str, ...],
        shown: str = "",
    ) -> None:
        """Write a summary of ``text``, or quote of ``sentences``, and keep it.

        Args:
            shown: The line that stands for the turns without it.
        """
        made = await (self._write(text) if self._asks else self._quote(sentences))
        if not made:
            return
        if repeats(made, shown):
            if self._asks:
                self._refused.add(frozenset(sources))
            return
        if self._asks and (reason := strays(made, text)):
            log.info("a summary is not kept: it holds %s", reason)
            self._notebook.refused()
            self._refused.add(frozenset(sources))
            return
        summary = Summary(tuple(turns), made)
        origin = max(Origin.MODEL, join(*(record.label for record in records)).origin)
        record = await self._notebook.keep(Kind.SUMMARY, summary.to_json(), Label(origin, sources))
        self._known.add(frozenset(sources))
        self._notebook.made(record.stored.seq, "summary", made, turns[-1][0])
        for process in self._processes():
            if process.window is not None:
                process.window.summarise(record.stored.id, summary)

    async def _write(self, text: str) -> str:
        """What the model says a text was about, in whole sentences on one line."""
        prompt = await self._backend.prompt([Message("user", f"{_ASK}{text}")])
        params = SamplingParams(
            max_tokens=limits.SUMMARY_TOKENS, dry_multiplier=0.8, stop=("\n\n",)
        )
        written = await aside(self._backend, prompt, params)
        line = visible(" ".join(written.split()))[: limits.SUMMARY_CHARS]
        ends = [found.end() for found in _END.finditer(line)]
        return line[: ends[-1]].strip() if ends else line.strip()

    async def _quote(self, sentences: Iterable[str]) -> str:
        """Those of some sentences that say most of what all are about, in quotation marks."""
        lines = [visible(" ".join(sentence.split())) for sentence in sentences]
        worth = [line for line in lines if len(line) >= limits.SUMMARY_LINE]
        telling = [line for line in worth if not asks(line)]  # a question says little of its answer
        worth = (telling or worth)[: limits.SUMMARY_SENTENCES]
        vectors = await self._index.vectors(worth) if worth else None
        if vectors is None:
            return ""
        chosen = await asyncio.to_thread(central, worth, vectors, limits.SUMMARY_QUOTES)
        return f"“{_BETWEEN.join(chosen)}”" if chosen else ""

    def _done(self, sources: Sequence[str]) -> bool:
        return frozenset(sources) in self._known | self._refused

    @property
    def _room(self) -> int:
        """Tokens that one summary may be made of."""
        return int(self._backend.info.window * limits.SUMMARY_READS)

    async def _size(self, text: str) -> int:
        """Tokens of a text; counting a long one takes long."""
        if len(text) <= limits.ASIDE_CHARS:
            return self._backend.count(text)
        return await asyncio.to_thread(self._backend.count, text)


def _written(records: Sequence[Record]) -> str:
    """What was said, as the model is given it to summarise."""
    return "\n".join(
        f"{_SPEAKERS[Kind(r.stored.message.role)]}: {' '.join(r.stored.message.content.split())}"
        for r in records
        if r.stored.message.content.strip()
    )


def repeats(made: str, shown: str) -> bool:
    """Whether a summary has no word that the line without it would not show anyway."""
    return _words(made) <= _words(shown)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
