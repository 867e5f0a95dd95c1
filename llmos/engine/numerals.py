"""Ranges of numbers as grammar expressions.

Bounds are exact. What a bound leaves open is finite all the same: ``limits.NUMBER_DIGITS`` before
and after the point, so that a small model cannot write digits for ever.
"""

from __future__ import annotations

from decimal import Decimal

from llmos import limits
from llmos.engine.gbnf import EMPTY, NOTHING, Chars, Expr, Lit, Rep, Seq, alt, optional, seq
from llmos.errors import GrammarError

__all__ = ["DIGIT", "NONZERO", "decimal_range", "digits", "integer_range", "natural"]

DIGIT = Chars.of("0123456789")
NONZERO = Chars.of("123456789")


def digits(least: int, most: int | None = None) -> Expr:
    """``least`` to ``most`` digits; without ``most``, that many."""
    most = least if most is None else most
    return EMPTY if most <= 0 else DIGIT if least == most == 1 else Rep(DIGIT, least, most)


def _span(low: str, high: str) -> Expr:
    """All digit strings from ``low`` to ``high``, which are equally long."""
    if not low:
        return EMPTY
    if low == high:
        return Lit(low)
    rest = len(low) - 1
    if set(low[1:]) <= {"0"} and set(high[1:]) <= {"9"}:
        return seq(Chars.union([(ord(low[0]), ord(high[0]))]), digits(rest))
    if low[0] == high[0]:
        return seq(low[0], _span(low[1:], high[1:]))
    first, last = int(low[0]), int(high[0])
    between = [str(d) + "0" * rest for d in (first + 1, last - 1)] if last - first > 1 else []
    options = [seq(low[0], _span(low[1:], "9" * rest))]
    if between:
        options.append(_span(between[0], between[1][0] + "9" * rest))
    options.append(seq(high[0], _span("0" * rest, high[1:])))
    return alt(*options)


def natural(low: int, high: int) -> Expr:
    """Decimal numerals of the integers from ``low`` to ``high``, both at least 0."""
    options: list[Expr] = []
    whole: list[int] = []  # lengths of which every numeral is in range
    for length in range(len(str(low)), len(str(high)) + 1):
        bottom, top = (10 ** (length - 1) if length > 1 else 0), 10**length - 1
        a, b = max(low, bottom), min(high, top)
        if (a, b) == (bottom, top) and length > 1:
            whole.append(length)
        elif a <= b:
            options.append(_span(str(a), str(b)))
    if whole:
        options.append(seq(NONZERO, digits(whole[0] - 1, whole[-1] - 1)))
    return alt(*options)


def integer_range(low: int | None, high: int | None) -> Expr:
    """The integers from ``low`` to ``high``; an open end reaches 16 digits or somewhat further."""
    most = 10**limits.NUMBER_DIGITS - 1
    low = min(-most, (high or 0) - most) if low is None else low
    high = max(most, low + most) if high is None else high
    if max(len(str(low)), len(str(high))) > 64:
        raise GrammarError("A bound of an integer has more than 64 digits.")
    options: list[Expr] = []
    if low < 0 and low <= high:
        options.append(seq("-", natural(max(1, -high), -low)))
    if high >= 0 and low <= high:
        options.append(natural(max(0, low), high))
    return alt(*options)


def _fraction(low: str, high: str | None, *, above: bool, below: bool, room: int) -> Expr:
    """Digits after the point, at least one, whose value is within bounds.

    Args:
        low / high: Digits of the bounds; no upper bound is None.
        above / below: Whether the bound itself is out.
        room: Most digits.
    """

    def at_least(rest: str, left: int) -> Expr:
        rest = rest.rstrip("0")
        if not rest:  # equal so far
            if not above:
                return digits(0, left) if left else EMPTY
            if not left:
                return NOTHING
            return alt(seq(NONZERO, digits(0, left - 1)), seq("0", at_least("", left - 1)))
        if not left:
            return NOTHING
        digit = int(rest[0])
        options = [seq(str(digit), at_least(rest[1:], left - 1))]
        if digit < 9:
            options.append(seq(Chars.union([(49 + digit, 57)]), digits(0, left - 1)))
        return alt(*options)

    def at_most(rest: str, left: int) -> Expr:
        rest = rest.rstrip("0")
        if not rest:
            return NOTHING if below else Rep(Lit("0"), 0, left) if left else EMPTY
        if not left:
            return EMPTY
        digit = int(rest[0])
        options: list[Expr] = [EMPTY, seq(str(digit), at_most(rest[1:], left - 1))]
        if digit:
            options.append(seq(Chars.union([(48, 47 + digit)]), digits(0, left - 1)))
        return alt(*options)

    def within(a: str, b: str, left: int) -> Expr:
        a, b = a or "0", b or "0"
        if not left:
            return NOTHING
        if a[0] == b[0]:
            rest_a, rest_b = a[1:].rstrip("0"), b[1:].rstrip("0")
            if not rest_a and not rest_b:
                return NOTHING if above or below else seq(a[0], Rep(Lit("0"), 0, left - 1))
            options = [seq(a[0], within(rest_a, rest_b, left - 1))]
            if not rest_a and not above:
                options.append(Lit(a[0]))
            return alt(*options)
        options = [
            seq(a[0], at_least(a[1:], left - 1)),
            seq(b[0], at_most(b[1:], left - 1)),
        ]
        if int(b[0]) - int(a[0]) > 1:
            middle = Chars.union([(ord(a[0]) + 1, ord(b[0]) - 1)])
            options.append(seq(middle, digits(0, left - 1)))
        return alt(*options)

    low = low.rstrip("0")
    if high is None:
        return _without_empty(at_least(low, room))
    high = high.rstrip("0")
    if low == "" and not above:
        return _without_empty(at_most(high, room))
    return within(low, high, room)


