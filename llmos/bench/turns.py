"""Turns through ``/kernel/v1``, as a terminal has them."""

from __future__ import annotations

from dataclasses import dataclass

from llmos.client import Client
from llmos.events import CallFinished, ReplyDelta, ToolCall, TurnFinished

__all__ = ["Answer", "turn", "warm_up"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a turn.

    Args:
        calls: The calls that were made, failed ones too.
        text: All that the person could read.
        reason: Why it ended, as in ``TurnFinished``.
        error: The sentence, where it ended in one.
    """

    calls: tuple[ToolCall, ...]
    text: str
    reason: str = "stop"
    error: str = ""


async def turn(client: Client, text: str, pid: int = 0) -> Answer:
    """Say ``text`` and wait for the end of the turn.

    Args:
        pid: The process; a new one, ended afterwards, where 0.
    """
    asked = pid or (await client.create()).pid
    calls: list[ToolCall] = []
    said: list[str] = []
    try:
        async with client.subscribe(asked) as events:
            await client.send(asked, text)
            async for event in events:
                if isinstance(event, CallFinished):
                    calls.append(event.call)
                elif isinstance(event, ReplyDelta):
                    said.append(event.text)
                elif isinstance(event, TurnFinished):
                    return Answer(tuple(calls), "".join(said), event.reason, event.error)
    finally:
        if not pid:
            await client.kill(asked)
    raise AssertionError("the iterator of events never ends by itself")


async def warm_up(client: Client) -> None:
    """One question, so that what a kernel prepares in the background is prepared."""
    await turn(client, "What is 2 + 2?")
