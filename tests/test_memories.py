"""``llmos memory`` against a kernel of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.client import Client
from tests.served import prepare, run, stopped_afterwards


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield


async def _talk(*texts: str) -> int:
    """A process in which these were said and answered."""
    async with await Client.connect() as client:
        pid = (await client.create()).pid
        for text in texts:
            await client.send(pid, text)
            await client.wait(pid)
        return pid


async def _ended(pid: int) -> None:
    async with await Client.connect() as client:
        await client.kill(pid)


def test_a_page_is_pinned_shown_as_such_and_let_go(served):
    pid = asyncio.run(_talk("The boat is moored in Setubal."))
    assert run("memory", "pin", "p1").stdout == "Pinned.\n"
    shown = run("memory", "show", "p1").stdout
    assert " · in view · pinned" in shown and "Setubal" in shown
    assert run("memory", "pin", "P1", "--off", "--pid", str(pid)).stdout == "Unpinned.\n"
    assert " · in view\n" in run("memory", "show", "p1").stdout
    refused = run("memory", "pin", "p99")
    assert refused.returncode == 1 and "There is no page 'p99'" in refused.stderr
    asyncio.run(_ended(pid))
    shown = run("memory", "show", "p1").stdout
    assert "Setubal" in shown and "in view" not in shown
    refused = run("memory", "pin", "p1")
    assert refused.returncode == 1 and "has ended" in refused.stderr
