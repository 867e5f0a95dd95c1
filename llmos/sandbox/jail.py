"""What a jail is: one program, what it may see, what it may use, and how it is ended.

A jail runs one program with the files it was given and nothing else: no network, no other
process, no environment but its own. What it needs from outside it asks the kernel for, over its
standard input and output. The tiers (``bubblewrap.py``, ``landlock.py``, ``seatbelt.py``) differ
in how they hold that; ``tiers.py`` picks the strongest one whose escape probes held.

Knows nothing about what is run. Promises only what the tier in use promises: the kernel of the
operating system is the wall, and a hole in it is a hole in every jail on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from llmos import limits

__all__ = ["Bounds", "Finished", "Jail", "Jailed", "Task", "run"]

_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Bounds:
    """What a jail may use. Every number is a ceiling that is enforced, not a hint."""

    memory_bytes: int = limits.JAIL_MEMORY_BYTES  #: address space of a process; resident, of all
    cpu_seconds: int = limits.JAIL_CPU_SECONDS  #: of each process
    processes: int = limits.JAIL_PROCESSES  #: processes and threads at once
    open_files: int = limits.JAIL_OPEN_FILES  #: of each process
    file_bytes: int = limits.JAIL_FILE_BYTES  #: the largest file
    disk_bytes: int = limits.JAIL_DISK_BYTES  #: what the writable folders may grow by

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} of a jail must be at least 1, not {value}")


@dataclass(frozen=True)
class Task:
    """One program for a jail.

    Args:
        argv: The program, by its absolute path, and its arguments.
        readable: Seen read-only at their own path, besides the Python interpreter, its libraries
            and the system's. None may lie inside a writable folder: a tier could not hold it.
        workspace: The working directory, writable, seen at its own path.
        writable: Further writable folders.
        env: The whole environment, besides ``PATH``, ``HOME``, ``LANG`` and ``TMPDIR``, which
            the jail sets unless they stand here.
        bounds: What it may use.
        fds: File descriptors it inherits besides the standard three.
    """

    argv: tuple[str, ...]
    readable: tuple[Path, ...] = ()
    workspace: Path | None = None
    writable: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)
    fds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError("a jail needs a program")
        for text in (*self.argv, *self.env, *self.env.values()):
            if "\0" in text:
                raise ValueError("an argument or a variable of a jail contains a null character")
        if any(not name or "=" in name for name in self.env):
            raise ValueError("a variable of a jail has a name that no variable can have")
        for path in (*self.readable, *self.folders):
            if not path.is_absolute() or ".." in path.parts:
                raise ValueError(f"a jail's path must be absolute and plain: {path}")
        for path in self.readable:
            if any(path.is_relative_to(folder) for folder in self.folders):
                raise ValueError(f"{path} cannot be read-only inside a writable folder")

    @property
    def folders(self) -> tuple[Path, ...]:
        """All writable folders, the workspace first."""
        return (() if self.workspace is None else (self.workspace,)) + self.writable

    def environment(self, temporary: str) -> dict[str, str]:
        """The whole environment of the program; ``temporary`` is the tier's ``TMPDIR``."""
        home = str(self.workspace) if self.workspace else "/nonexistent"
        usual = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "TMPDIR": temporary,
        }
        return usual | dict(self.env)


class Jailed(Protocol):
    """A program that runs in a jail.

    Its owner reads what it writes, or it will block, and calls ``kill`` in the end, also where it
    ended by itself: that closes its pipes.
    """

    @property
    def stdin(self) -> asyncio.StreamWriter: ...
    @property
    def stdout(self) -> asyncio.StreamReader: ...
    @property
    def stderr(self) -> asyncio.StreamReader: ...
    @property
    def pid(self) -> int:
        """The process on this side that all others of the jail descend from."""
        ...

    @property
    def ended(self) -> str:
        """Why the jail was ended, where it did not end by itself.

        "memory", "disk", "processes" or "time" for what it used too much of, "fault" where it
        could not be watched any more; else empty.
        """
        ...

    async def wait(self) -> int:
        """Wait for the program's end; nothing of the jail is left then.

        Returns:
            Its status; 128 and the signal's number where a signal ended it.
        """
        ...

    async def kill(self) -> None:
        """End everything that was started in the jail, daemons too; harmless when it ended."""
        ...


class Jail(Protocol):
    """One tier.

    ``start`` leaves nothing behind where it fails. The jail ends when the thread that started it
    does, at the latest with the kernel's process.
    """

    @property
    def name(self) -> str: ...

    async def start(self, task: Task) -> Jailed:
        """Start a program.

        Raises:
            CallFailed: What it was to see is not there, or it could not be started.
            SandboxMissing: This machine has no such jail.
        """
        ...


@dataclass(frozen=True)
class Finished:
    """A program that ran to its end, or to the end it was given."""

    status: int
    stdout: bytes
    stderr: bytes
    ended: str  #: as :attr:`Jailed.ended`, and "output" where it wrote too much


async def run(
    jail: Jail,
    task: Task,
    data: bytes | Iterable[bytes] = b"",
    *,
    seconds: float,
    output_bytes: int,
) -> Finished:
    """Run a program to its end.

    Args:
        jail: The tier.
        task: The program.
        data: What it reads from its standard input; of several pieces, as many as it reads.
        seconds: Wall time it may take.
        output_bytes: What it may write to its standard output and error together; what is
            beyond is dropped, and ends it.

    Returns:
        Its status and what it wrote, also where it was ended.

    Raises:
        CallFailed: It could not be started.
        SandboxMissing: This machine has no such jail.
    """
    jailed = await jail.start(task)
    written = bytearray(), bytearray()
    ended = ""

    async def feed() -> None:
        try:
            for piece in (data,) if isinstance(data, bytes) else data:
                jailed.stdin.write(piece)
                await jailed.stdin.drain()
            jailed.stdin.close()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it does not read, which is its own business

    async def take(stream: asyncio.StreamReader, into: bytearray) -> None:
        nonlocal ended
        while chunk := await stream.read(_CHUNK):
            room = output_bytes - sum(map(len, written))
            into += chunk[:room]
            if len(chunk) > room:
                ended = "output"
                await jailed.kill()
                return

    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(
                feed(), take(jailed.stdout, written[0]), take(jailed.stderr, written[1])
            )
            await jailed.wait()
    except TimeoutError:
        ended = ended or "time"
    finally:
        await jailed.kill()
    status = await jailed.wait()
    return Finished(status, bytes(written[0]), bytes(written[1]), ended or jailed.ended)
