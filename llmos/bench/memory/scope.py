"""One run of ``llmos bench memory``: how much is measured, texts of a given length, kernels."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos.bench.figures import Figure
from llmos.bench.harness import WORDS, Bench
from llmos.bench.memory.api import Memory
from llmos.bench.memory.figures import MEMORY_FIGURES
from llmos.bench.processes import PrivateKernel
from llmos.bench.turns import warm_up

__all__ = ["MemoryBench"]

_QUICK = 5


@dataclass
class MemoryBench(Bench):
    """A run.

    Args:
        quick: Take a fifth of the samples.
    """

    figures: Mapping[str, Figure] = field(default_factory=lambda: MEMORY_FIGURES)
    quick: bool = False

    def samples_of(self, number: int) -> int:
        """How many samples are taken where a whole run takes ``number``."""
        return max(1, number // _QUICK) if self.quick else number

    @contextlib.asynccontextmanager
    async def memory(
        self, *, state: Path | None = None, **settings: Any
    ) -> AsyncIterator[tuple[PrivateKernel, Memory]]:
        """A kernel of its own, warmed up, and its memory.

        Args:
            state: The state directory of one before it.
            settings: ``engine_window=1024`` for ``[engine] window``.
        """
        environ = {f"LLMOS_{name.upper()}": str(value) for name, value in settings.items()}
        kernel = PrivateKernel(self.home, self.model, environ, state=state)
        async with kernel, Memory(kernel.client) as memory:
            await warm_up(kernel.client)
            yield kernel, memory

    async def count(self, text: str) -> int:
        """Tokens of ``text``, by the model's own tokenizer."""
        answer = await (await self.bare()).ask(do="tokenize", text=text)
        return len(answer["tokens"])

    async def words(self, tokens: int) -> str:
        """Random words of ``tokens`` tokens, one more or less, that no one has seen before."""
        text = [self.random.choice(WORDS) for _ in range(tokens)]  # none is less than a token
        while (over := await self.count(" ".join(text)) - tokens) > 0:
            del text[-max(1, over // 2) :]
        return " ".join(text)
