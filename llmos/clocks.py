"""Waiting by a clock that may stand still, such as that of a turn while a person is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

__all__ = ["within_limit"]

_STEP = 0.02  # seconds between two looks at a clock that stands still


async def within_limit(
    future: asyncio.Future[Any], seconds: float, clock: Callable[[], float] = time.monotonic
) -> bool:
    """Wait until a future is done; False where a clock, which may stand still, says it is late.

    Args:
        future: Left alone, done or not.
        seconds: Its limit; 0 is none.
        clock: Seconds.
    """
    until = clock() + seconds if seconds else None
    while not future.done():
        left = None if until is None else until - clock()
        if left is not None and left <= 0:
            return False
        await asyncio.wait({future}, timeout=None if left is None else max(left, _STEP))
    return True
