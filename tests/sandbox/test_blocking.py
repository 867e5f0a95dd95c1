"""Code that does not await waits for code that does, wherever it stands."""

from __future__ import annotations

import asyncio
import threading

import pytest

from llmos.sandbox.blocking import completed


async def _answer() -> tuple[int, threading.Thread]:
    await asyncio.sleep(0)
    return 42, threading.current_thread()


async def _fail() -> None:
    raise LookupError("gone")


def test_without_a_loop_it_runs_where_it_is_called():
    assert completed(_answer) == (42, threading.current_thread())


async def test_within_a_loop_it_runs_in_a_thread_that_ends():
    value, thread = completed(_answer)
    assert value == 42
    assert thread is not threading.current_thread()
    assert not thread.is_alive()


def test_what_it_raises_is_the_callers():
    with pytest.raises(LookupError, match="gone"):
        completed(_fail)


async def test_what_it_raises_in_a_thread_is_the_callers_too():
    with pytest.raises(LookupError, match="gone"):
        completed(_fail)
