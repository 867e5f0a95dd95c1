"""``/kernel/v1/memory`` and what else concerns windows: pages, search, drafts."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from llmos import limits
from llmos.events import ProcessInfo
from llmos.memory.facts import Fact, core_of
from llmos.memory.files.mounts import Mount, Progress
from llmos.memory.pages import CONVERSATION, Kind, page_id
from llmos.memory.records import Record
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
    pinned: Annotated[bool, Field(description="It stays in view when room is made.")]
    time: float
    origin: Annotated[str, Field(description="Who it came from.")]
    tokens: Annotated[int, Field(description="Of its text, where it is in view; else 0.")]
    beginning: str


class PageTable(BaseModel):
    """What the model sees of a process, and what it does not."""

    pages: list[PageRow]
    front: Annotated[str, Field(description="What it is told before all that was said.")]
    front_tokens: int


class PageText(BaseModel):
    """A page, whole."""

    id: str
    kind: str
    pid: int
    turn: int
    time: float
    origin: Annotated[str, Field(description="Who it came from.")]
    text: str
    related: Annotated[
        list[str], Field(description="Pages of other conversations about the same.")
    ] = []


class PageTexts(BaseModel):
    pages: list[PageText]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class DraftBody(_Body):
    text: Annotated[str, Field(max_length=limits.MESSAGE_CHARS)]


class PinBody(_Body):
    pinned: bool


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
    said: Annotated[list[Said], Field(description="Where in conversations, oldest first.")]


class FactList(BaseModel):
    facts: list[FactRow]
    core: Annotated[str, Field(description="What every conversation begins with.")]


class RememberBody(_Body):
    text: Annotated[str, Field(pattern=r"\S", max_length=limits.FACT_CHARS)]
    block: Literal["fact", "user", "assistant"] = "fact"


class ChangeBody(_Body):
    text: Annotated[str | None, Field(pattern=r"\S", max_length=limits.FACT_CHARS)] = None
    pinned: bool | None = None


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


class PastMessage(_Body):
    """A message that was said elsewhere."""

    role: Literal["user", "assistant"]
    content: Annotated[str, Field(max_length=limits.MESSAGE_CHARS)]
    time: Annotated[float, Field(ge=0, le=1e11)] = 0.0


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


class MountBody(_Body):
    folder: Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=4096)]


class Umounted(BaseModel):
    passages: int


class ImportBody(_Body):
    messages: Annotated[list[PastMessage], Field(min_length=1, max_length=limits.MESSAGES_MAX)]
    title: Annotated[str, Field(max_length=limits.TITLE_CHARS)] = ""
    mine: Annotated[bool, Field(description="Whether ``user`` is the person here.")] = False


_NAME = r"^(m\d{1,18}|p\d{1,18}(\.\d{1,9})?)$"

FactId = Annotated[str, Path(pattern=r"^m\d{1,18}$", description="Such as m12.")]
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
        links = await kernel.links()
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
                    related=links.get(each.id, []),
                )
                for each in found
            ]
        )

    @routes.delete("/memory/pages/{page}", responses=responses(400, 404, 409, 507))
    async def forget_page(page: PageId) -> Forgotten:
        """Forget a page for good, and everything made of it."""
        return Forgotten(erased=await kernel.forget(page))

    @routes.get("/memory/facts", responses=responses(409))
    async def facts() -> FactList:
        """What is remembered, newest first."""
        known = await kernel.facts()
        return FactList(facts=[_row(fact) for fact in known], core=core_of(known))

    @routes.get("/memory/forgetting", responses=responses(400, 404, 409))
    async def forgetting(id: Annotated[str, Query(pattern=_NAME)]) -> Forgetting:
        """What would be emptied if this fact or page were forgotten; nothing is changed."""
        records = await kernel.would_forget(id)
        listed = [_doomed(record) for record in records[: limits.SEARCH_MOST]]
        return Forgetting(records=len(records), listed=listed)

    @routes.post("/memory/facts", status_code=201, responses=responses(400, 409, 413, 507))
    async def remember(body: RememberBody) -> FactRow:
        """Remember something."""
        return _row(await kernel.remember(body.text, block=body.block))

    @routes.patch("/memory/facts/{fact}", responses=responses(400, 404, 409, 413, 507))
    async def change(fact: FactId, body: ChangeBody) -> FactRow:
        """Give it another text, or pin or unpin it. The old text stays as its history."""
        return _row(await kernel.change_fact(fact, text=body.text, pinned=body.pinned))

    @routes.delete("/memory/facts/{fact}", responses=responses(400, 404, 409, 507))
    async def forget_fact(fact: FactId) -> Forgotten:
        """Forget it for good, and everything made of it."""
        return Forgotten(erased=await kernel.forget(fact))

    @routes.get("/mounts", responses=responses(409))
    async def mounts() -> MountList:
        """Mounted folders, and how far those are that are being read."""
        rows = [_mount_row(mount, now) for mount, now in kernel.mounts()]
        return MountList(mounts=rows)

    @routes.post("/mounts", status_code=201, responses=responses(400, 409, 413, 507))
    async def mount(body: MountBody) -> MountRow:
        """Mount a folder; it is read in the background."""
        return _mount_row(await kernel.mount(body.folder), None)

    @routes.delete("/mounts/{number}", responses=responses(400, 409))
    async def umount(
        number: Annotated[int, Path(ge=1, le=2**31 - 1, description="A mount's number.")],
    ) -> Umounted:
        """Take a mounted folder out, with all that was read of it."""
        return Umounted(passages=await kernel.umount(number))

    @routes.post("/import", status_code=201, responses=responses(400, 409, 413, 507))
    async def import_past(body: ImportBody) -> ProcessInfo:
        """A conversation that happened elsewhere, as a new process."""
        said = [(past.role, past.content, past.time) for past in body.messages]
        return await kernel.import_messages(said, title=body.title, mine=body.mine)

    @routes.get("/processes/{pid}/pages", responses=responses(400, 404, 409))
    async def table(pid: Pid) -> PageTable:
        """The page table of a process: what is in view and what is only stored."""
        front = await kernel.front(pid)
        rows, pinned = await kernel.page_table(pid), await kernel.pinned(pid)

        def read() -> PageTable:  # in a thread: counting what is in view takes a while
            return PageTable(
                pages=[
                    PageRow(
                        id=each.id,
                        kind=str(each.kind),
                        turn=each.turn,
                        characters=len(each.text),
                        resident=resident,
                        pinned=each.id in pinned,
                        time=each.time,
                        origin=each.label.origin.name.lower(),
                        tokens=kernel.backend.count(each.text) if resident else 0,
                        beginning=_beginning(each.text),
                    )
                    for each, resident in rows
                ],
                front=front,
                front_tokens=kernel.backend.count(front),
            )

        return await asyncio.to_thread(read)

    @routes.patch(
        "/processes/{pid}/pages/{page}",
        status_code=204,
        response_class=Response,
        responses=responses(400, 404, 409, 507),
    )
    async def pin(pid: Pid, page: PageId, body: PinBody) -> None:
        """Have a page stay in view when room is made, with its turn, or no longer.

        One that is out of view comes back at once. A record's id stands for all its pages.
        """
        await kernel.pin_page(pid, page, body.pinned)

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


def _row(fact: Fact) -> FactRow:
    return FactRow(
        id=fact.id,
        text=fact.text,
        block=fact.block,
        time=fact.time,
        pinned=fact.pinned,
        origin=fact.label.origin.name.lower(),
        history=[Older(time=time, text=text) for time, text in fact.history],
        said=[Said(pid=pid, turn=turn) for pid, turn in fact.said],
    )


def _doomed(record: Record) -> Doomed:
    stored = record.stored
    return Doomed(
        id=page_id(stored.seq),
        kind=stored.message.role,
        pid=record.pid,
        turn=stored.turn,
        beginning=_beginning(_told(record)),
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


def _beginning(text: str) -> str:
    line = " ".join(text[: 4 * limits.PAGE_LINE].split())
    return line if len(line) <= limits.PAGE_LINE else f"{line[: limits.PAGE_LINE - 1]}…"


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
