"""A request's messages as the kernel's: roles, text parts, calls and their answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llmos.events import Message, ToolCall
from llmos.server.errors import ApiError
from llmos.server.openai_schema import (
    AssistantMessage,
    RequestMessage,
    TextPart,
    ToolMessage,
)

__all__ = ["to_messages"]


def _text(content: str | Sequence[TextPart] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)


def _object(text: str, param: str) -> dict[str, Any]:
    """The arguments of an earlier call, which must be the JSON object they claim to be."""
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        sentence = f"Invalid value for '{param}': it must be a JSON object in a string."
        raise ApiError(sentence, param=param, code="invalid_value")
    return value


def _calls(message: AssistantMessage, at: int) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(
            call.id,
            call.function.name,
            _object(
                call.function.arguments, f"messages[{at}].tool_calls[{index}].function.arguments"
            ),
        )
        for index, call in enumerate(message.tool_calls or ())
    )


def to_messages(given: Sequence[RequestMessage]) -> list[Message]:
    """The messages as the kernel knows them; ``developer`` is ``system``.

    Raises:
        ApiError: A call's arguments are no JSON object, or a tool message answers no call.
    """
    messages: list[Message] = []
    called: dict[str, str] = {}
    for at, message in enumerate(given):
        if isinstance(message, ToolMessage):
            name = called.get(message.tool_call_id)
            if name is None:
                param = f"messages[{at}].tool_call_id"
                sentence = f"{param} answers no earlier call: '{message.tool_call_id}' is unknown."
                raise ApiError(sentence, param=param, code="invalid_value")
            text = _text(message.content)
            messages.append(Message("tool", text, call_id=message.tool_call_id, name=name))
        elif isinstance(message, AssistantMessage):
            calls = _calls(message, at)
            called.update((call.id, call.name) for call in calls)
            text = _text(message.content) or message.refusal or ""
            messages.append(Message("assistant", text, calls, name=message.name or ""))
        else:
            role = "system" if message.role == "developer" else message.role
            messages.append(Message(role, _text(message.content), name=message.name or ""))
    return messages
