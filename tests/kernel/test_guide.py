from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmos.boot import boot
from llmos.config import load
from llmos.engine.template import TemplateWorker
from llmos.errors import TemplateError
from llmos.events import Message, StoredMessage, ToolCall
from llmos.kernel.choose import Choice, Reading
from llmos.kernel.fill import OPENING
from llmos.kernel.guide import Guide, Steps, chat_bank, folded
from llmos.kernel.kernel import Kernel
from llmos.kernel.spans import Copied
from llmos.kernel.syscalls import CODE_RAISED, Example, Outcome, Syscall


def is_room(text: str) -> bool:
    return text.lower() in {"kitchen", "hall"}


async def nothing(_process: Any, _arguments: Any) -> Outcome:
    return Outcome("done")


LAMP = Syscall(
    "lamp.read",
    "Tells whether a room is lit.",
    {"type": "object", "properties": {"room": {"type": "string"}}},
    "read",
    nothing,
    worked=(Example("Is the hall lit?", {"room": "hall"}, "yes"),),
    copied={"room": Copied(is_room, "room")},
)
MIX = Syscall(
    "paint.mix",
    "Mixes paint.",
    {"type": "object", "properties": {"mix": {"type": "string"}}},
    "read",
    nothing,
    worked=(Example("Mix 1 with 2.", {"mix": "1 with 2"}, "3"),),
    copied={"mix": Copied(lambda _: False, "mix", joins=(" with ",))},
)


class Plain:
    """A chooser that knows the worked examples and nothing of meaning."""

    calls: tuple[Syscall, ...] = ()
    wished: Choice | None = None

    def read(self, message: str) -> Reading:
        return Reading()

    def wish(self, message: str) -> Choice | None:
        return self.wished

    def nearest(self, call: Syscall, clause: str, count: int) -> list[Example]:
        return list(call.worked)[-count:]

    def fitting(self, clause: str, sentences: Sequence[str]) -> tuple[str, ...]:
        return tuple(sentences)


def steps_for(*asked: tuple[Syscall, str], rest: str = "", folds: bool = False) -> Steps:
    choices = tuple(Choice(call, clause) for call, clause in asked)
    return Steps(Plain(), Reading(choices, rest), folds=folds)  # type: ignore[arg-type]


def made(steps: Steps) -> list[dict[str, Any]]:
    return [call.arguments for call in steps.calls()]


def test_a_call_with_one_way_is_made_without_the_model() -> None:
    steps = steps_for((LAMP, "is the kitchen lit?"))
    assert steps.next_call() is None
    assert made(steps) == [{"room": "kitchen"}]


def test_the_model_writes_what_is_open_from_the_card_at_the_tail() -> None:
    steps = steps_for((MIX, "mix 3 and 4"))
    step = steps.next_call()
    assert step is not None
    shown = steps.call_messages([Message("user", "mix 3 and 4")])
    assert shown[0] == Message("user", "mix 3 and 4")
    assert shown[-1].content.endswith("Question: mix 3 and 4")
    assert 'Call: {"mix": "1 with 2"}' in shown[-1].content
    steps.take(OPENING + json.dumps({"mix": "4 with 3"}))
    assert steps.next_call() is None
    assert made(steps) == [{"mix": "4 with 3"}]


@pytest.mark.parametrize("written", ["", "Ca", OPENING, OPENING + '{"mix": "4 wi', "Call: 7"])
def test_a_call_that_was_cut_off_fails_with_a_sentence(written: str) -> None:
    steps = steps_for((MIX, "mix 3 and 4"))
    assert steps.next_call() is not None
    steps.take(written)
    assert steps.next_call() is None
    assert steps.calls() == ()
    assert "could not be written out" in steps.reply_grammar()


def test_an_examples_call_is_not_made_for_words_that_do_not_name_its_values() -> None:
    worked = Example("How long is the word lamp?", {"code": "len('lamp')"}, "")
    schema = {"type": "object", "properties": {"code": {"type": "string"}}}
    call = Syscall("code.run", "Runs code.", schema, "pure", nothing, worked=(worked,))
    for words, written, is_made in (
        ("How long is the word kitchen?", "len('lamp')", False),
        ("How many letters has lamp?", "len('lamp')", True),
        ("How long is the word kitchen?", "len('kitchen')", True),
    ):
        steps = steps_for((call, words))
        assert steps.next_call() is not None
        steps.take(OPENING + json.dumps({"code": written}))
        assert steps.next_call() is None
        assert bool(steps.calls()) is is_made
        if not is_made:
            assert "A larger model can do it" in steps.reply_grammar()


