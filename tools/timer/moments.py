"""When a reminder is due, from what a person says: ``in 20 minutes``, ``tomorrow at 9``.

English. A time of day without a day is the next one to come; an hour up to 12 that says neither
morning nor afternoon is the sooner of both. A day without a time is 9 in the morning. What is not
wholly understood is nothing: no reminder comes at a moment that nobody meant.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

__all__ = ["moment"]

_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 604800),
}
_WORDS = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12},
    **{"a": 1, "an": 1, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40},
    **{"forty-five": 45, "forty five": 45, "fifty": 50, "sixty": 60, "ninety": 90},
}
_COUNT = (
    r"(?P<count>\d+(?:[.,]\d+)?"
    rf"|(?:half(?: an?)?|{'|'.join(sorted(_WORDS, key=len)[::-1])})(?=\s))"  # "and" is no day
)
_PIECE = re.compile(
    rf"{_COUNT}\s*(?P<unit>{'|'.join(sorted(_UNITS, key=len)[::-1])})"
    r"(?P<half>\s+and\s+a\s+half)?(?![a-z])"
)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_MONTH = rf"(?P<month>{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTHS)})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATES = (
    re.compile(r"(?P<year>\d{4})-(?P<number>\d{1,2})-(?P<day>\d{1,2})(?!\d)"),
    re.compile(rf"(?:the\s+)?{_DAY}(?:\s+of)?\s+{_MONTH}(?:,?\s+(?P<year>\d{{4}}))?(?!\w)"),
    re.compile(rf"{_MONTH}\s+(?:the\s+)?{_DAY}(?:,?\s+(?P<year>\d{{4}}))?(?!\w)"),
)
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2}))?\s*(?:(?P<half>[ap])\.?m\.?|o'?clock)?(?![\w:])"
)
_NAMED = {"noon": time(12), "midday": time(12), "midnight": time(0)}
_PARTS = {"morning": time(9), "afternoon": time(15), "evening": time(19), "night": time(21)}
_MORNING = time(9)


def moment(text: str, now: datetime) -> datetime | None:
    """The moment that ``text`` says.

    Args:
        text: Such as ``in 20 minutes``, ``at 17:30``, ``on Friday at noon``.
        now: The present moment, in the person's zone.

    Returns:
        The moment, in the same zone; None where the text is not understood.
    """
    words = " ".join(text.lower().replace("’", "'").split()).strip(" .,!?")
    try:
        return _after(words, now) or _at(words, now)
    except (ValueError, OverflowError):
        return None


def _after(words: str, now: datetime) -> datetime | None:
    """``in 20 minutes``, ``2 hours from now``, ``1h 30m``."""
    words = re.sub(r"^(?:in|after)\s+|\s+(?:from now|later|time)$", "", words)
    words = re.sub(r"^(?:about|exactly)\s+", "", words)
    total, at = 0.0, 0
    while piece := _PIECE.match(words, at):
        count = piece["count"]
        if count.startswith("half"):
            number = 0.5
        else:
            number = float(_WORDS.get(count) or count.replace(",", "."))
        total += (number + (0.5 if piece["half"] else 0)) * _UNITS[piece["unit"]]
        at = piece.end()
        if at == len(words):
            # Hours are hours, also over a change of clocks; days keep the time of day.
            whole = int(total // 86400) if total % 86400 == 0 else 0
            if whole:
                return _real(now.replace(tzinfo=None) + timedelta(days=whole), now)
            return (now.astimezone(UTC) + timedelta(seconds=total)).astimezone(now.tzinfo)
        joint = re.compile(r"\s*(?:,|and)?\s*").match(words, at)
        at = joint.end() if joint else at
    return None


def _at(words: str, now: datetime) -> datetime | None:
    """A day, a time of day, or both in either order."""
    day: date | None = None
    clock: tuple[time, bool] | None = None
    part = ""
    while words:
        words = re.sub(r"^(?:on|at|by|the|this|,|in the)\s+", "", words).lstrip(" ,")
        if day is None and (found := _day(words, now)):
            day, part, words = found
        elif clock is None and (read := _clock(words)):
            clock, words = read[:2], read[2]
        elif not part and (
            named := re.match(r"(?:at )?(morning|afternoon|evening|night)\b", words)
        ):
            part, words = named[1], words[named.end() :]
        else:
            return None
        words = words.strip(" ,")
    if clock is None:
        if day is None and not part:
            return None
        clock = (_PARTS.get(part, _MORNING), True)
    elif part and not clock[1]:
        hour = clock[0].hour % 12 + (0 if part == "morning" else 12)
        if part == "night" and clock[0].hour in (12, 1, 2, 3):
            return None  # of which day is anybody's guess
        clock = (clock[0].replace(hour=hour), True)
    return _next(day, *clock, now)


def _next(day: date | None, clock: time, exact: bool, now: datetime) -> datetime:
    if day is not None:
        when = _real(datetime.combine(day, clock), now)
        if not exact and when <= now and day == now.date() and clock.hour < 12:
            when = _real(datetime.combine(day, clock.replace(hour=clock.hour + 12)), now)
        return when
    hours = {clock.hour} if exact else {clock.hour % 12, clock.hour % 12 + 12}
    days = (now.date(), now.date() + timedelta(days=1))
    moments = [
        _real(datetime.combine(each, clock.replace(hour=hour)), now)
        for each in days
        for hour in hours
    ]
    return min(each for each in moments if each > now)


def _day(words: str, now: datetime) -> tuple[date, str, str] | None:
    """A day at the beginning of some words, a part of it that was named, and what follows."""
    today = now.date()
    if found := re.match(r"(today|tonight|tomorrow|the day after tomorrow)\b", words):
        ahead = {"tomorrow": 1, "the day after tomorrow": 2}.get(found[1], 0)
        part = "night" if found[1] == "tonight" else ""
        return today + timedelta(days=ahead), part, words[found.end() :]
    if found := re.match(r"day after tomorrow\b", words):
        return today + timedelta(days=2), "", words[found.end() :]
    names = "|".join(_DAYS)
    if found := re.match(rf"(next |coming )?({names})\b", words):
        ahead = (_DAYS.index(found[2]) - today.weekday() - 1) % 7 + 1
        return today + timedelta(days=ahead), "", words[found.end() :]
    if found := re.match(r"next week\b", words):
        return today + timedelta(days=7), "", words[found.end() :]
    for form in _DATES:
        if found := form.match(words):
            said = found.groupdict()
            if said.get("number"):
                month = int(said["number"])
            else:
                names_ = [name[:3] for name in _MONTHS]
                month = names_.index(said["month"][:3]) + 1
            if said["year"]:
                return date(int(said["year"]), month, int(said["day"])), "", words[found.end() :]
            day = date(today.year, month, int(said["day"]))
            if day < today:
                day = date(today.year + 1, month, int(said["day"]))
            return day, "", words[found.end() :]
    return None


def _clock(words: str) -> tuple[time, bool, str] | None:
    """A time of day at the beginning of some words, whether it is exact, and what follows."""
    if found := re.match(r"(noon|midday|midnight)\b", words):
        return _NAMED[found[1]], True, words[found.end() :]
    found = _CLOCK.match(words)
    if found is None:
        return None
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"] == "p" else 0)
    # "at 5" may be either; "17:30" and "05:30" are what they say.
    exact = bool(found["half"]) or not 1 <= hour <= 12 or found["hour"].startswith("0")
    return time(hour, minute), exact, words[found.end() :]


def _real(local: datetime, now: datetime) -> datetime:
    """A wall clock's moment; one that a change of clocks leaves out is an hour later."""
    aware = local.replace(tzinfo=now.tzinfo)
    return aware.astimezone(UTC).astimezone(now.tzinfo)
