"""A message of a jailed program, read on the kernel's loop: JSON of a bounded number of values.

A line of four megabytes parses in a moment where it is text and takes a third of a second where it
is a million empty lists, and the parser lets nobody else run meanwhile. So values are counted
first, by the marks that part them; those that only stand within a text are none.
"""

from __future__ import annotations

import json
import re
from typing import Any

from llmos import limits

__all__ = ["bounded", "loads"]

_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)  # possessive: no way back to try


def loads(raw: bytes) -> Any:
    """The value that ``raw`` is.

    Raises:
        ValueError: It is no JSON, is nested too deeply, or has more than
            ``limits.MESSAGE_VALUES`` values.
    """
    try:
        return json.loads(bounded(raw))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def bounded(raw: bytes) -> bytes:
    """``raw``, which somebody else is to parse.

    Raises:
        ValueError: It has more values than ``loads`` takes.
    """
    if (
        _values(raw) > limits.MESSAGE_VALUES
        and _values(_TEXT.sub(b"", raw)) > limits.MESSAGE_VALUES
    ):
        raise ValueError("too many values")
    return raw


def _values(raw: bytes) -> int:
    return raw.count(b"[") + raw.count(b"{") + raw.count(b",")
