"""System calls that no jail may make, as a program for the kernel's own filter (seccomp-BPF).

The filter is a list of what is refused: what reaches other processes, the network, namespaces,
mounts, keys, clocks or the less trodden parts of the kernel. Refused calls fail with ``EPERM``, so
programs go on; a call by another architecture's numbers ends the process, since the numbers here
would not fit it; calls that are newer than this list fail with ``ENOSYS``, as on an older kernel;
calls that move pages into pipes and sockets fail with ``EINVAL``, upon which programs copy.

Knows x86_64 and aarch64. Looks at registers only: what a pointer points to could be changed by
another thread after the look (``clone3`` is therefore absent, and C libraries fall back).
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterable, Iterator

__all__ = ["ALLOW", "NOTIFY", "SUPPORTED", "filter_program", "signals_program"]

ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000  #: a supervisor decides
_KILL = 0x80000000
_EPERM = 0x00050000 | errno.EPERM
_EINVAL = 0x00050000 | errno.EINVAL
_ENOSYS = 0x00050000 | errno.ENOSYS
_DONE = 0x00050000  # not carried out, and reported as done

_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
#: Machines that the filter is written for.
SUPPORTED = frozenset(_ARCHES)
_X32 = 0x40000000  # numbers above are the x32 variants, which would pass every comparison
_NEWEST = 451  # the last call this list was made with; what came later is unknown to it

#: Name: number on x86_64, number on aarch64; None where that machine has none.
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    # mounts and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    # namespaces
    "unshare": (272, 97),
    "setns": (308, 268),
    # the kernel itself
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "seccomp": (317, 277),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "syslog": (103, 116),
    "acct": (163, 89),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "lookup_dcookie": (212, 18),
    "uselib": (134, None),
    # the machine
    "reboot": (169, 142),
    "vhangup": (153, 58),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    # memory that outlives its process, or that no limit counts
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semctl": (66, 191),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # what all programs of a person have in common, 128 of one and 65,536 of the other
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "io_setup": (206, 0),
    # an open file that waits in a socket belongs to no process: no watch would find it
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    # the network; socketpair is looked at more closely
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "socketpair": (53, 199),
    "setsockopt": (54, 208),
    # A page in a pipe stays where it is until it is read, and all of a larger page that it is part
    # of: 32 MB a pipe, which no limit counts.
    "sendfile": (40, 71),
    "splice": (275, 76),
    "tee": (276, 77),
    "vmsplice": (278, 75),
    # memory that no limit counts: a rule for every port, in every descriptor
    "landlock_create_ruleset": (444, 444),
    # looked at more closely
    "clone": (56, 220),
    "clone3": (435, 435),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "open": (2, None),
    "creat": (85, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    # what Landlock does not look at
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "truncate": (76, 45),
    "inotify_add_watch": (254, 27),
}

_REFUSED = tuple(_NUMBERS)[: tuple(_NUMBERS).index("socketpair")]
_OWNERS = ("chown", "fchown", "lchown", "fchownat")
_XATTRS = (
    *("setxattr", "lsetxattr", "fsetxattr"),
    *("removexattr", "lremovexattr", "fremovexattr"),
)
_MODES = ("chmod", "fchmod", "fchmodat")
_MOVES = ("sendfile", "splice", "tee", "vmsplice")
_BY_NAME = ("truncate", "inotify_add_watch")  # old Landlock, and all of it, lets these through
_TIMES = ("utime", "utimes", "futimesat", "utimensat")
_SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_SET_ID = 0o6000
_CREATES = 0x40 | 0x400000  # O_CREAT, O_TMPFILE: only then is there a mode
_TYPE, _DEVICES = 0o170000, (0o020000, 0o060000)
#: TIOCSTI and TIOCLINUX type into a terminal; FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR change a file
#: that is open for reading only; FIOSETOWN and SIOCSPGRP are F_SETOWN for sockets.
_CONTROLS = (0x5412, 0x541C, 0x40086602, 0x401C5820, 0x8901, 0x8902)
#: F_SETOWN, F_SETSIG and F_SETOWN_EX have the kernel send signals; a lease (F_SETLEASE) holds up
#: whoever opens the file outside, for 45 s; F_NOTIFY tells what others do; F_SETPIPE_SZ takes
#: memory that no limit counts, and so do locks of open files (F_OFD_SETLK, F_OFD_SETLKW), for which
#: no process answers; those of processes ``usage.py`` counts.
_HANDLING = (8, 10, 15, 37, 38, 1024, 1026, 1031)
_BUFFERS = (7, 8, 32, 33)  # SO_SNDBUF, SO_RCVBUF, SO_SNDBUFFORCE, SO_RCVBUFFORCE: the same
_UNIX, _STREAM, _KIND = 1, 1, 0xF

_Op = tuple[int, int, int, int]
_LOAD, _EQUAL, _ABOVE, _SET, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06


def filter_program(machine: str = "", *, metadata: bool = True) -> bytes:
    """The filter as an array of ``struct sock_filter``.

    Args:
        machine: As ``platform.machine()`` has it; empty for this one.
        metadata: Whether owners, extended attributes, modes and times of files may be changed. A
            tier without a mount namespace cannot tell whose files they are: there modes and
            times stay as they are while the call reports success, since too many programs set
            them in passing, and owners and attributes are refused.

    Raises:
        ValueError: The filter is not written for this machine.
    """
    machine = machine or platform.machine()
    ops = _beginning(machine)
    ops += [(_ABOVE, 0, 1, _X32 - 1), _end(_KILL), (_ABOVE, 0, 1, _NEWEST), _end(_ENOSYS)]

    def on(names: Iterable[str], body: list[_Op]) -> None:
        ops.extend(_on(machine, names, body))

    on(_REFUSED, [_end(_EPERM)])
    on(("clone3", "openat2", "landlock_create_ruleset"), [_end(_ENOSYS)])
    on(_MOVES, [_end(_EINVAL)])
    on(("clone",), _any_bit(0, _NEW_NAMESPACES, _EPERM))
    on(("socketpair",), _only_unix_streams())
    on(("ioctl",), _one_of(1, _CONTROLS, _EPERM))
    on(("fcntl",), _one_of(1, _HANDLING, _EPERM))
    on(("setsockopt",), _one_of(2, _BUFFERS, _EPERM))
    on(("prlimit64", "sched_setaffinity"), _only_own())
    on(("open",), _creates_set_id(1, 2))
    on(("openat",), _creates_set_id(2, 3))
    on(("creat",), _any_bit(1, _SET_ID, _EPERM))
    on(("mknod",), _no_device(1))
    on(("mknodat",), _no_device(2))
    if metadata:
        on(("chmod", "fchmod"), _any_bit(1, _SET_ID, _EPERM))
        on(("fchmodat",), _any_bit(2, _SET_ID, _EPERM))
    else:
        on((*_OWNERS, *_XATTRS, *_BY_NAME), [_end(_EPERM)])
        on(("chmod", "fchmod"), _any_bit(1, _SET_ID, _EPERM, otherwise=_DONE))
        on(("fchmodat",), _any_bit(2, _SET_ID, _EPERM, otherwise=_DONE))
        on(_TIMES, [_end(_DONE)])
    return _packed(ops)


def signals_program(signals: int, machine: str = "") -> bytes:
    """A filter for the calls that send a signal; it allows all others.

    Args:
        signals: What is done with them: ``ALLOW`` or ``NOTIFY``.
        machine: As ``platform.machine()`` has it; empty for this one.

    Raises:
        ValueError: The filter is not written for this machine.
    """
    machine = machine or platform.machine()
    return _packed([*_beginning(machine), *_on(machine, _SIGNALS, [_end(signals)])])


def _beginning(machine: str) -> list[_Op]:
    """Another architecture's calls end the process; the number of the call is loaded."""
    if machine not in SUPPORTED:
        raise ValueError(f"no system call filter is written for {machine}")
    return [_load(4), (_EQUAL, 1, 0, _ARCHES[machine]), _end(_KILL), _load(0)]


