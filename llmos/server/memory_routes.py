"""``/kernel/v1/memory`` and what else concerns windows: pages, search, drafts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from llmos import limits
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses
from llmos.server.kernel_routes import Pid

__all__ = ["router"]


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


class Hits(BaseModel):
    hits: list[Found]


class PageRow(BaseModel):
    """A row of a process's page table."""

    id: str
    kind: str
    turn: int
    characters: int
    resident: bool


class PageTable(BaseModel):
    pages: list[PageRow]


class PageText(BaseModel):
    """A page, whole."""

    id: str
    kind: str
    pid: int
    turn: int
    time: float
    origin: Annotated[str, Field(description="Who it came from.")]
    text: str


class PageTexts(BaseModel):
    pages: list[PageText]


class DraftBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    text: Annotated[str, Field(max_length=limits.MESSAGE_CHARS)]


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
        hits = await kernel.search(query, k=k, pid=pid)
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
                )
                for hit in hits
            ]
        )

    @routes.get("/memory/pages/{page}", responses=responses(400, 404))
    async def page(page: PageId) -> PageTexts:
        """One page, or all pages of a long record."""
        found = await kernel.pages(page)
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
                )
                for each in found
            ]
        )

    @routes.get("/processes/{pid}/pages", responses=responses(400, 404, 409))
    async def table(pid: Pid) -> PageTable:
        """The page table of a process: what is in view and what is only stored."""
        rows = await kernel.page_table(pid)
        return PageTable(
            pages=[
                PageRow(
                    id=each.id,
                    kind=str(each.kind),
                    turn=each.turn,
                    characters=len(each.text),
                    resident=resident,
                )
                for each, resident in rows
            ]
        )

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
