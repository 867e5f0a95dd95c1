"""Attempts to take more than was given: processes, memory, disk, time, words.

Each uses its jail up, so it gets one of its own. Whoever outlives it holds a lock on the file
``alive`` in the workspace, which is how the outside knows. The module is named after what it
tries; it has nothing to do with ``llmos.limits``.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
import socket
import threading
import time
from contextlib import suppress

from .registry import Scene, attempt, libc, syscall

__all__: list[str] = []

_FOR_EVER = 3600.0
_LINGER = 20.0  # of a daemon: where it gets out, it is gone soon


def _stay_alive(scene: Scene) -> None:
    """Hold the lock until this process ends, and wherever it is inherited."""
    fd = os.open(os.path.join(scene.workspace, "alive"), os.O_CREAT | os.O_RDWR, 0o600)
    os.set_inheritable(fd, True)
    fcntl.flock(fd, fcntl.LOCK_SH)


@attempt(harmless=False, alone=True)
def fork_bomb(scene: Scene) -> str:
    """Start processes without end."""
    _stay_alive(scene)
    started = 0
    while started < 4 * scene.processes:
        try:
            if os.fork() == 0:
                time.sleep(_FOR_EVER)
        except OSError:
            break
        started += 1
    return f"{started} processes" if started > scene.processes else ""


@attempt(harmless=False, alone=True)
def thread_bomb(scene: Scene) -> str:
    """Start threads without end."""
    started = 0
    while started < 4 * scene.processes:
        try:
            threading.Thread(target=time.sleep, args=(_FOR_EVER,), daemon=True).start()
        except (RuntimeError, MemoryError):
            break
        started += 1
    return f"{started} threads" if started > scene.processes else ""


@attempt(alone=True)
def daemon(scene: Scene) -> str:
    """Leave a process behind that outlives the call."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            _stay_alive(scene)
            os.write(1, b"\n")  # it lives
            for fd in (0, 1, 2):
                os.close(fd)
            time.sleep(_LINGER)
        os._exit(0)
    time.sleep(0.3)  # until it has its lock; the outside looks whether it keeps it
    return ""


@attempt(alone=True, slow=True)
def ignore_end(scene: Scene) -> str:
    """Ignore the request to end."""
    _stay_alive(scene)
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    time.sleep(_FOR_EVER)
    return "slept on"


@attempt(alone=True, slow=True)
def endless_loop(scene: Scene) -> str:
    """Compute for ever."""
    _stay_alive(scene)
    while True:
        pass


