"""A long text cut where a reader would: between paragraphs, else lines, sentences, words.

Cut by the text alone, so that the same text has the same stretches for ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmos import limits

__all__ = ["split"]

#: Best first.
_BORDERS = tuple(
    re.compile(p) for p in (r"\n\s*\n", r"\n", r"(?<=[.!?;])\s+|(?<=[。！？])", r"\s+")
)


def split(text: str, size: int = limits.PAGE_BYTES) -> Sequence[str]:
    """``text`` in stretches of at most ``size`` bytes (UTF-8), cut where a reader would.

    A stretch is at least half as long as it may be, but for the last. Joined they are ``text``.
    Bytes bound the tokens in any script: there is no token without one.
    """
    out, start = [], 0
    while len(text) - start > size // 4:  # no character has more than four
        reach = _reach(text, start, size)
        if reach == len(text):
            break
        cut = _cut(text, start, reach)
        out.append(text[start:cut])
        start = cut
    return (*out, text[start:])


def _reach(text: str, start: int, size: int) -> int:
    """The end of the longest stretch from ``start`` on that has at most ``size`` bytes."""
    raw = text[start : start + size].encode("utf-8", "replace")
    return start + max(len(raw[:size].decode("utf-8", "ignore")), 1)


def _cut(text: str, start: int, reach: int) -> int:
    """Where the stretch that begins at ``start`` ends: behind the last best border in reach."""
    half = start + (reach - start + 1) // 2
    for border in _BORDERS:
        ends = [found.end() for found in border.finditer(text, half, reach) if found.end() > half]
        if ends:
            return ends[-1]
    return reach
