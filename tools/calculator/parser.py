"""From tokens to a value: a recursive-descent evaluator with bounded depth.

Loosest to tightest: conversion (``in``), sums, products, signs, units, powers, postfix signs.
Evaluates while it parses; there is no tree. Knows no formats of output.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from llmos.sdk import ToolError

from . import exact, values
from .exact import Number
from .functions import FUNCTIONS, factorial
from .lexer import MULTIPLIERS, Token, clean, tokenize
from .questions import rephrase
from .units import NONE, Unit, find
from .values import Value

__all__ = ["calculate", "is_composite"]

DEPTH = 50  # nested parentheses, signs and powers
_UNITS = "Write it by its usual sign, such as km, lb or °C."
_TAU = exact.multiply(exact.PI, Fraction(2))
_CONSTANTS: dict[str, Number] = {
    "pi": exact.PI,
    "π": exact.PI,
    "e": exact.E,
    "tau": _TAU,
    "τ": _TAU,
}
_FORMATS = {
    "hex": "hex", "hexadecimal": "hex", "binary": "binary", "octal": "octal", "fraction":
    "fraction", "decimal": "decimal", "percent": "percent", "%": "percent",
}  # fmt: skip


def calculate(text: str) -> Value:
    """Evaluate a written calculation.

    Raises:
        ToolError: It cannot be read or has no result; the sentence says why.
    """
    return _Parser(tokenize(rephrase(clean(text)))).whole()


def is_composite(text: str) -> bool:
    """Whether ``text`` is more than one value, with its unit, by itself.

    Raises:
        ToolError: It cannot be read.
    """
    tokens = tokenize(rephrase(clean(text)))
    try:
        _Parser(tokens).whole()
    except exact.NoResult:  # what follows was not read: read it all with other numbers
        ones = [replace(t, value=Fraction(1)) if t.kind == "number" else t for t in tokens]
        with contextlib.suppress(exact.NoResult):
            _Parser(ones).whole()
    functions = {*FUNCTIONS, "diff"}
    first = tokens[0]
    if first.kind == "word" and first.text not in functions and first.text not in _CONSTANTS:
        return False  # "me the square root of 9": a unit before its number
    return any(
        (t.kind == "op" and t.text not in (",", "and"))
        or (t.kind == "word" and t.text in functions)
        for t in tokens
    )


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    # --- tokens -------------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def peek(self, offset: int = 1) -> Token:
        return self.tokens[min(self.at + offset, len(self.tokens) - 1)]

    def is_op(self, *texts: str) -> bool:
        return self.token.kind == "op" and self.token.text in texts

    def take(self) -> Token:
        token = self.token
        if token.kind != "end":
            self.at += 1
        return token

    def expect(self, text: str) -> None:
        if not self.is_op(text):
            raise ToolError(f"A “{text}” is missing before {self.shown()}.")
        self.take()

    def shown(self) -> str:
        token = self.token
        return "the end" if token.kind == "end" else f"“{token.text[:40]}”"

    def nested(self, work: Callable[[], Value]) -> Value:
        self.depth += 1
        if self.depth > DEPTH:
            raise ToolError(
                f"The calculation is nested too deeply (at most {DEPTH} levels).", "Do it in parts."
            )
        value = work()
        self.depth -= 1
        return value

    # --- grammar ------------------------------------------------------------------------------

    def whole(self) -> Value:
        value = self.conversion()
        if self.token.kind == "end":
            return value
        if self.is_op(")"):
            raise ToolError("There is a “)” without its “(”.", "Take it out, or open it before.")
        if self.is_op("="):
            raise ToolError(
                "Equations cannot be solved.", "Write one calculation without an equals sign."
            )
        if self.token.kind in ("number", "money"):
            raise ToolError(
                f"There is no operator before {self.shown()}.", "Put one of + - * / ^ there."
            )
        raise ToolError(f"{self.shown()} cannot be read there.")

    def conversion(self) -> Value:
        value = self.sum()
        while self.is_op("in"):
            self.take()
            value = self.convert(value)
        return value

    def convert(self, value: Value) -> Value:
        name = self.token.text.lower()
        if name in _FORMATS and self.token.kind in ("word", "op"):
            self.take()
            if _FORMATS[name] in ("hex", "binary", "octal") and (
                not isinstance(value.number, Fraction) or value.number.denominator != 1
            ):
                raise ToolError(f"Only whole numbers can be written in {name}.")
            if value.unit and value.unit.dims:
                raise ToolError(f"{value.unit} cannot be written in {name}.")
            return replace(value, form=_FORMATS[name])
        target = self.unit_product()
        if target is None:
            raise ToolError(f"{self.shown()} is no unit that is known.", _UNITS)
        if not value.unit and target.dims and not self.at_unit():
            # "100 in cm": the "in" was the inch.
            inch = find("inch")
            if inch and inch.dims == target.dims:
                value = replace(value, unit=inch)
        return Value(value.unit.to(target, value.number), target, converted=True)

    def sum(self) -> Value:
        value = self.product()
        while True:
            if self.is_op("+", "-"):
                minus = self.take().text == "-"
                value = values.add(value, self.product(), minus)
            elif self.is_op("and") and value.unit:
                self.take()
                value = values.add(value, self.product(), False)
            else:
                return value

    def product(self) -> Value:
        value = self.signed()
        while True:
            if self.is_op("*", "/", "of"):
                sign = self.take().text
                value = (values.divide if sign == "/" else values.multiply)(value, self.signed())
            elif self.is_op("//") or self.is_op("mod") or self.is_op("%"):
                sign = self.take().text
                value = values.whole_division(value, self.signed(), sign == "//")
            elif self.is_op("off"):
                self.take()
                value = values.add(self.signed(), replace(value, percent=True), True)
            elif self.is_op("choose"):
                self.take()
                value = values.apply("comb", [value, self.signed()])
            elif self.starts_operand():
                bare = self.token.kind in ("number", "money") and not self.token.tight
                if bare and not self.implied():
                    return value
                value = values.multiply(value, self.signed())
            else:
                return value

    def implied(self) -> bool:
        """Whether a number right here is multiplied: only after “)” or “%”."""
        last = self.tokens[self.at - 1]
        return last.kind == "op" and last.text in (")", "%")

    def starts_operand(self) -> bool:
        token = self.token
        return token.kind in ("number", "word", "money") or (
            token.kind == "op" and token.text == "("
        )

    def signed(self) -> Value:
        if self.is_op("-", "+"):
            minus = self.take().text == "-"
            value = self.nested(self.signed)
            return replace(value, number=exact.negate(value.number)) if minus else value
        return self.quantity()

    def quantity(self) -> Value:
        """A power with its units, and what is added to it unsaid (``3 h 20 min``)."""
        value = self.with_units()
        while (
            value.unit
            and not value.unit.affine
            and self.token.kind == "number"
            and not self.token.tight
        ):
            mark = self.at
            more = self.with_units()
            if not more.unit or more.unit.dims != value.unit.dims:
                self.at = mark
                break
            value = values.add(value, more, False)
        return value

    def with_units(self) -> Value:
        if self.token.kind == "money":
            currency = find(self.take().text) or NONE
            minus = self.is_op("-") and bool(self.take())
            value = self.power()
            number = exact.negate(value.number) if minus else value.number
            value = replace(value, number=number, unit=currency)
        else:
            value = self.power()
        if self.token.kind == "money":
            value = values.multiply(value, Value(Fraction(1), find(self.take().text) or NONE))
        if self.is_op("in") and self.inch_here():
            self.take()
            return values.multiply(value, Value(Fraction(1), find("inch") or NONE))
        if self.is_op("'", '"') and not value.unit:
            name = "ft" if self.take().text == "'" else "inch"
            return replace(value, unit=find(name) or NONE)
        while self.at_unit():
            unit = self.unit_power()
            if unit is None:
                break
            value = values.multiply(value, Value(Fraction(1), unit))
        return value

    def inch_here(self) -> bool:
        """``12 in to cm``, ``5 ft 3 in``: an “in” that nothing follows to convert to."""
        if self.tokens[self.at - 1].kind != "number":
            return False
        after = self.peek()
        return after.kind == "end" or (
            after.kind == "op" and after.text in ("in", "+", "-", "*", "/", ")", ",")
        )

    # --- units --------------------------------------------------------------------------------

    def at_unit(self) -> bool:
        token = self.token
        if token.kind != "word":
            return False
        if token.text in ("square", "cubic"):
            return True
        following = self.peek()
        if token.text in FUNCTIONS or token.text.lower() in _CONSTANTS:
            # The minute and the function of that name.
            return token.text == "min" and following.text != "(" and following.kind != "number"
        return self.unit_name() is not None

    def unit_name(self) -> tuple[Unit, int] | None:
        """The unit written here and how many words it takes."""
        token, following = self.token, self.peek()
        if token.kind != "word":
            return None
        if following.kind == "word":
            pair = f"{token.text} {following.text}".lower()
            if pair.startswith("degree"):
                pair = following.text
                unit = find(pair)
                if unit and unit.affine:
                    return unit, 2
            elif " " in pair and find(pair):
                return find(pair) or NONE, 2
        unit = find(token.text)
        return (unit, 1) if unit else None

    def unit_power(self) -> Unit | None:
        exponent = 1
        if self.token.kind == "word" and self.token.text in ("square", "cubic"):
            exponent = 2 if self.take().text == "square" else 3
        named = self.unit_name()
        if named is None:
            if exponent > 1:
                raise ToolError(f"{self.shown()} is no unit that is known.", _UNITS)
            return None
        unit, words = named
        self.at += words
        if self.is_op("^2", "^3"):
            exponent *= int(self.take().text[1])
        elif self.is_op("^"):
            self.take()
            minus = self.is_op("-") and bool(self.take())
            written = self.take()
            if written.kind != "number" or written.value.denominator != 1 or written.value > 9:
                raise ToolError("The power of a unit must be a small whole number.")
            exponent *= int(written.value) * (-1 if minus else 1)
        return values.unit_power(unit, exponent)

    def unit_product(self) -> Unit | None:
        """A unit to convert to: ``km/h``, ``square feet``, ``kg m^2``."""
        if self.is_op("in") and self.peek().kind == "end":  # "30 cm to in"
            self.take()
            return find("inch")
        if self.token.kind == "money":
            return find(self.take().text)
        unit = self.unit_power()
        if unit is None:
            return None
        while True:
            sign = 1
            if self.is_op("/", "*"):
                sign = -1 if self.take().text == "/" else 1
            elif not self.at_unit():
                return unit
            more = self.unit_power()
            if more is None:
                raise ToolError(f"{self.shown()} is no unit that is known.", _UNITS)
            unit = unit.times(more, sign)[1]

    # --- powers and below ---------------------------------------------------------------------

    def power(self) -> Value:
        value = self.postfix()
        if self.is_op("^"):
            self.take()
            return values.power(value, self.nested(self.exponent))
        return value

    def exponent(self) -> Value:
        if self.is_op("-", "+"):
            minus = self.take().text == "-"
            value = self.nested(self.exponent)
            return replace(value, number=exact.negate(value.number)) if minus else value
        return self.power()

    def postfix(self) -> Value:
        value = self.primary()
        while True:
            spoken = self.token.kind == "word" and self.token.text == "factorial"
            if self.is_op("!") or (spoken and self.peek().text not in ("(", "of")):
                self.take()
                if self.is_op("!") and not self.token.before:
                    raise ToolError(
                        "The double factorial “!!” is not known.", "Write its factors out."
                    )
                if value.unit:
                    raise ToolError("Only plain numbers have a factorial.")
                value = Value(factorial(value.number))
            elif self.is_op("^2", "^3"):
                n = int(self.take().text[1])
                if self.token.kind == "number" and not self.token.before:
                    raise ToolError("That exponent cannot be read.", "Write it as 2^10.")
                value = values.power(value, Value(Fraction(n)))
            elif self.is_op("%") and not self.is_modulo():
                self.take()
                if value.unit or value.percent:
                    raise ToolError("Only plain numbers can be percentages.")
                value = Value(exact.divide(value.number, Fraction(100)), percent=True)
            elif self.token.tight and self.tokens[self.at - 1].kind == "number":
                value = values.multiply(
                    value, Value(self.take().value)
                )  # "3 million", "two thirds"
            else:
                return value

    def is_modulo(self) -> bool:
        """``10 % 3`` and ``10%3`` are remainders; ``15% of``, ``15% +`` and ``15% 240`` not."""
        sign, after = self.token, self.peek()
        if after.kind in ("number", "word", "money") or after.text == "(":
            return sign.before or not sign.after
        return after.text in ("-", "+") and sign.before and after.before and not after.after

    def primary(self) -> Value:
        token = self.take()
        if token.kind == "number":
            if token.text.lower() in MULTIPLIERS and self.starts_operand():
                return values.multiply(Value(token.value), self.nested(self.with_units))
            return Value(token.value)
        if token.kind == "op" and token.text == "(":
            value = self.nested(self.conversion)
            self.expect(")")
            return value
        if token.kind == "word":
            return self.named(token)
        self.at -= token.kind != "end"
        if token.kind == "end":
            raise ToolError("The calculation ends too early.", "A number is missing at its end.")
        raise ToolError(f"{self.shown()} stands where a number belongs.")

    def named(self, token: Token) -> Value:
        name = token.text
        if name in FUNCTIONS or name == "diff":
            if name == "min" and not self.starts_operand():
                return Value(Fraction(1), find("min") or NONE)
            return self.call(name)
        if name.lower() in _CONSTANTS:
            return Value(_CONSTANTS[name.lower()])
        self.at -= 1
        unit = self.unit_power()
        if unit is not None:
            return Value(Fraction(1), unit)
        raise ToolError(
            f"“{name[:40]}” is no function, constant or unit that is known.",
            "Write the calculation with numbers, for example 12 * 3.5.",
        )

    def call(self, name: str) -> Value:
        """A function with its arguments: in parentheses, or in words (``mean of 3, 5 and 10``)."""
        if self.is_op("of"):
            self.take()
        many = name == "diff" or FUNCTIONS[name][2] != 1
        arguments: list[Value] = []
        if self.is_op("("):
            self.take()
            if not self.is_op(")"):
                arguments.append(self.nested(self.conversion))
                while self.is_op(",", "and"):
                    self.take()
                    arguments.append(self.nested(self.conversion))
            self.expect(")")
        elif many:
            arguments.append(self.nested(self.bare))
            while self.is_op(",", "and"):
                self.take()
                if self.is_op("and"):
                    self.take()
                arguments.append(self.nested(self.bare))
        else:
            arguments.append(self.nested(self.bare_power))
        return values.apply(name, arguments)

    def bare(self) -> Value:
        return self.signed()

    def bare_power(self) -> Value:
        """The argument of a function without parentheses: ``sqrt 16``, ``sin 30°``."""
        if self.is_op("-"):
            return self.signed()
        return self.with_units()
