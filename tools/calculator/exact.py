"""Bounded arithmetic: exact fractions where possible, 40-digit decimals where not.

A number is a ``Fraction`` (exact) or a ``Decimal`` (rounded to 40 digits, after a root, a
logarithm or an angle). Every operation estimates the size of its result before computing it, so
that no input costs more than milliseconds. Knows nothing of syntax or units.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from llmos.sdk import ToolError

__all__ = [
    "BITS",
    "CONTEXT",
    "DIGITS",
    "PI",
    "E",
    "NoResult",
    "Number",
    "absolute",
    "add",
    "bounded",
    "divide",
    "floor",
    "floor_divide",
    "guard",
    "integer_power",
    "multiply",
    "negate",
    "power",
    "remainder",
    "subtract",
    "to_decimal",
    "too_large",
]


class NoResult(ToolError):
    """What was written can be read, but has no result."""


Number: TypeAlias = Fraction | Decimal

DIGITS = 4_000  # longest result shown exactly
BITS = 16_384  # of a numerator or denominator on the way
_ROOT_MAX = 64  # roots tried exactly
CONTEXT = decimal.Context(
    prec=40,
    Emax=DIGITS + 1_000,
    Emin=-DIGITS - 1_000,
    traps=[decimal.Overflow, decimal.Underflow, decimal.InvalidOperation, decimal.DivisionByZero],
)
PI = Decimal("3.1415926535897932384626433832795028841971693993751")
E = Decimal("2.7182818284590452353602874713526624977572470936999")
#: Exponents above are all the same: no float holds what comes of them.
_COUNTED = 10**300
_LOG2_10 = math.log2(10)


def too_large(bits: float = 0.0) -> NoResult:
    digits = bits / _LOG2_10
    about = f"about {digits:,.0f} digits, which is " if 0 < digits < 1e15 else ""
    return NoResult(f"The result would have {about}too many digits (the limit is {DIGITS:,}).")


def guard(work: Callable[[], Decimal]) -> Decimal:
    try:
        return work()
    except decimal.Overflow:
        raise too_large() from None
    except decimal.Underflow:
        raise NoResult("The result is too close to zero to be shown.") from None
    except decimal.DivisionByZero:
        raise NoResult("Division by zero is not possible.") from None
    except decimal.InvalidOperation:
        raise NoResult("That has no real result.") from None


def to_decimal(number: Number) -> Decimal:
    """The number as a decimal of 40 digits."""
    if isinstance(number, Decimal):
        return number
    return guard(lambda: CONTEXT.divide(Decimal(number.numerator), Decimal(number.denominator)))


def bounded(number: Fraction) -> Fraction:
    bits = max(number.numerator.bit_length(), number.denominator.bit_length())
    if bits > BITS:
        raise too_large(bits)
    return number


def add(a: Number, b: Number) -> Number:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return bounded(a + b)
    return guard(lambda: CONTEXT.add(to_decimal(a), to_decimal(b)))


def negate(a: Number) -> Number:
    return -a if isinstance(a, Fraction) else a.copy_negate()


def subtract(a: Number, b: Number) -> Number:
    return add(a, negate(b))


def absolute(a: Number) -> Number:
    return negate(a) if a < 0 else a


def multiply(a: Number, b: Number) -> Number:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return bounded(a * b)
    return guard(lambda: CONTEXT.multiply(to_decimal(a), to_decimal(b)))


def divide(a: Number, b: Number) -> Number:
    if not b:
        raise NoResult("Division by zero is not possible.")
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return bounded(a / b)
    return guard(lambda: CONTEXT.divide(to_decimal(a), to_decimal(b)))


def floor(a: Number) -> Number:
    if isinstance(a, Fraction):
        return Fraction(math.floor(a))
    return Fraction(int(a.to_integral_value(decimal.ROUND_FLOOR)))


def floor_divide(a: Number, b: Number) -> Number:
    return floor(divide(a, b))


def remainder(a: Number, b: Number) -> Number:
    """What is left of ``a``, with the sign of ``b``, as in Python."""
    return subtract(a, multiply(floor_divide(a, b), b))


def power(a: Number, b: Number) -> Number:
    """``a`` to the ``b``; 0 to the 0 is 1."""
    if isinstance(b, Fraction) and isinstance(a, Fraction):
        if b.denominator == 1:
            return integer_power(a, b.numerator)
        if a > 0 and b.denominator <= _ROOT_MAX:
            root = _exact_root(a, b.denominator)
            if root is not None:
                return integer_power(root, b.numerator)
    if not a:
        if b > 0:
            return Fraction(0)
        if b < 0:
            raise NoResult("Division by zero is not possible.")
        return Fraction(1)
    if a < 0:
        if not isinstance(b, Fraction) or b.denominator != 1:
            raise NoResult("A negative number to a fractional power is not a real number.")
        sign = -1 if b.numerator % 2 else 1
        return multiply(Fraction(sign), power(negate(a), b))
    _check_magnitude(a, b)
    return guard(lambda: CONTEXT.power(to_decimal(a), to_decimal(b)))


def _check_magnitude(a: Number, b: Number) -> None:
    """Refuse powers beyond the limit before they cost anything."""
    exponent = to_decimal(b)
    if exponent.adjusted() > 30:
        raise NoResult("That exponent is too large.")
    size = CONTEXT.multiply(exponent, CONTEXT.log10(to_decimal(a)))
    if size > DIGITS + 900:
        raise too_large(float(size) * _LOG2_10)
    if size < -DIGITS - 900:
        raise NoResult("The result is too close to zero to be shown.")


def integer_power(a: Fraction, n: int) -> Number:
    if n < 0:
        if not a:
            raise NoResult("Division by zero is not possible.")
        a, n = 1 / a, -n
    if a in (0, 1, -1):
        return a**n if n < 2 else (a if n % 2 or a != -1 else Fraction(1))
    # A number of k bits is at least 2^(k-1), so this underestimates and refuses nothing small.
    whole = (abs(a.numerator).bit_length() - 1) * n
    below = (a.denominator.bit_length() - 1) * n
    if a.denominator == 1 and whole > BITS:
        raise too_large(min(n, _COUNTED) * math.log2(abs(a.numerator)))
    if max(whole, below) <= BITS:
        return _bounded_or_decimal(a, n)
    return _decimal_power(a, n)


def _bounded_or_decimal(a: Fraction, n: int) -> Number:
    result = a**n
    if result.denominator == 1:
        return bounded(result)
    bits = max(result.numerator.bit_length(), result.denominator.bit_length())
    return result if bits <= BITS else to_decimal(result)


def _decimal_power(a: Fraction, n: int) -> Number:
    size = min(n, _COUNTED) * abs(math.log10(abs(a.numerator)) - math.log10(a.denominator))
    if size > DIGITS + 900 or n > 10**30:
        if abs(a) > 1:
            raise too_large(size * _LOG2_10)
        raise NoResult("The result is too close to zero to be shown.")
    return guard(lambda: CONTEXT.power(to_decimal(a), Decimal(n)))


def _exact_root(a: Fraction, n: int) -> Fraction | None:
    above, below = _integer_root(a.numerator, n), _integer_root(a.denominator, n)
    if above**n == a.numerator and below**n == a.denominator:
        return Fraction(above, below)
    return None


def _integer_root(value: int, n: int) -> int:
    """The whole part of the n-th root of a positive whole number, by Newton's method."""
    if n == 2:
        return math.isqrt(value)
    guess = 1 << -(-value.bit_length() // n)
    while True:
        better = ((n - 1) * guess + value // guess ** (n - 1)) // n
        if better >= guess:
            return guess
        guess = better
