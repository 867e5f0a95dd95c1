"""The world around a jail that is being probed: what is to be reached, and whether it was.

``World`` plants secrets in files, listens on sockets and starts a program to attack, and looks
afterwards at what changed. It believes nothing that an attempt says. All of it lies in a private
folder that is gone in the end, together with whatever the attempts left there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from llmos import limits, paths
from llmos.sandbox.attempts.registry import Scene
from llmos.sandbox.jail import Bounds

__all__ = ["World"]

_VICTIM = Path(__file__).with_name("probe_victim.py")
_SIGNALS = {
    "signal_another": signal.SIGUSR1,
    "signal_thread": signal.SIGUSR2,
    "signal_group": signal.SIGWINCH,
    "signal_by_descriptor": signal.SIGURG,
    "signal_by_ownership": signal.SIGIO,
}


class World:
    """Used as ``async with World(bounds) as world``.

    Args:
        bounds: Of the jails to be probed.
    """

    scene: Scene

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._token = secrets.token_hex(16)
        self._reached: set[str] = set()  # names of attempts that a listener saw
        self._signals: set[int] = set()
        self._close = contextlib.ExitStack()
        self._victim: asyncio.subprocess.Process | None = None
        self._priority = 0

    async def __aenter__(self) -> World:
        try:
            await self._build()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._end()

    def workspace(self) -> Path:
        """A new folder for one more jail."""
        return Path(tempfile.mkdtemp(prefix="workspace-", dir=self._root))

    async def outlived(self, workspace: Path) -> str:
        """Whether a process that locked ``alive`` still lives, after a moment to die in."""
        try:
            fd = os.open(workspace / "alive", os.O_RDWR)
        except FileNotFoundError:
            return ""
        try:
            for _ in range(limits.PROBE_DEATH_LOOKS):
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(limits.PROBE_DEATH_PAUSE_S)
                else:
                    return ""
        finally:
            os.close(fd)
        return "a process of it lives on"

    async def traces(self) -> dict[str, str]:
        """What was reached or changed, by the name of the attempt."""
        await asyncio.sleep(0)  # what arrived last is taken in
        found = dict.fromkeys(self._reached, "it arrived outside")
        await self._ask_victim()
        for name, number in _SIGNALS.items():
            if number in self._signals:
                found[name] = "the signal arrived"
        for name, look in self._looks().items():
            with contextlib.suppress(OSError):
                if look():
                    found[name] = "it happened outside"
        return found

    # --- what is there ----------------------------------------------------------------------

    def _places(self) -> tuple[Path, Path]:
        """llmos's state directory, and where in it the world is built."""
        try:
            state = paths.private_dir(paths.state_dir())
            parent = paths.private_dir(state / "sandbox")
            if shutil.disk_usage(parent).free < 2 * limits.PROBE_DISK_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:  # that one is sick or full is not the sandbox's fault: another will do
            state = Path(tempfile.mkdtemp(prefix="llmos-probe-"))
            self._close.callback(shutil.rmtree, state, ignore_errors=True)
            parent = paths.private_dir(state / "sandbox")
        return state, parent

    async def _build(self) -> None:
        state, parent = self._places()
        self._root = Path(os.path.realpath(tempfile.mkdtemp(prefix="probe-", dir=parent)))
        self._close.callback(shutil.rmtree, self._root, ignore_errors=True)
        self._hidden, self._readable, self._other = (
            paths.private_dir(self._root / name) for name in ("secrets", "readable", "other")
        )
        self._space = self.workspace()
        for name in ("secret.txt", "full.txt", "own.txt", "doomed.txt"):
            paths.atomic_write(self._hidden / name, self._token)
        for name in ("secret.txt", "moved.txt"):
            paths.atomic_write(self._other / name, self._token)
        for name in ("secrets/secret.txt", "secrets"):  # a careless program leaves them open
            fd = os.open(self._root / name, os.O_RDONLY)
            self._close.callback(os.close, fd)
            os.set_inheritable(fd, True)
        facts = await self._start_victim()
        home = os.path.realpath(Path.home())
        self.scene = Scene(
            token=self._token,
            workspace=str(self._space),
            readable=str(self._readable),
            secrets=str(self._hidden),
            other=str(self._other),
            state=os.path.realpath(state),
            home=home,
            home_names=sorted(self._names_below(home)),
            abstract=self._listen_abstract(),
            tcp4=self._listen_on("tcp4", socket.AF_INET, "127.0.0.1"),
            tcp6=self._listen_on("tcp6", socket.AF_INET6, "::1"),
            udp=self._listen_on("udp", socket.AF_INET, "127.0.0.1", socket.SOCK_DGRAM),
            processes=self._bounds.processes,
            open_files=self._bounds.open_files,
            memory_bytes=self._bounds.memory_bytes,
            file_bytes=self._bounds.file_bytes,
            disk_bytes=self._bounds.disk_bytes,
            **facts,
        )
        self._listen_at("kernel_socket", self._hidden / "kernel.sock")
        self._listen_at("unix_in_readable", self._readable / "near.sock")
        self._listen_at("receive_descriptor", self._hidden / "passing.sock", hand_over=True)

    def _names_below(self, home: str) -> set[str]:
        """Names in the home that a jail shows because they lead to what it may read."""
        shown = (sys.prefix, sys.base_prefix, sys.executable, __file__, str(self._root))
        return {
            os.path.relpath(path, home).split(os.sep)[0]
            for given in shown
            for path in (given, os.path.realpath(given))
            if path.startswith(home + os.sep)
        }

    async def _start_victim(self) -> dict[str, Any]:
        self._victim = process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_VICTIM),
            self._token, str(self._hidden / "secret.txt"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"SECRET": self._token},
            cwd="/",
            start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(limits.PROBE_START_S):
            line = await process.stdout.readline()
        self._priority = os.getpriority(os.PRIO_PROCESS, process.pid)
        return {**json.loads(line), "victim": process.pid}

    # --- listeners --------------------------------------------------------------------------

    def _listen(self, name: str, link: socket.socket, hand_over: bool = False) -> None:
        def arrived() -> None:
            self._reached.add(name)
            with contextlib.suppress(OSError):
                if link.type == socket.SOCK_DGRAM:
                    link.recv(4096)
                    return
                caller, _ = link.accept()
                with caller:
                    if hand_over:
                        fd = os.open(self._hidden / "secret.txt", os.O_RDONLY)
                        socket.send_fds(caller, [b"x"], [fd])
                        os.close(fd)

        link.setblocking(False)
        if link.type == socket.SOCK_STREAM:
            link.listen()
        loop = asyncio.get_running_loop()
        loop.add_reader(link, arrived)
        self._close.callback(link.close)
        self._close.callback(loop.remove_reader, link)

    def _listen_on(
        self, name: str, family: int, host: str, kind: socket.SocketKind = socket.SOCK_STREAM
    ) -> int:
        """The port of a new listener; 0 where this machine has no such network."""
        try:
            link = socket.socket(family, kind)
        except OSError:
            return 0
        try:
            link.bind((host, 0))
        except OSError:
            link.close()
            return 0
        self._listen(name, link)
        return int(link.getsockname()[1])

    def _listen_at(self, name: str, path: Path, hand_over: bool = False) -> None:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder = os.open(path.parent, os.O_RDONLY)
        try:  # a socket's address is shorter than many a path
            near = f"/proc/self/fd/{folder}/{path.name}"
            link.bind(near if os.path.isdir("/proc/self/fd") else str(path))
        except OSError:
            link.close()
            raise
        finally:
            os.close(folder)
        self._listen(name, link, hand_over)

    def _listen_abstract(self) -> str:
        if sys.platform != "linux":
            return ""
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        name = f"llmos-probe-{self._token[:12]}"
        link.bind(f"\0{name}")
        self._listen("unix_abstract", link)
        return name

    # --- afterwards -------------------------------------------------------------------------

    def _looks(self) -> dict[str, Callable[[], object]]:
        """For each attempt that leaves a trace outside, how to see it."""
        secret = self._hidden / "secret.txt"
        victim = self._victim
        assert victim is not None

        def there(path: Path) -> Callable[[], bool]:
            return lambda: os.path.lexists(path)

        def changed(path: Path) -> Callable[[], bool]:
            return lambda: not path.exists() or path.read_text() != self._token

        return {
            "attribute_outside": lambda: (
                hasattr(os, "listxattr") and "user.llmos" in os.listxattr(secret)
            ),
            "bound_outside": there(self._space / "trusted.sock"),
            "chmod_outside": lambda: stat.S_IMODE(secret.stat().st_mode) != 0o600,
            "create_outside": there(self._hidden / "created"),
            "delete_outside": changed(self._hidden / "doomed.txt"),
            "folder_outside": lambda: [*self._hidden.glob("made-*")],
            "make_hard_link": lambda: secret.stat().st_nlink > 1,
            "move_inside": changed(self._other / "moved.txt"),
            "rename_over": changed(self._hidden / "own.txt"),
            "setuid_left_behind": lambda: any(
                path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)
                for path in self._space.iterdir()
            ),
            "slow_another": lambda: os.getpriority(os.PRIO_PROCESS, victim.pid) != self._priority,
            "touch_outside": lambda: secret.stat().st_mtime < 1000,
            "truncate_outside": changed(self._hidden / "full.txt"),
            "write_readable": there(self._readable / "written"),
        }

    async def _ask_victim(self) -> None:
        """Take in which signals reached the program that was attacked."""
        victim = self._victim
        assert victim is not None
        assert victim.stdout is not None
        with contextlib.suppress(TimeoutError, ValueError):
            while True:
                async with asyncio.timeout(limits.PROBE_SIGNAL_S):
                    line = await victim.stdout.readline()
                if not line:
                    self._signals.add(signal.SIGUSR1)  # it is dead, however that came
                    return
                self._signals.add(int(line))

    async def _end(self) -> None:
        self._close.close()
        victim, self._victim = self._victim, None
        if victim is None:
            return
        assert victim.stdin is not None
        victim.stdin.close()
        try:
            async with asyncio.timeout(limits.PROBE_START_S):
                await victim.wait()
        except TimeoutError:
            victim.kill()
            await victim.wait()
