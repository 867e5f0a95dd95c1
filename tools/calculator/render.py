"""How a value is shown: exactly where that is short, else to twelve significant digits."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

from llmos.sdk import ToolError

from .exact import DIGITS, Number, multiply, to_decimal
from .values import Value

__all__ = ["show", "show_number"]

SIGNIFICANT = 12
_EXACT_DIGITS = 50  # longest finite decimal shown in full
_FRACTION_MAX = 10_000  # largest numerator or denominator shown as a fraction
_ROUND = decimal.Context(prec=SIGNIFICANT, Emax=DIGITS * 2, Emin=-DIGITS * 2)
_BEFORE = "$€£¥₹₩₽₺₴₪₫฿₦₱"
_CODES = {"hex": "#x", "binary": "#b", "octal": "#o"}


def show(value: Value) -> str:
    """The value as a person reads it, one line."""
    if value.form:
        return _formed(value)
    money = value.unit.currency
    if money and money.exponent == 1:
        rest = value.unit.shown().removeprefix(money.symbol)
        return _money(value.number, money.symbol) + rest
    if value.unit.is_time and not value.converted:
        split = _duration(value)
        if split:
            return split
    if value.percent:
        return f"{show_number(multiply(value.number, Fraction(100)))}%"
    text = show_number(value.number)
    if not value.unit:
        return text + _fraction(value.number)
    unit = value.unit.shown(value.number)
    return (
        f"{text}{unit}"
        if unit.startswith(("°", "/")) and unit != "°C" and unit != "°F"
        else (f"{text} {unit}")
    )


def show_number(number: Number) -> str:
    """The number alone."""
    if isinstance(number, Fraction):
        if number.denominator == 1:
            text = str(number.numerator)
            if len(text) > DIGITS + 1:
                raise ToolError(
                    f"The result has more than {DIGITS:,} digits.", "Ask for its logarithm: log(…)."
                )
            return text
        finite = _finite(number)
        if finite:
            return finite
    return _rounded(to_decimal(number))


def _finite(number: Fraction) -> str:
    """The whole decimal expansion, where it ends and is short."""
    rest, twos, fives = number.denominator, 0, 0
    while rest % 2 == 0 and twos <= _EXACT_DIGITS * 4:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0 and fives <= _EXACT_DIGITS:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    if rest != 1 or places > _EXACT_DIGITS:
        return ""
    digits = str(abs(number.numerator) * 10**places // number.denominator).rjust(places + 1, "0")
    if len(digits) > _EXACT_DIGITS:
        return ""
    return f"{'-' if number < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _rounded(number: Decimal) -> str:
    short = _ROUND.plus(number)
    if not short:
        return "0"
    size = short.adjusted()
    if -7 <= size < 21:
        text = format(short, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa = format(short.scaleb(-size, _ROUND), "f")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{size}"


def _fraction(number: Number) -> str:
    """`` (1/3)`` after a decimal that does not end."""
    if not isinstance(number, Fraction) or number.denominator == 1 or _finite(number):
        return ""
    if abs(number.numerator) > _FRACTION_MAX or number.denominator > _FRACTION_MAX:
        return ""
    return f" ({number.numerator}/{number.denominator})"


def _money(number: Number, sign: str) -> str:
    """Money to the cent."""
    cents = decimal.Context(prec=DIGITS + 100, Emax=DIGITS * 2, Emin=-DIGITS * 2)
    amount = to_decimal(number).quantize(Decimal("0.01"), decimal.ROUND_HALF_UP, cents)
    text = (
        show_number(number)
        if isinstance(number, Fraction) and number.denominator == 1
        else (format(amount, "f"))
    )
    minus, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    return f"{minus}{sign}{text}" if sign in _BEFORE else f"{minus}{text} {sign}"


def _duration(value: Value) -> str:
    """``3 h 20 min`` for a sum of times that is no whole number of its unit."""
    number = value.number
    factor = value.unit.factor
    if not isinstance(number, Fraction) or not isinstance(factor, Fraction):
        return ""
    if number.denominator == 1 or number < 0 or factor < 60 or factor > 86_400:
        return ""
    seconds = number * factor
    if seconds.denominator != 1 or seconds >= 10**9:
        return ""
    words = []
    left = int(seconds)
    for name, size in (("day", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if size > factor:
            continue
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {name}{'s' if name == 'day' and count != 1 else ''}")
    return " ".join(words)


def _formed(value: Value) -> str:
    number = value.number
    match value.form:
        case "hex" | "binary" | "octal":
            return format(int(number), _CODES[value.form])
        case "percent":
            return f"{show_number(multiply(number, Fraction(100)))}%"
        case "fraction" if isinstance(number, Fraction):
            text = (
                f"{number.numerator}/{number.denominator}"
                if number.denominator > 1
                else str(number)
            )
            if len(text) > DIGITS:
                raise ToolError("That fraction is too long to be shown.", "Ask for a decimal.")
            return text
        case "fraction":
            raise ToolError("That number is no fraction.", "Ask for a decimal.")
    return show_number(number)
