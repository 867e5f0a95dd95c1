"""Bounded arithmetic: exact fractions where possible, 40-digit decimals where not.

A number is a ``Fraction`` (exact) or a ``Decimal`` (rounded to 40 digits, after a root, a
logarithm or an angle). Every operation estimates the size of its result before computing it, so
that no input costs more than milliseconds. Knows nothing of syntax or units.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from llmos.sdk import ToolError

__all__ = [
    "DIGITS",
    "FUNCTIONS",
    "PI",
    "E",
    "Number",
    "absolute",
    "add",
    "divide",
    "factorial",
    "floor_divide",
    "multiply",
    "negate",
    "power",
    "remainder",
    "subtract",
    "to_decimal",
]

Number: TypeAlias = Fraction | Decimal

DIGITS = 4_000  # longest result shown exactly
BITS = 16_384  # of a numerator or denominator on the way
_ROOT_MAX = 64  # roots tried exactly
_CONTEXT = decimal.Context(
    prec=40,
    Emax=DIGITS + 1_000,
    Emin=-DIGITS - 1_000,
    traps=[decimal.Overflow, decimal.Underflow, decimal.InvalidOperation, decimal.DivisionByZero],
)
PI = Decimal("3.1415926535897932384626433832795028841971693993751")
E = Decimal("2.7182818284590452353602874713526624977572470936999")
_NEGLIGIBLE = Decimal("1e-30")  # what 40 digits leave of zero after the reduction of an angle
_ANGLE_MAX = Decimal(10) ** 15
_LOG2_10 = math.log2(10)


def _too_large(bits: float = 0.0) -> ToolError:
    digits = bits / _LOG2_10
    about = f"about {digits:,.0f} digits, which is " if 0 < digits < 1e15 else ""
    return ToolError(f"The result would have {about}too many digits (the limit is {DIGITS:,}).")


def _guard(work: Callable[[], Decimal]) -> Decimal:
    try:
        return work()
    except decimal.Overflow:
        raise _too_large() from None
    except decimal.Underflow:
        raise ToolError("The result is too close to zero to be shown.") from None
    except decimal.DivisionByZero:
        raise ToolError("Division by zero is not possible.") from None
    except decimal.InvalidOperation:
        raise ToolError("That has no real result.") from None


def to_decimal(number: Number) -> Decimal:
    """The number as a decimal of 40 digits."""
    if isinstance(number, Decimal):
        return number
    return _guard(lambda: _CONTEXT.divide(Decimal(number.numerator), Decimal(number.denominator)))


def _bounded(number: Fraction) -> Fraction:
    bits = max(number.numerator.bit_length(), number.denominator.bit_length())
    if bits > BITS:
        raise _too_large(bits)
    return number


def add(a: Number, b: Number) -> Number:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _bounded(a + b)
    return _guard(lambda: _CONTEXT.add(to_decimal(a), to_decimal(b)))


def negate(a: Number) -> Number:
    return -a if isinstance(a, Fraction) else a.copy_negate()


def subtract(a: Number, b: Number) -> Number:
    return add(a, negate(b))


def multiply(a: Number, b: Number) -> Number:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _bounded(a * b)
    return _guard(lambda: _CONTEXT.multiply(to_decimal(a), to_decimal(b)))


def divide(a: Number, b: Number) -> Number:
    if not b:
        raise ToolError("Division by zero is not possible.")
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _bounded(a / b)
    return _guard(lambda: _CONTEXT.divide(to_decimal(a), to_decimal(b)))


def floor_divide(a: Number, b: Number) -> Number:
    return _floor(divide(a, b))


def remainder(a: Number, b: Number) -> Number:
    """What is left of ``a``, with the sign of ``b``, as in Python."""
    return subtract(a, multiply(floor_divide(a, b), b))


def power(a: Number, b: Number) -> Number:
    """``a`` to the ``b``; 0 to the 0 is 1."""
    if isinstance(b, Fraction) and isinstance(a, Fraction):
        if b.denominator == 1:
            return _integer_power(a, b.numerator)
        if a > 0 and b.denominator <= _ROOT_MAX:
            root = _exact_root(a, b.denominator)
            if root is not None:
                return _integer_power(root, b.numerator)
    if not a:
        if b > 0:
            return Fraction(0)
        if b < 0:
            raise ToolError("Division by zero is not possible.")
        return Fraction(1)
    if a < 0:
        if not isinstance(b, Fraction) or b.denominator != 1:
            raise ToolError("A negative number to a fractional power is not a real number.")
        sign = -1 if b.numerator % 2 else 1
        return multiply(Fraction(sign), power(negate(a), b))
    _check_magnitude(a, b)
    return _guard(lambda: _CONTEXT.power(to_decimal(a), to_decimal(b)))


def _check_magnitude(a: Number, b: Number) -> None:
    """Refuse powers beyond the limit before they cost anything."""
    exponent = to_decimal(b)
    if exponent.adjusted() > 30:
        raise ToolError("That exponent is too large.")
    size = _CONTEXT.multiply(exponent, _CONTEXT.log10(to_decimal(a)))
    if size > DIGITS + 900:
        raise _too_large(float(size) * _LOG2_10)
    if size < -DIGITS - 900:
        raise ToolError("The result is too close to zero to be shown.")


def _integer_power(a: Fraction, n: int) -> Number:
    if n < 0:
        if not a:
            raise ToolError("Division by zero is not possible.")
        a, n = 1 / a, -n
    if a in (0, 1, -1):
        return a**n if n < 2 else (a if n % 2 or a != -1 else Fraction(1))
    # A number of k bits is at least 2^(k-1), so this underestimates and refuses nothing small.
    whole = (abs(a.numerator).bit_length() - 1) * n
    below = (a.denominator.bit_length() - 1) * n
    if a.denominator == 1 and whole > BITS:
        raise _too_large(n * math.log2(abs(a.numerator)))
    if max(whole, below) <= BITS:
        return _bounded_or_decimal(a, n)
    return _decimal_power(a, n)


def _bounded_or_decimal(a: Fraction, n: int) -> Number:
    result = a**n
    if result.denominator == 1:
        return _bounded(result)
    bits = max(result.numerator.bit_length(), result.denominator.bit_length())
    return result if bits <= BITS else to_decimal(result)


def _decimal_power(a: Fraction, n: int) -> Number:
    size = n * abs(math.log10(abs(a.numerator)) - math.log10(a.denominator)) if n < 1e300 else 1e300
    if size > DIGITS + 900 or n > 10**30:
        if abs(a) > 1:
            raise _too_large(size * _LOG2_10)
        raise ToolError("The result is too close to zero to be shown.")
    return _guard(lambda: _CONTEXT.power(to_decimal(a), Decimal(n)))


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


# --- functions ------------------------------------------------------------------------------


def _whole(number: Number, what: str) -> int:
    if isinstance(number, Fraction) and number.denominator == 1:
        return number.numerator
    if isinstance(number, Decimal) and number == number.to_integral_value():
        return int(number)
    raise ToolError(f"{what} needs whole numbers.")


def factorial(a: Number) -> Fraction:
    n = _whole(a, "The factorial")
    if n < 0:
        raise ToolError("The factorial of a negative number does not exist.")
    if n > BITS:
        bits = n * math.log2(n) if n < 1e300 else 0.0
        raise _too_large(bits)
    bits = math.lgamma(n + 1) / math.log(2)
    if bits > BITS:
        raise _too_large(bits)
    return Fraction(math.factorial(n))


def _choose(name: str, count: Callable[[int, int], int]) -> Callable[[Number, Number], Fraction]:
    def function(a: Number, b: Number) -> Fraction:
        n, k = _whole(a, name), _whole(b, name)
        if n < 0 or k < 0:
            raise ToolError(f"{name} needs numbers that are not negative.")
        if k > n:
            return Fraction(0)
        few = min(k, n - k) if name == "comb" else k
        bits = float(few) * n.bit_length() if few < BITS else float(few)
        if name == "comb":
            bits = min(bits, float(n) if n < 10**9 else bits)
        if bits > BITS * 2:
            raise _too_large(bits)
        return _bounded(Fraction(count(n, few)))

    return function


def _sqrt(a: Number) -> Number:
    if a < 0:
        raise ToolError("The square root of a negative number is not a real number.")
    return power(a, Fraction(1, 2)) if a else Fraction(0)


def _cbrt(a: Number) -> Number:
    third = Fraction(1, 3)
    return negate(power(negate(a), third)) if a < 0 else power(a, third)


def _exp(a: Number) -> Number:
    if not a:
        return Fraction(1)
    if absolute(a) > 2 * DIGITS:
        raise _too_large() if a > 0 else ToolError("The result is too close to zero to be shown.")
    return _guard(lambda: _CONTEXT.exp(to_decimal(a)))


def _logarithm(a: Number, base: Number | None = None) -> Number:
    if a <= 0:
        raise ToolError("The logarithm exists only for numbers above zero.")
    if a == 1:
        return Fraction(0)
    if base is None:
        return _guard(lambda: _CONTEXT.ln(to_decimal(a)))
    if base <= 0 or base == 1:
        raise ToolError("The base of a logarithm must be above zero and not 1.")
    exact = _exact_log(a, base)
    if exact is not None:
        return Fraction(exact)
    return _guard(
        lambda: _CONTEXT.divide(_CONTEXT.ln(to_decimal(a)), _CONTEXT.ln(to_decimal(base)))
    )


def _exact_log(a: Number, base: Number) -> int | None:
    """The whole exponent that gives ``a`` exactly, if there is one."""
    if not (isinstance(a, Fraction) and isinstance(base, Fraction)):
        return None
    near = float(_CONTEXT.divide(_CONTEXT.ln(to_decimal(a)), _CONTEXT.ln(to_decimal(base))))
    n = round(near)
    if abs(near - n) > 1e-9 or abs(n) > BITS:
        return None
    return n if _integer_power(base, n) == a else None


def _quadrant(angle: Number) -> tuple[int, float]:
    """Quarter turns nearest to an angle in radians, and what is left, accurate to a float."""
    x = to_decimal(angle)
    if absolute(x) > _ANGLE_MAX:
        raise ToolError("That angle is too large.")
    quarter = _CONTEXT.divide(PI, Decimal(2))
    turns = _CONTEXT.divide(x, quarter).to_integral_value()
    left = _CONTEXT.subtract(x, _CONTEXT.multiply(turns, quarter))
    if turns and left.copy_abs() < _NEGLIGIBLE:
        left = Decimal(0)
    return int(turns), float(left)


def _from_float(value: float) -> Number:
    return Fraction(round(value)) if value in (0.0, 1.0, -1.0) else Decimal(f"{value:.15g}")


def _sin(a: Number) -> Number:
    turns, left = _quadrant(a)
    value = math.cos(left) if turns % 2 else math.sin(left)
    return _from_float(-value if turns % 4 >= 2 else value)


def _cos(a: Number) -> Number:
    turns, left = _quadrant(a)
    value = math.sin(left) if turns % 2 else math.cos(left)
    return _from_float(-value if turns % 4 in (1, 2) else value)


def _tan(a: Number) -> Number:
    turns, left = _quadrant(a)
    if turns % 2:
        if not left:
            raise ToolError("The tangent of a right angle does not exist.")
        return _from_float(-1 / math.tan(left))
    return _from_float(math.tan(left))


def _inverse(name: str, function: Callable[[float], float]) -> Callable[[Number], Number]:
    def inverse(a: Number) -> Number:
        if name != "atan" and absolute(a) > 1:
            raise ToolError(f"{name} takes only numbers from -1 to 1.")
        near = float(a) if absolute(a) < 10**300 else (1e300 if a > 0 else -1e300)
        return _from_float(function(near))

    return inverse


def _floor(a: Number) -> Number:
    if isinstance(a, Fraction):
        return Fraction(math.floor(a))
    return Fraction(int(a.to_integral_value(decimal.ROUND_FLOOR)))


def _ceil(a: Number) -> Number:
    return negate(_floor(negate(a)))


def _round(a: Number, places: Number = Fraction(0)) -> Number:
    """Half away from zero, as taught at school (Python's ``round`` goes to the even digit)."""
    n = _whole(places, "The number of places")
    if abs(n) > DIGITS:
        raise ToolError("That is too many places to round to.")
    scale = Fraction(10) ** n
    exact = Fraction(a) * scale
    whole = math.floor(abs(exact) + Fraction(1, 2))
    return Fraction(whole if exact >= 0 else -whole) / scale


def _whole_fold(name: str, function: Callable[..., int]) -> Callable[..., Fraction]:
    def fold(*numbers: Number) -> Fraction:
        result = 1 if name == "lcm" else 0
        for number in numbers:
            result = function(result, _whole(number, name))
            if result.bit_length() > BITS:
                raise _too_large(result.bit_length())
        return Fraction(result)

    return fold


def _sum(*numbers: Number) -> Number:
    total: Number = Fraction(0)
    for number in numbers:
        total = add(total, number)
    return total


def _product(*numbers: Number) -> Number:
    total: Number = Fraction(1)
    for number in numbers:
        total = multiply(total, number)
    return total


def _mean(*numbers: Number) -> Number:
    return divide(_sum(*numbers), Fraction(len(numbers)))


def _median(*numbers: Number) -> Number:
    ordered: Sequence[Number] = sorted(numbers)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return divide(add(ordered[middle - 1], ordered[middle]), Fraction(2))


def _log(a: Number, base: Number = Fraction(10)) -> Number:
    return _logarithm(a, base)


def absolute(a: Number) -> Number:
    return negate(a) if a < 0 else a


#: Name to (function, fewest arguments, most arguments; None is any number).
FUNCTIONS: dict[str, tuple[Callable[..., Number], int, int | None]] = {
    "sqrt": (_sqrt, 1, 1),
    "cbrt": (_cbrt, 1, 1),
    "exp": (_exp, 1, 1),
    "ln": (lambda a: _logarithm(a), 1, 1),
    "log": (_log, 1, 2),
    "log10": (lambda a: _logarithm(a, Fraction(10)), 1, 1),
    "log2": (lambda a: _logarithm(a, Fraction(2)), 1, 1),
    "sin": (_sin, 1, 1),
    "cos": (_cos, 1, 1),
    "tan": (_tan, 1, 1),
    "asin": (_inverse("asin", math.asin), 1, 1),
    "acos": (_inverse("acos", math.acos), 1, 1),
    "atan": (_inverse("atan", math.atan), 1, 1),
    "abs": (absolute, 1, 1),
    "round": (_round, 1, 2),
    "floor": (_floor, 1, 1),
    "ceil": (_ceil, 1, 1),
    "gcd": (_whole_fold("gcd", math.gcd), 1, None),
    "lcm": (_whole_fold("lcm", math.lcm), 1, None),
    "min": (min, 1, None),
    "max": (max, 1, None),
    "sum": (_sum, 1, None),
    "product": (_product, 1, None),
    "mean": (_mean, 1, None),
    "median": (_median, 1, None),
    "factorial": (factorial, 1, 1),
    "comb": (_choose("comb", math.comb), 2, 2),
    "perm": (_choose("perm", math.perm), 2, 2),
}
