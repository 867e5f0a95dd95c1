"""Attempts on other processes of the same person: to read them, to stop them, to take them over."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from .registry import Scene, attempt, libc, syscall

__all__: list[str] = []

_ALLOWED_NAMES = frozenset({"PATH", "HOME", "LANG", "TMPDIR", "PWD", "LC_CTYPE"})
_PTRACE_TRACEME, _PTRACE_ATTACH, _PTRACE_SEIZE = 0, 16, 0x4206


class _Span(ctypes.Structure):
    """C's ``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _proc(name: str) -> list[str]:
    return [f"/proc/{pid}/{name}" for pid in os.listdir("/proc") if pid.isdigit()]


def _found(scene: Scene, name: str) -> str:
    own = f"/proc/{os.getpid()}/"
    for path in _proc(name):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if not path.startswith(own) and scene.token.encode() in file.read(1 << 20):
                return f"read {path}"
    return ""


# --- to read ------------------------------------------------------------------------------------


@attempt()
def own_environment(scene: Scene) -> str:
    """Find anything in the environment but what is harmless."""
    return ", ".join(sorted(set(os.environ) - _ALLOWED_NAMES)[:5])


@attempt()
def environment_of_others(scene: Scene) -> str:
    """Read the environment of other processes."""
    return _found(scene, "environ")


@attempt()
def arguments_of_others(scene: Scene) -> str:
    """Read the command lines of other processes."""
    return _found(scene, "cmdline")


@attempt()
def memory_map_of_another(scene: Scene) -> str:
    """Read how the memory of another process is laid out."""
    with open(f"/proc/{scene.victim}/maps") as file:
        return "read it" if file.read(1) else ""


@attempt()
def memory_file_of_another(scene: Scene) -> str:
    """Read the memory of another process through /proc."""
    fd = os.open(f"/proc/{scene.victim}/mem", os.O_RDONLY)
    return scene.told(os.pread(fd, 64, scene.address), "read it")


@attempt()
def memory_of_another(scene: Scene) -> str:
    """Read the memory of another process by process_vm_readv."""
    buffer = ctypes.create_string_buffer(64)
    here = _Span(ctypes.addressof(buffer), 64)
    there = _Span(scene.address, 64)
    syscall(
        "process_vm_readv", scene.victim, ctypes.byref(here), 1, ctypes.byref(there), 1, 0
    )  # fmt: skip
    return scene.told(buffer.raw, "read it")


@attempt()
def descriptor_of_another(scene: Scene) -> str:
    """Take an open file out of another process."""
    pidfd = syscall("pidfd_open", scene.victim, 0)
    got = syscall("pidfd_getfd", pidfd, scene.victim_fd, 0)
    return scene.told(os.pread(got, 4096, 0), "read the file")


@attempt()
def shared_memory(scene: Scene) -> str:
    """Attach another program's System V shared memory."""
    if not scene.shared_key:
        return ""
    c = libc()
    number = c.shmget(scene.shared_key, 0, 0)
    if number < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    c.shmat.restype = ctypes.c_void_p
    at = c.shmat(number, None, 0o10000)
    return scene.told(ctypes.string_at(at, 64), "read it") if at not in (None, 2**64 - 1) else ""


@attempt()
def shared_memory_file(scene: Scene) -> str:
    """Open another program's shared memory in /dev/shm."""
    if not scene.shared_name:
        return ""
    return scene.told(Path("/dev/shm", scene.shared_name).read_bytes(), "read it")


# --- to meddle ----------------------------------------------------------------------------------


@attempt()
def signal_another(scene: Scene) -> str:
    """Send a signal to another process."""
    os.kill(scene.victim, signal.SIGUSR1)
    return ""  # whether it was that process, the outside tells


@attempt()
def signal_thread(scene: Scene) -> str:
    """Send a signal to a thread of another process."""
    syscall("tgkill", scene.victim, scene.victim, int(signal.SIGUSR2))
    return ""


@attempt()
def signal_group(scene: Scene) -> str:
    """Send a signal to the process group of another process."""
    os.killpg(scene.victim, signal.SIGWINCH)
    return ""


@attempt()
def signal_by_descriptor(scene: Scene) -> str:
    """Send a signal by a descriptor of another process."""
    pidfd = syscall("pidfd_open", scene.victim, 0)
    syscall("pidfd_send_signal", pidfd, int(signal.SIGURG), None, 0)
    return ""


