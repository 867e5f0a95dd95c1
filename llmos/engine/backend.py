"""The two seams of the engine: below it a model runtime, above it the kernel.

``Runtime`` is what the step loop needs of a model: tokens in, logits out, cells shared by
sequences. llama.cpp and the scripted double fulfil it. ``Backend`` is what the kernel needs of a
processor: a prompt in, text out. ``LocalBackend`` (the engine over a runtime) and
``RemoteBackend`` (somebody else's server) fulfil it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from llmos import limits
from llmos.errors import EngineError
from llmos.events import Message, Usage

__all__ = [
    "Backend",
    "Chunk",
    "Generation",
    "Logits",
    "ModelInfo",
    "Priority",
    "Prompt",
    "Run",
    "Runtime",
    "Sampler",
    "SamplingParams",
    "State",
    "TokenLogprob",
]

Logits: TypeAlias = npt.NDArray[np.float32]

#: A slot's state, as bytes.
State: TypeAlias = bytes | bytearray


class Priority(IntEnum):
    """Who goes first; a lower number preempts a higher one between steps."""

    REALTIME = 0
    INTERACTIVE = 1
    NORMAL = 2
    IDLE = 3


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a loaded model.

    Args:
        name: Name a client sees.
        window: Tokens one sequence may hold.
        parameters: Number of weights; 0 where unknown.
        template: The chat template's source; empty where there is none.
        bos / eos: Their text, for the template.
        adds_bos: Whether every prompt has to begin with ``bos``.
        vocab: Size of the vocabulary.
        can_rewind: Whether a sequence's tail can be dropped (not so with recurrent or pruned
            sliding-window memory).
        device: Where it runs, as the runtime names it.
        fingerprint: Identifies weights and context parameters; snapshots carry it.
        path: The file it was loaded from; empty for none.
        native_calls: Whether tools are given with the prompt and calls come back parsed, as with
            a remote server; the backend writes them into the text in Hermes' form.
        computes_here: Whether what is computed is kept here for later, and costs no money. Nothing
            is computed ahead of need, and nothing written unasked, where it is not.
    """

    name: str
    window: int
    parameters: int = 0
    template: str = ""
    bos: str = ""
    eos: str = ""
    adds_bos: bool = False
    vocab: int = 0
    can_rewind: bool = True
    device: str = "cpu"
    fingerprint: str = ""
    path: str = ""
    native_calls: bool = False
    computes_here: bool = True

    @property
    def small(self) -> bool:
        """Whether it needs help with what larger models do by themselves."""
        return 0 < self.parameters < limits.SMALL_MODEL


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How one generation samples. Defaults are neutral: greedy, no penalties, no grammar.

    Args:
        max_tokens: Most tokens to sample; None fills the window.
        temperature: 0 is greedy.
        top_k / top_p / min_p / typical_p: Truncations; 0, 1, 0 and 1 are off.
        repeat_penalty / frequency_penalty / presence_penalty: 1, 0 and 0 are off.
        penalty_last_n: Tokens the penalties look back on.
        penalize_prompt: Whether they look back into the prompt, too.
        dry_multiplier: Strength of DRY (0 is off), with its base and allowed length.
        dry_last_n: Tokens DRY looks back on.
        dry_breakers: Texts over which DRY sees no repetition; looking them up costs 14 ms a reply.
        seed: Of the random draw; None picks one.
        logit_bias: Token id to what is added to its logit.
        logprobs: How many alternatives to report a token; None reports nothing.
        stop: Strings that end the reply; they are not part of it.
        grammar: GBNF that the output must fit; empty for none.
        trigger: A string; the grammar binds only from where the output contains it on.
        ignore_end: Go on past the end-of-turn token (benchmarks).
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    penalize_prompt: bool = True
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_last_n: int = 64
    dry_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    logprobs: int | None = None
    stop: tuple[str, ...] = ()
    grammar: str = ""
    trigger: str = ""
    ignore_end: bool = False

    def __post_init__(self) -> None:
        def require(ok: bool, sentence: str) -> None:
            if not ok:
                raise EngineError(sentence)

        require(self.max_tokens is None or self.max_tokens >= 0, "max_tokens is negative.")
        require(0 <= self.temperature <= 100, "temperature must be between 0 and 100.")
        require(self.top_k >= 0, "top_k must not be negative.")
        require(0 <= self.top_p <= 1, "top_p must be between 0 and 1.")
        require(0 <= self.min_p <= 1, "min_p must be between 0 and 1.")
        require(0 < self.typical_p <= 1, "typical_p must be above 0 and at most 1.")
        require(self.repeat_penalty > 0, "repeat_penalty must be positive.")
        require(len(self.stop) <= limits.STOP_STRINGS_MAX, "There are too many stop strings.")
        require(
            all(0 < len(s) <= limits.STOP_STRING_CHARS for s in self.stop),
            "A stop string is empty or too long.",
        )
        require(
            self.logprobs is None or 0 <= self.logprobs <= limits.LOGPROBS_MAX,
            f"logprobs must be between 0 and {limits.LOGPROBS_MAX}.",
        )
        require(len(self.grammar) <= limits.GRAMMAR_BYTES, "The grammar is too large.")


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One sampled token with its natural-log probability and the likeliest alternatives."""

    token: int
    text: bytes
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a generation's output.

    Args:
        text: New text; never part of a UTF-8 character or of a stop string.
        tokens: How many tokens were sampled since the last chunk.
        logprobs: One entry a token, where asked for.
        finish: Empty until the last chunk; then ``stop``, ``length``, ``cancelled`` or
            ``error``.
        usage: With the last chunk.
        error: With ``finish == "error"``.
    """

    text: str
    tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: str = ""
    usage: Usage | None = None
    error: EngineError | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a generation starts from.

    Args:
        messages: The conversation, for processors that take messages.
        text: The rendered template, for those that take text.
        tokens: Its tokens; empty for a remote processor.
        tools: JSON schemas offered to the model in its template's own way.
        read: Whether the tokens are those that the text is read as, all of them.
    """

    messages: tuple[Message, ...] = ()
    text: str = ""
    tokens: tuple[int, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    read: bool = True

    def beginning(self, count: int) -> Prompt:
        """The first ``count`` tokens of it, to be computed ahead."""
        return replace(self, tokens=self.tokens[:count], read=False)


# --- below the engine -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens of one sequence to decode at ``start …`` of ``slot``.

    ``want_logits`` asks for the logits after the last of them.
    """

    slot: int
    start: int
    tokens: Sequence[int]
    want_logits: bool


