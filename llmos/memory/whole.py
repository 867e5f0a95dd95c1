"""Work that is done whole or not at all, whoever stops waiting for it.

A client that goes away cancels what it asked for; between two steps that belong together, such as
the journal and the process table, that must not happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["whole"]

T = TypeVar("T")


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end, even if whoever waits for it is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # seen: there is nobody left to tell
        raise