def test_a_value_that_only_an_example_has_is_not_written_beside_the_persons_own() -> None:
    worked = Example("Write hello into a.txt.", {"path": "a.txt", "text": "hello"}, "")
    properties = {"path": {"type": "string"}, "text": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["path", "text"]}
    call = Syscall("note.write", "Writes a file.", schema, "write", nothing, worked=(worked,))
    for words, is_made in (("write what it says to b.txt", False), ("Say hello in b.txt", True)):
        steps = steps_for((call, words))
        assert steps.next_call() is not None
        steps.take(OPENING + json.dumps({"path": "b.txt", "text": "hello"}))
        assert bool(steps.calls()) is is_made


def test_a_failed_call_is_tried_with_the_other_value() -> None:
    steps = steps_for((LAMP, "is the kitchen or the hall lit?"))
    assert steps.next_call() is not None
    steps.take(OPENING + '{"room": "hall"}')
    [call] = steps.calls()
    steps.answered(call, Outcome("Error: There is no lamp."), "call_failed")
    assert steps.next_call() is None
    assert made(steps) == [{"room": "kitchen"}]


def test_a_change_that_failed_is_not_made_the_other_way_round() -> None:
    steps = steps_for((replace(LAMP, effect="write"), "swap the kitchen for the hall"))
    assert steps.next_call() is not None
    steps.take(OPENING + '{"room": "hall"}')
    [call] = steps.calls()
    steps.answered(call, Outcome("Error: There is no lamp."), "call_failed")
    assert steps.next_call() is None
    assert steps.calls() == ()


def uses(steps: Steps) -> list[int | None]:
    return [each.uses for each in steps.settled if each.lives(0)]


def test_a_call_is_settled_once_and_anew_only_after_it_failed() -> None:
    steps = steps_for((LAMP, "is the kitchen or the hall lit?"))
    assert uses(steps) == [1]
    assert steps.next_call() is not None
    steps.take(OPENING + '{"room": "hall"}')
    [call] = steps.calls()
    settled = steps.settled
    settled.spend(next(iter(settled)))  # as the gate does when the call is made
    assert uses(steps) == []
    steps.answered(call, Outcome("Error: There is no lamp."), "call_failed")
    assert uses(steps) == [1]
    assert steps.next_call() is None
    [call] = steps.calls()
    settled.spend(next(each for each in settled if each.lives(0)))
    steps.answered(call, Outcome("The kitchen is lit."), "")
    assert uses(steps) == []
    assert steps.settled is settled  # whoever holds it sees what is settled anew


def test_a_call_that_was_never_made_is_not_settled_twice() -> None:
    steps = steps_for((LAMP, "is the kitchen or the hall lit?"))
    assert steps.next_call() is not None
    steps.take(OPENING + '{"room": "hall"}')
    [call] = steps.calls()
    steps.answered(call, Outcome("Error: That is no room."), "invalid_arguments")
    assert uses(steps) == [1]


def test_an_error_is_said_in_the_tools_own_words() -> None:
    steps = steps_for((LAMP, "is the kitchen lit?"))
    assert steps.next_call() is None
    [call] = steps.calls()
    steps.answered(call, Outcome("Error: The lamp is gone"), "call_failed")
    assert steps.next_call() is None
    assert steps.calls() == ()
    assert '"The lamp is gone."' in steps.reply_grammar()


def test_of_code_that_raised_it_is_said_what_and_nothing_is_tried_again() -> None:
    steps = steps_for((LAMP, "is the kitchen or the hall lit?"))
    assert steps.next_call() is not None
    steps.take(OPENING + '{"room": "hall"}')
    [call] = steps.calls()
    steps.answered(call, Outcome("Traceback: …\nKeyError: no lamp", failed=True), CODE_RAISED)
    assert steps.next_call() is None
    assert steps.calls() == ()
    assert '"The code failed: KeyError: no lamp."' in steps.reply_grammar()


@pytest.mark.parametrize(
    ("written", "refused"),
    [
        ("paint the hall in lime green", True),
        ("Paint the hall in lime green.", True),
        ("lime green", False),
        ("paint the kitchen in lime green", False),
    ],
)
def test_a_text_that_is_an_examples_question_is_no_answer(written: str, refused: bool) -> None:
    note = replace(
        LAMP,
        schema={"type": "object", "properties": {"text": {"type": "string"}}},
        worked=(Example("Please paint the hall in lime green", {"text": "lime green"}, ""),),
        copied={},
    )
    steps = steps_for((note, "note that the kitchen is cold"))
    assert steps.next_call() is not None
    steps.take(OPENING + json.dumps({"text": written}))
    assert (not steps.calls()) is (refused or written == "lime green")
    steps = steps_for((note, "please paint the hall in lime green"))
    assert steps.next_call() is not None
    steps.take(OPENING + json.dumps({"text": written}))
    assert steps.calls()


