"""A kernel inside the bench's own process, behind its own socket, with its engine in view.

For figures that need exact records from within: which tokens a prompt had, when a step ended,
when cells came free. What is asked still comes through the socket, like anybody's requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos import paths
from llmos.boot import boot
from llmos.client import Client
from llmos.config import AgentConfig, Config, EngineConfig
from llmos.engine.backend import Backend, Chunk, Generation, Prompt
from llmos.events import Usage
from llmos.kernel.kernel import Kernel

__all__ = ["Local", "Recorded", "Recorder", "StepClock", "local_kernel"]


@dataclass(frozen=True, slots=True)
class Local:
    """A running kernel and a client of its socket."""

    kernel: Kernel
    client: Client
    recorder: Recorder


@contextlib.asynccontextmanager
async def local_kernel(
    home: Path, engine: EngineConfig, agent: AgentConfig | None = None
) -> AsyncIterator[Local]:
    """Boot a kernel here and serve it on a socket of its own."""
    from llmos.server.app import create_app
    from llmos.server.listen import serve

    state = Path(tempfile.mkdtemp(prefix="state-", dir=home))
    config = Config(engine=engine, agent=agent or AgentConfig(), state=state)
    async with boot(config) as kernel:
        recorder = Recorder(kernel.backend)
        socket, ready = paths.socket_path(state), asyncio.Event()
        app = create_app(kernel)
        server = asyncio.create_task(serve(app, socket, ready=lambda _: ready.set()))
        client = Client(socket)
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({server, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if server.done():
                server.result()
            yield Local(kernel, client, recorder)
        finally:
            waiting.cancel()
            await client.close()
            kernel.hub.close()
            server.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await server


@dataclass(slots=True)
class Recorded:
    """One generation: the tokens of its prompt, all tokens in the end, and the counts."""

    prompt: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    usage: Usage | None = None


@dataclass(slots=True)
class Recorder:
    """Stands before ``backend.generate`` and keeps what went in and came out.

    Args:
        backend: A local one: its streams know their sequences.
    """

    backend: Backend
    records: list[Recorded] = field(default_factory=list)

    def __post_init__(self) -> None:
        generate, self.records = self.backend.generate, []

        def recorded(prompt: Prompt, *arguments: Any, **options: Any) -> list[Generation]:
            return [
                _Watched(one, self._record(prompt))
                for one in generate(prompt, *arguments, **options)
            ]

        self.backend.generate = recorded  # type: ignore[method-assign]

    def _record(self, prompt: Prompt) -> Recorded:
        record = Recorded(tuple(prompt.tokens))
        self.records.append(record)
        return record


class _Watched:
    """A generation that notes its end."""

    def __init__(self, inner: Generation, record: Recorded) -> None:
        self._inner = inner
        self._record = record

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        async for chunk in self._inner:
            if chunk.finish:
                self._note(chunk.usage)
            yield chunk

    def cancel(self) -> None:
        if self._record.usage is None:  # nobody is going to read to its end
            self._note(None)
        self._inner.cancel()

    def _note(self, usage: Usage | None) -> None:
        sequence: Any = self._inner.sequence  # type: ignore[attr-defined]
        self._record.tokens = tuple(sequence.tokens)
        self._record.usage = usage or sequence.usage(time.monotonic())

    def suspend(self) -> None:
        self._inner.suspend()

    def resume(self) -> None:
        self._inner.resume()


class StepClock:
    """Knows when each step of the engine began and ended.

    Args:
        engine: Whose ``runtime.decode`` it stands before.
    """

    def __init__(self, engine: Any) -> None:
        self.steps: list[tuple[float, float]] = []
        self.left: list[float] = []  # when sequences left the engine
        decode, retire = engine.runtime.decode, engine.admission.retire

        def timed(runs: Sequence[Any]) -> Any:
            began = time.perf_counter()
            try:
                return decode(runs)
            finally:
                self.steps.append((began, time.perf_counter()))

        def retired(sequence: Any) -> None:
            retire(sequence)
            self.left.append(time.perf_counter())

        engine.runtime.decode = timed
        engine.admission.retire = retired

    def beyond_step(self, asked: float, done: float) -> float:
        """Seconds from ``asked`` to ``done`` that the step running at ``asked`` does not explain.

        The step counts only where it ran at ``asked``; later steps are the engine's own fault.
        """
        running = next((end for began, end in self.steps if began <= asked < end), asked)
        return done - max(asked, min(running, done))
