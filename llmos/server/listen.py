"""The listeners: a private Unix socket and, where asked for, TCP on loopback.

Knows sockets and uvicorn, not routes. Signals belong to the boot code: nothing here touches
signal handlers. An idle listener wakes nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from llmos import limits, paths
from llmos.errors import KernelError, KernelRunning
from llmos.server.auth import TcpGuard
from llmos.server.connection import Connection, make_room

__all__ = ["serve"]

_BACKLOG = 128
_PROBE_SECONDS = 1.0


class _Server(uvicorn.Server):
    """uvicorn's server, ended by cancellation instead of by signals and a ten-hertz poll.

    Args:
        app: What answers.
        most: Connections that may be open at once.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        config = uvicorn.Config(
            app,
            http=cast(Any, functools.partial(Connection, most=most)),
            ws="websockets-sansio",
            ws_max_size=limits.SOCKET_FRAME_BYTES,
            ws_per_message_deflate=False,
            ws_ping_interval=None,  # loopback and Unix sockets tell when the other end goes
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=limits.KEEP_ALIVE_S,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await asyncio.Event().wait()

    async def run_on(self, listener: socket.socket, ready: asyncio.Event) -> None:
        """Serve ``listener`` until cancelled; then let running answers end, for a while."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=[listener])
        ready.set()
        try:
            await self.main_loop()
        finally:
            await asyncio.shield(self.shutdown())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, let running answers end for a while, then cancel them.

        Returns when their clean-up is done, so that the engine may go away after it.
        """
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if tasks := set(self.server_state.tasks):
            _, late = await asyncio.wait(tasks, timeout=limits.GOODBYE_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)


def _remove_stale(path: Path) -> None:
    """Make way for a new socket where a dead kernel left one.

    Raises:
        KernelRunning: Somebody answers on it.
        KernelError: Something else than a socket is in the way.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise KernelError(
            f"{path} is in the way: it is not a socket.", remedy="Move it and start again."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except (TimeoutError, BlockingIOError):
            pass  # a full backlog: somebody lives there
        except OSError as error:
            raise KernelError(f"The socket {path} cannot be used: {error.strerror}.") from error
    raise KernelRunning("A kernel is already running on this state directory.")


def _bind_unix(path: Path) -> socket.socket:
    """A listening socket at ``path`` that only this user can open, from its first moment on.

    It is bound under another name, made private and then renamed, so that nobody can connect
    before the mode is right and nobody sees a socket that does not listen yet.
    """
    paths.private_dir(path.parent)
    _remove_stale(path)
    hidden = path.with_name(path.name + "~")
    hidden.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(hidden))
        hidden.chmod(0o600)
        listener.listen(_BACKLOG)
        hidden.replace(path)
    except OSError as error:
        listener.close()
        hidden.unlink(missing_ok=True)
        sentence = f"The socket {path} cannot be opened: {error.strerror or error}."
        raise KernelError(sentence) from error
    listener.setblocking(False)
    return listener


def _bind_tcp(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise KernelError(
            f"Port {port} cannot be opened: {error.strerror}.", remedy="Set another server.port."
        ) from error
    listener.setblocking(False)
    return listener


def _unlink_own(path: Path, inode: int) -> None:
    with contextlib.suppress(OSError):
        if path.lstat().st_ino == inode:  # else another kernel's by now
            path.unlink()


async def serve(
    app: ASGIApp,
    socket_path: Path,
    port: int | None = 0,
    token: str = "",
    *,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Answer on the socket (and on TCP) until cancelled.

    On cancellation no new connection is taken, answers that are running get
    ``limits.GOODBYE_S`` seconds to end, and the socket's file is removed.

    Args:
        app: The application, of ``create_app``.
        socket_path: Where the Unix socket is; its folder is made private.
        port: TCP port on 127.0.0.1; 0 opens none, None any free one.
        token: Bearer token that TCP clients must send.
        ready: Called once with the TCP port (0 for none) when connections are taken.

    Raises:
        KernelRunning: A live kernel holds the socket.
        KernelError: The socket or the port cannot be opened.
    """
    if port != 0 and not token:
        raise KernelError("A TCP port needs a token.", remedy="Set server.token.")
    unix = _bind_unix(socket_path)
    inode = socket_path.lstat().st_ino
    most = make_room() // (1 if port == 0 else 2)  # a full port leaves the private socket free
    listeners = [(_Server(app, most), unix)]
    bound = 0
    try:
        if port != 0:
            tcp = _bind_tcp(port or 0)
            bound = tcp.getsockname()[1]
            listeners.append((_Server(TcpGuard(app, token), most), tcp))
        async with asyncio.TaskGroup() as group:
            events = []
            for server, listener in listeners:
                events.append(asyncio.Event())
                group.create_task(server.run_on(listener, events[-1]))
            for event in events:
                await event.wait()
            if ready is not None:
                ready(bound)
    finally:
        _unlink_own(socket_path, inode)
        for _, listener in listeners:
            listener.close()
