"""``/kernel/v1/memory/facts``: what is remembered, listed, added, changed and pinned."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from llmos import limits
from llmos.memory.facts import Fact, core_of
from llmos.server.body import Body, JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses

__all__ = ["FactId", "router"]


class Older(BaseModel):
    time: float
    text: str


class Said(BaseModel):
    """A turn of a conversation."""

    pid: int
    turn: int


class FactRow(BaseModel):
    """Something that is remembered."""

    id: str
    text: str
    block: Annotated[str, Field(description="``fact``, ``user`` or ``assistant``.")]
    time: float
    pinned: bool
    origin: Annotated[str, Field(description="Who it came from.")]
    history: Annotated[list[Older], Field(description="Older texts, oldest first.")]
    merged: Annotated[list[str], Field(description="Other wordings, merged into this one.")]
    said: Annotated[list[Said], Field(description="Where in conversations, oldest first.")]


class FactList(BaseModel):
    facts: list[FactRow]
    core: Annotated[str, Field(description="What every conversation begins with.")]


class RememberBody(Body):
    text: Annotated[str, Field(pattern=r"\S", max_length=limits.FACT_CHARS)]
    block: Literal["fact", "user", "assistant"] = "fact"


class ChangeBody(Body):
    text: Annotated[str | None, Field(pattern=r"\S", max_length=limits.FACT_CHARS)] = None
    pinned: bool | None = None


FactId = Annotated[str, Path(pattern=r"^m\d{1,18}$", description="Such as m12.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["memory"], route_class=JsonRoute)

    @routes.get("/memory/facts", responses=responses(409))
    async def facts() -> FactList:
        """What is remembered, newest first."""
        known = await kernel.keeper.facts()
        return FactList(facts=[_row(fact) for fact in known], core=core_of(known))

    @routes.post("/memory/facts", status_code=201, responses=responses(400, 409, 413, 507))
    async def remember(body: RememberBody) -> FactRow:
        """Remember something."""
        return _row(await kernel.keeper.remember(body.text, block=body.block))

    @routes.patch("/memory/facts/{fact}", responses=responses(400, 404, 409, 413, 507))
    async def change(fact: FactId, body: ChangeBody) -> FactRow:
        """Give it another text, or pin or unpin it. The old text stays as its history."""
        return _row(await kernel.keeper.change_fact(fact, text=body.text, pinned=body.pinned))

    return routes


def _row(fact: Fact) -> FactRow:
    return FactRow(
        id=fact.id,
        text=fact.text,
        block=fact.block,
        time=fact.time,
        pinned=fact.pinned,
        origin=fact.label.origin.name.lower(),
        history=[Older(time=time, text=text) for time, text in fact.history],
        merged=list(fact.merged),
        said=[Said(pid=pid, turn=turn) for pid, turn in fact.said],
    )
