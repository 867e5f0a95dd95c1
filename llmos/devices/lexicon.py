"""What a language says for what is not a word: the shape of its data.

``spoken_en.py`` and ``spoken_de.py`` have it complete, ``spoken_other.py`` a little for others.
Knows nothing of how numbers and symbols are found in a text: that is ``spoken.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Literal

from llmos.devices.contracts import Notice

__all__ = ["Currency", "Lexicon", "Numerals", "Unit", "listed", "number_words", "units"]

#: Numbers of more digits are read digit by digit; nobody follows "quadrillion" by ear.
LONGEST_NUMBER = 15


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measure.

    Args:
        one: The whole phrase for exactly one: ``one kilometer``.
        many: What follows any other number.
    """

    one: str
    many: str


@dataclass(frozen=True, slots=True)
class Currency:
    """A currency: as ``Unit``, and its hundredth; both empty where it has none."""

    one: str
    many: str
    hundredth: str = ""
    hundredths: str = ""


@dataclass(frozen=True, slots=True)
class Numerals:
    """How a language reads figures; each function gets values and gives words.

    Args:
        decimal: The decimal sign.
        thousands: What may stand between groups of three digits.
        point / version_point / host_point: The word for the decimal sign; between the numbers of
            a version; of an address.
        cardinal / ordinal / year: Of a whole number, not negative, up to ``LONGEST_NUMBER`` digits.
        date: Of day, month, year (None: without), and the word before it (German inflects by it).
        time: Of hour (0 to 24), minute, second (None: without), and ``AM``, ``PM`` or nothing.
        fraction: Of numerator and denominator.
        decade: Of ``1980s``, ``80er``; of the number.
        day_first: Days stand before months in dates, and ordinals are written with a full stop.
        months: Names and short names, and their numbers.
        units / currencies: By sign.
        magnitudes: What may stand between a number and a currency, and its word.
        range_word: As in three *to* five.
        mixed: As in one *and* a half.
        times: As in ten *times*, for ``10x``.
        ones: Nouns that have their own word for 1 before them; by noun.
    """

    decimal: str
    thousands: str
    point: str
    version_point: str
    host_point: str
    minus: str
    cardinal: Callable[[int], str]
    ordinal: Callable[[int, str], str]
    year: Callable[[int], str]
    date: Callable[[int, int, int | None, str], str]
    time: Callable[[int, int, int | None, str], str]
    fraction: Callable[[int, int], str]
    decade: Callable[[int], str]
    day_first: bool
    months: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    currencies: Mapping[str, Currency] = field(default_factory=dict)
    magnitudes: Mapping[str, str] = field(default_factory=dict)
    range_word: str = ""
    mixed: str = ""
    times: str = ""
    ones: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One language.

    Args:
        code: As in ``en``.
        numerals: How it reads figures; None leaves them to the voice.
        symbols: Single characters, wherever they stand.
        operators: Signs that are words between blanks or figures only: ``-``, ``/``, ``*``.
        abbreviations: In full; one that is found with a full stop has it here, too.
        after_names: Abbreviations that mean this where no name follows: ``Downing St. in``.
        suffixes: Ends of words that are abbreviated: ``Hauptstr.``
        acronyms: Words in capitals that are read otherwise than letter by letter.
        before_ordinals: Words after which ``3.`` is an ordinal; only where that is how they are
            written.
        notices: What is said instead of what is only shown; ``{n}`` is a number.
        dot / slash / dash / underscore / at / colon: As read out in addresses and paths.
        number_sign / version / per: For ``#``, ``v2``, ``$5/year``.
    """

    code: str
    numerals: Numerals | None = None
    symbols: Mapping[str, str] = field(default_factory=dict)
    operators: Mapping[str, str] = field(default_factory=dict)
    abbreviations: Mapping[str, str] = field(default_factory=dict)
    after_names: Mapping[str, str] = field(default_factory=dict)
    suffixes: Mapping[str, str] = field(default_factory=dict)
    acronyms: Mapping[str, str] = field(default_factory=dict)
    before_ordinals: tuple[str, ...] = ()
    notices: Mapping[Notice, str] = field(default_factory=dict)
    dot: str = ""
    slash: str = ""
    dash: str = ""
    underscore: str = ""
    at: str = ""
    colon: str = ""
    number_sign: str = ""
    version: str = ""
    per: str = ""


def listed(words: str) -> tuple[str, ...]:
    """Words that are written one behind the other."""
    return tuple(words.split())


def units(one: str, lines: str) -> dict[str, Unit]:
    """Units from lines ``signs | singular | plural``; signs are separated by blanks.

    Args:
        one: What stands before each singular; empty where lines have it themselves.
        lines: The lines.
    """
    out: dict[str, Unit] = {}
    for line in lines.strip().splitlines():
        signs, singular, plural = (part.strip() for part in line.split("|"))
        for sign in signs.split():
            out[sign] = Unit(f"{one} {singular}".strip(), plural)
    return out


@cache
def _convert() -> Callable[..., str]:
    # Loads all its languages, in some 50 ms; not before a number is spoken.
    from num2words import num2words

    convert: Callable[..., str] = num2words
    return convert


@lru_cache(maxsize=1_000)  # a conversion takes 80 µs, and texts repeat their numbers
def number_words(number: int, language: str, to: Literal["cardinal", "ordinal", "year"]) -> str:
    """A whole number in words. The library's commas would be pauses, so they go."""
    return _convert()(number, lang=language, to=to).replace(",", "")
