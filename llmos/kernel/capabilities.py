"""What a task may do: calls it was given, how often, with which arguments, and for how long.

A capability is settled from a person's own words, before anything by somebody else is read, or it
is a grant: their answer to a question. It is spent by use, ends with what it was given for, and
only shrinks when it is handed to a child. It speaks for the arguments it names and for no other.
Knows names and values, not processes; decides nothing.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from llmos.kernel.addresses import INVISIBLE
from llmos.visible import legible

__all__ = ["Capabilities", "Capability", "called", "matches", "same"]

#: What a shell takes for more than one command, or for what another one says.
_JOINS = re.compile(r"[;&|<>`$(){}\n\r]")
#: What leads elsewhere than it seems, and so is never part of what a pattern leaves open.
_ELSEWHERE = re.compile(
    rf"(?:^|[/\\])\.\.(?:[/\\]|$)|\\|%(?:2e|2f|5c)|[{INVISIBLE}]", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Capability:
    """That a call may be made.

    Args:
        call: Its name, or a pattern of names (``files.*``).
        arguments: What these arguments must be: the very values, whatever is in them.
        patterns: What these arguments must look like, as ``matches`` reads it.
        uses: How often; None is without bound.
        until: Seconds since the epoch; None never.
        whole: Whether it names all that the person named for this call, so that other words of
            theirs were not meant for it.
        grant: The id of the grant it stands for; empty where it was settled.
    """

    call: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    uses: int | None = None
    until: float | None = None
    whole: bool = False
    grant: str = ""

    @property
    def named(self) -> frozenset[str]:
        """The arguments it speaks for."""
        return frozenset((*self.arguments, *self.patterns))

    def lives(self, now: float) -> bool:
        """Whether it can still be used."""
        return self.uses != 0 and (self.until is None or now < self.until)

    def covers(self, call: str, arguments: Mapping[str, Any], now: float) -> bool:
        """Whether it allows this call now."""
        return (
            self.lives(now)
            and called(call, self.call)
            and all(same(arguments.get(name), value) for name, value in self.arguments.items())
            and all(
                matches(arguments.get(name), like, command=name == "command")
                for name, like in self.patterns.items()
            )
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
                if each.lives(now) and called(call, each.call):
                    child.give(replace(each, call=call))
                    if each.uses is not None:
                        self._given[at] = replace(each, uses=0)
        return child


def same(value: Any, wanted: Any) -> bool:
    """Whether two JSON values are one: 50 is 50.0, but 1 is not true, and nothing is a pattern."""
    if _is_number(value) and _is_number(wanted):
        return bool(value == wanted)
    try:
        return json.dumps(value, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False


def matches(value: Any, pattern: str, *, command: bool = False) -> bool:
    """Whether a text is like a pattern: ``*`` is anything but a slash, ``**`` anything.

    What would lead elsewhere than it reads (a step to the parent folder, a backslash, a hidden or
    an encoded mark, an ``@`` that the pattern does not have) is like no pattern, and a pattern of
    an address is that of a single one.

    Args:
        command: It is a command line: what makes two commands of it is like no pattern.
    """
    if command and isinstance(value, str) and _JOINS.search(value):
        return False
    if not isinstance(value, str) or _ELSEWHERE.search(value) or not value.isprintable():
        return False
    if legible(value) != value:
        return False
    if unicodedata.normalize("NFKC", value) != value or value.count("@") != pattern.count("@"):
        return False
    return _compiled(pattern).fullmatch(value) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*+|\*)", pattern)
    some = r"[^/\s,;<>]*" if "@" in pattern else "[^/]*"
    return re.compile(
        "".join(
            ".*" if part.startswith("**") else some if part == "*" else re.escape(part)
            for part in parts
        )
    )


def called(call: str, wanted: str) -> bool:
    """Whether a call has that name, or is like that pattern of names (``files.*``)."""
    return call == wanted or ("*" in wanted and _compiled(wanted).fullmatch(call) is not None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _width(capability: Capability) -> tuple[bool, int, int, float]:
    """The more it says, the narrower it is; of two alike the one that is sooner used up."""
    uses = math.inf if capability.uses is None else capability.uses
    patterns = len(capability.patterns)
    return ("*" in capability.call, -len(capability.arguments) - patterns, patterns, uses)
