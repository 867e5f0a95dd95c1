"""The time anywhere, and exact arithmetic with dates."""

from __future__ import annotations

import calendar
import functools
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated

from llmos.sdk import Context, Length, Result, ToolError, Verbatim

from . import amounts, clocks, dates, places

__all__ = ["add", "between", "convert", "now", "weekday", "workdays"]

_WORDS = 60  # characters a value in the user's words may have


_AMBIGUOUS = {"may", "march", "mar", "sun", "sat", "wed", "dec", "second"}  # also other words
_UNTIL = re.compile(r"(?:until|till|til)\s", re.IGNORECASE)
_SINCE = re.compile(r"since\s", re.IGNORECASE)


def is_place(text: str) -> bool:
    """Whether ``text`` names a place or a zone, perhaps with its region, and nothing else."""
    parts = [text, *text.split(",")] if "," in text else [text]
    return (
        len(parts) < 4
        and not re.match(r"(?:in|at)\s", text, re.IGNORECASE)
        and all(re.search(r"[^\W\d_]", part) for part in parts)
        and all(_reads(part, functools.partial(places.known, part)) for part in parts)
        and not is_date(text)
    )


def is_date(text: str) -> bool:
    """Whether ``text`` is a day that can be found in a calendar, with no word before it."""
    return is_bound(text) and not (_UNTIL.match(text) or _SINCE.match(text))


def is_bound(text: str) -> bool:
    """Whether ``text`` is a date, perhaps with the word that makes it a beginning or an end."""
    counted = re.match(r"(.+?\s(?:from|after|before|past))\s", text, re.IGNORECASE)
    if text in _AMBIGUOUS or text.isdigit() or is_amount(counted[1] if counted else text):
        return False
    bare = not re.match(r"(?:on|at|by|from|of|in)\s", text, re.IGNORECASE)
    return bare and _reads(text, lambda: dates.parse(text, _anywhere()) is not None)


def is_day(text: str) -> bool:
    """Whether ``text`` is a date or a year; a weekday's mere name is what is asked for."""
    if text.lower() in dates.DAYS:
        return False
    return is_date(text) or re.fullmatch(r"1[6-9]\d\d|2[0-3]\d\d", text) is not None


def is_amount(text: str) -> bool:
    """Whether ``text`` is a time to add, such as ``3 weeks`` or ``90 days ago``."""
    bare = not re.fullmatch(r"an?\s\w+", text, re.IGNORECASE)  # "80 km an hour"
    return bare and _reads(text, lambda: amounts.parse(text) is not None)


def is_time(text: str) -> bool:
    """Whether ``text`` is a time of day."""
    said = text.lower() not in ("now", "right now") and not is_amount(text)
    return said and _reads(text, lambda: dates.parse(text, _anywhere()).time is not None)


@functools.cache
def _anywhere() -> Context:
    """Surroundings for tests of values: whether words are a date does not depend on them."""
    return Context()


def _reads(text: str, read: Callable[[], bool]) -> bool:
    try:
        return len(text) <= _WORDS and read()
    except (ToolError, ValueError, OverflowError):
        return False


_Place = Annotated[str, Verbatim(also=("",), accepts=is_place)]
_Date = Annotated[str, Length(1), Verbatim(also=("today",), accepts=is_date)]
_Bound = Annotated[str, Length(1), Verbatim(also=("today",), accepts=is_bound)]
_Day = Annotated[str, Length(1), Verbatim(accepts=is_day)]
_Amount = Annotated[str, Length(1), Verbatim(accepts=is_amount)]
_Time = Annotated[str, Length(1), Verbatim(accepts=is_time)]
_SECONDS = 86_400


def now(context: Context, place: _Place = "") -> Result:
    """Tell the time and date now.

    Args:
        place: City, country or time zone; empty for here.
    """
    found = places.find(place, context)
    moment = context.now().astimezone(found.zone)
    offset = places.offset(moment)
    text = f"{dates.shown(moment.date())}, {clocks.shown(moment.time().replace(second=0))}"
    if found.local:
        where = f" ({offset})" if found.name == "UTC" else f" ({offset}, {found.name})"
        where = where.replace("(UTC)", "UTC").replace("(UTC, UTC)", "UTC")
    else:
        where = _in(found, offset)
    return Result(
        text + where + _noted(found.note),
        {
            "iso": moment.isoformat(timespec="seconds"),
            "zone": found.name or offset,
            "date": dates.shown(moment.date()),
            **_told(found, clocks.shown(moment.time().replace(second=0))),
        },
    )


