"""The call filter, run here as the kernel would run it."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from llmos.sandbox import seccomp

X86, ARM = 0xC000003E, 0xC00000B7
KILLED, DONE, ALLOWED = 0x80000000, 0x00050000, 0x7FFF0000
EPERM, EINVAL, ENOSYS = (DONE | number for number in (errno.EPERM, errno.EINVAL, errno.ENOSYS))


def decided(program: bytes, number: int, *arguments: int, machine: int = X86) -> int:
    """What the filter answers: an interpreter for the seven instructions it is made of."""
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number, machine, 0, *filled)
    ops = list(struct.iter_unpack("=HBBI", program))
    place = value = 0
    while True:
        code, yes, no, k = ops[place]
        place += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, k)
            case 0x54:
                value &= k
            case 0x15:
                place += yes if value == k else no
            case 0x25:
                place += yes if value > k else no
            case 0x45:
                place += yes if value & k else no
            case 0x06:
                return k
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")


STRICT = {"metadata": False}


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        (0, (), ALLOWED),  # read
        (101, (), EPERM),  # ptrace
        (41, (1, 1), EPERM),  # socket
        (53, (1, 1 | 0o2000000), ALLOWED),  # socketpair: a Unix stream, closed on exec
        (53, (1, 2), EPERM),  # a datagram socket could be sent elsewhere
        (53, (2, 1), EPERM),
        (44, (), ALLOWED),  # sendto, as send calls it
        (46, (), EPERM),  # sendmsg: it may carry open files
        (307, (), EPERM),  # sendmmsg
        (253, (), EPERM),  # inotify_init
        (294, (), EPERM),  # inotify_init1
        (206, (), EPERM),  # io_setup
        (444, (), ENOSYS),  # landlock_create_ruleset
        (40, (), EINVAL),  # sendfile
        (275, (), EINVAL),  # splice
        (276, (), EINVAL),  # tee
        (278, (), EINVAL),  # vmsplice
        (326, (), ALLOWED),  # copy_file_range
        (56, (0x01200011,), ALLOWED),  # clone, as fork calls it
        (56, (0x10000000 | 17,), EPERM),  # with a user namespace
        (435, (), ENOSYS),  # clone3
        (437, (), ENOSYS),  # openat2: its mode stands in memory
        (16, (0, 0x5401), ALLOWED),  # TCGETS
        (16, (0, 0x5412), EPERM),  # TIOCSTI
        (16, (0, 0x5412 | 1 << 32), EPERM),  # the kernel reads 32 bits, so does the filter
        (16, (0, 0x8901), EPERM),  # FIOSETOWN
        (16, (0, 0x8902), EPERM),  # SIOCSPGRP
        (302, (0,), ALLOWED),  # prlimit64 of itself
        (302, (1,), EPERM),
        (72, (0, 8), EPERM),  # F_SETOWN
        (72, (0, 1), ALLOWED),
        (72, (0, 6), ALLOWED),  # F_SETLK
        (72, (0, 1024), EPERM),  # F_SETLEASE
        (72, (0, 1026), EPERM),  # F_NOTIFY
        (72, (0, 1031), EPERM),  # F_SETPIPE_SZ
        (72, (0, 1032), ALLOWED),  # F_GETPIPE_SZ
        (54, (0, 1, 7), EPERM),  # setsockopt: SO_SNDBUF
        (54, (0, 1, 33), EPERM),  # SO_RCVBUFFORCE
        (54, (0, 1, 20), ALLOWED),  # SO_RCVTIMEO
        (257, (0, 0, 0x41, 0o644), ALLOWED),  # openat that creates
        (257, (0, 0, 0x41, 0o4755), EPERM),
        (257, (0, 0, 0, 0o4755), ALLOWED),  # without O_CREAT there is no mode
        (257, (0, 0, 0x410000, 0o4755), EPERM),  # O_TMPFILE
        (90, (0, 0o755), ALLOWED),  # chmod
        (90, (0, 0o2755), EPERM),
        (133, (0, 0o010644), ALLOWED),  # mknod of a pipe
        (133, (0, 0o020644), EPERM),
        (133, (0, 0o060644), EPERM),
        (280, (), ALLOWED),  # utimensat
        (600, (), ENOSYS),  # newer than the list
        (0x40000000, (), KILLED),  # x32
        (0x40000065, (), KILLED),
    ],
)
def test_a_call_is_answered(number: int, arguments: tuple[int, ...], answer: int):
    assert decided(seccomp.filter_program("x86_64"), number, *arguments) == answer


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        (56, (0x01200011,), ALLOWED),
        (56, (0x10000000,), EPERM),
        (90, (0, 0o755), DONE),  # said to be done, and not done
        (90, (0, 0o4755), EPERM),
        (92, (), EPERM),  # chown
        (188, (), EPERM),  # setxattr
        (280, (), DONE),
        (76, (), EPERM),  # truncate by name
    ],
)
def test_without_a_mount_namespace_more_is_refused(
    number: int, arguments: tuple[int, ...], answer: int
):
    assert decided(seccomp.filter_program("x86_64", **STRICT), number, *arguments) == answer


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        (63, (), ALLOWED),  # read
        (117, (), EPERM),  # ptrace
        (198, (), EPERM),  # socket
        (220, (0x10000000,), EPERM),
        (435, (), ENOSYS),
        (56, (0, 0, 0x41, 0o4755), EPERM),  # openat has clone's number of the other machine
        (56, (0, 0, 0, 0), ALLOWED),
    ],
)
def test_the_other_machine_has_its_own_numbers(
    number: int, arguments: tuple[int, ...], answer: int
):
    program = seccomp.filter_program("aarch64")
    assert decided(program, number, *arguments, machine=ARM) == answer


def test_calls_that_send_signals_are_asked_about_by_a_filter_of_their_own():
    for machine, arch, kill, read in (("x86_64", X86, 62, 0), ("aarch64", ARM, 129, 63)):
        asking = seccomp.signals_program(seccomp.NOTIFY, machine)
        assert decided(asking, kill, 1, 9, machine=arch) == seccomp.NOTIFY
        assert decided(asking, read, machine=arch) == ALLOWED
        assert decided(seccomp.filter_program(machine), kill, 1, 9, machine=arch) == ALLOWED


@pytest.mark.parametrize(("machine", "other"), [("x86_64", ARM), ("aarch64", X86)])
def test_calls_of_another_architecture_end_the_process(machine: str, other: int):
    assert decided(seccomp.filter_program(machine), 0, machine=other) == KILLED
    assert decided(seccomp.filter_program(machine), 0, machine=0x40000003) == KILLED  # 32 bits


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("strict", [{}, STRICT])
def test_every_number_is_decided_and_the_kernel_would_take_the_program(machine: str, strict: dict):
    program = seccomp.filter_program(machine, **strict)
    arch = {"x86_64": X86, "aarch64": ARM}[machine]
    for number in range(1024):
        decided(program, number, machine=arch)
    assert len(program) // 8 <= 4096  # BPF_MAXINSNS


def test_no_number_stands_twice():
    for place in (0, 1):
        numbers = [pair[place] for pair in seccomp._NUMBERS.values() if pair[place] is not None]
        assert len(numbers) == len(set(numbers))


def test_a_machine_it_is_not_written_for_is_refused():
    with pytest.raises(ValueError, match="riscv64"):
        seccomp.filter_program("riscv64")


HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"


@pytest.mark.skipif(not os.path.exists(HEADER), reason="The kernel's headers are not installed.")
def test_the_numbers_are_those_of_the_kernels_own_header():
    with open(HEADER) as file:
        words = [line.split() for line in file if line.startswith("#define __NR_")]
    known = {word[1].removeprefix("__NR_"): int(word[2]) for word in words}
    for name, (number, _) in seccomp._NUMBERS.items():
        assert known[name] == number
