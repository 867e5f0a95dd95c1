"""Arithmetic as people write it, exact where it can be, and always bounded."""

from __future__ import annotations

from typing import Annotated

from llmos.sdk import Length, Result, ToolError, Verbatim

from .lexer import CHARS
from .parser import calculate
from .render import show

__all__ = ["evaluate"]


def evaluate(expression: Annotated[str, Length(1), Verbatim()]) -> Result:
    """Calculate: arithmetic, percentages, roots, powers and units.

    Args:
        expression: The calculation as the user wrote it, such as 15% of 240 or 5 km in miles.
    """
    try:
        value = calculate(expression)
        text = show(value)
    except RecursionError:  # unreachable by the bound on depth, unless the caller is deep already
        raise ToolError("The calculation is nested too deeply.") from None
    shown = " ".join(expression.split()).rstrip("?=. ") if len(expression) <= CHARS else ""
    return Result(text, {"expression": shown, "value": text})
