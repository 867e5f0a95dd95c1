"""The OpenAI-compatible requests: what each field may hold. Answers are in ``openai_answers.py``.

Checked strictly: a number in quotes or an unknown field is an error, since a misspelt option that
is silently ignored costs its author an afternoon. Fields that OpenAI's clients send and that mean
nothing here (``user``, ``store``, ``service_tier`` …, see ``Ignored``) are accepted. Fields beyond
OpenAI's (``top_k``, ``min_p``, ``typical_p``, ``repeat_penalty``, ``dry_*``) stand in
``Sampling``. What one field means for another is checked by the routes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
)
from pydantic_core import PydanticCustomError

from llmos import limits
from llmos.server.body import Integer

__all__ = [
    "AssistantMessage",
    "ChatRequest",
    "CompletionRequest",
    "EmbeddingRequest",
    "FunctionTool",
    "RequestMessage",
    "Sampling",
    "TextPart",
    "ToolMessage",
]

TOKEN_MAX = 2**31 - 1


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


# --- messages -------------------------------------------------------------------------------


class TextPart(_Request):
    type: Literal["text"]
    text: str


def _text_only(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str) and kind != "text":
        raise PydanticCustomError(
            "unsupported_content",
            "this model reads text only, so parts of type '{kind}' cannot be used",
            {"kind": kind},
        )
    return part


Part: TypeAlias = Annotated[TextPart, BeforeValidator(_text_only)]
Content: TypeAlias = str | Annotated[list[Part], Field(min_length=1, fail_fast=True)]


class SystemMessage(_Request):
    role: Literal["system", "developer"]
    content: Content
    name: str | None = None


class UserMessage(_Request):
    role: Literal["user"]
    content: Content
    name: str | None = None


class CalledFunction(_Request):
    name: Annotated[str, Field(min_length=1)]
    arguments: Annotated[str, Field(description="A JSON object, as a string.")]


class RequestCall(_Request):
    id: Annotated[str, Field(min_length=1)]
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(_Request):
    """An earlier reply. ``annotations``, ``audio`` and ``reasoning_content`` are not read."""

    role: Literal["assistant"]
    content: Content | None = None
    refusal: str | None = None
    tool_calls: Annotated[list[RequestCall], Field(min_length=1)] | None = None
    name: str | None = None
    annotations: list[JsonValue] | None = None
    audio: None = None
    function_call: None = None
    reasoning_content: str | None = None


class ToolMessage(_Request):
    role: Literal["tool"]
    content: Content
    tool_call_id: Annotated[str, Field(min_length=1)]


RequestMessage: TypeAlias = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


# --- tools and formats ------------------------------------------------------------------------

FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionDefinition(_Request):
    name: FunctionName
    description: str | None = None
    parameters: Annotated[
        dict[str, JsonValue] | None, Field(description="JSON schema of the arguments.")
    ] = None
    strict: Annotated[
        bool | None, Field(description="Accepted; arguments always follow the schema.")
    ] = None


class FunctionTool(_Request):
    type: Literal["function"]
    function: FunctionDefinition


class ChosenFunction(_Request):
    name: FunctionName


class NamedToolChoice(_Request):
    type: Literal["function"]
    function: ChosenFunction


class TextFormat(_Request):
    type: Literal["text"]


class JsonObjectFormat(_Request):
    type: Literal["json_object"]


class NamedSchema(_Request):
    name: FunctionName
    description: str | None = None
    schema_: Annotated[dict[str, JsonValue] | None, Field(alias="schema")] = None
    strict: Annotated[
        bool | None, Field(description="Accepted; the reply always follows the schema.")
    ] = None


class JsonSchemaFormat(_Request):
    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat: TypeAlias = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
]


class StreamOptions(_Request):
    include_usage: bool | None = None
    include_obfuscation: Annotated[bool | None, Field(description="Without effect.")] = None


# --- requests -------------------------------------------------------------------------------

StopString: TypeAlias = Annotated[str, Field(min_length=1, max_length=limits.STOP_STRING_CHARS)]
TokenKey: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]


class Sampling(_Request):
    """How a reply is sampled; the last fields are llmos's own."""

    max_tokens: Annotated[Integer, Field(ge=1, le=TOKEN_MAX)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, description="1 by default.")] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: (
        Annotated[
            dict[TokenKey, Annotated[float, Field(ge=-100, le=100)]],
            Field(json_schema_extra={"additionalProperties": False}),
        ]
        | None
    ) = None
    seed: Annotated[Integer, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: (
        StopString | Annotated[list[StopString], Field(max_length=limits.STOP_STRINGS_MAX)] | None
    ) = None
    n: Annotated[Integer, Field(ge=1, le=limits.N_MAX)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    top_k: Annotated[Integer, Field(ge=0, le=TOKEN_MAX, description="0 is off.")] | None = None
    min_p: Annotated[float, Field(ge=0, le=1, description="0.05 by default.")] | None = None
    typical_p: Annotated[float, Field(gt=0, le=1, description="1 is off.")] | None = None
    repeat_penalty: Annotated[float, Field(gt=0, le=10, description="1 is off.")] | None = None
    dry_multiplier: Annotated[float, Field(ge=0, le=10, description="0 is off.")] | None = None
    dry_base: Annotated[float, Field(ge=1, le=10)] | None = None
    dry_allowed_length: Annotated[Integer, Field(ge=1, le=1024)] | None = None
    ignore_eos: Annotated[
        bool | None, Field(description="Go on past the end of the reply, up to max_tokens.")
    ] = None


class Ignored(_Request):
    """What OpenAI's clients may send and what has no meaning for a local model."""

    user: JsonValue = None
    metadata: JsonValue = None
    store: JsonValue = None
    service_tier: JsonValue = None
    safety_identifier: JsonValue = None
    prompt_cache_key: JsonValue = None
    prompt_cache_options: JsonValue = None
    prompt_cache_retention: JsonValue = None
    prediction: JsonValue = None
    reasoning_effort: JsonValue = None
    verbosity: JsonValue = None


class ChatRequest(Sampling, Ignored):
    """``POST /v1/chat/completions``."""

    model: str
    messages: Annotated[
        list[RequestMessage], Field(min_length=1, max_length=limits.MESSAGES_MAX, fail_fast=True)
    ]
    max_completion_tokens: Annotated[Integer, Field(ge=1, le=TOKEN_MAX)] | None = None
    modalities: list[Literal["text"]] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[Integer, Field(ge=0, le=limits.LOGPROBS_MAX)] | None = None
    tools: (
        Annotated[list[FunctionTool], Field(max_length=limits.TOOLS_MAX, fail_fast=True)] | None
    ) = None
    tool_choice: Literal["none", "auto", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None


def _prompt_kind(value: Any) -> str:
    if not isinstance(value, list):
        return "text"
    first = value[0] if value else ""
    if isinstance(first, list):
        return "token_lists"
    return "tokens" if isinstance(first, int | float) else "texts"


TokenIds: TypeAlias = Annotated[
    list[Annotated[Integer, Field(ge=0, le=TOKEN_MAX)]], Field(min_length=1, fail_fast=True)
]
LegacyPrompt: TypeAlias = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[
        list[str], Field(min_length=1, max_length=limits.PROMPTS_MAX, fail_fast=True), Tag("texts")
    ]
    | Annotated[TokenIds, Tag("tokens")]
    | Annotated[
        list[TokenIds],
        Field(min_length=1, max_length=limits.PROMPTS_MAX, fail_fast=True),
        Tag("token_lists"),
    ],
    Discriminator(_prompt_kind),
]


class CompletionRequest(Sampling, Ignored):
    """``POST /v1/completions``. ``suffix`` is not supported, ``best_of`` only if equal to ``n``."""

    model: str
    prompt: LegacyPrompt
    suffix: str | None = None
    echo: bool | None = None
    best_of: Annotated[Integer, Field(ge=1, le=limits.N_MAX)] | None = None
    logprobs: Annotated[Integer, Field(ge=0, le=limits.LOGPROBS_MAX)] | None = None


EmbeddingText: TypeAlias = Annotated[str, Field(min_length=1)]
EmbeddingInput: TypeAlias = Annotated[
    Annotated[EmbeddingText, Tag("text")]
    | Annotated[
        list[EmbeddingText],
        Field(min_length=1, max_length=limits.EMBED_INPUTS, fail_fast=True),
        Tag("texts"),
    ]
    | Annotated[TokenIds, Tag("tokens")]
    | Annotated[
        list[TokenIds],
        Field(min_length=1, max_length=limits.EMBED_INPUTS, fail_fast=True),
        Tag("token_lists"),
    ],
    Discriminator(_prompt_kind),
]


class EmbeddingRequest(_Request):
    """``POST /v1/embeddings``. ``input`` is text; tokens are refused, with a reason."""

    model: str
    input: EmbeddingInput
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[
        Integer | None, Field(ge=1, le=TOKEN_MAX, description="Only the model's own.")
    ] = None
    user: JsonValue = None
