"""A jail without walls, for tests of what runs in one: it only starts the program and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from llmos.sandbox.jail import Task


class BareJailed:
    ended = ""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        self.pid = process.pid

    async def wait(self) -> int:
        status = await self._process.wait()
        return status if status >= 0 else 128 - status

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Bare:
    """Counts what it started."""

    name = "bare"

    def __init__(self) -> None:
        self.started: list[BareJailed] = []

    async def start(self, task: Task) -> BareJailed:
        process = await asyncio.create_subprocess_exec(
            *task.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=task.workspace,
            env=task.environment("/tmp"),
            start_new_session=True,
        )
        self.started.append(BareJailed(process))
        return self.started[-1]

    async def __call__(self) -> Bare:
        """As ``tiers.best``."""
        return self
