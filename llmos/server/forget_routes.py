"""Forgetting a fact or a page for good, and what that would take along."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from llmos import limits
from llmos.memory.pages import CONVERSATION, Kind, page_id
from llmos.memory.records import Record
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses
from llmos.server.fact_routes import FactId
from llmos.server.page_routes import PageId, beginning

__all__ = ["router"]

#: What a person knows of; the other records are the kernel's own.
_SAID = (*CONVERSATION, Kind.MEMORY)
_NAME = r"^(m\d{1,18}|p\d{1,18}(\.\d{1,9})?)$"


class Doomed(BaseModel):
    """A record that forgetting something would empty."""

    id: str
    kind: str
    pid: int
    turn: int
    beginning: str


class Counts(BaseModel):
    """What goes, as a person counts it."""

    memories: int = 0
    messages: Annotated[int, Field(description="Of people and the model.")] = 0
    results: Annotated[int, Field(description="Of calls.")] = 0
    recalled: Annotated[int, Field(description="Times it was brought back into a chat.")] = 0
    summaries: int = 0
    noted: Annotated[int, Field(description="Records that only the kernel needs.")] = 0


class Forgetting(BaseModel):
    """What forgetting something would take along."""

    records: Annotated[int, Field(description="Records of the journal.")]
    counts: Counts
    listed: Annotated[list[Doomed], Field(description="The first of them, what was said first.")]
    left: Annotated[
        list[str],
        Field(description="Damaged journals that a repair put aside: they may hold the words."),
    ] = []


class Forgotten(BaseModel):
    erased: Annotated[int, Field(description="Records of the journal.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["memory"], route_class=JsonRoute)

    @routes.get("/memory/forgetting", responses=responses(400, 404, 409))
    async def forgetting(
        id: Annotated[
            list[Annotated[str, Field(pattern=_NAME)]],
            Query(max_length=limits.SEARCH_MOST, description="Such as m12 or p12.3."),
        ],
    ) -> Forgetting:
        """What would be emptied if these facts or pages were forgotten; nothing is changed."""
        found: dict[tuple[int, int], Record] = {}  # two names may mean the same, or take it along
        for name in id:
            records = await kernel.keeper.would_forget(name)
            found |= {(record.pid, record.stored.seq): record for record in records}
        told = sorted(found.values(), key=lambda record: record.stored.message.role not in _SAID)
        return Forgetting(
            records=len(found),
            counts=_counted(told),
            listed=[_doomed(record) for record in told[: limits.SEARCH_MOST]],
            left=[str(path) for path in kernel.keeper.set_aside()],
        )

    @routes.delete("/memory/facts/{fact}", responses=responses(400, 404, 409, 507))
    async def forget_fact(fact: FactId) -> Forgotten:
        """Forget it for good, and everything made of it."""
        return Forgotten(erased=await kernel.keeper.forget(fact))

    @routes.delete("/memory/pages/{page}", responses=responses(400, 404, 409, 507))
    async def forget_page(page: PageId) -> Forgotten:
        """Forget a page for good, and everything made of it."""
        return Forgotten(erased=await kernel.keeper.forget(page))

    return routes


def _doomed(record: Record) -> Doomed:
    stored = record.stored
    return Doomed(
        id=page_id(stored.seq),
        kind=stored.message.role,
        pid=record.pid,
        turn=stored.turn,
        beginning=beginning(_told(record)),
    )


def _counted(records: Iterable[Record]) -> Counts:
    counts = Counts()
    memories: set[str] = set()  # each is several records where it was changed
    for record in records:
        message = record.stored.message
        match message.role:
            case Kind.MEMORY:
                memories.add(str(_change(record).get("id") or f"m{record.stored.seq}"))
            case Kind.USER | Kind.ASSISTANT if message.content.strip():
                counts.messages += 1
            case Kind.TOOL:
                counts.results += 1
            case Kind.RECALLED:
                counts.recalled += 1
            case Kind.SUMMARY:
                counts.summaries += 1
            case _:
                counts.noted += 1
    counts.memories = len(memories)
    return counts


def _change(record: Record) -> dict[str, Any]:
    """What a record says of a memory; nothing where it makes no sense."""
    try:
        data = json.loads(record.stored.message.content)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _told(record: Record) -> str:
    """What a record says to a person; nothing where it is the kernel's own."""
    content, kind = record.stored.message.content, record.stored.message.role
    if kind == Kind.MEMORY:
        return str(_change(record).get("text", ""))  # a pin has none
    return content if kind in (*CONVERSATION, Kind.RECALLED, Kind.NOTE) else ""
