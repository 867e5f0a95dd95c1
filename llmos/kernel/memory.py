"""The kernel's memory: the index, what feeds it, and what brings pages back.

Joins the parts of ``llmos.memory`` for the kernel and the server. Everything in it but the journal
can be deleted at any time and is made anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import CallFailed, LlmosError, NotStored
from llmos.failpoints import failpoint
from llmos.kernel.folders import Folders
from llmos.kernel.process import Process
from llmos.labels import Label, join
from llmos.memory.derived import UNDONE, Derived, Turn
from llmos.memory.erase import erase, holding, reach
from llmos.memory.facts import Block, Fact, Facts, passage_of
from llmos.memory.feed import Feed
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.pages import CONVERSATION, Page, pages_of, parse_id
from llmos.memory.passages import Hit, Scope
from llmos.memory.recall import Recall, Recalled, query_of
from llmos.memory.records import Record
from llmos.memory.window import Window

__all__ = ["Memory"]

log = logging.getLogger(__name__)

_FORGET = "forget "  # a chore of the journal: the name of what is to be forgotten follows


class Memory:
    """What a kernel remembers beyond its windows.

    Args:
        journal: The truth.
        index: What can be searched; not started.
        mounts: The file that lists mounted folders; None for none.
        pages: Most pages that are brought into a turn unasked; with one, for small models, only the
            part of it that matters.
    """

    def __init__(
        self, journal: Journal, index: Index, *, mounts: Path | None = None, pages: int = 1
    ) -> None:
        self.index = index
        self.feed = Feed(journal, index)
        self.facts = Facts(journal)
        self.folders = Folders(mounts, index) if mounts is not None else None
        self.recall = Recall(journal, index, self.feed, self.facts)
        self.doomed: set[str] = set()  # facts to be forgotten at rest
        self.derived = Derived(journal)
        self._journal = journal
        self._pages = pages
        self._started = False

    async def start(self) -> None:
        """Open the index and read into it what it does not hold yet, in the background."""
        await self.index.start()
        self._started = True
        self.doomed |= {
            chore.removeprefix(_FORGET)
            for chore in await asyncio.to_thread(self._journal.asked)
            if chore.startswith(_FORGET)
        }
        await self._reconcile()
        fresh = self.index.progress().total == 0
        await self._facts_changed()
        self.feed.start()
        if self.folders is not None:
            await self.folders.start(lost=fresh)

    async def _reconcile(self, *, whole: bool = False) -> None:
        """Take out of the index what was erased without it: a kill may come in between.

        Args:
            whole: Also where none of it is found: traces of it may be left all the same.
        """
        erased = await asyncio.to_thread(self._journal.erased)
        first = {name: seq for seq in erased for name in (f"p{seq}", f"p{seq}.1", f"m{seq}")}
        left = await self.index.held(first)
        if left:
            log.warning("%d things that were forgotten are taken out of the index", len(left))
        if left or whole:
            await self.feed.without(erased)  # what follows them has their ends as its context
            names = [name for held in left for name in _names_at(first[held])]
            await self.index.forget([*left, *names])

    async def _facts_changed(self) -> None:
        """Have the index hold just the facts there are."""
        await asyncio.to_thread(self.facts.load)
        await self.index.put([passage_of(fact) for fact in self.facts.all()])

    async def close(self) -> None:
        if self._started:
            self._started = False
            await self.feed.close()
            if self.folders is not None:
                await self.folders.close()
            await self.index.close()

    async def prefetch(
        self, process: Process, text: str, *, window: int, count: Callable[[str], int]
    ) -> Recalled | None:
        """What belongs to a person's words and is not in view of ``process``.

        Nothing where the index fails: a turn is answered without it.

        Args:
            process: Whose turn begins.
            text: What the person said.
            window: Of the model, in tokens.
            count: Tokens of a text.
        """
        if process.window is None or not self._started:
            return None
        try:
            pids = await asyncio.to_thread(self._journal.lineage, process.pid)
            return await self.recall.prefetch(
                process.window,
                pids,
                text,
                most=self._pages,
                room=int(window * limits.PREFETCH_SHARE),
                count=count,
                brief=self._pages == 1,
            )
        except LlmosError as error:
            log.warning("nothing is recalled for process %d: %s", process.pid, error)
        except Exception:
            log.exception("nothing is recalled for process %d", process.pid)
        return None

    async def relevance(self, window: Window) -> dict[Turn, float]:
        """Which turns in view stand out as near to what is talked about now, and how far: 0 to 1.

        By how much the cosine of a turn is above the mean, so that where all are as near or as
        far, age alone counts. So it does where the index fails, takes longer than
        ``limits.RELEVANCE_WAIT_S`` or has no vectors yet.
        """
        *turns, newest = window.turns() or [(0, 0)]
        query = query_of(window.words(newest))
        if not (self._started and query and 1 < len(turns) <= limits.WEIGHED_TURNS):
            return {}
        ids = {
            page.id: (page.pid, page.turn)
            for page, shown in window.pages()
            if shown and page.kind in CONVERSATION and (page.pid, page.turn) != newest
        }
        near: dict[Turn, float] = {}
        try:
            async with asyncio.timeout(limits.RELEVANCE_WAIT_S):
                for id, cosine in (await self.index.similar(query, list(ids))).items():
                    near[ids[id]] = max(near.get(ids[id], 0.0), cosine)
        except (LlmosError, TimeoutError) as error:
            log.info("what leaves a window is weighed by age alone: %s", error)
        except Exception:
            log.exception("what leaves a window is weighed by age alone")
        mean = sum(near.values()) / max(len(near), 1)
        return {turn: cosine - mean for turn, cosine in near.items() if cosine > mean}

    async def search(
        self, query: str, *, k: int = 5, pid: int = 0, sources: tuple[str, ...] | None = None
    ) -> list[Hit]:
        """Passages by meaning and by words, best first.

        Args:
            query: What is looked for.
            k: How many.
            pid: Only what belongs to this conversation; 0 searches everything.
            sources: Only from these: ``turn``, ``file``, ``fact``.

        Raises:
            NoSuchProcess: There is no ``pid``.
        """
        pids = None
        if pid:
            pids = tuple(await asyncio.to_thread(self._journal.lineage, pid))
        return await self.recall.search(query, k=k, scope=Scope(pids=pids, sources=sources))

    async def page(self, caller: Process, written: str) -> tuple[Sequence[Page], Label]:
        """A page fault of ``caller``: what its id names, and the label of that.

        Raises:
            NotStored: There is no such page.
            CallFailed: It belongs to another conversation.
        """
        pages = await self.recall.pages(written)
        assert caller.window is not None
        known = {page.id for page, _ in caller.window.pages()}
        if any(page.id not in known for page in pages):
            raise CallFailed(f"The page {written} belongs to another conversation.")
        for page in pages:
            self.recall.counts.brought(caller.pid, page.id)
        self.recall.counts.faults += len(pages)
        label = join(*(page.label for page in pages))
        sources = await self.record_ids(page.id for page in pages)
        return pages, Label(label.origin, (*label.sources, *sources))

    async def record_ids(self, names: Iterable[str]) -> tuple[str, ...]:
        """Ids of the records that pages belong to; for what is no page, nothing."""
        seqs = {named[0] for name in names if (named := parse_id(name))}

        def read() -> tuple[str, ...]:
            found = (self._journal.record(seq) for seq in sorted(seqs))
            return tuple(record.stored.id for record in found if record is not None)

        return await asyncio.to_thread(read)

    # --- what a person owns -----------------------------------------------------------------

    async def remember(
        self,
        text: str,
        *,
        block: Block = "fact",
        label: Label | None = None,
        pid: int = 0,
        turn: int = 0,
    ) -> Fact:
        """Keep something; see ``Facts.remember``."""
        return await self._indexed(
            await self.facts.remember(text, block=block, label=label, pid=pid, turn=turn)
        )

    async def update(
        self, id: str, text: str, *, label: Label | None = None, pid: int = 0, turn: int = 0
    ) -> Fact:
        """Give a fact another text; see ``Facts.update``."""
        return await self._indexed(
            await self.facts.update(id, text, label=label, pid=pid, turn=turn)
        )

    async def merge(self, id: str, into: str) -> Fact:
        """Have a fact stand no longer beside another that says as much; see ``Facts.merge``."""
        less = self.facts.get(id).id
        fact = await self.facts.merge(less, into)
        async with self.facts.changing:
            if less not in {known.id for known in self.facts.all()}:  # it may be undone by now
                await self.index.forget([less], erase=False)
        return fact

    async def undo(self, written: str) -> int:
        """Undo something derived (``d12``), with what was made of it; it is not made again.

        Returns:
            How many records were erased.

        Raises:
            NotStored: Nothing derived is called so.
            StoreError: It cannot be erased.
        """
        async with self.facts.changing:
            found = await asyncio.to_thread(self.derived.find, written)
            erased = await erase(self._journal, {found.stored.seq}, UNDONE)
            await self._facts_changed()
        return len(erased.seqs)

    async def _indexed(self, fact: Fact) -> Fact:
        async with self.facts.changing:  # it may be another by now, or be forgotten
            await self.index.put([passage_of(f) for f in self.facts.all() if f.id == fact.id])
        return fact

    async def forget_later(self, id: str) -> None:
        """Have a fact forgotten when nobody is being answered: it may stand in a window.

        That it is to be is on the disk when this returns: where the kernel is killed before, the
        next one forgets it as it starts.

        Raises:
            StoreError: That cannot be kept.
        """
        name = id.strip().lower()
        await self._journal.ask(_FORGET + name)
        self.doomed.add(name)

    async def forgotten(self, written: str) -> None:
        """Nothing of it is left anywhere, windows and snapshots included: a start need not look."""
        try:
            await self._journal.done(_FORGET + written.strip().lower())
        except LlmosError as error:  # it is done all the same, and once more at the next start
            log.warning("%s", error)

    async def forget(self, written: str) -> int:
        """Remove a fact or a page for good, with everything that says the same to the letter.

        Text, words, vectors, and what was derived of them go from the disk. The caller sees to
        windows and snapshots, and says then that it is ``forgotten``; where a kill comes before
        that, the next start finds its name in ``doomed`` and this finishes what was begun.

        Returns:
            How many records were erased.

        Raises:
            NotStored: There is nothing of that name.
            StoreError: Not all of it could be erased; the sentence says what is left.
        """
        chore = _FORGET + written.strip().lower()
        async with self.facts.changing:
            try:
                seqs = await self._meant(written)
                await self._journal.ask(chore)
            except NotStored:
                if chore not in await asyncio.to_thread(self._journal.asked):
                    raise
                seqs = set()  # it was erased, and then came a kill
            erased: tuple[int, ...] = ()
            async with self.feed.reading:  # nothing of it comes into the index meanwhile
                if seqs:
                    erased = await self._erase(seqs)
                else:
                    await self._reconcile(whole=True)
            await self._facts_changed()
        await self._journal.scrub()  # last: whoever reads the file may hold this up
        return len(erased)

    async def _erase(self, seqs: set[int]) -> tuple[int, ...]:
        """Erase records, and take them out of the index; returns the places of all that went."""
        gone = [page.id for seq in seqs for page in await self._pages_at(seq)]
        erased = await erase(self._journal, seqs, "forgotten", scrub=False)
        failpoint("memory.erased")
        await asyncio.to_thread(self.facts.load)  # whatever may fail from here on
        await self.feed.without(erased.seqs)
        made = [name for seq in set(erased.seqs) - seqs for name in _names_at(seq)]
        await self.index.forget([*gone, *made, *(f"m{seq}" for seq in erased.seqs)])
        failpoint("memory.forgotten")
        return erased.seqs

    async def would_forget(self, written: str) -> list[Record]:
        """The records that ``forget`` would empty, in the journal's order.

        Raises:
            NotStored: There is nothing of that name.
        """
        seqs = await reach(self._journal, await self._meant(written))

        def read() -> list[Record]:
            found = (self._journal.record(seq) for seq in seqs)
            return [record for record in found if record is not None and not record.erased]

        return await asyncio.to_thread(read)

    async def _meant(self, written: str) -> set[int]:
        """Places of the records that a name means, and of those that say the same to the letter."""
        if parse_id(written):
            pages = await self.recall.pages(written)
            seqs, texts = {page.seq for page in pages}, ["".join(page.text for page in pages)]
        else:
            fact = self.facts.get(written)
            seqs, texts = set(fact.records), [fact.text, *(text for _, text in fact.history)]
        for text in texts:
            if len(text) >= limits.FORGET_CHARS:  # shorter, it would take others along
                seqs |= set(await holding(self._journal, text))
        return seqs

    async def _pages_at(self, seq: int) -> Sequence[Page]:
        record = await asyncio.to_thread(self._journal.record, seq)
        known = record is not None and record.stored.message.role in CONVERSATION
        return pages_of(record) if record is not None and known else ()

    def stats(self) -> dict[str, Any]:
        """Counters and gauges, JSON-ready."""
        counts, progress = self.recall.counts, self.index.progress()
        return {
            "faults": counts.faults,
            "prefetches": counts.prefetches,
            "prefetched": counts.prefetched,
            "returned": counts.returned,
            "searches": counts.searches,
            "passages": progress.total,
            "embedded": progress.embedded,
            "chroma": progress.chroma,
        }


def _names_at(seq: int) -> list[str]:
    """Every name that a page of the record at a place may have; most of them there are not."""
    most = 2 * limits.CALL_RESULT_CHARS // limits.PAGE_BYTES
    return [f"p{seq}", *(f"p{seq}.{part}" for part in range(1, most + 1))]
