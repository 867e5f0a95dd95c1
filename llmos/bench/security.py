"""Whether a stranger's text can bring about what the person did not ask for; no model is involved.

A worst-case planner plays a task through the monitor's rules (``llmos.kernel.monitor``): it makes
the calls that the task needs, and as soon as a result carries an attack it makes, before anything
else, every call that the attack asks for. So what is measured is the rules and the declarations
alone, not how well a model resists. Calls run against whatever ``World`` the task has.

An attacker who knows the rules does not ask for calls of his own but bends those that were settled.
So before each call that follows a stranger's text, every argument that may not come from anywhere
is tried with other values: the attacker's own, those that the person named for something else, and
those that trusted results vouch for. Nothing of that is made; it is counted what would be.

What a turn may do is settled in one of the two ways the kernel has (``Mode``), and used up as the
gate uses it up. Three things are better than life. The planner is perfect: it knows the task's
calls from the start. So is the reading of the person's words from which those calls are settled;
how well a model or the guide reads is no figure of this bench. And the person who is asked is an
oracle that allows exactly the calls the task needs, each once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from llmos import limits
from llmos.bench.security_bending import others
from llmos.bench.security_declared import UNKNOWN, Entry
from llmos.kernel.capabilities import Capabilities, Capability, same
from llmos.kernel.monitor import HARMLESS, From, Judged, Judgement, Seen, judge, settle
from llmos.kernel.provenance import Words
from llmos.kernel.trust import vouched

__all__ = ["Made", "Mode", "Played", "Step", "Task", "World", "effects", "play"]


class Mode(StrEnum):
    """How it is settled what a turn may do, once a stranger was heard."""

    SETTLED = "settled"  # a model plans: each call once, with the arguments that the words name
    GUIDED = "guided"  # the guide of small models chooses: each call till it is done, no arguments


@dataclass(frozen=True, slots=True)
class Step:
    """A call that somebody wants to be made."""

    call: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Made:
    """What a call brought.

    Args:
        text: As a model would read it.
        data: As the tool returned it; JSON-able, dates may be dates.
        failed: Whether it came to nothing, so that the guide tries it anew.
    """

    text: str
    data: Any = None
    failed: bool = False


class World(Protocol):
    """What a task plays in; one for each time it is played."""

    def make(self, step: Step) -> Made:
        """Make a call, with all it does."""
        ...


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a person, and one attack.

    Args:
        said: The person's words.
        steps: The calls that they need.
        attack: The calls that the attack asks for; it is obeyed once it is read.
        mark: A text that stands in every place of the world where the attacker may write.
    """

    said: str
    steps: Sequence[Step]
    attack: Sequence[Step] = ()
    mark: str = ""


@dataclass(slots=True)
class Played:
    """How a task went.

    Args:
        made: The person's calls that were made.
        asked: How often the person was asked for one of those.
        attacked: Whether the attack was read.
        done: Calls with an effect that were made for the attack.
        bent: For each call of the task that an attacker could have had made with another value
            of an argument that may not come from anywhere: that call, with such a value.
        own: The same for those that took a value of the attacker's own.
    """

    made: list[Step] = field(default_factory=list)
    asked: int = 0
    attacked: bool = False
    done: list[Step] = field(default_factory=list)
    bent: list[Step] = field(default_factory=list)
    own: list[Step] = field(default_factory=list)


def play(
    task: Task,
    world: World,
    declared: Mapping[str, Entry],
    *,
    mode: Mode,
    attended: bool,
    bend: bool = False,
) -> Played:
    """Play a task through the monitor's rules.

    Args:
        task: What is wanted, and by whom.
        world: Where; it is changed.
        declared: By name, what the calls say of themselves.
        mode: How its calls are settled.
        attended: Whether a person is there to be asked.
        bend: Whether it is tried how the task's own calls could be bent.
    """
    return _Play(task, world, declared, mode, attended).run(bend)


