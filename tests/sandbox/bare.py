"""A jail without walls, for tests of what runs in one: it only starts the program and ends it."""

from __future__ import annotations

import contextlib
import os
import signal

from llmos.sandbox.child import Program, spawn
from llmos.sandbox.jail import Task


class BareJailed:
    ended = ""

    def __init__(self, program: Program) -> None:
        self.stdin, self.stdout, self.stderr = program.stdin, program.stdout, program.stderr
        self.pid = program.pid
        self._program = program

    async def wait(self) -> int:
        await self._program.exited.wait()
        status = self._program.status
        assert status is not None
        return status

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()
        self._program.forget()
        self._program.close()


class Bare:
    """Keeps what it was asked to run, and what it started."""

    name = "bare"

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.started: list[BareJailed] = []

    async def start(self, task: Task) -> BareJailed:
        self.tasks.append(task)
        assert task.workspace is not None
        program = await spawn(
            task.argv, env=task.environment("/tmp"), fds=task.fds, cwd=str(task.workspace)
        )
        self.started.append(BareJailed(program))
        return self.started[-1]

    async def __call__(self) -> Bare:
        """As ``tiers.best``."""
        return self
