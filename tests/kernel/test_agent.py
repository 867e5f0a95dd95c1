from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmos import limits
from llmos.config import AgentConfig
from llmos.errors import StoreFull
from llmos.events import (
    CallFinished,
    CallStarted,
    ReplyDelta,
    ReplyFinished,
    TurnFinished,
    TurnStarted,
)
from llmos.kernel.syscalls import Outcome
from llmos.kernel.turn import repeats
from llmos.labels import Label, Origin
from tests.kernel.kernels import call, kernel_on, row, said, shown, turn, until


async def double(_process, arguments) -> Outcome:
    return Outcome(f"doubled {2 * arguments['n']}")


async def test_a_call_is_made_and_the_model_goes_on_with_its_result(home: Path):
    rules = [("doubled 42", "It is 42."), ("Double", "Let me see. " + call("test.double", n=21))]
    async with kernel_on(home, rules, calls=[row("test.double", double)]) as kernel:
        pid = (await kernel.create()).pid
        events, finished = await turn(kernel, pid, "Double 21")
        assert said(kernel, pid) == [
            ("user", "Double 21"),
            ("assistant", "Let me see."),
            ("tool", "doubled 42"),
            ("assistant", "It is 42."),
        ]
    assert finished.reason == "stop" and finished.usage.completion_tokens > 0
    shown = "".join(e.text for e in events if isinstance(e, ReplyDelta))
    assert shown == "Let me see.It is 42."
    kinds = [type(e) for e in events if not isinstance(e, ReplyDelta)]
    expected = [TurnStarted, ReplyFinished, CallStarted, CallFinished, ReplyFinished, TurnFinished]
    assert [k for k in kinds if k in expected] == expected
    seqs = [e.seq for e in events if isinstance(e, TurnStarted | ReplyFinished)]
    assert seqs == sorted(seqs) and all(seqs)


async def test_calls_run_side_by_side_and_answer_in_their_order(home: Path):
    second = asyncio.Event()

    async def run(_process, arguments) -> Outcome:
        if arguments["n"] == 1:
            await second.wait()  # would never end if they ran one after the other
        second.set()
        return Outcome(f"result {arguments['n']}")

    both = call("t.c", n=1) + "\n" + call("t.c", n=2)
    rules = [("result", "Done."), ("Go", both)]
    async with kernel_on(home, rules, calls=[row("t.c", run)]) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Go")
        assert [t for role, t in said(kernel, pid) if role == "tool"] == ["result 1", "result 2"]


async def fails(_process, _arguments) -> Outcome:
    raise RuntimeError("secret detail")


async def hangs(_process, _arguments) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize(
    ("written", "sentence", "code"),
    [
        (call("t.fails"), "Error: t.fails failed.", "call_failed"),
        (call("t.hangs"), "Error: t.hangs took too long.", "call_timeout"),
        (
            call("t.egress", n=7),
            "Error: t.egress was not made: nobody was there to allow",
            "denied",
        ),
        (call("no.such"), "Error: There is no call 'no.such'. There are:", "unknown_call"),
        ('<tool_call>\n{"name": "t.fails", "argu', "", ""),
        (
            '<tool_call>\n{"name": "t.fails", "arguments": [1]}\n</tool_call>',
            "Error: The call of t.fails needs",
            "invalid_arguments",
        ),
        (
            "<tool_call>\nwhatever\n</tool_call>",
            "Error: A call must begin with '{'",
            "invalid_arguments",
        ),
        (
            '<tool_call>\n{"name": 1}\n</tool_call>',
            'Error: A call needs a "name"',
            "invalid_arguments",
        ),
    ],
)
async def test_what_goes_wrong_in_a_call_is_told_to_the_model(
    home: Path, written: str, sentence: str, code: str
):
    calls = [
        row("t.fails", fails),
        row("t.hangs", hangs, timeout=0.05),
        row("t.egress", fails, effect="egress"),
    ]
    rules = [("tool_response", "I see."), ("Go", f"Well. {written}")]
    async with kernel_on(home, rules, calls=calls) as kernel:
        pid = (await kernel.create()).pid
        events, finished = await turn(kernel, pid, "Go")
        results = [m for m in kernel.journal.messages(pid) if m.message.role == "tool"]
        assert finished.reason == "stop"
        assert said(kernel, pid)[-1] == ("assistant", "I see.")
        if code:
            assert results[0].message.content.startswith(sentence)
            assert results[0].error == code
        assert "secret detail" not in str(events)
        assert kernel.journal.open_calls() == []
        assert said(kernel, pid)[1] == ("assistant", "Well.")


