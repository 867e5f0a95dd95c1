"""The events of the Realtime protocol: what a client says, strictly read, and what it is told.

The names and fields are those of OpenAI's Realtime API as it became generally available. Events
that begin with ``llmos.`` are llmos's own, and only for clients that ask for them.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from llmos import limits
from llmos.devices.audio import Samples, decode_pcm16
from llmos.events import Usage
from llmos.server.body import Integer
from llmos.server.realtime_settings import OutputFormat, Refusal, SessionUpdate, VoiceId

__all__ = [
    "Answer",
    "Append",
    "Cancel",
    "Clear",
    "ClientEvent",
    "Commit",
    "CreateItem",
    "CreateResponse",
    "DeleteItem",
    "RetrieveItem",
    "Truncate",
    "UpdateSession",
    "error_event",
    "event_id_of",
    "event_of",
    "new_id",
    "parse",
    "usage_of",
]

_Id = Annotated[str, Field(min_length=1, max_length=limits.REALTIME_ID_CHARS)]


class ClientEvent(BaseModel):
    """What a client says."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    type: str
    event_id: Annotated[str, Field(max_length=limits.REALTIME_EVENT_ID_CHARS)] | None = None


class UpdateSession(ClientEvent):
    session: SessionUpdate


class Append(ClientEvent):
    """More sound."""

    audio: Annotated[str, Field(max_length=limits.REALTIME_APPEND_CHARS)]

    def samples(self) -> Samples:
        """The sound, at 24 kHz.

        Raises:
            Refusal: It is not base64 of 16-bit samples.
        """
        try:
            data = base64.b64decode(self.audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refusal("'audio' is not base64.", param="audio") from error
        if len(data) % 2:
            sentence = f"'audio' has {len(data)} bytes; samples of 16 bits have an even number."
            raise Refusal(sentence, param="audio")
        return decode_pcm16(data)


class Commit(ClientEvent):
    """The person has said what they wanted to say."""


class Clear(ClientEvent):
    """What is being said is to be forgotten."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["input_text"]
    text: Annotated[str, Field(max_length=limits.MESSAGE_CHARS)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["message"]
    role: Literal["user"]
    content: Annotated[list[_Part], Field(min_length=1, max_length=limits.REALTIME_PARTS)]
    id: _Id | None = None
    object: Literal["realtime.item"] | None = None
    status: Literal["completed", "incomplete", "in_progress"] | None = None


class CreateItem(ClientEvent):
    """What the person says in writing."""

    item: _Message
    previous_item_id: str | None = None

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.item.content)


class RetrieveItem(ClientEvent):
    item_id: str


class DeleteItem(ClientEvent):
    item_id: str


class Truncate(ClientEvent):
    """How much of an answer was heard."""

    item_id: str
    content_index: Annotated[Integer, Field(ge=0, le=0)]
    audio_end_ms: Annotated[Integer, Field(ge=0)]


class _Spoken(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    format: OutputFormat | None = None
    voice: str | VoiceId | None = None


class _Audio(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    output: _Spoken | None = None


class _Wanted(BaseModel):
    """What one response is to be. Its instructions and tools are the conversation's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    audio: _Audio | None = None
    conversation: Literal["auto"] | None = None
    input: None = None
    instructions: Literal["", None] = None
    max_output_tokens: Literal["inf", None] = None
    metadata: dict[str, str] | None = None
    output_modalities: (
        Annotated[list[Literal["text", "audio"]], Field(min_length=1, max_length=1)] | None
    ) = None
    parallel_tool_calls: Literal[True, None] = None
    prompt: None = None
    reasoning: None = None
    tool_choice: Literal["auto", None] = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None


class CreateResponse(ClientEvent):
    response: _Wanted | None = None

    @property
    def voice(self) -> str | None:
        """The name of the voice it wants."""
        audio = self.response.audio if self.response is not None else None
        asked = audio.output.voice if audio is not None and audio.output is not None else None
        return asked.id if isinstance(asked, VoiceId) else asked

    @property
    def spoken(self) -> bool | None:
        """Whether it is to be spoken; None where nobody says."""
        wanted = self.response.output_modalities if self.response is not None else None
        return None if wanted is None else wanted == ["audio"]


class Cancel(ClientEvent):
    response_id: str | None = None


class Answer(ClientEvent):
    """A person's answer to a question about a call."""

    id: _Id
    answer: Literal["once", "conversation", "always", "no"]


_CLIENT: dict[str, type[ClientEvent]] = {
    "session.update": UpdateSession,
    "input_audio_buffer.append": Append,
    "input_audio_buffer.commit": Commit,
    "input_audio_buffer.clear": Clear,
    "conversation.item.create": CreateItem,
    "conversation.item.retrieve": RetrieveItem,
    "conversation.item.delete": DeleteItem,
    "conversation.item.truncate": Truncate,
    "response.create": CreateResponse,
    "response.cancel": Cancel,
    "llmos.answer": Answer,
}


def parse(text: str) -> ClientEvent:
    """A client's event.

    Raises:
        Refusal: It is no event, or one of its fields is not what it should be.
    """
    said = _object(text)
    kind = said.get("type")
    if not isinstance(kind, str):
        raise Refusal("An event needs a 'type'.", param="type", code="missing_required_parameter")
    model = _CLIENT.get(kind)
    if model is None:
        sentence = f"There is no event of the type '{kind[:100]}'."
        raise Refusal(sentence, param="type", code="unknown_event")
    try:
        return model.model_validate(said)
    except ValidationError as error:
        raise _refusal(error, said) from error


def event_id_of(text: str) -> str | None:
    """What a client calls an event that may be malformed."""
    try:
        id = _object(text).get("event_id")
    except Refusal:
        return None
    return id[: limits.REALTIME_EVENT_ID_CHARS] if isinstance(id, str) else None


def _object(text: str) -> dict[str, Any]:
    try:
        said = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(f"That is not valid JSON: {error}.", code="invalid_json") from error
    if not isinstance(said, dict):
        raise Refusal("An event is a JSON object.", code="invalid_json")
    return said


def _refusal(error: ValidationError, said: dict[str, Any]) -> Refusal:
    """The deepest of pydantic's complaints: of a union's branches, the one that got furthest."""
    found = max(error.errors(include_url=False, include_input=False), key=lambda e: len(e["loc"]))
    param = _place(found["loc"], said)
    if found["type"] == "extra_forbidden":
        sentence = f"There is no field '{param}' here."
        return Refusal(sentence, param=param, code="unknown_parameter")
    if found["type"] == "missing":
        sentence = f"The field '{param}' is missing."
        return Refusal(sentence, param=param, code="missing_required_parameter")
    return Refusal(f"'{param}' cannot be that: {found['msg']}.", param=param)


def _place(loc: Sequence[int | str], said: Any) -> str:
    """``session.audio.input`` without the branches of unions, which pydantic names, too."""
    path = ""
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(said, list) and isinstance(part, int):
            said = said[part] if part < len(said) else None
            path += f"[{part}]"
        elif isinstance(said, dict) and (part in said or last):
            said = said.get(part)
            path += f".{part}" if path else str(part)
    return path


# --- what a client is told --------------------------------------------------------------------


def new_id(kind: str) -> str:
    """A name that nothing else has, such as ``item_…``."""
    return f"{kind}_{secrets.token_hex(12)}"


def event_of(type: str, **fields: Any) -> dict[str, Any]:
    """An event as it is sent."""
    return {"type": type, "event_id": new_id("event"), **fields}


def error_event(refusal: Refusal, event_id: str | None = None) -> dict[str, Any]:
    """An ``error``; the connection stays.

    Args:
        event_id: What the client calls the event that is refused.
    """
    error = {
        "type": refusal.kind,
        "code": refusal.code,
        "message": str(refusal),
        "param": refusal.param,
        "event_id": event_id,
    }
    return event_of("error", error=error)


def usage_of(usage: Usage) -> dict[str, Any]:
    """What a response used; all of it is text, since speech is written down before."""
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "input_token_details": {
            "text_tokens": usage.prompt_tokens,
            "audio_tokens": 0,
            "cached_tokens": usage.cached_tokens,
        },
        "output_token_details": {"text_tokens": usage.completion_tokens, "audio_tokens": 0},
    }
