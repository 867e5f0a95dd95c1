"""What the processes of a jail use: how many they are, their memory, their disk.

The kernel's limits bind one process at a time (address space, processor time, the largest file).
Sums over all of them are taken here, by looking; so a jail may exceed a sum for as long as it
takes until the next look, and no longer. Memory counts once, also where processes share it since
they forked; that costs more to find out, so it is looked at closely only where the plain sum is
too much. What waits in sockets and pipes is the kernel's memory and shows nowhere: each that is
open counts as full.
"""

from __future__ import annotations

import mmap
import os
import platform
import resource
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from llmos import limits
from llmos.sandbox.lineage import descendants

__all__ = ["Usage", "folder_bytes", "free_bytes", "mapped_bytes", "measure"]

_PAGE = resource.getpagesize()
_SHARES = ("Pss_Anon:", "Pss_Shmem:")
_BLOCK = 512  # bytes of st_blocks, on every file system


def _socket_bytes(setting: str = "/proc/sys/net/core/wmem_default") -> int:
    """What may wait in a socket on this machine; Linux's own default where it does not say."""
    try:
        return int(Path(setting).read_text())
    except (OSError, ValueError):
        return 212_992


#: What may wait in one: the kernel's defaults, which the filter of system calls lets nobody raise.
#: All that a Python session could hold before the next look: 64 processes with 256 sockets of
#: 0.2 MB each, 3.5 GB. A last message may go beyond a socket's by a tenth of it.
_BUFFERS = {stat.S_IFSOCK: _socket_bytes(), stat.S_IFIFO: 16 * _PAGE}


@dataclass(frozen=True)
class Usage:
    """One look."""

    threads: int
    memory_bytes: int
    nameless_bytes: int  #: of files that are open and were deleted
    ticks: int  #: processor time of all, in clock ticks; equal twice: nothing ran
    hidden: tuple[int, ...] = ()  #: processes that cannot be looked into, so this says too little
    locks: int = 0  #: record locks they hold: the kernel's memory, too


def measure(root: int, memory_ceiling: int) -> Usage:
    """What all processes below ``root`` use now; memory exactly, where it may be too much."""
    if platform.system() != "Linux":
        return _measure_elsewhere(root)
    threads = memory = nameless = ticks = 0
    hidden: list[int] = []
    buffers: dict[tuple[int, int], int] = {}
    pids = descendants(root)
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2]
            words = fields.split()
            ticks += sum(map(int, words[11:15]))  # its own, and its ended children's
            threads += int(words[17])
            if words[0] in "ZX":
                continue  # it ended, and nobody has asked for its status yet
            resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
            memory += (resident - shared) * _PAGE
            nameless += _nameless_bytes(pid, buffers)
        except PermissionError:
            hidden.append(pid)
        except (OSError, ValueError, IndexError):
            continue  # it ended
    if memory > memory_ceiling:
        memory = sum(map(_share_of_memory, pids))
    memory += sum(buffers.values())
    return Usage(threads, memory, nameless, ticks, tuple(hidden), _locks(pids))


def _locks(pids: Collection[int]) -> int:
    """How many record locks processes hold or wait for; 0 where the system does not tell."""
    mine = {str(pid).encode() for pid in pids}
    try:
        with open("/proc/locks", "rb") as file:
            told = file.read(limits.JAIL_LOCKS_READ)
    except OSError:
        return 0
    # "1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF", with "->" before the kind of one that waits
    lines = (line.replace(b"->", b"").split() for line in told.splitlines())
    return sum(len(words) > 4 and words[4] in mine for words in lines)


def _share_of_memory(pid: int) -> int:
    """Its private memory, and its share of what it has in common with processes it forked."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = [line.split() for line in file]
        return sum(int(line[1]) * 1024 for line in lines if line[0] in _SHARES)
    except (OSError, ValueError, IndexError):
        return 0  # it ended


def _measure_elsewhere(root: int) -> Usage:
    """The same without ``/proc``; files without a name are not seen."""
    threads = memory = ticks = 0
    try:
        processes = psutil.Process(root).children(recursive=True)
    except psutil.Error:
        return Usage(0, 0, 0, 0)  # it ended
    for process in processes:
        try:
            used = process.cpu_times()
            ticks += int((used.user + used.system) * 100)
            threads += process.num_threads()
            memory += process.memory_info().rss
        except psutil.Error:
            continue  # it ended
    return Usage(threads, memory, 0, ticks)


def _nameless_bytes(pid: int, buffers: dict[tuple[int, int], int]) -> int:
    """Of files a process holds open that have no name any more, so that no folder shows them.

    Args:
        pid: Of the process.
        buffers: Gets the sockets and pipes that it holds, by device and inode, with their bytes.
    """
    total = 0
    for status in _open_files(pid):
        kind = stat.S_IFMT(status.st_mode)
        if kind in _BUFFERS:
            buffers[status.st_dev, status.st_ino] = _BUFFERS[kind]
        elif kind == stat.S_IFREG and status.st_nlink == 0:
            total += status.st_blocks * _BLOCK
    return total


def _open_files(pid: int) -> Iterator[os.stat_result]:
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):  # it was closed
                yield os.stat(entry.path)


def mapped_bytes(root: int, each: int) -> int:
    """Of deleted files that processes below ``root`` have mapped and no longer open.

    Args:
        root: Of the processes.
        each: What one counts for where it cannot be looked at: only the superuser may.
    """
    opened: set[int] = set()
    mapped: dict[tuple[bytes, int], str] = {}
    for pid in descendants(root):
        with suppress(OSError):  # it ended
            opened |= {status.st_ino for status in _open_files(pid) if not status.st_nlink}
            with open(f"/proc/{pid}/maps", "rb") as file:
                for line in file:
                    if not line.endswith(b" (deleted)\n"):
                        continue
                    span, _, _, device, inode, _ = line.split(maxsplit=5)
                    if device != _memory_device():
                        begin, end = (int(word, 16) for word in span.split(b"-"))
                        mapped[device, int(inode)] = f"/proc/{pid}/map_files/{begin:x}-{end:x}"
    total = 0
    for (_, number), path in mapped.items():
        if number not in opened:
            try:
                total += os.stat(path).st_blocks * _BLOCK
            except OSError:
                total += each
    return total


@cache
def _memory_device() -> bytes:
    """The device that ``maps`` shows for shared memory without a file, which is no disk."""
    with mmap.mmap(-1, _PAGE), open("/proc/self/maps", "rb") as file:
        return next((line.split()[3] for line in file if b"/dev/zero (deleted)" in line), b"")


def free_bytes(folders: Iterable[Path]) -> int:
    """What is free where folders lie."""
    free: dict[int, int] = {}
    for folder in folders:
        with suppress(OSError):
            free[os.stat(folder).st_dev] = shutil.disk_usage(folder).free
    return sum(free.values())


def folder_bytes(folders: Iterable[Path], ceiling: int) -> int:
    """What lies below folders: blocks on the disk, and something for each name.

    Follows no link. Stops counting at ``ceiling``, so that a flood costs no more than the limit.
    """
    total = 0
    waiting = [str(folder) for folder in folders]
    while waiting and total <= ceiling:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_blocks * _BLOCK + limits.JAIL_ENTRY_BYTES
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(entry.path)
                    if total > ceiling:
                        break
        except OSError:
            continue  # it went away, or is not to be read
    return total
