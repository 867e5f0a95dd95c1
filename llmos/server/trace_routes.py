"""``/kernel/v1/…/calls`` and ``…/replay``: what was called, and a conversation run again."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from llmos.memory.trail import Traced
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses
from llmos.server.kernel_routes import Pid, while_connected
from llmos.visible import encodable

__all__ = ["router"]


After = Annotated[
    int, Query(ge=0, le=2**53, description="Only those behind the call of this number.")
]


class CallRow(BaseModel):
    """One system call."""

    number: Annotated[int, Field(description="Its place among all calls.")]
    pid: int
    turn: int
    id: Annotated[str, Field(description="The model's own name for it.")]
    time: Annotated[float, Field(description="When it began, in seconds since the epoch.")]
    name: str
    arguments: dict[str, Any]
    effect: Annotated[str, Field(description="As it was declared; empty where nobody did.")]
    read: Annotated[str, Field(description="Who wrote what it gave.")]
    private: bool
    verdict: Annotated[
        str,
        Field(
            description="``once``, ``conversation``, ``always``, ``no``, ``nobody``, a grant, or"
            " empty where nobody had to be asked."
        ),
    ]
    question: Annotated[str, Field(description="What the person was asked.")]
    bytes: int
    seconds: float
    error: str
    finished: bool
    erased: bool
    inner: Annotated[bool, Field(description="A call made it, as code or the reader do.")]
    by: Annotated[str, Field(description="The name of that call.")]


class CallList(BaseModel):
    calls: list[CallRow]


class ReplayedCall(BaseModel):
    name: str
    arguments: dict[str, Any]


class ReplayedTurn(BaseModel):
    """One turn, as it was and as it is now."""

    turn: int
    same: bool
    recorded: str
    replayed: str
    recorded_calls: list[ReplayedCall]
    replayed_calls: list[ReplayedCall]
    error: str


class ReplayAnswer(BaseModel):
    pid: int
    model: str
    same: bool
    notes: Annotated[list[str], Field(description="What a difference may come from.")]
    turns: list[ReplayedTurn]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["kernel"], route_class=JsonRoute)

    @routes.get("/calls", responses=responses(400))
    async def all_calls(after: After = 0) -> CallList:
        """The system calls of all processes, oldest first."""
        return CallList(calls=[_row(call) for call in await kernel.tracer.trail(0, after)])

    @routes.get("/processes/{pid}/calls", responses=responses(400, 404))
    async def calls(pid: Pid, after: After = 0) -> CallList:
        """The system calls of a process, oldest first."""
        return CallList(calls=[_row(call) for call in await kernel.tracer.trail(pid, after)])

    @routes.post("/processes/{pid}/replay", responses=responses(400, 404, 409, 507))
    async def replay(pid: Pid, request: Request) -> ReplayAnswer | None:
        """Run its turns again from the journal, without effects; takes as long as they did."""
        replayed = await while_connected(request, kernel.tracer.replay(pid))
        if replayed is None:
            return None  # nobody is there any more
        return ReplayAnswer(
            pid=replayed.pid,
            model=replayed.model,
            same=replayed.same,
            notes=list(replayed.notes),
            turns=[
                ReplayedTurn(
                    turn=turn.turn,
                    same=turn.same,
                    recorded=encodable(turn.recorded),
                    replayed=encodable(turn.replayed),
                    recorded_calls=_calls(turn.recorded_calls),
                    replayed_calls=_calls(turn.replayed_calls),
                    error=turn.error,
                )
                for turn in replayed.turns
            ],
        )

    return routes


def _row(call: Traced) -> CallRow:
    return CallRow(**encodable(dataclasses.asdict(call)))


def _calls(made: tuple[tuple[str, dict[str, Any]], ...]) -> list[ReplayedCall]:
    return [ReplayedCall(name=name, arguments=encodable(given)) for name, given in made]
