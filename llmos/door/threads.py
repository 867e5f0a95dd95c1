"""Where a tool's code runs: beside the kernel's loop, never on it.

A sync function gets a daemon thread of its own, so that one that hangs costs no other call its
place and never holds up the exit. Async functions share one loop in one thread, so that one that
blocks stalls no screen. A thread cannot be stopped from outside; what it returns late is dropped.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

__all__ = ["in_own_thread", "on_shared_loop"]

_log = logging.getLogger(__name__)


def in_own_thread(work: Callable[[], Any], name: str) -> Future[Any]:
    """Run ``work`` in a thread of its own, with the caller's context variables."""
    future: Future[Any] = Future()
    carried = contextvars.copy_context()

    def body() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(carried.run(work))
        except BaseException as error:
            # What would end a loop or the process itself must not reach whoever waits.
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                future.set_exception(error)
            else:
                wrapped = RuntimeError(f"it raised {type(error).__name__}")
                wrapped.__cause__ = error
                future.set_exception(wrapped)

    threading.Thread(target=body, name=f"call {name}", daemon=True).start()
    return future


_loop_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def on_shared_loop(coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
    """Run on the loop that async tools share, started when first needed."""
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_forever, args=(_loop,), name="tool loop", daemon=True).start()
    return asyncio.run_coroutine_threadsafe(_contained(coroutine), _loop)


async def _contained(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"it raised {type(error).__name__}") from error


def _forever(loop: asyncio.AbstractEventLoop) -> None:
    """Keep the loop going: a task that exits ends itself, not everybody's loop."""
    while True:
        try:
            loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            _log.error("a task of a tool raised %s", type(error).__name__)
