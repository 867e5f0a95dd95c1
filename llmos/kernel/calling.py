"""Makes a turn's system calls: side by side, through monitor and journal.

Whatever goes wrong in a call becomes data for the model. An interrupt reaches the running code,
never the accounts: every call that was begun is closed in the journal and gets a result.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmos.errors import CallTimeout, LlmosError
from llmos.events import CallFinished, CallStarted, Event, ToolCall
from llmos.failpoints import failpoint
from llmos.kernel.monitor import Monitor
from llmos.kernel.process import Process, State
from llmos.kernel.syscalls import Outcome, SyscallTable
from llmos.kernel.turn import Turn
from llmos.memory.journal import Journal

__all__ = ["Answer", "Caller"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """How one call went.

    Args:
        outcome: What the model and the person are told.
        error: A stable code; empty when it succeeded.
        seconds: How long it took.
    """

    outcome: Outcome
    error: str = ""
    seconds: float = 0.0


class _Stopped(Exception):
    """The person, or the turn's end, stopped a call."""


class Caller:
    """Makes calls.

    Args:
        calls: The syscall table.
        monitor: Decides what may be done.
        journal: Where calls are kept.
        publish: Takes events.
    """

    def __init__(
        self,
        calls: SyscallTable,
        monitor: Monitor,
        journal: Journal,
        publish: Callable[[Event], None],
    ) -> None:
        self._calls = calls
        self._monitor = monitor
        self._journal = journal
        self._publish = publish

    async def make(self, turn: Turn, calls: Sequence[ToolCall]) -> list[Answer]:
        """Make ``calls`` side by side.

        Where the turn runs out of time meanwhile, the calls are stopped and answered as such.

        Returns:
            An answer a call, in their order.

        Raises:
            StoreError: A call could not be journalled; those that ran are closed.
        """
        process = turn.process
        assert process.live is not None
        process.live.calls = tuple(calls)
        if process.state is State.RUNNING:
            process.state = State.WAITING
        tasks = [asyncio.create_task(self._make(turn, call)) for call in calls]
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            process.out_of_time = True
            for running in process.call_tasks:
                running.cancel()
            await asyncio.wait(tasks)
        finally:
            process.live.calls = ()
            if process.state is State.WAITING:
                process.state = State.RUNNING
        failures = [failure for task in tasks if (failure := task.exception()) is not None]
        if failures:
            raise failures[0]
        return [task.result() for task in tasks]

    async def _make(self, turn: Turn, call: ToolCall) -> Answer:
        process, refused = turn.process, turn.reply.refused.get(call.id)
        self._publish(CallStarted(pid=process.pid, turn=turn.number, call=call))
        number = await self._journal.start_call(process.pid, turn.number, call)
        failpoint("kernel.before_call")
        began, code = time.monotonic(), ""
        try:
            if refused is not None:
                raise refused
            outcome = await self._run(process, call)
        except _Stopped:
            why = "the turn's time was up" if process.out_of_time else "the person stopped it"
            outcome, code = Outcome(f"Error: {call.name} did not finish: {why}."), "interrupted"
        except LlmosError as error:
            outcome, code = Outcome(f"Error: {error}"), error.code
        except Exception:
            log.exception("call %s", call.name)
            outcome, code = Outcome(f"Error: {call.name} failed."), "call_failed"
        seconds = time.monotonic() - began
        failpoint("kernel.after_call")
        await self._journal.finish_call(number, result=outcome.text, seconds=seconds, error=code)
        self._publish(
            CallFinished(
                pid=process.pid,
                turn=turn.number,
                call=call,
                result=outcome.text,
                seconds=seconds,
                error=code,
            )
        )
        return Answer(outcome, code, seconds)

    async def _run(self, process: Process, call: ToolCall) -> Outcome:
        """The call itself, as a task of its own that an interrupt can stop."""
        row = self._calls.get(call.name)
        self._monitor.check(process, row)
        if process.interrupted or process.out_of_time:
            raise _Stopped
        process.charge(calls=1)
        running = asyncio.ensure_future(row.run(process, call.arguments))
        process.call_tasks.add(running)
        try:
            await asyncio.wait({running}, timeout=row.timeout or None)
            if not running.done():
                running.cancel()
                raise CallTimeout(f"{call.name} took too long.")
            if running.cancelled():
                raise _Stopped
            return running.result()
        finally:
            process.call_tasks.discard(running)