class Sampler(Protocol):
    """Samples one sequence. Belongs to the engine's thread; ``close`` frees what C holds."""

    def sample(self, runtime: Any, row: int) -> int:
        """Draw a token from logits row ``row`` of the last decode and accept it."""
        ...

    def clone(self, seed: int | None = None) -> Sampler:
        """A copy with the same history; drawing with ``seed`` from now on, where given."""
        ...

    def close(self) -> None: ...


class Runtime(Protocol):
    """A loaded model. Only the engine's thread may call it, but for ``tokenize`` and ``piece``.

    A *slot* is a sequence id below ``slots``. Cells hold one token of one position each and may
    be shared by several slots; there are ``cells`` of them.
    """

    info: ModelInfo
    cells: int
    slots: int
    batch: int
    threads: int

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """Tokens of ``text``; ``special`` reads control tokens written in it."""
        ...

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes ``token`` spells; empty for control tokens unless ``special``."""
        ...

    def controls(self) -> list[str]:
        """What the control tokens are spelled like in a rendered template."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether ``token`` ends a generation."""
        ...

    def decode(self, runs: Sequence[Run]) -> list[int]:
        """Compute ``runs`` as one batch of at most ``batch`` tokens.

        Returns:
            The logits row of each run, -1 where none was wanted. Rows live until the next call.

        Raises:
            EngineError: Nothing of the batch is to be relied on; the slots must be freed.
        """
        ...

    def logits(self, row: int) -> Logits:
        """A view of one row, shape (vocab,); valid until the next ``decode``."""
        ...

    def share(self, source: int, target: int, length: int) -> None:
        """Let ``target`` (empty) hold the first ``length`` tokens of ``source``. No copy."""
        ...

    def truncate(self, slot: int, length: int) -> bool:
        """Drop what follows the first ``length`` tokens; False where the memory cannot."""
        ...

    def free(self, slot: int) -> None:
        """Forget ``slot`` whole."""
        ...

    def length(self, slot: int) -> int:
        """Tokens that ``slot`` holds, by the runtime's own account."""
        ...

    def save(self, slot: int) -> State:
        """The slot's state, to be given to ``restore``."""
        ...

    def restore(self, slot: int, state: State) -> bool:
        """Load ``state`` into the empty ``slot``; False where it does not fit."""
        ...

    def sampler(self, params: SamplingParams, prompt: Sequence[int]) -> Sampler:
        """A sampler for one sequence.

        Raises:
            GrammarError: The grammar cannot be parsed.
        """
        ...

    def set_threads(self, threads: int) -> None: ...

    def close(self) -> None: ...


