"""Pages: searched, read, and what of a process is in view (``/kernel/v1/processes/N/pages``).

The page table of a long conversation has tens of thousands of rows, and a terminal asks again
whenever something moves: it is counted and written out in a thread, not on the kernel's loop, and
whoever shows only its end asks for no more.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from llmos import limits
from llmos.memory.recall import fits, glimpse
from llmos.server.body import Body, JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses
from llmos.server.kernel_routes import Pid

__all__ = ["PageId", "beginning", "router"]


class Found(BaseModel):
    """One passage that a search found."""

    id: str
    source: Annotated[str, Field(description="``turn``, ``file`` or ``fact``.")]
    pid: Annotated[int, Field(description="0 where it belongs to no process.")]
    place: str
    time: float
    speaker: str
    text: str
    score: float
    similarity: Annotated[float | None, Field(description="Cosine of meanings.")]
    words: Annotated[float | None, Field(description="Share of the words, by their rarity.")]
    glimpse: Annotated[str, Field(description="One line of it, around the words sought.")]
    fits: Annotated[bool, Field(description="It holds one of the words, or is near in meaning.")]


class Hits(BaseModel):
    hits: list[Found]


class PageRow(BaseModel):
    """A row of a process's page table."""

    id: str
    kind: str
    turn: int
    characters: int
    resident: bool
    shared: Annotated[bool, Field(description="With the process that it was forked from.")]
    pinned: Annotated[bool, Field(description="It stays in view when room is made.")]
    time: float
    origin: Annotated[str, Field(description="Who it came from.")]
    tokens: Annotated[int, Field(description="Of its text, where it is in view; else 0.")]
    beginning: str


class PageTable(BaseModel):
    """What the model sees of a process, and what it does not."""

    pages: list[PageRow]
    unlisted: Annotated[int, Field(description="Older pages out of view, beyond ``last``.")]
    unlisted_characters: int
    front: Annotated[str, Field(description="What it is told before all that was said.")]
    front_tokens: int


class PageText(BaseModel):
    """A page, whole."""

    id: str
    kind: str
    pid: int
    turn: int
    time: float
    origin: Annotated[str, Field(description="Who it came from.")]
    text: str
    related: Annotated[
        list[str], Field(description="Pages of other conversations about the same.")
    ] = []


class PageTexts(BaseModel):
    pages: list[PageText]


class DraftBody(Body):
    text: Annotated[str, Field(max_length=limits.MESSAGE_CHARS)]


class PinBody(Body):
    pinned: bool


PageId = Annotated[str, Path(pattern=r"^p\d{1,18}(\.\d{1,9})?$", description="Such as p12.3.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["memory"], route_class=JsonRoute)

    @routes.get("/memory/search", responses=responses(400, 404))
    async def search(
        query: Annotated[str, Query(pattern=r"\S", max_length=limits.QUERY_CHARS)],
        k: Annotated[int, Query(ge=1, le=limits.SEARCH_MOST)] = 5,
        pid: Annotated[int, Query(ge=0, le=2**31 - 1, description="0 for everything.")] = 0,
    ) -> Hits:
        """Everything that was said, by meaning and by words."""
        hits = await kernel.keeper.search(query, k=k, pid=pid)
        return Hits(
            hits=[
                Found(
                    id=hit.passage.id,
                    source=hit.passage.source,
                    pid=hit.passage.pid,
                    place=hit.passage.place,
                    time=hit.passage.time,
                    speaker=hit.passage.speaker,
                    text=hit.passage.text,
                    score=hit.score,
                    similarity=hit.similarity,
                    words=hit.words,
                    glimpse=glimpse(hit.passage.text, query),
                    fits=fits(hit),
                )
                for hit in hits
            ]
        )

    @routes.get("/memory/pages/{page}", responses=responses(400, 404))
    async def page(page: PageId) -> PageTexts:
        """One page, or all pages of a long record."""
        found = await kernel.keeper.pages(page)
        links = await kernel.keeper.links()
        return PageTexts(
            pages=[
                PageText(
                    id=each.id,
                    kind=str(each.kind),
                    pid=each.pid,
                    turn=each.turn,
                    time=each.time,
                    origin=each.label.origin.name.lower(),
                    text=each.text,
                    related=links.get(each.id, []),
                )
                for each in found
            ]
        )

    @routes.get(
        "/processes/{pid}/pages", response_model=PageTable, responses=responses(400, 404, 409)
    )
    async def table(
        pid: Pid,
        last: Annotated[
            int,
            Query(ge=0, le=2**31 - 1, description="Rows besides those in view; 0 for all."),
        ] = 0,
    ) -> Response:
        """The page table of a process: what is in view and what is only stored."""
        front = await kernel.keeper.front(pid)
        rows, pinned = await kernel.keeper.page_table(pid), await kernel.keeper.pinned(pid)

        def write() -> str:
            old = [each for each, resident in rows[:-last] if not resident] if last else []
            listed = [row for row in rows[:-last] if row[1]] + rows[-last:] if last else rows
            return PageTable(
                pages=[
                    PageRow(
                        id=each.id,
                        kind=str(each.kind),
                        turn=each.turn,
                        characters=len(each.text),
                        resident=resident,
                        shared=each.pid != pid,
                        pinned=each.id in pinned,
                        time=each.time,
                        origin=each.label.origin.name.lower(),
                        tokens=kernel.backend.count(each.text) if resident else 0,
                        beginning=beginning(each.text),
                    )
                    for each, resident in listed
                ],
                unlisted=len(old),
                unlisted_characters=sum(len(each.text) for each in old),
                front=front,
                front_tokens=kernel.backend.count(front),
            ).model_dump_json()

        return Response(await asyncio.to_thread(write), media_type="application/json")

    @routes.patch(
        "/processes/{pid}/pages/{page}",
        status_code=204,
        response_class=Response,
        responses=responses(400, 404, 409, 507),
    )
    async def pin(pid: Pid, page: PageId, body: PinBody) -> None:
        """Have a page stay in view when room is made, with its turn, or no longer.

        One that is out of view comes back at once. A record's id stands for all its pages.
        """
        await kernel.keeper.pin_page(pid, page, body.pinned)

    @routes.post(
        "/processes/{pid}/draft",
        status_code=204,
        response_class=Response,
        responses=responses(400, 404, 409),
    )
    async def draft(pid: Pid, body: DraftBody) -> None:
        """What is being typed: computed ahead while nothing else is to be done."""
        await kernel.draft(pid, body.text)

    return routes


def beginning(text: str) -> str:
    """The beginning of a page on one line."""
    line = " ".join(text[: 4 * limits.PAGE_LINE].split())
    return line if len(line) <= limits.PAGE_LINE else f"{line[: limits.PAGE_LINE - 1]}…"
