"""The kernel's memory: the index, what feeds it, and what brings pages back.

Joins the parts of ``llmos.memory`` for the kernel and the server. Everything in it but the journal
can be deleted at any time and is made anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import CallFailed, LlmosError, StoreError
from llmos.kernel.folders import Folders
from llmos.kernel.forgetting import Forgetting
from llmos.kernel.process import Process
from llmos.labels import Label, join
from llmos.memory.derived import Derived
from llmos.memory.facts import Block, Fact, Facts, passage_of
from llmos.memory.feed import Feed
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.pages import CONVERSATION, Page, Turn, parse_id
from llmos.memory.passages import Hit, Scope
from llmos.memory.recall import Recall, Recalled, query_of
from llmos.memory.whole import whole
from llmos.memory.window import Window

__all__ = ["Memory"]

log = logging.getLogger(__name__)


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
        self.derived = Derived(journal)
        self.forgetting = Forgetting(
            journal, index, self.feed, self.facts, self.recall, self.derived
        )
        self._journal = journal
        self._pages = pages
        self._started = False

    async def start(self) -> None:
        """Open the index and read into it what it does not hold yet, in the background."""
        await self.index.start()
        self._started = True
        await self.forgetting.start()
        fresh = self.index.progress().total == 0
        await self.forgetting.facts_changed()
        self.feed.start()
        if self.folders is not None:
            await self.folders.start(lost=fresh)

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

    async def serves(self, pid: int) -> bool:
        """Whether a process, or one that it is a fork of, works for another."""
        return bool(await asyncio.to_thread(self._journal.employers, pid))

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
        work = self.facts.remember(text, block=block, label=label, pid=pid, turn=turn)
        return await whole(self._indexed(work))

    async def update(
        self, id: str, text: str, *, label: Label | None = None, pid: int = 0, turn: int = 0
    ) -> Fact:
        """Give a fact another text; see ``Facts.update``."""
        work = self.facts.update(id, text, label=label, pid=pid, turn=turn)
        return await whole(self._indexed(work))

    async def change(self, id: str, *, text: str | None = None, pinned: bool | None = None) -> Fact:
        """Give a fact another text, pin or unpin it, or both; see ``Facts.change``."""
        return await whole(self._indexed(self.facts.change(id, text=text, pinned=pinned)))

    async def merge(self, id: str, into: str) -> int:
        """Have a fact stand no longer beside another that says the same; see ``Facts.merge``.

        Returns:
            The place of the record of it, by which it can be undone.
        """
        return await whole(self._merge(self.facts.get(id).id, into))

    async def _merge(self, less: str, into: str) -> int:
        seq = await self.facts.merge(less, into)
        async with self.facts.changing:
            if less not in {known.id for known in self.facts.all()}:  # it may be undone by now
                await self.index.forget([less], erase=False)
        return seq

    async def _indexed(self, work: Coroutine[Any, Any, Fact]) -> Fact:
        """A fact that is kept, and found from now on."""
        fact = await work
        try:
            async with self.facts.changing:  # it may be another by now, or be forgotten
                await self.index.put([passage_of(f) for f in self.facts.all() if f.id == fact.id])
        except StoreError as error:  # it is kept; the next start puts it into the index
            log.warning("%s is not found by searching yet: %s", fact.id, error)
        return fact

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