async def test_code_that_raised_is_a_failed_call_whose_text_the_model_reads_whole(home: Path):
    async def raises(_process, _arguments) -> Outcome:
        return Outcome("so far\nZeroDivisionError", failed=True, label=Label(Origin.PLUGIN))

    rules = [("so far\nZeroDivisionError", "It divides by zero."), ("Go", call("t.raises"))]
    async with kernel_on(home, rules, calls=[row("t.raises", raises)]) as kernel:
        pid = (await kernel.create()).pid
        events, _ = await turn(kernel, pid, "Go")
        [finished] = [event for event in events if isinstance(event, CallFinished)]
        assert (finished.error, finished.result) == ("code_raised", "so far\nZeroDivisionError")
        [result] = [m for m in kernel.journal.messages(pid) if m.message.role == "tool"]
        assert (result.error, result.message.content) == (finished.error, finished.result)
        assert said(kernel, pid)[-1] == ("assistant", "It divides by zero.")
        assert (await kernel.tracer.replay(pid)).same


async def test_after_a_malformed_call_the_generation_is_cancelled_and_others_in_it_are_made(
    home: Path,
):
    good = call("t.c", n=4)
    rules = [("tool_response", "Fine."), ("Go", good + "\n<tool_call>oops" + "x" * 3000)]
    async with kernel_on(home, rules, calls=[row("t.c", double)], slow=True) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Go")
        results = [t for role, t in said(kernel, pid) if role == "tool"]
        assert results[0] == "doubled 8" and results[1].startswith("Error: A call must begin")
        assert kernel.backend.stats()["sampled_tokens"] < 3000


async def test_a_call_repeated_without_end_is_stopped(home: Path):
    async with kernel_on(home, lambda _: call("t.c", n=1), calls=[row("t.c", double)]) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "loop"
        assert "repeated the same call" in finished.error
        assert len(kernel.journal.calls(pid)) == limits.SAME_CALL_MAX
        _, again = await turn(kernel, pid, "Go on")  # the process lives, its history is whole
        assert again.reason == "loop"


async def test_rounds_and_calls_of_a_turn_are_bounded(home: Path):
    def script(prompt: str) -> str:
        return call("t.c", n=prompt.count("tool_response") + len(prompt))

    async with kernel_on(home, script, calls=[row("t.c", double)]) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert (finished.reason, finished.error) == (
            "loop",
            "The turn made too many rounds of calls.",
        )
    few = AgentConfig(calls=2)
    async with kernel_on(home / "2", script, calls=[row("t.c", double)], agent=few) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert (finished.reason, finished.code) == ("budget", "budget_exceeded")
        assert len(kernel.journal.calls(pid)) == 2


async def test_an_interrupt_in_mid_reply_keeps_what_was_written_once_and_marks_it(home: Path):
    async with kernel_on(home, [("Go", "word " * 600)], slow=True) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Go")
            await until(events, ReplyDelta)
            await kernel.signal(pid, "interrupt")
            finished = await until(events, TurnFinished)
        assert finished.reason == "interrupted" and not finished.error
        [_, reply] = kernel.journal.messages(pid)
        assert reply.partial and 0 < len(reply.message.content) < 3000
        assert ("word " * 600).startswith(reply.message.content)
        assert kernel.process(pid).state == "ready"
        assert kernel.process(pid).tokens >= len(reply.message.content)


async def test_an_interrupt_before_the_first_token_keeps_nothing(home: Path):
    async with kernel_on(home, [("Go", "word")], slow=True) as kernel:
        pid = (await kernel.create()).pid
        await kernel.send(pid, "Go")
        await kernel.signal(pid, "interrupt")
        await kernel.wait(pid)
        assert said(kernel, pid) == [("user", "Go")]
        _, finished = await turn(kernel, pid, "Go on")  # it does not linger
        assert finished.reason == "stop"


async def test_an_interrupt_on_an_idle_process_does_nothing(home: Path):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        await kernel.signal(pid, "interrupt")
        _, finished = await turn(kernel, pid, "Hello")
        assert finished.reason == "stop"


async def test_an_interrupt_in_mid_call_answers_the_call(home: Path):
    rules = [("Go on", "Fine."), ("Go", "Wait. " + call("t.hangs"))]
    async with kernel_on(home, rules, calls=[row("t.hangs", hangs)]) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Go")
            await until(events, CallStarted)
            await kernel.signal(pid, "interrupt")
            finished = await until(events, TurnFinished)
        assert finished.reason == "interrupted"
        assert said(kernel, pid)[1:] == [
            ("assistant", "Wait."),
            ("tool", "Error: t.hangs did not finish: the person stopped it."),
        ]
        assert kernel.journal.open_calls() == []
        _, finished = await turn(kernel, pid, "Go on")
        assert finished.reason == "stop"


