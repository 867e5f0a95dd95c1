"""A process with limits and no walls, for what llmos cannot do without, where no jail holds.

Whoever uses it says so in the log. Its memory and its processes are watched as a jail's are, and
on Linux the system bounds it, too, before it is told anything; but it can reach the network and
the files of this user.
"""

from __future__ import annotations

import resource
import signal

from llmos.errors import CallFailed
from llmos.sandbox.child import Child, spawn
from llmos.sandbox.jail import Jailed, Task

__all__ = ["Unjailed"]


class Unjailed:
    """Starts programs as a :class:`~llmos.sandbox.jail.Jail` does, outside of any."""

    name = "none"

    async def start(self, task: Task) -> Jailed:
        """See :class:`llmos.sandbox.jail.Jail`; here nothing hides what the program may see."""
        try:
            # In a session of its own: an interrupt at the keyboard is not meant for it.
            program = await spawn(
                task.argv,
                env=task.environment("/tmp"),
                fds=task.fds,
                cwd=str(task.workspace or "/"),
            )
        except OSError as error:
            raise CallFailed(f"A process could not be started: {error.strerror}.") from error
        _limit(program.pid, task)

        async def release() -> str:
            return ""

        return Child(
            program, task, before=0, end=lambda: program.send(signal.SIGKILL), release=release
        )


def _limit(pid: int, task: Task) -> None:
    if not hasattr(resource, "prlimit"):
        return  # macOS: the watch alone
    bounds = task.bounds
    for which, value in (
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_CPU, bounds.cpu_seconds),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            ceiling = resource.prlimit(pid, which)[1]
            if ceiling != resource.RLIM_INFINITY:
                value = min(value, ceiling)
            resource.prlimit(pid, which, (value, value))
        except ProcessLookupError:
            return  # it ended already, which whoever waits for it sees
