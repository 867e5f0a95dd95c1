"""The jail of Linux with bubblewrap: namespaces of its own, no capabilities, a call filter.

The program sees a root made for it: the system's and the interpreter's folders read-only, what
it was given at its own path, a small ``/tmp`` and ``/dev/shm`` in memory, a ``/proc`` and a
``/dev`` of its own. It has a network namespace without any interface, and is process 2 of a
process namespace, so that ending process 1 ends all, daemons too. Its limits are set from here
before it is let run. How many processes there may be is bound by ``RLIMIT_NPROC``, which counts
only the jail's own since they are in a user namespace; the superuser it does not bind, so there a
control group is made where that is possible (``cgroup.py``). The sums over all processes are
watched (``child.py``).

Needs bubblewrap and unprivileged user namespaces; whether they work here, ``tiers.py`` finds out
by trying. A deleted file that is mapped but no longer open is looked for only where the disk has
become fuller than the jail may make it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from llmos import limits
from llmos.errors import CallFailed, SandboxMissing
from llmos.sandbox import prefix, seccomp
from llmos.sandbox.cgroup import Group
from llmos.sandbox.child import Child, Program, size_before, spawn
from llmos.sandbox.jail import Bounds, Jailed, Task

__all__ = ["Bubblewrap"]

_log = logging.getLogger(__name__)
_OUTSIDE = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}  # bubblewrap's own environment


class Bubblewrap:
    """The strongest tier on Linux."""

    name = "bubblewrap"

    async def start(self, task: Task) -> Jailed:
        """See :class:`llmos.sandbox.jail.Jail`."""
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxMissing(
                "bubblewrap is not installed.", remedy="Install the package “bubblewrap”."
            )
        for path in (*task.readable, *task.folders):
            if not path.exists():
                raise CallFailed(f"{path}, which a jail was to see, is not there.")
        # What the child inherits: the filter, the arguments (out of everybody's sight), the pipe
        # it tells its process on, the pipe it waits on until its limits are set.
        told, telling = os.pipe()
        waiting, go = os.pipe()
        filter_fd = _file(seccomp.filter_program())
        arguments = _arguments(task, program, info=telling, block=waiting, filter_fd=filter_fd)
        args_fd = _file(b"".join(os.fsencode(word) + b"\0" for word in arguments))
        inherited = (telling, waiting, filter_fd, args_fd)
        argv = [program, "--args", str(args_fd), "--", *task.argv]
        try:
            try:
                child = await spawn(argv, env=_OUTSIDE, fds=(*inherited, *task.fds))
            except OSError as error:
                raise CallFailed(f"A jail could not be started: {error.strerror}.") from error
            finally:
                for fd in inherited:
                    os.close(fd)
            return await _let_run(child, task, told, go)
        finally:
            os.close(told)
            os.close(go)


async def _let_run(child: Program, task: Task, told: int, go: int) -> Jailed:
    """Set the limits of process 1 of the jail, which all others inherit, then let it go on."""
    handle, group = -1, None
    try:
        before = await size_before(task)
        first = await _first(told)
        handle = os.pidfd_open(first)
        if os.geteuid() == 0:
            group = await asyncio.to_thread(Group.make, task.bounds, first)
        _limit(first, task.bounds)
        os.write(go, b"x")
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and handle < 0:
            with contextlib.suppress(OSError, ValueError, KeyError):  # it began nothing
                handle = os.pidfd_open(await _first(told))
        # Before the pipe is closed, which would let them go on; process 1 would wait on it for
        # ever, and keep open what the last words are read from.
        child.send(signal.SIGKILL)
        if handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        said = await _last_words(child)
        if handle >= 0:
            os.close(handle)
        if group is not None:
            group.close()
        if isinstance(error, (OSError, ValueError, KeyError)):
            raise CallFailed(f"A jail could not be set up: {said or error}.") from error
        raise

    def end() -> None:
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.send(signal.SIGKILL)

    async def release() -> str:
        # bubblewrap ends with the program, process 1 with the last process of the jail.
        end()
        await _readable(handle)
        os.close(handle)
        said = exceeded()
        if group is not None:
            group.close()
        return said

    def exceeded() -> str:
        return group.exceeded() if group is not None else ""

    return Child(child, task, before=before, end=end, release=release, exceeded=exceeded)


async def _first(told: int) -> int:
    """Process 1 of the jail, as bubblewrap tells it."""
    async with asyncio.timeout(limits.JAIL_START_SECONDS):
        return int(json.loads(await _read_all(told))["child-pid"])


async def _last_words(child: Program) -> str:
    """What it said before it ended."""
    await child.exited.wait()
    said = (await child.stderr.read()).decode(errors="replace").strip().rstrip(".")
    child.close()
    return said


async def _readable(handle: int) -> None:
    """Wait for a process to be gone."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        async with asyncio.timeout(limits.JAIL_KILL_SECONDS):
            await gone.wait()
    except TimeoutError:  # stuck in the kernel, as on a disk that does not answer
        _log.warning("a jail has not ended %s s after it was killed", limits.JAIL_KILL_SECONDS)
    finally:
        loop.remove_reader(handle)


