"""Units of measure and currencies: what a written name means, and how units multiply.

Definitions come from Pint's registry with exact fractions; it is loaded when the first unit is
met, for that takes half a second. The spelling a person used is kept, so that results come back
in their words. Currencies are units that convert to nothing: exchange rates are not known.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from llmos.sdk import ToolError

from .exact import PI, Number, add, divide, multiply, power, subtract

__all__ = ["CURRENCIES", "NONE", "Part", "Unit", "find"]

#: Written form of a currency to the sign it is shown with.
CURRENCIES = {sign: sign for sign in "$€£¥₹₩₽₺₴₪₫฿₦₱"}
CURRENCIES |= {
    "us$": "$", "dollar": "$", "dollars": "$", "usd": "USD", "eur": "€", "euro": "€",
    "euros": "€", "gbp": "£", "yen": "¥", "jpy": "JPY", "yuan": "CNY", "cny": "CNY", "chf": "CHF",
    "francs": "CHF", "rupee": "₹", "rupees": "₹", "inr": "₹", "cad": "CAD", "aud": "AUD",
    "nzd": "NZD", "sek": "SEK", "nok": "NOK", "dkk": "DKK", "pln": "PLN", "brl": "BRL",
    "mxn": "MXN", "zar": "ZAR", "krw": "₩", "won": "₩", "bucks": "$",
}  # fmt: skip

#: What people write, to Pint's name. Case matters only where both cases are in use.
_ALIASES = {
    "C": "degC", "celsius": "degC", "centigrade": "degC", "°C": "degC", "℃": "degC",
    "F": "degF", "fahrenheit": "degF", "°F": "degF", "℉": "degF", "°K": "kelvin", "°": "degree",
    "deg": "degree", "b": "bit", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte",
    "kb": "kilobyte", "Kb": "kilobit", "KB": "kilobyte", "kib": "kibibyte", "mib": "mebibyte",
    "gib": "gibibyte", "tib": "tebibyte", "mins": "minute", "hrs": "hour", "hr": "hour",
    "H": "hour", "secs": "second", "sec": "second", "wk": "week", "wks": "week", "mo": "month",
    "yr": "year", "yrs": "year", "mile": "mile", "L": "liter", "l": "liter", "cc": "cm^3",
    "lbs": "pound", "lb": "pound", "st": "stone", "tonne": "metric_ton", "tonnes": "metric_ton",
    "ha": "hectare", "foot": "foot", "fps": "foot/second", "kph": "km/hour", "kmh": "km/hour",
    "kmph": "km/hour", "mph": "mile/hour", "mps": "meter/second", "sqft": "foot^2",
    "sqm": "meter^2", "floz": "fluid_ounce", "cal": "calorie", "Cal": "kilocalorie",
    "bps": "bit/second", "kbps": "kilobit/second", "Kbps": "kilobit/second",
    "mbps": "megabit/second", "Mbps": "megabit/second", "gbps": "gigabit/second",
    "Gbps": "gigabit/second", "MBps": "megabyte/second", "GBps": "gigabyte/second",
    "M": "", "a": "", "g": "gram", "ga": "", "c": "", "R": "", "k": "", "K": "kelvin",
    "t": "metric_ton", "T": "tesla", "fluid ounce": "fluid_ounce", "fluid ounces": "fluid_ounce",
    "nautical mile": "nautical_mile", "nautical miles": "nautical_mile", "light year":
    "light_year", "light years": "light_year", "feet": "foot", "inches": "inch", "knots": "knot",
    "fl oz": "fluid_ounce", "metric ton": "metric_ton", "metric tons": "metric_ton",
    "metric tonnes": "metric_ton", "horse power": "horsepower", "degrees": "degree", "um":
    "micrometer", "ft²": "foot^2", "″": "inch", "′": "foot",
}  # fmt: skip
#: Where Pint's reading is not the usual one: its acre is the old survey acre, its decade a ratio.
_ACRE = ("4046.8564224", "meter", 2)
_DECADE = ("315576000", "second", 1)
_OWN = {"acre": _ACRE, "acres": _ACRE, "decade": _DECADE, "decades": _DECADE}
_BITS = re.compile(r"([kKMGTP]i?)b")
_SINGULAR = {"feet": "foot", "inches": "inch", "centuries": "century", "degrees": "degree"}
_NAME_MAX = 40


@dataclass(frozen=True, slots=True)
class Part:
    """One named unit to a whole power.

    Args:
        symbol: As the person wrote it.
        factor: Size in base units.
        dims: Base dimensions and their exponents, sorted.
        exponent: The power it is raised to.
        offset: What is added after the factor (temperatures only), in base units.
    """

    symbol: str
    factor: Number
    dims: tuple[tuple[str, Fraction], ...]
    exponent: int = 1
    offset: Number = Fraction(0)

    @property
    def is_currency(self) -> bool:
        return len(self.dims) == 1 and self.dims[0][0].startswith("money ")


@dataclass(frozen=True, slots=True)
class Unit:
    """A product of parts; no parts is a plain number."""

    parts: tuple[Part, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def dims(self) -> dict[str, Fraction]:
        """Base dimensions of the whole; angles count as plain numbers."""
        total: dict[str, Fraction] = {}
        for part in self.parts:
            for name, exponent in part.dims:
                total[name] = total.get(name, Fraction(0)) + exponent * part.exponent
        return {name: n for name, n in total.items() if n and name != "radian"}

    @property
    def factor(self) -> Number:
        """Size in base units."""
        total: Number = Fraction(1)
        for part in self.parts:
            total = multiply(total, power(part.factor, Fraction(part.exponent)))
        return total

    @property
    def affine(self) -> Part | None:
        """The temperature scale, where the unit is just that."""
        for part in self.parts:
            if part.offset:
                if len(self.parts) > 1 or part.exponent != 1:
                    raise ToolError(f"{part.symbol} cannot be multiplied with other units.")
                return part
        return None

    @property
    def currency(self) -> Part | None:
        return next((part for part in self.parts if part.is_currency), None)

    @property
    def is_time(self) -> bool:
        return self.dims == {"second": 1} and len(self.parts) == 1

    def times(self, other: Unit, sign: int = 1) -> tuple[Number, Unit]:
        """This unit times the other (or divided by it, with ``sign`` -1).

        Returns:
            The number that remains where parts of one kind merged (km · m), and the unit.
        """
        scale: Number = Fraction(1)
        parts = list(self.parts)
        for new in other.parts:
            exponent = new.exponent * sign
            for index, old in enumerate(parts):
                if old.dims == new.dims:
                    ratio = divide(new.factor, old.factor)
                    scale = multiply(scale, power(ratio, Fraction(exponent)))
                    total = old.exponent + exponent
                    if abs(total) > 100:
                        raise ToolError("That power of a unit is too large.")
                    parts[index : index + 1] = [_with(old, total)] if total else []
                    break
            else:
                parts.append(_with(new, exponent))
        unit = Unit(tuple(parts))
        _ = unit.affine if len(parts) > 1 else None
        return scale, unit

    def to(self, other: Unit, number: Number) -> Number:
        """``number`` of this unit, in the other.

        Raises:
            ToolError: They measure different things.
        """
        if self.dims != other.dims:
            here, there = self.currency, other.currency
            if here and there and here.symbol != there.symbol:
                raise ToolError(
                    f"Exchange rates are not known, so {here.symbol} cannot be turned into "
                    f"{there.symbol}.",
                    "Say the rate, and multiply by it.",
                )
            raise ToolError(
                f"{self or 'A plain number'} cannot be turned into "
                f"{other or 'a plain number'}: they measure different things."
            )
        if self.parts == other.parts:
            return number
        base = multiply(number, self.factor)
        mine, theirs = self.affine, other.affine
        if mine:
            base = add(base, mine.offset)
        if (mine or theirs) and base < 0:
            raise ToolError("There is no temperature below absolute zero, −273.15 °C.")
        if theirs:
            base = subtract(base, theirs.offset)
        return divide(base, other.factor)

    def shown(self, number: Number | None = None) -> str:
        """The unit after a number: ``km``, ``km/h``, ``m^2``."""
        above = [_shown(part) for part in self.parts if part.exponent > 0]
        below = [_shown(_with(part, -part.exponent)) for part in self.parts if part.exponent < 0]
        if number == 1 and len(above) == 1 and not below:
            above = [_singular(above[0])]
        if not above and below:
            return "1/" + "/".join(below) if number is None else "/" + "/".join(below)
        return "/".join(["·".join(above), *below]) if above or below else ""

    def __str__(self) -> str:
        return self.shown()


NONE = Unit()


def _with(part: Part, exponent: int) -> Part:
    return Part(part.symbol, part.factor, part.dims, exponent, part.offset)


def _shown(part: Part) -> str:
    if part.exponent in (2, 3) and len(part.symbol) > 3 and part.symbol.isalpha():
        return f"{'square' if part.exponent == 2 else 'cubic'} {part.symbol}"
    return part.symbol if part.exponent == 1 else f"{part.symbol}^{part.exponent}"


def _singular(symbol: str) -> str:
    if symbol in _SINGULAR:
        return _SINGULAR[symbol]
    if len(symbol) > 3 and symbol.endswith("s") and find(symbol[:-1]):
        return symbol[:-1]
    return symbol


@functools.lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(non_int_type=Fraction, cache_folder=None)


@functools.lru_cache(maxsize=1024)
def find(name: str) -> Unit | None:
    """The unit of that written name, or None."""
    money = CURRENCIES.get(name) or CURRENCIES.get(name.lower())
    if money:
        return Unit((Part(money, Fraction(1), ((f"money {money}", Fraction(1)),)),))
    if not name or len(name) > _NAME_MAX:
        return None
    exponent = 1
    if name[-1] in "23" and len(name) > 1 and name not in _ALIASES:
        name, exponent = name[:-1], int(name[-1])
    part = _part(name)
    return Unit((_with(part, exponent),)) if part else None


def _part(name: str) -> Part | None:
    bits = _BITS.fullmatch(name)
    for candidate in (name, name.lower()):
        pint_name = _ALIASES.get(candidate, candidate)
        if bits and candidate == name and name not in _ALIASES:
            pint_name = f"{bits[1].replace('K', 'k') if len(bits[1]) == 1 else bits[1]}bit"
        if not pint_name:
            return None
        part = _read(name, pint_name)
        if part:
            return part
    return None


def _read(symbol: str, name: str) -> Part | None:
    if name in ("degC", "degF"):
        factor = Fraction(1) if name == "degC" else Fraction(5, 9)
        zero = Fraction("273.15") if name == "degC" else Fraction("459.67") * factor
        shown = "°C" if name == "degC" else "°F"
        return Part(shown, factor, (("kelvin", Fraction(1)),), offset=zero)
    if name == "degree":
        half_turn: Number = divide(PI, Fraction(180))
        return Part("°", half_turn, (("radian", Fraction(1)),))
    if name in _OWN:
        size, base_name, n = _OWN[name]
        return Part(symbol, Fraction(size), ((base_name, Fraction(n)),))
    if not re.fullmatch(r"[^\W\d][\w^/]*", name):
        return None
    registry = _registry()
    try:
        unit = registry.parse_units(name)
        if not all(registry._units[str(key)].is_multiplicative for key in unit._units):
            return None
        factor, base = registry.get_base_units(unit)
    except Exception:  # Pint raises half a dozen kinds for what it does not know
        return None
    dims = tuple(sorted((str(key), Fraction(n)) for key, n in base._units.items()))
    if not dims:
        return None
    return Part(symbol, Fraction(factor), dims)
