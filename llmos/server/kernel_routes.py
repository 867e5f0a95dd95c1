"""``/kernel/v1``: processes, messages, events. What ``llmos.client`` speaks.

Thin: a route checks types, calls the kernel's method of the same name and returns what it
returns. The kernel's errors become answers in ``errors.py``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Path, Query, Request, WebSocket
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from llmos import limits
from llmos.errors import LlmosError
from llmos.events import Event, ProcessInfo, StoredMessage, message_from_json, to_json
from llmos.server.body import Body, Integer, JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import ApiError, error_of, error_response, responses
from llmos.visible import encodable

__all__ = ["DROPPED", "STOPPED", "Pid", "router", "while_connected"]

#: WebSocket close code when somebody stops the kernel: the server goes away (RFC 6455, 7.4.1).
STOPPED = 1001

#: WebSocket close code for a terminal that reads too slowly: try again later (RFC 6455 registry).
DROPPED = 1013

_T = TypeVar("_T")
_PID_MAX = 2**31 - 1

Pid = Annotated[int, Path(ge=1, le=_PID_MAX, description="A process's number.")]


class Budget(Body):
    """What a process may use over its whole life."""

    tokens: Annotated[float, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    calls: Annotated[float, Field(ge=0)] | None = None


class CreateBody(Body):
    title: Annotated[str, Field(max_length=limits.TITLE_CHARS)] = ""
    system: str = ""
    priority: Literal["realtime", "interactive", "normal", "idle"] = "interactive"
    parent: Annotated[Integer, Field(ge=0, le=_PID_MAX, description="0 for none.")] = 0
    expert: Annotated[
        str, Field(max_length=limits.CALL_NAME_CHARS, description="Who speaks in it.")
    ] = ""
    budget: Budget | None = None


def _says(name: str) -> JsonDict:
    """Schema of a body in which one text is not empty."""
    return {"properties": {name: {"pattern": r"\S"}}, "required": [name]}


class RenameBody(Body):
    title: Annotated[str, Field(max_length=limits.TITLE_CHARS)]


class SignalBody(Body):
    signal: Literal["interrupt", "stop", "continue", "terminate"]


class HeardBody(Body):
    turn: Annotated[Integer, Field(ge=1, le=_PID_MAX, description="The last turn's number.")]
    text: Annotated[
        str,
        Field(
            max_length=limits.MESSAGE_CHARS,
            description="The beginning of the reply that was heard; empty where nothing was.",
        ),
    ]


class WaitBody(Body):
    seconds: Annotated[
        float | None, Field(ge=0, le=limits.WAIT_S, description="Without it, as long as it takes.")
    ] = None


class SendBody(Body):
    model_config = ConfigDict(json_schema_extra={"anyOf": [_says("content"), _says("given")]})

    content: Annotated[
        str,
        Field(
            max_length=limits.MESSAGE_CHARS,
            description="The person's own words; they may be empty where a text is given.",
        ),
    ]
    given: Annotated[
        str,
        Field(
            max_length=limits.MESSAGE_CHARS,
            description="A text that goes with it and need not be the person's own words.",
        ),
    ] = ""


class Sent(BaseModel):
    id: Annotated[str, Field(description="The ``message_id`` of the turn's ``turn.started``.")]


class ProcessList(BaseModel):
    processes: list[ProcessInfo]


class MessageList(BaseModel):
    messages: list[StoredMessage]
    notes: Annotated[
        list[dict[str, Any]],
        Field(description="Events ``recalled`` and ``window``, oldest first, where asked for."),
    ] = []


class Stopping(BaseModel):
    stopping: Literal[True] = True


async def while_connected(request: Request, work: Coroutine[Any, Any, _T]) -> _T | None:
    """The result of ``work``, or None (and ``work`` cancelled) when the client goes first."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        watching.cancel()


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["kernel"], route_class=JsonRoute)
    with_body = {**responses(400, 404, 409, 413, 429, 507)}
    stopping: set[asyncio.Task[None]] = set()  # keeps the task alive past its request

    @routes.get("/status", responses=responses())
    async def status() -> dict[str, Any]:
        """Version, operating-system pid, model, hints and uptime."""
        return kernel.status()

    @routes.get("/stats", responses=responses())
    async def stats() -> dict[str, Any]:
        """Counters and gauges of engine and kernel."""
        return kernel.stats()

    @routes.post("/shutdown", status_code=202, responses=responses())
    async def shutdown() -> Stopping:
        """Stop the kernel; running replies are cut and journalled first."""
        # Not a background task of the request: stopping waits for the requests that run.
        task = asyncio.create_task(kernel.shutdown())
        stopping.add(task)
        task.add_done_callback(stopping.discard)
        return Stopping()

    @routes.get("/processes", responses=responses(400))
    async def processes(
        ended: Annotated[bool, Query(description="Also those that ended.")] = False,
    ) -> ProcessList:
        """All processes, newest first."""
        return ProcessList(processes=kernel.processes(ended=ended))

    @routes.post("/processes", status_code=201, responses=with_body)
    async def create(body: CreateBody) -> ProcessInfo:
        """A new process: a conversation with a window of its own."""
        budget = body.budget.model_dump(exclude_none=True) if body.budget else None
        return await kernel.create(
            title=body.title,
            system=body.system,
            priority=body.priority,
            parent=body.parent,
            budget=budget,
            expert=body.expert,
        )

    @routes.get("/processes/{pid}", responses=responses(400, 404))
    async def process(pid: Pid) -> ProcessInfo:
        """One process as it is now."""
        return kernel.process(pid)

    @routes.patch("/processes/{pid}", responses=with_body)
    async def rename(pid: Pid, body: RenameBody) -> ProcessInfo:
        """Give it another title."""
        return await kernel.rename(pid, body.title)

    @routes.delete("/processes/{pid}", responses=responses(400, 404, 409))
    async def kill(pid: Pid) -> ProcessInfo:
        """End it at once."""
        return await kernel.kill(pid)

    @routes.post(
        "/processes/{pid}/fork", status_code=201, responses=responses(400, 404, 409, 429, 507)
    )
    async def fork(pid: Pid) -> ProcessInfo:
        """A new process with the same history and window; nothing is prefilled again."""
        return await kernel.fork(pid)

    @routes.post("/processes/{pid}/signal", responses=with_body)
    async def signal(pid: Pid, body: SignalBody) -> ProcessInfo:
        """``interrupt`` (end this turn), ``stop``, ``continue`` or ``terminate``."""
        return await kernel.signal(pid, body.signal)

    @routes.post("/processes/{pid}/heard", responses=with_body)
    async def heard(pid: Pid, body: HeardBody) -> ProcessInfo:
        """Cut the last reply to the beginning of it that was heard; end one being written."""
        return await kernel.heard(pid, body.turn, body.text)

    @routes.post("/processes/{pid}/wait", responses=with_body)
    async def wait(pid: Pid, body: WaitBody, request: Request) -> ProcessInfo:
        """Wait until it has nothing to do (``ready``) or has ended, or the time is up."""
        info = await while_connected(request, kernel.wait(pid, body.seconds))
        return info or kernel.process(pid)

    @routes.get("/processes/{pid}/messages", responses=responses(400, 404))
    async def messages(
        pid: Pid,
        after: Annotated[int, Query(ge=0, le=2**53, description="A ``seq``.")] = 0,
        notes: Annotated[
            bool, Query(description="Also what was brought back and what left the window.")
        ] = False,
    ) -> MessageList:
        """The conversation from the journal, oldest first, after place ``after``."""
        told = await (kernel.history if notes else kernel.messages)(pid, after=after)
        return MessageList(
            messages=[_encodable(entry) for entry in told if isinstance(entry, StoredMessage)],
            notes=[encodable(to_json(entry)) for entry in told if isinstance(entry, Event)],
        )

    @routes.post("/processes/{pid}/messages", status_code=201, responses=with_body)
    async def send(pid: Pid, body: SendBody) -> Sent:
        """Send a message; it is in the journal when this answers."""
        if not (body.content.strip() or body.given.strip()):
            raise ApiError("The message is empty.", param="content", code="invalid_value")
        return Sent(id=await kernel.send(pid, body.content, given=body.given))

    @routes.websocket("/events")
    async def events(socket: WebSocket) -> None:
        """Events of one process or (``pid=0``) of all, as JSON text frames after a ``hello``."""
        text = socket.query_params.get("pid", "0")
        if not (text.isascii() and text.isdigit() and int(text[:12]) <= _PID_MAX):
            sentence = "Invalid value for 'pid': it must be a process's number, or 0 for all."
            refusal = error_response(sentence, 400, param="pid", code="invalid_value")
            await socket.send_denial_response(refusal)
            return
        try:
            if int(text):
                kernel.process(int(text))
        except LlmosError as error:
            status, body = error_of(error)
            await socket.send_denial_response(JSONResponse(body, status))
            return
        answers = socket.query_params.get("answers", "") == "true"
        await _send_events(socket, kernel, int(text), answers=answers)

    return routes