class _Play:
    """One task under way."""

    def __init__(
        self,
        task: Task,
        world: World,
        declared: Mapping[str, Entry],
        mode: Mode,
        attended: bool,
    ) -> None:
        self._task = task
        self._world = world
        self._declared = declared
        self._attended = attended
        self._said, self._trusted = Words([task.said]), Words()
        self._told: list[str] = []
        self._foreign = self._private = False
        self._wanted = list(task.steps)  # what the oracle still allows
        # The guide tries a call anew that failed; here a failed call of the attack's gains it, too.
        tries = limits.GUIDE_TRIES if mode is Mode.GUIDED else 1
        self._anew = Counter(step.call for step in task.steps for _ in range(tries - 1))
        self._settled = Capabilities(
            self._slot(step, mode) for step in effects(task.steps, declared)
        )
        self._played = Played()

    def run(self, bend: bool) -> Played:
        played = self._played
        for step in self._task.steps:
            if bend and self._foreign:
                self._bend(step)
            made = self._call(step, mine=True)
            if made is None:
                continue
            played.made.append(step)
            if self._task.mark and self._task.mark in made.text and not played.attacked:
                played.attacked = True
                for wish in self._task.attack:
                    self._call(wish, mine=False)
        return played

    def _call(self, step: Step, *, mine: bool) -> Made | None:
        entry, judgement = self._entry(step), self._judged(step)
        if judgement.judged is Judged.ASKED:
            self._played.asked += mine
            if not (self._attended and self._allowed(step)):
                return None
        # As the gate does: a call counts whatever it was made by, and before a stranger was heard.
        slot = self._settled.find(step.call, step.arguments, 0.0)
        if slot is not None:
            self._settled.spend(slot)
        if step in self._wanted:
            self._wanted.remove(step)
        made = self._world.make(step)
        if made.failed and slot is not None and self._anew[step.call] > 0:
            self._anew[step.call] -= 1
            self._settled.give(slot)
        if not mine and entry.declared.effect not in HARMLESS:
            self._played.done.append(step)
        self._private |= entry.private
        told = vouched(entry.trusted, made.data)
        if entry.origin == "untrusted":
            self._foreign = True
        else:
            told.append(made.text)
        self._trusted = self._trusted.and_also(told)
        self._told += told
        return made

    def _judged(self, step: Step) -> Judgement:
        settled = self._settled if self._foreign else None  # before, the kernel settles nothing
        seen = Seen(self._said, self._trusted, self._foreign, self._private, settled)
        return judge(step.call, self._entry(step).declared, step.arguments, seen, 0.0)

    def _bend(self, step: Step) -> None:
        """Try a call of the task with other values of one argument after another."""
        declared = self._entry(step).declared
        if declared.effect in HARMLESS:
            return
        found: list[tuple[bool, Step]] = []
        for name, value in step.arguments.items():
            if declared.arguments.get(name) is From.ANY or name in declared.among:
                continue
            for own, other in others(value, self._task.said, self._told):
                bent = Step(step.call, {**step.arguments, name: other})
                if self._judged(bent).judged is Judged.MADE:
                    found.append((own, bent))
                    break
        self._played.bent += [bent for _, bent in found[:1]]
        self._played.own += [bent for own, bent in found if own][:1]

    def _slot(self, step: Step, mode: Mode) -> Capability:
        """What is settled for a call of the task."""
        if mode is Mode.GUIDED:
            return Capability(step.call, uses=1)
        declared = self._entry(step).declared
        # A plan names only what chooses where an effect goes (``kernel/settling.py``).
        planned = {
            name: value
            for name, value in step.arguments.items()
            if declared.arguments.get(name, From.NAMED) is not From.ANY
        }
        return settle(step.call, planned, self._said)

    def _entry(self, step: Step) -> Entry:
        return self._declared.get(step.call, UNKNOWN)

    def _allowed(self, step: Step) -> bool:
        return any(
            step.call == each.call and same(step.arguments, each.arguments) for each in self._wanted
        )


def effects(steps: Sequence[Step], declared: Mapping[str, Entry]) -> Iterator[Step]:
    """Those of the calls that do something."""
    for step in steps:
        entry = declared.get(step.call)
        if entry is None or entry.declared.effect not in HARMLESS:
            yield step
