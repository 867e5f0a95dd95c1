"""The supervisor of a Landlock jail: locks a child up, and ends when nothing of it is left.

Run by its path with the bare interpreter (``python -I -S``); imports nothing of llmos. Its one
argument is a file descriptor with what to do (``landlock.py`` writes it, with ``marshal``, since
both are the same interpreter).

The child gives up its capabilities, gets its limits, its Landlock domain and its call filter, and
becomes the program. Where Landlock is too old to bound signals, a filter hands every call that
sends one to this process, which lets through what stays within the jail. Everything orphaned comes
back to this process (a subreaper); at the end it kills what descends from it, again and again,
until nothing is left. (Asking it about forks, too, so that none succeeds at the end, was tried: a
fork that is asked about fails when a signal comes meanwhile, and shells then give up.)
"""

from __future__ import annotations

import _socket
import ctypes
import importlib
import marshal
import os
import resource
import select
import signal
import struct
import sys
from array import array
from typing import Any, NoReturn

__all__: list[str] = []

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_SUBREAPER = 1, 24, 36
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 38, 47, 4
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF, _PATH_BENEATH = 444, 445, 446, 1
_SET_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 8, 32
_RECEIVE, _SEND, _VALID = 0xC0502100, 0xC0182101, 0x40082102  # ioctls of the listener
_NOTICE = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, number, machine, address, arguments
_CONTINUE = 1
_EPERM = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: Any) -> int:
    """A system call by number; raises ``OSError``."""
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *wide))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _prctl(option: int, *arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return int(_libc.prctl(option, *(ctypes.c_ulong(value) for value in padded)))


# --- the child ----------------------------------------------------------------------------------


def _drop_capabilities(capset: int) -> None:
    for capability in range(64):
        _prctl(_PR_CAPBSET_DROP, capability)  # refused to who has none, and needs no dropping
    _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    header = struct.pack("=Ii", 0x20080522, 0)
    _call(capset, ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def _restrict(attributes: bytes, rules: list[tuple[str, int, int]]) -> None:
    """Enter a Landlock domain; each rule is a path and what is allowed for a folder or a file."""
    ruleset = _call(_CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)
    for path, folder, file in rules:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rights = folder if os.path.isdir(path) else file
        rule = struct.pack("=Qi", rights, fd)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.c_char_p(rule), 0)
        os.close(fd)
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _filter(program: bytes, seccomp: int, *ways: int) -> int:
    """Install a call filter, with the first flags that this kernel knows; returns what it does."""
    code = ctypes.create_string_buffer(program, len(program))
    structure = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    for flags in ways:
        try:
            return _call(seccomp, _SET_FILTER, flags, ctypes.c_char_p(structure))
        except OSError as error:
            refused = error  # before Linux 5.19
    raise refused


def _become(asked: dict[str, Any], socket: Any) -> NoReturn:
    """Lock this process up and turn it into the program."""
    try:
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(asked["cwd"])
        _drop_capabilities(asked["capset"])
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _restrict(asked["attributes"], asked["rules"])
        for which, value in asked["limits"]:
            ceiling = resource.getrlimit(which)[1]
            value = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
            resource.setrlimit(which, (value, value))
        # Once received, a question is not interrupted by a signal.
        questions = _NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER
        listener = _filter(asked["signals"], asked["seccomp"], *questions)
        ancillary = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", [listener]).tobytes())
        socket.sendmsg([b"x"], [ancillary])
        os.close(listener)
        socket.close()
        _filter(asked["filter"], asked["seccomp"], 0)  # which lets nobody send a descriptor
        os.execve(asked["argv"][0], asked["argv"], asked["env"])
    except BaseException as error:
        os.write(2, f"jail: {error}\n".encode(errors="replace"))
    os._exit(126)


# --- the supervisor -----------------------------------------------------------------------------


class Supervisor:
    """Answers for the jail's calls that send signals, and ends what is left of it."""

    def __init__(self, asked: dict[str, Any], child: int, listener: int) -> None:
        folder = os.path.dirname(os.path.abspath(__file__))
        sys.path.append(folder)
        self._lineage = importlib.import_module("lineage")
        self._child = child
        self._listener = listener
        self.status = -1

    def serve(self, woken: int) -> None:
        """Until the program ended, or this process was told to end it."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while self.status < 0:
            for fd, _ in poll.poll():
                if fd == woken:
                    if signal.SIGTERM in os.read(woken, 64):
                        return
                    self._reap()
                else:
                    self._answer()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, status)

    def _ended(self, pid: int, status: int) -> None:
        if pid == self._child:
            code = os.waitstatus_to_exitcode(status)
            self.status = 128 - code if code < 0 else code

    def _answer(self) -> None:
        """One question of the filter."""
        notice = bytearray(_NOTICE.size)
        try:
            _ioctl(self._listener, _RECEIVE, notice)
        except OSError:
            return  # who asked has ended
        key, _, _, _, _, _, *arguments = _NOTICE.unpack(notice)
        allowed = self._may_signal(arguments[0])
        flags = _CONTINUE if allowed else 0
        reply = struct.pack("=QqiI", key, 0, 0 if allowed else -_EPERM, flags)
        try:
            _ioctl(self._listener, _SEND, bytearray(reply))
        except OSError:
            pass  # it ended while we looked

    def _may_signal(self, argument: int) -> bool:
        """Whether a signal's receiver, as the call names it, is within the jail."""
        target = ctypes.c_int(argument & 0xFFFFFFFF).value
        inside = self._lineage.descendants(os.getpid())
        if target == 0:  # its own group, which began within the jail
            return True
        if target == -1:
            return False
        if target < -1:  # a group lies within one session, and all of the jail's began in it
            return any(_group(pid) == -target for pid in inside)
        return target in inside or any(
            os.path.exists(f"/proc/{pid}/task/{target}") for pid in inside
        )

    def end(self) -> None:
        """End everything, until nothing descends from this process."""
        os.close(self._listener)
        while True:
            for pid in self._lineage.descendants(os.getpid()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                pid, status = os.waitpid(-1, 0)
                while pid:
                    self._ended(pid, status)
                    pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _ioctl(fd: int, request: int, buffer: bytearray) -> None:
    view = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    if _libc.ioctl(fd, ctypes.c_ulong(request), view) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    with open(int(sys.argv[1]), "rb") as file:
        asked = marshal.load(file)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != asked["parent"]:
        os._exit(126)  # llmos ended before it could be told
    _prctl(_PR_SET_SUBREAPER, 1)
    woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waking)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    if not os.read(asked["go"], 1):
        os._exit(126)  # llmos could not set its limits
    os.close(asked["go"])
    child = os.fork()
    if child == 0:
        ours.close()
        _become(asked, theirs)
    theirs.close()
    _, ancillary, _, _ = ours.recvmsg(1, _socket.CMSG_SPACE(4))
    nothing = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2, *asked["fds"]):
        os.dup2(nothing, fd)  # the program's alone: its end is the end of the pipe
    if not ancillary:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    supervisor = Supervisor(asked, child, struct.unpack("i", ancillary[0][2])[0])
    supervisor.serve(woken)
    supervisor.end()
    os._exit(supervisor.status & 0xFF if supervisor.status >= 0 else 128 + signal.SIGKILL)


if __name__ == "__main__":
    main()