async def _read_all(fd: int) -> bytes:
    """What bubblewrap writes and closes, without holding up the loop."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    file = os.fdopen(os.dup(fd), "rb", 0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    try:
        return await reader.read()
    finally:
        transport.close()


def _limit(pid: int, bounds: Bounds) -> None:
    for which, value in (
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_CPU, bounds.cpu_seconds),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files),
        (resource.RLIMIT_NPROC, bounds.processes + 1),  # process 1 is not the program's
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_SIGPENDING, limits.JAIL_PENDING_SIGNALS),
    ):
        ceiling = resource.prlimit(pid, which)[1]
        if ceiling != resource.RLIM_INFINITY:
            value = min(value, ceiling)
        resource.prlimit(pid, which, (value, value))


def _file(content: bytes) -> int:
    """A file in memory that a child can inherit and read from its beginning."""
    fd = os.memfd_create("jail")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@cache
def _sizes(program: str) -> bool:
    """Whether this bubblewrap can bound a file system in memory (0.7 and later)."""
    said = subprocess.run([program, "--help"], capture_output=True, check=False, timeout=20)
    return b"--size" in said.stdout + said.stderr


def _arguments(task: Task, program: str, *, info: int, block: int, filter_fd: int) -> list[str]:
    """What bubblewrap is told, without the command."""
    sized = _sizes(program)
    words = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    words += ["--cap-drop", "ALL", "--hostname", "jail", "--clearenv"]
    words += ["--info-fd", str(info), "--block-fd", str(block), "--seccomp", str(filter_fd)]
    words += list(_system())
    if sized:
        size = ["--size", str(limits.JAIL_TMP_BYTES)]
        words += ["--proc", "/proc", "--dev", "/dev", *size, "--tmpfs", "/dev/shm"]
        words += [*size, "--tmpfs", "/tmp"]
    else:
        words += ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp"]
    # Parents first, so that none hides what lies in it.
    given = dict.fromkeys((*prefix.roots(), *task.readable), "--ro-bind")
    given |= dict.fromkeys(task.folders, "--bind")
    for path, how in sorted(given.items(), key=lambda item: len(item[0].parts)):
        words += [how, str(path), str(path)]
    # /proc too: to the kernel, a root's jail is root where /proc/sys is written (core_pattern).
    words += ["--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/"]
    words += ["--chdir", str(task.workspace or "/")]
    temporary = "/tmp" if sized else str(task.workspace or "/tmp")
    for name, value in task.environment(temporary).items():
        words += ["--setenv", name, value]
    return words


def _system() -> Iterator[str]:
    """The system's own folders; a symbolic link stays one."""
    for name in prefix.SYSTEM:
        path = Path(name)
        if path.is_symlink() and path.is_dir():
            yield from ("--symlink", os.readlink(path), name)
        elif path.exists():
            yield from ("--ro-bind", name, name)