async def test_a_turn_out_of_time_in_a_call_answers_the_call_and_says_so(home: Path):
    agent = AgentConfig(turn_seconds=0.5)
    async with kernel_on(
        home, [("Go", call("t.hangs"))], calls=[row("t.hangs", hangs)], agent=agent
    ) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert (finished.reason, finished.error) == ("budget", "The turn took longer than it may.")
        assert said(kernel, pid)[-1][1].endswith("the turn's time was up.")
        assert kernel.journal.open_calls() == []


async def test_a_turn_out_of_time_in_mid_reply_keeps_the_part(home: Path):
    agent = AgentConfig(turn_seconds=0.5)
    async with kernel_on(home, lambda _: "word " * 600, slow=True, agent=agent) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "budget"
        reply = kernel.journal.messages(pid)[-1]
        assert reply.partial and reply.message.content
        assert kernel.process(pid).tokens > 0  # a reply that was cut is paid for all the same


async def test_a_reply_longer_than_it_may_be_ends_with_length(home: Path):
    agent = AgentConfig(reply_tokens=10)
    async with kernel_on(home, lambda _: "0123456789abc", agent=agent) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "length"
        assert said(kernel, pid)[-1] == ("assistant", "0123456789")


async def test_a_call_cut_off_by_the_limit_is_not_made(home: Path):
    agent = AgentConfig(reply_tokens=40)
    async with kernel_on(
        home, lambda _: "Well. " + call("t.c", n=10**30), agent=agent, calls=[row("t.c", double)]
    ) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "length"
        assert kernel.journal.calls(pid) == []


async def test_a_system_prompt_too_long_for_the_window_says_so(home: Path):
    async with kernel_on(home, window=700) as kernel:
        pid = (await kernel.create(system="x" * 2000)).pid
        _, finished = await turn(kernel, pid, "Hello")
        assert (finished.reason, finished.code) == ("too_long", "context_length_exceeded")
        assert kernel.process(pid).state == "ready"


async def test_a_message_too_long_for_the_window_does_not_end_the_chat(home: Path):
    async with kernel_on(home, [("Hello", "Yes.")], window=1200) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello")
        _, finished = await turn(kernel, pid, "x" * 1600)  # two pages, each beyond the window
        assert finished.reason == "too_long" and "window holds 1200" in finished.error
        assert "not shown this turn again" in finished.error
        _, finished = await turn(kernel, pid, "Hello again")
        assert finished.reason == "stop"
        child = (await kernel.fork(pid)).pid
        said_before = kernel.journal.messages(pid)
    async with kernel_on(home, [("Hello", "Yes.")], window=1200) as kernel:
        assert kernel.journal.messages(pid) == said_before  # the journal has it all
        for each in (pid, child):
            _, finished = await turn(kernel, each, "Hello once more")
            assert finished.reason == "stop"
            texts = [m.content for m in await shown(kernel, each)]
            assert texts[-4:] == ["Hello again", "Yes.", "Hello once more", "Yes."]
            assert not any("xxx" in text for text in texts)


async def test_a_result_too_long_for_the_window_does_not_end_the_chat(home: Path):
    async def long(_process, _arguments) -> Outcome:
        return Outcome("x" * 3200)  # no page of it fits

    rules = [("Read", call("t.long"))]
    async with kernel_on(home, rules, calls=[row("t.long", long)], window=700) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Read")
        assert finished.reason == "too_long"
        _, finished = await turn(kernel, pid, "Hello")
        assert finished.reason == "stop"


class Planning:
    """A guide that does what a test says."""

    def __init__(self, plan) -> None:
        self.plan = plan

    def shown(self, history):
        return history


async def test_a_guide_that_fails_leaves_the_turn_to_the_model(home: Path):
    async def plan(_history, _rows):
        raise RuntimeError("no embedder")

    async with kernel_on(home) as kernel:
        kernel._agent._guide = Planning(plan)
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Hello")
        assert finished.reason == "stop" and said(kernel, pid)[-1] == ("assistant", "Yes.")


async def test_an_interrupt_while_the_guide_plans_ends_the_turn_at_once(home: Path):
    begun, release = asyncio.Event(), asyncio.Event()

    async def plan(_history, _rows):
        begun.set()
        await release.wait()

    async with kernel_on(home) as kernel:
        kernel._agent._guide = Planning(plan)
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Hello")
            await begun.wait()
            await kernel.signal(pid, "interrupt")
            assert (await until(events, TurnFinished)).reason == "interrupted"
        release.set()
        assert (await turn(kernel, pid, "Go on"))[1].reason != "interrupted"


