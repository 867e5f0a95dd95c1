"""Stretches of a person's words that could be the value of an argument.

What a value looks like only the tool knows: it gives a test. Everything here is about words and
tests, nothing about dates, numbers or places, but for finding the numbers that a composed value
(such as a calculation) may be made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["EDGE", "NUMBER", "Copied", "Span", "atoms", "candidates", "maximal", "spans", "values"]

NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
EDGE = "?.,!;:\"“”‘'"
_LONGEST = 14  # words in one value
_TEXTS_KEPT = 64  # whose stretches are; a message is looked through for each test of each call
_APART = 4  # words that may stand between a value and a number that belongs to it
_NUMBER_WORDS = {
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
    "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "hundred", "thousand",
    "million",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Copied:
    """An argument that is taken from the person's words.

    Args:
        accepts: The tool's own test of a value; None takes any words.
        format: Names the test; arguments with one test have one name.
        also: Values that are right without having been said.
        joins: Marks that may join several values into one; empty for a value copied whole.
        after: Words that a value of any words stands behind; empty where that cannot be told.
    """

    accepts: Callable[[str], bool] | None = None
    format: str = ""
    also: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Words ``start`` … ``end`` of a text, without the punctuation around them."""

    start: int
    end: int
    text: str


@lru_cache(_TEXTS_KEPT)
def spans(text: str) -> tuple[Span, ...]:
    """Every stretch of at most ``_LONGEST`` words."""
    words = text.split()
    stretches = (
        Span(start, end, " ".join(words[start:end]).strip(EDGE))
        for start in range(len(words))
        for end in range(start + 1, min(len(words), start + _LONGEST) + 1)
    )
    return tuple(span for span in stretches if span.text)


def maximal(text: str, accepts: Callable[[str], bool]) -> list[Span]:
    """The stretches a test accepts that lie in no larger accepted one."""
    good = [s for s in spans(text) if accepts(s.text)]
    return [
        s for s in good if not any(g.start <= s.start and s.end <= g.end and g != s for g in good)
    ]


def atoms(text: str, accepts: Callable[[str], bool]) -> list[str]:
    """What a composed value may be made of: accepted stretches, and the numbers outside them."""
    whole = maximal(text, accepts)
    taken = {word for span in whole for word in range(span.start, span.end)}
    found = [(span.start, span.text) for span in whole]
    spelled: list[str] = []  # a number in words, under way
    for at, word in enumerate([*text.split(), ""]):
        bare = word.strip(EDGE).lower()
        if at not in taken and bare and all(p in _NUMBER_WORDS for p in bare.split("-")):
            spelled.append(bare)
            continue
        if spelled:
            found.append((at - 1, " ".join(spelled)))
            spelled = []
        if at not in taken:
            found += [(at, number) for number in NUMBER.findall(word)]
    return [text for _, text in sorted(found, key=lambda f: f[0])]


def values(text: str, accepts: Callable[[str], bool]) -> list[str]:
    """The values of a test in a text; a number that stands apart from its value is joined to it.

    So "will Halloween be in 2028" has the value "Halloween 2028".
    """
    found = maximal(text, accepts)
    words = [word.strip(EDGE) for word in text.split()]
    longer = {at for span in found if span.end - span.start > 1 for at in range(*_reach(span))}
    joined: dict[Span, str] = {}
    used: set[int] = set()
    for span in found:
        for at in range(span.end, min(span.end + _APART, len(words))):
            whole = f"{span.text} {words[at]}"
            if words[at].isdigit() and at not in longer and accepts(whole):
                joined[span] = whole
                used.add(at)
                break
    return [joined.get(span, span.text) for span in found if used.isdisjoint(range(*_reach(span)))]


def _reach(span: Span) -> tuple[int, int]:
    return span.start, span.end


def candidates(argument: Copied, text: str, *, parts: int = 2) -> list[str]:
    """The values an argument may take in these words.

    Args:
        argument: How it is copied.
        text: The words.
        parts: Least parts of a composed value, whose parts are what is returned; one that is a
            value by itself will always do.
    """
    if argument.joins:
        accepts = argument.accepts or (lambda _: False)
        found = atoms(text, accepts)
        whole = [part for part in found if accepts(part)]
        if len(found) > 1 and whole and not any(accepts(j.join(found)) for j in argument.joins):
            return whole[-1:]  # a question in words is no part of anything
        return found if len(found) >= parts or (found and accepts(found[0])) else []
    if argument.accepts is None:
        return list(dict.fromkeys([*(s.text for s in spans(text)), *argument.also]))
    return list(dict.fromkeys([*values(text, argument.accepts), *argument.also]))
