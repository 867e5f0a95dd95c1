"""How a small model gets its calls right: help that is generic.

For each message the guide chooses by meaning whether and what to call (``choose.py``,
``followup.py``), then brings in at the tail only the chosen call with its nearest worked examples
and binds the arguments to the person's own words (``fill.py``). Where these leave one way only,
nothing is generated. In the end the model says the result in one of the ways the tool declares,
so that the figure a person reads is the figure the tool gave. The front of the window stays as it
was; the card of a call is gone after it.

Models that choose well by themselves need none of this (``engine.tool_help``).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.engine.gbnf import Expr, Grammar, alt, seq
from llmos.errors import GrammarError, TemplateError
from llmos.events import Message, ToolCall
from llmos.kernel.capabilities import Capabilities, Capability
from llmos.kernel.choose import Choice, Chooser, Reading
from llmos.kernel.examples import adapted, copied_names, leaked, words, wrong_copy
from llmos.kernel.fill import OPENING, Blank, readings
from llmos.kernel.followup import earlier, follow_up
from llmos.kernel.monitor import HARMLESS
from llmos.kernel.orders import Order, order, pasted
from llmos.kernel.probe import Embed
from llmos.kernel.spans import EDGE
from llmos.kernel.syscalls import Outcome, Syscall
from llmos.memory.journal import new_id

__all__ = ["FITTED", "Guide", "Step", "Steps", "chat_bank"]

log = logging.getLogger(__name__)

Render = Callable[[Sequence[Message]], Awaitable[Any]]

_TABLES = 8  # tables of calls whose chooser is kept, one an expert
_SHOWN = 2  # worked examples on a card; one more and the starter model copies their values
_ECHO_WORDS = 4  # fewer in a row may be what anybody says
_ASKS_BESIDES = re.compile(r"[.!;:\n][^.!;:\n]*\?\s*\Z|\n\s*\n")  # or something is pasted
_UNFINISHED = "The call could not be written out in the room that was left."
_FORBIDDEN = "Nothing was done."  # where the person's words say that it shall not be
_REPEATED = (
    "That is beyond this model: the call that it wrote was an example's, not one for your words. "
    "A larger model can do it: llmos models list."
)


#: The fit to the tools that come with llmos; ``make fit`` writes it.
FITTED = Path(str(files("llmos.kernel").joinpath("chooser.npz")))


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
    """One call on its way from a choice to an outcome."""

    choice: Choice
    blank: Blank
    tries: int = 1
    call: ToolCall | None = None
    outcome: Outcome | None = None
    error: str = ""

    @property
    def open(self) -> bool:
        """Whether its arguments are still to be written."""
        return self.call is None and self.outcome is None

    def fill_in(self, arguments: dict[str, Any]) -> None:
        self.call = ToolCall(new_id(), self.choice.call.name, arguments)

    def fail(self, sentence: str) -> None:
        """Answer it without a call."""
        self.outcome, self.error = Outcome(f"Error: {sentence}"), "call_failed"


class Steps:
    """What one turn is to do: its calls, then the reply.

    Args:
        chooser: Knows the worked examples.
        reading: How the message was understood.
        folds: Whether the template knows only the person and the model.
        doubted: Names of calls that the person may only have spoken of.
        undone: What the reply says where there is no call, in place of what the model would.
        owed: What it says behind what the model does.
    """

    def __init__(
        self,
        chooser: Chooser,
        reading: Reading,
        *,
        doubted: frozenset[str] = frozenset(),
        folds: bool = False,
        undone: str = "",
        owed: str = "",
    ) -> None:
        self._chooser = chooser
        self._rest = reading.rest
        self._folds = folds
        self._undone = undone
        self.owed = owed
        self.doubted = doubted
        self._planned = []
        for choice in reading.choices:
            ways = choice.ways or tuple(readings(choice.call, choice.clause))
            blank = Blank(choice.call, ways, choice.clause)
            self._planned.append(_Planned(choice, blank))
        self._settled = Capabilities(
            Capability(choice.call.name, uses=1) for choice in reading.choices
        )

    def next_call(self) -> Step | None:
        """The next call to have written; None when all are."""
        for planned in self._planned:
            if not planned.open:
                continue
            only = planned.blank.forced
            if only is not None:
                planned.fill_in(only)
                continue
            try:
                return Step(planned.blank.grammar())
            except GrammarError as error:
                choice = planned.choice
                log.warning("%s cannot be filled in: %s", choice.call.name, error)
                planned.fail(_say_it_as(self._chooser, choice.call, choice.clause))
        return None

    def take(self, written: str) -> None:
        """The model wrote the call that ``next_call`` asked for, or was cut off in the midst."""
        planned = next(p for p in self._planned if p.open)
        call, clause = planned.choice.call, planned.choice.clause
        arguments = _read(written)
        if arguments is None:
            planned.fail(_UNFINISHED)
        elif _repeated(planned.choice, arguments) or self._copied(planned, arguments):
            planned.fail(_REPEATED)
        elif leaked(arguments, call, clause):
            planned.fail(_say_it_as(self._chooser, call, clause))
        else:
            planned.fill_in(arguments)

    def _copied(self, planned: _Planned, arguments: Mapping[str, Any]) -> bool:
        """Whether the call of an example about something else was copied for the person's files."""
        call, way = planned.choice.call, planned.blank.ways[0]
        if not any(way.get(name) for name in call.listed):
            return False
        nearest = self._chooser.nearest(call, planned.choice.clause, len(call.worked))
        return wrong_copy(arguments, call, nearest, way, planned.choice.clause)

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls that are written and not yet made."""
        return tuple(p.call for p in self._planned if p.call is not None and p.outcome is None)

    def answered(self, call: ToolCall, outcome: Outcome, error: str) -> None:
        """A call was made. One that failed is written anew, as long as there is another way.

        Not one that changes something: another way to read the words is another change.
        """
        planned = next(p for p in self._planned if p.call is call)
        planned.outcome, planned.error = outcome, error
        looks = planned.choice.call.effect in HARMLESS
        failed = error in ("call_failed", "invalid_arguments")
        if failed and looks and planned.tries < limits.GUIDE_TRIES:
            left = planned.blank.without(call.arguments)
            if left.ways:
                planned.blank, planned.tries = left, planned.tries + 1
                planned.call, planned.outcome, planned.error = None, None, ""
                self._settle_again(planned.choice.call.name)

    @property
    def settled(self) -> Capabilities:
        """The calls that the person's own words ask for: each once, and anew once it failed.

        Who makes the calls spends them in it.
        """
        return self._settled

    def _settle_again(self, name: str) -> None:
        """A call is to be tried anew. One that never got as far as to be made is still settled."""
        left = sum(each.uses or 0 for each in self._settled if each.call == name)
        if left < sum(p.open for p in self._planned if p.choice.call.name == name):
            self._settled.give(Capability(name, uses=1))

    def call_messages(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation with the card of the next call at its tail."""
        planned = next(p for p in self._planned if p.open)
        call, clause = planned.choice.call, planned.choice.clause
        lines = [f"Tool {call.name}({', '.join(call.schema['properties'])}): {call.description}"]
        nearest = self._chooser.nearest(call, clause, len(call.worked))
        way = planned.blank.ways[0]
        shown = 1 if any(way.get(name) for name in call.listed) else _SHOWN
        for worked in adapted(call, nearest, way, shown):
            arguments = json.dumps(dict(worked.arguments), ensure_ascii=False)
            lines += [f"Question: {worked.question}", f"{OPENING}{arguments}"]
        card = "\n".join([*lines, f"Question: {clause}"])
        return self._suited([*messages, Message("system", card)])

    def reply_messages(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation as the model sees it when it replies."""
        return self._suited(messages)

    def reply_grammar(self) -> str:
        """Binds the reply to the results; empty where there is none, or a call says nothing."""
        answered = [p for p in self._planned if p.outcome is not None]
        if self._undone and not self._planned:
            return Grammar().render(seq(self._undone))
        if not answered or any(not _ways_to_say(p, several=False) for p in answered):
            return ""
        sentences: list[Expr | str] = []
        for planned in answered:
            said = _ways_to_say(planned, several=len(answered) > 1)
            said = self._chooser.fitting(planned.choice.clause, said)
            sentences += [" " if sentences else "", alt(*said)]
        return Grammar().render(seq(*sentences))

    @property
    def more(self) -> bool:
        """Whether the message asks something besides its calls, and the reply was bound."""
        return bool(self._rest and self.reply_grammar())

    def rest_messages(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation when the model answers what the message asks besides its calls.

        Empty where there is nothing more. That part stands alone, as an ordinary turn: a small
        model goes on about the results otherwise.
        """
        if not self.more:
            return []
        asked = max(at for at, message in enumerate(messages) if message.role == "user")
        return self._suited([*messages[:asked], Message("user", self._rest)])

    def _suited(self, messages: Sequence[Message]) -> list[Message]:
        return suited(messages, folds=self._folds)


class Guide:
    """Chooses calls for a model that cannot.

    Args:
        embed: The embedder's ``embed``.
        cache: A file that keeps what was fitted.
        render: Makes a prompt of messages; it is asked once what the template can show.
    """

    def __init__(
        self, embed: Embed, cache: Path | None = None, render: Render | None = None
    ) -> None:
        self._embed = embed
        self._cache = cache
        self._render = render
        self._folds: bool | None = None if render else False
        self._fittings: dict[frozenset[str], asyncio.Task[Chooser]] = {}  # used last at the end

    def prepare(self, calls: Sequence[Syscall]) -> asyncio.Task[Chooser]:
        """Fit the chooser to ``calls`` in the background: once, and again where that failed."""
        names = frozenset(call.name for call in calls if call.worked)
        fitting = self._fittings.pop(names, None)
        if fitting is None or (fitting.done() and _failed(fitting)):
            wider = next((known for known in self._fittings if names < known), None)
            work = self._fitted(calls, names, self._fittings[wider] if wider else None)
            fitting = asyncio.create_task(work, name="fit chooser")
        self._fittings[names] = fitting
        while len(self._fittings) > _TABLES:
            del self._fittings[next(iter(self._fittings))]
        return fitting

    async def _fitted(
        self,
        calls: Sequence[Syscall],
        names: frozenset[str],
        wider: asyncio.Task[Chooser] | None,
    ) -> Chooser:
        if wider is not None:
            with contextlib.suppress(Exception):  # then it is fitted by itself
                return (await asyncio.shield(wider)).among(calls)
        cache = self._cache
        if cache is not None:
            cache = cache.with_stem(f"{cache.stem}-{_digest(sorted(names))}")
        return await asyncio.to_thread(Chooser, calls, self._embed, chat_bank(), cache, FITTED)

    async def plan(
        self, history: Sequence[Message], calls: Sequence[Syscall], *, told: str = ""
    ) -> Steps:
        """What the turn that answers the newest message is to do.

        Args:
            history: What was said.
            calls: What can be called.
            told: What the reply says where the message is no person's: then nothing is called.

        Whoever stops waiting for it leaves the fitting to go on: the next turn needs it too.
        """
        chooser = await asyncio.shield(self.prepare(calls))
        if self._folds is None:
            self._folds = await self._must_fold()
        if told:
            return Steps(chooser, Reading(), folds=bool(self._folds), undone=told)
        message = history[-1].content if history and history[-1].role == "user" else ""
        reading = _asked(message, calls)
        doubted, forbidden = frozenset[str](), False
        if reading is None:
            found, going_on = await asyncio.to_thread(_understood, chooser, message, history)
            reading, doubted, forbidden = _ordered(message, found, going_on)
        undone, owed = _undone(message, calls), ""
        if forbidden and not undone and not reading.choices:
            undone = _FORBIDDEN
        elif message and not undone and not reading.choices:
            undone = await asyncio.to_thread(_unclear, chooser, message)
        if undone and _ASKS_BESIDES.search(message):
            undone, owed = "", undone  # the model answers the rest
        return Steps(chooser, reading, doubted=doubted, folds=self._folds, undone=undone, owed=owed)

    def shown(self, messages: Sequence[Message]) -> list[Message]:
        """The conversation as the model is shown it before it replies, as far as is known."""
        return suited(messages, folds=bool(self._folds))

    async def _must_fold(self) -> bool:
        """Whether the template cannot show a result and a card behind a person's message."""
        assert self._render is not None
        shown = [("system", "Be kind."), ("user", "Hello."), ("tool", "A result.")]
        shown += [("assistant", "An answer."), ("user", "Good."), ("system", "A card.")]
        try:
            prompt = await self._render([Message(role, text) for role, text in shown])
        except TemplateError:
            return True
        at = -1
        for _, text in shown:
            at = prompt.text.find(text, at + 1)
            if at < 0:
                return bool(prompt.text)  # a processor that takes messages renders no text
        return False


def _digest(names: Sequence[str]) -> str:
    """What tells the fit for one table of calls from that for another."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def _failed(fitting: asyncio.Task[Chooser]) -> bool:
    return fitting.cancelled() or fitting.exception() is not None


def suited(messages: Sequence[Message], *, folds: bool) -> list[Message]:
    """Without the assistant's bare calls: the model is shown questions, results, answers."""
    shown = [m for m in messages if not (m.role == "assistant" and m.calls and not m.content)]
    return folded(shown) if folds else shown


def folded(messages: Sequence[Message]) -> list[Message]:
    """Only the person's and the model's turns, behind the first system message.

    Results and cards stand at the end of the person's message they belong to.
    """
    out: list[Message] = []
    for message in messages:
        if message.role == "tool" or (message.role == "system" and out):
            if out and out[-1].role == "user":
                out[-1] = replace(out[-1], content=f"{out[-1].content}\n\n{message.content}")
            else:
                out.append(Message("user", message.content))
        else:
            out.append(message)
    return out


def _asked(message: str, calls: Sequence[Syscall]) -> Reading | None:
    """The call that the message asks for in so many words."""
    for call in calls:
        if (arguments := call.literally(message)) is not None:
            way = next(iter(readings(call, message)), {})
            lists = {name: way[name] for name in call.listed if name in way}
            return Reading((Choice(call, message, ways=({**lists, **arguments},)),))
    return None


def _undone(message: str, calls: Sequence[Syscall]) -> str:
    """What is to be said where no call follows a message that seems to ask for one."""
    return next((said for call in calls if (said := call.left_undone(message))), "")


def _unclear(chooser: Chooser, message: str) -> str:
    """What is to be said where a message seems to want a change that its words do not settle.

    A small model would say that it is done.
    """
    wish = chooser.wish(message)
    if wish is None:
        return ""
    return _say_it_as(chooser, wish.call, message)


def _say_it_as(chooser: Chooser, call: Syscall, message: str) -> str:
    """What is said where a message does not settle a call that it seems to want."""
    said = chooser.nearest(call, message, 1)[0].question.strip().rstrip(".")
    return f"Nothing was done: what you want done is not clear enough. Say it as in “{said}”."


def _understood(chooser: Chooser, message: str, history: Sequence[Message]) -> tuple[Reading, bool]:
    """How a message is read, and whether it only goes on with what was asked before."""
    reading = chooser.read(message) if message else Reading()
    if not reading.choices and message:
        going_on = follow_up(message, earlier(history), chooser.calls)
        if going_on is not None:
            return Reading((Choice(going_on.call, message, ways=going_on.ways),)), True
    return reading, False


def _ordered(
    message: str, reading: Reading, going_on: bool
) -> tuple[Reading, frozenset[str], bool]:
    """The calls that are not forbidden, those of them that are in doubt, and whether one is."""
    kept, doubted, forbidden = list[Choice](), set[str](), False
    for choice in reading.choices:
        call = choice.call
        if call.effect in HARMLESS:
            kept.append(choice)
            continue
        others = [each.call for each in reading.choices if each is not choice]
        found = order(message, choice.clause, call, going_on=going_on, others=others)
        if found is Order.FORBIDDEN:
            forbidden = True
            continue
        # a look at the web, or a reminder, is rarely asked for in the form of an order
        slight = call.effect == "egress" or call.uses == ("timers",)
        if found is Order.ASKED_ABOUT and not slight:
            continue
        kept.append(choice)
        doubtful = found is Order.DOUBTFUL and (not slight or pasted(message))
        # what a call before it had, a stranger may have written there
        taken_over = going_on and (not slight or any(len(way) > 1 for way in choice.ways))
        if doubtful or taken_over:
            doubted.add(call.name)
    return replace(reading, choices=tuple(kept)), frozenset(doubted), forbidden


def _read(written: str) -> dict[str, Any] | None:
    """The arguments that were written; None where the text is cut off."""
    try:
        arguments = json.loads(written.removeprefix(OPENING))
    except ValueError:
        return None
    return arguments if isinstance(arguments, dict) else None


def _repeated(choice: Choice, arguments: Mapping[str, Any]) -> bool:
    """Whether a model filled in a call as an example does, with values that nobody named."""
    said = words(choice.clause)
    for worked in choice.call.worked:
        if dict(worked.arguments) == dict(arguments):
            own = words(worked.question) & words(json.dumps(arguments, ensure_ascii=False))
            return not own <= said
    properties = choice.call.schema.get("properties", {})
    return any(
        _echoes(value, choice)
        or copied_names(value, choice.call, choice.clause)
        or _is_an_examples(name, value, choice)
        for name, value in arguments.items()
        if name not in choice.call.copied and isinstance(value, str)
        if "enum" not in properties.get(name, {})
    )


def _is_an_examples(name: str, value: str, choice: Choice) -> bool:
    """Whether an argument is an example's, and nothing that the person said."""
    text = " ".join(value.lower().split())
    if not text or text in " ".join(choice.clause.lower().split()):
        return False
    return any(worked.arguments.get(name) == value for worked in choice.call.worked)


def _echoes(written: str, choice: Choice) -> bool:
    """Whether a composed text is an example's question, and nothing that the person said."""
    text = " ".join(written.lower().split()).strip(EDGE)
    if len(text.split()) < _ECHO_WORDS or text in " ".join(choice.clause.lower().split()):
        return False
    asked = (" ".join(worked.question.lower().split()) for worked in choice.call.worked)
    return any(text in question for question in asked)


def _ways_to_say(planned: _Planned, *, several: bool) -> tuple[str, ...]:
    """Sentences that state a result; of several results each is said with a value of its call.

    A call that failed is said in the tool's own words; of code that raised, what it raised.
    """
    assert planned.outcome is not None
    if planned.outcome.failed:
        lines = planned.outcome.text.strip().splitlines()
        return (_ended(f"The code failed: {lines[-1].strip()}"),) if lines else ()
    if planned.error and not planned.outcome.failed:
        text = planned.outcome.text.removeprefix("Error: ").strip()
        return (text if text[-1:] in (".", "!", "?") else f"{text}.",) if text else ()
    said = planned.outcome.said
    values = [str(v).lower() for v in planned.call.arguments.values() if v] if planned.call else []
    telling = tuple(s for s in said if any(v in s.lower() for v in values))
    return tuple(_ended(s) for s in (telling if several and telling else said))


def _ended(sentence: str) -> str:
    """A sentence with its full stop, where what it quotes has not ended it."""
    whole = sentence.rstrip("”\"')").endswith((".", "!", "?", "…", "```"))
    return sentence if whole else f"{sentence}."