def test_every_reply_states_every_result() -> None:
    steps = steps_for((LAMP, "is the kitchen lit?"), (LAMP, "is the hall lit?"))
    assert steps.next_call() is None
    first, second = steps.calls()
    steps.answered(first, Outcome("on", ("The kitchen is lit", "Yes")), "")
    steps.answered(second, Outcome("off", ("The hall is dark", "No")), "")
    grammar = steps.reply_grammar()
    assert "The kitchen is lit." in grammar
    assert "The hall is dark." in grammar
    assert "Yes." not in grammar  # of two results, each says what it is about


def test_a_call_that_says_nothing_leaves_the_reply_free() -> None:
    steps = steps_for((LAMP, "is the kitchen lit?"))
    assert steps.next_call() is None
    steps.answered(steps.calls()[0], Outcome("on"), "")
    assert steps.reply_grammar() == ""


def test_a_reply_without_a_call_is_bound_to_what_was_not_done() -> None:
    steps = Steps(Plain(), Reading(), undone="Nothing was kept.")  # type: ignore[arg-type]
    assert steps.next_call() is None
    assert '"Nothing was kept."' in steps.reply_grammar()
    choice = Choice(LAMP, "is the kitchen lit?")
    steps = Steps(Plain(), Reading((choice,)), undone="Nothing was kept.")  # type: ignore[arg-type]
    assert steps.next_call() is None
    steps.answered(steps.calls()[0], Outcome("on", ("It is lit",)), "")
    assert "Nothing was kept" not in steps.reply_grammar()


@pytest.mark.parametrize(
    ("message", "bound"),
    [
        ("Keep that.", True),
        ("Hi, would you keep that?", True),
        ("Keep that. What else is there?", False),
        ("Keep that:\n\nDear all, the bins go out on Tuesday.", False),
    ],
)
async def test_a_message_that_asks_something_besides_is_answered(
    monkeypatch: pytest.MonkeyPatch, message: str, bound: bool
) -> None:
    monkeypatch.setattr("llmos.kernel.guide.Chooser", lambda *_: Plain())
    keep = replace(LAMP, worked=(), wished=("(?:hi, would you )?keep",), undone="Nothing was kept.")
    guide = Guide(lambda _: None)  # type: ignore[arg-type, return-value]
    steps = await guide.plan([Message("user", message)], [keep])
    assert ("Nothing was kept" in steps.reply_grammar()) is bound


@pytest.mark.parametrize(
    ("message", "bound", "owed"),
    [
        ("Light it all up.", True, False),
        ("Light it all up. And how old is the sun?", False, True),
        ("", False, False),
    ],
)
async def test_a_wish_that_settles_no_call_is_told_to_be_undone(
    monkeypatch: pytest.MonkeyPatch, message: str, bound: bool, owed: bool
) -> None:
    plain = Plain()
    plain.wished = Choice(LAMP, message, 0.7)
    monkeypatch.setattr("llmos.kernel.guide.Chooser", lambda *_: plain)
    guide = Guide(lambda _: None)  # type: ignore[arg-type, return-value]
    steps = await guide.plan([Message("user", message)], [LAMP])
    said = (
        "Nothing was done: what you want done is not clear enough. Say it as in “Is the hall lit?”."
    )
    assert (said in steps.reply_grammar()) is bound
    assert steps.owed == (said if owed else "")


def test_what_else_was_asked_is_answered_as_a_turn_of_its_own() -> None:
    message = Message("user", "is the kitchen lit, and why is the sky blue?")
    steps = steps_for((LAMP, "is the kitchen lit"), rest="why is the sky blue?")
    assert steps.next_call() is None
    [call] = steps.calls()
    steps.answered(call, Outcome("on", ("The kitchen is lit",)), "")
    result = Message("tool", "on", call_id=call.id, name=call.name)
    shown = steps.rest_messages([Message("system", "Be kind."), message, result])
    assert shown == [Message("system", "Be kind."), Message("user", "why is the sky blue?")]
    assert steps_for((LAMP, "kitchen")).rest_messages([message]) == []


def test_the_model_is_not_shown_bare_calls() -> None:
    call = ToolCall("1", "lamp.read", {"room": "hall"})
    history = [
        Message("user", "is the hall lit?"),
        Message("assistant", "", (call,)),
        Message("tool", "on", call_id="1", name="lamp.read"),
    ]
    shown = steps_for().reply_messages(history)
    assert [m.role for m in shown] == ["user", "tool"]
    folds = steps_for(folds=True).reply_messages(history)
    assert folds == [Message("user", "is the hall lit?\n\non")]


def test_folding_leaves_only_the_two_who_speak() -> None:
    messages = [Message(role, role) for role in ("system", "tool", "user", "tool", "assistant")]
    assert [m.role for m in folded([*messages, Message("system", "card")])] == [
        "system",
        "user",
        "user",
        "assistant",
        "user",
    ]


