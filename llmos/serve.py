"""``llmos serve``: the kernel as an operating-system process.

In the foreground it runs until Ctrl-C or ``llmos stop``. One that a terminal started
(``background``) also stops by itself when nobody has listened and nothing has run for the set time.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import io
import logging
import logging.handlers
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from llmos import config as settings
from llmos import limits, paths
from llmos.config import Config
from llmos.errors import EngineStopped, KernelError, KernelRunning, LlmosError
from llmos.kernel.kernel import Kernel

__all__ = ["serve"]

log = logging.getLogger(__name__)
_LOG_BYTES = 5_000_000
_WATCH_SECONDS = 15.0


def serve(given: Mapping[str, Mapping[str, Any]], *, background: bool) -> None:
    """Run a kernel until it is stopped.

    Args:
        given: Settings from the command line.
        background: Stop when idle; standard error goes to the log once terminals may come.

    Raises:
        LlmosError: It cannot start.
    """
    config = settings.load(given)
    _log_to_file(config)
    crashes = _crashes_to_file(config)
    try:
        asyncio.run(_serve(config, background, crashes))
    except KernelRunning:
        raise  # nothing is wrong, and the log is the other kernel's
    except LlmosError:
        log.exception("the kernel could not start, or has ended")
        raise
    except Exception as error:
        log.exception("the kernel crashed")
        sentence = "The kernel crashed."
        raise KernelError(sentence, remedy=f"See {paths.log_file(config.state)}.") from error
    finally:
        faulthandler.disable()
        if crashes >= 0:
            os.close(crashes)


async def _serve(config: Config, background: bool, crashes: int) -> None:
    from llmos.boot import boot
    from llmos.devices.speech import Speech
    from llmos.server.app import create_app
    from llmos.server.listen import serve as listen

    loop = asyncio.get_running_loop()
    # Until the kernel is there nothing can be lost, and a model that loads cannot be interrupted.
    _on_signals(loop, lambda: os._exit(130))

    def loading() -> None:  # terminals wait for this line
        print(f"Loading {config.engine.model} …", file=sys.stderr, flush=True)

    speech = Speech(config.voice)
    async with contextlib.aclosing(speech), boot(config, loading=loading) as kernel:
        _on_signals(loop, kernel.stopping.set)
        where, port = paths.socket_path(config.state), config.server.port

        def ready(_port: int) -> None:
            also = f" and http://127.0.0.1:{port}" if port else ""
            if not background:
                print(f"Ready: {kernel.backend.info.name} on {where}{also}", file=sys.stderr)
            elif crashes >= 0:  # no terminal reads it any more
                os.dup2(crashes, sys.stderr.fileno())

        token = (config.server.token or _token(config)) if port else ""
        app = create_app(kernel, speech)
        server = asyncio.create_task(listen(app, where, port, token, ready=ready))
        stopped = asyncio.create_task(kernel.stopping.wait())
        idle = asyncio.create_task(_until_idle(kernel, config, background))
        try:
            done, _ = await asyncio.wait(
                {server, stopped, idle}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            _end_at_last()
            rested = idle.done() and not idle.cancelled() and idle.exception() is None
            on_purpose = kernel.backend.alive and (kernel.stopping.is_set() or rested)
            await _goodbye(kernel, "" if on_purpose else "The kernel broke down.")
            for task in (stopped, idle, server):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await server
        if not kernel.backend.alive:
            raise EngineStopped("The engine has died.", remedy="The kernel's log says why.")


async def _goodbye(kernel: Kernel, broken: str) -> None:
    """Let terminals be told why the kernel ends before their connections are closed.

    One that breaks down is started again by the terminals that are open, one that was stopped, by a
    person or since it was idle, is not.
    """
    kernel.hub.close(broken)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limits.GOODBYE_S):
            await kernel.hub.empty()


def _on_signals(loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # started by nohup
        loop.add_signal_handler(number, act)


def _end_at_last() -> None:
    """End this operating-system process soon, whatever hangs: what is acknowledged is on the disk.

    A thread cannot be ended from outside, neither a tool's nor the engine's, and Python waits for
    some of them.
    """

    def end() -> None:
        log.error("something hung while the kernel stopped; the process was ended")
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(limits.STOP_SECONDS, end)
    timer.daemon = True
    timer.start()


async def _until_idle(kernel: Kernel, config: Config, background: bool) -> None:
    """Return once a background kernel has had nothing to do for the set time.

    Notices also, for any kernel, that the engine has died while nobody asked it anything.
    """
    limit = config.server.idle_minutes * 60 if background else 0.0
    finished = -1
    while kernel.backend.alive:
        served = kernel.backend.stats().get("finished", 0)
        if kernel.busy or served != finished:
            kernel.last_active, finished = time.monotonic(), served
        left = kernel.last_active + limit - time.monotonic()
        if limit and left <= 0:
            return
        await asyncio.sleep(min(left, _WATCH_SECONDS) if limit else _WATCH_SECONDS)


def _token(config: Config) -> str:
    """The bearer token for TCP, made once and kept private."""
    import secrets

    file = config.state / "token"
    try:
        if not file.exists():
            paths.atomic_write(file, secrets.token_urlsafe(32) + "\n")
        return file.read_text().strip()
    except OSError as error:
        sentence = f"The token for TCP cannot be kept in {file}: {error.strerror or error}."
        raise KernelError(sentence, remedy="Set server.token.") from error


class _PrivateLog(logging.handlers.RotatingFileHandler):
    """A log that only this user can read, from its first moment."""

    def _open(self) -> io.TextIOWrapper:
        def private(name: str, flags: int) -> int:
            return os.open(name, flags, 0o600)

        raw = open(self.baseFilename, "ab", opener=private)  # noqa: SIM115 - the handler closes it
        return io.TextIOWrapper(raw, "utf-8", "backslashreplace")


def _crashes_to_file(config: Config) -> int:
    """Have what kills the process outright written to the log; returns its descriptor, or -1.

    It stays open on the file it was opened on, also when the log is rotated.
    """
    try:
        file = paths.log_file(config.state)
        crashes = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError:
        return -1
    faulthandler.enable(crashes)
    return crashes


def _log_to_file(config: Config) -> None:
    try:
        paths.private_dir(config.state)
        handler: logging.Handler = _PrivateLog(
            paths.log_file(config.state), maxBytes=_LOG_BYTES, backupCount=2
        )
    except OSError:
        handler = logging.NullHandler()  # why the directory cannot be used is said by the boot
    logging.raiseExceptions = False  # a full disk must not fill the terminal
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("llama.cpp").setLevel(logging.WARNING)
    for quiet in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
