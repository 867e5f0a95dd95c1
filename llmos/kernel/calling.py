"""Makes a turn's system calls, side by side where they can be: through monitor and journal.

Whatever goes wrong in a call becomes data for the model. An interrupt reaches the running code,
never the accounts: every call that was begun is closed in the journal and gets a result.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from llmos import limits
from llmos.clocks import within_limit
from llmos.credentials import without
from llmos.errors import (
    BudgetExceeded,
    CallDenied,
    CallFailed,
    CallTimeout,
    InvalidArguments,
    LlmosError,
    UnknownCall,
)
from llmos.events import CallFinished, CallProgress, CallStarted, Event, Message, ToolCall
from llmos.failpoints import failpoint
from llmos.kernel.evidence import Exhibit, Exhibits, numbered
from llmos.kernel.gate import Gate, Passed
from llmos.kernel.monitor import HARMLESS
from llmos.kernel.process import Process, State
from llmos.kernel.syscalls import CODE_RAISED, Invocation, Outcome, Syscall, SyscallTable
from llmos.kernel.turn import Turn
from llmos.labels import Label, Origin, join
from llmos.memory.journal import Journal, new_id
from llmos.memory.pages import Kind
from llmos.memory.whole import whole
from llmos.services import Evidence
from llmos.visible import encodable

__all__ = ["Answer", "Caller", "within"]

T = TypeVar("T")

log = logging.getLogger(__name__)

#: Ends of calls that tell nothing but the kernel's own words and the call's own arguments; or, of a
#: call that went well and of code that raised, what the call itself has labelled.
_OWN_WORDS = frozenset(
    {
        *("", CODE_RAISED, "interrupted", CallTimeout.code),
        *(UnknownCall.code, InvalidArguments.code, CallDenied.code, BudgetExceeded.code),
    }
)
#: Effects in the order in which calls that were written together are made: what looks, what asks
#: others, what runs a program, what changes something and may need what those gave.
_RANKS = {**dict.fromkeys(HARMLESS, 0), "egress": 1, "execute": 2}
_CHANGES = 3
_AT_ONCE = 100_000  # characters that are looked through for keys in some milliseconds
_READS = frozenset({"read", "egress"})  # effects of calls that give something to read
#: The id of the call that a task belongs to; empty outside of one.
_WITHIN: ContextVar[str] = ContextVar("within", default="")


def within() -> str:
    """The id of the call that the running task belongs to; empty where it belongs to none."""
    return _WITHIN.get()


@dataclass(frozen=True, slots=True)
class Answer:
    """How one call went.

    Args:
        outcome: What the model and the person are told.
        error: A stable code; empty when it succeeded.
        seconds: How long it took.
        exhibits: What it found that an answer may cite, with the numbers its text has.
    """

    outcome: Outcome
    error: str = ""
    seconds: float = 0.0
    exhibits: tuple[Exhibit, ...] = ()


class _Stopped(Exception):
    """The person, or the turn's end, stopped a call."""


