"""What every figure stands on: interleaved pairs, medians, and one run with what it shares.

Machines drift, so two things are compared in interleaved pairs of one run, a warm-up pair first,
and the median of the pairs' ratios counts.
"""

from __future__ import annotations

import contextlib
import os
import platform
import random
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from llmos.bench.figures import FIGURES, Figure, failed
from llmos.bench.processes import Child, PrivateKernel
from llmos.bench.turns import warm_up

__all__ = ["WORDS", "Bench", "interleaved", "median_ratio", "say", "summary"]

_WORDS = """
river stone window market garden engine letter summer bridge kitchen planet music
doctor forest paper silver morning travel winter island story camera village orange
pencil school mountain yellow teacher harbour candle machine ocean button carpet
theatre
"""
#: Prompts of any length are drawn from these.
WORDS = tuple(_WORDS.split())


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
        figures: What can be measured, by key.
    """

    home: Path
    wanted: frozenset[str]
    model: str = "starter"
    pairs: int = 5
    seed: int = 20251120
    figures: Mapping[str, Figure] = field(default_factory=lambda: FIGURES)
    results: dict[str, Any] = field(default_factory=dict)
    samples: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # that each group took
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

    def break_off(self, group: str, why: str) -> None:
        """Note that what ``group`` has not found yet could not be measured."""
        for figure in self.figures.values():
            known = figure.key in self.results or figure.key in self.left_out
            if figure.group == group and figure.key in self.wanted and not known:
                self.left_out[figure.key] = f"It could not be measured: {why}"
                self.broken.append(figure.key)
        say(f"  {why}")

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
        words = " ".join(self.random.choice(WORDS) for _ in range(tokens))
        answer = await (await self.bare()).ask(do="tokenize", text=words)
        return list(answer["tokens"][:tokens])

    def report(self) -> dict[str, Any]:
        """Everything, JSON-ready: the figures at the top level, then how they were taken."""
        return {
            **self.results,
            "bars": {
                key: self.figures[key].bar_text for key in self.results if self.figures[key].test
            },
            "missed": failed(self.results, self.figures),
            "left_out": self.left_out,
            "broken": self.broken,
            "parameters": {"model": self.model, "pairs": self.pairs, **self.parameters},
            "samples": self.samples,
            "seconds": self.seconds,
            "seed": self.seed,
            "machine": {
                "system": platform.system(),
                "processor": platform.machine(),
                "cores": os.cpu_count(),
                "load_1m": round(os.getloadavg()[0], 2),
                "python": platform.python_version(),
            },
        }
