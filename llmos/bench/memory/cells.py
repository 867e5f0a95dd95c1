"""A model over one kind of cells, without the engine: what it computes, and what its cells take.

Everything but ``tokenize`` and ``text`` is for one thread. Knows tokens; times what it is asked to.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llmos.config import EngineConfig
from llmos.engine.backend import ModelInfo, Run, State
from llmos.engine.llama import LlamaRuntime
from llmos.errors import EngineError
from llmos.models import gguf

__all__ = ["Cells"]

_SLOT = 0


class Cells:
    """One runtime, of which one slot is used.

    Args:
        path: The model file.
        config: Window and cells, their type, attention.
        threads: That compute.

    Raises:
        ModelError: It cannot be loaded so.
    """

    def __init__(self, path: Path, config: EngineConfig, threads: int) -> None:
        gguf.verify(path)  # llama.cpp trusts more than it should
        self._runtime = LlamaRuntime(path, config, threads=threads)
        self._state: State = b""
        self._tokens: list[int] = []  # that the state is of

    @property
    def info(self) -> ModelInfo:
        """What is known of the model."""
        return self._runtime.info

    def close(self) -> None:
        """Free everything."""
        self._runtime.close()

    # --- texts --------------------------------------------------------------------------------

    def tokenize(self, text: str) -> list[int]:
        """Tokens of a text in which control tokens are read as such."""
        return self._runtime.tokenize(text, special=True)

    def opened(self, text: str) -> list[int]:
        """Tokens of a rendered prompt, with the one every prompt of this model begins with."""
        missing = self.info.adds_bos and not text.startswith(self.info.bos)
        return self.tokenize(self.info.bos + text if missing else text)

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens spell."""
        spelled = b"".join(self._runtime.piece(token) for token in tokens)
        return spelled.decode("utf-8", "replace")

    # --- computing ----------------------------------------------------------------------------

    def fill(self, prompt: Sequence[int]) -> int:
        """Compute a prompt, and keep its state; returns the state's size in bytes."""
        self._prefill(prompt)
        self._state, self._tokens = self._runtime.save(_SLOT), list(prompt)
        return len(self._state)

    def rate(self, count: int) -> float:
        """Tokens a second, decoded behind what ``fill`` computed."""
        self._runtime.free(_SLOT)
        if not self._runtime.restore(_SLOT, self._state):
            raise EngineError("A state could not be restored.")
        place, token = len(self._tokens), self._tokens[-1]
        began = time.perf_counter()
        for _ in range(count):
            token = int(np.argmax(self._next(place, [token])))
            place += 1
        return count / (time.perf_counter() - began)

    def reply(self, prompt: Sequence[int], most: int) -> list[int]:
        """The greedy reply to a prompt, without the token that ends it."""
        logits, out = self._prefill(prompt), list[int]()
        while len(out) < most:
            token = int(np.argmax(logits))
            if self._runtime.is_end(token):
                break
            out.append(token)
            logits = self._next(len(prompt) + len(out) - 1, [token])
        return out

    def loss(self, tokens: Sequence[int]) -> float:
        """The mean negative log-likelihood of each token after the first, in nats.

        One token a step: so every one is computed over cells that were written before.
        """
        self._runtime.free(_SLOT)
        total = 0.0
        for place, token in enumerate(tokens[:-1]):
            logits = self._next(place, [token]).astype(np.float64)
            top = logits.max()
            total += top + np.log(np.exp(logits - top).sum()) - logits[tokens[place + 1]]
        return float(total / (len(tokens) - 1))

    def _prefill(self, prompt: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Logits after a prompt, computed from its beginning."""
        self._runtime.free(_SLOT)
        size = self._runtime.batch
        for start in range(0, len(prompt), size):
            logits = self._next(start, prompt[start : start + size])
        return logits

    def _next(
        self, start: int, tokens: Sequence[int]
    ) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        [row] = self._runtime.decode([Run(_SLOT, start, tokens, True)])
        return self._runtime.logits(row)
