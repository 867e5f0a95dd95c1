"""What a call of Python costs: in a jail, warm and cold, and in the subset.

Each goes the way a call goes, through the loader and the lent interpreter. Finding the strongest
jail happens once a kernel and is not part of any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import AsyncIterator
from statistics import median
from typing import Any

from llmos import limits, paths
from llmos.bench.harness import Bench, interleaved, summary
from llmos.door.tools import Call, load
from llmos.errors import CallFailed
from llmos.sandbox import tiers
from llmos.sandbox.jail import Task, run
from llmos.sandbox.sessions import Sessions
from llmos.sdk import Context, Result

__all__ = ["Python", "measure", "python"]

_NOTHING = (sys.executable, "-I", "-c", "pass")


class Python:
    """The calls of the tool ``python``, each conversation by a number."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        calls: dict[str, Call] = {
            call.name: call for call in load(paths.bundled("tools") / "python").calls
        }
        self._run, self._evaluate = calls["python.run"], calls["python.evaluate"]

    async def run(self, pid: int, code: str) -> Result:
        """Make the call ``python.run``."""
        return await self._run.run({"code": code}, self._context(pid))

    async def evaluate(self, pid: int, code: str) -> Result:
        """Make the call ``python.evaluate``."""
        return await self._evaluate.run({"code": code}, self._context(pid))

    def _context(self, pid: int) -> Context:
        return Context(lent={"interpreter": self.sessions.lend(pid)})


@contextlib.asynccontextmanager
async def python(bench: Bench) -> AsyncIterator[Python]:
    """The tool with sessions of the bench's own.

    Raises:
        SandboxMissing: No jail of this machine holds.
    """
    await tiers.best()
    sessions = Sessions(bench.home / "python")
    await sessions.open()
    try:
        yield Python(sessions)
    finally:
        await sessions.aclose()


async def measure(bench: Bench) -> None:
    """Measure what is wanted of the group.

    Raises:
        SandboxMissing: No jail of this machine holds.
        CallFailed: A call gave another result than it has.
    """
    rounds = 4 * bench.pairs
    pids = itertools.count(1)
    async with python(bench) as tool:

        async def cold(_: int) -> float:
            pid = next(pids)
            took = await _timed(tool.run(pid, "6 * 7"))
            await tool.sessions.close(pid)
            return took

        async def warm(_: int) -> float:
            return await _timed(tool.run(0, "6 * 7"))

        async def subset(_: int) -> float:
            return await _timed(tool.evaluate(0, "6 * 7"))

        for key, side in (
            ("python_cold_ms", cold),
            ("python_warm_ms", warm),
            ("subset_warm_ms", subset),
        ):
            if bench.wants(key):
                values = [value for (value,) in await interleaved(rounds, side)]
                bench.found(key, median(values), rounds=rounds)
                bench.samples[key] = summary(values)
    if bench.wants("jail_overhead_ms"):
        jail = await tiers.best()
        values = [jailed - bare for jailed, bare in await interleaved(rounds, _jailed, _bare)]
        bench.found("jail_overhead_ms", median(values), rounds=rounds, jail=jail.name)
        bench.samples["jail_overhead_ms"] = summary(values)


async def _timed(call: Any) -> float:
    """Milliseconds until the call's right result."""
    began = time.perf_counter()
    result = await call
    took = 1000 * (time.perf_counter() - began)
    if result.text != "42":
        raise CallFailed(f"6 * 7 gave {result.text!r}.")
    return took


async def _jailed(_: int) -> float:
    jail = await tiers.best()
    began = time.perf_counter()
    finished = await run(jail, Task(_NOTHING), seconds=limits.PYTHON_SECONDS, output_bytes=1000)
    if finished.status or finished.ended:
        raise CallFailed(f"Python ended in its jail: {finished.stderr.decode(errors='replace')}")
    return 1000 * (time.perf_counter() - began)


async def _bare(_: int) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *_NOTHING,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await process.communicate()
    return 1000 * (time.perf_counter() - began)
