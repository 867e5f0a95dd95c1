"""From a place as a person writes it to a time zone.

Knows cities, countries, IANA names, abbreviations and UTC offsets, from the zone database and the
table beside this file. Knows nothing of dates.
"""

from __future__ import annotations

import difflib
import functools
import re
import tomllib
import unicodedata
import zoneinfo
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

from llmos.sdk import Context, ToolError

__all__ = ["Place", "find", "known", "offset"]

_CHARS = 80
_AREAS = {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe",
          "Indian", "Pacific"}  # fmt: skip
_OFFSET = re.compile(r"(?:(?:utc|gmt)\s*)?([+-])\s*(\d{1,2})(?::?([0-5]\d))?", re.IGNORECASE)
_LOCAL = {"", "here", "local", "local time", "home", "my time", "me", "my place", "my city"}
_TIME_WORDS = re.compile(r"\s+(?:(?:standard|daylight|summer)\s+)?(?:time(?:\s+zone)?|timezone)$")
_NAMED = {"eastern": "ET", "central": "CT", "mountain": "MT", "pacific": "PT",
          "greenwich mean": "GMT", "central european": "Europe/Paris",
          "eastern european": "Europe/Athens", "western european": "Europe/Lisbon",
          "india": "IST", "universal": "UTC", "coordinated universal": "UTC", "zulu": "UTC",
          "moscow": "MSK"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A place that was found.

    Args:
        label: What to call it.
        zone: Its time zone.
        name: IANA name, empty for a bare offset.
        note: What the person should know of how it was read, or empty.
        several: For a country of several zones, whether ``label`` is its capital.
        local: It is where the person is.
    """

    label: str
    zone: tzinfo
    name: str = ""
    note: str = ""
    several: bool = False
    local: bool = False


def offset(moment: datetime) -> str:
    """``UTC+9``, ``UTC-3:30`` or ``UTC`` of an aware moment."""
    seconds = int((moment.utcoffset() or timedelta()).total_seconds())
    sign, (hours, rest) = "-" if seconds < 0 else "+", divmod(abs(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    if not (hours or minutes or seconds):
        return "UTC"
    tail = f":{minutes:02d}" if minutes or seconds else ""
    return f"UTC{sign}{hours}{tail}" + (f":{seconds:02d}" if seconds else "")


def find(text: str, context: Context) -> Place:
    """The place that ``text`` names; where the person is, if it is empty.

    Raises:
        ToolError: It is unknown; the sentence suggests what is spelled alike.
    """
    if len(text) > _CHARS:
        raise ToolError("That is no name of a place.")
    written = " ".join(text.split()).strip(" ?.!,")
    key = _key(written)
    if key in _LOCAL:
        tail = context.zone.rpartition("/")[2].replace("_", " ")
        return Place(tail, context.tzinfo, context.zone, local=True)
    place = _elsewhere(written, key)
    if place is None:
        raise _unknown(written, key)
    return place


def known(text: str) -> bool:
    """Whether ``text`` names a place, without looking for what it might have meant.

    Raises:
        ToolError: It is an offset that nobody uses.
    """
    written = " ".join(text.split()).strip(" ?.!,")
    return len(text) <= _CHARS and _elsewhere(written, _key(written)) is not None


def _elsewhere(written: str, key: str) -> Place | None:
    return (
        _offset(written) or _abbreviation(written) or _named(key, written) or _with_region(written)
    )


def _key(text: str) -> str:
    """The form in which names are compared: no case, accents, marks or leading article."""
    plain = unicodedata.normalize("NFKD", text.translate({0x131: "i", 0x142: "l", 0x141: "L"}))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    plain = plain.replace("&", " and ").replace("_", " ").replace("-", " ")
    plain = re.sub(r"[.,'’`´]", "", plain)
    plain = re.sub(r"\bst\b", "saint", plain)
    return re.sub(r"^(?:in |at |the )+", "", " ".join(plain.split()))


def _offset(text: str) -> Place | None:
    found = _OFFSET.fullmatch(text)
    if not found:
        return None
    hours, minutes = int(found[2]), int(found[3] or 0)
    west = found[1] == "-"
    if hours * 60 + minutes > (12 if west else 14) * 60:
        raise ToolError(f"{text} is no offset in use: they run from UTC-12 to UTC+14.")
    delta = timedelta(hours=hours, minutes=minutes) * (-1 if west else 1)
    zone = timezone(delta)
    return Place(offset(datetime(2000, 1, 1, tzinfo=zone)), zone)


def _abbreviation(text: str) -> Place | None:
    name = text.upper().removesuffix(" TIME")
    meaning = _table()["abbreviations"].get(name)
    if meaning is None:
        return None
    note = _table()["ambiguous"].get(name, "")
    note = f"{name} {note}" if note else ""
    if "/" in meaning:
        return Place(name, zoneinfo.ZoneInfo(meaning), note=note)
    sign, hours, minutes = meaning[0], int(meaning[1:3]), int(meaning[4:6])
    delta = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
    return Place(name, timezone(delta), note=note)


def _named(key: str, written: str) -> Place | None:
    """A known name: IANA, country, region or city."""
    index = _index()
    for candidate in dict.fromkeys((key, _TIME_WORDS.sub("", key))):
        if candidate in index:
            label, zone, country = index[candidate]
            note = ""
            if country:
                note = f"{country} has several time zones; this is the time in {label}"
            return Place(label, zoneinfo.ZoneInfo(zone), zone, note, several=bool(country))
        if candidate in _NAMED and candidate != key:
            meaning = _NAMED[candidate]
            place = _abbreviation(meaning) if "/" not in meaning else None
            return place or Place(written, zoneinfo.ZoneInfo(meaning), meaning)
    return None


def _with_region(written: str) -> Place | None:
    """``Paris, Texas``: the region decides where it has one zone, else the city does."""
    city, comma, region = written.partition(",")
    if not comma:
        return None
    here, around = _named(_key(city), city), _named(_key(region), region)
    if around and not around.several and (here is None or here.name != around.name):
        return Place(written, around.zone, around.name)
    if here:
        return Place(written, here.zone, here.name, here.note, here.several)
    return None


def _unknown(written: str, key: str) -> ToolError:
    names = _index()
    close = difflib.get_close_matches(key, names, n=3, cutoff=0.7)
    labels = list(dict.fromkeys(_shown(name) for name in close))
    remedy = (
        f"Did you mean {' or '.join(labels)}?"
        if labels
        else (
            "Name a large city, a country, a zone such as Europe/Paris, or an offset such as UTC+2."
        )
    )
    return ToolError(f"The place “{written}” is not known.", remedy)


def _shown(key: str) -> str:
    label, _, country = _index()[key]
    return country or label


@functools.lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    with (Path(__file__).parent / "places.toml").open("rb") as file:
        return tomllib.load(file)


@functools.lru_cache(maxsize=1)
def _index() -> dict[str, tuple[str, str, str]]:
    """Key to (label, IANA zone, the country where the label is its capital instead)."""
    table = _table()
    zones = zoneinfo.available_timezones() - {"Factory", "localtime"}  # files, not places
    index: dict[str, tuple[str, str, str]] = {}
    for section in ("regions", "cities"):
        for zone, names in table[section].items():
            for name in names.split(", "):
                index.setdefault(_key(name), (name, zone, ""))
        if section == "regions":
            for zone, capitals in table["capitals"].items():
                for capital, names in capitals.items():
                    first = names.split(", ")[0]
                    shown = f"The {first}" if first.startswith("United") else first
                    for name in names.split(", "):
                        index.setdefault(_key(name), (capital, zone, shown))
                    index.setdefault(_key(capital), (capital, zone, ""))
    for zone in sorted(zones):
        area, slash, rest = zone.partition("/")
        name = rest.rpartition("/")[2].replace("_", " ")
        if not (slash and area in _AREAS):
            index.setdefault(_key(zone), (zone, zone, ""))
        else:
            index.setdefault(_key(zone), (name, zone, ""))
            index.setdefault(_key(name), (name, zone, ""))
    # A machine's own zone database may be older than the table.
    return {key: row for key, row in index.items() if row[1] in zones}
