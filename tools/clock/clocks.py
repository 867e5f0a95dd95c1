"""Times of day as people write them: ``3pm``, ``15:00``, ``half past four``, ``noon``."""

from __future__ import annotations

import re
from datetime import time

from llmos.sdk import ToolError

from .amounts import number_word

__all__ = ["shown", "split_time"]

_HALF_DAY = r"(?:\s*(?P<half>[ap])\.?\s?m\b\.?)"
_AT = r"(?:(?<![\w:./-])(?:at\s+)?)"
_FORMS = [
    re.compile(
        _AT + r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?:\.\d+)?(?![\d:])"
        + _HALF_DAY + "?(?:\\s*(?:h|hrs|hours|o'clock)\\b)?", re.IGNORECASE,
    ),
    re.compile(_AT + r"(?P<hour>\d{1,2})(?:\.(?P<minute>\d\d))?" + _HALF_DAY, re.IGNORECASE),
    re.compile(_AT + r"(?P<hour>\d{1,2}|[a-z]{3,6})\s+o['’]?clock\b" + _HALF_DAY + "?",
               re.IGNORECASE),
    re.compile(
        _AT + r"(?P<past>half|quarter|[a-z]+|\d{1,2})(?:\s+minutes)?\s+(?P<to>past|to|after)\s+"
        r"(?P<hour>\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b"
        + _HALF_DAY + "?", re.IGNORECASE,
    ),
    re.compile(_AT + r"(?P<word>noon|midday|midnight)\b", re.IGNORECASE),
    re.compile(_AT + r"(?P<hour>\d\d)(?P<minute>\d\d)\s*(?:h|hrs|hours)\b", re.IGNORECASE),
    re.compile(_AT + r"(?P<hour>\d{1,2})h(?P<minute>\d\d)?\b", re.IGNORECASE),
]  # fmt: skip


def shown(clock: time) -> str:
    """``14:05``, with seconds where there are any."""
    return clock.strftime("%H:%M:%S" if clock.second else "%H:%M")


def split_time(text: str) -> tuple[str, time | None]:
    """The text without its time of day, and that time.

    Raises:
        ToolError: There is a time that no clock shows.
    """
    for form in _FORMS:
        found = form.search(text)
        if not found:
            continue
        clock = _read(found)
        if clock is None:
            continue
        rest = f"{text[: found.start()]} {text[found.end() :]}"
        rest = re.sub(r"\b(?:in the (?:morning|afternoon|evening)|at night)\b", " ", rest)
        return " ".join(rest.split()).strip(" ,"), clock
    return text, None


def _read(found: re.Match[str]) -> time | None:
    groups = found.groupdict()
    if groups.get("word"):
        return time(0) if groups["word"].lower() == "midnight" else time(12)
    hour = _value(groups["hour"])
    minute, second = _value(groups.get("minute") or "0"), _value(groups.get("second") or "0")
    if hour is None or minute is None or second is None:
        return None
    half = (groups.get("half") or "").lower()
    if half and not 1 <= hour <= 12:
        raise ToolError(f"There is no {found[0].strip()}.")
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    if groups.get("past"):
        past = {"half": 30, "quarter": 15}.get(groups["past"].lower()) or _value(groups["past"])
        if past is None or past > 59:
            return None
        minute = past
        if groups["to"].lower() == "to":
            hour, minute = (hour - 1) % 24, 60 - past
    if hour == 24 and not minute and not second:
        hour = 0
    if hour > 23 or minute > 59 or second > 59:
        raise ToolError(f"There is no time {found[0].strip()}.")
    return time(hour, minute, second)


def _value(text: str) -> int | None:
    return int(text) if text.isdigit() else number_word(text.lower())
