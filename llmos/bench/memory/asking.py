"""A turn, timed: when its first word came, what was said, what it cost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from llmos.client import Client
from llmos.errors import KernelError
from llmos.events import CallFinished, Event, ReplyDelta, TurnFinished, Usage, WindowChanged

__all__ = ["Reply", "ask", "evictions", "heard"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a turn.

    Args:
        text: All that the person could read.
        first_s: From sending to the first of it; to the end where nothing came.
        calls: How many calls were made.
        reason / error: As in ``TurnFinished``.
        usage: Counts of the turn.
        context_tokens: Fill of the window at its end.
    """

    text: str
    first_s: float
    calls: int
    reason: str
    error: str
    usage: Usage
    context_tokens: int


async def ask(client: Client, pid: int, text: str) -> Reply:
    """Say ``text`` in a process, and wait for the end of the turn."""
    said: list[str] = []
    first, calls = 0.0, 0
    async with client.subscribe(pid) as events:
        began = time.perf_counter()
        await client.send(pid, text)
        async for event in events:
            if isinstance(event, ReplyDelta):
                if event.text:
                    first = first or time.perf_counter() - began
                    said.append(event.text)
            elif isinstance(event, CallFinished):
                calls += 1
            elif isinstance(event, TurnFinished):
                return Reply(
                    "".join(said),
                    first or time.perf_counter() - began,
                    calls,
                    event.reason,
                    event.error,
                    event.usage,
                    event.context_tokens,
                )
    raise AssertionError("the iterator of events never ends by itself")


@contextlib.asynccontextmanager
async def evictions(client: Client, pid: int) -> AsyncIterator[list[tuple[str, ...]]]:
    """Collects what leaves the window of a process meanwhile, one entry for each batch."""
    batches: list[tuple[str, ...]] = []

    async def collect(events: AsyncIterator[Event]) -> None:
        async for event in events:
            if isinstance(event, WindowChanged):
                batches.append(event.evicted)

    async with client.subscribe(pid) as events:
        collecting = asyncio.create_task(collect(events))
        try:
            yield batches
        finally:
            collecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await collecting


async def heard(client: Client, pid: int, text: str) -> Reply:
    """As ``ask``, of a turn that must come to an answer.

    Raises:
        KernelError: It came to none.
    """
    reply = await ask(client, pid, text)
    if not reply.text or reply.reason in ("error", "too_long"):
        raise KernelError(f"A turn came to nothing ({reply.reason}). {reply.error}".strip())
    return reply
