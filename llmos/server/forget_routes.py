"""Forgetting a fact or a page for good, and what that would take along."""

from __future__ import annotations

import json
from typing import Annotated

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

_NAME = r"^(m\d{1,18}|p\d{1,18}(\.\d{1,9})?)$"


class Doomed(BaseModel):
    """A record that forgetting something would empty."""

    id: str
    kind: str
    pid: int
    turn: int
    beginning: str


class Forgetting(BaseModel):
    """What forgetting something would take along."""

    records: Annotated[int, Field(description="Records of the journal.")]
    listed: Annotated[list[Doomed], Field(description="The first of them.")]


class Forgotten(BaseModel):
    erased: Annotated[int, Field(description="Records of the journal.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["memory"], route_class=JsonRoute)

    @routes.get("/memory/forgetting", responses=responses(400, 404, 409))
    async def forgetting(
        id: Annotated[str, Query(pattern=_NAME, description="Such as m12 or p12.3.")],
    ) -> Forgetting:
        """What would be emptied if this fact or page were forgotten; nothing is changed."""
        records = await kernel.keeper.would_forget(id)
        listed = [_doomed(record) for record in records[: limits.SEARCH_MOST]]
        return Forgetting(records=len(records), listed=listed)

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


def _told(record: Record) -> str:
    """What a record says to a person; nothing where it is the kernel's own."""
    content, kind = record.stored.message.content, record.stored.message.role
    if kind == Kind.MEMORY:
        try:
            return str(json.loads(content)["text"])
        except (ValueError, KeyError, TypeError):  # it was pinned, or makes no sense
            return ""
    return content if kind in (*CONVERSATION, Kind.RECALLED, Kind.NOTE) else ""
