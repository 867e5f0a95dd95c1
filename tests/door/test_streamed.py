"""Tools that yield: in the kernel's process and in a worker alike."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from llmos.door import streamed
from llmos.sdk import Context, Result, ToolError

MOST = 100


async def gathered(kind: str, *pieces: Any) -> tuple[Result, list[str]]:
    """What comes of a sync or an async generator of these, and what is told meanwhile."""
    told: list[str] = []
    context = Context(told=lambda text, _done: told.append(text))
    if kind == "sync":
        return streamed.gather((piece for piece in pieces), context, MOST), told

    async def each() -> AsyncIterator[Any]:
        for piece in pieces:
            yield piece

    return await streamed.gather_async(each(), context, MOST), told  # type: ignore[arg-type]


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
async def test_what_is_yielded_is_the_text_and_is_told_while_it_comes(kind: str):
    assert await gathered(kind, "la", "", " li") == (Result("la li"), ["la", " li"])
    assert await gathered(kind) == (Result(""), [])


@both
async def test_a_result_that_is_yielded_last_is_the_result(kind: str):
    assert await gathered(kind, "la", Result("sung", 1)) == (Result("sung", 1), ["la"])
    assert await gathered(kind, "la", Result("", 1)) == (Result("la", 1), ["la"])


@both
@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        (("la", 5), "yields int; it may yield text, and a Result last"),
        ((Result("x"), "la"), "more after its Result"),
        ((Result("x"), Result("y")), "more after its Result"),
        (("x" * 60, "x" * 60), "too long: over 100 characters"),
    ],
)
async def test_anything_else_is_an_error(kind: str, pieces: tuple[Any, ...], sentence: str):
    with pytest.raises(ToolError, match=sentence):
        await gathered(kind, *pieces)


def test_a_generator_that_returns_its_result_is_told_to_yield_it():
    def sing() -> Any:
        yield "la"
        return Result("lost")

    with pytest.raises(ToolError, match="must yield its Result last, not return it"):
        streamed.gather(sing(), Context(), MOST)


def test_a_stream_that_nobody_waits_for_is_closed():
    context, closed = Context(), threading.Event()

    def sing() -> Iterator[str]:
        try:
            while True:
                yield ""
                context.cancel()
        finally:
            closed.set()

    with pytest.raises(ToolError, match="stopped"):
        streamed.gather(sing(), context, MOST)  # type: ignore[arg-type]
    assert closed.is_set()


async def test_an_async_stream_that_never_waits_can_be_cancelled_and_is_closed():
    begun, closed = asyncio.Event(), asyncio.Event()

    async def sing() -> AsyncIterator[str]:
        try:
            while True:
                begun.set()
                yield ""
        finally:
            closed.set()

    task = asyncio.create_task(streamed.gather_async(sing(), Context(), MOST))  # type: ignore[arg-type]
    await begun.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert closed.is_set()
