"""``llmos serve``: the kernel as an operating-system process.

In the foreground it runs until Ctrl-C or ``llmos stop``. One that a terminal started (``background``)
also stops by itself when nobody has listened and nothing has run for the set time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

from llmos import config as settings
from llmos import paths
from llmos.config import Config
from llmos.errors import LlmosError
from llmos.kernel.kernel import Kernel

__all__ = ["serve"]

log = logging.getLogger(__name__)
_LOG_BYTES = 5_000_000


def serve(given: Mapping[str, Mapping[str, Any]], *, background: bool) -> None:
    """Run a kernel until it is stopped.

    Args:
        given: Settings from the command line.
        background: Stop when idle, and print nothing but the reason for not starting.

    Raises:
        LlmosError: It cannot start.
    """
    config = settings.load(given)
    _log_to_file(config)
    try:
        asyncio.run(_serve(config, background))
    except LlmosError:
        log.exception("the kernel could not start")
        raise


async def _serve(config: Config, background: bool) -> None:
    from llmos.boot import boot
    from llmos.server.app import create_app
    from llmos.server.listen import serve as listen

    loop = asyncio.get_running_loop()
    if not background:
        print(f"Loading {config.engine.model} …", file=sys.stderr, flush=True)
    async with boot(config) as kernel:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, kernel.stopping.set)
        token = config.server.token or _token(config)
        socket = paths.socket_path(config.state)
        server = asyncio.create_task(
            listen(create_app(kernel), socket, config.server.port, token)
        )
        if not background:
            where = f" and http://127.0.0.1:{config.server.port}" if config.server.port else ""
            print(f"Ready: {kernel.backend.info.name} on {socket}{where}", file=sys.stderr)
        stopped = asyncio.create_task(kernel.stopping.wait())
        idle = asyncio.create_task(_until_idle(kernel, config, background))
        try:
            done, _ = await asyncio.wait(
                {server, stopped, idle}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            kernel.hub.close()
            for task in (stopped, idle, server):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await server


async def _until_idle(kernel: Kernel, config: Config, background: bool) -> None:
    """Return once a background kernel has had nothing to do for the set time."""
    limit = config.server.idle_minutes * 60
    if not background or not limit:
        await asyncio.Event().wait()
    while time.monotonic() - kernel.last_active < limit:
        await asyncio.sleep(min(limit, 15.0))
        if kernel.busy:
            kernel.last_active = time.monotonic()


def _token(config: Config) -> str:
    """The bearer token for TCP, made once and kept private."""
    import secrets

    file = config.state / "token"
    if not file.exists():
        paths.atomic_write(file, secrets.token_urlsafe(32) + "\n")
    return file.read_text().strip()


def _log_to_file(config: Config) -> None:
    try:
        paths.private_dir(config.state)
        handler: logging.Handler = logging.handlers.RotatingFileHandler(
            paths.log_file(config.state), maxBytes=_LOG_BYTES, backupCount=2, delay=True
        )
    except OSError:
        handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("llama.cpp").setLevel(logging.WARNING)
    for quiet in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
