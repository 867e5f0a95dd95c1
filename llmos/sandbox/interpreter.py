"""A session of Python: what one piece of code defines, the next one finds.

CPython with its libraries in a jail, and a private folder. Started when first needed; a process
that was lost begins anew, and says so. Charts that code draws and files it leaves come back as
artifacts. Files and calls from outside come only through the kernel: ``import llmos`` in the code.

Where this machine has no jail that holds, nothing runs (``SandboxMissing`` says what to do);
``subset.py`` needs none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from llmos import limits
from llmos.sandbox import tiers
from llmos.sandbox.interpreter_process import BOUNDS, Process
from llmos.sandbox.interpreter_questions import Ask
from llmos.sandbox.jail import Bounds, Jail
from llmos.sandbox.workspace import Workspace
from llmos.sdk import ToolError
from llmos.services import Ran

__all__ = ["Session"]


class Session:
    """One session; ``close`` ends it and removes its folder.

    Args:
        folder: Its own, made and removed by it.
        jail: Gives the jail to run in.
        seconds: Of computing for one piece of code.
        bounds: What the session may use.
        lost: Why an earlier session of the same owner is gone, or empty.
    """

    def __init__(
        self,
        folder: Path,
        *,
        jail: Callable[[], Awaitable[Jail]] = tiers.best,
        seconds: float = limits.PYTHON_SECONDS,
        bounds: Bounds = BOUNDS,
        lost: str = "",
    ) -> None:
        self._workspace = Workspace(folder)
        self._jail = jail
        self._seconds = seconds
        self._bounds = bounds
        self._process: Process | None = None
        self._lost = lost  # why there is no process where there was one
        self._turn = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Whether code runs, or waits to."""
        return self._turn.locked()

    async def run(self, code: str, ask: Ask | None = None) -> Ran:
        """Run code; pieces that come together run one after the other.

        Args:
            code: Python.
            ask: Makes the calls that the code asks for.

        Raises:
            ToolError: The code is too long.
            CallFailed: Python does not start.
            SandboxMissing: This machine has no jail that holds.
        """
        if len(code) > limits.PYTHON_CODE_CHARS:
            raise ToolError("The code is too long.", "Run it in pieces: the session is kept.")
        async with self._turn:
            await asyncio.to_thread(self._workspace.make)
            process, note = await self._ready()
            before = await asyncio.to_thread(self._workspace.marks)
            outcome = await process.run(code, seconds=self._seconds, ask=ask)
            artifacts, left = await asyncio.to_thread(self._workspace.changed, before)
            output = "\n".join(part for part in (note, outcome.printed.rstrip(), *left) if part)
            why = self._why(outcome.ended)
            if not outcome.alive:
                self._lost = process.why_gone()
                self._process = None
                gone = "What was defined is gone; the files are still there."
                why = f"{why} {self._lost} {gone}".strip()
            error = "\n".join(part for part in (outcome.error, why) if part)
            return Ran(output, error, artifacts)

    async def put(self, name: str, data: bytes) -> None:
        """Put a file into the session's folder; it is no result of the code that runs next.

        Raises:
            ToolError: The name is none, or the file is too large.
        """
        async with self._turn:
            await asyncio.to_thread(self._workspace.make)
            await asyncio.to_thread(self._workspace.put, name, data)

    async def close(self) -> None:
        """End the process and remove the folder."""
        process, self._process = self._process, None
        if process is not None:
            await process.close()
        await asyncio.to_thread(self._workspace.remove)

    async def _ready(self) -> tuple[Process, str]:
        """The process, and a sentence where it is a new one."""
        if self._process is not None:
            await self._process.settled()
            if not self._process.alive:
                self._lost = self._process.why_gone()
                await self._process.close()
                self._process = None
        if self._process is not None:
            return self._process, ""
        started = await Process.start(await self._jail(), self._workspace.path, self._bounds)
        self._process, lost, self._lost = started, self._lost, ""
        return started, f"[A new session: {lost[:1].lower()}{lost[1:]}]" if lost else ""

    def _why(self, ended: str) -> str:
        if ended == "time":
            return f"It took longer than {self._seconds:g} s and was interrupted."
        if ended == "output":
            most = limits.PYTHON_PRINTED_BYTES // 2**20
            return f"It printed more than {most} MB and was interrupted."
        return ""
