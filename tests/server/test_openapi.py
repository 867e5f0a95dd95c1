"""The published description is true: requests made from it meet no surprise."""

from __future__ import annotations

import asyncio
import threading

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error

from llmos.server import create_app

EXAMPLES = 25


@pytest.fixture
def address(kernel, tmp_path, serving):
    """The server on TCP, on a loop of its own: the fuzzer's client blocks."""
    ready, stop = threading.Event(), asyncio.Event()
    found = {}

    async def run():
        found["loop"] = asyncio.get_running_loop()
        async with serving(kernel, tmp_path / "k.sock", None) as served:
            found["url"] = f"http://127.0.0.1:{served.port}"
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(30)
    yield found["url"]
    found["loop"].call_soon_threadsafe(stop.set)
    thread.join(30)