def add(date: _Date, amount: _Amount, context: Context) -> Result:
    """Add a length of time to a date, or take it away.

    Args:
        date: The date to start from, such as today or 3 March 2025.
        amount: How much to add, such as 3 weeks, 2 months and 5 days, or -90 days.
    """
    start = dates.parse(date, context)
    length = amounts.parse(amount)
    if length is None:
        raise ToolError(
            f"“{amount[:60]}” is no length of time.", "Write it as 3 weeks or 2 months and 5 days."
        )
    clock = start.time
    if length.seconds and clock is None and start.day == context.now().date():
        clock = context.now().time().replace(microsecond=0)
        start = dates.Moment(start.day, clock, start.note)
    zone: tzinfo = start.zone or context.tzinfo
    moved, note = amounts.add_to(start.at(zone), length)
    text = dates.shown(moved.date())
    if clock is not None or length.seconds:
        text += f", {clocks.shown(moved.time())}"
    return Result(
        text + _noted(start.note, note),
        {"iso": moved.isoformat() if clock or length.seconds else moved.date().isoformat()},
    )


def between(start: _Bound, end: _Bound, context: Context) -> Result:
    """Count the days from one date to another.

    Args:
        start: The first date, such as today.
        end: The second date, such as Christmas or 3 March 2027.
    """
    first, last = _both(start, end, context)
    if first.time or last.time:
        return _elapsed(first.at(context.tzinfo), last.at(context.tzinfo), first, last)
    days = (last.day - first.day).days
    text = amounts.counted(abs(days), "day")
    longer = [part for part in (_weeks(abs(days)), _months(first.day, last.day)) if part]
    if longer:
        text += f" ({', or '.join(longer)})"
    back = "the second date is the earlier one" if days < 0 else ""
    return Result(
        text + _noted(first.note, last.note, back),
        {"days": days, **_told_range(first, last, text)},
    )


def workdays(start: _Bound, end: _Bound, context: Context) -> Result:
    """Count the working days (Monday to Friday) from one date to another, both included.

    Args:
        start: The first date.
        end: The last date.
    """
    first, last = _both(start, end, context)
    early, late = sorted((first.day, last.day))
    count = _workdays_before(late.toordinal() + 1) - _workdays_before(early.toordinal())
    text = amounts.counted(count, "working day")
    return Result(
        f"{text} (Monday to Friday, public holidays not known)" + _noted(first.note, last.note),
        {"workdays": count, **_told_range(first, last, text)},
    )


def weekday(date: _Day, context: Context) -> Result:
    """Tell the day of the week of a date, its ISO week, and whether the year is a leap year.

    Args:
        date: The date, such as 3 March 2025.
    """
    found = dates.parse(date, context)
    day = found.day
    week = day.isocalendar()
    name = calendar.day_name[day.weekday()]
    leap = calendar.isleap(day.year)
    of_year = f"week {week.week}" + (f" of {week.year}" if week.year != day.year else "")
    text = (
        f"{dates.plain(day)} is a {name} (day {day.timetuple().tm_yday} of the year, "
        f"ISO {of_year}, {day.year} is {'a' if leap else 'not a'} leap year)"
    )
    return Result(
        text + _noted(found.note),
        {
            "iso": day.isoformat(),
            "day": "" if date.strip().isdigit() else dates.plain(day),
            "verb": _verb(day, context.now().date()),
            "weekday": name,
            "week": week.week,
            "leap": leap,
            "of_year": f"{day.year} is {'a' if leap else 'not a'} leap year",
        },
    )


def convert(
    time: _Time,
    context: Context,
    from_place: _Place = "",
    to_place: _Place = "",
) -> Result:
    """Tell what time it is in one place when it is a given time in another.

    Args:
        time: The time of day, such as 3pm or 15:00; a date may stand before it.
        from_place: Where it is that time; empty for here.
        to_place: Where the time is wanted; empty for here.
    """
    source, target = places.find(from_place, context), places.find(to_place, context)
    here = context.now().astimezone(source.zone)
    dated = _Elsewhere(context, source.zone)
    written = f"{time.strip()}:00" if time.strip().isdigit() and len(time.strip()) < 3 else time
    moment = dates.parse(written, dated)
    if moment.time is None:
        raise ToolError(f"“{time[:60]}” is no time of day.", "Write it as 3pm or 15:00.")
    before = moment.at(source.zone)
    try:
        after = before.astimezone(target.zone)
    except OverflowError:
        raise ToolError("That is out of range: dates run from the year 1 to 9999.") from None
    text = clocks.shown(after.time())
    days = (after.date() - before.date()).days
    if moment.day != here.date() or moment.zone:
        text += f" on {dates.shown(after.date())}"
    elif days:
        text += {1: " the next day", -1: " the day before"}.get(days, "")
    text += _in(target, places.offset(after))
    notes = (moment.note, source.note, target.note, _clock_change(before))
    return Result(
        text + _noted(*notes),
        {"iso": after.isoformat(timespec="seconds"), "from_label": source.label},
    )


# --- helpers --------------------------------------------------------------------------------


