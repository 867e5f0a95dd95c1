"""Whether a value stands in texts: how the monitor tells what a person named from what was read.

Plain comparison, no model. A text stands there letter for letter, but for case, spacing and forms
of the same letters; a number as the same number, however it is written ("1,200.50"); a date or a
time of day as the same day or minute ("15 May 2024", "May 15th", "2pm"). A part of a word, of a
number or of an address is not that word, number or address: "ann@x.org" does not name "n@x.org".

It does not know what is meant: "tomorrow", "my landlord" and "the usual amount" name nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any

__all__ = ["Words"]

_NUMBER = re.compile(r"(?<![\w.,])[-−]?\d+(?:[,'’]\d{3})*(?:\.\d+)?(?!\w|[.,]\d)")
#: What may stand within a word, a number or an address, so that neither side of it is a border.
_JOINS = r"[\w@+\-/%&=#~]"
_BEFORE = rf"(?<!{_JOINS})(?<!{_JOINS}[.:])(?<!\d,)"
_BEHIND = rf"(?!{_JOINS})(?![.:]{_JOINS})(?!,\d)"
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "jan"),
            ("february", "feb"),
            ("march", "mar"),
            ("april", "apr"),
            ("may",),
            ("june", "jun"),
            ("july", "jul"),
            ("august", "aug"),
            ("september", "sep", "sept"),
            ("october", "oct"),
            ("november", "nov"),
            ("december", "dec"),
        ),
        1,
    )
    for name in names
}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+(?P<year>\d{4}))?"
_DATES = (
    re.compile(r"\b(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?!\d)"),
    re.compile(rf"\b{_DAY}(?:\s+of)?\s+{_MONTH}{_YEAR}\b"),
    re.compile(rf"\b{_MONTH}\s+(?:the\s+)?{_DAY}{_YEAR}\b"),
)
_TIMES = (
    re.compile(
        r"(?<![\d:])(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?:\s?(?P<half>[ap])\.?m\b)?"
    ),
    re.compile(r"(?<![\d:])(?P<hour>1[0-2]|0?[1-9])\s?(?P<half>[ap])\.?m\b"),
)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?")


class Words:
    """Texts that are asked whether a value stands in them.

    Args:
        texts: For instance everything a person said in a conversation.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._text = "\n".join(_plain(text) for text in texts)
        self._numbers = set(_numbers(self._text))
        self._dates = set(_dates(self._text))
        self._times = set(_times(self._text))

    def hold(self, value: Any) -> bool:
        """Whether ``value`` stands in the texts: all of it, where it is a list or an object.

        Args:
            value: Of an argument, JSON-able. Nothing (None, or an empty list) stands everywhere;
                an empty text does not, nor does a truth value, which nobody writes down.
        """
        if value is None:
            return True
        if isinstance(value, bool):
            return False
        if isinstance(value, int | float):
            return float(value) in self._numbers
        if isinstance(value, str):
            return self._holds_text(value)
        if isinstance(value, Mapping):
            return all(self.hold(part) for part in value.values())
        if isinstance(value, list | tuple):
            return all(self.hold(part) for part in value)
        return False

    def _holds_text(self, value: str) -> bool:
        wanted = _plain(value).strip()
        if not wanted:
            return False
        if re.search(f"{_BEFORE}{re.escape(wanted)}{_BEHIND}", self._text):
            return True
        if _MOMENT.fullmatch(value.strip()):
            return self._holds_moment(value.strip())
        return _NUMBER.fullmatch(wanted) is not None and _number(wanted) in self._numbers

    def _holds_moment(self, value: str) -> bool:
        """A date is named with its year or without; a time of day with it must be named, too."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return False
        day = moment.date()
        named = bool({(day.year, day.month, day.day), (0, day.month, day.day)} & self._dates)
        return named and (len(value) <= len("2024-05-15") or moment.time() in self._times)


def _plain(text: str) -> str:
    """A text as it is compared: compatible letters, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _number(written: str) -> float:
    return float(re.sub(r"[,'’]", "", written).replace("−", "-"))


def _numbers(text: str) -> Iterator[float]:
    for found in _NUMBER.finditer(text):
        yield _number(found[0])


def _dates(text: str) -> Iterator[tuple[int, int, int]]:
    """Year (0 where none is said), month and day of every date."""
    for pattern in _DATES:
        for found in pattern.finditer(text):
            month = found["month"].rstrip(".")
            number = int(month) if month.isdecimal() else _MONTHS[month]
            year, day = int(found["year"] or 0), int(found["day"])
            try:
                date(year or 2000, number, day)  # a leap year: the 29th of February is a day
            except ValueError:
                continue
            yield year, number, day


def _times(text: str) -> Iterator[time]:
    for pattern in _TIMES:
        for found in pattern.finditer(text):
            hour, half = int(found["hour"]), found["half"]
            if half and hour > 12:
                continue
            if half:
                hour = hour % 12 + (12 if half == "p" else 0)
            yield time(hour, int(found.groupdict().get("minute") or 0))
