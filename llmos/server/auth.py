"""What stands before the routes: who may come in over TCP, and how large a body may be.

The private Unix socket needs neither token nor origin: its file mode admits one user. On TCP every
local program and every page in a browser can knock, so ``TcpGuard`` wants a bearer token, a
loopback name in ``Host`` (DNS rebinding reaches us under a foreign name) and no foreign
``Origin``. Both are plain ASGI, since FastAPI's own middleware class buffers streams.
"""

from __future__ import annotations

import asyncio
import hmac

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmos import limits
from llmos.server.errors import error_response

__all__ = ["BodyLimit", "TcpGuard"]

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def _header(scope: Scope, name: bytes) -> str | None:
    """The header's value; None where it is missing, empty where it comes twice."""
    values = [value for key, value in scope["headers"] if key == name]
    if not values:
        return None
    return values[0].decode("latin-1").strip() if len(values) == 1 else ""


def _is_loopback(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):  # no port; the colon belongs to an IPv6 address
        name = host
    elif not port.isdigit():
        return False
    return name.lower() in _LOOPBACK


class TcpGuard:
    """Admit a request over TCP only with the token, and only from programs, not foreign pages.

    Args:
        app: What is guarded.
        token: The bearer token; must not be empty.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        if not token:
            raise ValueError("a TCP listener needs a token")
        self._app = app
        self._expected = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(refusal, scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        host = _header(scope, b"host") or ""
        if not _is_loopback(host):
            sentence = "The Host header must name this machine: 127.0.0.1 or localhost."
            return error_response(sentence, 403, code="host_not_allowed")
        origin = _header(scope, b"origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            sentence = "Pages of other origins may not use this server."
            return error_response(sentence, 403, code="origin_not_allowed")
        scheme, _, given = (_header(scope, b"authorization") or "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._expected)
        if scheme.lower() == "bearer" and right:
            return None
        return error_response(
            "A bearer token is needed over TCP, and the one sent is missing or wrong.",
            401,
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def _refuse(response: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    await receive()  # websocket.connect
    await send(
        {
            "type": "websocket.http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )
    await send({"type": "websocket.http.response.body", "body": bytes(response.body)})


class BodyLimit:
    """Refuse a body over ``limits.BODY_BYTES`` with 413, without holding more of it.

    One that stops coming for ``limits.BODY_PAUSE_S`` gets a 408: its sender is gone or stuck.

    A declared length is refused before anything is read; a chunked body when it has passed the
    limit. After the answer a bounded rest is read and dropped, so that a client that writes
    before it reads gets the answer rather than a reset.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = _header(scope, b"content-length") or ""
        if declared.isdigit() and int(declared) > limits.BODY_BYTES:
            await _too_large(receive, send)
            return
        read, whole, over = 0, False, False

        async def counted() -> Message:
            nonlocal read, whole, over
            try:
                async with asyncio.timeout(None if whole else limits.BODY_PAUSE_S):
                    message = await receive()
            except TimeoutError:
                raise _late() from None
            if message["type"] == "http.request":
                whole = not message.get("more_body", False)
                read += len(message.get("body", b""))
                if read > limits.BODY_BYTES:
                    over = True
                    raise HTTPException(413)
            return message

        async def answer(message: Message) -> None:
            if not over:  # else the answer is ours
                await send(message)

        await self._app(scope, counted, answer)
        if over:
            await _too_large(receive, send)


def _late() -> HTTPException:
    sentence = f"The body stopped coming for {limits.BODY_PAUSE_S:.0f} seconds."
    return HTTPException(408, sentence, {"Connection": "close"})


async def _too_large(receive: Receive, send: Send) -> None:
    sentence = f"The body is over {limits.BODY_BYTES >> 20} MB."
    headers = {"Connection": "close"}
    response = error_response(sentence, 413, code="body_too_large", headers=headers)
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )
    await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    dropped, more = 0, True
    while more and dropped < limits.BODY_DROP_BYTES:
        message = await receive()
        dropped += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