# --- above the engine -------------------------------------------------------------------------


class Generation(Protocol):
    """One running reply, an async iterator of chunks. The last chunk has ``finish``."""

    def __aiter__(self) -> AsyncIterator[Chunk]: ...

    def cancel(self) -> None:
        """Stop within one step; the last chunk says ``cancelled``. Safe to call twice."""
        ...

    def suspend(self) -> None:
        """Decode no further until ``resume``; the cells may be swapped out meanwhile."""
        ...

    def resume(self) -> None: ...


class Backend(Protocol):
    """A processor, used from the kernel's asyncio loop only."""

    info: ModelInfo

    async def start(self) -> None:
        """Load or reach the model; nothing else may be called before.

        Raises:
            ModelError: It cannot be loaded.
            RemoteError: The server cannot be reached.
        """
        ...

    async def prompt(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] = (),
        generate: bool = True,
    ) -> Prompt:
        """Render a conversation with the model's template and count it exactly.

        Args:
            messages: The conversation, oldest first.
            tools: OpenAI function schemas for templates that take tools.
            generate: Open an assistant reply at the end.

        Raises:
            TemplateError: The model's template fails, loops or explodes.
        """
        ...

    async def text_prompt(self, text: str) -> Prompt:
        """A prompt of bare text (``/v1/completions``)."""
        ...

    async def token_prompt(self, tokens: Sequence[int]) -> Prompt:
        """A prompt of token ids, all below ``info.vocab`` (``/v1/completions``)."""
        ...

    def expect(self, prompt: Prompt) -> None:
        """Make ready for a prompt that begins as this one does and is about to come.

        Nothing is computed. It may be called for nothing, and changes no reply.
        """
        ...

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        priority: Priority = Priority.INTERACTIVE,
        n: int = 1,
    ) -> list[Generation]:
        """Start ``n`` replies to one prompt; the prompt is prefilled once.

        Raises:
            PromptTooLong: Prompt and reply do not fit the window.
            GrammarError: The grammar cannot be parsed.
        """
        ...

    def count(self, text: str) -> int:
        """Tokens of ``text``."""
        ...

    def size(self, prompt: Prompt) -> int:
        """Tokens of ``prompt``."""
        ...

    def sizes(self, prompt: Prompt, texts: Sequence[str]) -> list[int]:
        """How the tokens of ``prompt`` fall to the contents of its messages.

        Args:
            prompt: Of ``Backend.prompt``.
            texts: Contents, in the order they stand in it.

        Returns:
            For each, the tokens from its beginning to the beginning of the next: what frames it
            is behind it. The first has what precedes it, the last all that follows.
        """
        ...

    async def forget(self) -> None:
        """Drop all that is kept of earlier prompts, in memory and on disk: it is computed anew.

        Raises:
            EngineError: Not all of it could be dropped.
        """
        ...

    def stats(self) -> dict[str, Any]:
        """Counters and gauges, JSON-ready."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it can still generate; once False it stays so."""
        ...

    async def close(self) -> None: ...