@attempt()
def signal_by_ownership(scene: Scene) -> str:
    """Have the kernel send a signal to another process when a pipe or a socket is written to."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(reading, fcntl.F_SETOWN, scene.victim)
        fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC)
        os.write(writing, b"x")
    for request in (0x8901, 0x8902):  # FIOSETOWN, SIOCSPGRP
        near, far = socket.socketpair()
        with contextlib.suppress(OSError):
            fcntl.ioctl(near, request, scene.victim.to_bytes(4, sys.byteorder))
            fcntl.fcntl(near, fcntl.F_SETFL, os.O_ASYNC)
            far.send(b"x")
    return ""


@attempt()
def slow_another(scene: Scene) -> str:
    """Take priority away from another process."""
    os.setpriority(os.PRIO_PROCESS, scene.victim, 19)
    return ""


@attempt()
def pin_another(scene: Scene) -> str:
    """Tie another process to one processor."""
    os.sched_setaffinity(scene.victim, {min(os.sched_getaffinity(scene.victim))})
    return "tied it"


@attempt()
def limit_another(scene: Scene) -> str:
    """Set a limit of another process."""
    resource.prlimit(scene.victim, resource.RLIMIT_CORE, (0, 0))
    return "set it"


@attempt()
def trace_another(scene: Scene) -> str:
    """Trace another process."""
    syscall("ptrace", _PTRACE_SEIZE, scene.victim, 0, 0)
    return "traces it"


@attempt()
def trace_at_all(scene: Scene) -> str:
    """Be traced, which is how filters of system calls were got round."""
    child = os.fork()
    if child == 0:
        try:
            syscall("ptrace", _PTRACE_TRACEME, 0, 0, 0)
        except OSError:
            os._exit(1)
        os._exit(0)
    return "allowed" if os.waitpid(child, 0)[1] == 0 else ""


@attempt()
def raise_own_priority(scene: Scene) -> str:
    """Get in before everybody else's work."""
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    return "done"


@attempt()
def real_time(scene: Scene) -> str:
    """Be scheduled in real time, before everything else on the machine."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return "done"


@attempt()
def lift_own_limits(scene: Scene) -> str:
    """Lift the limits that were set."""
    for name in ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_NOFILE"):
        kind = getattr(resource, name)
        soft, hard = resource.getrlimit(kind)
        try:
            resource.setrlimit(kind, (soft, hard + 1 if hard >= 0 else hard))
        except (OSError, ValueError):
            continue
        if hard >= 0:
            return f"lifted {name}"
    return ""


@attempt()
def spare_from_memory_killer(scene: Scene) -> str:
    """Have others killed first when memory runs out."""
    path = Path("/proc/self/oom_score_adj")
    before = path.read_text()
    path.write_text("-1000")
    path.write_text(before)
    return "done"


# --- to become another --------------------------------------------------------------------------


def _run(scene: Scene, program: str | int, args: list[str], env: dict[str, str]) -> str:
    """Whether a program printed the token."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(writing, 2)
        try:
            os.execve(program, args, env)
        finally:
            os._exit(127)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        told = file.read(1 << 16)
    os.waitpid(child, 0)
    return scene.told(told, "it read the secret")


@attempt()
def setuid_programs(scene: Scene) -> str:
    """Read a secret with a program that changes who one is."""
    for path, *args in (
        ("/usr/bin/su", "-c", f"cat {scene.secret}"),
        ("/usr/bin/sudo", "-n", "cat", scene.secret),
        ("/usr/bin/pkexec", "cat", scene.secret),
        ("/usr/bin/newgrp", "-"),
    ):
        if os.path.exists(path) and (told := _run(scene, path, [path, *args], {})):
            return f"{path}: {told}"
    return ""


@attempt()
def become_root(scene: Scene) -> str:
    """Become another user."""
    for user in (0, 1, 65534):
        if user == os.getuid():
            continue
        with contextlib.suppress(OSError):
            os.setresuid(user, user, user)
            return f"became user {user}"
    return ""


@attempt()
def program_from_memory(scene: Scene) -> str:
    """Read a secret with a program that has no file."""
    fd = os.memfd_create("program", 0)
    os.write(fd, f"#!/bin/cat {scene.secret}\n".encode())
    return _run(scene, f"/proc/self/fd/{fd}", ["program"], {})


@attempt()
def preload(scene: Scene) -> str:
    """Read a secret with a program that loads a library of ours first."""
    env = {"LD_PRELOAD": "/usr/lib/libm.so.6", "LD_AUDIT": "/usr/lib/libm.so.6"}
    return _run(scene, "/bin/cat", ["cat", scene.secret], env)


@attempt()
def other_loader(scene: Scene) -> str:
    """Read a secret with a program started by the loader, not by the kernel."""
    for loader in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        if os.path.exists(loader):
            return _run(scene, loader, [loader, "/bin/cat", scene.secret], {})
    return ""


@attempt()
def machine_code(scene: Scene) -> str:
    """Make a system call in the numbering of another architecture."""
    if os.uname().machine != "x86_64":
        return ""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, 359 (socket); mov ebx, 2 (inet); mov ecx, 1 (stream); xor edx, edx
    # int 0x80; pop rbx; ret
    page.write(
        bytes.fromhex("53b867010000bb02000000b90100000031d2cd805bc3")
    )  # what a 64-bit filter would read as another call
    function = ctypes.CFUNCTYPE(ctypes.c_int)(
        ctypes.addressof(ctypes.c_char.from_buffer(page))
    )  # fmt: skip
    return "opened a socket" if function() >= 0 else ""


@attempt()
def disguised_number(scene: Scene) -> str:
    """Make a system call by its x32 number, past a filter that knows only the usual ones."""
    if os.uname().machine != "x86_64":
        return ""
    call = libc().syscall
    call.restype = ctypes.c_long
    socket_x32 = 0x40000000 + 41
    return "opened a socket" if call(ctypes.c_long(socket_x32), 2, 1, 0) >= 0 else ""
