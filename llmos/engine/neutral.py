"""Text that must stay text.

A rendered template is tokenized with its control tokens read as such, so a message or a tool's
result that spells one (``<|im_end|>``) could end its own turn and forge another. Here such
spellings are broken by a word joiner, an invisible character, before the template sees them: the
model reads the same letters as ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from llmos.events import Message

__all__ = ["Neutralizer"]

_JOINER = "\u2060"


class Neutralizer:
    """Breaks the spellings of control tokens.

    Args:
        controls: What the model's control tokens are spelled like.
    """

    def __init__(self, controls: Iterable[str]) -> None:
        spelled = sorted({c for c in controls if len(c) > 1}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, spelled))) if spelled else None

    def text(self, text: str) -> str:
        """``text`` in which no control token is spelled."""
        if self._pattern is None:
            return text
        broken = self._pattern.sub(lambda m: f"{m[0][0]}{_JOINER}{m[0][1:]}", text)
        # Breaking one may leave another that overlapped it.
        return broken if broken == text else self.text(broken)

    def messages(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with every content, name and call made harmless."""
        return [self._message(m) for m in messages]

    def _message(self, message: Message) -> Message:
        calls = tuple(
            replace(call, name=self.text(call.name), arguments=self.value(call.arguments))
            for call in message.calls
        )
        return replace(
            message,
            content=self.text(message.content),
            calls=calls,
            call_id=self.text(message.call_id),
            name=self.text(message.name),
        )

    def value(self, value: Any) -> Any:
        """JSON-like data (a tool's schema, a call's arguments) with every string made harmless."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(k)): self.value(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(v) for v in value]
        return value
