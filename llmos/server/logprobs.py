"""Log probabilities of sampled tokens, in the chat form and in the legacy form."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from llmos.engine.backend import TokenLogprob

__all__ = ["LOWEST", "LegacyLogprobs", "chat_logprobs"]

#: What stands for minus infinity, which JSON cannot hold (OpenAI's own convention).
LOWEST = -9999.0


def _finite(logprob: float) -> float:
    return max(float(logprob), LOWEST)


def _chat_entry(text: bytes, logprob: float) -> dict[str, Any]:
    return {
        "token": text.decode("utf-8", "replace"),
        "logprob": _finite(logprob),
        "bytes": list(text),
    }


def chat_logprobs(entries: Iterable[TokenLogprob]) -> dict[str, Any]:
    """The ``logprobs`` of a chat choice; ``bytes`` is exact where ``token`` cannot be."""
    content = [
        {
            **_chat_entry(entry.text, entry.logprob),
            "top_logprobs": [_chat_entry(text, logprob) for _, text, logprob in entry.top],
        }
        for entry in entries
    ]
    return {"content": content, "refusal": None}


def _legacy_text(text: bytes) -> str:
    """A token as text; bytes that are no whole character in OpenAI's ``bytes:`` notation."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in text)


class LegacyLogprobs:
    """The ``logprobs`` of one legacy choice, made piece by piece.

    Args:
        start: Characters before the first token (the echoed prompt).
    """

    def __init__(self, start: int = 0) -> None:
        self._at = start
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, entries: Sequence[TokenLogprob]) -> dict[str, Any]:
        """The form of ``entries``, which follow those of the last call.

        A token inside a character has the offset of that character.
        """
        offsets, tops = [], []
        for entry in entries:
            offsets.append(self._at)
            self._at += len(self._decoder.decode(entry.text))
            top = {_legacy_text(text): _finite(logprob) for _, text, logprob in entry.top}
            top.setdefault(_legacy_text(entry.text), _finite(entry.logprob))
            tops.append(top)
        return {
            "tokens": [_legacy_text(entry.text) for entry in entries],
            "token_logprobs": [_finite(entry.logprob) for entry in entries],
            "top_logprobs": tops,
            "text_offset": offsets,
        }
