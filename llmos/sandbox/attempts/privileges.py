"""Attempts on the kernel: its doors that only an administrator, or nobody at all, needs.

Where such a door may not be used without a jail either, an attempt proves nothing about the jail;
it is made all the same, since the same jails are used as root and in containers. Each stops short
of doing harm: what it passes beyond the question of rights makes no sense.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from pathlib import Path

from .registry import Scene, attempt, libc, syscall

__all__: list[str] = []

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
_NEWPID, _NEWNET, _NEWCGROUP = 0x20000000, 0x40000000, 0x02000000
_TIOCSTI = 0x5412


def _asked(name: str, *args: object) -> str:
    """A call that asks for rights first and cannot succeed: any other refusal is a yes."""
    try:
        return f"returned {syscall(name, *args)}"
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise
        return f"was let through: {error.strerror}"


# --- namespaces ---------------------------------------------------------------------------------


@attempt()
def user_namespace(scene: Scene) -> str:
    """Make a namespace in which one is root."""
    syscall("unshare", _NEWUSER)
    return "made it"


@attempt()
def other_namespaces(scene: Scene) -> str:
    """Make a namespace for mounts, network, processes or names."""
    for kind in (_NEWNS, _NEWNET, _NEWPID, _NEWUTS, _NEWIPC, _NEWCGROUP):
        try:
            syscall("unshare", kind)
        except OSError:
            continue
        return f"made one ({kind:#x})"
    return ""


@attempt()
def clone_namespace(scene: Scene) -> str:
    """Start a process in a user namespace of its own."""
    pid = syscall("clone", _NEWUSER | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "started it"


@attempt()
def clone3_namespace(scene: Scene) -> str:
    """Start such a process by the newer call, whose flags no filter can see."""
    words = (ctypes.c_uint64 * 11)(_NEWUSER, 0, 0, 0, 17)
    pid = syscall("clone3", ctypes.byref(words), ctypes.sizeof(words))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "started it"


@attempt()
def enter_namespace(scene: Scene) -> str:
    """Enter the namespaces of another process."""
    for name in ("user", "mnt", "net", "pid", "ipc", "uts"):
        for pid in ("1", str(scene.victim), "self"):
            try:
                syscall("setns", os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), 0)
            except OSError:
                continue
            return f"entered {name} of {pid}"
    return ""


@attempt()
def mount_folder(scene: Scene) -> str:
    """Mount a file system over the workspace."""
    kind, where = ctypes.c_char_p(b"tmpfs"), ctypes.c_char_p(os.fsencode(scene.workspace))
    c = libc()
    if c.mount(kind, where, kind, ctypes.c_ulong(0), None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    c.umount2(where, 2)
    return "mounted it"


@attempt()
def mount_anew(scene: Scene) -> str:
    """Mount by the newer calls."""
    for name, args in (
        ("fsopen", (ctypes.c_char_p(b"tmpfs"), 0)),
        ("open_tree", (-100, ctypes.c_char_p(b"/"), 1)),
    ):
        try:
            return f"{name}: descriptor {syscall(name, *args)}"
        except OSError:
            continue
    return ""


@attempt()
def unmount(scene: Scene) -> str:
    """Unmount what hides the rest."""
    return _asked("umount2", ctypes.c_char_p(os.fsencode(scene.workspace)), 2)


@attempt()
def change_root(scene: Scene) -> str:
    """Change the root of the file system."""
    os.chroot(scene.workspace)
    return "changed it"


@attempt()
def swap_root(scene: Scene) -> str:
    """Swap the root of the file system for another."""
    where = ctypes.c_char_p(os.fsencode(scene.workspace))
    return _asked("pivot_root", where, where)


@attempt()
def name_machine(scene: Scene) -> str:
    """Give the machine another name."""
    name = os.fsencode(os.uname().nodename)
    if libc().sethostname(name, len(name)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "gave it the name it has"


# --- doors into the kernel ----------------------------------------------------------------------


@attempt()
def kernel_keys(scene: Scene) -> str:
    """Reach the keys the kernel keeps for its user."""
    return f"keyring {syscall('keyctl', 0, -4, 1)}"


@attempt()
def add_kernel_key(scene: Scene) -> str:
    """Put a key among them."""
    word = ctypes.c_char_p(b"user")
    return f"key {syscall('add_key', word, word, word, 4, -1)}"


@attempt()
def kernel_programs(scene: Scene) -> str:
    """Load something into the kernel by bpf."""
    words = (ctypes.c_uint32 * 32)(2, 4, 4, 1)
    return f"map {syscall('bpf', 0, ctypes.byref(words), ctypes.sizeof(words))}"


@attempt()
def performance_counters(scene: Scene) -> str:
    """Open the processor's counters."""
    words = (ctypes.c_uint32 * 32)(1, 128)
    return f"descriptor {syscall('perf_event_open', ctypes.byref(words), 0, -1, -1, 0)}"