def _encodable(stored: StoredMessage) -> StoredMessage:
    """A message that can be sent: an old journal may hold half surrogate pairs."""
    message = message_from_json(encodable(dataclasses.asdict(stored.message)))
    return dataclasses.replace(stored, message=message)


async def _send_events(socket: WebSocket, kernel: ServedKernel, pid: int, *, answers: bool) -> None:
    """Send until the terminal goes, is too slow and is dropped, or the kernel stops.

    It listens until it was told why: the kernel waits for that before it closes connections.
    """
    await socket.accept()
    with kernel.subscribe(pid, answers=answers) as events:
        await _send_until_gone(socket, events)


async def _send_until_gone(socket: WebSocket, events: AsyncIterator[Event]) -> None:
    async def send() -> None:
        await socket.send_text('{"type":"hello"}')
        async for event in events:
            line = json.dumps(encodable(to_json(event)), ensure_ascii=False)
            async with asyncio.timeout(limits.EVENT_SEND_S):
                await socket.send_text(line)

    async def gone() -> None:
        try:
            while True:
                await socket.receive_text()  # a terminal has nothing to say; read for the close
        except (WebSocketDisconnect, KeyError):
            pass

    sending, watching = asyncio.ensure_future(send()), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            return
        code, reason = STOPPED, "The kernel was stopped."
        try:
            sending.result()
        except TimeoutError:
            code, reason = DROPPED, "The terminal reads too slowly."
        except LlmosError as error:
            code, reason = DROPPED, str(error)
        # A close frame's reason holds 123 bytes; one who reads nothing does not get it.
        async with asyncio.timeout(limits.GOODBYE_S):
            await socket.close(code, reason.encode()[:120].decode("utf-8", "ignore"))
    except (WebSocketDisconnect, RuntimeError, TimeoutError):
        pass  # it went while we were closing
    finally:
        sending.cancel()
        watching.cancel()
        await asyncio.wait({sending, watching})
