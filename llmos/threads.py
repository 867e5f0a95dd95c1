"""Blocking work on open files and databases, away from the event loop.

A thread can't be stopped. A cancelled caller therefore waits until its thread has come back: it
may be using a file that the caller is about to close. Keep each piece of work short.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import ParamSpec, TypeVar

__all__ = ["aside", "in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``function`` in a thread; return, also when cancelled, only once it has ended."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():  # whoever cancels twice waits too
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError:
                continue
        raise


async def aside(items: Iterator[T], count: int = 256) -> AsyncGenerator[T, None]:
    """The items of a blocking iterator, ``count`` at a time from a thread."""

    def some() -> tuple[list[T], Exception | None]:
        out: list[T] = []
        try:
            for item in itertools.islice(items, count):
                out.append(item)
        except Exception as error:  # it comes after what came before it
            return out, error
        return out, None

    while True:
        found, error = await in_thread(some)
        for item in found:
            yield item
        if error is not None:
            raise error
        if len(found) < count:
            return
