"""Pages of different conversations that are about the same are linked, for a person to follow.

A step of a dream. Goes by the vectors the index has, and looks at what was said since the last
time; a link that a person undid is not made again.
"""

from __future__ import annotations

import asyncio

from llmos import limits
from llmos.kernel.dreaming import Notebook
from llmos.kernel.memory import Memory
from llmos.labels import Label, Origin
from llmos.memory.derived import Link
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind, Page, pages_of
from llmos.memory.passages import Scope
from llmos.memory.recall import asks

__all__ = ["link_pages"]

_CURSOR = "dream"  # how far pages were linked


async def link_pages(memory: Memory, journal: Journal, notebook: Notebook) -> None:
    """Link what was said newly with what other conversations hold about the same.

    Raises:
        StoreError: The journal or the index cannot be read or written.
    """
    index, progress = memory.index, memory.index.progress()
    if progress.embedded < progress.total:  # it would pass over what has no vector yet
        notebook.left()
        return
    known = await asyncio.to_thread(memory.derived.sources, Kind.LINK)
    undone = await asyncio.to_thread(memory.derived.undone, Kind.LINK)
    seen = set(known)
    for _ in range(limits.DREAM_PAGES // limits.FEED_RECORDS):
        after = index.cursor(_CURSOR)
        records = await asyncio.to_thread(journal.records, 0, after, limits.FEED_RECORDS)
        if not records:
            return
        pages = [page for record in records for page in pages_of(record) if _linkable(page)]
        for at, page in enumerate(pages):
            await notebook.at("pages", at, len(pages))
            link = await _near(memory, journal, page)
            names = (page.id, *link.to) if link is not None else ()
            sources = await memory.record_ids(names)
            if link is None or len(sources) < 2 or frozenset(sources) in seen:
                continue
            if any(len(made & set(sources)) > 1 for made in undone):
                continue
            record = await notebook.keep(Kind.LINK, link.to_json(), Label(Origin.SYSTEM, sources))
            seen.add(frozenset(sources))
            text = f"{page.id} is about the same as {', '.join(link.to)}"
            notebook.made(record.stored.seq, "link", text, page.pid)
        await index.move(_CURSOR, records[-1].stored.seq)
    notebook.left()


async def _near(memory: Memory, journal: Journal, page: Page) -> Link | None:
    """The pages of other conversations that are nearest to a page, where they are near."""
    lineage = await asyncio.to_thread(journal.lineage, page.pid)
    hits = await memory.index.neighbours(
        page.id, k=limits.LINK_LOOKS, scope=Scope(sources=("turn",))
    )
    near = [
        hit.passage.id
        for hit in hits
        if hit.passage.pid not in lineage
        and (hit.similarity or 0.0) >= limits.LINK_SIMILAR
        and not asks(hit.passage.text)
    ]
    return Link(page.id, tuple(near[: limits.LINKS_A_PAGE])) if near else None


def _linkable(page: Page) -> bool:
    """Whether a page says enough to be about something."""
    said = page.kind in (Kind.USER, Kind.ASSISTANT)
    return said and len(page.text) >= limits.LINK_CHARS and not asks(page.text)
