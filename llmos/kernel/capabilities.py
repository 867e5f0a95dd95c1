"""What a task may do: calls it was given, how often, with which arguments, and for how long.

A capability is made from a person's own words, before anything by somebody else is read, or from
their answer to a question. It is spent by use, ends with what it was given for, and only shrinks
when it is handed to a child. Knows names and values, not processes; decides nothing.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

__all__ = ["Capabilities", "Capability", "Scope"]


class Scope(StrEnum):
    """What a capability was given for, and ends with."""

    TURN = "turn"
    CONVERSATION = "conversation"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Capability:
    """That a call may be made.

    Args:
        call: Its name, or a pattern of names as a shell has (``files.*``).
        arguments: What these arguments must be: the very value, or for a text a pattern. Others
            may be anything.
        uses: How often; None is without bound.
        until: Seconds since the epoch; None never.
        scope: What it ends with.
        why: Where it comes from, in words for a person.
    """

    call: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    uses: int | None = None
    until: float | None = None
    scope: Scope = Scope.TURN
    why: str = ""

    def covers(self, call: str, arguments: Mapping[str, Any], now: float) -> bool:
        """Whether it allows this call now."""
        return (
            fnmatch.fnmatchcase(call, self.call)
            and (self.uses is None or self.uses > 0)
            and (self.until is None or now < self.until)
            and all(_fits(arguments.get(name), wanted) for name, wanted in self.arguments.items())
        )


class Capabilities:
    """All that one task may do.

    Args:
        given: To begin with.
    """

    def __init__(self, given: Iterable[Capability] = ()) -> None:
        self._given = list(given)

    def __iter__(self) -> Iterator[Capability]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def give(self, capability: Capability) -> None:
        """One more."""
        self._given.append(capability)

    def find(self, call: str, arguments: Mapping[str, Any], now: float) -> Capability | None:
        """The one that allows a call, the narrowest first; None where none does."""
        able = [each for each in self._given if each.covers(call, arguments, now)]
        return min(able, key=_width, default=None)

    def spend(self, capability: Capability) -> None:
        """It was used once."""
        if capability.uses is not None:
            at = self._given.index(capability)
            self._given[at] = replace(capability, uses=capability.uses - 1)

    def end(self, *scopes: Scope) -> None:
        """What was given for these is over."""
        self._given = [each for each in self._given if each.scope not in scopes]

    def handed(self, wanted: Iterable[str], now: float) -> Capabilities:
        """What a child gets: of the calls it is to make those that are allowed here, not more.

        What it may use so often, the parent may not use any more: two of them would be more than
        was given.

        Args:
            wanted: Names of calls.
            now: Seconds since the epoch.
        """
        child = Capabilities()
        for call in dict.fromkeys(wanted):
            for at, each in enumerate(self._given):
                live = each.uses != 0 and (each.until is None or now < each.until)
                if live and fnmatch.fnmatchcase(call, each.call):
                    child.give(replace(each, call=call, scope=Scope.TURN))
                    if each.uses is not None:
                        self._given[at] = replace(each, uses=0)
        return child


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and isinstance(value, str):
        return fnmatch.fnmatchcase(value, wanted)
    return type(value) is type(wanted) and bool(value == wanted)


def _width(capability: Capability) -> tuple[int, int, float]:
    """The more it says, the narrower it is; of two alike the one that is sooner used up."""
    uses = math.inf if capability.uses is None else capability.uses
    return ("*" in capability.call, -len(capability.arguments), uses)
