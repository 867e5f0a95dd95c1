"""A question about a call, read out, and what of the person's words answers it.

What is read out is what the kernel rendered: the literal arguments and where each comes from. Only
plain words are an answer; whatever else is said leaves the question waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmos.devices.turn_words import words_of

__all__ = ["answer_of", "read_out"]

#: Characters of an argument that are read out; of a longer one that it is on the screen.
VALUE_CHARS: Final = 160

_YES: Final = frozenset(
    (
        *("yes", "yes please", "yes do it", "yes do that", "yeah", "yep", "sure", "okay", "ok"),
        *("do it", "go ahead", "allow it", "allow", "i agree", "ja", "ja bitte", "oui", "sí", "si"),
    )
)
_NO: Final = frozenset(
    (
        *("no", "no thanks", "no thank you", "nope", "no don't", "don't", "do not", "don't do it"),
        *("no do not", "never", "cancel", "deny", "stop", "nein", "nein danke", "non"),
    )
)


def read_out(question: Mapping[str, Any]) -> str:
    """The words of a question, for a voice.

    Args:
        question: The event ``llmos.question``.
    """
    said = [str(question.get("title", "")).rstrip(".") + "."]
    for argument in question.get("arguments", ()):
        value = str(argument.get("value", ""))
        whole = len(value) <= VALUE_CHARS
        told = value if whole else f"{value[:VALUE_CHARS]}, and more, which is on the screen"
        source = str(argument.get("source", ""))
        said.append(f"{argument.get('name', '')}: {told}" + (f" ({source})." if source else "."))
    said.append("Shall it be done? Yes, or no?")
    return "\n\n".join(said)


def answer_of(text: str) -> str | None:
    """``once`` or ``no`` where the words answer a question plainly; else None."""
    said = " ".join(words_of(text))
    if said in _YES:
        return "once"
    return "no" if said in _NO else None