async def test_the_guide_plans_while_memory_is_searched(home: Path):
    planned, searched = asyncio.Event(), asyncio.Event()

    async def plan(_history, _rows):
        planned.set()
        await searched.wait()
        raise RuntimeError("no embedder")

    async def search(_process, _message):
        await planned.wait()
        searched.set()

    async with kernel_on(home) as kernel:
        kernel._agent._guide = Planning(plan)
        kernel._transcript.bring_back = search
        pid = (await kernel.create()).pid
        assert (await turn(kernel, pid, "Hello"))[1].reason == "stop"


async def test_a_turn_that_cannot_begin_ends_the_guides_plan_too(home: Path):
    planned, cancelled = asyncio.Event(), asyncio.Event()

    async def plan(_history, _rows):
        planned.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def full(_process, _message):
        await planned.wait()
        raise StoreFull("The disk is full.")

    async with kernel_on(home) as kernel:
        kernel._agent._guide = Planning(plan)
        kernel._transcript.bring_back = full
        pid = (await kernel.create()).pid
        assert (await turn(kernel, pid, "Hello"))[1].error == "The disk is full."
        await cancelled.wait()
        assert kernel.table[pid].planning is None


async def test_an_interrupt_while_a_turn_finishes_leaves_the_next_one_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create(title="t")).pid
        finish = kernel.journal.finish_turn

        async def interrupted(*args, **kwargs):
            await kernel.signal(pid, "interrupt")
            await finish(*args, **kwargs)

        monkeypatch.setattr(kernel.journal, "finish_turn", interrupted)
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "one")
            await kernel.send(pid, "two")
            reasons = [(await until(events, TurnFinished)).reason for _ in range(2)]
        assert reasons == ["stop", "stop"]


async def test_whatever_bytes_the_model_writes_are_kept_as_text(home: Path):
    written = "bell\x07 esc\x1b[31m nul\x00 rtl\u202e \udcff\udcfe end"  # surrogates: bytes
    async with kernel_on(home, lambda _: written) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "stop"
        reply = said(kernel, pid)[-1][1]
        assert "\x1b[31m" in reply and "\ufffd" in reply and reply.endswith("end")


async def test_a_disk_that_fills_up_in_mid_turn_ends_the_turn_not_the_process(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    async with kernel_on(home, lambda _: "Hello.") as kernel:
        pid = (await kernel.create()).pid
        append, finish = kernel.journal.append, kernel.journal.finish_turn

        async def full(*_args, **_kwargs):
            raise StoreFull("The disk is full.")

        async def only_people(pid, message, **kwargs):
            return await (append if message.role == "user" else full)(pid, message, **kwargs)

        monkeypatch.setattr(kernel.journal, "append", only_people)
        monkeypatch.setattr(kernel.journal, "finish_turn", full)
        _, finished = await turn(kernel, pid, "Go")
        assert (finished.reason, finished.error) == ("error", "The disk is full.")
        await kernel.wait(pid)
        assert kernel.process(pid).state == "ready"
        monkeypatch.setattr(kernel.journal, "append", append)
        monkeypatch.setattr(kernel.journal, "finish_turn", finish)
        _, finished = await turn(kernel, pid, "Go on")
        assert finished.reason == "stop"


async def test_a_step_that_fails_ends_the_turn_with_a_sentence(home: Path):
    broken = True

    def on_decode(_runs) -> None:
        if broken:
            raise RuntimeError("out of memory at 0x7f")

    async with kernel_on(home, on_decode=on_decode) as kernel:
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Go")
        assert (finished.reason, finished.error) == ("error", "The model failed to compute a step.")
        broken = False
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "stop"


async def test_a_reply_that_repeats_itself_without_end_is_stopped_and_kept(home: Path):
    line = "A place where the stars are made.\n"
    async with kernel_on(home, [("Poem", "The sea.\n" + line * 200)]) as kernel:
        pid = (await kernel.create()).pid
        *_, finished = await turn(kernel, pid, "Poem")
        assert (finished.reason, finished.error) == (
            "loop",
            "The reply began to repeat itself and was stopped.",
        )
        written = said(kernel, pid)[-1][1]
        assert written.startswith("The sea.\n" + line * 4)
        assert len(written) < 100 * len(line)


@pytest.mark.parametrize(
    "text",
    [
        "| --- | --- | --- |\n" * 8,
        "." * 500,
        "Row, row, row your boat, gently down the stream.\n" * 3,
        "".join(f"line {i} of a long list of things\n" for i in range(50)),
    ],
)
def test_rulers_refrains_and_lists_are_no_loop(text: str):
    assert not repeats(text)
