"""Text on its way to the screen: made harmless, shortened, counted. Knows strings, no widgets."""

from __future__ import annotations

import json
import re
from typing import Any

from llmos.visible import visible

__all__ = [
    "MUTED",
    "age",
    "arguments",
    "bar",
    "count",
    "duration",
    "one_line",
    "plural",
    "value",
    "visible",
]

#: Style of what matters less. ``$text-muted`` needs a background to mix with, which a piece of
#: text does not know.
MUTED = "$foreground 60%"
_SPACE = re.compile(r"\s+")


def one_line(text: str, width: int) -> str:
    """The beginning of ``text`` on one line, at most ``width`` characters, cut at a word."""
    line = _SPACE.sub(" ", visible(text)).strip()
    if len(line) <= width:
        return line
    head, _, _ = line[:width].rpartition(" ")
    return (head if len(head) > width // 2 else line[: max(width - 1, 0)]).rstrip(" ,.;:") + "…"


def count(number: int) -> str:
    """A count with thousands separators."""
    return f"{number:,}"


def plural(number: int, noun: str, nouns: str = "") -> str:
    """``1 line``, ``2 lines``; ``nouns`` where it is not made with an s."""
    return f"{count(number)} {noun if number == 1 else nouns or f'{noun}s'}"


def duration(seconds: float) -> str:
    """A duration to two figures, in the unit that reads best."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def age(seconds: float) -> str:
    """How long ago something was, in one short word."""
    if seconds < 60:
        return "now"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "now"


def value(argument: Any) -> str:
    """An argument of a call as a person reads it: JSON, harmless, Unicode kept."""
    return visible(json.dumps(argument, ensure_ascii=False))


def arguments(values: dict[str, Any]) -> str:
    """The arguments of a call on one line: ``key=value, key=value``."""
    pairs = (f"{visible(str(key))}={value(item)}" for key, item in values.items())
    return _SPACE.sub(" ", ", ".join(pairs))


def bar(share: float, width: int = 10) -> str:
    """A part of a whole, 0 to 1, as a bar of ``width`` cells."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return "━" * full + "─" * (width - full)
