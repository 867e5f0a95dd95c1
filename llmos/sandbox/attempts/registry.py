"""What an attempt to escape is, and what it needs to know of the world outside.

An attempt is a function that is run in a process of its own inside a jail. It returns what it
got, in a few words, where it got out; it returns ``""`` or raises ``OSError`` where it was kept
in. What only the outside can see (a connection that arrived, a file that changed) is looked at by
``llmos.sandbox.probes``, whatever the attempt itself believes.

Nothing here imports anything but Python: these modules run inside jails, by their path.
System calls are made by number, from a table of its own, so that a mistake in the filter's table
shows.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["ATTEMPTS", "Attempt", "Scene", "attempt", "libc", "syscall"]


class Scene(NamedTuple):
    """What is to be reached. All paths are those of the host.

    Args:
        token: A random word that stands in everything secret.
        workspace: The one folder an attempt may write in.
        readable: A folder it may read, with a Unix listener in it.
        secrets: A folder nobody granted: ``secret.txt`` holds the token; ``full.txt``,
            ``own.txt`` and ``doomed.txt`` are to be spoilt; ``kernel.sock`` and ``passing.sock``
            are Unix listeners.
        other: Another task's workspace, with a ``secret.txt`` and a ``moved.txt``.
        state: llmos's state directory.
        home: The person's home.
        home_names: Names in it that lead to what is readable.
        abstract: Name of a Unix listener without a path; empty where the system has none.
        tcp4 / tcp6 / udp: Ports of listeners on loopback; 0 where there is none.
        victim: Process id of another program of the same person, whose environment, arguments,
            memory and descriptors hold the token.
        address: Where in its memory the token stands.
        victim_fd: Its descriptor on ``secret.txt``.
        shared_key: Key of its System V shared memory that holds the token; 0 for none.
        shared_name: Name in ``/dev/shm`` of a file that holds the token; empty for none.
        processes / open_files / memory_bytes / file_bytes / disk_bytes: The jail's bounds.
    """

    token: str
    workspace: str
    readable: str
    secrets: str
    other: str
    state: str
    home: str
    home_names: list[str]
    abstract: str
    tcp4: int
    tcp6: int
    udp: int
    victim: int
    address: int
    victim_fd: int
    shared_key: int
    shared_name: str
    processes: int
    open_files: int
    memory_bytes: int
    file_bytes: int
    disk_bytes: int

    @property
    def secret(self) -> str:
        """Path of the file that nobody granted."""
        return os.path.join(self.secrets, "secret.txt")

    def told(self, data: bytes, how: str) -> str:
        """``how`` where the token stands in ``data``, else nothing."""
        return how if self.token.encode() in data else ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way out.

    Args:
        name: The function's name.
        about: What it tries, in a few words: its docstring.
        run: The function.
        group: The module it stands in, such as ``files``.
        harmless: May be tried without a jail, in a test: it changes nothing that lasts.
        alone: Needs a jail of its own, since it uses that up.
        slow: Takes a second or more: not tried at boot.
    """

    name: str
    about: str
    run: Callable[[Scene], str]
    group: str
    harmless: bool
    alone: bool
    slow: bool


#: All attempts, by name, in the order in which they are made.
ATTEMPTS: dict[str, Attempt] = {}


def attempt(
    *, harmless: bool = True, alone: bool = False, slow: bool = False
) -> Callable[[Callable[[Scene], str]], Callable[[Scene], str]]:
    """Put a function among the attempts."""

    def put(function: Callable[[Scene], str]) -> Callable[[Scene], str]:
        about = (function.__doc__ or "").partition("\n")[0].rstrip(".")
        group = function.__module__.rpartition(".")[2]
        name = function.__name__
        ATTEMPTS[name] = Attempt(name, about, function, group, harmless, alone, slow)
        return function

    return put


# --- system calls -------------------------------------------------------------------------------

#: Numbers on x86-64 and on 64-bit ARM (-1: not there), from the kernel's own tables.
_NUMBERS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clone": (56, 220),
    "clone3": (435, 435),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "inotify_init1": (294, 26),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "iopl": (172, -1),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "landlock_create_ruleset": (444, 444),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "splice": (275, 76),
    "tgkill": (234, 131),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vmsplice": (278, 75),
}
_COLUMN = {"x86_64": 0, "amd64": 0, "aarch64": 1, "arm64": 1}.get(platform.machine().lower(), -1)


def libc() -> ctypes.CDLL:
    """The C library, with ``errno`` kept."""
    return ctypes.CDLL(None, use_errno=True)


def syscall(name: str, *args: object) -> int:
    """Make a Linux system call by its number.

    Args:
        args: Integers and ctypes values.

    Returns:
        What it returned.

    Raises:
        OSError: It failed, or is not known on this kind of machine.
    """
    number = _NUMBERS[name][_COLUMN] if os.uname().sysname == "Linux" and _COLUMN >= 0 else -1
    if number < 0:
        raise OSError(38, "there is no such system call here")
    call = libc().syscall
    call.restype = ctypes.c_long
    wide = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = int(call(ctypes.c_long(number), *wide))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
