"""What grammars are built from: six kinds of frozen values that say which texts fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "EMPTY",
    "NOTHING",
    "Alt",
    "Chars",
    "Expr",
    "Lit",
    "Ref",
    "Rep",
    "Seq",
    "may_be_empty",
]


@dataclass(frozen=True, slots=True)
class Lit:
    """Exactly this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Chars:
    """One code point within any of these inclusive ranges (sorted, apart)."""

    ranges: tuple[tuple[int, int], ...]

    @staticmethod
    def of(text: str) -> Chars:
        """One of the characters of ``text``."""
        return Chars.union((ord(c), ord(c)) for c in text)

    @staticmethod
    def union(ranges: Iterator[tuple[int, int]] | list[tuple[int, int]]) -> Chars:
        """Any ranges, sorted and joined."""
        joined: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if joined and low <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
            else:
                joined.append((low, high))
        return Chars(tuple(joined))

    def minus(self, other: Chars) -> Chars:
        """What is in here and not in ``other``."""
        left = list(self.ranges)
        for cut_low, cut_high in other.ranges:
            pieces: list[tuple[int, int]] = []
            for low, high in left:
                pieces += [
                    (a, b)
                    for a, b in ((low, min(high, cut_low - 1)), (max(low, cut_high + 1), high))
                    if a <= b
                ]
            left = pieces
        return Chars.union(left)

    def both(self, other: Chars) -> Chars:
        """What is in here and in ``other``."""
        return self.minus(self.minus(other))

    def __contains__(self, char: str) -> bool:
        return any(low <= ord(char) <= high for low, high in self.ranges)


@dataclass(frozen=True, slots=True)
class Ref:
    """Whatever the rule of this name says."""

    name: str


@dataclass(frozen=True, slots=True)
class Seq:
    """One after the other."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    """Any one of these; of none, nothing fits."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Rep:
    """``least`` to ``most`` times (None: without end). Use ``Grammar.repeat`` for large counts."""

    item: Expr
    least: int
    most: int | None


Expr: TypeAlias = Lit | Chars | Ref | Seq | Alt | Rep

EMPTY = Lit("")
NOTHING = Alt(())


def may_be_empty(expr: Expr, named: Callable[[str], bool]) -> bool:
    """Whether the empty text fits.

    Args:
        named: The same of a rule, by its name.
    """
    match expr:
        case Lit(text):
            return not text
        case Ref(name):
            return named(name)
        case Seq(items):
            return all(may_be_empty(item, named) for item in items)
        case Alt(items):
            return any(may_be_empty(item, named) for item in items)
        case Rep(item, least, _):
            return least == 0 or may_be_empty(item, named)
    return False
