"""The processes a bench needs: private kernels, children that answer, a busy neighbour.

None of them touches the person's own kernel: there is a home of the bench's own (with their models
in it) and a state directory for each kernel. Everything that is started is ended by the handle it
was started with.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmos import paths
from llmos.client import Client
from llmos.errors import KernelError

__all__ = ["Child", "PrivateKernel", "end", "private_home", "spinner"]

START_SECONDS = 120.0
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.005
_LINE_BYTES = 1 << 26  # longest answer of a child


@contextlib.contextmanager
def private_home() -> Iterator[Path]:
    """A temporary ``LLMOS_HOME`` for this process and those it starts.

    It holds none of the person's settings and state, but their models. No other ``LLMOS_…``
    variable is kept.
    """
    models, saved = paths.models_dir(), dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as name:
        home = Path(name)
        if models.is_dir():
            (home / "models").symlink_to(models.resolve())
        for key in [key for key in os.environ if key.startswith("LLMOS_")]:
            del os.environ[key]
        os.environ["LLMOS_HOME"] = name
        try:
            yield home
        finally:
            os.environ.clear()
            os.environ.update(saved)


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process of ours: kindly, then not."""
    for act in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            act()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)


class Child:
    """A child process that answers JSON lines on its pipes.

    Args:
        module: Run as ``python -m module``.
        arguments: Of its command line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: asyncio.subprocess.Process
        self._turn = asyncio.Lock()  # one command at a time
        self.hello: dict[str, Any] = {}

    async def __aenter__(self) -> Child:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LINE_BYTES,
        )
        try:
            self.hello = await self._answer()
        except BaseException:
            await end(self._process)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._process)

    async def ask(self, **command: Any) -> dict[str, Any]:
        """The answer to one command.

        Raises:
            KernelError: The child has ended.
        """
        assert self._process.stdin is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise KernelError(f"The bench's child {self._command[2]} ended early.")
        answer: dict[str, Any] = json.loads(line)
        return answer


class PrivateKernel:
    """A kernel of the bench's own, as the operating-system process it really is.

    Args:
        home: The bench's home.
        model: What it serves.
        environ: Further settings, as environment variables.
        state: The state directory of a kernel before it; a new one where not given.
    """

    def __init__(
        self,
        home: Path,
        model: str,
        environ: Mapping[str, str] | None = None,
        *,
        state: Path | None = None,
    ) -> None:
        self.state = state or Path(tempfile.mkdtemp(prefix="state-", dir=home))
        self.environ = {
            **os.environ,
            "LLMOS_STATE": str(self.state),
            "LLMOS_ENGINE_MODEL": model,
            **(environ or {}),
        }
        self.client = Client(paths.socket_path(self.state))
        self.ready_s = 0.0
        self.model = ""
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> PrivateKernel:
        said = self.state / "kernel.start"
        began = time.perf_counter()
        with said.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "llmos", "serve"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=output,
                env=self.environ,
            )
        try:
            while not await self.client.alive():
                if self._process.returncode is not None:
                    lines = said.read_text("utf-8", "replace").strip().splitlines()
                    raise KernelError(lines[-1] if lines else "The kernel ended at start.")
                if time.perf_counter() - began > START_SECONDS:
                    raise KernelError("The bench's kernel did not become ready.")
                await asyncio.sleep(_POLL_SECONDS)
            self.ready_s = time.perf_counter() - began
            self.model = (await self.client.status())["model"]["name"]
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await end(self._process)  # SIGTERM is a kernel's ordinary stop

    @property
    def pid(self) -> int:
        return self._process.pid

    async def engine(self) -> dict[str, Any]:
        """The engine's counters and gauges."""
        stats: dict[str, Any] = (await self.client.stats())["engine"]
        return stats

    async def until_idle(self, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until no sequence runs or waits; the engine's stats then.

        Raises:
            KernelError: Some still do after ``seconds``.
        """
        deadline = time.perf_counter() + seconds
        while (stats := await self.engine())["running"] or stats["waiting"]:
            if time.perf_counter() > deadline:
                raise KernelError("The bench's kernel did not come to rest.")
            await asyncio.sleep(0.05)
        return stats


@contextlib.asynccontextmanager
async def spinner() -> AsyncIterator[None]:
    """A process that keeps one core busy, as a browser or a compiler would."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "while True: pass"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.sleep(0.5)  # it is up and the scheduler has seen it
        yield
    finally:
        await end(process)
