"""A message of a jailed program, read on the kernel's loop: JSON that costs no more than its size.

A line of four megabytes parses in a moment where it is text and takes a third of a second where it
is a million empty lists, and the parser lets nobody else run meanwhile. So containers are counted
first; those that only stand within a text are none.
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
            ``limits.MESSAGE_CONTAINERS`` lists and objects.
    """
    try:
        return json.loads(bounded(raw))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def bounded(raw: bytes) -> bytes:
    """``raw``, which somebody else is to parse.

    Raises:
        ValueError: It has more lists and objects than ``loads`` takes.
    """
    if _containers(raw) > limits.MESSAGE_CONTAINERS and (
        _containers(_TEXT.sub(b"", raw)) > limits.MESSAGE_CONTAINERS
    ):
        raise ValueError("too many lists and objects")
    return raw


def _containers(raw: bytes) -> int:
    return raw.count(b"[") + raw.count(b"{")
