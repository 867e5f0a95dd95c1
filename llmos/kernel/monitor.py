"""The reference monitor: every system call passes it before it is made.

Plain code, no model. What a call does (its effect) and where its arguments may come from stand in
its declaration; the person's words, the labels of what the process was shown, and what was granted
tell the rest. The rules, in their order:

1. What only computes, or reads what is the caller's own, is made.
2. A call that was granted for these very arguments is made: the person said so.
3. While a process has been shown nothing by strangers, what it does is the person's task: a call is
   made whose arguments come from where its declaration says they may.
4. From then on the calls of the turn are those that were settled before, as often as was settled,
   and an argument must still come from where it may. Text by strangers can inform what is written
   in a message; it chooses no recipient, no file, no amount, and no further call.
5. Everything else is asked, with the literal arguments and where each comes from; where nobody is
   there to answer, it is denied, and the model can read why.

A declaration that is missing gets the strictest reading: an unknown effect is a change of the
world, an argument without a word about it must be named by the person, a result without one is by
strangers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from llmos.errors import BudgetExceeded, CallDenied
from llmos.kernel.capabilities import Capabilities, Capability
from llmos.kernel.provenance import Words

if TYPE_CHECKING:
    from llmos.kernel.process import Process
    from llmos.kernel.syscalls import Syscall

__all__ = ["Declared", "From", "Judged", "Monitor", "Reason", "Seen", "judge"]

#: Effects that concern nobody but the caller.
_HARMLESS = frozenset({"pure", "read", "process", "memory"})


class From(StrEnum):
    """Where the value of an argument may come from."""

    ANY = "any"  # what it says to somebody else is informed by what was read
    TRUSTED = "trusted"  # it stands in what the person, the system or a trusted call said
    NAMED = "named"  # it stands in the person's own words


@dataclass(frozen=True, slots=True)
class Declared:
    """What a call's declaration says of its effect and its arguments.

    Args:
        effect: ``pure``, ``read``, ``process``, ``memory``, ``write``, ``execute`` or ``egress``.
        arguments: By name; those that are missing must be named.
        among: By name, the only values that are taken wherever they come from.
    """

    effect: str = "write"
    arguments: Mapping[str, From] = field(default_factory=dict)
    among: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a process when it calls.

    Args:
        said: What the person said.
        trusted: That, and what trusted calls and the system said.
        foreign: Whether it was shown anything by strangers.
        settled: The calls of this turn that were settled before that, and how often; None where
            nothing was.
        granted: What the person allowed.
    """

    said: Words
    trusted: Words
    foreign: bool = True
    settled: Counter[str] | None = None
    granted: Capabilities = field(default_factory=Capabilities)


class Judged(StrEnum):
    """What becomes of a call."""

    MADE = "made"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a call is asked, for a person and for the model.

    Args:
        arguments: Those that come from somewhere they may not.
        unsettled: It is none of the calls that the turn was to make, or one too many.
    """

    arguments: tuple[str, ...] = ()
    unsettled: bool = False


def judge(
    call: str, declared: Declared, arguments: Mapping[str, Any], seen: Seen, now: float
) -> tuple[Judged, Reason, Capability | None]:
    """What becomes of one call.

    Args:
        call: Its name.
        declared: What its declaration says.
        arguments: As it is to be made, all of them: defaults filled in by the tool are its own.
        seen: What is known of the caller.
        now: Seconds since the epoch.

    Returns:
        The judgement; why it is asked; the capability that was used up by it.
    """
    if declared.effect in _HARMLESS:
        return Judged.MADE, Reason(), None
    if (capability := seen.granted.find(call, arguments, now)) is not None:
        return Judged.MADE, Reason(), capability
    wrong = tuple(
        name for name, value in arguments.items() if not _may(name, value, declared, seen)
    )
    unsettled = seen.foreign and not (seen.settled and seen.settled[call] > 0)
    if wrong or unsettled:
        return Judged.ASKED, Reason(wrong, unsettled), None
    return Judged.MADE, Reason(), None


def _may(name: str, value: Any, declared: Declared, seen: Seen) -> bool:
    if name in declared.among:
        return any(type(value) is type(each) and value == each for each in declared.among[name])
    match declared.arguments.get(name, From.NAMED):
        case From.ANY:
            return True
        case From.TRUSTED:
            return seen.trusted.hold(value)
        case _:
            return seen.said.hold(value)


class Monitor:
    """Decides whether a process may make a call."""

    def check(self, process: Process, call: Syscall) -> None:
        """Return when the call may be made.

        Raises:
            CallDenied: Its effect is not allowed.
            BudgetExceeded: The process has no calls left.
        """
        left = process.remaining().calls
        if left is not None and left < 1:
            raise BudgetExceeded(f"Process {process.pid} has used up its budget of calls.")
        if call.effect not in _HARMLESS:
            raise CallDenied(
                f"{call.name} was not made: nothing has been granted that allows its effect"
                f" ({call.effect})."
            )
