"""The program a process runs: generate → trap → resume.

One turn answers one message. The model writes; where it opens a call, a grammar made from the
syscall table binds it until the call is closed, decoding stops (the trap), the calls are made side
by side, their results are appended and decoding goes on from the same cells. Rounds are bounded, a
call repeated without end is stopped, an interrupt ends the turn within one step and keeps what was
written.

Knows messages and calls; not tokens, not sockets. What a small model needs to choose a call well
is ``guide.py``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from llmos import limits
from llmos.config import AgentConfig
from llmos.engine.backend import Backend, Prompt, SamplingParams
from llmos.errors import BudgetExceeded, EngineError, LlmosError, PromptTooLong, SyscallError
from llmos.events import (
    CallFinished,
    CallStarted,
    Event,
    Message,
    ReplyDelta,
    ReplyFinished,
    StoredMessage,
    ToolCall,
    TurnFinished,
    TurnStarted,
    Usage,
)
from llmos.kernel.callformat import detect
from llmos.kernel.callscan import CallScanner
from llmos.kernel.guide import Guide, Steps
from llmos.kernel.monitor import Monitor
from llmos.kernel.process import LiveTurn, Process, State
from llmos.kernel.syscalls import Outcome, Syscall, SyscallTable
from llmos.labels import Label, Origin
from llmos.memory.journal import Journal, new_id

__all__ = ["Agent"]

log = logging.getLogger(__name__)

SYSTEM = "You are a helpful assistant. Answer briefly and truthfully."


class _TurnOver(Exception):
    """The turn ends for a reason other than a finished reply."""

    def __init__(self, reason: str, error: LlmosError | None = None) -> None:
        self.reason = reason
        self.error = error


@dataclass(slots=True)
class _Reply:
    """One assistant message as it is written."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: str = ""


@dataclass(slots=True)
class _Turn:
    """What one turn has done so far."""

    process: Process
    number: int
    began: float
    usage: Usage = field(default_factory=Usage)
    seen: Counter[str] = field(default_factory=Counter)
    reply: _Reply = field(default_factory=_Reply)


