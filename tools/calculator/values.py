"""Values: a number with what it measures, and arithmetic on them.

Percentages, money and temperatures follow the rules people expect of them; knows no syntax.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from llmos.sdk import ToolError

from . import exact
from .exact import Number
from .functions import FUNCTIONS
from .units import NONE, Unit

__all__ = ["Value", "add", "apply", "divide", "multiply", "power", "unit_power", "whole_division"]

_ANGLES = ("sin", "cos", "tan")
_KEEP_UNIT = ("abs", "round", "floor", "ceil", "min", "max", "sum", "mean", "median")


@dataclass(frozen=True, slots=True)
class Value:
    """A number, what it measures, and how it is to be shown.

    Args:
        percent: It was written as a percentage, so ``240 + 15%`` means 15 % of the 240.
        converted: The person asked for this unit.
        form: ``hex``, ``binary``, ``octal``, ``fraction``, ``decimal``, ``percent`` or empty.
    """

    number: Number
    unit: Unit = NONE
    percent: bool = False
    converted: bool = False
    form: str = ""


def add(a: Value, b: Value, minus: bool) -> Value:
    if b.percent and not a.percent:
        one = exact.subtract if minus else exact.add
        return Value(exact.multiply(a.number, one(Fraction(1), b.number)), a.unit)
    unit = a.unit
    if a.unit.parts != b.unit.parts:
        if not b.unit and a.unit.currency and len(a.unit.parts) == 1:
            pass  # "$5 + 3": the 3 is money too
        elif not a.unit and b.unit.currency and len(b.unit.parts) == 1:
            unit = b.unit
        elif a.unit.affine or b.unit.affine:
            raise ToolError("Temperatures on different scales cannot be added.")
        elif a.unit.dims != b.unit.dims:
            raise ToolError(
                f"{a.unit or 'A plain number'} and {b.unit or 'a plain number'} cannot be added "
                "or subtracted: they measure different things."
                if not (a.unit.currency and b.unit.currency)
                else f"{a.unit} and {b.unit} cannot be added: exchange rates are not known."
            )
        else:
            b = Value(b.unit.to(a.unit, b.number))
    number = (exact.subtract if minus else exact.add)(a.number, b.number)
    return Value(number, unit, percent=a.percent and b.percent)


def multiply(a: Value, b: Value) -> Value:
    scale, unit = a.unit.times(b.unit)
    return Value(exact.multiply(exact.multiply(a.number, b.number), scale), unit)


def divide(a: Value, b: Value) -> Value:
    scale, unit = a.unit.times(b.unit, -1)
    return Value(exact.multiply(exact.divide(a.number, b.number), scale), unit)


def whole_division(a: Value, b: Value, floor: bool) -> Value:
    divisor = b.unit.to(a.unit, b.number) if a.unit and b.unit else b.number
    if b.unit and not a.unit:
        raise ToolError("A plain number cannot be divided into whole parts of a unit.")
    work = exact.floor_divide if floor else exact.remainder
    return Value(work(a.number, divisor), NONE if floor and b.unit else a.unit)


def power(a: Value, b: Value) -> Value:
    if b.unit:
        raise ToolError("An exponent must be a plain number.")
    if not a.unit:
        return Value(exact.power(a.number, b.number))
    if not isinstance(b.number, Fraction) or b.number.denominator != 1 or abs(b.number) > 100:
        raise ToolError("The power of a unit must be a small whole number.")
    return Value(exact.power(a.number, b.number), unit_power(a.unit, int(b.number)))


def unit_power(unit: Unit, exponent: int) -> Unit:
    if exponent == 1:
        return unit
    if unit.affine:
        raise ToolError("A temperature scale cannot be raised to a power.")
    parts = tuple(replace(part, exponent=part.exponent * exponent) for part in unit.parts)
    if any(abs(part.exponent) > 100 for part in parts):
        raise ToolError("That power of a unit is too large.")
    return Unit(parts if exponent else ())


def apply(name: str, values: list[Value]) -> Value:
    if name == "diff":
        if len(values) != 2:
            raise ToolError("A difference is between two numbers.")
        value = add(values[0], values[1], True)
        return replace(value, number=exact.absolute(value.number))
    function, fewest, most = FUNCTIONS[name]
    if len(values) < fewest or (most is not None and len(values) > most):
        wanted = (
            f"{fewest}"
            if most == fewest
            else f"{fewest} or more"
            if most is None
            else (f"{fewest} to {most}")
        )
        raise ToolError(f"{name} takes {wanted} numbers, not {len(values)}.")
    unit = values[0].unit
    numbers: list[Any] = []
    for index, value in enumerate(values):
        number = value.number
        if name in _ANGLES and not value.unit.dims:
            number = exact.multiply(number, value.unit.factor)
        elif name in _KEEP_UNIT and unit and not (name == "round" and index):
            number = value.unit.to(unit, number)
        elif name == "sqrt" and unit and all(part.exponent % 2 == 0 for part in unit.parts):
            pass
        elif value.unit:
            raise ToolError(f"{name} takes plain numbers, not {value.unit}.")
        numbers.append(number)
    result = function(*numbers)
    if name == "sqrt" and unit:
        parts = tuple(replace(part, exponent=part.exponent // 2) for part in unit.parts)
        return Value(result, Unit(parts))
    return Value(result, unit if name in _KEEP_UNIT else NONE)
