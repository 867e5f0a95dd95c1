"""What every figure stands on: a private kernel, children that answer, interleaved pairs.

A figure never touches the person's own kernel: a home of its own (with their models in it) and a
state directory of its own. Everything that is started is ended by the handle it was started with.
Machines drift, so two things are compared in interleaved pairs of one run, a warm-up pair first,
and the median of the pairs' ratios counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from llmos import paths
from llmos.client import Client
from llmos.errors import KernelError

__all__ = [
    "Bench",
    "Child",
    "PrivateKernel",
    "interleaved",
    "median_ratio",
    "private_home",
    "say",
    "spinner",
    "summary",
    "warm_up",
]

START_SECONDS = 120.0
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.005
_LINE_BYTES = 1 << 26  # longest answer of a child
_WORDS = (
    "river stone window market garden engine letter summer bridge kitchen planet music doctor "
    "forest paper silver morning travel winter island story camera village orange pencil school "
    "mountain yellow teacher harbour candle machine ocean button carpet theatre"
).split()


def say(text: str) -> None:
    """Tell the person how far the run is, on standard error."""
    print(text, file=sys.stderr, flush=True)


# --- statistics -------------------------------------------------------------------------------


async def interleaved(
    pairs: int, *sides: Callable[[int], Awaitable[float]]
) -> list[tuple[float, ...]]:
    """Measure ``sides`` in turn, ``pairs`` times, after one warm-up round that does not count.

    The order is reversed from round to round, so that a drift favours nobody.

    Args:
        sides: Each takes the round's number (0 is the warm-up) and returns what it measured.

    Returns:
        One tuple a round, in the order of ``sides``.
    """
    rounds = []
    for number in range(pairs + 1):
        order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        measured = {side: await sides[side](number) for side in order}
        if number:
            rounds.append(tuple(measured[side] for side in range(len(sides))))
    return rounds


def median_ratio(rounds: Sequence[Sequence[float]], above: int = 0, below: int = 1) -> float:
    """The median over the rounds of one side ÷ another of the same round."""
    return median(each[above] / each[below] for each in rounds)


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, extremes and number of what was measured."""
    return {
        "median": round(median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "n": len(values),
    }


# --- processes --------------------------------------------------------------------------------


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
    """

    def __init__(self, home: Path, model: str, environ: Mapping[str, str] | None = None) -> None:
        self.state = Path(tempfile.mkdtemp(prefix="state-", dir=home))
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


# --- one run ----------------------------------------------------------------------------------


@dataclass
class Bench:
    """One run: what is wanted, what it shares, what it found.

    Args:
        home: Where it may write.
        wanted: Keys to measure.
        model: What the kernel serves.
        pairs: Interleaved pairs of each ratio.
        seed: Of everything random.
    """

    home: Path
    wanted: frozenset[str]
    model: str = "starter"
    pairs: int = 5
    seed: int = 20251120
    results: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    shared: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _kernel: PrivateKernel | None = None
    _bare: Child | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def wants(self, *keys: str) -> bool:
        """Whether any of ``keys`` is to be measured."""
        return not self.wanted.isdisjoint(keys)

    def found(self, key: str, value: Any, **parameters: Any) -> None:
        """Note a result, where it is wanted, with the parameters it was measured with."""
        if key not in self.wanted:
            return
        self.results[key] = round(value, 4) if isinstance(value, float) else value
        if parameters:
            self.parameters[key] = parameters
        say(f"  {key}: {self.results[key]}")

    async def kernel(self) -> PrivateKernel:
        """The kernel that all figures share; started and warmed up the first time."""
        if self._kernel is None:
            say("Starting a kernel of the bench's own …")
            kernel = PrivateKernel(self.home, self.model)
            self._kernel = await self.shared.enter_async_context(kernel)
            await warm_up(kernel.client)
        return self._kernel

    async def bare(self) -> Child:
        """The bare loop, in a child process."""
        if self._bare is None:
            flash = "0"  # as the kernel on a CPU (engine.flash_attention)
            command = (str(self.model_path()), str(self.threads()), "8192", flash)
            child = Child("llmos.bench.bare", *command)
            self._bare = await self.shared.enter_async_context(child)
        return self._bare

    def model_path(self) -> Path:
        """The weights."""
        from llmos.models import catalog

        return catalog.find(self.model).path

    def threads(self) -> int:
        """llama.cpp's usual thread count: the physical cores."""
        from llmos.models import hardware

        return hardware.probe().cores

    async def prompt(self, tokens: int) -> list[int]:
        """A prompt of exactly so many tokens that no one has seen before."""
        words = " ".join(self.random.choice(_WORDS) for _ in range(tokens))
        answer = await (await self.bare()).ask(do="tokenize", text=words)
        return list(answer["tokens"][:tokens])

    def report(self) -> dict[str, Any]:
        """Everything, JSON-ready: the figures at the top level, then how they were taken."""
        from llmos.bench.figures import FIGURES, failed

        return {
            **self.results,
            "bars": {key: FIGURES[key].bar_text for key in self.results if FIGURES[key].test},
            "missed": failed(self.results),
            "left_out": self.left_out,
            "parameters": {"model": self.model, "pairs": self.pairs, **self.parameters},
            "samples": self.samples,
            "seed": self.seed,
            "machine": {
                "system": platform.system(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
                "load_1m": round(os.getloadavg()[0], 2),
                "python": platform.python_version(),
            },
        }


async def warm_up(client: Client) -> None:
    """One question, so that what a kernel prepares in the background is prepared."""
    process = await client.create(title="warm-up")
    await client.send(process.pid, "What is 2 + 2?")
    await client.wait(process.pid, seconds=120)
    await client.kill(process.pid)


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
