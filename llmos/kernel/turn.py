"""One turn under way: what it has written, called and used so far.

Plain state, shared by the agent (which generates) and the caller (which makes calls).
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from llmos.errors import LlmosError
from llmos.events import ToolCall, Usage
from llmos.kernel.process import Process
from llmos.kernel.syscalls import SyscallTable
from llmos.labels import Label, Origin

__all__ = ["Reply", "Turn", "TurnOver", "repeats"]

_TIMES = 4  # the same stretch so many times in a row is a loop
_STRETCH = range(20, 241)  # characters; shorter ones are rulers, rows of dots and the like


def repeats(text: str) -> bool:
    """Whether ``text`` ends in the same stretch of words again and again.

    A small model that once repeats itself finds nothing likelier than to go on so.
    """
    for length in _STRETCH:
        stretch = text[-length:]
        if len(text) < _TIMES * length:
            return False
        if text.endswith(stretch * _TIMES):
            return len(set(re.findall(r"[^\W\d]+", stretch))) > 3
    return False


class TurnOver(Exception):
    """The turn ends for a reason other than a finished reply."""

    def __init__(self, reason: str, error: LlmosError | None = None) -> None:
        self.reason = reason
        self.error = error


@dataclass(slots=True)
class Reply:
    """One assistant message as it is written.

    Args:
        text: What is for the person.
        raw: All that the model wrote.
        calls: The calls it made.
        refused: By a call's id, why it is answered without being made: it could not be read.
        finish: The generation's finish reason; empty while it runs.
    """

    text: str = ""
    raw: str = ""
    calls: tuple[ToolCall, ...] = ()
    refused: dict[str, LlmosError] = field(default_factory=dict)
    finish: str = ""


@dataclass(slots=True)
class Turn:
    """What one turn has done so far."""

    process: Process
    number: int
    calls: SyscallTable  # what may be called in it
    usage: Usage = field(default_factory=Usage)
    reply: Reply = field(default_factory=Reply)
    seen: Counter[str] = field(default_factory=Counter)  # calls, to notice a loop
    admitted: dict[str, float] = field(default_factory=dict)  # by a call's id, when it may run
    nested: int = 0  # calls that code asked for
    tainted: Label = field(default_factory=lambda: Label(Origin.SYSTEM))  # what code was shown
    judging: asyncio.Lock = field(default_factory=asyncio.Lock)  # one call after the other
    made: list[tuple[str, dict[str, Any]]] = field(default_factory=list)  # calls with an effect
    missing: set[str] = field(default_factory=set)  # calls whose result it wanted, that failed
    doubted: frozenset[str] = frozenset()  # calls that the person may only have spoken of
