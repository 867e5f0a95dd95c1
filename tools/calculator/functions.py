"""The functions a calculation may call, each bounded like the arithmetic it stands on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction

from .exact import (
    BITS,
    CONTEXT,
    DIGITS,
    PI,
    NoResult,
    Number,
    absolute,
    add,
    bounded,
    divide,
    floor,
    guard,
    integer_power,
    multiply,
    negate,
    power,
    to_decimal,
    too_large,
)

__all__ = ["FUNCTIONS", "factorial"]

_NEGLIGIBLE = Decimal("1e-30")  # what 40 digits leave of zero after the reduction of an angle
_ANGLE_MAX = Decimal(10) ** 15


def _whole(number: Number, what: str) -> int:
    if isinstance(number, Fraction) and number.denominator == 1:
        return number.numerator
    if isinstance(number, Decimal) and number == number.to_integral_value():
        return int(number)
    raise NoResult(f"{what} needs whole numbers.")


def factorial(a: Number) -> Fraction:
    n = _whole(a, "The factorial")
    if n < 0:
        raise NoResult("The factorial of a negative number does not exist.")
    if n > BITS:
        bits = n * math.log2(n) if n < 1e300 else 0.0
        raise too_large(bits)
    bits = math.lgamma(n + 1) / math.log(2)
    if bits > BITS:
        raise too_large(bits)
    return Fraction(math.factorial(n))


def _choose(name: str, count: Callable[[int, int], int]) -> Callable[[Number, Number], Fraction]:
    def function(a: Number, b: Number) -> Fraction:
        n, k = _whole(a, name), _whole(b, name)
        if n < 0 or k < 0:
            raise NoResult(f"{name} needs numbers that are not negative.")
        if k > n:
            return Fraction(0)
        few = min(k, n - k) if name == "comb" else k
        # Each of the few factors is at most n; and 2^n subsets is all there are.
        bits = few * n.bit_length()
        if name == "comb":
            bits = min(bits, n)
        if bits > 2 * BITS:
            raise too_large(float(min(bits, 10**30)))
        return bounded(Fraction(count(n, few)))

    return function


def _sqrt(a: Number) -> Number:
    if a < 0:
        raise NoResult("The square root of a negative number is not a real number.")
    return power(a, Fraction(1, 2)) if a else Fraction(0)


def _cbrt(a: Number) -> Number:
    third = Fraction(1, 3)
    return negate(power(negate(a), third)) if a < 0 else power(a, third)


def _exp(a: Number) -> Number:
    if not a:
        return Fraction(1)
    if absolute(a) > 2 * DIGITS:
        raise too_large() if a > 0 else NoResult("The result is too close to zero to be shown.")
    return guard(lambda: CONTEXT.exp(to_decimal(a)))


def _logarithm(a: Number, base: Number | None = None) -> Number:
    if a <= 0:
        raise NoResult("The logarithm exists only for numbers above zero.")
    if a == 1:
        return Fraction(0)
    if base is None:
        return guard(lambda: CONTEXT.ln(to_decimal(a)))
    if base <= 0 or base == 1:
        raise NoResult("The base of a logarithm must be above zero and not 1.")
    exact = _exact_log(a, base)
    if exact is not None:
        return Fraction(exact)
    return guard(lambda: CONTEXT.divide(CONTEXT.ln(to_decimal(a)), CONTEXT.ln(to_decimal(base))))


def _exact_log(a: Number, base: Number) -> int | None:
    """The whole exponent that gives ``a`` exactly, if there is one."""
    if not (isinstance(a, Fraction) and isinstance(base, Fraction)):
        return None
    near = float(CONTEXT.divide(CONTEXT.ln(to_decimal(a)), CONTEXT.ln(to_decimal(base))))
    n = round(near)
    if abs(near - n) > 1e-9 or abs(n) > BITS:
        return None
    return n if integer_power(base, n) == a else None


def _quadrant(angle: Number) -> tuple[int, float]:
    """Quarter turns nearest to an angle in radians, and what is left, accurate to a float."""
    x = to_decimal(angle)
    if absolute(x) > _ANGLE_MAX:
        raise NoResult("That angle is too large.")
    quarter = CONTEXT.divide(PI, Decimal(2))
    turns = CONTEXT.divide(x, quarter).to_integral_value()
    left = CONTEXT.subtract(x, CONTEXT.multiply(turns, quarter))
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
            raise NoResult("The tangent of a right angle does not exist.")
        return _from_float(-1 / math.tan(left))
    return _from_float(math.tan(left))


def _inverse(name: str, function: Callable[[float], float]) -> Callable[[Number], Number]:
    def inverse(a: Number) -> Number:
        if name != "atan" and absolute(a) > 1:
            raise NoResult(f"{name} takes only numbers from -1 to 1.")
        near = float(a) if absolute(a) < 10**300 else (1e300 if a > 0 else -1e300)
        return _from_float(function(near))

    return inverse


def _ceil(a: Number) -> Number:
    return negate(floor(negate(a)))


def _round(a: Number, places: Number = Fraction(0)) -> Number:
    """Half away from zero, as taught at school (Python's ``round`` goes to the even digit)."""
    n = _whole(places, "The number of places")
    if abs(n) > DIGITS:
        raise NoResult("That is too many places to round to.")
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
                raise too_large(result.bit_length())
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
    "floor": (floor, 1, 1),
    "ceil": (_ceil, 1, 1),
    "gcd": (_whole_fold("gcd", math.gcd), 1, None),
    "lcm": (_whole_fold("lcm", math.lcm), 1, None),
    "min": (lambda *numbers: min(numbers), 1, None),
    "max": (lambda *numbers: max(numbers), 1, None),
    "sum": (_sum, 1, None),
    "product": (_product, 1, None),
    "mean": (_mean, 1, None),
    "median": (_median, 1, None),
    "factorial": (factorial, 1, 1),
    "comb": (_choose("comb", math.comb), 2, 2),
    "perm": (_choose("perm", math.perm), 2, 2),
}
