"""``/kernel/v1/experts``: which there are, and what their conversations begin with."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses

__all__ = ["router"]


class ExpertRow(BaseModel):
    """An expert."""

    name: str
    summary: str
    version: str
    starters: list[str]
    broken: Annotated[str, Field(description="Why it cannot be used; empty where it can.")]


class ExpertList(BaseModel):
    experts: list[ExpertRow]


class Prepared(BaseModel):
    prepared: Literal[True] = True


ExpertName = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$", description="Such as coder.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["experts"], route_class=JsonRoute)

    @routes.get("/experts", responses=responses())
    async def experts() -> ExpertList:
        """The experts there are, those that are broken with the reason."""
        return ExpertList(experts=[ExpertRow(**row) for row in await kernel.experts()])

    @routes.post("/experts/{name}/front", responses=responses(400, 404))
    async def front(name: ExpertName) -> Prepared:
        """Compute what every conversation with an expert begins with; answers when that is done."""
        await kernel.prepare(name)
        return Prepared()

    return routes
