"""``/v1/realtime``: a conversation by voice or in writing, over a WebSocket, in OpenAI's form.

``?process=N`` talks with a process that is there, ``?llmos=1`` asks for llmos's own events. Knows
the connection: who is let in, what is read and sent, and how it ends.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, WebSocket
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from llmos import limits
from llmos.errors import LlmosError
from llmos.server.contract import ServedKernel
from llmos.server.errors import error_of, error_response
from llmos.server.kernel_routes import DROPPED, STOPPED
from llmos.server.realtime_hearing import Devices
from llmos.server.realtime_outbox import Outbox
from llmos.server.realtime_session import RealtimeSession
from llmos.server.realtime_settings import Refusal, is_any_model

__all__ = ["router"]

_PROTOCOL = "realtime"
_BINARY = "Events are text; sound goes as base64 within one."
_PID_MAX = 2**31 - 1


def router(kernel: ServedKernel, devices: Devices | None) -> APIRouter:
    """The route over ``kernel``.

    Args:
        devices: What hears and speaks; None where nothing does.
    """
    routes = APIRouter(prefix="/v1", tags=["openai"])
    open_now: set[RealtimeSession] = set()

    @routes.websocket("/realtime")
    async def realtime(socket: WebSocket) -> None:
        """One session."""
        refused = _refused(socket, kernel, len(open_now))
        if refused is not None:
            await socket.send_denial_response(refused)
            return
        offered = socket.scope.get("subprotocols", [])
        extras = socket.query_params.get("llmos") == "1"
        outbox = Outbox(extras=extras)
        session = RealtimeSession(
            kernel,
            devices,
            outbox,
            pid=int(socket.query_params.get("process", "0")),
            answers=extras,
        )
        open_now.add(session)
        try:
            await socket.accept(subprotocol=_PROTOCOL if _PROTOCOL in offered else None)
            await _talk(socket, session, outbox)
        finally:
            open_now.discard(session)
            await session.close()

    return routes


def _refused(socket: WebSocket, kernel: ServedKernel, open_now: int) -> JSONResponse | None:
    """Why a client is not let in; None where it is."""
    if open_now >= limits.REALTIME_SESSIONS:
        sentence = f"{open_now} sessions are open already. Close one, or try again."
        return error_response(sentence, 429, code="too_many_sessions")
    for name in ("call_id", "intent"):
        if name in socket.query_params:
            sentence = f"Sessions with '{name}' are not offered here."
            return error_response(sentence, 400, param=name, code="invalid_value")
    model, serves = socket.query_params.get("model", ""), kernel.backend.info.name
    if model not in ("", serves) and not is_any_model(model):
        sentence = f"The model '{model[:100]}' is not loaded; this kernel serves '{serves}'."
        return error_response(sentence, 404, param="model", code="model_not_found")
    text = socket.query_params.get("process")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:12]) <= _PID_MAX):
        sentence = "Invalid value for 'process': it must be a process's number."
        return error_response(sentence, 400, param="process", code="invalid_value")
    try:
        info = kernel.process(int(text))
    except LlmosError as error:
        status, body = error_of(error)
        return JSONResponse(body, status)
    if info.state == "ended":
        return error_response(f"Process {text} has ended.", 409, code="process_ended")
    return None


async def _talk(socket: WebSocket, session: RealtimeSession, outbox: Outbox) -> None:
    """Read and send until the client goes, reads too slowly, or the kernel stops."""

    async def read() -> None:
        while (message := await socket.receive())["type"] == "websocket.receive":
            if (text := message.get("text")) is not None:
                await session.receive(text)
            else:
                outbox.refuse(Refusal(_BINARY, code="invalid_frame"))

    async def send() -> None:
        async for line in outbox.lines():
            async with asyncio.timeout(limits.EVENT_SEND_S):
                await socket.send_text(line)

    async def begin() -> None:
        await session.open()
        await read()

    reading, sending = asyncio.ensure_future(begin()), asyncio.ensure_future(send())
    ended = asyncio.ensure_future(session.ended.wait())
    watched = {reading, sending, ended}
    try:
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
            return
        code, reason = STOPPED, "The kernel was stopped."
        if sending.done():
            code, reason = DROPPED, "The client reads too slowly."
        elif session.why is not None:
            code, reason = DROPPED, str(session.why)
        async with asyncio.timeout(limits.GOODBYE_S):
            await socket.close(code, reason.encode()[:120].decode("utf-8", "ignore"))
    except (WebSocketDisconnect, RuntimeError, TimeoutError):
        pass  # it went while we were closing
    finally:
        for task in watched:
            task.cancel()
        await asyncio.wait(watched)