class Caller:
    """Makes calls.

    Args:
        gate: Lets calls pass.
        journal: Where calls are kept.
        exhibits: Numbers what can be cited.
        publish: Takes events.
    """

    def __init__(
        self,
        gate: Gate,
        journal: Journal,
        exhibits: Exhibits,
        publish: Callable[[Event], None],
    ) -> None:
        self._gate = gate
        self._journal = journal
        self._exhibits = exhibits
        self._publish = publish
        #: Calls for code alone: no model is shown them.
        self.for_code = SyscallTable()
        self._turns: dict[int, Turn] = {}  # by process, those whose calls are being made

    async def make(self, turn: Turn, calls: Sequence[ToolCall]) -> list[Answer]:
        """Make ``calls`` side by side; each after those before it whose results it may need.

        Where the turn runs out of time meanwhile, the calls are stopped and answered as such.

        Returns:
            An answer a call, in their order.

        Raises:
            StoreError: A call could not be journalled; those that ran are closed.
        """
        process = turn.process
        assert process.live is not None
        process.live.calls = tuple(calls)
        self._turns[process.pid] = turn
        if process.state is State.RUNNING:
            process.state = State.WAITING
        tasks = self._begun(turn, calls)
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            process.out_of_time = True
            for running in process.call_tasks:
                running.cancel()
            await asyncio.wait(tasks)
        finally:
            del self._turns[process.pid]
            process.live.calls = ()
            if process.state is State.WAITING:
                process.state = State.RUNNING
        failures = [failure for task in tasks if (failure := task.exception()) is not None]
        if failures:
            raise failures[0]
        return [task.result() for task in tasks]

    def _begun(self, turn: Turn, calls: Sequence[ToolCall]) -> list[asyncio.Task[Answer]]:
        """A task a call. Each waits for the results before it that it may need."""
        tasks = list[asyncio.Task[Answer]]()
        ranks = [_RANKS.get(self._effect(turn, call.name), _CHANGES) for call in calls]
        if any(0 < rank < _CHANGES for rank in ranks):
            turn.missing.clear()  # this is the model's new way to what it did not get before
        missed = set(turn.missing)
        for call, rank in zip(calls, ranks, strict=True):
            before = [task for task, its in zip(tasks, ranks, strict=False) if its < rank]
            work = self._after(before, turn, call, missed if rank < _CHANGES else None)
            tasks.append(asyncio.create_task(work))
        return tasks

    async def _after(
        self,
        before: Sequence[asyncio.Task[Answer]],
        turn: Turn,
        call: ToolCall,
        missed: set[str] | None,
    ) -> Answer:
        """Make a call after others.

        Args:
            missed: What was not had when the call was written, for one that may give it in another
                way; None for a change.
        """
        if before:
            await asyncio.wait(before)
        answer = await self._make(turn, call)
        if missed is not None and answer.error:
            turn.missing.add(call.name)
        elif missed is not None and self._effect(turn, call.name) not in ("process", "memory"):
            turn.missing -= missed
        return answer

    async def nested(
        self, process: Process, name: str, arguments: Mapping[str, Any], outer: str | None = None
    ) -> Any:
        """Make a call that code in a process's session asks for, within the turn under way.

        It passes the gate and is journalled as any other; its result goes to the code, which
        decides what the model sees of it, so that the turn counts as having been shown it.

        Args:
            outer: The id of the call within which the code runs; that of this task's without.

        Returns:
            The result's text, or its bytes where it is a file's.

        Raises:
            CallFailed: No turn is under way, the call is one that runs code, or it failed.
        """
        turn = self._turns.get(process.pid)
        if turn is None:
            raise CallFailed("Calls can be made only while the code's own call is running.")
        if self._runs_code(turn, name):
            raise CallFailed(f"Code cannot call {name}.")
        if turn.nested >= limits.NESTED_CALLS:
            raise CallFailed("The code made too many calls.")
        turn.nested += 1
        # A session may hold what it was shown in any turn before, files given to it included.
        turn.tainted = join(turn.tainted, Label(Origin.UNTRUSTED).kept_private())
        call = ToolCall(new_id(), name, dict(arguments))
        await self._keep_nested(turn, call, within() if outer is None else outer)
        answer = await self._make(turn, call)
        if answer.outcome.label is not None:
            turn.tainted = join(turn.tainted, answer.outcome.label)
        if answer.error:
            raise CallFailed(answer.outcome.text.removeprefix("Error: "))
        payload = answer.outcome.payload
        return answer.outcome.text if payload is None else payload

    async def unseen(self, process: Process, name: str, arguments: Mapping[str, Any]) -> Outcome:
        """Make a call whose result the process is not shown, within the turn under way.

        It passes the gate and is journalled as any other. Nothing of it taints the turn, so whoever
        asks must pass on none of its words; an error says none of them either.

        Raises:
            UnknownCall / InvalidArguments: The process has no such call, it takes other arguments,
                or it gives nothing to read; nothing was called.
            CallDenied: It may not be made.
            CallFailed: No turn is under way, or it failed.
        """
        turn = self._turns.get(process.pid)
        if turn is None:
            raise CallFailed("Calls can be made only within a turn.")
        row = turn.calls.get(name)
        if row.effect not in _READS or row.runs_code or row.reads_by_call:
            raise InvalidArguments(f"{name} gives nothing to read so: take a call that reads.")
        row.check(arguments)
        call = ToolCall(new_id(), name, dict(arguments))
        await self._keep_nested(turn, call, within())
        answer = await self._make(turn, call, shown=False)
        if answer.error == CallDenied.code:
            raise CallDenied(f"{name} was not allowed, so nothing was read.")
        if answer.error:
            log.info("%s, unseen: %.200r", name, answer.outcome.text)
            raise CallFailed(f"{name} failed ({answer.error}), so nothing was read.")
        return answer.outcome

    async def _keep_nested(self, turn: Turn, call: ToolCall, outer: str) -> None:
        """Chain what a call calls, which no message of the model's names.

        Before the call is in the journal: a kill in between leaves none that nobody wrote.
        """
        content = json.dumps({"effect": self._effect(turn, call.name)})
        await self._gate.keep(turn, Message(Kind.NESTED, content, (call,), call.id, outer))

    async def _make(self, turn: Turn, call: ToolCall, *, shown: bool = True) -> Answer:
        process, refused = turn.process, turn.reply.refused.get(call.id)
        self._publish(CallStarted(pid=process.pid, turn=turn.number, call=call))
        effect = self._effect(turn, call.name)
        number = await self._journal.start_call(process.pid, turn.number, call, effect)
        failpoint("kernel.before_call")
        found: tuple[Exhibit, ...] = ()
        began, code = time.monotonic(), ""
        row: Syscall | None = None  # what was called, once it was
        try:
            if refused is not None:
                raise refused
            admitted, passed = await self._admitted(turn, call)
            row = admitted
            outcome = await self._run(turn, row, call, passed)
            code = CODE_RAISED if outcome.failed else ""
        except asyncio.CancelledError:  # the code that asked for it does not wait any more
            seconds = time.monotonic() - began
            await whole(self._closed(turn, number, call, "", seconds, "interrupted"))
            raise
        except _Stopped:
            why = "the turn's time was up" if process.out_of_time else "the person stopped it"
            outcome, code = Outcome(f"Error: {call.name} did not finish: {why}."), "interrupted"
        except LlmosError as error:
            outcome, code = Outcome(f"Error: {error}"), error.code
        except Exception:
            log.exception("call %s", call.name)
            outcome, code = Outcome(f"Error: {call.name} failed."), "call_failed"
        if _long(outcome):
            outcome = await asyncio.to_thread(_without_credentials, outcome)
        else:
            outcome = _without_credentials(outcome)
        if code not in _OWN_WORDS:  # it may quote what it read, names of files too
            silent = effect == "pure" or (row is not None and row.reads_by_call)
            by = Label(Origin.PLUGIN if silent else Origin.UNTRUSTED)
            known = row.label if row is not None else None
            outcome = replace(outcome, label=join(known or by, by))
        if turn.nested:  # it may say what its code was shown
            label = outcome.label or Label(Origin.PLUGIN)
            outcome = replace(outcome, label=join(label, turn.tainted))
        if outcome.evidence and shown:  # what is not shown cannot be cited, and takes no number
            found = tuple(
                await self._exhibits.number(process.pid, turn.number, call.id, outcome.evidence)
            )
            outcome = replace(outcome, text=numbered(outcome.text, found))
        # Without the time a person took to answer.
        seconds = time.monotonic() - turn.admitted.pop(call.id, began)
        failpoint("kernel.after_call")
        await self._closed(turn, number, call, outcome.text, seconds, code)
        return Answer(outcome, code, seconds, found)

    async def _closed(
        self, turn: Turn, number: int, call: ToolCall, result: str, seconds: float, error: str
    ) -> None:
        """Close a call in the journal, and tell of it."""
        await self._journal.finish_call(number, result=result, seconds=seconds, error=error)
        self._publish(
            CallFinished(
                pid=turn.process.pid,
                turn=turn.number,
                call=call,
                result=result,
                seconds=seconds,
                error=error,
            )
        )

    async def _admitted(self, turn: Turn, call: ToolCall) -> tuple[Syscall, Passed]:
        """What is called, once it may be."""
        process, row = turn.process, self._row(turn, call.name)
        row.check(call.arguments)
        if process.interrupted or process.out_of_time:  # while it waited for those before it
            raise _Stopped
        process.charge_call()  # before those beside it do, and before anybody is asked
        # A person may take their time, and may stop the turn instead.
        passed = await self._stoppable(process, self._gate.admit(turn, row, call))
        if process.interrupted or process.out_of_time or self._turns.get(process.pid) is not turn:
            raise _Stopped
        turn.admitted[call.id] = time.monotonic()
        return row, passed

    async def _run(self, turn: Turn, row: Syscall, call: ToolCall, passed: Passed) -> Outcome:
        """The call itself."""
        process = turn.process
        live = process.live
        assert live is not None
        # The turn's own clock: a question stops it, a nested call's or a child's too.
        clock = partial(getattr, live, "seconds")
        invocation = Invocation(process, self._teller(turn, call), passed.seen, clock)
        outer = _WITHIN.set(call.id)
        try:
            running = row.run(invocation, call.arguments)
            return await self._stoppable(process, running, row.timeout, call.name, clock)
        finally:
            _WITHIN.reset(outer)

    def _row(self, turn: Turn, name: str) -> Syscall:
        """What is called; code may make a call of its own only where the one beside it is there."""
        if name in self.for_code and self.for_code.get(name).beside in turn.calls:
            return self.for_code.get(name)
        return turn.calls.get(name)

    def _runs_code(self, turn: Turn, name: str) -> bool:
        """Whether what is called runs code; what there is not, runs none."""
        try:
            return self._row(turn, name).runs_code
        except UnknownCall:
            return False

    def _effect(self, turn: Turn, name: str) -> str:
        """The effect that is declared of what is called; empty where there is nothing to call."""
        try:
            return self._row(turn, name).effect
        except UnknownCall:
            return ""

    async def _stoppable(
        self,
        process: Process,
        work: Awaitable[T],
        seconds: float = 0.0,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> T:
        """The result of ``work``, as a task of its own that an interrupt can stop."""
        running = asyncio.ensure_future(work)
        process.call_tasks.add(running)
        try:
            if not await within_limit(running, seconds, clock):
                running.cancel()
                raise CallTimeout(f"{name} took too long.")
            if running.cancelled():
                raise _Stopped
            return running.result()
        finally:
            running.cancel()  # nothing happens once nobody waits for it
            process.call_tasks.discard(running)

    def _teller(self, turn: Turn, call: ToolCall) -> Callable[[str, float | None], None]:
        """What a call reports its progress to, from any thread; told now and then."""
        loop, last = asyncio.get_running_loop(), [0.0]

        def tell(text: str, done: float | None = None) -> None:
            now = time.monotonic()
            if now - last[0] < limits.PROGRESS_S and done != 1:
                return
            last[0] = now
            event = CallProgress(
                pid=turn.process.pid,
                turn=turn.number,
                call_id=call.id,
                text=encodable(text[: limits.PROGRESS_CHARS]),
                done=None if done is None else min(max(float(done), 0.0), 1.0),
            )
            loop.call_soon_threadsafe(self._publish, event)

        return tell


def _long(outcome: Outcome) -> bool:
    """Whether to look through what is told of a call would keep the loop from all else."""
    told = (outcome.text, *outcome.said, *(each.text for each in outcome.evidence))
    return sum(map(len, told)) > _AT_ONCE


def _without_credentials(outcome: Outcome) -> Outcome:
    """What is told of a call, without keys; the files that it made are the person's."""
    evidence = (
        Evidence(without(each.address), without(each.title), without(each.text))
        for each in outcome.evidence
    )
    return replace(
        outcome,
        text=without(outcome.text),
        said=tuple(without(said) for said in outcome.said),
        vouched=tuple(value for value in outcome.vouched if without(value) == value),
        evidence=tuple(evidence),
    )
