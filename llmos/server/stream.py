"""Server-sent events and the end of a client: cheap bytes out, cancellation in.

Knows generations and bytes, not what the bytes say. Whoever waits for a reply, streaming or not,
is watched: when the connection closes, every generation behind it is cancelled at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmos.engine.backend import Chunk, Generation
from llmos.errors import LlmosError
from llmos.server.errors import ApiError, error_of

__all__ = ["DESCRIPTION", "DONE", "EventStream", "cancel_when_gone", "merged"]

_log = logging.getLogger(__name__)

#: A stream in OpenAPI: what each of its events holds.
DESCRIPTION = {
    "text/event-stream": {
        "itemSchema": {
            "type": "object",
            "required": ["data"],
            "properties": {
                "data": {
                    "type": "string",
                    "description": "A JSON object in OpenAI's form; in the last event, [DONE].",
                }
            },
        }
    }
}

#: The event that ends a stream.
DONE = b"data: [DONE]\n\n"


@asynccontextmanager
async def cancel_when_gone(
    receive: Receive, generations: Sequence[Generation]
) -> AsyncIterator[asyncio.Event]:
    """Cancel ``generations`` when the client goes, and in any case when the block is left.

    Yields:
        An event that is set once the client is gone.
    """
    gone = asyncio.Event()

    def cancel() -> None:
        for generation in generations:
            generation.cancel()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()
        cancel()

    watching = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        cancel()
        watching.cancel()
        await asyncio.wait({watching})


async def merged(generations: Sequence[Generation]) -> AsyncIterator[tuple[int, Chunk]]:
    """The chunks of all generations as they come, each with its generation's index."""
    if len(generations) == 1:
        async for chunk in generations[0]:
            yield 0, chunk
        return
    queue: asyncio.Queue[tuple[int, Chunk | None]] = asyncio.Queue()

    async def pump(index: int, generation: Generation) -> None:
        try:
            async for chunk in generation:
                queue.put_nowait((index, chunk))
        finally:
            queue.put_nowait((index, None))

    pumps = [asyncio.create_task(pump(i, g)) for i, g in enumerate(generations)]
    try:
        running = len(pumps)
        while running:
            index, item = await queue.get()
            if item is not None:
                yield index, item
                continue
            running -= 1
            await pumps[index]  # raises what the generation raised
    finally:
        for task in pumps:
            task.cancel()


class EventStream(Response):
    """An answer of server-sent events.

    Args:
        events: The events, each a whole ``data: …`` block.
        generations: What they are made from; cancelled when the client goes.
    """

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes, None], generations: Sequence[Generation]
    ) -> None:
        self._events = events
        self._generations = generations
        self.status_code = 200
        self.background = None
        self.body = b""
        self.raw_headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with (
            aclosing(self._events) as events,
            cancel_when_gone(receive, self._generations) as gone,
        ):
            await send(start)
            try:
                async for event in events:
                    if gone.is_set():
                        return
                    await send({"type": "http.response.body", "body": event, "more_body": True})
            except Exception as error:  # the status is sent: the error becomes the last event
                if not isinstance(error, ApiError | LlmosError):
                    _log.exception("a stream broke")
                last = b"data: " + json.dumps(error_of(error)[1]).encode() + b"\n\n"
                await send({"type": "http.response.body", "body": last, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
