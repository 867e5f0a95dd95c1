"""``/kernel/v1/dream``: idle consolidation, begun, watched, stopped and undone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.responses import Response

from llmos.memory.derived import Made
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses

__all__ = ["router"]


class MadeRow(BaseModel):
    """Something derived."""

    id: Annotated[str, Field(description="Such as d12.")]
    kind: Annotated[str, Field(description="``summary``, ``link`` or ``merged``.")]
    text: str
    time: float
    pid: Annotated[int, Field(description="0 where it belongs to no process.")]


class MadeList(BaseModel):
    made: list[MadeRow]


class DreamRow(BaseModel):
    """How far a dream is, or what the last one made."""

    dreaming: bool
    step: Annotated[str, Field(description="``memories``, ``turns``, ``pages`` or nothing.")]
    done: int
    of: int
    made: list[MadeRow]
    refused: Annotated[int, Field(description="Summaries that strayed from their source.")]
    error: str


class Undone(BaseModel):
    erased: Annotated[int, Field(description="Records of the journal.")]


DerivedId = Annotated[str, Path(pattern=r"^d\d{1,18}$", description="Such as d12.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["memory"], route_class=JsonRoute)

    @routes.get("/dream", responses=responses(409))
    async def dreaming() -> DreamRow:
        """How far the dream is, or what the last one made."""
        state, goes_on, error = kernel.keeper.dreaming()
        return DreamRow(
            dreaming=goes_on,
            step=state.step,
            done=state.done,
            of=state.of,
            made=[_row(made) for made in state.made],
            refused=state.refused,
            error=error,
        )

    @routes.post("/dream", status_code=202, response_class=Response, responses=responses(409))
    async def dream() -> Response:
        """Consolidate memory now; anything that somebody does stops it."""
        await kernel.keeper.dream()
        return Response(status_code=202)

    @routes.delete("/dream", status_code=204, response_class=Response, responses=responses(409))
    async def wake() -> None:
        """Stop it; what it made stays."""
        await kernel.keeper.wake()

    @routes.get("/memory/derived", responses=responses(409))
    async def derived() -> MadeList:
        """What dreams have made, newest first."""
        return MadeList(made=[_row(made) for made in await kernel.keeper.derived()])

    @routes.delete("/memory/derived/{made}", responses=responses(400, 404, 409, 507))
    async def undo(made: DerivedId) -> Undone:
        """Undo it; it is not made again."""
        return Undone(erased=await kernel.keeper.undo(made))

    return routes


def _row(made: Made) -> MadeRow:
    return MadeRow(id=made.id, kind=made.kind, text=made.text, time=made.time, pid=made.pid)