class Agent:
    """Runs turns.

    Args:
        backend: The processor.
        calls: The syscall table.
        monitor: Decides what may be done.
        journal: Where messages and calls are kept.
        publish: Takes events.
        config: What a turn may use up.
        guide: Helps a small model to its calls; None leaves them to the model.
    """

    def __init__(
        self,
        backend: Backend,
        calls: SyscallTable,
        monitor: Monitor,
        journal: Journal,
        publish: Callable[[Event], None],
        config: AgentConfig,
        guide: Guide | None = None,
    ) -> None:
        self._backend = backend
        self._calls = calls
        self._monitor = monitor
        self._journal = journal
        self._publish = publish
        self._config = config
        self._guide = guide
        self._format = detect(backend.info.template)

    async def turn(self, process: Process, message: StoredMessage) -> str:
        """Answer one journalled message; never raises for what a person can cause.

        Returns:
            Why the turn ended, as in ``TurnFinished.reason``.
        """
        turn = _Turn(process, message.turn, time.monotonic())
        process.live = LiveTurn(message.turn)
        process.interrupted = False
        process.history.append(message.message)
        self._publish(
            TurnStarted(
                pid=process.pid,
                seq=message.seq,
                turn=turn.number,
                message_id=message.id,
                text=message.message.content,
            )
        )
        reason, error = "stop", None
        try:
            left = process.remaining()
            seconds = min(self._config.turn_seconds, left.seconds or self._config.turn_seconds)
            async with asyncio.timeout(seconds):
                await self._rounds(turn)
        except _TurnOver as over:
            reason, error = over.reason, over.error
        except TimeoutError:
            reason, error = "budget", BudgetExceeded("The turn took longer than it may.")
        except BudgetExceeded as exceeded:
            reason, error = "budget", exceeded
        except LlmosError as failed:
            log.warning("turn %d of process %d: %s", turn.number, process.pid, failed)
            reason, error = "error", failed
        except Exception:
            log.exception("turn %d of process %d", turn.number, process.pid)
            reason, error = "error", EngineError("Something went wrong; the log has the details.")
        await self._finish(turn, reason, error)
        return reason

    async def _finish(self, turn: _Turn, reason: str, error: LlmosError | None) -> None:
        process = turn.process
        if turn.reply.text:  # cut short: keep what the person saw
            await self._keep(turn, Message("assistant", turn.reply.text), partial=True)
        seconds = time.monotonic() - turn.began
        process.seconds += seconds
        process.live = process.generation = None
        await self._journal.finish_turn(
            process.pid,
            turn.number,
            reason,
            tokens=turn.usage.completion_tokens,
            seconds=seconds,
        )
        self._publish(
            TurnFinished(
                pid=process.pid,
                turn=turn.number,
                reason=reason,
                usage=turn.usage,
                context_tokens=process.context_tokens,
                window_tokens=self._backend.info.window,
                error=str(error) if error else "",
                code=error.code if error else "",
            )
        )

    # --- rounds -----------------------------------------------------------------------------

    async def _rounds(self, turn: _Turn) -> None:
        process = turn.process
        rows = self._calls.rows()
        steps = await self._guide.plan(process.history, rows) if self._guide else None
        for _ in range(limits.ROUNDS_MAX):
            reply = turn.reply = _Reply()
            if steps is not None:
                await self._guided(turn, steps)
            else:
                await self._free(turn, rows)
            turn.reply = _Reply()
            await self._keep(turn, Message("assistant", reply.text, reply.calls))
            if not reply.calls:
                if reply.finish == "length":
                    raise _TurnOver("length")
                return
            self._refuse_loops(turn, reply.calls)
            await self._make_calls(turn, reply.calls, steps)
        raise _TurnOver("loop", EngineError("The turn made too many rounds of calls."))

    async def _free(self, turn: _Turn, rows: Sequence[Syscall]) -> None:
        """A reply in which the model itself decides about calls."""
        tools = [row.function_schema for row in rows]
        messages, offered = self._format.adapt(self._messages(turn.process), tools)
        prompt = await self._backend.prompt(messages, tools=offered)
        grammar = self._format.grammar(tools, lazy=True, parallel=True) if tools else ""
        params = self._params(turn, prompt, grammar=grammar, trigger=self._format.trigger)
        scanner = CallScanner(self._format)
        await self._generate(turn, prompt, params, scanner)
        turn.reply.calls = tuple(scanner.calls)

    async def _guided(self, turn: _Turn, steps: Steps) -> None:
        """A reply in which the guide has chosen whether and what to call."""
        reply = turn.reply
        while (step := steps.next_call()) is not None:
            prompt = await self._backend.prompt(steps.call_messages(self._messages(turn.process)))
            params = self._params(turn, prompt, grammar=step.grammar, greedy=True)
            written = await self._written(turn, prompt, params)
            steps.take(written)
        reply.calls = steps.calls()
        if reply.calls:
            return
        prompt = await self._backend.prompt(steps.reply_messages(self._messages(turn.process)))
        grammar = steps.reply_grammar()
        params = self._params(turn, prompt, grammar=grammar, greedy=bool(grammar))
        await self._generate(turn, prompt, params, None)

    def _messages(self, process: Process) -> list[Message]:
        system = process.system or self._config.system or SYSTEM
        return [Message("system", system), *process.history]

    def _params(
        self,
        turn: _Turn,
        prompt: Prompt,
        *,
        grammar: str = "",
        trigger: str = "",
        greedy: bool = False,
    ) -> SamplingParams:
        config, window = self._config, self._backend.info.window
        room = window - len(prompt.tokens)
        if room < 1:
            raise PromptTooLong(len(prompt.tokens), window)
        left = turn.process.remaining().tokens
        most = min(config.reply_tokens, room, int(left) if left is not None else room)
        temperature = 0.0 if greedy else config.temperature
        return SamplingParams(
            max_tokens=max(most, 1),
            temperature=temperature,
            top_p=config.top_p if temperature else 1.0,
            min_p=config.min_p if temperature else 0.0,
            repeat_penalty=1.0 if greedy else config.repeat_penalty,
            grammar=grammar,
            trigger=trigger if grammar else "",
        )

    # --- generating -------------------------------------------------------------------------

    async def _generate(
        self, turn: _Turn, prompt: Prompt, params: SamplingParams, scanner: CallScanner | None
    ) -> None:
        """Stream one reply to whoever listens."""
        process, reply = turn.process, turn.reply
        async for text, tokens in self._chunks(turn, prompt, params):
            shown = scanner.feed(text) if scanner else text
            self._show(turn, shown, tokens)
        if scanner is not None:
            self._show(turn, scanner.finish(), 0)
        assert process.live is not None
        process.live.text = ""
        if reply.finish == "cancelled":
            process.live.text = reply.text
            raise _TurnOver("interrupted")

    async def _written(self, turn: _Turn, prompt: Prompt, params: SamplingParams) -> str:
        """Text that is not for the person: a call's arguments."""
        text = "".join([text async for text, _ in self._chunks(turn, prompt, params)])
        if turn.reply.finish == "cancelled":
            raise _TurnOver("interrupted")
        return text

    async def _chunks(self, turn: _Turn, prompt: Prompt, params: SamplingParams):  # type: ignore[no-untyped-def]
        """Text and token counts of one generation; keeps the turn's accounts."""
        process = turn.process
        if process.interrupted:
            raise _TurnOver("interrupted")
        [generation] = self._backend.generate(prompt, params, priority=process.priority)
        process.generation = generation
        if process.state is State.STOPPED:
            generation.suspend()
        try:
            async for chunk in generation:
                yield chunk.text, chunk.tokens
                if chunk.finish:
                    turn.reply.finish = chunk.finish
                    self._account(turn, chunk.usage)
                    if chunk.error is not None:
                        raise chunk.error
        finally:
            generation.cancel()
            process.generation = None

    def _account(self, turn: _Turn, usage: Usage | None) -> None:
        if usage is None:
            return
        process, total = turn.process, turn.usage
        process.tokens += usage.completion_tokens
        process.context_tokens = usage.prompt_tokens + usage.completion_tokens
        turn.usage = Usage(
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=total.completion_tokens + usage.completion_tokens,
            queue_s=total.queue_s + usage.queue_s,
            prefill_s=total.prefill_s + usage.prefill_s,
            decode_s=total.decode_s + usage.decode_s,
        )

    def _show(self, turn: _Turn, text: str, tokens: int) -> None:
        turn.reply.text += text
        if turn.process.live is not None:
            turn.process.live.text += text
        if text or tokens:
            self._publish(
                ReplyDelta(pid=turn.process.pid, turn=turn.number, text=text, tokens=tokens)
            )

    # --- calls ------------------------------------------------------------------------------

    def _refuse_loops(self, turn: _Turn, calls: Sequence[ToolCall]) -> None:
        for call in calls:
            key = json.dumps([call.name, call.arguments], sort_keys=True)
            turn.seen[key] += 1
            if turn.seen[key] > limits.SAME_CALL_MAX:
                sentence = f"The model repeated the same call of {call.name} and was stopped."
                raise _TurnOver("loop", EngineError(sentence))
        if sum(turn.seen.values()) > self._config.calls:
            raise _TurnOver("budget", BudgetExceeded("The turn made all the calls it may."))

    async def _make_calls(
        self, turn: _Turn, calls: Sequence[ToolCall], steps: Steps | None
    ) -> None:
        """Run calls side by side; their results follow in the order of the calls."""
        process = turn.process
        assert process.live is not None
        process.live.calls = tuple(calls)
        tasks = [asyncio.create_task(self._make_call(turn, call)) for call in calls]
        process.call_tasks = tasks
        if process.state is State.RUNNING:
            process.state = State.WAITING
        try:
            await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            process.call_tasks = []
            if process.state is State.WAITING:
                process.state = State.RUNNING
            process.live.calls = ()
        for call, task in zip(calls, tasks, strict=True):
            outcome, error, seconds = task.result()
            message = Message("tool", outcome.text, call_id=call.id, name=call.name)
            await self._keep(turn, message, error=error, seconds=seconds)
            if steps is not None:
                steps.answered(call, outcome, error)
        if process.interrupted:
            raise _TurnOver("interrupted")

    async def _make_call(self, turn: _Turn, call: ToolCall) -> tuple[Outcome, str, float]:
        """One call through monitor and journal. What goes wrong becomes data for the model."""
        process = turn.process
        self._publish(CallStarted(pid=process.pid, turn=turn.number, call=call))
        number = await self._journal.start_call(process.pid, turn.number, call)
        began, code = time.monotonic(), ""
        try:
            row = self._calls.get(call.name)
            self._monitor.check(process, row)
            process.calls += 1
            async with asyncio.timeout(row.timeout or None):
                outcome = await row.run(process, call.arguments)
        except TimeoutError:
            outcome, code = Outcome(f"Error: {call.name} took too long."), "call_timeout"
        except asyncio.CancelledError:
            outcome, code = Outcome("Error: the person stopped this call."), "interrupted"
        except (SyscallError, LlmosError) as error:
            outcome, code = Outcome(f"Error: {error}"), error.code
        except Exception:
            log.exception("call %s", call.name)
            outcome, code = Outcome(f"Error: {call.name} failed."), "call_failed"
        seconds = time.monotonic() - began
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
        return outcome, code, seconds

    # --- keeping ----------------------------------------------------------------------------

    async def _keep(
        self,
        turn: _Turn,
        message: Message,
        *,
        partial: bool = False,
        error: str = "",
        seconds: float = 0.0,
    ) -> None:
        """Journal a message, then show it to the model from now on."""
        process = turn.process
        origin = Origin.PLUGIN if message.role == "tool" else Origin.MODEL
        stored = await self._journal.append(
            process.pid,
            message,
            turn=turn.number,
            label=Label(origin),
            error=error,
            seconds=seconds,
            partial=partial,
            id=new_id(),
        )
        process.history.append(message)
        process.active = stored.time
        if message.role == "assistant":
            self._publish(
                ReplyFinished(
                    pid=process.pid,
                    seq=stored.seq,
                    turn=turn.number,
                    message_id=stored.id,
                    text=message.content,
                    calls=message.calls,
                )
            )