class _Elsewhere(Context):
    """The person's surroundings, with the calendar of another zone."""

    def __init__(self, context: Context, zone: tzinfo) -> None:
        super().__init__(zone="UTC", locale=context.locale, clock=context.now)
        self.tzinfo = zone


def _told(place: places.Place, time: str) -> dict[str, str]:
    """The time under the name that says where: here, in a city, or in a zone without a name."""
    if place.local:
        return {"here": time}
    if place.label.startswith("UTC") or not place.name:
        return {"there": f"{time} {place.label}"}
    return {"time": time, "city": place.label}


def _told_range(first: dates.Moment, last: dates.Moment, text: str) -> dict[str, str]:
    """The earlier day, the later day, and how long it is between them."""
    early, late = sorted((first.day, last.day))
    return {
        "first": dates.plain(early),
        "last": dates.plain(late),
        "length": text + _noted(first.note, last.note),
    }


def _verb(day: date, today: date) -> str:
    return "is" if day == today else "was" if day < today else "will be"


def _in(place: places.Place, offset: str) -> str:
    if place.label.startswith("UTC"):
        return f" {place.label}"
    return f" in {place.label} ({offset})" if place.name else f" {place.label} ({offset})"


def _noted(*notes: str) -> str:
    said = "; ".join(dict.fromkeys(note for note in notes if note))
    return f" ({said})" if said else ""


def _both(start: str, end: str, context: Context) -> tuple[dates.Moment, dates.Moment]:
    """Two dates; where one lacks its year, the year that puts them in order."""
    ends_first = _UNTIL.match(start) and not _UNTIL.match(end)
    begins_last = _SINCE.match(end) and not _SINCE.match(start)
    if ends_first or begins_last:
        start, end = end, start
    first, last = dates.parse(start, context), dates.parse(end, context)
    if first.day > last.day and first.yearless and first.day.year > 1:
        first = _move_year(first, last.day, -1)
    elif first.day > last.day and last.yearless:
        last = _move_year(last, first.day, 1)
    return first, last


def _move_year(moment: dates.Moment, limit: date, step: int) -> dates.Moment:
    day = moment.day
    for _ in range(9_999):
        if (day <= limit) if step < 0 else (day >= limit):
            return dates.Moment(day, moment.time, moment.note, True, moment.zone)
        year = day.year + step
        if not 1 <= year <= 9999:
            break
        leap_day = moment.day.month == 2 and moment.day.day == 29
        while leap_day and not calendar.isleap(year) and 1 < year < 9999:
            year += step
        if leap_day and not calendar.isleap(year):
            break
        day = moment.day.replace(year=year)
    return moment


def _weeks(days: int) -> str:
    weeks, rest = divmod(days, 7)
    if not weeks:
        return ""
    return _joined(amounts.counted(weeks, "week"), amounts.counted(rest, "day") if rest else "")


def _months(first: date, last: date) -> str:
    """Whole years and months from the earlier to the later, and the days left."""
    early, late = sorted((first, last))
    months = (late.year - early.year) * 12 + late.month - early.month
    if months and amounts.add_months(early, months)[0] > late:
        months -= 1
    if not months:
        return ""
    days = (late - amounts.add_months(early, months)[0]).days
    years, months = divmod(months, 12)
    return _joined(
        amounts.counted(years, "year") if years else "",
        amounts.counted(months, "month") if months else "",
        amounts.counted(days, "day") if days else "",
    )


def _joined(*parts: str) -> str:
    said = [part for part in parts if part]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 2 else said)


def _elapsed(start: datetime, end: datetime, first: dates.Moment, last: dates.Moment) -> Result:
    """Time that passes between two moments, summer time included."""
    length = end.astimezone(UTC) - start.astimezone(UTC)
    seconds = abs(int(length / timedelta(seconds=1)))
    days, rest = divmod(seconds, _SECONDS)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    parts = [(days, "day"), (hours, "hour"), (minutes, "minute"), (left, "second")]
    text = _joined(*(amounts.counted(n, noun) for n, noun in parts if n)) or "no time"
    back = "the second is the earlier one" if length < timedelta() else ""
    return Result(
        text + _noted(first.note, last.note, back),
        {"seconds": int(length / timedelta(seconds=1))},
    )


def _workdays_before(ordinal: int) -> int:
    """Mondays to Fridays before that day; day 1 of the calendar was a Monday."""
    weeks, rest = divmod(ordinal - 1, 7)
    return weeks * 5 + min(rest, 5)


def _clock_change(moment: datetime) -> str:
    """What to say of a time that the clocks skip, or show twice."""
    back = moment.astimezone(UTC).astimezone(moment.tzinfo)
    if back.replace(tzinfo=None) != moment.replace(tzinfo=None):
        return "the clocks go forward then, so that time does not occur; the old offset was used"
    if moment.utcoffset() != moment.replace(fold=1).utcoffset():
        return "the clocks go back then, so that time occurs twice; the first was used"
    return ""
