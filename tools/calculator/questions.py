"""The few ways of asking that are no expression, turned into one."""

from __future__ import annotations

import re

__all__ = ["rephrase"]

_OF_WHAT = re.compile(
    r"\s+(?:is|are|as)\s+(?:what|a|which)\s+(?:percent|percentage|per\s+cent|%)\s+of\s+", re.I
)
_WHAT_OF = re.compile(r"^what\s+(?:percent|percentage|per\s+cent|%)\s+of\s+", re.I)
_HOW_MANY = re.compile(
    r"^how\s+many\s+([^\W\d_]{1,20}(?:\s+(?!(?:is|are|in|there)\b)[^\W\d_]{1,20}){0,2})"
    r"\s+(?:(?:is|are)\s+(?:there\s+)?(?:in\s+)?|in\s+)",
    re.I,
)
_REMAINDER = re.compile(r"^(?:the\s+)?remainder\s+(?:of|when)\s+", re.I)
_CHANGE = re.compile(
    r"^(?:the\s+)?(?:percent|percentage|%)\s+(?:increase|decrease|change)\s+from\s+", re.I
)


#: "divide 91 by 7": verb to the words between the numbers, and what is meant.
_COMMANDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("divide", (" by ", " into "), "({0}) / ({1})"),
    ("split", (" by ", " among ", " between "), "({0}) / ({1})"),
    ("multiply", (" by ", " with ", " and "), "({0}) * ({1})"),
    ("add", (" to ", " and "), "({1}) + ({0})"),
    ("subtract", (" from ",), "({1}) - ({0})"),
    ("take", (" away from ", " from "), "({1}) - ({0})"),
    ("increase", (" by ",), "({0}) + {1}"),
    ("decrease", (" by ",), "({0}) - {1}"),
    ("reduce", (" by ",), "({0}) - {1}"),
)


def rephrase(text: str) -> str:
    """An expression for questions such as ``20 is what percent of 80``; other text as it is."""
    if (split := _OF_WHAT.search(text)) and not _OF_WHAT.search(text, split.end()):
        return f"({text[: split.start()]}) / ({text[split.end() :]}) in percent"
    if asked := _WHAT_OF.match(text):
        whole, is_, part = text[asked.end() :].partition(" is ")
        if is_:
            return f"({part}) / ({whole}) in percent"
    if asked := _HOW_MANY.match(text):
        return f"{text[asked.end() :]} in {asked[1]}"
    verb, _, rest = text.partition(" ")
    for command, words, form in _COMMANDS:
        if verb.lower() == command:
            for word in words:
                first, found, second = rest.partition(word)
                if found:
                    return form.format(first, second)
    if asked := _REMAINDER.match(text):
        return re.sub(r"\s(?:is\s+)?divided\s+by\s|\sand\s", " mod ", text[asked.end() :], count=1)
    if asked := _CHANGE.match(text):
        old, to, new = text[asked.end() :].partition(" to ")
        if to:
            return f"(({new}) - ({old})) / ({old}) in percent"
    return text
