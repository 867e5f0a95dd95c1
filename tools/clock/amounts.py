"""Lengths of time as people write them: ``2 months and 5 days``, ``90 minutes ago``.

Adds them to dates exactly: years and months by the calendar, days by the calendar, hours by the
clock of the zone. Knows no names of dates.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from llmos.sdk import ToolError

__all__ = ["Amount", "add_months", "add_to", "add_workdays", "counted", "number_word", "parse"]

_MAX = 10**7
_UNITS = {
    "century": ("months", 1200), "centuries": ("months", 1200), "decade": ("months", 120),
    "year": ("months", 12), "yr": ("months", 12), "y": ("months", 12), "quarter": ("months", 3),
    "month": ("months", 1), "mo": ("months", 1), "fortnight": ("days", 14), "week": ("days", 7),
    "wk": ("days", 7), "w": ("days", 7), "day": ("days", 1), "d": ("days", 1),
    "hour": ("seconds", 3600), "hr": ("seconds", 3600), "h": ("seconds", 3600),
    "minute": ("seconds", 60), "min": ("seconds", 60), "second": ("seconds", 1),
    "sec": ("seconds", 1), "s": ("seconds", 1), "business day": ("workdays", 1),
    "working day": ("workdays", 1), "workday": ("workdays", 1), "weekday": ("workdays", 1),
}  # fmt: skip
_WORDS = {
    "zero": 0, "a": 1, "an": 1, "one": 1, "two": 2, "couple": 2, "three": 3, "four": 4, "five": 5,
    "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "dozen": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
    "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100,
}  # fmt: skip
_LOW = "|".join(sorted((w for w in _WORDS if w not in ("a", "an")), key=len, reverse=True))
_NUMBER_WORDS = rf"(?:an?|one)\s+(?:hundred|dozen|couple)\b|(?:{_LOW})(?:[ -](?:{_LOW}))?\b|an?\b"
_PIECE = re.compile(
    r"(?P<half>half\s+(?:an?|of\s+an?)\s+)?"
    r"(?P<number>\d{1,3}(?:,\d{3})+|\d{1,9}(?:\.\d{1,6})?|" + _NUMBER_WORDS + r")?\s*"
    r"(?P<unit>(?:business|working)\s+days?|workdays?|weekdays?|centuries|[a-z]+)"
    r"(?P<andhalf>\s+and\s+a\s+half)?(?:\s*,\s*and\s+|\s*,\s*|\s+and\s+|\s+|$)"
)


@dataclass(frozen=True, slots=True)
class Amount:
    """A length of time, in parts that do not convert into each other."""

    months: int = 0
    days: int = 0
    workdays: int = 0
    seconds: int = 0

    def __neg__(self) -> Amount:
        return Amount(-self.months, -self.days, -self.workdays, -self.seconds)


def number_word(text: str) -> int | None:
    """``twelve``, ``twenty-one``, ``a``; None for what is no number."""
    if text in _WORDS:
        return _WORDS[text]
    tens, _, ones = text.replace("-", " ").partition(" ")
    if ones and _WORDS.get(tens, 0) in range(20, 100, 10) and _WORDS.get(ones, 0) in range(1, 10):
        return _WORDS[tens] + _WORDS[ones]
    if tens in ("a", "one") and ones in ("hundred", "dozen", "couple"):
        return _WORDS[ones]
    return None


def parse(text: str) -> Amount | None:
    """Read an amount; None where it is none.

    Raises:
        ToolError: It is one, but no possible one.
    """
    if len(text) > 120:
        return None
    words = " ".join(text.lower().replace("−", "-").split()).strip(" .!?")
    sign = 1
    while match := re.match(r"(?:[+-]\s*|plus |minus |add |subtract |in |about |another )", words):
        sign = -sign if match[0].strip() in ("-", "minus", "subtract") else sign
        words = words[match.end() :]
    if match := re.search(r" (?:ago|earlier|before|back|in the past)$", words):
        sign, words = -1, words[: match.start()]
    elif match := re.search(r" (?:later|from now|after|hence|time|in the future|from)$", words):
        words = words[: match.start()]
    words = words.replace("couple of ", "couple ").removeprefix("the ").replace("'", "")
    totals = {"months": 0, "days": 0, "workdays": 0, "seconds": 0}
    at = 0
    while at < len(words):
        piece = _PIECE.match(words, at)
        if not piece:
            return None
        unit = " ".join(piece["unit"].split())
        kind = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
        number = _number(piece)
        if kind is None or number is None:
            return None
        name, size = kind
        count = number * size
        if name == "days" and count.denominator != 1:
            name, count = "seconds", count * 86_400
        if count.denominator != 1:
            if name != "seconds":
                raise ToolError(f"“{piece[0].strip()}” is no whole number of days or months.")
            count = Fraction(round(count))
        if abs(count) > _MAX * (86_400 if name == "seconds" else 1):
            raise _out_of_range()
        totals[name] += int(count) * sign
        at = piece.end()
    return Amount(**totals) if at else None


def _number(piece: re.Match[str]) -> Fraction | None:
    written = piece["number"]
    if piece["half"]:
        return Fraction(1, 2) if not written else None
    if not written:
        return None
    if written[0].isdigit():
        value = Fraction(written.replace(",", ""))
    else:
        word = number_word(written)
        if word is None:
            return None
        value = Fraction(word)
    return value + Fraction(1, 2) if piece["andhalf"] else value


def _out_of_range() -> ToolError:
    return ToolError("That is out of range: dates run from the year 1 to 9999.")


def add_months(day: date, months: int) -> tuple[date, bool]:
    """The same day that many months on; the month's last where it lacks that day.

    Returns:
        The day, and whether it had to be the month's last.
    """
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise _out_of_range()
    last = calendar.monthrange(year, month + 1)[1]
    return day.replace(year=year, month=month + 1, day=min(day.day, last)), day.day > last


def add_workdays(day: date, count: int) -> date:
    """Monday to Friday only; a weekend counts as the Friday before it (after it, backwards)."""
    sign = 1 if count >= 0 else -1
    weekday = day.weekday()
    if count and weekday > 4:
        day -= timedelta(days=weekday - 4) if sign > 0 else timedelta(days=weekday - 7)
    weeks, rest = divmod(abs(count), 5)
    day = day + sign * timedelta(days=7 * weeks)
    for _ in range(rest):
        day += sign * timedelta(days=1)
        while day.weekday() > 4:
            day += sign * timedelta(days=1)
    return day


def add_to(moment: datetime, amount: Amount) -> tuple[datetime, str]:
    """Add an amount to an aware moment.

    Months and days move the calendar and keep the clock; hours are hours that pass, also over a
    change to summer time.

    Returns:
        The moment in the same zone, and a note where the month lacked the day, or empty.
    """
    try:
        day, clipped = add_months(moment.date(), amount.months)
        note = f"{calendar.month_name[day.month]} {day.year} has {day.day} days" if clipped else ""
        day = add_workdays(day + timedelta(days=amount.days), amount.workdays)
        moved = datetime.combine(day, moment.timetz(), moment.tzinfo)
        if amount.seconds:
            later = moved.astimezone(UTC) + timedelta(seconds=amount.seconds)
            moved = later.astimezone(moment.tzinfo)
    except (OverflowError, ValueError):
        raise _out_of_range() from None
    return moved, note


def counted(count: int, noun: str) -> str:
    """``1 day``, ``2 days``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}".replace(",", "")
