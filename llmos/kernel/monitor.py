"""The reference monitor's rules: what becomes of a system call.

Plain code, no model. What a call does (its effect) and where its arguments may come from stand in
its declaration; the person's words, the labels of what the process was shown, and what was granted
tell the rest. The rules:

1. What only computes, or reads what is the caller's own, is made.
2. An argument must come from where its declaration says it may: from the person's own words, from
   those or a trusted result, from a list of the call's own, or from anywhere.
3. While a process has been shown nothing by strangers, what it does is the person's task, and a
   call that keeps rule 2 is made. From then on it must be one of the calls that were settled from
   the person's words, as often as was settled, with the arguments that were settled. A call that
   is asked for settles those, too, a few times, that its declaration says it leads to: a search,
   the reading of pages.
4. From then on also, wherever a text that others will read would lead them (links, accounts,
   addresses within a message) must be something the person or a trusted result named. So text by
   strangers can inform what is written; it chooses no recipient, no file, no amount, no link, and
   no further call.
5. A process that was shown both strangers' text and what is the person's own makes a call only
   where every argument was named by the person: a free one could carry the one to the other.
6. What a person granted holds for the arguments that the grant names, against all of these; the
   others are judged as if there were no grant.
7. A change whose argument neither the person nor a trusted result named is asked where a call
   before it failed, whose result it may have been to hold.
8. A change that the person may only have spoken of is asked, whatever was granted: "he told me to
   delete a.txt" is no order. What they forbid is not even planned.
9. Everything else is asked, with the literal arguments and where each comes from; where nobody is
   there to answer, it is denied, and the model can read why.
10. Settings tighten this, never loosen it: calls that are never made, calls that are always asked.

What is missing gets the strictest reading: an unknown effect is a change of the world, an argument
without a word about it must be named by the person, a process of which nothing is known was shown
everything. A truth value cannot be named: it is taken where it is the call's default, or declared.

What the rules do not promise: of values that are trusted, or that the person named for something
else, a stranger may bring about the choice, unless the arguments were settled, too; and a text that
is free may say anything but where to go. What a person pastes, they said. A value that the reader
found (``reader.py``) is no stranger's text: a stranger chose it within its kind, and a call with
free arguments, or with what the person named, may be made because of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from llmos.kernel import addresses
from llmos.kernel.capabilities import Capabilities, Capability, same
from llmos.kernel.provenance import Words, leaves

__all__ = [
    "HARMLESS",
    "Declared",
    "From",
    "Judged",
    "Judgement",
    "Seen",
    "Shown",
    "Value",
    "judge",
    "settle",
]

#: Effects that concern nobody but the caller.
HARMLESS = frozenset({"pure", "read", "process", "memory"})
_EACH_TIME = "Your settings have it asked each time."
_DOUBTED = "Your words may only speak of this, not ask for it."
#: Effects that stay on the machine: what is written there nobody else reads.
_WITHIN = frozenset({"write", "execute"})


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
        defaults: By name, what the call takes where nothing is said; to say it changes nothing.
    """

    effect: str = "write"
    arguments: Mapping[str, From] = field(default_factory=dict)
    among: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown:
    """A text by strangers that a process was shown.

    Args:
        name: Of the page, for a person: an address, a file.
        words: Its text.
    """

    name: str
    words: Words


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a process when it calls.

    Args:
        said: What the person said.
        trusted: What trusted calls and the system said; that of the person may be with it.
        foreign: Whether it was shown anything by strangers.
        private: Whether it was shown what is the person's own and not to be told to others.
        settled: The calls of this turn that were settled before it was shown anything by
            strangers and are not made yet: how often, and with which arguments where these were
            settled, too; None where nothing was settled.
        granted: What the person allowed.
        shown: The texts by strangers, so that a question can say where a value comes from.
        read: Values that were read from texts by strangers it was not shown.
        missing: Calls before this one that failed, with none tried since that gives something.
        doubted: Calls of this turn that the person may only have spoken of (``orders.py``).
    """

    said: Words
    trusted: Words
    foreign: bool = True
    private: bool = True
    settled: Capabilities | None = None
    granted: Capabilities = field(default_factory=Capabilities)
    shown: Sequence[Shown] = ()
    read: Sequence[Shown] = ()
    missing: Sequence[str] = ()
    doubted: frozenset[str] = frozenset()


class Judged(StrEnum):
    """What becomes of a call."""

    MADE = "made"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Value:
    """An argument of a call that is asked, as a person is shown it.

    Args:
        name: Of the argument.
        value: Literally.
        source: ``person``, ``trusted``, ``declared`` (a default, or on the call's own list),
            ``granted``, ``read`` (the reader found it in a text that was not shown), ``shown``
            (it, or some of it, stands in a text by strangers) or ``unknown`` (the model wrote it).
        pages: Names of the texts that it was read from, or by strangers in which it, or some of
            it, stands.
        wrong: Whether it is why the call is asked.
    """

    name: str
    value: Any
    source: str
    pages: tuple[str, ...] = ()
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a call, and why.

    Args:
        judged: Made or asked.
        capability: The grant that it is made by; a grant is not used up.
        reasons: Why it is asked, in sentences for a person and for the model.
        arguments: Every argument of a call that is asked.
    """

    judged: Judged
    capability: Capability | None = None
    reasons: tuple[str, ...] = ()
    arguments: tuple[Value, ...] = ()


def judge(
    call: str,
    declared: Declared,
    arguments: Mapping[str, Any],
    seen: Seen,
    now: float,
    *,
    ask: bool = False,
) -> Judgement:
    """What becomes of one call. Changes nothing: who makes the call spends what it used.

    Args:
        call: Its name.
        declared: What its declaration says.
        arguments: As it is to be made; defaults filled in by the tool are its own.
        seen: What is known of the caller.
        now: Seconds since the epoch.
        ask: Whether the person wants to be asked each time, whatever was granted.
    """
    if declared.effect in HARMLESS and not ask:
        return Judgement(Judged.MADE)
    slot, settled = _slot(call, arguments, seen, now)
    case = _Case(declared, arguments, seen, slot, frozenset())
    if ask:
        return Judgement(Judged.ASKED, None, (_EACH_TIME,), tuple(case.values()))
    reasons = tuple(case.reasons(settled))
    if call in seen.doubted:  # what is allowed whenever it is wanted may not be wanted now
        return Judgement(Judged.ASKED, None, (_DOUBTED, *reasons), tuple(case.values()))
    if not reasons:
        return Judgement(Judged.MADE)
    grant = seen.granted.find(call, arguments, now)
    if grant is not None:
        case = _Case(declared, arguments, seen, slot, grant.named)
        reasons = tuple(case.reasons(True))
        if not reasons:
            return Judgement(Judged.MADE, grant)
    return Judgement(Judged.ASKED, None, reasons, tuple(case.values()))


def settle(call: str, arguments: Mapping[str, Any], said: Words) -> Capability:
    """That the turn is to make a call once, with those of its arguments that the person named.

    Args:
        call: Its name.
        arguments: As somebody planned them who was shown the person's words alone; those that do
            not stand there are left open.
        said: What the person said.
    """
    named = {name: value for name, value in arguments.items() if _chosen(value, said)}
    return Capability(call, named, uses=1, whole=True)


def _chosen(value: Any, said: Words) -> bool:
    return not _blank(value) and said.hold(value)


def _slot(
    call: str, arguments: Mapping[str, Any], seen: Seen, now: float
) -> tuple[Capability | None, bool]:
    """What was settled that the call is, and whether it may be made as far as that goes."""
    slot = seen.settled.find(call, arguments, now) if seen.settled is not None else None
    return slot, slot is not None or not seen.foreign


@dataclass(frozen=True, slots=True)
class _Case:
    """One call and all that is known of it; ``granted`` are the arguments a grant speaks for."""

    declared: Declared
    arguments: Mapping[str, Any]
    seen: Seen
    slot: Capability | None
    granted: frozenset[str]

    def reasons(self, settled: bool) -> Iterator[str]:
        """Why it cannot simply be made."""
        wrong = [name for name in self.arguments if not self._may(name)]
        if wrong:
            yield f"{_listed(wrong)} did not come from you."
        if not settled:
            yield "Your words did not ask for this call, or not once more."
        strange = [name for name in self.arguments if self._leads_away(name)]
        if strange:
            yield f"A link, an address or an account in {_listed(strange)} was not named by you."
        if self.seen.foreign and self.seen.private and any(map(self._free, self.arguments)):
            yield "It could tell others what is yours, for texts by strangers were read, too."
        if self.seen.missing:
            unknown = [name for name in self.arguments if self._source(name) == "unknown"]
            if unknown:
                missing = ", ".join(self.seen.missing)
                yield f"{missing} failed, so {_listed(unknown)} may be made up."

    def values(self) -> Iterator[Value]:
        """Every argument, and where it comes from."""
        for name, value in self.arguments.items():
            source = self._source(name)
            pages: tuple[str, ...] = ()
            if source == "unknown":
                for told, texts in (("read", self.seen.read), ("shown", self.seen.shown)):
                    pages = tuple(each.name for each in texts if each.words.echo(value))
                    if pages:
                        source = told
                        break
            yield Value(name, value, source, pages, not self._may(name) or self._leads_away(name))

    def _source(self, name: str) -> str:
        value = self.arguments[name]
        if name in self.granted:
            return "granted"
        if self._declared(name):
            return "declared"
        if self.seen.said.hold(value):
            return "person"
        return "trusted" if self._trusted(value) else "unknown"

    def _trusted(self, value: Any) -> bool:
        return all(self.seen.said.hold(x) or self.seen.trusted.hold(x) for x in leaves(value))

    def _declared(self, name: str) -> bool:
        """Whether the call itself gives the value, so that nobody chose it."""
        value, defaults = self.arguments[name], self.declared.defaults
        if name in defaults:
            default = defaults[name]
            if same(value, default) or (_blank(value) and _blank(default)):
                return True
        elif _blank(value) and value != "":
            return True
        return any(same(value, each) for each in self.declared.among.get(name, ()))

    def _may(self, name: str) -> bool:
        """Whether it comes from where it may."""
        if name in self.granted or self._declared(name):
            return True
        if name in self.declared.among:
            return False
        value, said = self.arguments[name], self.seen.said
        source = self.declared.arguments.get(name, From.NAMED)
        if source is From.ANY:
            return True
        if _blank(value):
            return False
        if self.slot is not None and self.slot.whole and name not in self.slot.named:
            # What the person named for this call is known: what else they named was not for it.
            return source is From.TRUSTED and not said.hold(value) and self._trusted(value)
        return said.hold(value) or (source is From.TRUSTED and self._trusted(value))

    def _leads_away(self, name: str) -> bool:
        """Whether a text in it leads others somewhere that nobody trusted named."""
        if not self.seen.foreign or name in self.granted or self.declared.effect in _WITHIN:
            return False
        said, trusted = self.seen.said, self.seen.trusted
        return any(
            not (said.leads(each) or trusted.leads(each))
            for leaf in leaves(self.arguments[name])
            if isinstance(leaf, str)
            for each in addresses.found(leaf)
        )

    def _free(self, name: str) -> bool:
        """Whether it could carry something that was read."""
        return not (
            name in self.granted
            or self._declared(name)
            or self.seen.said.hold(self.arguments[name])
        )


def _blank(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {} or value == ()


def _listed(names: Sequence[str]) -> str:
    *most, last = (f"“{name}”" for name in names)
    return f"{', '.join(most)} and {last}" if most else last
