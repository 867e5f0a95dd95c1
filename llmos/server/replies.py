"""What the two OpenAI routes share: sampling options, priority, collecting, counting.

Knows the request's options and the engine's; not how a chat or a legacy answer is laid out.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import Header

from llmos.engine.backend import (
    Chunk,
    Generation,
    ModelInfo,
    Priority,
    SamplingParams,
    TokenLogprob,
)
from llmos.errors import EngineError, EngineStopped
from llmos.events import Usage
from llmos.server.errors import ApiError
from llmos.server.openai_schema import Sampling

__all__ = [
    "Collected",
    "PriorityHeader",
    "Stamp",
    "checked",
    "collect",
    "priority_of",
    "sampling_params",
    "usage_json",
]

_DEFAULT_TEMPERATURE = 1.0
_DEFAULT_MIN_P = 0.05
_SEEDS = 2**32 - 1  # the largest 32-bit number means "pick one" to llama.cpp

PriorityHeader = Annotated[
    Literal["realtime", "interactive", "normal", "idle"],
    Header(alias="x-llmos-priority", description="Who goes first when several replies run."),
]


def priority_of(name: str) -> Priority:
    """The engine's priority of a header's word."""
    return Priority[name.upper()]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every answer and every event of one request repeats."""

    id: str
    created: int
    model: str
    fingerprint: str

    @classmethod
    def new(cls, prefix: str, info: ModelInfo, model: str) -> Stamp:
        """A fresh stamp for a request that asked for ``model``.

        Raises:
            ApiError: Another model is loaded.
        """
        if model != info.name:
            raise ApiError(
                f"The model '{model}' is not loaded; this kernel serves '{info.name}'.",
                param="model",
                code="model_not_found",
                status=404,
            )
        fingerprint = f"fp_{info.fingerprint[:16] or 'unknown'}"
        return cls(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), info.name, fingerprint)

    def fields(self, kind: str) -> dict[str, Any]:
        """The head of an answer object."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def sampling_params(
    body: Sampling,
    info: ModelInfo,
    *,
    max_tokens: int | None,
    logprobs: int | None,
    grammar: str = "",
    trigger: str = "",
) -> SamplingParams:
    """The engine's options for a request's; OpenAI's defaults where it names none.

    Raises:
        ApiError: An option is out of range for this model.
    """
    bias = {int(token): value for token, value in (body.logit_bias or {}).items()}
    if info.vocab and bias and max(bias) >= info.vocab:
        sentence = f"logit_bias names token {max(bias)}, but this model has {info.vocab} tokens."
        raise ApiError(sentence, param="logit_bias", code="invalid_value")
    if body.stream_options is not None and not body.stream:
        sentence = "stream_options needs stream to be true."
        raise ApiError(sentence, param="stream_options", code="invalid_value")
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    given = {
        "top_k": body.top_k,
        "top_p": body.top_p,
        "typical_p": body.typical_p,
        "repeat_penalty": body.repeat_penalty,
        "frequency_penalty": body.frequency_penalty,
        "presence_penalty": body.presence_penalty,
        "dry_multiplier": body.dry_multiplier,
        "dry_base": body.dry_base,
        "dry_allowed_length": body.dry_allowed_length,
    }
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    try:
        return SamplingParams(
            max_tokens=max_tokens,
            temperature=_DEFAULT_TEMPERATURE if body.temperature is None else body.temperature,
            min_p=_DEFAULT_MIN_P if body.min_p is None else body.min_p,
            seed=None if body.seed is None else body.seed % _SEEDS,
            logit_bias=bias,
            logprobs=logprobs,
            stop=stop,
            grammar=grammar,
            trigger=trigger,
            ignore_end=bool(body.ignore_eos),
            **options,
        )
    except EngineError as error:
        raise ApiError(str(error), code="invalid_value") from error


def usage_json(usages: Iterable[Usage], prompts: int = 1) -> dict[str, Any]:
    """The counts of a request, summed; ``n`` replies to one prompt count it once.

    Args:
        usages: One of each reply, the replies to one prompt in a row.
        prompts: How many prompts the request had.
    """
    rows = list(usages)
    each = max(len(rows) // prompts, 1)
    first = rows[::each]  # of the replies to one prompt, the one that prefilled it
    prompt = sum(row.prompt_tokens for row in first)
    completion = sum(row.completion_tokens for row in rows)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": sum(row.cached_tokens for row in first)},
    }


def checked(chunk: Chunk) -> Chunk:
    """``chunk``, unless it says that its generation failed.

    Raises:
        EngineError: The generation failed or was cut.
    """
    if chunk.finish == "error":
        raise chunk.error or EngineError("The reply could not be finished.")
    if chunk.finish == "cancelled":
        raise EngineStopped("The reply was cut short.")
    return chunk


@dataclass(slots=True)
class Collected:
    """A whole reply."""

    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish: str = "stop"
    usage: Usage = field(default_factory=Usage)


async def collect(
    chunks: AsyncIterator[tuple[int, Chunk]], generations: Sequence[Generation]
) -> list[Collected]:
    """Wait for all replies.

    Raises:
        EngineError: One of them failed or was cut.
    """
    texts: list[list[str]] = [[] for _ in generations]
    replies = [Collected() for _ in generations]
    async for index, chunk in chunks:
        checked(chunk)
        texts[index].append(chunk.text)
        replies[index].logprobs += chunk.logprobs
        if chunk.finish:
            replies[index].finish = chunk.finish
            replies[index].usage = chunk.usage or Usage()
    for reply, parts in zip(replies, texts, strict=True):
        reply.text = "".join(parts)
    return replies
