"""A kernel that ends says to the terminals that are open whether somebody stopped it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmos import boot, config, paths, serve
from llmos.client import Client
from llmos.errors import EngineStopped, KernelStopped, KernelUnreachable
from llmos.kernel.kernel import Kernel
from tests.served import prepare


@pytest.fixture
def booted(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Kernel]:
    """The kernels that are served, as they come."""
    prepare(home, monkeypatch)
    kernels: list[Kernel] = []
    real = boot.boot

    @asynccontextmanager
    async def watched(*values: Any, **named: Any) -> AsyncIterator[Kernel]:
        async with real(*values, **named) as kernel:
            kernels.append(kernel)
            yield kernel

    monkeypatch.setattr(boot, "boot", watched)
    monkeypatch.setattr(serve, "_on_signals", lambda loop, act: None)  # they are the test's own
    monkeypatch.setattr(serve, "_end_at_last", lambda: None)  # so is the process
    return kernels


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[asyncio.Task[None], Any]]:
    """A kernel that serves, and the events of a terminal."""
    task = asyncio.create_task(serve._serve(config.load(), False, -1))
    async with Client(paths.socket_path()) as client, asyncio.timeout(30):
        while not await client.alive():
            assert not task.done(), task.result()
            await asyncio.sleep(0)
        async with client.subscribe() as events:
            yield task, events


async def test_a_kernel_that_is_stopped_says_that_somebody_did(booted: list[Kernel]):
    async with listening() as (task, events):
        booted[0].stopping.set()
        with pytest.raises(KernelStopped, match="was stopped"):
            await anext(events)
    await task


async def test_a_kernel_whose_engine_dies_was_not_stopped(
    booted: list[Kernel], monkeypatch: pytest.MonkeyPatch
):
    async with listening() as (task, events):
        [kernel] = booted
        monkeypatch.setattr(type(kernel.backend), "alive", False)
        kernel.stopping.set()
        with pytest.raises(KernelUnreachable, match="broke down") as told:
            await anext(events)
    assert not isinstance(told.value, KernelStopped)
    with pytest.raises(EngineStopped):
        await task
