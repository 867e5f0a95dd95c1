"""Kinds of values that may be taken out of a text nobody vouches for.

In none of them can anything be said in words: their values are finite, and which they are is
settled before the text is read. Free text, names and addresses are not among them, nor a moment: a
date and a time are two questions. Each kind binds what a model writes by a grammar and is checked
here again, for not every processor takes one. Each value has one spelling.

Knows texts, not where they come from; whether a value is true, nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial

from llmos.engine.gbnf import Chars, Expr, Rep, alt, one_of, optional, seq

__all__ = ["KINDS", "NONE", "Kind", "kind_of"]

#: What is answered where the text does not say it.
NONE = "none"

_DIGITS = 15  # a double holds as many
_WHOLE, _PART = 9, 6  # of them before and after a point
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_NUMBER = re.compile(rf"-?(?:[0-9]{{1,{_DIGITS}}}|[0-9]{{1,{_WHOLE}}}\.[0-9]{{1,{_PART}}})")


@dataclass(frozen=True, slots=True)
class Kind:
    """What may come out of a text.

    Args:
        told: How the value is to be written, for the model.
        grammar: Binds what it writes.
        read: The value that was written, in its one spelling; None where it is none of the kind.
    """

    told: str
    grammar: Expr
    read: Callable[[str], str | None]


def kind_of(name: str, options: Sequence[str]) -> Kind:
    """The kind of that name; without one, a choice among ``options``."""
    if name in KINDS:
        return KINDS[name]
    told = f"one of these: {'; '.join(options)}"
    return Kind(told, one_of(options), partial(_option, options))


def _date(written: str) -> str | None:
    try:
        return date.fromisoformat(written).isoformat() if _DATE.fullmatch(written) else None
    except ValueError:  # a 30th of February
        return None


def _time(written: str) -> str | None:
    return written if _TIME.fullmatch(written) else None


def _number(written: str) -> str | None:
    if not _NUMBER.fullmatch(written):
        return None
    return f"{Decimal(written).normalize() + 0:f}"  # -0 is 0


def _option(options: Sequence[str], written: str) -> str | None:
    return next((each for each in options if each.casefold() == written.casefold()), None)


def _two(numbers: range) -> Expr:
    return one_of(f"{number:02}" for number in numbers)


_DIGIT = Chars.of("0123456789")
_AMOUNT = alt(Rep(_DIGIT, 1, _DIGITS), seq(Rep(_DIGIT, 1, _WHOLE), ".", Rep(_DIGIT, 1, _PART)))
#: By name; a choice has options of its own.
KINDS: Mapping[str, Kind] = {
    "date": Kind(
        "a date as YYYY-MM-DD",
        seq(Rep(_DIGIT, 4, 4), "-", _two(range(1, 13)), "-", _two(range(1, 32))),
        _date,
    ),
    "time": Kind("a time as HH:MM", seq(_two(range(24)), ":", _two(range(60))), _time),
    "number": Kind("a number in digits alone, with no unit", seq(optional("-"), _AMOUNT), _number),
}
