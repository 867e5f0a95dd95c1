"""The OpenAI-compatible answers that are not streamed, as the published document types them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ChatCompletion", "Completion", "EmbeddingList", "Model", "ModelList"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PromptTokensDetails(_Answer):
    cached_tokens: Annotated[int, Field(description="Tokens whose KV cells were there already.")]


class ChatUsage(_Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class TopLogprob(_Answer):
    token: str
    logprob: float
    bytes: list[int]


class ContentLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(_Answer):
    content: list[ContentLogprob]
    refusal: None


class AnswerFunction(_Answer):
    name: str
    arguments: str


class AnswerCall(_Answer):
    id: str
    type: Literal["function"]
    function: AnswerFunction


class AnswerMessage(_Answer):
    role: Literal["assistant"]
    content: str | None
    refusal: None
    tool_calls: list[AnswerCall] = []


class ChatChoice(_Answer):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatCompletion(_Answer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: ChatUsage


class LegacyLogprobs(_Answer):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(_Answer):
    index: int
    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: Literal["stop", "length"]


class Completion(_Answer):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: ChatUsage


class EmbeddingUsage(_Answer):
    prompt_tokens: Annotated[int, Field(description="0 where a remote server does not say.")]
    total_tokens: int


class Embedding(_Answer):
    object: Literal["embedding"]
    index: int
    embedding: Annotated[
        list[float] | str,
        Field(description="Of length 1; as base64, little-endian 32-bit floats."),
    ]


class EmbeddingList(_Answer):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


class Model(_Answer):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    context_window: Annotated[
        int,
        Field(description="Tokens of one conversation, or of a text to embed; 0: only it knows."),
    ]


class ModelList(_Answer):
    object: Literal["list"] = "list"
    data: list[Model]
