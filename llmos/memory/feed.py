"""From the journal into the index: everything that was said becomes findable.

The index keeps how far it has read. Feeding after a turn, catching up after a crash and building
the index anew are the same thing: reading on from there.

Knows records and passages; not what is searched for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from llmos import limits
from llmos.errors import LlmosError
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.pages import CONVERSATION, Kind, Page, page_id, pages_of, parse_id
from llmos.memory.passages import Passage
from llmos.memory.records import Record

__all__ = ["Feed", "passages_of"]

log = logging.getLogger(__name__)

_CURSOR = "journal"


class Feed:
    """Reads the journal into the index.

    Args:
        journal: The truth.
        index: What can be searched.
    """

    def __init__(self, journal: Journal, index: Index) -> None:
        self._journal = journal
        self._index = index
        self.reading = asyncio.Lock()
        self._before: dict[int, str] = {}  # by process, what was said last
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Catch up in the background, now and whenever there is news."""
        self._task = asyncio.create_task(self._follow(), name="feed the index")
        self.news()

    def news(self) -> None:
        """Something may have been journalled."""
        self._news.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def catch_up(self) -> None:
        """Have everything that is in the journal now found by its words.

        Raises:
            StoreError: The journal or the index cannot be read or written.
        """
        async with self.reading:
            while True:
                after = self._index.cursor(_CURSOR)
                records = await asyncio.to_thread(
                    self._journal.records, 0, after, limits.FEED_RECORDS
                )
                if not records:
                    return
                found = [passage for record in records for passage in self._passages(record)]
                for start in range(0, len(found), limits.FEED_PASSAGES):
                    await self._index.put(found[start : start + limits.FEED_PASSAGES])
                for record in records:
                    if record.stored.message.role == Kind.HEARD:
                        await self._cut(record)
                await self._index.move(_CURSOR, records[-1].stored.seq)

    async def without(self, gone: Iterable[int]) -> None:
        """Take what was said at these places out of the context of what follows them."""
        self._before.clear()
        for seq in gone:
            after = await asyncio.to_thread(self._journal.following, seq, CONVERSATION)
            if after is not None:
                await self._index.put(passages_of(pages_of(after)))

    async def _cut(self, heard: Record) -> None:
        """Have of a reply only found what was heard of it."""
        seq, _ = parse_id(heard.stored.message.name) or (0, 0)
        reply = await asyncio.to_thread(self._journal.record, seq)
        if reply is None:
            return
        most = 2 * limits.CALL_RESULT_CHARS // limits.PAGE_BYTES
        names = [page_id(seq), *(page_id(seq, part, most) for part in range(1, most + 1))]
        await self._index.forget(names)
        await self._index.put(passages_of(pages_of(reply)))
        await self.without([seq])

    def _passages(self, record: Record) -> Sequence[Passage]:
        if record.stored.message.role not in CONVERSATION:
            return ()
        pages = pages_of(record)
        found = passages_of(pages, self._before.get(record.pid, ""))
        if pages:
            self._before[record.pid] = _head(pages[-1].text)
        return found

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self.catch_up()
            except LlmosError as error:
                log.warning("the index is behind: %s", error)
            except Exception:
                log.exception("the index is behind")


def passages_of(pages: Sequence[Page], before: str = "") -> list[Passage]:
    """What is indexed of a record's pages, each with its neighbours' edges as context.

    Args:
        pages: Of one record, in order.
        before: What was said before it in the same process.
    """
    out = []
    for at, page in enumerate(pages):
        if not page.text.strip():
            continue
        ahead = _tail(pages[at - 1].text) if at else before
        behind = _head(pages[at + 1].text) if at + 1 < len(pages) else ""
        context = "\n".join(part for part in (ahead, behind) if part)
        out.append(
            Passage(
                id=page.id,
                source="turn",
                pid=page.pid,
                place=f"process {page.pid}",
                time=page.time,
                text=page.text,
                context=context,
                speaker=str(page.kind),
            )
        )
    return out


def _head(text: str) -> str:
    return text[: limits.CONTEXT_CHARS]


def _tail(text: str) -> str:
    return text[-limits.CONTEXT_CHARS :]
