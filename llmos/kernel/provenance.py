"""Whether a value stands in texts: how the monitor tells what a person named from what was read.

Plain comparison, no model. A text stands there letter for letter, but for case and spacing; a
number as the same number, however it is written ("1,200.50"); a date or a time of day as the same
day or minute ("15 May 2024", "May 15th", "2pm"); a host with ``https://`` or without; an account in
groups or not. A part of a word, of a number or of an address is not that word, number or address:
"ann@x.org" does not name "n@x.org". A path and what follows a host have case.

It forgives how the *texts* are written, never how the value is: a value with letters of another
form or with invisible marks is another value. It does not know what is meant: "tomorrow", "my
landlord" and "the usual amount" name nothing, and what was named for one purpose is named for all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from llmos import limits
from llmos.kernel import addresses

__all__ = ["Words", "leaves"]

_NUMBER = re.compile(r"(?<![\w.,:/])(?<!\d[-−])[-−]?\d+(?:[,'’]\d{3})*(?:\.\d+)?(?!\w|[-−.,:/]\d)")
#: What may stand within a word, a number or an address, so that neither side of it is a border.
_JOINS = rf"[\w@+\-/\\%&=#~\u0300-\u036f{addresses.INVISIBLE}]"
_BEFORE = re.compile(rf"(?<!{_JOINS})(?<!{_JOINS}[.:])(?<!\d,)(?<!\w['’])")
_BEHIND = re.compile(rf"(?!{_JOINS})(?![.:]{_JOINS})(?!,\d)(?!['’]\w+@)")
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
#: The number of an item in a list is not something that is named.
_ITEM = re.compile(r"(?:^|(?<=[.:;!?\n]\s)|(?<=\n))[ \t]{0,8}\d{1,2}[.)]\s")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?")
_ENDS_OF_DAY = (time(0, 0), time(23, 59))
_FIELD = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_ECHO = 4  # words in a row that are hardly there by chance


class Words:
    """Texts that are asked whether a value stands in them.

    Args:
        said: For instance everything a person said in a conversation.
    """

    __slots__ = ("_addresses", "_cased", "_dates", "_numbers", "_raw", "_text", "_times")

    def __init__(self, said: Iterable[str] = ()) -> None:
        parts = [_ITEM.sub(" ", part) for part in said]
        # A text a line, so that nothing stands across two of them.
        self._raw = "\n".join(" ".join(part.split()) for part in parts)
        self._cased = "\n".join(_plain(part) for part in parts)
        self._text = self._cased.lower()
        self._numbers = frozenset(_numbers(self._text))
        self._dates = frozenset(_dates(self._text))
        self._times = frozenset(_times(self._text))
        self._addresses = frozenset(each for part in parts for each in addresses.found(part))

    def and_also(self, said: Iterable[str]) -> Words:
        """These texts and more; what was read of these is not read again."""
        more, both = Words(said), Words()
        both._raw = f"{self._raw}\n{more._raw}"
        both._cased, both._text = f"{self._cased}\n{more._cased}", f"{self._text}\n{more._text}"
        both._numbers = self._numbers | more._numbers
        both._dates, both._times = self._dates | more._dates, self._times | more._times
        both._addresses = self._addresses | more._addresses
        return both

    def hold(self, value: Any) -> bool:
        """Whether ``value`` stands in the texts: all of it, where it is a list or an object.

        Args:
            value: Of an argument, JSON-able. Nothing (None, or an empty list) stands everywhere;
                an empty text does not, nor does a truth value, which nobody writes down.
        """
        return all(self._holds(leaf) for leaf in leaves(value))

    def leads(self, address: str) -> bool:
        """Whether an address that ``addresses.found`` found in content stands in the texts."""
        return address in self._addresses or self._holds(address)

    def echo(self, value: Any) -> bool:
        """Whether something of ``value`` stands in the texts: it, or a few words of it in a row.

        For a question only, so that it can say where a text may come from: no proof of either.
        """
        for leaf in leaves(value):
            if leaf is None or self._holds(leaf):
                return leaf is not None
            if not isinstance(leaf, str):
                continue
            words = _plain(leaf[: limits.QUESTION_VALUE_CHARS]).lower().split()
            if any(
                " ".join(words[at : at + _ECHO]) in self._text
                for at in range(len(words) - _ECHO + 1)
            ) or any(each in self._addresses for each in addresses.found(leaf)):
                return True
        return False

    def _holds(self, value: Any) -> bool:
        if value is None:
            return True
        if isinstance(value, bool):
            return False
        if isinstance(value, int | float):
            try:
                return Decimal(str(value)) in self._numbers
            except ValueError:  # more digits than Python prints
                return False
        return isinstance(value, str) and self._holds_text(value)

    def _holds_text(self, value: str) -> bool:
        wanted = " ".join(value.split())
        if not re.search(r"\w", wanted):
            return False
        if wanted != _plain(wanted):
            return _bordered(wanted, self._raw)
        if "/" in wanted or "\\" in wanted:
            if _bordered(wanted, self._cased):
                return True
        elif _bordered(wanted.lower(), self._text):
            return True
        if list(addresses.found(wanted)) == [address := addresses.normal(wanted)]:
            return address in self._addresses
        if _MOMENT.fullmatch(wanted):
            return self._holds_moment(wanted)
        return _NUMBER.fullmatch(wanted) is not None and _number(wanted) in self._numbers

    def _holds_moment(self, value: str) -> bool:
        """A date is named with its year or without.

        A time of day with it must be named, too; the first and the last minute are the day itself.
        """
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return False
        day = moment.date()
        if not {(day.year, day.month, day.day), (0, day.month, day.day)} & self._dates:
            return False
        return len(value) <= len("2024-05-15") or moment.time() in {*self._times, *_ENDS_OF_DAY}


def leaves(value: Any, depth: int = 0) -> Iterator[Any]:
    """The single values within a value.

    Names of fields are the schema's; a key that is not written like one is a value itself. What is
    nested too deeply is one value that stands nowhere.
    """
    if depth > limits.CALL_DEPTH:
        yield False
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if not (isinstance(key, str) and _FIELD.fullmatch(key)):
                yield key if isinstance(key, str) else False
            yield from leaves(part, depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part, depth + 1)
    else:
        yield value


def _bordered(wanted: str, text: str) -> bool:
    """Whether it stands there as a whole."""
    at = text.find(wanted)
    while at >= 0:
        if _BEFORE.match(text, at) and _BEHIND.match(text, at + len(wanted)):
            return True
        at = text.find(wanted, at + 1)
    return False


def _plain(text: str) -> str:
    """A text in compatible letters and single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _number(written: str) -> Decimal:
    return Decimal(re.sub(r"[,'’]", "", written).replace("−", "-"))


def _numbers(text: str) -> Iterator[Decimal]:
    for found in _NUMBER.finditer(text):
        try:
            yield _number(found[0])
        except InvalidOperation:  # digits of no number
            continue


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