@attempt()
def page_faults(scene: Scene) -> str:
    """Handle page faults of the kernel by userfaultfd, for races."""
    return f"descriptor {syscall('userfaultfd', 0)}"


@attempt()
def rings(scene: Scene) -> str:
    """Make system calls by io_uring, which filters do not see."""
    words = (ctypes.c_uint32 * 64)()
    return f"descriptor {syscall('io_uring_setup', 4, ctypes.byref(words))}"


@attempt()
def watch_everything(scene: Scene) -> str:
    """Watch all files by fanotify."""
    return f"descriptor {syscall('fanotify_init', 0, os.O_RDONLY)}"


@attempt()
def personality(scene: Scene) -> str:
    """Switch the protections of memory off."""
    return f"was {syscall('personality', 0x0040000 | 0x0400000):#x}"


@attempt()
def kernel_log(scene: Scene) -> str:
    """Read the kernel's log, which tells addresses."""
    buffer = ctypes.create_string_buffer(4096)
    return f"{syscall('syslog', 3, buffer, 4096)} bytes"


@attempt()
def input_ports(scene: Scene) -> str:
    """Reach the machine's input and output ports."""
    syscall("iopl", 3)
    return "reached them"


@attempt()
def load_module(scene: Scene) -> str:
    """Load a module into the kernel, and take one out."""
    name = ctypes.c_char_p(b"llmos_no_such_module")
    try:
        return _asked("init_module", None, 0, ctypes.c_char_p(b""))
    except OSError:
        return _asked("delete_module", name, 0o4000)


@attempt()
def new_kernel(scene: Scene) -> str:
    """Have another kernel started."""
    return _asked("kexec_load", 0, 1 << 20, None, 0)


@attempt()
def restart_machine(scene: Scene) -> str:
    """Restart the machine (with a wrong key)."""
    return _asked("reboot", 0, 0, 0, None)


@attempt()
def set_time(scene: Scene) -> str:
    """Set the clock (to nothing)."""
    return _asked("settimeofday", None, None)


@attempt()
def swap_space(scene: Scene) -> str:
    """Swap memory to a file (that is not there)."""
    return _asked("swapon", ctypes.c_char_p(b"/nonexistent"), 0)


@attempt()
def accounting(scene: Scene) -> str:
    """Write down what everybody runs (to a file that is not there)."""
    return _asked("acct", ctypes.c_char_p(b"/nonexistent"))


@attempt()
def disk_quota(scene: Scene) -> str:
    """Change disk quotas (of no device)."""
    quota_on = 0x80000200
    try:
        return f"returned {syscall('quotactl', quota_on, None, 0, None)}"
    except OSError:
        return ""


@attempt()
def kernel_settings(scene: Scene) -> str:
    """Open the kernel's settings for writing (nothing is written)."""
    for path in (
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/hostname",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/sys/power/state",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/sys/fs/cgroup/memory/release_agent",
    ):
        try:
            os.close(os.open(path, os.O_WRONLY))
        except OSError:
            continue
        return f"opened {path}"
    return ""


@attempt()
def kernel_memory(scene: Scene) -> str:
    """Read the kernel's memory."""
    for path in ("/proc/kcore", "/dev/mem", "/dev/kmem", "/proc/kmsg"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            return f"read {path}" if os.read(fd, 16) else ""
        except OSError:
            continue
    return ""


@attempt()
def user_map(scene: Scene) -> str:
    """Change who one is outside by the map of users."""
    for name in ("uid_map", "gid_map"):
        try:
            Path(f"/proc/self/{name}").write_text("0 0 1\n")
        except OSError:
            continue
        return f"wrote {name}"
    return ""


def _type_into_terminal(request: int) -> str:
    c = libc()
    c.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p)
    fds = [0, 1, 2]
    try:
        fds = [*os.openpty(), *fds]
    except OSError:
        pass  # then only what was inherited
    for fd in fds:
        if c.ioctl(fd, request, b"x") == 0:
            return f"typed into descriptor {fd}"
    return ""


@attempt()
def type_into_terminal(scene: Scene) -> str:
    """Type into the terminal, as if the person did."""
    return _type_into_terminal(_TIOCSTI)


@attempt()
def type_in_disguise(scene: Scene) -> str:
    """Type into the terminal by a request whose upper half a filter may compare."""
    return _type_into_terminal(_TIOCSTI | 1 << 32)


@attempt()
def controlling_terminal(scene: Scene) -> str:
    """Open the terminal that llmos was started from."""
    fd = os.open("/dev/tty", os.O_RDWR)
    fcntl.fcntl(fd, fcntl.F_GETFL)
    return "opened it"
