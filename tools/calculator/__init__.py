"""Arithmetic as people write it, exact where it can be, and always bounded."""

from __future__ import annotations

import re
from typing import Annotated

from llmos.sdk import Length, Result, ToolError, Verbatim

from .lexer import CHARS, stripped
from .parser import calculate, is_composite
from .render import show

__all__ = ["evaluate"]


_SPAN = 200  # characters
_JOINS = (" + ", " - ", " * ", " / ", " ^ ")


_NOT = re.compile(
    r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}/\d{1,2}/\d{4}\b|\bin an?\b|^an?\s\d"
)  # dates; "in a day"


def is_calculation(text: str) -> bool:
    """Whether ``text`` has the form of a calculation: more than one value by itself.

    It need not have a result: who asks for 1/0 is to be told why there is none.
    """
    if len(text) > _SPAN or stripped(text) != text or _NOT.search(text):
        return False
    try:
        return is_composite(text)
    except (ToolError, RecursionError):
        return False


_Expression = Annotated[str, Length(1), Verbatim(accepts=is_calculation, joins=_JOINS)]


def evaluate(expression: _Expression) -> Result:
    """Calculate: arithmetic, percentages, roots, powers and units.

    Args:
        expression: The calculation as the user wrote it, such as 15% of 240 or 5 km in miles.
    """
    try:
        value = calculate(expression)
        text = show(value)
    except RecursionError:  # unreachable by the bound on depth, unless the caller is deep already
        raise ToolError("The calculation is nested too deeply.", "Do it in parts.") from None
    shown = " ".join(expression.split()).rstrip("?=. ") if len(expression) <= CHARS else ""
    return Result(text, {"expression": shown, "value": text})
