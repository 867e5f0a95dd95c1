"""``/kernel/v1``: questions about calls and their answers, and what is allowed for longer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from llmos import limits
from llmos.events import to_json
from llmos.memory.grants import Grant
from llmos.server.body import Body, JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses
from llmos.server.kernel_routes import Pid
from llmos.visible import encodable

__all__ = ["router"]


class AnswerBody(Body):
    call_id: Annotated[str, Field(min_length=1, max_length=limits.CALL_NAME_CHARS)]
    answer: Literal["once", "conversation", "always", "no"]


class Given(BaseModel):
    given: Literal[True] = True


class QuestionList(BaseModel):
    questions: list[dict[str, Any]]


class GrantRow(BaseModel):
    """Something that is allowed."""

    id: str
    time: float
    call: Annotated[str, Field(description="A call, or a pattern of calls; empty for a folder.")]
    arguments: dict[str, Any]
    patterns: dict[str, str]
    folder: str
    write: bool
    pid: Annotated[int, Field(description="The conversation it holds in; 0 for all.")]
    until: Annotated[float, Field(description="0: until it is taken back.")]
    why: str


class GrantList(BaseModel):
    grants: list[GrantRow]


class GrantBody(Body):
    """A call or a folder, not both."""

    call: Annotated[str, Field(max_length=limits.CALL_NAME_CHARS)] = ""
    arguments: Annotated[dict[str, Any], Field(default_factory=dict)]
    patterns: Annotated[dict[str, str], Field(default_factory=dict)]
    folder: Annotated[str, Field(max_length=limits.FOLDER_CHARS)] = ""
    write: bool = False
    pid: Annotated[int, Field(ge=0)] = 0
    days: Annotated[float, Field(ge=0, le=3650, description="0: until it is taken back.")] = 0


GrantId = Annotated[str, Path(pattern=r"^g\d{1,18}$", description="Such as g12.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["permissions"], route_class=JsonRoute)

    @routes.get("/questions", responses=responses())
    async def questions() -> QuestionList:
        """Questions about calls that wait for an answer."""
        waiting = kernel.permissions.waiting()
        return QuestionList(questions=[encodable(to_json(asked)) for asked in waiting])

    @routes.post("/processes/{pid}/answers", responses=responses(400, 404, 409, 413))
    async def answer(pid: Pid, body: AnswerBody) -> Given:
        """Answer a question about a call: the first answer holds."""
        kernel.permissions.answer(pid, body.call_id, body.answer)
        return Given()

    @routes.get("/grants", responses=responses())
    async def grants() -> GrantList:
        """What is allowed, newest first."""
        return GrantList(grants=[_row(grant) for grant in await kernel.permissions.grants()])

    @routes.post("/grants", status_code=201, responses=responses(400, 404, 409, 413, 507))
    async def grant(body: GrantBody) -> GrantRow:
        """Allow a call, or a folder."""
        given = await kernel.permissions.grant(
            call=body.call,
            arguments=body.arguments,
            patterns=body.patterns,
            folder=body.folder,
            write=body.write,
            pid=body.pid,
            days=body.days,
        )
        return _row(given)

    @routes.delete("/grants/{id}", responses=responses(400, 404, 507))
    async def revoke(id: GrantId) -> GrantRow:
        """Take something back that was allowed."""
        return _row(await kernel.permissions.revoke(id))

    return routes


def _row(grant: Grant) -> GrantRow:
    return GrantRow(
        id=grant.id,
        time=grant.time,
        call=grant.call,
        arguments=dict(grant.arguments),
        patterns=dict(grant.patterns),
        folder=grant.folder,
        write=grant.write,
        pid=grant.pid,
        until=grant.until,
        why=grant.why,
    )
