"""The jail of macOS: ``sandbox-exec`` with a profile that denies whatever it does not name.

The profile is made for each task: it names the system's libraries, the interpreter and what the
program was given, and allows no network, no service of the system and no other process. Limits are
set by a small program in front of it. At the end everything is ended that belongs to its process
group, descends from it, or carries the mark its environment was given; a program that goes to
lengths to shed all three can outlive the jail, for macOS has no process namespace. The same holds
for the sums over all processes: they are of those that can be found.

Not run by this project's own tests, which check the profile's text: they run on Linux. On a Mac the
escape probes decide whether the tier is used at all (``tiers.py``).
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import signal
import uuid
from collections.abc import Iterable
from pathlib import Path

import psutil

from llmos.errors import CallFailed, SandboxMissing
from llmos.sandbox import prefix
from llmos.sandbox.child import Child, size_before, spawn
from llmos.sandbox.jail import Bounds, Jailed, Task

__all__ = ["Seatbelt", "profile"]

_PROGRAM = Path("/usr/bin/sandbox-exec")
_MARK = "LLMOS_JAIL"

#: Sets limits, then becomes the program: argv[1] are the limits as JSON.
_LIMIT = """
import json, os, resource, sys
for which, value in json.loads(sys.argv[1]):
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(which, (value, value))
    except (OSError, ValueError):
        pass  # macOS refuses an address space; the watch over the jail remains
os.execv(sys.argv[2], sys.argv[2:])
"""

_SYSTEM = (
    *("/usr/lib", "/usr/bin", "/bin", "/usr/share", "/System/Library", "/System/Volumes/Preboot"),
    *("/Library/Frameworks", "/Library/Developer/CommandLineTools", "/private/var/db/timezone"),
    "/private/var/db/dyld",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_SYSCTLS = (
    *("kern.argmax", "kern.hostname", "kern.maxfilesperproc", "kern.osproductversion"),
    *("kern.osrelease", "kern.ostype", "kern.osversion", "kern.usrstack64", "kern.version"),
    *("sysctl.proc_cputype", "sysctl.proc_translated", "vm.loadavg"),
)


class Seatbelt:
    """The tier of macOS."""

    name = "seatbelt"

    async def start(self, task: Task) -> Jailed:
        """See :class:`llmos.sandbox.jail.Jail`."""
        if platform.system() != "Darwin" or not _PROGRAM.exists():
            raise SandboxMissing("This system has no sandbox-exec.")
        for path in (*task.readable, *task.folders):
            if not path.exists():
                raise CallFailed(f"{path}, which a jail was to see, is not there.")
        before = await size_before(task)
        mark = uuid.uuid4().hex
        env = task.environment(str(task.workspace or "/nonexistent")) | {_MARK: mark}
        limits = json.dumps(_limits(task.bounds))
        argv = [str(prefix.executable()), "-I", "-S", "-c", _LIMIT, limits]
        argv += [str(_PROGRAM), "-p", profile(task), *task.argv]
        try:
            program = await spawn(argv, env=env, fds=task.fds, cwd=str(task.workspace or "/"))
        except OSError as error:
            raise CallFailed(f"A jail could not be started: {error.strerror}.") from error

        async def release() -> str:
            await asyncio.to_thread(_sweep, program.pid, mark)
            return ""

        def end() -> None:
            _kill_group(program.pid)

        return Child(program, task, before=before, end=end, release=release)


def profile(task: Task) -> str:
    """The profile of a task, in the language of ``sandbox-exec``."""
    read = [*map(Path, _SYSTEM), *prefix.roots(), *task.readable, *task.folders]
    lines = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        f"(allow process-exec* {_subpaths(read)})",
        "(allow signal (target same-sandbox))",
        "(allow process-info* (target self))",
        '(allow sysctl-read (sysctl-name-prefix "hw.") '
        + " ".join(f'(sysctl-name "{name}")' for name in _SYSCTLS)
        + ")",
        f"(allow file-read-metadata {_parents(read)})",
        f"(allow file-read* file-map-executable {_subpaths(read)})",
        f"(allow file-read* {_literals(_DEVICES)})",
        f"(allow file-write-data {_literals(_DEVICES[:2])})",
    ]
    if task.folders:
        lines.append(f"(allow file-write* {_subpaths(task.folders)})")
        lines.append(f"(deny file-write-setugid {_subpaths(task.folders)})")
    lines.append("(deny network*)")
    return "\n".join(lines) + "\n"


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _subpaths(paths: Iterable[Path]) -> str:
    """Rules match where a path really leads, not its symbolic links."""
    real = dict.fromkeys(os.path.realpath(path) for path in paths)
    return " ".join(f"(subpath {_quoted(path)})" for path in real)


def _literals(paths: Iterable[str]) -> str:
    return " ".join(f"(literal {_quoted(path)})" for path in paths)


def _parents(paths: Iterable[Path]) -> str:
    """The folders on the way to each, which must be walked through, on both sides of a link."""
    ways = [way for path in paths for way in (path, Path(os.path.realpath(path)))]
    return _literals(dict.fromkeys(str(parent) for way in ways for parent in (way, *way.parents)))


def _limits(bounds: Bounds) -> list[tuple[int, int]]:
    return [
        (resource.RLIMIT_AS, bounds.memory_bytes),
        (resource.RLIMIT_CPU, bounds.cpu_seconds),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_NOFILE, bounds.open_files),
        (resource.RLIMIT_CORE, 0),
    ]


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing of it is left


def _sweep(group: int, mark: str) -> None:
    """End what left the group: by the mark in its environment, until a look finds none."""
    _kill_group(group)
    while True:
        found = 0
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == mark:
                    process.kill()
                    found += 1
            except (psutil.Error, OSError):
                continue  # somebody else's, or gone
        if not found:
            return
