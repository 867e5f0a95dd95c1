"""The jail of Linux without bubblewrap: Landlock for files, a call filter for everything else.

Landlock (the kernel's own, for every user) leaves the program the files it was given and nothing
else: no ``/proc``, no ``/tmp``, no sockets in a folder. The filter leaves it no socket at all and
no call that reaches another process. A supervisor outside ends what is left of it
(``landlock_launch.py``); where Landlock is too old to keep signals within the jail, it is asked
about these, too. How many processes there may be is bound by ``RLIMIT_NPROC`` over what the person
already runs, for the superuser by a control group, and watched (``child.py``).

What it cannot do that bubblewrap can: the program can learn whether a path exists and how large
it is (not what is in it), and the machine's name; changes of a file's mode and times are not
carried out, though reported as done. A program that forks faster than the supervisor finds and
kills could delay its end. Where several folders are given, one inside the other, the wider right
holds.
"""

from __future__ import annotations

import asyncio
import ctypes
import marshal
import os
import platform
import resource
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import CallFailed, SandboxMissing
from llmos.sandbox import lineage, prefix, seccomp
from llmos.sandbox.cgroup import Group
from llmos.sandbox.child import Child, size_before, spawn
from llmos.sandbox.jail import Bounds, Jailed, Task

__all__ = ["Landlock", "abi"]

_LAUNCH = Path(__file__).with_name("landlock_launch.py")
_CREATE_RULESET = 444

# Rights by the bit they stand at, as <linux/landlock.h> has them.
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_SPECIAL = 1 << 6 | 1 << 9 | 1 << 11  # make a character device, a socket, a block device
_REFER, _TRUNCATE, _CONTROL = 1 << 13, 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1  # all rights of the first version
_SINCE = ((2, _REFER), (3, _TRUNCATE), (5, _CONTROL))
_ON_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _CONTROL
_TCP = 0b11  # bind, connect: since version 4
_SCOPES = 0b11  # abstract sockets, signals: since version 6

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_MACHINE = ("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu")
#: capset and seccomp, by machine.
_CALLS = {"x86_64": (126, 317), "aarch64": (91, 277)}


def abi() -> int:
    """The version of Landlock in this kernel; 0 where there is none."""
    if platform.system() != "Linux":
        return 0
    libc = ctypes.CDLL(None)
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


class Landlock:
    """The second tier on Linux.

    Args:
        version: Of Landlock, to be used; this kernel's where not given.
    """

    name = "landlock"

    def __init__(self, version: int | None = None) -> None:
        self._version = abi() if version is None else min(version, abi())

    async def start(self, task: Task) -> Jailed:
        """See :class:`llmos.sandbox.jail.Jail`."""
        if self._version < 1 or platform.machine() not in seccomp.SUPPORTED:
            raise SandboxMissing(
                "This kernel has no Landlock.",
                remedy="Use Linux 5.13 or later with Landlock switched on.",
            )
        for path in (*task.readable, *task.folders):
            if not path.exists():
                raise CallFailed(f"{path}, which a jail was to see, is not there.")
        before = await size_before(task)
        waiting, go = os.pipe()
        asked = os.memfd_create("jail")
        try:
            os.write(asked, marshal.dumps(self._asked(task, waiting)))
            os.lseek(asked, 0, os.SEEK_SET)
            argv = [str(prefix.executable()), "-I", "-S", str(_LAUNCH), str(asked)]
            program = await spawn(argv, env={"LANG": "C.UTF-8"}, fds=(asked, waiting, *task.fds))
        except OSError as error:
            os.close(go)
            raise CallFailed(f"A jail could not be started: {error.strerror}.") from error
        finally:
            os.close(asked)
            os.close(waiting)
        try:
            group = None
            if os.geteuid() == 0:
                group = await asyncio.to_thread(Group.make, task.bounds, program.pid)
            os.write(go, b"x")
        except OSError:
            pass  # it ended already, which whoever waits for it sees
        finally:
            os.close(go)

        def exceeded() -> str:
            return group.exceeded() if group is not None else ""

        async def release() -> str:
            said = exceeded()
            if group is not None:
                group.close()
            return said

        def end() -> None:
            program.send(signal.SIGTERM)

        return Child(program, task, before=before, end=end, release=release, exceeded=exceeded)

    def _asked(self, task: Task, go: int) -> dict[str, Any]:
        """What the supervisor is told."""
        capset, call = _CALLS[platform.machine()]
        signals = seccomp.ALLOW if self._version >= 6 else seccomp.NOTIFY
        return {
            "parent": os.getpid(),
            "argv": list(task.argv),
            "env": task.environment(str(task.workspace or "/nonexistent")),
            "cwd": str(task.workspace or "/"),
            "fds": list(task.fds),
            "limits": _limits(task.bounds),
            "go": go,
            "signals": seccomp.signals_program(signals),
            "filter": seccomp.filter_program(metadata=False),
            "attributes": _attributes(self._version),
            "rules": list(_rules(task, _handled(self._version))),
            "capset": capset,
            "seccomp": call,
        }


def _handled(version: int) -> int:
    """All rights that a version knows: what no rule allows is refused."""
    return _FIRST | sum(right for since, right in _SINCE if version >= since)


def _attributes(version: int) -> bytes:
    """``struct landlock_ruleset_attr``, as long as that version knows it."""
    words = [_handled(version)]
    if version >= 4:
        words.append(_TCP)
    if version >= 6:
        words.append(_SCOPES)
    return struct.pack(f"={len(words)}Q", *words)


def _rules(task: Task, handled: int) -> Iterator[tuple[str, int, int]]:
    """Path, rights if it is a folder, rights if it is a file."""
    read = _EXECUTE | _READ | _LIST
    write = handled & ~_SPECIAL & ~_CONTROL
    for path in (*map(Path, prefix.SYSTEM), *prefix.roots(), *task.readable):
        if path.exists():
            yield str(path), read, read & _ON_FILES
    for name in _MACHINE:
        if os.path.exists(name):
            yield name, _READ | _LIST, _READ
    for name in _DEVICES:
        if os.path.exists(name):
            yield name, 0, (_READ | _WRITE | _TRUNCATE) & handled
    for folder in task.folders:
        yield str(folder), write, write & _ON_FILES


def _limits(bounds: Bounds) -> list[tuple[int, int]]:
    others = lineage.threads(lineage.owned(os.geteuid()))
    return [
        (resource.RLIMIT_NPROC, others + bounds.processes + 1),
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_CPU, bounds.cpu_seconds),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_SIGPENDING, limits.JAIL_PENDING_SIGNALS),
    ]
