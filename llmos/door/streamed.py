"""A tool that is written as a generator: what it yields, piece by piece, becomes one result.

Each text it yields is a piece of the result's and is told as progress while it comes. A ``Result``
that it yields last is the result; where that has no text, its text is what was streamed. Runs
beside the kernel and in the jailed worker alike, and so knows only ``llmos.sdk``. It keeps no
time: whoever called ends it, and it ends the generator.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace
from typing import Any

from llmos import sdk

__all__ = ["gather", "gather_async"]


class _Gathered:
    """What a generator has yielded so far."""

    def __init__(self, context: sdk.Context, most: int) -> None:
        self._context, self._most = context, most
        self._pieces: list[str] = []
        self._chars = 0
        self._last: sdk.Result | None = None

    def take(self, piece: Any) -> None:
        """One more; raises ``ToolError`` where it is none, or too much."""
        if self._context.cancelled():
            raise sdk.ToolError("It was stopped.")
        if self._last is not None:
            raise sdk.ToolError("The tool yields more after its Result, which must be the last.")
        if isinstance(piece, sdk.Result):
            self._last = piece
            return
        if not isinstance(piece, str):
            kind = type(piece).__name__
            raise sdk.ToolError(f"The tool yields {kind}; it may yield text, and a Result last.")
        self._chars += len(piece)
        if self._chars > self._most:
            raise sdk.ToolError(f"The result is too long: over {self._most} characters.")
        if piece:  # an endless stream of nothing takes no memory
            self._pieces.append(piece)
            self._context.progress(piece)

    def result(self) -> sdk.Result:
        """All of it."""
        streamed = "".join(self._pieces)
        if self._last is None:
            return sdk.Result(streamed)
        return self._last if self._last.text else replace(self._last, text=streamed)


def gather(pieces: Generator[Any, Any, Any], context: sdk.Context, most: int) -> sdk.Result:
    """The result of a generator.

    Args:
        pieces: What the tool's function gave; closed in the end, whatever happens.
        context: The call's: takes the progress, and tells when nobody waits any more.
        most: Characters of the text.

    Raises:
        ToolError: It yielded something else, or too much.
    """
    gathered = _Gathered(context, most)
    with contextlib.closing(_returning_nothing(pieces)) as closing:
        for piece in closing:
            gathered.take(piece)
    return gathered.result()


async def gather_async(
    pieces: AsyncGenerator[Any, Any], context: sdk.Context, most: int
) -> sdk.Result:
    """The result of an async generator; as ``gather``."""
    gathered = _Gathered(context, most)
    async with contextlib.aclosing(pieces) as closing:
        async for piece in closing:
            gathered.take(piece)
            await asyncio.sleep(0)  # one that never waits must let others in, and be cancelled
    return gathered.result()


def _returning_nothing(pieces: Generator[Any, Any, Any]) -> Generator[Any, None, None]:
    if (yield from pieces) is not None:
        raise sdk.ToolError("A tool that yields must yield its Result last, not return it.")
