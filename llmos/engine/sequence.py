"""One generation: its tokens, its sampler, its place in the cells.

``tokens`` are the prompt and everything sampled since; the first ``filled`` of them have cells in
``slot``. What remains (``todo``) is what the next steps decode: many tokens while prefilling, one
while decoding. Owned by the engine's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum

from llmos.engine.backend import Chunk, Priority, Sampler, SamplingParams, TokenLogprob
from llmos.engine.output import Output
from llmos.engine.swap import Snapshot
from llmos.errors import EngineError
from llmos.events import Usage

__all__ = ["Sequence", "State"]

log = logging.getLogger(__name__)


class State(Enum):
    """Where a sequence is in its life."""

    WAITING = "waiting"  # for admission; holds no slot
    RUNNING = "running"  # holds a slot
    DONE = "done"


class Sequence:
    """One generation.

    Args:
        tokens: The prompt, not empty.
        params: How it samples.
        priority: Who goes first.
        limit: Most tokens prompt and reply may have together.
        deliver: Receives chunks, on the engine's thread.
    """

    def __init__(
        self,
        tokens: list[int],
        params: SamplingParams,
        priority: Priority,
        limit: int,
        deliver: Callable[[Sequence, Chunk], None],
    ) -> None:
        self.params = params
        self.priority = priority
        self.boost = priority  # never weaker than ``priority``; raised while another waits on us
        self.limit = limit
        self.start_from(tokens)
        self.deliver = deliver
        self.output = Output(params.stop)

        self.state = State.WAITING
        self.slot = -1
        self.filled = 0
        self.sampler: Sampler | None = None
        self.leader: Sequence | None = None  # whose prefill we wait for (n > 1)
        self.followers: list[Sequence] = []
        self.suspended = False
        self.fetching = False  # its beginning is being read from disk
        self.fetched: Snapshot | None = None  # that beginning, where the swap store has no room
        self.transient = False  # nothing of it is kept when it is over: some was to be forgotten

        self.submitted = time.monotonic()
        self.admitted = 0.0
        self.first_token = 0.0
        self.last_step = self.submitted
        self.cached_tokens = 0
        self.prefilled_tokens = 0
        self.preemptions = 0

        self._text: list[str] = []
        self._count = 0
        self._logprobs: list[TokenLogprob] = []
        self._flushed = 0.0

    def start_from(self, tokens: list[int]) -> None:
        """Take ``tokens`` as the prompt; nothing is computed or sampled yet."""
        self.tokens = tokens
        self.prompt_tokens = len(tokens)
        room = self.limit - len(tokens)
        wanted = self.params.max_tokens
        self.max_tokens = room if wanted is None else min(wanted, room)

    @property
    def todo(self) -> int:
        """Tokens without cells."""
        return len(self.tokens) - self.filled

    @property
    def generated(self) -> int:
        """Tokens sampled so far."""
        return len(self.tokens) - self.prompt_tokens

    @property
    def prefilling(self) -> bool:
        return self.todo > 1 or self.generated == 0

    def sampled(self, token: int, piece: bytes, logprob: TokenLogprob | None) -> None:
        """Take the next token, which is not an end token."""
        self.tokens.append(token)
        self._count += 1
        self._text.append(self.output.feed(piece))
        if logprob is not None:
            self._logprobs.append(logprob)

    def flush(self, now: float, interval: float) -> None:
        """Deliver what is new, if the last delivery is ``interval`` seconds ago."""
        if self._count and now - self._flushed >= interval:
            self._flushed = now
            self._send(self._chunk())

    def finish(self, reason: str, error: EngineError | None = None) -> None:
        """Deliver the rest and the last chunk."""
        self.state = State.DONE
        self._text.append(self.output.finish())
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None
        self._send(self._chunk(reason, error))

    def usage(self, now: float) -> Usage:
        """Exact counts so far; times in seconds."""
        admitted = self.admitted or now
        first = self.first_token or now
        return Usage(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.generated,
            queue_s=admitted - self.submitted,
            prefill_s=first - admitted,
            decode_s=now - first,
        )

    def _send(self, chunk: Chunk) -> None:
        try:
            self.deliver(self, chunk)
        except Exception:  # whoever listens (a closed event loop, say) must not end the engine
            log.exception("a reply cannot be delivered")

    def _chunk(self, finish: str = "", error: EngineError | None = None) -> Chunk:
        usage = self.usage(time.monotonic()) if finish else None
        chunk = Chunk("".join(self._text), self._count, tuple(self._logprobs), finish, usage, error)
        self._text.clear()
        self._logprobs.clear()
        self._count = 0
        return chunk
