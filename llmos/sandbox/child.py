"""A jailed program as the kernel holds it: its pipes, its end, and the watch over what it uses.

The watch ends a jail whose processes together exceed its bounds. It looks often while they
compute and seldom while they do not, and never spends more than a tenth of the time looking.
"""

from __future__ import annotations

import asyncio
import asyncio.subprocess
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from llmos import limits
from llmos.sandbox import usage
from llmos.sandbox.jail import Bounds, Task

__all__ = ["Child", "Program", "size_before", "spawn"]

_log = logging.getLogger(__name__)


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """asyncio's own, which also says when the process ended, whoever still holds its pipes."""

    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=limit, loop=loop)
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class Program:
    """A process with pipes for its standard streams, in a session of its own."""

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: _Protocol) -> None:
        stdin, stdout, stderr = protocol.stdin, protocol.stdout, protocol.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.pid = transport.get_pid()
        self._transport = transport
        self._handle = _handle(self.pid)
        self.exited = protocol.exited

    @property
    def status(self) -> int | None:
        """128 and the signal's number where a signal ended it; None while it runs."""
        code = self._transport.get_returncode()
        return 128 - code if code is not None and code < 0 else code

    def send(self, number: int) -> None:
        """Send it a signal; harmless when it ended.

        Not by the transport: that would look whether it ended, and take its status from asyncio.
        """
        try:
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, number)
            elif not self.exited.is_set():
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        """Close its pipes; it has ended."""
        self._transport.close()

    def forget(self) -> None:
        """Give back what was needed to end it; it has ended."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _handle(pid: int) -> int:
    """A descriptor that stands for this process and no later one; -1 where there are none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or it ended already
        return -1


async def spawn(
    argv: Sequence[str], *, env: Mapping[str, str], fds: Sequence[int], cwd: str = "/"
) -> Program:
    """Start a program that inherits nothing but its pipes and ``fds``.

    Raises:
        OSError: It could not be started.
    """
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: _Protocol(limits.JAIL_LINE_BYTES, loop),
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
        pass_fds=tuple(fds),
        start_new_session=True,
    )
    return Program(transport, protocol)


async def size_before(task: Task) -> int:
    """What the writable folders of a task hold, in bytes."""
    if not task.folders:
        return 0
    return await asyncio.to_thread(usage.folder_bytes, task.folders, sys.maxsize)


class Child:
    """A :class:`~llmos.sandbox.jail.Jailed`.

    Args:
        program: The process that all others of the jail descend from.
        task: What runs in it.
        before: What its writable folders held before it began, in bytes.
        end: Ends everything in the jail; called once or more, does not wait for it.
        release: Called once when ``program`` has ended: waits until nothing of the jail runs any
            more, gives back what was taken for it, and says why it was ended where it knows.
        exceeded: Says which bound the system itself ended a process for, where it knows.
    """

    def __init__(
        self,
        program: Program,
        task: Task,
        *,
        before: int,
        end: Callable[[], None],
        release: Callable[[], Awaitable[str]],
        exceeded: Callable[[], str] = str,
    ) -> None:
        self.stdin, self.stdout, self.stderr = program.stdin, program.stdout, program.stderr
        self.pid = program.pid
        self.ended = ""
        self._program = program
        self._end = end
        self._exceeded = exceeded
        self._before = before + limits.JAIL_START_BYTES
        self._watch = asyncio.create_task(self._look(task.bounds, task.folders))
        self._gone = asyncio.create_task(self._finish(release))

    async def wait(self) -> int:
        return await asyncio.shield(self._gone)

    async def _finish(self, release: Callable[[], Awaitable[str]]) -> int:
        await self._program.exited.wait()
        self._watch.cancel()
        known = await release()
        self._program.forget()
        self.ended = self.ended or known
        status = self._program.status
        if not self.ended and status == 128 + signal.SIGXCPU:
            self.ended = "time"
        return 128 + signal.SIGKILL if status is None else status

    async def kill(self) -> None:
        if not self._program.exited.is_set():
            self._end()
            try:
                async with asyncio.timeout(limits.JAIL_KILL_SECONDS):
                    await self._program.exited.wait()
            except TimeoutError:
                self._program.send(signal.SIGKILL)  # its supervisor hangs
        await self.wait()
        self._program.close()

    async def _look(self, bounds: Bounds, folders: Sequence[Path]) -> None:
        """Look again and again, until the jail ends or has used too much."""
        try:
            await self._keep_looking(bounds, folders)
        except Exception:  # unwatched it must not go on
            _log.exception("the watch over a jail failed")
            self.ended = "fault"
        self._end()

    async def _keep_looking(self, bounds: Bounds, folders: Sequence[Path]) -> None:
        pause, ticks, suspected = limits.JAIL_LOOK_S, -1, ""
        hidden: set[int] = set()
        free = usage.free_bytes(folders)
        while True:
            await asyncio.sleep(pause)
            began = time.perf_counter()
            used = usage.measure(self.pid, bounds.memory_bytes)
            if used.ticks == ticks and not suspected and not hidden:  # nothing ran
                pause = min(pause * 2, limits.JAIL_LOOK_IDLE_S)
                continue
            ticks = used.ticks
            grown = used.nameless_bytes - self._before
            if folders:
                ceiling = self._before + bounds.disk_bytes
                grown += await asyncio.to_thread(usage.folder_bytes, folders, ceiling)
                if free - usage.free_bytes(folders) > bounds.disk_bytes:  # by whomever
                    grown += await asyncio.to_thread(
                        usage.mapped_bytes, self.pid, bounds.file_bytes
                    )
            # One look may be wrong about memory: a process that just forked to run another
            # program shares all of it with that. And what just ends, or just becomes another
            # program, cannot be looked into.
            before, suspected = suspected, _exceeded(bounds, used, grown)
            if hidden & set(used.hidden):
                self.ended = "fault"
            elif suspected == before or suspected != "memory":
                self.ended = suspected
            self.ended = self._exceeded() or self.ended
            if self.ended:
                return
            hidden = set(used.hidden)
            cost = time.perf_counter() - began
            pause = max(limits.JAIL_LOOK_S, cost / limits.JAIL_LOOK_SHARE)


def _exceeded(bounds: Bounds, used: usage.Usage, grown: int) -> str:
    """Which bound the processes of a jail exceed together; empty where none."""
    # Threads of the supervisor and of the process that reaps count, too: allow for them.
    if used.threads > bounds.processes + 2:
        return "processes"
    if used.memory_bytes > bounds.memory_bytes or used.locks > limits.JAIL_LOCKS:
        return "memory"
    return "disk" if grown > bounds.disk_bytes else ""
