"""``/kernel/v1``: questions about calls, what is allowed for longer, and files that calls made."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from llmos import limits
from llmos.events import to_json
from llmos.memory.grants import Grant
from llmos.server.body import Body, JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses
from llmos.server.kernel_routes import Pid
from llmos.server.thumbnails import Thumbnails
from llmos.visible import encodable

__all__ = ["router"]


class AnswerBody(Body):
    call_id: Annotated[str, Field(min_length=1, max_length=limits.CALL_NAME_CHARS)]
    answer: Literal["once", "conversation", "always", "no"]


class Given(BaseModel):
    given: Literal[True] = True


class ExpertRow(BaseModel):
    """An expert."""

    name: str
    summary: str
    version: str
    starters: list[str]
    broken: Annotated[str, Field(description="Why it cannot be used; empty where it can.")]


class ExpertList(BaseModel):
    experts: list[ExpertRow]


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


ExpertName = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$", description="Such as coder.")]
GrantId = Annotated[str, Path(pattern=r"^g\d{1,18}$", description="Such as g12.")]
Side = Annotated[int, Query(ge=1, le=limits.THUMBNAIL_SIDE, description="Pixels at most.")]
FileId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The file's SHA-256.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["permissions"], route_class=JsonRoute)
    thumbnails = Thumbnails(lambda id: kernel.artifacts.read(id))

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

    @routes.get("/experts", responses=responses())
    async def experts() -> ExpertList:
        """The experts there are, those that are broken with the reason."""
        return ExpertList(experts=[ExpertRow(**row) for row in await kernel.experts()])

    @routes.post("/experts/{name}/front", responses=responses(400, 404))
    async def front(name: ExpertName) -> Given:
        """Compute what every conversation with an expert begins with; answers when that is done."""
        await kernel.prepare(name)
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
        )
        return _row(given)

    @routes.delete("/grants/{id}", responses=responses(400, 404, 507))
    async def revoke(id: GrantId) -> GrantRow:
        """Take something back that was allowed."""
        return _row(await kernel.permissions.revoke(id))

    @routes.get(
        "/artifacts/{id}",
        response_class=Response,
        responses={
            **responses(400, 404),
            200: {"content": {"application/octet-stream": {}}, "description": "The file's bytes."},
        },
    )
    async def artifact(id: FileId) -> Response:
        """The bytes of a file that a call made. Its type and name stand in its event."""
        data = await asyncio.to_thread(kernel.artifacts.read, id)
        # Whoever opens it must not have it run as a page of this server.
        headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    @routes.get(
        "/artifacts/{id}/thumbnail",
        response_class=Response,
        responses={
            **responses(400, 404, 503),
            200: {
                "content": {"application/octet-stream": {}},
                "description": "Red, green and blue of every pixel, row by row; the headers"
                " `x-picture-width` and `x-picture-height` say how many there are.",
            },
        },
    )
    async def thumbnail(id: FileId, width: Side, height: Side) -> Response:
        """A picture that a call made, as pixels that fit; decoded in a jail."""
        wide, high, pixels = await thumbnails.get(id, width, height)
        headers = {
            "x-picture-width": str(wide),
            "x-picture-height": str(high),
            "x-content-type-options": "nosniff",
        }
        return Response(pixels, media_type="application/octet-stream", headers=headers)

    @routes.get(
        "/artifacts/{id}/picture",
        response_class=Response,
        responses={
            **responses(400, 404, 503),
            200: {"content": {"image/png": {}}, "description": "The picture as PNG."},
        },
    )
    async def picture(id: FileId) -> Response:
        """A picture that a call made, decoded in a jail and written anew: safe to open."""
        headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
        return Response(await thumbnails.png(id), media_type="image/png", headers=headers)

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
        why=grant.why,
    )
