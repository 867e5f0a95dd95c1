"""What a line of Markdown is, told from as few of its characters as possible.

A voice cannot wait for the end of a line. Knows one line at a time and no nesting: indentation and
quotation marks (``>``) are taken off before. After CommonMark 0.31, section 4, with what language
models write: tables with leading pipes, blocks of LaTeX.
"""

from __future__ import annotations

import re
from enum import StrEnum

__all__ = ["Line", "kind_of"]

_RULE_LENGTH = 100  # characters of one kind that are waited for: nobody draws a longer rule
_INFO_LENGTH = 100  # of a fence's first line; longer is text that begins with backticks

_NUMBER = re.compile(r"\d{1,3}[.)][ \t]")
_NUMBER_BEGUN = re.compile(r"\d{1,3}[.)]?")
_SOURCE = re.compile(r"\[\^?\d{1,3}\]:")
_SOURCE_BEGUN = re.compile(r"\[(?:\^?\d{0,3}|\^?\d{1,3}\])")


class Line(StrEnum):
    """Kinds of lines."""

    TEXT = "text"
    BLANK = "blank"
    HEADING = "heading"  # ``## `` was read
    ITEM = "item"  # ``- `` was read
    NUMBER = "number"  # ``1. `` was read
    RULE = "rule"  # a line across, or below a heading; it was read whole
    FENCE = "fence"  # the first line of a code block was read whole
    TABLE = "table"  # ``|`` was read
    FORMULA = "formula"  # ``$$`` or ``\[`` was read
    SOURCE = "source"  # ``[1]:`` was read: where a footnote or link leads


def kind_of(begun: str) -> Line | None:
    """The kind of the line that begins with ``begun``; None while it cannot be told.

    A line's end belongs to it (``\\n``). Once told, the kind is the same for any longer beginning.
    """
    if not begun:
        return None
    first = begun[0]
    match first:
        case "\n":
            return Line.BLANK
        case "`" | "~":
            return _fence(begun)
        case "#":
            rest = begun.lstrip("#")
            if not rest:
                return None if len(begun) <= 6 else Line.TEXT
            marks = len(begun) - len(rest)
            return Line.HEADING if rest[0] in " \t" and marks <= 6 else _rule(begun)
        case "-" | "+" | "*" if len(begun) > 1 and begun[1] in " \t":
            return Line.ITEM
        case "-" | "+" | "*" | "_" | "=":
            return _rule(begun)
        case "•":
            return Line.ITEM
        case "|":
            return Line.TABLE
        case "$" | "\\":
            if len(begun) == 1:
                return None
            return Line.FORMULA if begun[:2] in ("$$", r"\[") else Line.TEXT
        case "[":
            if _SOURCE.match(begun):
                return Line.SOURCE
            return None if _SOURCE_BEGUN.fullmatch(begun) else Line.TEXT
    if _NUMBER.match(begun):
        return Line.NUMBER
    return None if _NUMBER_BEGUN.fullmatch(begun) else Line.TEXT


def _fence(begun: str) -> Line | None:
    rest = begun.lstrip(begun[0])
    if len(begun) - len(rest) > _RULE_LENGTH:
        return Line.TEXT
    if not rest:
        return None
    # backticks behind the info string: a code span that has three of them
    if len(begun) - len(rest) < 3 or begun[0] in rest or len(rest) > _INFO_LENGTH:
        return Line.TEXT
    return Line.FENCE if rest[-1] == "\n" else None


def _rule(begun: str) -> Line | None:
    rest = begun.lstrip(begun[0])
    if len(begun) - len(rest) > _RULE_LENGTH:
        return Line.TEXT
    if not rest:
        return None
    return Line.RULE if rest == "\n" else Line.TEXT