def _on(machine: str, names: Iterable[str], body: list[_Op]) -> Iterator[_Op]:
    """``body`` for each of these calls that the machine has."""
    place = sorted(SUPPORTED, reverse=True).index(machine)
    for name in names:
        number = _NUMBERS[name][place]
        if number is not None:
            yield from ((_EQUAL, 0, len(body), number), *body)


def _packed(ops: Iterable[_Op]) -> bytes:
    """The program; what it did not decide is allowed."""
    return b"".join(struct.pack("=HBBI", *op) for op in (*ops, _end(ALLOW)))


def _load(offset: int) -> _Op:
    return _LOAD, 0, 0, offset


def _end(action: int) -> _Op:
    return _RETURN, 0, 0, action


def _argument(index: int) -> _Op:
    """Its low 32 bits: what the kernel reads of all arguments that are looked at here."""
    return _load(16 + 8 * index)


def _any_bit(index: int, bits: int, action: int, *, otherwise: int = ALLOW) -> list[_Op]:
    return [_argument(index), (_SET, 0, 1, bits), _end(action), _end(otherwise)]


def _one_of(index: int, values: Iterable[int], action: int) -> list[_Op]:
    tests = [op for value in values for op in ((_EQUAL, 0, 1, value), _end(action))]
    return [_argument(index), *tests, _end(ALLOW)]


def _only_own() -> list[_Op]:
    """Its first argument names a process: 0 is the caller."""
    return [_argument(0), (_EQUAL, 0, 1, 0), _end(ALLOW), _end(_EPERM)]


def _only_unix_streams() -> list[_Op]:
    """A datagram socket of a pair could be sent to any address; a stream stays with its peer."""
    kind: list[_Op] = [_argument(1), (_AND, 0, 0, _KIND), (_EQUAL, 0, 1, _STREAM), _end(ALLOW)]
    return [_argument(0), (_EQUAL, 0, len(kind), _UNIX), *kind, _end(_EPERM)]


def _creates_set_id(flags: int, mode: int) -> list[_Op]:
    return [
        _argument(flags),
        (_SET, 1, 0, _CREATES),
        _end(ALLOW),
        *_any_bit(mode, _SET_ID, _EPERM),
    ]


def _no_device(mode: int) -> list[_Op]:
    return [
        _argument(mode),
        (_SET, 0, 1, _SET_ID),
        _end(_EPERM),
        (_AND, 0, 0, _TYPE),
        *(op for kind in _DEVICES for op in ((_EQUAL, 0, 1, kind), _end(_EPERM))),
        _end(ALLOW),
    ]
