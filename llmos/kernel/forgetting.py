"""Forgetting: what a person wants gone goes, from the journal, the index, and what was made of it.

That it was asked for is on the disk first: where the kernel is killed in between, the next one
finishes it. Windows and snapshots are the caller's (``keeper.py``), who says when all is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from llmos import limits
from llmos.errors import LlmosError, NotStored
from llmos.failpoints import failpoint
from llmos.memory.derived import UNDONE, Derived
from llmos.memory.erase import erase, holding, reach
from llmos.memory.facts import Facts, passage_of
from llmos.memory.feed import Feed
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.pages import CONVERSATION, Page, pages_of, parse_id
from llmos.memory.recall import Recall
from llmos.memory.records import Record

__all__ = ["Forgetting"]

log = logging.getLogger(__name__)

_FORGET = "forget "  # a chore of the journal: the name of what is to be forgotten follows


class Forgetting:
    """Forgets for one kernel.

    Args:
        journal: The truth.
        index: Must not find what is forgotten.
        feed: Brings nothing of it back meanwhile.
        facts: What is remembered.
        recall: Finds pages by their ids.
        derived: What was made by dreams.
    """

    def __init__(
        self,
        journal: Journal,
        index: Index,
        feed: Feed,
        facts: Facts,
        recall: Recall,
        derived: Derived,
    ) -> None:
        self.doomed: set[str] = set()  # names of what is to be forgotten at rest
        #: Forget texts that are kept elsewhere than in the journal, and files that nobody names.
        self.elsewhere: list[Callable[[Sequence[str]], Awaitable[None]]] = []
        self._journal = journal
        self._index = index
        self._feed = feed
        self._facts = facts
        self._recall = recall
        self._derived = derived

    async def start(self) -> None:
        """Learn what a kill came before, and see that the index finds nothing that was erased."""
        self.doomed |= {
            chore.removeprefix(_FORGET)
            for chore in await asyncio.to_thread(self._journal.asked)
            if chore.startswith(_FORGET)
        }
        await self._reconcile()

    async def later(self, id: str) -> None:
        """Have a fact forgotten when nobody is being answered: it may stand in a window.

        That it is to be is on the disk when this returns: where the kernel is killed before, the
        next one forgets it as it starts.

        Raises:
            StoreError: That cannot be kept.
        """
        name = id.strip().lower()
        await self._journal.ask(_FORGET + name)
        self.doomed.add(name)

    async def done(self, written: str) -> None:
        """Nothing of it is left anywhere, windows and snapshots included: a start need not look."""
        try:
            await self._journal.done(_FORGET + written.strip().lower())
        except LlmosError as error:  # it is done all the same, and once more at the next start
            log.warning("%s", error)

    async def forget(self, written: str) -> int:
        """Remove a fact or a page for good, with everything that says the same to the letter.

        Text, words, vectors, and what was derived of them go from the disk. The caller sees to
        windows and snapshots, and says then that it is ``done``; where a kill comes before
        that, the next start finds its name in ``doomed`` and this finishes what was begun.

        Returns:
            How many records were erased.

        Raises:
            NotStored: There is nothing of that name.
            StoreError: Not all of it could be erased; the sentence says what is left.
        """
        chore = _FORGET + written.strip().lower()
        async with self._facts.changing:
            try:
                seqs, texts = await self._meant(written)
                await self._journal.ask(chore)
                for forget in self.elsewhere:  # first: once it is erased here, nobody knows it
                    await forget(texts)
            except NotStored:
                if chore not in await asyncio.to_thread(self._journal.asked):
                    raise
                seqs = set()  # it was erased, and then came a kill
            erased: tuple[int, ...] = ()
            async with self._feed.reading:  # nothing of it comes into the index meanwhile
                if seqs:
                    erased = await self._erase(seqs)
                else:
                    await self._reconcile(whole=True)
            await self.facts_changed()
        await self._journal.scrub()  # last: whoever reads the file may hold this up
        return len(erased)

    async def would_forget(self, written: str) -> list[Record]:
        """The records that ``forget`` would empty, in the journal's order.

        Raises:
            NotStored: There is nothing of that name.
        """
        meant, _ = await self._meant(written)
        seqs = await reach(self._journal, meant)

        def read() -> list[Record]:
            found = (self._journal.record(seq) for seq in seqs)
            return [record for record in found if record is not None and not record.erased]

        return await asyncio.to_thread(read)

    async def undo(self, written: str) -> int:
        """Undo something derived (``d12``), with what was made of it; it is not made again.

        Returns:
            How many records were erased.

        Raises:
            NotStored: Nothing derived is called so.
            StoreError: It cannot be erased, or traces of it may be left.
        """
        async with self._facts.changing:
            found = await asyncio.to_thread(self._derived.find, written)
            erased = await erase(
                self._journal, {found.stored.seq}, UNDONE, scrub=False, titles=False
            )
            self._derived.changed()
            await self.facts_changed()
        await self._journal.scrub()
        return len(erased.seqs)

    async def facts_changed(self) -> None:
        """Have the index hold just the facts there are."""
        await asyncio.to_thread(self._facts.load)
        await self._index.put([passage_of(fact) for fact in self._facts.all()])

    async def _erase(self, seqs: set[int]) -> tuple[int, ...]:
        """Erase records, and take them out of the index; returns the places of all that went."""
        gone = [page.id for seq in seqs for page in await self._pages_at(seq)]
        erased = await erase(self._journal, seqs, "forgotten", scrub=False)
        failpoint("memory.erased")
        await asyncio.to_thread(self._facts.load)  # whatever may fail from here on
        self._derived.changed()
        await self._feed.without(erased.seqs)
        made = [name for seq in set(erased.seqs) - seqs for name in _names_at(seq)]
        await self._index.forget([*gone, *made, *(f"m{seq}" for seq in erased.seqs)])
        failpoint("memory.forgotten")
        return erased.seqs

    async def _meant(self, written: str) -> tuple[set[int], list[str]]:
        """Places of the records that a name means, and of those that say the same to the letter.

        Returns:
            Them, and the texts that are long enough to be looked for elsewhere.
        """
        if parse_id(written):
            pages = await self._recall.pages(written)
            seqs, texts = {page.seq for page in pages}, ["".join(page.text for page in pages)]
        else:
            fact = self._facts.get(written)
            seqs = set(fact.records)
            texts = [fact.text, *fact.merged, *(text for _, text in fact.history)]
        bare = [text.rstrip(".!? ") for text in texts]  # who names it again leaves out the stop
        bare = [
            text for text in bare if len(text) >= limits.FORGET_CHARS
        ]  # shorter, it takes others
        for text in bare:
            seqs |= set(await holding(self._journal, text))
        return seqs, bare

    async def _pages_at(self, seq: int) -> Sequence[Page]:
        record = await asyncio.to_thread(self._journal.record, seq)
        known = record is not None and record.stored.message.role in CONVERSATION
        return pages_of(record) if record is not None and known else ()

    async def _reconcile(self, *, whole: bool = False) -> None:
        """Take out of the index what was erased without it: a kill may come in between.

        Args:
            whole: Also where none of it is found: traces of it may be left all the same.
        """
        erased = await asyncio.to_thread(self._journal.erased)
        first = {name: seq for seq in erased for name in (f"p{seq}", f"p{seq}.1", f"m{seq}")}
        left = await self._index.held(first)
        if left:
            log.warning("%d things that were forgotten are taken out of the index", len(left))
        if left or whole:
            await self._feed.without(erased)  # what follows them has their ends as its context
            names = [name for held in left for name in _names_at(first[held])]
            await self._index.forget([*left, *names])


def _names_at(seq: int) -> list[str]:
    """Every name that a page of the record at a place may have; most of them there are not."""
    most = 2 * limits.CALL_RESULT_CHARS // limits.PAGE_BYTES
    return [f"p{seq}", *(f"p{seq}.{part}" for part in range(1, most + 1))]
