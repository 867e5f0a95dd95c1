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
import re
from collections.abc import AsyncGenerator, Callable, Container, Sequence
from contextlib import aclosing
from dataclasses import replace

from llmos import limits
from llmos.config import AgentConfig
from llmos.engine.backend import Backend, Prompt, SamplingParams
from llmos.errors import BudgetExceeded, EngineError, InvalidArguments, LlmosError, PromptTooLong
from llmos.events import (
    REMINDER,
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
from llmos.kernel.callformat import CallFormat
from llmos.kernel.calling import Caller
from llmos.kernel.callscan import CallScanner
from llmos.kernel.citations import Checked
from llmos.kernel.directory import Directory, opened
from llmos.kernel.guide import Guide, Steps
from llmos.kernel.history import TOO_LONG
from llmos.kernel.process import LiveTurn, Process, State
from llmos.kernel.results import Results
from llmos.kernel.speakers import Speakers
from llmos.kernel.syscalls import Syscall, SyscallTable
from llmos.kernel.transcript import Shaped, Transcript
from llmos.kernel.turn import Reply, Turn, TurnOver, repeats
from llmos.memory.journal import Journal, new_id

__all__ = ["Agent"]

log = logging.getLogger(__name__)

_OTHER = "Say it in other words, or use a larger model: llmos models list."

#: Name of a call so malformed that it does not even say what it calls.
_UNREADABLE = "unreadable"
_DRY_TOKENS = 4  # a repetition is held against a reply from so many tokens on
_DRY_WINDOW = 512  # tokens of the reply that are looked back on
_NAME = re.compile(r'"name"\s*:\s*"([\w.-]{1,128})"')


class Agent:
    """Runs turns.

    Args:
        backend: The processor.
        calls: The syscall table.
        caller: Makes calls.
        journal: Where turns are kept.
        transcript: Keeps what is said, and knows what the model is shown.
        results: Keeps what calls gave.
        publish: Takes events.
        config: What a turn may use up.
        guide: Helps a small model to its calls; None leaves them to the model.
        speakers: Find the expert that answers a message; None where there are no experts.
    """

    def __init__(
        self,
        backend: Backend,
        calls: SyscallTable,
        caller: Caller,
        journal: Journal,
        transcript: Transcript,
        results: Results,
        publish: Callable[[Event], None],
        config: AgentConfig,
        guide: Guide | None = None,
        speakers: Speakers | None = None,
    ) -> None:
        self._backend = backend
        self._calls = calls
        self.caller = caller
        self._speakers = speakers
        self._journal = journal
        self._transcript = transcript
        self._results = results
        self._publish = publish
        self._config = config
        self._guide = guide
        self._format = CallFormat.of(backend.info)
        self._directories: dict[SyscallTable, Directory] = {}
        transcript.shape = self._shape

    async def turn(self, process: Process, message: StoredMessage) -> str:
        """Answer one journalled message; never raises for what a person can cause.

        Returns:
            Why the turn ended, as in ``TurnFinished.reason``.
        """
        turn = Turn(process, message.turn, self._calls)
        process.interrupted = process.out_of_time = False
        process.live = live = LiveTurn(message.turn)
        self._publish(
            TurnStarted(
                pid=process.pid,
                seq=message.seq,
                turn=turn.number,
                message_id=message.id,
                text=message.message.content,
                by=message.message.name,
            )
        )
        reason, error = "stop", None
        try:
            await self._transcript.open(process, message.turn)
            await self._transcript.begin(process, message)
            if self._speakers is not None:
                speaker = await self._speakers.of(process, message)
                turn.calls = speaker.calls if speaker is not None else self._calls
            self._plan(turn)  # beside the search: each asks the embedder
            await self._transcript.expect(process)
            await self._transcript.bring_back(process, message)
            left = process.remaining()
            seconds = min(self._config.turn_seconds, left.seconds or self._config.turn_seconds)
            async with asyncio.timeout(seconds) as clock:
                live.begin(clock)
                try:
                    await self._rounds(turn)
                finally:
                    live.clock = None
        except TurnOver as over:
            reason, error = over.reason, over.error
        except TimeoutError:
            reason, error = "budget", BudgetExceeded("The turn took longer than it may.")
        except BudgetExceeded as exceeded:
            reason, error = "budget", exceeded
        except LlmosError as failed:
            log.warning("turn %d of process %d: %s", turn.number, process.pid, failed)
            reason, error = "error", failed
            if failed.code == PromptTooLong.code:
                reason = TOO_LONG
                failed.remedy = f"{failed.remedy} The model is not shown this turn again.".strip()
        except Exception as unforeseen:
            log.exception("turn %d of process %d", turn.number, process.pid)
            reason, error = "error", _sentence(unforeseen)
        finally:
            process.drop_plan()
        return await self._finish(turn, live, reason, error)

    async def _finish(
        self, turn: Turn, live: LiveTurn, reason: str, error: LlmosError | None
    ) -> str:
        """Keep what a turn leaves behind, and tell of its end whatever becomes of that."""
        process = turn.process
        live.ending = True
        try:
            if live.heard is not None:
                turn.reply.text = await self._transcript.cut(
                    process, turn.number, live.heard, turn.reply.text
                )
            if turn.reply.text:  # cut short: keep what the person saw
                await self._keep(turn, Message("assistant", turn.reply.text), partial=True)
        except Exception as lost:
            log.warning("turn %d of process %d is not kept: %s", turn.number, process.pid, lost)
            live.lost = _sentence(lost)
            reason, error = "error", error or live.lost
        if reason == TOO_LONG and process.window is not None:  # no later turn would fit either
            process.window.drop((process.pid, turn.number))
        process.seconds += live.seconds
        live.over.set()
        process.live = process.generation = process.settled = None
        process.interrupted = process.out_of_time = False
        try:
            await self._journal.finish_turn(
                process.pid,
                turn.number,
                reason,
                tokens=turn.usage.completion_tokens,
                seconds=live.seconds,
                context_tokens=process.context_tokens,
            )
        except Exception as lost:  # its end must be told all the same
            log.warning("turn %d of process %d is not closed: %s", turn.number, process.pid, lost)
            reason, error = "error", error or _sentence(lost)
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
        return reason

    # --- rounds -----------------------------------------------------------------------------

    async def _rounds(self, turn: Turn) -> None:
        process = turn.process
        rows = turn.calls.rows()
        steps = await self._planned(process) if self._guide else None
        # What nobody said themselves (a reminder, a model's task, a text that was piped in) settles
        # nothing, whatever the guide makes of it.
        said = process.employer is None and self._words(turn)
        process.settled = steps.settled if steps is not None and said else None
        turn.doubted = steps.doubted if steps is not None else frozenset()
        done: set[str] = set()  # effects of the calls that were made
        for _ in range(limits.ROUNDS_MAX):
            reply = turn.reply = Reply()
            if steps is not None:
                await self._guided(turn, steps)
            else:
                await self._free(turn)
            if not reply.calls:
                self._own_up(turn, rows, done, steps.owed if steps is not None else "")
            text, reply.text = reply.text, ""  # from here on it is kept as a whole, or not at all
            await self._keep(turn, Message("assistant", text, reply.calls))
            if process.live is not None:
                process.live.written = ""
            if not reply.calls:
                if reply.finish == "length":
                    raise TurnOver("length")
                return
            self._refuse_loops(turn, reply.calls)
            done |= await self._make_calls(turn, reply.calls, steps)
        raise TurnOver("loop", EngineError("The turn made too many rounds of calls."))

    def _shape(self, process: Process, shown: Sequence[Message]) -> Shaped:
        """What is rendered of a window before the model replies."""
        return self.shaped(shown, process.calls_of or self._calls)

    def shaped(self, shown: Sequence[Message], calls: SyscallTable) -> Shaped:
        """What is rendered of messages where ``calls`` can be made."""
        if self._guide is not None:
            return self._guide.shown(shown), ()
        return self._format.adapt(shown, self._directory(calls).schemas())

    def _directory(self, calls: SyscallTable) -> Directory:
        """What a model is offered of a table of calls."""
        if calls not in self._directories:
            if len(self._directories) >= limits.DIRECTORIES_KEPT:
                del self._directories[next(iter(self._directories))]
            self._directories[calls] = Directory(calls.rows(), self._backend.count)
        return self._directories[calls]

    def _plan(self, turn: Turn) -> None:
        """Have the guide, where there is one, think about what the turn is to do."""
        process = turn.process
        if self._guide is not None:
            assert process.window is not None
            said, rows = process.window.conversation(), turn.calls.rows()
            told = _reminded(turn)
            plan = self._guide.plan(said, rows, told=told) if told else self._guide.plan(said, rows)
            process.planning = asyncio.ensure_future(plan)

    async def _planned(self, process: Process) -> Steps | None:
        """What the guide has in mind; None leaves the turn to the model, where the guide failed."""
        assert process.planning is not None
        try:
            await asyncio.wait({process.planning})
            if process.interrupted:
                raise TurnOver("interrupted")
            return process.planning.result()
        except (Exception, asyncio.CancelledError) as error:
            stopped = isinstance(error, asyncio.CancelledError) and not process.planning.cancelled()
            if stopped or isinstance(error, TurnOver):
                raise
            log.exception("the guide failed: the model is left to itself")
            return None

    async def _free(self, turn: Turn) -> None:
        """A reply in which the model itself decides about calls."""
        directory = self._directory(turn.calls)
        offered = directory.schemas()
        prompt = await self._transcript.prompt(
            turn.process, lambda shown: self._format.adapt(shown, offered)
        )
        tools = [row.function_schema for row in directory.callable(_opened(turn.process))]
        native = self._backend.info.native_calls
        bound = bool(tools) and not native  # a server that parses calls binds them itself
        grammar = self._format.grammar(tools, lazy=True, parallel=True) if bound else ""
        params = self._params(turn, prompt, grammar=grammar, trigger=self._format.trigger)
        await self._generate(turn, prompt, params, CallScanner(self._format))

    async def _guided(self, turn: Turn, steps: Steps) -> None:
        """A reply in which the guide has chosen whether and what to call."""
        reply = turn.reply
        while (step := steps.next_call()) is not None:
            prompt = await self._prompt(turn, steps.call_messages)
            params = self._params(turn, prompt, grammar=step.grammar, greedy=True)
            steps.take(await self._written(turn, prompt, params))
        reply.calls = steps.calls()
        if reply.calls:
            return
        prompt = await self._prompt(turn, steps.reply_messages)
        grammar = steps.reply_grammar()
        params = self._params(turn, prompt, grammar=grammar, greedy=bool(grammar))
        await self._generate(turn, prompt, params, None)
        if steps.more:
            prompt = await self._prompt(turn, steps.rest_messages)
            self._show(turn, "\n\n", 0)
            await self._generate(turn, prompt, self._params(turn, prompt), None)

    async def _prompt(
        self, turn: Turn, build: Callable[[Sequence[Message]], Sequence[Message]]
    ) -> Prompt:
        return await self._transcript.prompt(turn.process, lambda shown: (build(shown), ()))

    def _params(
        self,
        turn: Turn,
        prompt: Prompt,
        *,
        grammar: str = "",
        trigger: str = "",
        greedy: bool = False,
    ) -> SamplingParams:
        config, window = self._config, self._backend.info.window
        used = self._backend.size(prompt)
        room = window - used
        if room < 1:
            raise PromptTooLong(used, window)
        left = turn.process.remaining().tokens
        most = min(config.reply_tokens, room, int(left) if left is not None else room)
        temperature = 0.0 if greedy else config.temperature
        return SamplingParams(
            max_tokens=max(most, 1),
            temperature=temperature,
            top_p=config.top_p if temperature else 1.0,
            min_p=config.min_p if temperature else 0.0,
            repeat_penalty=1.0 if greedy else config.repeat_penalty,
            dry_multiplier=0.0 if greedy or grammar else config.dry_multiplier,
            dry_allowed_length=_DRY_TOKENS,
            dry_breakers=(),
            dry_last_n=_DRY_WINDOW,
            penalize_prompt=config.repeat_penalty != 1,
            grammar=grammar,
            trigger=trigger if grammar else "",
        )

    # --- generating -------------------------------------------------------------------------

    async def _generate(
        self, turn: Turn, prompt: Prompt, params: SamplingParams, scanner: CallScanner | None
    ) -> None:
        """Stream one reply to whoever listens, and read the calls in it."""
        reply, live = turn.reply, turn.process.live
        assert live is not None
        try:
            async with aclosing(self._chunks(turn, prompt, params)) as chunks:
                async for text, tokens in chunks:
                    reply.raw += text
                    self._show(turn, scanner.feed(text) if scanner else text, tokens)
                    if repeats(reply.raw):
                        sentence = "The reply began to repeat itself and was stopped."
                        raise TurnOver("loop", EngineError(sentence))
            if reply.finish == "cancelled":
                raise TurnOver("interrupted")
            if scanner is not None:
                self._show(turn, scanner.finish(), 0)
        except InvalidArguments as error:
            if reply.finish != "length":  # a call cut off by the limit is no mistake to tell of
                self._unreadable(turn, error)
        if scanner is not None:
            reply.calls = (*scanner.calls, *reply.calls)
        live.text = ""

    def _unreadable(self, turn: Turn, error: InvalidArguments) -> None:
        """A malformed call becomes a call that is answered with what is wrong with it."""
        reply, opening = turn.reply, self._format.syntax.opening
        before, _, written = reply.raw.rpartition(opening)
        before = before.rstrip()
        if opening not in before and before.startswith(reply.text):
            self._show(turn, before[len(reply.text) :], 0)  # what came together with the call
        named = _NAME.search(written)
        call = ToolCall(
            new_id(),
            named[1] if named else _UNREADABLE,
            {"unreadable": written[: limits.UNREADABLE_CHARS]},
        )
        reply.calls, reply.refused[call.id] = (call,), error

    async def _written(self, turn: Turn, prompt: Prompt, params: SamplingParams) -> str:
        """Text that is not for the person: a call's arguments."""
        async with aclosing(self._chunks(turn, prompt, params)) as chunks:
            text = "".join([text async for text, _ in chunks])
        if turn.reply.finish == "cancelled":
            raise TurnOver("interrupted")
        if turn.reply.finish == "length":
            raise TurnOver(
                "length", EngineError("The model did not finish its call.", remedy=_OTHER)
            )
        return text

    async def _chunks(
        self, turn: Turn, prompt: Prompt, params: SamplingParams
    ) -> AsyncGenerator[tuple[str, int], None]:
        """Text and token counts of one generation; keeps the turn's accounts."""
        process = turn.process
        if process.interrupted:
            raise TurnOver("interrupted")
        [generation] = self._backend.generate(prompt, params, priority=process.priority)
        process.generation = generation
        if process.state is State.STOPPED:
            generation.suspend()
        sampled, usage = 0, None
        try:
            async for chunk in generation:
                sampled += chunk.tokens
                if chunk.finish:
                    turn.reply.finish, usage = chunk.finish, chunk.usage
                yield chunk.text, chunk.tokens
                if chunk.error is not None:
                    raise chunk.error
        finally:
            generation.cancel()
            process.generation = None
            prompted = len(prompt.tokens)
            self._account(turn, usage or Usage(prompted, completion_tokens=sampled))

    def _account(self, turn: Turn, usage: Usage) -> None:
        process, total = turn.process, turn.usage
        process.charge(tokens=usage.completion_tokens)
        process.context_tokens = usage.prompt_tokens + usage.completion_tokens
        turn.usage = Usage(
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=total.completion_tokens + usage.completion_tokens,
            queue_s=total.queue_s + usage.queue_s,
            prefill_s=total.prefill_s + usage.prefill_s,
            decode_s=total.decode_s + usage.decode_s,
        )

    def _show(self, turn: Turn, text: str, tokens: int) -> None:
        turn.reply.text += text
        if turn.process.live is not None:
            turn.process.live.text += text
            turn.process.live.written = turn.reply.text
        if text or tokens:
            self._publish(
                ReplyDelta(pid=turn.process.pid, turn=turn.number, text=text, tokens=tokens)
            )

    # --- calls ------------------------------------------------------------------------------

    def _refuse_loops(self, turn: Turn, calls: Sequence[ToolCall]) -> None:
        for call in calls:
            key = json.dumps([call.name, call.arguments], sort_keys=True)
            turn.seen[key] += 1
            if turn.seen[key] > limits.SAME_CALL_MAX:
                sentence = f"The model repeated the same call of {call.name} and was stopped."
                raise TurnOver("loop", EngineError(sentence))
        if sum(turn.seen.values()) > self._config.calls:
            raise TurnOver("budget", BudgetExceeded("The turn made all the calls it may."))

    async def _make_calls(
        self, turn: Turn, calls: Sequence[ToolCall], steps: Steps | None
    ) -> set[str]:
        """Make calls side by side; their results follow in the order of the calls.

        Returns:
            The effects of those whose outcome the person is told: that succeeded, or whose failure
            the guide has the reply say.
        """
        process = turn.process
        answers = await self.caller.make(turn, calls)
        for call, answer in zip(calls, answers, strict=True):
            await self._results.keep(turn, call, answer)
            if steps is not None:
                steps.answered(call, answer.outcome, answer.error)
        if process.out_of_time:
            raise TimeoutError
        if process.interrupted:
            raise TurnOver("interrupted")
        effects = {row.name: row.effect for row in turn.calls}
        told = zip(calls, answers, strict=True)
        return {effects.get(c.name, "") for c, a in told if steps is not None or not a.error}

    def _words(self, turn: Turn) -> str:
        """What the person said themselves in a turn."""
        window = turn.process.window
        return window.words((turn.process.pid, turn.number)) if window is not None else ""

    def _own_up(self, turn: Turn, rows: Sequence[Syscall], done: Container[str], owed: str) -> None:
        """End a reply with what the person asked for and was not done: a model may say it was."""
        words = self._words(turn)
        undone = (row.left_undone(words) for row in rows if row.effect not in done)
        if (said := next(filter(None, undone), owed)) and said not in turn.reply.text:
            self._show(turn, f"\n\n{said}" if turn.reply.text.strip() else said, 0)

    # --- keeping ----------------------------------------------------------------------------

    async def _keep(self, turn: Turn, message: Message, *, partial: bool = False) -> None:
        """Keep what the model wrote in this turn, with the citations that hold, and tell of it."""
        checked = Checked(message.content)
        if not message.calls:
            checked = await self._results.checked(turn, message.content)
            message = replace(message, content=checked.text)
        stored = await self._transcript.keep(turn.process, turn.number, message, partial=partial)
        self._publish(
            ReplyFinished(
                pid=turn.process.pid,
                seq=stored.seq,
                turn=turn.number,
                message_id=stored.id,
                text=message.content,
                calls=message.calls,
            )
        )
        await self._results.cite(turn, stored.id, checked)


def _reminded(turn: Turn) -> str:
    """What a small model says to a reminder; empty where a person, or an employer, speaks.

    A larger one is woken by it as by any message, and may do something about it.
    """
    process = turn.process
    assert process.window is not None
    said = process.window.conversation()
    text = said[-1].content if said and said[-1].role == "user" else ""
    if process.window.words((process.pid, turn.number)) or not text.startswith(REMINDER):
        return ""
    what = text.removeprefix(REMINDER).strip()
    return f"This is your reminder: {what}" if what else "This is your reminder."


def _opened(process: Process) -> list[str]:
    """Names of the calls whose manual was read in this conversation."""
    assert process.window is not None
    messages = (held.record.stored.message for held in process.window.held)
    return opened([(call.name, call.arguments) for said in messages for call in said.calls])


def _sentence(error: Exception) -> LlmosError:
    """What a person is told of ``error``."""
    if isinstance(error, LlmosError):
        return error
    return EngineError("Something went wrong; the log has the details.")