@attempt(harmless=False, alone=True)
def much_memory(scene: Scene) -> str:
    """Take four times the memory there is to be had."""
    taken = []
    step = max(scene.memory_bytes // 16, 1)
    for _ in range(64):
        taken.append(b"x" * step)
    return f"took {len(taken) * step >> 20} MB"


@attempt(harmless=False, alone=True)
def much_mapped_memory(scene: Scene) -> str:
    """Take it as a memory map."""
    page = mmap.mmap(-1, 4 * scene.memory_bytes)
    return f"mapped {len(page) >> 20} MB"


@attempt(harmless=False, alone=True, slow=True)
def much_memory_of_many(scene: Scene) -> str:
    """Take it in many processes, each with little of its own."""
    for _ in range(8):
        try:
            if os.fork():
                continue
        except OSError:
            break
        kept = b"x" * (scene.memory_bytes // 2)
        time.sleep(_FOR_EVER)
        os._exit(len(kept) > 0)
    time.sleep(1.5)  # whoever watches has had the time to see it
    return f"took {4 * scene.memory_bytes >> 20} MB"


@attempt()
def large_buffers(scene: Scene) -> str:
    """Have the kernel keep more for a socket and a pipe than it usually does."""
    pair = socket.socketpair()
    grown = []
    for option in (socket.SO_SNDBUF, 32):  # SO_SNDBUFFORCE
        before = pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        with suppress(OSError):
            pair[0].setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        if pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > before:
            grown.append("a socket's")
    reading, _writing = os.pipe()
    with suppress(OSError):
        fcntl.fcntl(reading, 1031, 1 << 20)  # F_SETPIPE_SZ
    if fcntl.fcntl(reading, 1032) > 1 << 16:  # F_GETPIPE_SZ
        grown.append("a pipe's")
    return f"grew {' and '.join(grown)}" if grown else ""


@attempt()
def watches_of_the_person(scene: Scene) -> str:
    """Take of the watches on files that all programs of the person share."""
    return f"descriptor {syscall('inotify_init1', 0)}"


@attempt()
def requests_of_the_machine(scene: Scene) -> str:
    """Take of the places for asynchronous reading that all of the machine shares."""
    queue = ctypes.c_ulong(0)
    syscall("io_setup", 1, ctypes.byref(queue))
    return "took one"


@attempt()
def timers_of_the_person(scene: Scene) -> str:
    """Take all timers that the person's programs may have."""
    timer = ctypes.c_void_p()
    make = libc().timer_create
    for _ in range(2048):
        if make(1, None, ctypes.byref(timer)):  # CLOCK_MONOTONIC
            return ""
    return "took 2048"


@attempt()
def rules_without_end(scene: Scene) -> str:
    """Have the kernel keep rules of Landlock, as many as one likes."""
    words = (ctypes.c_uint64 * 2)(1, 0)
    fd = syscall("landlock_create_ruleset", ctypes.byref(words), 8, 0)
    return f"descriptor {fd}"


@attempt()
def open_file_in_socket(scene: Scene) -> str:
    """Put an open file into a socket, where nobody counts what it takes."""
    near, _far = socket.socketpair()
    socket.send_fds(near, [b"x"], [0])
    return "put it there"


@attempt()
def pages_in_pipe(scene: Scene) -> str:
    """Have a pipe hold on to pages, whatever larger page they are part of."""
    page = mmap.mmap(-1, mmap.PAGESIZE)
    here = ctypes.addressof(ctypes.c_char.from_buffer(page))
    piece = (ctypes.c_uint64 * 2)(here, 1)
    moved = []
    with open(__file__, "rb") as file:
        _reading, writing = os.pipe()
        with suppress(OSError):
            syscall("vmsplice", writing, ctypes.byref(piece), 1, 0)
            moved.append("vmsplice")
        with suppress(OSError):
            syscall("splice", file.fileno(), None, writing, None, 1, 0)
            moved.append("splice")
        with suppress(OSError):
            os.sendfile(writing, file.fileno(), 0, 1)
            moved.append("sendfile")
    return f"held by {', '.join(moved)}" if moved else ""


@attempt(harmless=False, alone=True, slow=True)
def much_memory_in_sockets(scene: Scene) -> str:
    """Take memory as what waits in sockets, in many processes."""
    for _ in range(scene.processes):
        try:
            if os.fork():
                continue
        except OSError:
            break
        pairs = []
        with suppress(OSError):
            while True:
                pairs.append(socket.socketpair())
                for end in pairs[-1]:
                    end.setblocking(False)
                    with suppress(BlockingIOError):
                        while end.send(b"x" * 4096):
                            pass
        time.sleep(_FOR_EVER)
    time.sleep(1.5)  # whoever watches has had the time to see it
    return "filled the sockets of many processes"


@attempt(harmless=False, alone=True)
def much_disk(scene: Scene) -> str:
    """Fill the disk with many files."""
    return _fill(scene, scene.workspace, 32 * scene.disk_bytes)


@attempt(harmless=False, alone=True)
def much_shared_memory(scene: Scene) -> str:
    """Fill memory with files in /tmp and /dev/shm."""
    most = 4 * max(scene.memory_bytes, scene.disk_bytes)
    return next((t for t in (_fill(scene, at, most) for at in ("/tmp", "/dev/shm")) if t), "")


@attempt(harmless=False, alone=True)
def much_nameless_memory(scene: Scene) -> str:
    """Fill memory with files that have no name."""
    most, chunk, kept = 4 * scene.memory_bytes, b"x" * (1 << 20), 0
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for number in range(64):
            fd = os.memfd_create(str(number))
            while os.fstat(fd).st_size < scene.file_bytes:
                kept += os.write(fd, chunk)
                if kept >= most:
                    return f"filled {kept >> 20} MB"
    except OSError:
        pass
    return f"filled {kept >> 20} MB" if kept > 2 * scene.memory_bytes else ""


def _fill(scene: Scene, folder: str, most: int) -> str:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    chunk, written, number = b"x" * (1 << 18), 0, 0
    fd = -1
    try:
        while written < most:
            if fd < 0 or os.fstat(fd).st_size + len(chunk) > scene.file_bytes:
                if fd >= 0:
                    os.close(fd)
                number += 1
                fd = os.open(
                    os.path.join(folder, f"filler-{number}"), os.O_CREAT | os.O_WRONLY, 0o600
                )
            written += os.write(fd, chunk)
    except OSError:
        return ""
    return f"wrote {written >> 20} MB to {folder}"


@attempt(alone=True)
def sparse_file(scene: Scene) -> str:
    """Make a file that says it is huge."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fd = os.open(os.path.join(scene.workspace, "sparse"), os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(fd, 1 << 40)
    return f"{os.fstat(fd).st_size >> 30} GB"


@attempt(alone=True)
def many_descriptors(scene: Scene) -> str:
    """Open files without end."""
    opened = 0
    while opened < 4 * scene.open_files:
        try:
            os.dup(0)
        except OSError:
            break
        opened += 1
    return f"{opened} open files" if opened > scene.open_files else ""


@attempt(alone=True)
def flood_output(scene: Scene) -> str:
    """Print without end."""
    while True:
        os.write(1, b"flood\n" * 8192)


@attempt(alone=True)
def flood_errors(scene: Scene) -> str:
    """Print errors without end."""
    while True:
        os.write(2, b"flood\n" * 8192)
