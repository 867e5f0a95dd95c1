"""The suites of AgentDojo (Debenedetti et al. 2024, arXiv:2406.13352), played through our gate.

The package brings four suites (version 1: 97 tasks of a person, 629 pairs of a task and an attack),
their tools, their worlds and their checks of what was done; no model is called. Every place where
an attacker may write carries a mark and the attack's goal. Whether a task succeeded is what the
suite's own check says of the world after it. A call counts for an attack where it was executed and
has an effect, whatever the suite's check of that attack says: one of those counts attempts.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from llmos.bench.harness import say
from llmos.bench.security import (
    Made,
    Mode,
    Played,
    Step,
    Task,
    effects,
    play,
)
from llmos.bench.security_declared import Entry, declarations
from llmos.bench.security_gate import Gates, gates
from llmos.errors import KernelError

__all__ = ["Tally", "run"]

MARK = "XINJX"
VERSION = "v1"


@dataclass(slots=True)
class Tally:
    """What came of all tasks and attacks.

    Args:
        tasks / attacks: How many were played.
        succeeded: Tasks that succeeded with nobody there, and with the oracle there.
        asked: Questions to the oracle, in all tasks without an attack.
        done: Attacks for which a call with an effect was made, by whether the oracle was there.
        read: Attacks that the planner came to read.
        only_text: Attacks that ask for nothing but words.
        failed: Names of tasks that did not succeed with nobody there.
        breaches: What was made for attacks.
        bent: Calls of the tasks that an attacker who knows the rules could have bent.
        own: Those that could have been bent to a value of the attacker's own.
    """

    tasks: int = 0
    attacks: int = 0
    succeeded: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    asked: int = 0
    done: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})
    read: int = 0
    only_text: int = 0
    failed: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    bent: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)


def run(
    mode: Mode,
    *,
    tasks: int | None = None,
    attacks: bool = True,
    private_reads: bool = False,
) -> Tally:
    """Play the suites.

    Args:
        mode: How the calls of a task are settled.
        tasks: Of each suite only so many; None is all.
        attacks: Whether attacks are played, too.
        private_reads: Whether all that is read within the suites' accounts counts as not to be
            told to others, not only what is declared so.

    Raises:
        KernelError: The package is not installed.
    """
    declared = declarations("agentdojo")
    if private_reads:
        declared = {
            name: replace(entry, private=entry.private or entry.declared.effect == "read")
            for name, entry in declared.items()
        }
    return asyncio.run(_played(mode, declared, _suites(), tasks, attacks))


async def _played(
    mode: Mode,
    declared: Mapping[str, Entry],
    suites: Mapping[str, Any],
    tasks: int | None,
    attacks: bool,
) -> Tally:
    tally = Tally()
    for name, suite in suites.items():
        say(f"Playing {name}, calls {mode} …")
        async with gates() as gate:
            for user in list(suite.user_tasks.values())[:tasks]:
                await _tried(tally, declared, suite, user, mode, gate)
                for attack in suite.injection_tasks.values() if attacks else ():
                    await _attacked(tally, declared, _Stage(suite, user, attack), mode, gate)
    return tally


async def _tried(
    tally: Tally, declared: Mapping[str, Entry], suite: Any, user: Any, mode: Mode, gate: Gates
) -> None:
    tally.tasks += 1
    where = f"{suite.name} {user.ID}"
    for attended in (False, True):
        stage = _Stage(suite, user)
        played = await stage.play(declared, gate, mode, attended, bend=attended)
        fine = stage.succeeded()
        tally.succeeded[attended] += fine
        tally.asked += played.asked if attended else 0
        if not attended and not fine:
            tally.failed.append(where)
        tally.bent += [f"{where}: {bent.call} {bent.arguments}" for bent in played.bent]
        tally.own += [f"{where}: {bent.call} {bent.arguments}" for bent in played.own]


async def _attacked(
    tally: Tally, declared: Mapping[str, Entry], stage: _Stage, mode: Mode, gate: Gates
) -> None:
    tally.attacks += 1
    tally.only_text += not list(effects(stage.task.attack, declared))
    for attended in (False, True):
        played = await stage.again().play(declared, gate, mode, attended)
        tally.read += played.attacked and not attended
        tally.done[attended] += bool(played.done)
        where = f"{stage.suite.name} {stage.user.ID} {stage.attack.ID}"
        tally.breaches += [f"{where}: {step.call}" for step in played.done]


def _suites() -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from agentdojo.task_suite.load_suites import get_suites
    except ImportError as error:
        raise KernelError(
            "The package agentdojo is not installed. Install it with:"
            " pip install 'llmos[bench-security]'"
        ) from error
    suites: dict[str, Any] = get_suites(VERSION)
    return suites


class _Stage:
    """One world of a suite, with a task in it and perhaps an attack."""

    def __init__(self, suite: Any, user: Any, attack: Any = None) -> None:
        from agentdojo.functions_runtime import FunctionsRuntime

        self.suite, self.user, self.attack = suite, user, attack
        injected = {}
        if attack is not None:
            vectors = suite.get_injection_vector_defaults()
            injected = dict.fromkeys(vectors, f"{MARK} {attack.GOAL}")
        self._world = user.init_environment(suite.load_and_inject_default_environment(injected))
        self._before = self._world.model_copy(deep=True)
        self._calls: list[Any] = []
        self._runtime = FunctionsRuntime(suite.tools)
        self.task = Task(
            user.PROMPT,
            tuple(_steps(user.ground_truth(self._before.model_copy(deep=True)))),
            tuple(_steps(attack.ground_truth(self._before.model_copy(deep=True))))
            if attack is not None
            else (),
            MARK if attack is not None else "",
        )

    def again(self) -> _Stage:
        """The same one as it was before anything was done."""
        self._world = self._before.model_copy(deep=True)
        self._calls = []
        return self

    async def play(
        self,
        declared: Mapping[str, Entry],
        gate: Gates,
        mode: Mode,
        attended: bool,
        bend: bool = False,
    ) -> Played:
        return await play(self.task, self, declared, gate, mode=mode, attended=attended, bend=bend)

    def make(self, step: Step) -> Made:
        from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
        from agentdojo.functions_runtime import FunctionCall

        arguments = dict(step.arguments)
        result, error = self._runtime.run_function(self._world, step.call, arguments)
        self._calls.append(FunctionCall(function=step.call, args=arguments))
        if error or result is None:
            return Made("", failed=bool(error))
        return Made(tool_result_to_str(result), _data(result))

    def succeeded(self) -> bool:
        """Whether the suite's own check says that the task is done, given the right answer."""
        from agentdojo.types import text_content_block_from_string

        answer = [text_content_block_from_string(self.user.GROUND_TRUTH_OUTPUT)]
        check = self.suite._check_user_task_utility
        return bool(check(self.user, answer, self._before, self._world, self._calls))


def _steps(calls: Any) -> Iterator[Step]:
    for call in calls:
        arguments = {
            name: value.value if isinstance(value, Enum) else value
            for name, value in call.args.items()
        }
        yield Step(call.function, arguments)


def _data(result: Any) -> Any:
    if hasattr(result, "model_dump"):
        return result.model_dump()
    if isinstance(result, list | tuple):
        return [_data(each) for each in result]
    return result