ALTERNATES = (
    "{%- if messages[0].role == 'system' -%}{{ raise_exception('System role not supported') }}"
    "{%- endif -%}{%- for m in messages -%}"
    "{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{ raise_exception('Conversation roles must alternate') }}{%- endif -%}"
    "{{ '<start_of_turn>' + m.role + '\\n' + m.content + '<end_of_turn>\\n' }}{%- endfor -%}"
)
MUTE = "{%- for m in messages if m.role in ('user', 'assistant') -%}{{ m.content }}{%- endfor -%}"


@pytest.mark.parametrize(("template", "expected"), [("", False), (ALTERNATES, True), (MUTE, True)])
async def test_a_template_that_shows_no_results_is_found_out(template: str, expected: bool) -> None:
    worker = TemplateWorker(template, bos="", eos="")

    class Rendered:
        def __init__(self, text: str) -> None:
            self.text = text

    async def render(messages: Sequence[Message]) -> Rendered:
        return Rendered(await worker.render(messages, (), True))

    try:
        guide = Guide(lambda _: None, render=render)  # type: ignore[arg-type, return-value]
        assert await guide._must_fold() is expected
        if template == ALTERNATES:
            shown = [("system", "s"), ("user", "q"), ("tool", "r"), ("system", "card")]
            text = await worker.render(folded([Message(*m) for m in shown]), (), True)
            assert text.index("q\n") < text.index("r\n\n") < text.index("card")
            with pytest.raises(TemplateError):
                await worker.render([Message(*m) for m in shown], (), True)
    finally:
        await worker.close()


def test_the_bank_holds_many_ordinary_turns() -> None:
    assert len(chat_bank()) > 250
    assert len(set(chat_bank())) == len(chat_bank())


# --- on the starter model ---------------------------------------------------------------------


@pytest.fixture
async def kernel(
    starter_weights: Path,
    embedder_weights: Path,
    embedder_tokenizer: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Kernel]:
    monkeypatch.setenv("LLMOS_CLOCK", "2025-11-20T17:45:00+00:00")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LLMOS_ENGINE_MODEL", str(starter_weights))
    monkeypatch.setenv("LLMOS_ENGINE_WINDOW", "2048")
    monkeypatch.setenv("LLMOS_ENGINE_THREADS", "1")
    monkeypatch.setenv("LLMOS_AGENT_REPLY_TOKENS", "40")
    async with boot(load()) as running:
        yield running


async def tell(kernel: Kernel, pid: int, text: str) -> list[StoredMessage]:
    """What a message brought about, itself left out."""
    before = await kernel.messages(pid)
    await kernel.send(pid, text)
    await kernel.wait(pid, 120)
    return (await kernel.messages(pid))[len(before) + 1 :]


def called(stored: Sequence[StoredMessage]) -> list[str]:
    return [call.name for m in stored for call in m.message.calls]


async def test_the_starter_model_answers_with_what_the_tools_gave(kernel: Kernel) -> None:
    pid = (await kernel.create()).pid

    both = await tell(kernel, pid, "What is 27 * 14 and what time is it in Tokyo?")
    assert len(called(both)) == 2
    assert "378" in both[-1].message.content
    assert "02:45" in both[-1].message.content

    goes_on = await tell(kernel, pid, "and in Paris?")
    assert len(called(goes_on)) == 1
    assert "18:45" in goes_on[-1].message.content

    wrong = await tell(kernel, pid, "what is 1/0?")
    assert re.fullmatch(r"Division by zero is not possible\.", wrong[-1].message.content)

    chat = await tell(kernel, pid, "thank you, you are very kind")
    assert called(chat) == []
    assert chat[-1].message.content


async def test_each_turn_of_a_long_chat_begins_with_the_cells_of_the_last(kernel: Kernel) -> None:
    pid = (await kernel.create()).pid
    held = 0
    with kernel.subscribe(pid) as events:
        for turn in range(6):
            question = f"What is {turn + 3} * 17?" if turn % 2 else "Tell me about the sea."
            await kernel.send(pid, question)
            async for event in events:
                if getattr(event, "usage", None) is not None:
                    break
            if turn:
                assert event.usage.cached_tokens >= held - 2, turn
            held = event.usage.prompt_tokens + 1
            await kernel.wait(pid, 120)


async def test_a_fitting_that_failed_is_tried_again_and_one_cancelled_wait_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries, release = [], threading.Event()

    def fit(*_: Any) -> Plain:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("no memory")
        release.wait()
        return Plain()

    monkeypatch.setattr("llmos.kernel.guide.Chooser", fit)
    guide = Guide(lambda _: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(RuntimeError):
        await guide.prepare([LAMP])
    fitting = guide.prepare([LAMP])
    waiting = asyncio.create_task(guide.plan([], [LAMP]))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not fitting.cancelled()
    release.set()
    assert isinstance(await guide.plan([], [LAMP]), Steps)
    assert len(tries) == 2
