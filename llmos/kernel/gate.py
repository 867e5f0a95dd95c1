"""The gate: every system call passes it before it is made.

Has the monitor's rules judge, asks the person where they say so, and keeps what was asked and
answered. The rules are ``monitor.py``, what they know of a caller ``standing.py``; the words of a
question are made by the kernel, from the literal arguments (``asking.py``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmos import limits
from llmos.credentials import without
from llmos.errors import CallDenied, StoreError
from llmos.events import CallAsked, Message, ToolCall
from llmos.kernel.asking import always, question
from llmos.kernel.monitor import HARMLESS, Judged, Judgement, judge
from llmos.kernel.policy import Policy
from llmos.kernel.process import LiveTurn, Process
from llmos.kernel.questions import Answered, Questions
from llmos.kernel.standing import Standings
from llmos.kernel.syscalls import Invocation, Previewed, Syscall
from llmos.kernel.turn import Turn
from llmos.labels import Label, Origin
from llmos.memory.grants import Grant, Grants
from llmos.memory.journal import Journal, new_id
from llmos.memory.pages import Kind

__all__ = ["Gate", "Passed"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Passed:
    """That a call may be made.

    Args:
        seen: Of the preview that the person agreed to; empty where there was none.
    """

    seen: str = ""


class Gate:
    """Lets calls pass, or denies them.

    Args:
        journal: Knows what was said, and keeps what was asked.
        grants: Takes what is allowed for longer.
        questions: Ask the person.
        standings: Tell what is known of a caller.
        policy: What the person's settings say of calls.
    """

    def __init__(
        self,
        journal: Journal,
        grants: Grants,
        questions: Questions,
        standings: Standings,
        policy: Policy | None = None,
    ) -> None:
        self._journal = journal
        self._grants = grants
        self._questions = questions
        self._standings = standings
        self._policy = policy or Policy()

    async def admit(self, turn: Turn, row: Syscall, call: ToolCall) -> Passed:
        """Return when the call may be made.

        Args:
            turn: The turn it belongs to.
            row: What is called.
            call: As the model wrote it, its arguments checked against the schema.

        Raises:
            CallDenied: It may not; the sentence is for the model and for the person.
        """
        if self._policy.forbids(row.name):
            raise CallDenied(f"{row.name} was not made: the settings forbid it ([policy] never).")
        if row.declared.effect in HARMLESS and not self._policy.asks(row.name):
            return Passed()
        async with turn.judging:  # two at once could each be the one that was settled
            judgement, verdict = await self._judged(turn, row, call)
            if judgement.judged is Judged.MADE:
                _made(turn, call)
                why = json.dumps({"effect": row.effect})
                made = Message(Kind.VERDICT, why, call_id=call.id, name=verdict)
                await self.keep(turn, made)
                return Passed()
        passed = await self._ask(turn, row, call, judgement)
        _made(turn, call)
        return passed

    async def _judged(self, turn: Turn, row: Syscall, call: ToolCall) -> tuple[Judgement, str]:
        """What becomes of a call, and by what where it is made."""
        standing = await self._standings.of(turn, row.owner)
        now, ask = time.time(), self._policy.asks(row.name)
        judgement = judge(row.name, row.declared, call.arguments, standing.seen, now, ask=ask)
        if judgement.judged is Judged.ASKED:
            seen = await standing.explained()
            judgement = judge(row.name, row.declared, call.arguments, seen, now, ask=ask)
        if judgement.capability is not None:
            return judgement, f"granted {judgement.capability.grant}"
        return judgement, "made"

    # --- asking -----------------------------------------------------------------------------

    async def _ask(self, turn: Turn, row: Syscall, call: ToolCall, judgement: Judgement) -> Passed:
        process = turn.process
        person = process.spokesman
        preview = await self._preview(process, row, call.arguments)
        lasting = None if self._policy.asks(row.name) else always(row, call.arguments)
        number = person.live.number if person.live is not None else turn.number
        asked = question(
            person.pid, number, row, call, judgement, preview=preview.text, lasting=lasting
        )
        held = _held(process)
        for live in held:
            live.pause()
        try:
            answer = await self._questions.ask(asked)
        finally:
            for live in held:
                live.go_on()
        await self.keep(turn, _said(asked, answer, row.effect))
        if answer in (Answered.NO, Answered.NOBODY):
            why = " ".join(asked.reasons)
            said = "the person said no" if answer is Answered.NO else "nobody was there to allow it"
            raise CallDenied(f"{row.name} was not made: {said}. {why}".strip())
        if answer in (Answered.CONVERSATION, Answered.ALWAYS) and lasting is not None:
            pid = person.pid if answer is Answered.CONVERSATION else 0
            grant = Grant(
                call=lasting.call,
                arguments=lasting.arguments,
                patterns=lasting.patterns,
                pid=pid,
                why=asked.always,
                owner=row.owner,
            )
            try:
                await self._grants.give(grant)
            except StoreError as error:  # it is allowed this once all the same
                log.warning("the grant is not kept: %s", error)
        return Passed(preview.seen)

    async def _preview(
        self, process: Process, row: Syscall, arguments: Mapping[str, Any]
    ) -> Previewed:
        if row.preview is None:
            return Previewed("")
        return await row.preview(Invocation(process), arguments)

    async def keep(self, turn: Turn, message: Message) -> None:
        """Keep what belongs to a call; it is forgotten with the message that called.

        Raises:
            StoreError: It cannot be kept.
        """
        label = Label(Origin.SYSTEM, await asyncio.to_thread(self._calling, turn))
        await self._journal.append(
            turn.process.pid, message, turn=turn.number, label=label, id=new_id()
        )

    def _calling(self, turn: Turn) -> tuple[str, ...]:
        """The id of the message in which the turn's calls stand that are under way."""
        records = self._journal.records(turn.process.pid, role=Kind.ASSISTANT)
        return tuple(r.stored.id for r in records[-1:] if r.stored.turn == turn.number)


def _said(asked: CallAsked, answer: Answered, effect: str) -> Message:
    """What was asked, word for word but for keys in what would change, and the answer."""
    content = json.dumps(
        {
            "call": asked.call.name,
            "effect": effect,
            "title": asked.title,
            "reasons": list(asked.reasons),
            "arguments": [list(each) for each in asked.arguments],
            "preview": without(asked.preview)[: limits.QUESTION_VALUE_CHARS],
            "answer": answer.value,
        },
        ensure_ascii=False,
    )
    return Message(Kind.VERDICT, content, call_id=asked.call.id, name=answer.value)


def _held(process: Process) -> list[LiveTurn]:
    """The turns that wait with a question of a process: its own, and all it works for."""
    turns, each = [], process
    while True:
        if each.live is not None:
            turns.append(each.live)
        if each.employer is None:
            return turns
        each = each.employer


def _made(turn: Turn, call: ToolCall) -> None:
    """What was settled and is made now is not left any more."""
    turn.made.append((call.name, call.arguments))
    if turn.process.settled is not None:
        # Found anew: while the person was asked, one like it may have used that one up.
        slot = turn.process.settled.find(call.name, call.arguments, time.time())
        if slot is not None:
            turn.process.settled.spend(slot)
