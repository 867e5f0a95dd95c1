"""Whether a stranger's text can bring about what the person did not ask for; no model is involved.

A worst-case planner plays a task through the kernel's own gate (``security_gate.py``): it makes
the calls that the task needs, and as soon as a result carries an attack it makes, before anything
else, every call that the attack asks for. So what is measured is the guards and the declarations
alone, not how well a model resists. Calls run against whatever ``World`` the task has.

An attacker who knows the rules does not ask for calls of his own but bends those that were settled.
So before each call that follows a stranger's text, every argument that may not come from anywhere
is tried with other values: the attacker's own, those that the person named for something else, and
those that trusted results vouch for. Nothing of that is made; it is counted what would be.

What a turn may do is settled in one of the two ways the kernel has (``Mode``). Three things are
better than life. The planner is perfect: it knows the task's calls from the start. So is the
reading of the person's words from which those calls are settled; how well a model or the guide
reads is no figure of this bench. And the person who is asked is an oracle that allows exactly the
calls the task needs, each once.
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
from llmos.bench.security_gate import Gates, Talk
from llmos.kernel.capabilities import Capabilities, Capability, same
from llmos.kernel.monitor import HARMLESS, From, Judged, judge, settle
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


async def play(
    task: Task,
    world: World,
    declared: Mapping[str, Entry],
    gates: Gates,
    *,
    mode: Mode,
    attended: bool,
    bend: bool = False,
) -> Played:
    """Play a task through the gate of a kernel.

    Args:
        task: What is wanted, and by whom.
        world: Where; it is changed.
        declared: By name, what the calls say of themselves.
        gates: What every call passes.
        mode: How its calls are settled.
        attended: Whether a person is there to be asked.
        bend: Whether it is tried how the task's own calls could be bent.

    Raises:
        StoreError: The journal cannot be written.
    """
    return await _Play(task, world, declared, mode).run(gates, attended, bend)


class _Play:
    """One task under way."""

    def __init__(self, task: Task, world: World, declared: Mapping[str, Entry], mode: Mode) -> None:
        self._task = task
        self._world = world
        self._declared = declared
        self._guided = mode is Mode.GUIDED
        self._told: list[str] = []
        self._wanted = list(task.steps)  # what the oracle still allows
        # The guide tries a call anew that failed; here a failed call of the attack's gains it, too.
        tries = limits.GUIDE_TRIES if self._guided else 1
        self._anew = Counter(step.call for step in task.steps for _ in range(tries - 1))
        self._played = Played()
        self._talk: Talk

    async def run(self, gates: Gates, attended: bool, bend: bool) -> Played:
        settled = Capabilities(map(self._slot, effects(self._task.steps, self._declared)))
        allows = self._allowed if attended else None
        self._talk = await gates.talk(self._task.said, self._declared, settled, allows)
        if self._guided:  # it chooses before the first call, a planner is asked when it must be
            self._talk.process.settled = settled
        try:
            return await self._steps(bend)
        finally:
            gates.over(self._talk)

    async def _steps(self, bend: bool) -> Played:
        played = self._played
        for step in self._task.steps:
            if bend:
                await self._bend(step)
            made = await self._call(step, mine=True)
            if made is None:
                continue
            played.made.append(step)
            if self._task.mark and self._task.mark in made.text and not played.attacked:
                played.attacked = True
                for wish in self._task.attack:
                    await self._call(wish, mine=False)
        return played

    async def _call(self, step: Step, *, mine: bool) -> Made | None:
        entry, asked = self._entry(step), self._talk.asked
        slot = self._find(step)
        call = await self._talk.may(step.call, step.arguments)
        self._played.asked += mine and (call is None or self._talk.asked > asked)
        if call is None:
            return None
        if step in self._wanted:
            self._wanted.remove(step)
        made = self._world.make(step)
        if made.failed and slot is not None and self._anew[step.call] > 0:
            self._anew[step.call] -= 1
            self._talk.planned.give(slot)
        if not mine and entry.declared.effect not in HARMLESS:
            self._played.done.append(step)
        await self._talk.answered(call, made.text, made.data)
        self._told += vouched(entry.trusted, made.data)
        if entry.origin == "system":
            self._told.append(made.text)
        return made

    def _find(self, step: Step) -> Capability | None:
        """What is settled for a call, where the guide settled it."""
        settled = self._talk.process.settled
        return settled.find(step.call, step.arguments, 0.0) if settled is not None else None

    async def _bend(self, step: Step) -> None:
        """Try a call of the task with other values of one argument after another."""
        declared = self._entry(step).declared
        if declared.effect in HARMLESS:
            return
        seen = await self._talk.seen()
        if not seen.foreign:
            return
        found: list[tuple[bool, Step]] = []
        for name, value in step.arguments.items():
            if declared.arguments.get(name) is From.ANY or name in declared.among:
                continue
            for own, other in others(value, self._task.said, self._told):
                bent = Step(step.call, {**step.arguments, name: other})
                judgement = judge(step.call, declared, bent.arguments, seen, 0.0)
                if judgement.judged is Judged.MADE:
                    found.append((own, bent))
                    break
        self._played.bent += [bent for _, bent in found[:1]]
        self._played.own += [bent for own, bent in found if own][:1]

    def _slot(self, step: Step) -> Capability:
        """What is settled for a call of the task."""
        if self._guided:
            return Capability(step.call, uses=1)
        declared = self._entry(step).declared
        # A plan names only what chooses where an effect goes (``kernel/settling.py``).
        planned = {
            name: value
            for name, value in step.arguments.items()
            if declared.arguments.get(name, From.NAMED) is not From.ANY
        }
        return settle(step.call, planned, Words([self._task.said]))

    def _entry(self, step: Step) -> Entry:
        return self._declared.get(step.call, UNKNOWN)

    def _allowed(self, call: str, arguments: Mapping[str, Any]) -> bool:
        return any(call == each.call and same(arguments, each.arguments) for each in self._wanted)


def effects(steps: Sequence[Step], declared: Mapping[str, Entry]) -> Iterator[Step]:
    """Those of the calls that do something."""
    for step in steps:
        entry = declared.get(step.call)
        if entry is None or entry.declared.effect not in HARMLESS:
            yield step
