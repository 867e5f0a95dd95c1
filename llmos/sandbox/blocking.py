"""Code that does not await, waiting for code that does.

A jail is driven by an event loop; a command has none yet, and a thread of the kernel may be called
from within one. The caller is held up until the work is done, wherever it stands: so this is for
what must be known before anything goes on, and takes a fraction of a second.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["completed"]

T = TypeVar("T")


def completed(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` to its end in an event loop of its own.

    Args:
        work: Called once, in the thread that runs it. It must bound its own time.

    Returns:
        What it returns.

    Raises:
        BaseException: What it raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())  # here an interrupt at the keyboard cancels it
    result: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(work()))
        except BaseException as error:  # whatever it is, it is the caller's
            failed.append(error)

    # A jail ends with the thread that started it: so this one waits for its end.
    thread = threading.Thread(target=run, name="blocking")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return result[0]
