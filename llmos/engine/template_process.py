"""The process a chat template runs in: a jail where this machine has one that holds.

Where it has none, the template runs all the same, since no model speaks without one, in a process
with limits of its own and behind Jinja's sandbox; the log says so. This module starts and ends
that process and knows nothing of what is said to it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from llmos import limits
from llmos.errors import CallFailed, SandboxMissing
from llmos.sandbox import tiers
from llmos.sandbox.jail import Bounds, Jail, Task
from llmos.sandbox.unjailed import Unjailed
from llmos.seldom import Seldom

__all__ = ["Process", "start"]

_log = logging.getLogger(__name__)
_log.addFilter(Seldom())
_WORKER = Path(__file__).with_name("template_worker.py")
_PROCESSES = 2  # the worker alone, and room for a thread of a library
_OPEN_FILES = 32


class Process(Protocol):
    """A process that runs, as its owner needs it."""

    @property
    def stdin(self) -> asyncio.StreamWriter: ...
    @property
    def stdout(self) -> asyncio.StreamReader: ...

    async def wait(self) -> int:
        """Its status; 128 and the signal's number where a signal ended it."""
        ...

    async def kill(self) -> None:
        """End it; harmless when it ended."""
        ...


async def start(libraries: Sequence[str]) -> Process:
    """Start a worker.

    Args:
        libraries: Folders in which it finds jinja2.

    Raises:
        OSError: It cannot be started.
    """
    argv = (sys.executable, "-I", "-S", "-X", "utf8", str(_WORKER))
    task = Task(
        argv=argv,
        readable=(_WORKER, *map(Path, libraries)),
        bounds=Bounds(
            memory_bytes=(limits.TEMPLATE_MEMORY_MB + limits.WORKER_SPARE_MB) << 20,
            cpu_seconds=limits.WORKER_CPU_SECONDS,
            processes=_PROCESSES,
            open_files=_OPEN_FILES,
            file_bytes=1,
            disk_bytes=1,
        ),
    )
    try:
        return await (await _jail()).start(task)
    except (CallFailed, SandboxMissing) as failed:
        raise OSError(str(failed)) from failed


async def _jail() -> Jail:
    try:
        return await tiers.best()
    except SandboxMissing as missing:
        _log.warning("chat templates run without a jail: %s", missing)
        return Unjailed()