def _without_empty(expr: Expr) -> Expr:
    """The same texts but for the empty one."""
    match expr:
        case Rep(item, 0, most):
            return Rep(item, 1, most)
        case Lit(""):
            return NOTHING
    items = getattr(expr, "items", None)
    if items is not None and not isinstance(expr, Seq):
        return alt(*(_without_empty(item) for item in items))
    return expr


def _magnitude(low: Decimal, high: Decimal | None, above: bool, below: bool) -> Expr:
    """Decimals from ``low`` to ``high`` (both at least 0) without sign or exponent."""
    if high is not None and high < low:
        return NOTHING

    def parts(number: Decimal) -> tuple[int, str]:
        whole, _, fraction = f"{number:f}".partition(".")
        return int(whole), fraction.rstrip("0")

    bottom, after_bottom = parts(low)
    top, after_top = parts(high) if high is not None else (10**limits.NUMBER_DIGITS - 1, "")
    # with 15 significant digits no two decimals are the same double
    room = max(1, min(limits.NUMBER_DIGITS, 15 - len(str(top if high is not None else bottom))))
    room = max(room, len(after_bottom), len(after_top))
    point_any = optional(seq(".", digits(1, room)))
    options: list[Expr] = []

    def at(whole: int, lower: str, upper: str | None, out_low: bool, out_high: bool) -> None:
        whole_in = not lower and not out_low and (upper is None or bool(upper) or not out_high)
        fraction = seq(".", _fraction(lower, upper, above=out_low, below=out_high, room=room))
        options.append(seq(str(whole), alt(fraction, EMPTY) if whole_in else fraction))

    if high is None:
        at(bottom, after_bottom, None, above, False)
        options.append(seq(natural(bottom + 1, max(top, bottom + top)), point_any))
    elif bottom == top:
        at(bottom, after_bottom, after_top, above, below)
    else:
        at(bottom, after_bottom, None, above, False)
        if top - bottom > 1:
            options.append(seq(natural(bottom + 1, top - 1), point_any))
        at(top, "", after_top, False, below)
    return alt(*options)


def decimal_range(
    low: Decimal | None, high: Decimal | None, *, above: bool = False, below: bool = False
) -> Expr:
    """Decimal numbers from ``low`` to ``high``.

    Without any bound exponents of up to two digits are allowed; with one there are none.

    Args:
        above / below: Whether the lower and upper bound itself is out.
    """
    if low is None and high is None:
        exponent = optional(seq(Chars.of("eE"), optional(Chars.of("+-")), digits(1, 2)))
        fraction = optional(seq(".", digits(1, limits.NUMBER_DIGITS)))
        whole = natural(0, 10**limits.NUMBER_DIGITS - 1)
        return seq(optional("-"), whole, fraction, exponent)
    for bound in (low, high):
        if bound is not None and (not bound.is_finite() or len(f"{bound:f}") > 64):
            raise GrammarError("A bound of a number has more than 64 digits.")
    zero = Decimal(0)
    options: list[Expr] = []
    if low is None or low < 0:
        least = zero if high is None or high >= 0 else -high
        out = high is None or high >= 0 or below  # zero is written without a sign
        most = None if low is None else -low
        options.append(seq("-", _magnitude(least, most, out, above)))
    if high is None or high >= 0:
        from_zero = low is None or low < 0
        options.append(
            _magnitude(zero if from_zero else low or zero, high, not from_zero and above, below)
        )
    return alt(*options)
