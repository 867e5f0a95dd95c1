"""Figures in a text: dates, times, amounts, ranges, telephone numbers, and what is said for each.

A reading is tried at one place and reaches as far as its pattern; every repetition is bounded, so
the time is too. Which reading comes first is the order of ``_READINGS``. What is ambiguous is read
as it is most often meant: 1984 and 1500 as years, 3-5 as a range. Knows no language: that is a
``Numerals``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cached_property

from llmos.devices.lexicon import LONGEST_NUMBER, Currency, Numerals

__all__ = ["Figures"]

_MINUS = "-−"
#: Years that are read in pairs; below and above, as any number.
_YEARS = range(1100, 2100)
#: Behind these 3.11 is a version.
_VERSIONED = frozenset({"version", "python", "release", "ubuntu", "java", "node", "django"})
_VULGAR = {"½": (1, 2), "¼": (1, 4), "¾": (3, 4), "⅓": (1, 3), "⅔": (2, 3), "⅛": (1, 8)}
_NOUN = re.compile(r"\s(\w{1,30})")
_HALF = r"(?:\s?(?P<half>[AaPp])(?:\.\s?[Mm]\.|[Mm])(?!\w))"


class Figures:
    """The readings of one language.

    Args:
        numerals: How it reads figures.
        before_ordinals: See ``Lexicon``.
    """

    def __init__(self, numerals: Numerals, before_ordinals: tuple[str, ...]) -> None:
        self._say = numerals
        self._lead = frozenset(before_ordinals)
        self._point = re.escape(numerals.decimal)
        comma = re.escape(numerals.thousands) + "\u00a0\u202f\u2009"
        whole = rf"\d{{1,3}}(?:[{comma}]\d{{3}}){{1,6}}(?!\d)|\d{{1,40}}"
        self._number = rf"(?:{whole})(?:{self._point}\d{{1,20}})?"
        self._loose = re.compile(rf"[{comma}]")

    def read(self, text: str, at: int, before: str) -> tuple[int, str] | None:
        """What the figures that begin at ``at`` are read as.

        Args:
            text: The whole text.
            at: A place where a word may begin.
            before: The word before it, or nothing.

        Returns:
            Where they end, and the words; None where no figures are.
        """
        for pattern, reading in self._readings:
            found = pattern.match(text, at)
            if found and (words := reading(found, before)) is not None:
                return found.end(), words
        return None

    def digits(self, figures: str) -> str:
        """One by one."""
        return " ".join(self._say.cardinal(int(one)) for one in figures if one.isdigit())

    # --- patterns ---------------------------------------------------------------------------

    @cached_property
    def _readings(self) -> list[tuple[re.Pattern[str], Callable[[re.Match[str], str], str | None]]]:
        number, say = self._number, self._say
        signs = _alternatives(say.currencies)
        amounts = _alternatives(say.magnitudes)
        months = _alternatives(say.months)
        marks = _alternatives(say.units)
        minus = rf"(?P<minus>[{_MINUS}]?)"
        to = rf"(?:(?:\s?[–—]\s?|-)(?P<to>{number}))?"
        suffix = "er" if say.day_first else "s"
        written = [
            (r"(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})(?!\d)(?:T(?=\d\d:))?", self._date),
            (r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})(?!\d)", self._date),
            (r"(?P<a>\d{1,2})/(?P<b>\d{1,2})/(?P<y>\d{4})(?!\d)", self._slash_date),
            (
                rf"(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?\s(?P<month>{months})(?!\w)"
                r"(?:,?\s(?P<y>\d{4})(?![\d:.,]?\d))?",
                self._date,
            ),
            (
                rf"(?P<month>{months})\s(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?![\w:%]|[.,]\d)"
                r"(?:,?\s(?P<y>\d{4})(?![\d:]|[.,]\d))?",
                self._month_first,
            ),
            (r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{2})?(?!\d)", self._short_date),
            (rf"(?P<h>\d{{1,2}}):(?P<min>\d\d)(?::(?P<s>\d\d))?(?![:\d]){_HALF}?(?:\s?Uhr\b)?",
             self._time),
            (rf"(?P<h>\d{{1,2}}){_HALF}", self._time),
            (r"(?P<h>\d{1,2})(?:\.(?P<min>\d\d))?\sUhr\b(?:\s(?P<min2>\d\d)(?!\d))?", self._time),
            (r"\+\d{1,3}(?:[\s/().-]{1,2}\d{1,5}){2,6}(?!\d)|\+\d{8,15}(?!\d)", self._phone),
            (r"\(\d{3}\)\s?\d{3}-\d{4}(?!\d)|\d{3}[-.]\d{3}[-.]\d{4}(?!\d)|\d{3}-\d{4}(?!\d)",
             self._phone),
            (r"\d{1,6}(?:-\d{1,9}){2,5}(?![\w-])", self._phone),
            (r"0\d{2,5}(?:[\s/-]\d{2,9}){1,4}(?!\d)", self._phone),
            (rf"{minus}(?P<sign>{signs})\s?(?P<n>{number}){to}"
             rf"(?:\s?(?P<amount>{amounts})(?!\w))?(?!\d)", self._money),
            (rf"{minus}(?P<n>{number}){to}(?:\s?(?P<amount>{amounts}))?\s?(?P<sign>{signs})(?!\w)",
             self._money),
            (r"(?P<whole>\d{1,3})?(?P<vulgar>[½¼¾⅓⅔⅛])", self._vulgar),
            (r"(?:(?P<whole>\d{1,3})\s)?(?P<over>\d{1,3})/(?P<under>\d{1,3})(?![\w/.]\d|\d)",
             self._fraction),
            (rf"['’]?(?P<n>\d{{3}}0|\d0){suffix}(?!\w)", self._decade),
            (r"(?P<n>\d{1,12})(?:st|nd|rd|th)(?!\w)", self._ordinal),
            (r"(?P<n>\d{1,4})\.(?=\s+\w)", self._pointed_ordinal),
            (rf"{minus}(?P<n>{number}){to}\s?(?P<unit>{marks})(?![\w/²³])", self._measure),
            (r"[vV](?P<n>\d{1,9}(?:\.\d{1,9}){0,5})(?!\w)", self._v_version),
            (rf"(?P<n>{number})(?:\s?[–—]\s?|-)(?P<to>{number})(?![\d-]|\.\d)", self._range),
            (rf"(?P<n>\d{{1,3}}(?:{re.escape(say.thousands)}\d{{3}}){{1,6}}"
             rf"(?:{self._point}\d{{1,20}})?)(?![.,]?\d)",
             self._plain),
            (r"(?P<n>\d{1,9}(?:\.\d{1,9}){2,6})(?!\d)", self._version),
            (r"(?P<n>\d{1,9}\.\d{1,9})(?!\d)", self._pair),
            (rf"{minus}(?P<n>{number})k(?!\w)", self._thousands),
            (rf"{minus}(?P<n>{number})x(?![\w-])", self._times),
            (rf"{minus}(?P<n>{number})", self._plain),
        ]  # fmt: skip
        return [(re.compile(pattern), reading) for pattern, reading in written]

    # --- values -----------------------------------------------------------------------------

    def _words(self, figures: str, year: bool = True) -> str:
        """Of a number as it is written: whole, decimal, or too long to be one."""
        say = self._say
        plain = self._loose.sub("", figures)
        whole, _, decimals = plain.partition(say.decimal)
        if len(whole) > LONGEST_NUMBER or (len(whole) > 1 and int(whole[0]) == 0):
            words = self.digits(whole)
        elif year and not decimals and len(figures) == 4 and int(whole) in _YEARS:
            words = say.year(int(whole))
        else:
            words = say.cardinal(int(whole))
        return f"{words} {say.point} {self.digits(decimals)}" if decimals else words

    def _value(self, figures: str) -> tuple[int, str]:
        """The whole part and the decimals."""
        whole, _, decimals = self._loose.sub("", figures).partition(self._say.decimal)
        return int(whole) if len(whole) <= LONGEST_NUMBER else -1, decimals

    def _signed(self, found: re.Match[str], words: str) -> str:
        return f"{self._say.minus} {words}" if found["minus"] else words

    # --- readings ---------------------------------------------------------------------------

    def _date(self, found: re.Match[str], before: str) -> str | None:
        groups = found.groupdict()
        month = self._say.months[groups["month"]] if "month" in groups else int(groups["m"])
        year = groups.get("y")
        return self._valid_date(int(groups["d"]), month, year, before)

    def _month_first(self, found: re.Match[str], before: str) -> str | None:
        return None if self._say.day_first else self._date(found, before)

    def _slash_date(self, found: re.Match[str], before: str) -> str | None:
        a, b = int(found["a"]), int(found["b"])
        day, month = (a, b) if self._say.day_first or a > 12 else (b, a)
        return self._valid_date(day, month, found["y"], before)

    def _short_date(self, found: re.Match[str], before: str) -> str | None:
        if not self._say.day_first:
            return None
        year = found["y"]
        full = f"{'20' if int(year) < 70 else '19'}{year}" if year else None
        return self._valid_date(int(found["d"]), int(found["m"]), full, before)

    def _valid_date(self, day: int, month: int, year: str | None, before: str) -> str | None:
        if not (1 <= day <= 31 and 1 <= month <= 12):
            return None
        return self._say.date(day, month, int(year) if year else None, before)

    def _time(self, found: re.Match[str], before: str) -> str | None:
        groups = found.groupdict()
        hour, minute = int(groups["h"]), int(groups.get("min") or groups.get("min2") or 0)
        second = int(groups["s"]) if groups.get("s") else None
        if hour > 24 or minute > 59 or (second or 0) > 59:
            return None
        half = f"{groups['half'].upper()}M" if groups.get("half") else ""
        return self._say.time(hour, minute, second, half)

    def _phone(self, found: re.Match[str], before: str) -> str | None:
        groups = re.findall(r"\d+", found[0])
        if sum(map(len, groups)) > 18:
            return None
        words = ", ".join(self.digits(group) for group in groups)
        return f"plus {words}" if found[0][0] == "+" else words

    def _money(self, found: re.Match[str], before: str) -> str:
        currency = self._say.currencies[found["sign"]]
        whole, decimals = self._value(found["n"])
        if found["to"]:
            words = f"{self._words(found['n'], False)} {self._say.range_word} "
            words += f"{self._words(found['to'], False)} {currency.many}"
        elif found["amount"]:
            words = f"{self._words(found['n'], False)} {self._say.magnitudes[found['amount']]} "
            words += currency.many
        elif len(decimals) == 2 and currency.hundredth and whole >= 0:
            words = self._coins(whole, int(decimals), currency)
        elif (whole, decimals) == (1, ""):
            words = currency.one
        else:
            words = f"{self._words(found['n'], False)} {currency.many}"
        return self._signed(found, words)

    def _coins(self, whole: int, cents: int, currency: Currency) -> str:
        notes = currency.one if whole == 1 else f"{self._say.cardinal(whole)} {currency.many}"
        coins = (
            currency.hundredth
            if cents == 1
            else f"{self._say.cardinal(cents)} {currency.hundredths}"
        )
        if not cents:
            return notes
        return coins if not whole else f"{notes} {self._say.mixed} {coins}"

    def _vulgar(self, found: re.Match[str], before: str) -> str:
        part = self._say.fraction(*_VULGAR[found["vulgar"]])
        return self._mixed(found["whole"], part)

    def _fraction(self, found: re.Match[str], before: str) -> str | None:
        over, under = int(found["over"]), int(found["under"])
        if not under:
            return None
        if over == under:  # fifty-fifty
            return f"{self._say.cardinal(over)} {self._say.cardinal(under)}"
        return self._mixed(found["whole"], self._say.fraction(over, under))

    def _mixed(self, whole: str | None, part: str) -> str:
        if not whole:
            return part
        return f"{self._words(whole, False)} {self._say.mixed} {part.replace('one ', 'a ', 1)}"

    def _decade(self, found: re.Match[str], before: str) -> str:
        return self._say.decade(int(found["n"]))

    def _ordinal(self, found: re.Match[str], before: str) -> str | None:
        return None if self._say.day_first else self._say.ordinal(int(found["n"]), before)

    def _pointed_ordinal(self, found: re.Match[str], before: str) -> str | None:
        after = found.string[found.end() : found.end() + 8].lstrip()[:1]
        if not self._lead or (before.lower() not in self._lead and not after.islower()):
            return None
        return self._say.ordinal(int(found["n"]), before)

    def _measure(self, found: re.Match[str], before: str) -> str:
        unit = self._say.units[found["unit"]]
        if found["to"]:
            words = f"{self._words(found['n'], False)} {self._say.range_word} "
            words += f"{self._words(found['to'], False)} {unit.many}"
        elif self._value(found["n"]) == (1, ""):
            words = unit.one
        else:
            words = f"{self._words(found['n'], False)} {unit.many}"
        return self._signed(found, words)

    def _range(self, found: re.Match[str], before: str) -> str:
        return f"{self._words(found['n'])} {self._say.range_word} {self._words(found['to'])}"

    def _v_version(self, found: re.Match[str], before: str) -> str:
        return f"version {self._version(found, before)}"

    def _version(self, found: re.Match[str], before: str) -> str:
        groups = found["n"].split(".")
        point = self._say.host_point if len(groups) == 4 else self._say.version_point
        return f" {point} ".join(self._words(one, False) for one in groups)

    def _pair(self, found: re.Match[str], before: str) -> str | None:
        if self._say.decimal == "." and before.lower() not in _VERSIONED:
            return None
        return self._version(found, before)

    def _thousands(self, found: re.Match[str], before: str) -> str | None:
        amount = self._say.magnitudes.get("k")
        return self._signed(found, f"{self._words(found['n'], False)} {amount}") if amount else None

    def _times(self, found: re.Match[str], before: str) -> str:
        return self._signed(found, f"{self._words(found['n'], False)} {self._say.times}")

    def _plain(self, found: re.Match[str], before: str) -> str:
        words = self._words(found["n"])
        if found["n"] == "1" and (noun := _NOUN.match(found.string, found.end())):
            words = self._say.ones.get(noun[1], words)
        return self._signed(found, words) if found.groupdict().get("minus") else words


def _alternatives(words: Iterable[str]) -> str:
    """A pattern for any of ``words``, longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
