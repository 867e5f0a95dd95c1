"""From a date as a person writes it to a date.

Reads ISO, ``3 March 2025``, ``March 3rd``, ``3/4/2025`` by the person's locale, ``next Friday``,
``in 3 weeks``, ``Christmas``. What can be read in two ways comes with a note that says which one
was taken. Knows nothing of places.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta, tzinfo

from llmos.sdk import Context, ToolError

from . import amounts
from .clocks import split_time

__all__ = ["DAYS", "Moment", "parse", "shown"]

_CHARS = 100
_NESTED_MAX = 3
_MONTHS = {name.lower(): n for n, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name.lower(): n for n, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
DAYS = {name.lower(): n for n, name in enumerate(calendar.day_name)}
DAYS |= {name.lower(): n for n, name in enumerate(calendar.day_abbr)}
DAYS |= {"tues": 1, "weds": 2, "thur": 3, "thurs": 3}
#: Countries that write the month first.
_MONTH_FIRST = {"US", "PH", "FM", "PW", "MH", "GU", "AS", "BZ"}
_FIXED = {
    "christmas": (12, 25), "christmas day": (12, 25), "xmas": (12, 25), "boxing day": (12, 26),
    "christmas eve": (12, 24), "new year": (1, 1), "new years": (1, 1), "new years day": (1, 1),
    "new years eve": (12, 31), "halloween": (10, 31), "valentines day": (2, 14), "valentines":
    (2, 14), "epiphany": (1, 6), "all saints day": (11, 1), "st patricks day": (3, 17),
    "april fools day": (4, 1), "may day": (5, 1), "leap day": (2, 29),
}  # fmt: skip
_BARE_DAY = re.compile(r"(?:on )?(?:the (\d{1,2})(?:st|nd|rd|th)?|(\d{1,2})(?:st|nd|rd|th))")
_YEAR = re.compile(r"(?:^|\s)(\d{4})$")
_RELATIVE = {"today": 0, "now": 0, "right now": 0, "tomorrow": 1, "yesterday": -1, "tonight": 0,
             "day after tomorrow": 2, "day before yesterday": -2, "todays date": 0,
             "current date": 0, "this morning": 0, "this afternoon": 0, "this evening": 0,
             }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Moment:
    """A date that was read.

    Args:
        day: The date.
        time: The time of day, where one was given.
        note: How an ambiguous form was read, or empty.
        yearless: No year was given, and the next such day was taken.
        zone: An offset that stood in the text (ISO 8601), or None.
    """

    day: date
    time: time | None = None
    note: str = ""
    yearless: bool = False
    zone: tzinfo | None = None

    def at(self, zone: tzinfo) -> datetime:
        """The moment, at midnight where no time was given."""
        return datetime.combine(self.day, self.time or time(), self.zone or zone)


def shown(day: date) -> str:
    """``Monday, 24 March 2025``."""
    return f"{calendar.day_name[day.weekday()]}, {plain(day)}"


def plain(day: date) -> str:
    """``24 March 2025``."""
    return f"{day.day} {calendar.month_name[day.month]} {day.year}"


def parse(text: str, context: Context) -> Moment:
    """Read a date, with a time or without.

    Raises:
        ToolError: It is no date, or not one that exists.
    """
    if len(text) > _CHARS:
        raise ToolError("That is too long for a date.", "Write it as 3 March 2025.")
    now = context.now()
    written = " ".join(text.split()).strip(" ?!,")
    exact = _iso(written)
    if exact:
        return exact
    if written.lower().rstrip(".") in ("now", "right now"):
        return Moment(now.date(), now.time().replace(microsecond=0))
    rest, clock = split_time(written)
    if clock and not rest:
        return Moment(now.date(), clock)
    found = _day(rest, now, context, 0)
    if found is None:
        raise ToolError(
            f"“{written}” is no date that can be read.",
            "Write it as 3 March 2025, 2025-03-03, tomorrow or next Friday.",
        )
    return replace(found, time=clock) if clock else found


def _iso(text: str) -> Moment | None:
    if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:?\d\d", text):
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return Moment(read.date(), read.time(), zone=read.tzinfo)


def _make(year: int, month: int, day: int, note: str = "", yearless: bool = False) -> Moment:
    if not 1 <= year <= MAXYEAR:
        raise ToolError(f"The year {year} is out of range: dates run from the year 1 to 9999.")
    if not 1 <= month <= 12:
        raise ToolError(f"There is no month {month}.")
    last = calendar.monthrange(year, month)[1]
    if not 1 <= day <= last:
        name = calendar.month_name[month]
        raise ToolError(f"There is no {day} {name} {year}: that month has {last} days.")
    return Moment(date(year, month, day), note=note, yearless=yearless)


def _next(month: int, day: int, today: date) -> Moment:
    """The next such day, today included."""
    most = calendar.monthrange(2000, month)[1]  # a leap year
    if not 1 <= day <= most:
        name = calendar.month_name[month]
        raise ToolError(f"There is no {day} {name}: that month has at most {most} days.")
    for year in range(today.year, min(today.year + 9, MAXYEAR + 1)):
        if day <= calendar.monthrange(year, month)[1] and date(year, month, day) >= today:
            return Moment(date(year, month, day), yearless=True)
    raise ToolError("That is out of range: dates run from the year 1 to 9999.")


def _day_of_month(day: int, today: date) -> Moment:
    """``the 15th``: the next such day, today included."""
    if not 1 <= day <= 31:
        raise ToolError(f"No month has a day {day}.")
    first = today.replace(day=1)
    for months in range(3):  # no two months in a row lack a day
        month, _ = amounts.add_months(first, months)
        if day <= calendar.monthrange(month.year, month.month)[1]:
            found = month.replace(day=day)
            if found >= today:
                return Moment(found, note=f"the next is {plain(found)}")
    raise ToolError("That is out of range: dates run from the year 1 to 9999.")


def _day(text: str, now: datetime, context: Context, nested: int) -> Moment | None:
    words = re.sub(r"[,’'“”]", "", text.lower())
    if bare := _BARE_DAY.fullmatch(words):
        return _day_of_month(int(bare[1] or bare[2]), now.date())
    words = re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", words)
    words = " ".join(words.split())
    words = re.sub(r"^(?:(?:on|the|at|by|from|until|till|since|of) )+", "", words)
    words = words.strip(" .")
    today = now.date()
    words = re.sub(
        r"(?<=\w) (?:in |of )?(this|next|last) year$",
        lambda found: f" {today.year + {'this': 0, 'next': 1, 'last': -1}[found[1]]}",
        words,
    )
    if words in _RELATIVE:
        return Moment(_shift(today, _RELATIVE[words]))
    return (
        _weekday(words, today)
        or _holiday(words, today)
        or _numeric(words, context)
        or _written(words, today)
        or _period(words, today)
        or _from_amount(words, now, context, nested)
    )


def _shift(day: date, days: int) -> date:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        raise ToolError("That is out of range: dates run from the year 1 to 9999.") from None


def _weekday(words: str, today: date) -> Moment | None:
    found = re.fullmatch(r"(?:(next|this|last|coming|past|previous) )?([a-z]+)( next week)?", words)
    if not found or found[2] not in DAYS:
        return None
    wanted = DAYS[found[2]]
    if found[3]:
        return Moment(_shift(today, 7 - today.weekday() + wanted))
    if found[1] in ("last", "past", "previous"):
        return Moment(_shift(today, -((today.weekday() - wanted - 1) % 7 + 1)))
    ahead = (wanted - today.weekday()) % 7
    if found[1] in ("next", "coming") and not ahead:
        ahead = 7
    return Moment(_shift(today, ahead))


def _holiday(words: str, today: date) -> Moment | None:
    given = _YEAR.search(words)
    name = (words[: given.start()] if given else words).removesuffix(" of").removesuffix(" in")
    name = re.sub(r"^(?:next|this) ", "", name.replace("saint ", "st "))
    if name in _FIXED:
        month, day = _FIXED[name]
        return _make(int(given[1]), month, day) if given else _next(month, day, today)
    moving: dict[str, Callable[[int], date]] = {
        "easter": _easter,
        "easter sunday": _easter,
        "easter monday": _easter_monday,
        "good friday": _good_friday,
        "thanksgiving": _thanksgiving,
    }
    if name not in moving:
        return None
    if given:
        if int(given[1]) < 1583:
            raise ToolError("That feast is reckoned only from the year 1583 on.")
        return Moment(moving[name](int(given[1])))
    year = today.year if moving[name](today.year) >= today else today.year + 1
    return Moment(moving[name](year), yearless=True)


def _easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Jones and Butcher)."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, day = divmod(h + k - 7 * m + 114, 31)
    return date(year, month, day + 1)


def _good_friday(year: int) -> date:
    return _easter(year) - timedelta(days=2)


def _easter_monday(year: int) -> date:
    return _easter(year) + timedelta(days=1)


def _thanksgiving(year: int) -> date:
    """The fourth Thursday of November (United States)."""
    first = date(year, 11, 1)
    return first + timedelta(days=(3 - first.weekday()) % 7 + 21)


def _numeric(words: str, context: Context) -> Moment | None:
    if found := re.fullmatch(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})", words):
        return _make(int(found[1]), int(found[3]), int(found[4]))
    if found := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", words):
        return _make(int(found[1]), int(found[2]), int(found[3]))
    if found := re.fullmatch(r"(\d{4})-?w(\d\d)-?([1-7])", words):
        try:
            return Moment(date.fromisocalendar(int(found[1]), int(found[2]), int(found[3])))
        except ValueError:
            raise ToolError(f"{found[1]} has no ISO week {int(found[2])}.") from None
    if found := re.fullmatch(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d\d)", words):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        if len(found[4]) == 2:
            year += 1900 if year >= 69 else 2000  # as POSIX reads two digits
        month_first = found[2] != "." and context.locale.rpartition("_")[2] in _MONTH_FIRST | {"C"}
        if first > 12 or second > 12:
            month_first = second > 12
        month, day = (first, second) if month_first else (second, first)
        moment = _make(year, month, day)
        if first <= 12 and second <= 12 and first != second and found[2] != ".":
            moment = replace(moment, note=f"{found[0]} read as {plain(moment.day)}")
        return moment
    if found := re.fullmatch(r"\d{4}", words):
        return _make(int(words), 1, 1, f"{words} read as 1 January {int(words)}")
    return None


def _written(words: str, today: date) -> Moment | None:
    """With the month in letters."""
    words = re.sub(r"\b(?:of|the|in)\b", " ", words)
    words = re.sub(r"[-/.]", " ", words)
    parts = words.split()
    note_day = None
    if parts and parts[0] in DAYS and len(parts) > 1:
        note_day = DAYS[parts.pop(0)]
    months = [index for index, part in enumerate(parts) if part in _MONTHS]
    if len(months) != 1 or len(parts) > 3:
        return None
    month = _MONTHS[parts.pop(months[0])]
    if not all(re.fullmatch(r"\d{1,4}", part) for part in parts):
        return None
    numbers = [int(part) for part in parts]
    if len(parts) == 2:
        day, year = (1, 0) if len(parts[0]) > 2 else (0, 1)
        moment = _make(numbers[year], month, numbers[day])
    elif len(parts) == 1 and len(parts[0]) == 4:
        name = f"{calendar.month_name[month]} {numbers[0]}"
        moment = _make(numbers[0], month, 1, f"{name} read as 1 {name}")
    elif len(parts) == 1:
        moment = _next(month, numbers[0], today)
    else:
        first = _next(month, 1, today)
        moment = replace(first, note=f"read as {plain(first.day)}")
    if note_day is not None and moment.day.weekday() != note_day:
        if moment.yearless:
            return moment
        name = calendar.day_name[moment.day.weekday()]
        moment = replace(moment, note=f"{plain(moment.day)} is a {name}")
    return moment


def _period(words: str, today: date) -> Moment | None:
    """``next week``, ``last month``, ``end of the year``."""
    if found := re.fullmatch(r"(next|last|this) (week|month|year)", words):
        step = {"next": 1, "last": -1, "this": 0}[found[1]]
        if found[2] == "week":
            return Moment(_shift(today, 7 * step))
        return Moment(amounts.add_months(today, step * (12 if found[2] == "year" else 1))[0])
    if found := re.fullmatch(r"(end|start|beginning) (?:of )?(?:the |this )?(month|year)", words):
        month = today.month if found[2] == "month" else (12 if found[1] == "end" else 1)
        last = calendar.monthrange(today.year, month)[1]
        return Moment(date(today.year, month, last if found[1] == "end" else 1))
    return None


def _from_amount(words: str, now: datetime, context: Context, nested: int) -> Moment | None:
    """``in 3 days``, ``2 weeks ago``, ``3 days after Christmas``."""
    start: Moment | None
    split = re.fullmatch(r"(.+?) (before|after|from|since) (.+)", words)
    if split and split[3] not in ("now", "today"):
        if nested == _NESTED_MAX:
            return None
        amount = amounts.parse(split[1])
        start = _day(split[3], now, context, nested + 1) if amount else None
        if amount is None or start is None:
            return None
        amount = -amount if split[2] == "before" else amount
    else:
        if split:
            words = f"{split[1]} {'ago' if split[2] == 'before' else 'from now'}"
        if not re.search(r"^in | ago$| from now$| later$| time$| earlier$", words):
            return None
        amount = amounts.parse(words)
        start = Moment(now.date(), now.time().replace(microsecond=0))
        if amount is None:
            return None
    moved, note = amounts.add_to(start.at(now.tzinfo or UTC), amount)
    return Moment(moved.date(), moved.time() if amount.seconds else None, note)
