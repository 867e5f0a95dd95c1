"""What comes from elsewhere: mounted folders, and conversations that happened in other places."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from llmos import limits
from llmos.events import ProcessInfo
from llmos.memory.files.mounts import Mount, Progress
from llmos.server.body import Body, JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses

__all__ = ["router"]


class SkippedFile(BaseModel):
    place: str
    reason: str


class MountRow(BaseModel):
    """A mounted folder."""

    number: int
    folder: str
    files: int
    passages: int
    state: Annotated[str, Field(description="``unread``, ``reading``, ``ready``, ``gone`` …")]
    following: Annotated[str, Field(description="How changes are noticed.")]
    synced: float
    skips: Annotated[int, Field(description="Files that were not read, or not to their end.")]
    skipped: list[SkippedFile]
    done: Annotated[int, Field(description="While it is read: files looked at so far.")] = 0
    of: Annotated[int, Field(description="While it is read: files there are.")] = 0
    reading: str = ""


class MountList(BaseModel):
    mounts: list[MountRow]


class FilePassage(BaseModel):
    """A stretch of a mounted file."""

    id: str
    place: Annotated[str, Field(description="The file, and the page or lines.")]
    time: float
    text: str


class MountBody(Body):
    folder: Annotated[
        str,
        Field(pattern=r"^/[^\x00]*$", max_length=4096, description="A path that begins with /."),
    ]


class Umounted(BaseModel):
    passages: int


class PastMessage(Body):
    """A message that was said elsewhere."""

    role: Literal["user", "assistant"]
    content: Annotated[str, Field(max_length=limits.MESSAGE_CHARS)]
    time: Annotated[float, Field(ge=0, le=1e11)] = 0.0


class ImportBody(Body):
    messages: Annotated[list[PastMessage], Field(min_length=1, max_length=limits.MESSAGES_MAX)]
    title: Annotated[str, Field(max_length=limits.TITLE_CHARS)] = ""
    mine: Annotated[bool, Field(description="Whether it is the person's own.")] = False


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["memory"], route_class=JsonRoute)

    @routes.get("/mounts", responses=responses(409))
    async def mounts() -> MountList:
        """Mounted folders, and how far those are that are being read."""
        rows = [_mount_row(mount, now) for mount, now in kernel.keeper.mounts()]
        return MountList(mounts=rows)

    @routes.post("/mounts", status_code=201, responses=responses(400, 409, 413, 507))
    async def mount(body: MountBody) -> MountRow:
        """Mount a folder; it is read in the background."""
        return _mount_row(await kernel.keeper.mount(body.folder), None)

    @routes.delete("/mounts/{number}", responses=responses(400, 409))
    async def umount(
        number: Annotated[int, Path(ge=1, le=2**31 - 1, description="A mount's number.")],
    ) -> Umounted:
        """Take a mounted folder out, with all that was read of it."""
        return Umounted(passages=await kernel.keeper.umount(number))

    @routes.get("/memory/files/{passage}", responses=responses(400, 404, 409))
    async def passage(
        passage: Annotated[
            str, Path(pattern=r"^f\d{1,9}-\d{1,18}\.\d{1,9}$", description="Such as f1-2.3.")
        ],
    ) -> FilePassage:
        """A passage of a mounted file, as a search finds it."""
        found = await kernel.keeper.passage(passage)
        return FilePassage(id=found.id, place=found.place, time=found.time, text=found.text)

    @routes.post("/import", status_code=201, responses=responses(400, 409, 413, 507))
    async def import_past(body: ImportBody) -> ProcessInfo:
        """A conversation that happened elsewhere, as a new process."""
        said = [(past.role, past.content, past.time) for past in body.messages]
        return await kernel.import_messages(said, title=body.title, mine=body.mine)

    return routes


def _mount_row(mount: Mount, now: Progress | None) -> MountRow:
    return MountRow(
        number=mount.number,
        folder=str(mount.folder).encode("utf-8", "replace").decode(),
        files=mount.files,
        passages=mount.passages,
        state=str(mount.state),
        following=mount.following,
        synced=mount.synced,
        skips=mount.skips,
        skipped=[SkippedFile(place=each.place, reason=each.reason) for each in mount.skipped],
        done=now.done if now else 0,
        of=now.files if now else 0,
        reading=now.path if now else "",
    )
