"""A short message that goes on from the last answer: "and in another town?", "times 3?".

By itself such a message asks for nothing; beside the call before it, it asks for that call again
with a value of its own. Either a value in it replaces one of that call, or, where the call's
argument may be composed, it continues the last result. Which words count as going on is English;
nothing here names a tool.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmos.events import Message
from llmos.kernel.spans import EDGE, maximal
from llmos.kernel.syscalls import Syscall

__all__ = ["Earlier", "FollowUp", "earlier", "follow_up"]

_WORDS = 10  # a longer message stands by itself
_OUTSIDE = 1  # words beside the opening and the value: a preposition
_OPENING = re.compile(
    r"^(?:(?:ok|okay|so|well|and|or|but|then|now|also|what about|how about|what if it is)\b[, ]*)+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Earlier:
    """A call that the turn before made, and what it gave."""

    name: str
    arguments: Mapping[str, Any]
    result: str


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A call that goes on from an earlier one.

    Args:
        call: The row.
        ways: What its arguments may be.
    """

    call: Syscall
    ways: tuple[dict[str, Any], ...]


def earlier(history: Sequence[Message]) -> list[Earlier]:
    """The calls of the turn before the newest message, the last first."""
    asked = [at for at, message in enumerate(history) if message.role == "user"]
    if len(asked) < 2:
        return []
    turn = history[asked[-2] : asked[-1]]
    results = {m.call_id: m.content for m in turn if m.role == "tool"}
    made = [
        Earlier(call.name, call.arguments, results.get(call.id, ""))
        for message in turn
        for call in message.calls
    ]
    return made[::-1]


def follow_up(message: str, made: Sequence[Earlier], calls: Iterable[Syscall]) -> FollowUp | None:
    """The call that ``message`` asks for again in other words; None where it does not."""
    said = _OPENING.sub("", message.strip()).strip(EDGE + " ")
    if not said or len(message.split()) > _WORDS:
        return None
    rows = {call.name: call for call in calls}
    for before in made:
        call = rows.get(before.name)
        ways = _ways(call, before, said) if call is not None else []
        if call is not None and ways:
            return FollowUp(call, tuple(ways))
    return None


def _ways(call: Syscall, before: Earlier, said: str) -> list[dict[str, Any]]:
    ways: list[dict[str, Any]] = []
    for name, copied in call.copied.items():
        if copied.accepts is None:
            continue
        if copied.joins:
            whole = f"{before.result} {said}"
            values = [whole] if before.result and copied.accepts(whole) else []
        else:
            found = maximal(said, copied.accepts)
            within = sum(span.end - span.start for span in found)
            alone = len(said.split()) - within <= _OUTSIDE
            values = [span.text for span in found] if alone else []
        ways += [{**before.arguments, name: value} for value in values]
    return [way for way in ways if way != dict(before.arguments)]
