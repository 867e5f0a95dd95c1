"""How a small model gets its calls right: help that is generic.

For each message the guide chooses by meaning whether and what to call (``choose.py``), then brings
in at the tail only the chosen call with its nearest worked example, binds the arguments to the
person's own words (``fill.py``), and lets the model say the result in one of the ways the tool
declares, so that the figure a person reads is the figure the tool gave. The front of the window
stays as it was; the card of a call is gone after it.

Models that choose well by themselves need none of this (``engine.tool_help``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from llmos.engine.gbnf import Expr, Grammar, alt, seq
from llmos.errors import GrammarError
from llmos.events import Message, ToolCall
from llmos.kernel.choose import Choice, Chooser, Embed
from llmos.kernel.fill import OPENING, call_grammar
from llmos.kernel.syscalls import Outcome, Syscall
from llmos.memory.journal import new_id

__all__ = ["Guide", "Step", "Steps", "chat_bank"]

_TRIES = 3  # argument readings tried before the error is the answer


@cache
def chat_bank() -> tuple[str, ...]:
    """Ordinary turns that need no call; one a line in ``chat_bank.txt``."""
    text = files("llmos.kernel").joinpath("chat_bank.txt").read_text("utf-8")
    return tuple(line for line in text.splitlines() if line.strip())


@dataclass(frozen=True, slots=True)
class Step:
    """One call to have written: the grammar that binds it."""

    grammar: str


@dataclass(slots=True)
class _Planned:
    choice: Choice
    call: ToolCall | None = None
    refused: list[dict[str, Any]] = field(default_factory=list)
    outcome: Outcome | None = None
    error: str = ""

    @property
    def open(self) -> bool:
        """Whether its arguments are still to be written."""
        return self.call is None


class Steps:
    """What one turn is to do: its calls, then the reply.

    Args:
        chooser: Knows the worked examples.
        choices: The calls, in order; none for an ordinary turn.
    """

    def __init__(self, chooser: Chooser, choices: Sequence[Choice]) -> None:
        self._chooser = chooser
        self._planned = [_Planned(choice) for choice in choices]
        self._made: list[_Planned] = []

    def next_call(self) -> Step | None:
        """The next call to have written; None when all are."""
        for planned in self._planned:
            if planned.open:
                choice = planned.choice
                try:
                    return Step(call_grammar(choice.call, choice.clause, planned.refused))
                except GrammarError:
                    self._planned.remove(planned)  # nothing is left to try
                    return self.next_call()
        return None

    def take(self, written: str) -> None:
        """The model wrote the call that ``next_call`` asked for."""
        planned = next(p for p in self._planned if p.open)
        arguments = json.loads(written.removeprefix(OPENING))
        planned.call = ToolCall(new_id(), planned.choice.call.name, arguments)

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that are written and not yet made."""
        self._made = [p for p in self._planned if p.call is not None and p.outcome is None]
        return tuple(p.call for p in self._made if p.call is not None)

    def answered(self, call: ToolCall, outcome: Outcome, error: str) -> None:
        """A call was made. One that failed is written anew, as long as there is another way."""
        planned = next(p for p in self._planned if p.call is call)
        planned.outcome, planned.error = outcome, error
        if error in ("call_failed", "invalid_arguments") and len(planned.refused) < _TRIES - 1:
            planned.refused.append(call.arguments)
            try:
                call_grammar(planned.choice.call, planned.choice.clause, planned.refused)
            except GrammarError:
                return  # no other way: the error is the answer
            planned.call, planned.outcome, planned.error = None, None, ""

    def call_messages(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation with the card of the next call at its tail."""
        planned = next(p for p in self._planned if p.open)
        choice = planned.choice
        worked = choice.call.worked[self._chooser.nearest(choice.call, choice.clause)]
        names = ", ".join(choice.call.schema.get("properties", {}))
        card = (
            f"Tool {choice.call.name}({names}): {choice.call.description}\n"
            f"Question: {worked.question}\n"
            f"{OPENING}{json.dumps(dict(worked.arguments), ensure_ascii=False)}\n"
            f"Question: {choice.clause}"
        )
        return [*_plain(messages), Message("system", card)]

    def reply_messages(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation as the model sees it when it replies."""
        return _plain(messages)

    def reply_grammar(self) -> str:
        """Binds the reply to the results; empty where there are none or one failed."""
        answered = [p for p in self._planned if p.outcome is not None]
        if not answered or any(p.error or not (p.outcome and p.outcome.said) for p in answered):
            return ""
        sentences: list[Expr | str] = []
        for planned in answered:
            assert planned.outcome is not None
            said = _telling(planned, several=len(answered) > 1)
            sentences += [" " if sentences else "", alt(*(f"{phrase}." for phrase in said))]
        return Grammar().render(seq(*sentences))


class Guide:
    """Chooses calls for a model that cannot.

    Args:
        embed: The embedder's ``embed``.
        cache: A file that keeps what was fitted.
    """

    def __init__(self, embed: Embed, cache: Path | None = None) -> None:
        self._embed = embed
        self._cache = cache
        self._fitting: asyncio.Task[Chooser] | None = None
        self._names: tuple[str, ...] = ()

    def prepare(self, calls: Sequence[Syscall]) -> asyncio.Task[Chooser]:
        """Fit the chooser to ``calls`` in the background, once."""
        names = tuple(call.name for call in calls)
        if self._fitting is None or names != self._names:
            self._names = names
            work = asyncio.to_thread(Chooser, calls, self._embed, chat_bank(), self._cache)
            self._fitting = asyncio.create_task(work, name="fit chooser")
        return self._fitting

    async def plan(self, history: Sequence[Message], calls: Sequence[Syscall]) -> Steps:
        """What the turn that answers the newest message is to do."""
        chooser = await self.prepare(calls)
        message = history[-1].content if history and history[-1].role == "user" else ""
        choices = await asyncio.to_thread(chooser.choose, message) if message else []
        return Steps(chooser, choices)


def _plain(messages: Sequence[Message]) -> list[Message]:
    """Without the assistant's bare calls: the model is shown questions, results and answers."""
    return [m for m in messages if not (m.role == "assistant" and m.calls and not m.content)]


def _telling(planned: _Planned, *, several: bool) -> tuple[str, ...]:
    """The ways to say a result; of several results each is said with a value from its call."""
    assert planned.outcome is not None
    assert planned.call is not None
    said = planned.outcome.said
    values = [str(v).lower() for v in planned.call.arguments.values() if v]
    telling = tuple(s for s in said if any(v in s.lower() for v in values))
    return telling if several and telling else said
