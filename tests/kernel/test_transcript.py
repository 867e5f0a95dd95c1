"""Conversations longer than the window: nothing is refused, nothing is lost, and it is the same
after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from llmos.config import AgentConfig
from llmos.events import WindowChanged
from llmos.kernel.syscalls import Outcome
from llmos.memory.pages import Kind
from tests.kernel.kernels import call, kernel_on, row, turn

AGENT = AgentConfig(system="Be kind.", reply_tokens=200)
LONG = "word " * 60  # 300 tokens of the scripted double, whose tokens are characters


def model_sees(kernel, pid):
    """What is in view of a process."""
    return kernel.table[pid].window.messages()


async def talk(kernel, pid, turns: int, first: int = 1) -> list[WindowChanged]:
    changes = []
    for number in range(first, first + turns):
        events, finished = await turn(kernel, pid, f"Question {number}. {LONG}")
        assert finished.reason == "stop", finished.error
        assert finished.context_tokens <= finished.window_tokens
        changes += [event for event in events if isinstance(event, WindowChanged)]
    return changes


async def settled(kernel, pid):
    """Until its turn and what follows it are over."""
    await kernel.wait(pid)
    process = kernel.table[pid]
    if process.ahead is not None:
        await asyncio.wait({process.ahead})


async def test_a_conversation_much_longer_than_the_window_goes_on(home: Path):
    async with kernel_on(home, window=2000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 15)
        await settled(kernel, pid)
        said = await kernel.messages(pid)
        assert len(said) == 30  # the journal has every word of it
        seen = model_sees(kernel, pid)
        assert seen[0].content.startswith("Be kind.\n\nEarlier turns of this conversation")
        assert "Question 15." in seen[-2].content
        assert not any("Question 1. " in m.content for m in seen[1:])
        hidden = kernel.table[pid].window.out_of_view()
        recorded = {p for r in kernel.journal.records(pid) for p in [f"p{r.stored.seq}"]}
        assert hidden and hidden <= recorded


async def test_what_leaves_is_told_and_leaves_in_batches(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await talk(kernel, pid, 30)
            await settled(kernel, pid)
            kernel.hub.close()
            batches = [e.evicted async for e in events if isinstance(e, WindowChanged)]
        assert 2 <= len(batches) <= 10
        assert all(len(batch) >= 4 for batch in batches)


async def test_between_two_batches_every_prompt_begins_with_the_one_before(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        before, moved = [], 0
        for number in range(1, 20):
            await talk(kernel, pid, 1, first=number)
            await settled(kernel, pid)
            now = model_sees(kernel, pid)
            moved += now[: len(before)] != before
            before = now
        window_records = [r for r in kernel.journal.records(pid) if is_change(r)]
        assert 1 <= moved == len(window_records)


def is_change(record) -> bool:
    return record.stored.message.role == Kind.WINDOW


async def test_a_restart_and_a_fork_show_the_same_bytes(home: Path):
    async with kernel_on(home, window=2000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 12)
        await settled(kernel, pid)
        before = model_sees(kernel, pid)
        child = (await kernel.fork(pid)).pid
    async with kernel_on(home, window=2000, agent=AGENT) as kernel:
        for each in (pid, child):
            process = kernel.table[each]
            window = await kernel._transcript.open(process, process.turns + 1)
            assert window.messages() == before


async def test_room_is_made_after_a_turn_and_the_new_front_is_computed_ahead(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        number = 0
        while not any(is_change(r) for r in kernel.journal.records(pid)):
            number += 1
            await talk(kernel, pid, 1, first=number)
            await settled(kernel, pid)
        assert kernel.process(pid).context_tokens <= 0.6 * 4000
        _, finished = await turn(kernel, pid, "And now?")
        usage = finished.usage
        assert usage.cached_tokens >= usage.prompt_tokens - 100  # the new message alone


async def test_a_message_longer_than_the_window_is_answered(home: Path):
    async with kernel_on(home, [("So what", "Yes.")], window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        text = "\n\n".join(f"Paragraph {n}. {LONG}" for n in range(200)) + "\n\nSo what is it?"
        _, finished = await turn(kernel, pid, text)
        assert finished.reason == "stop"
        shown = model_sees(kernel, pid)[1].content
        assert shown.startswith("Paragraph 0.") and shown.endswith("So what is it?")
        assert "stored and not shown here" in shown
        [stored, _] = await kernel.messages(pid)
        assert stored.message.content == text


async def test_a_result_longer_than_the_window_is_shown_with_its_beginning_and_end(home: Path):
    async def long(_process, _arguments) -> Outcome:
        return Outcome("First line.\n" + LONG * 100 + "\nLast line.")

    rules = [("Read", call("t.long")), ("Last line", "It ends so.")]
    async with kernel_on(home, rules, calls=[row("t.long", long)], window=4000, agent=AGENT) as k:
        pid = (await k.create()).pid
        _, finished = await turn(k, pid, "Read")
        assert finished.reason == "stop"
        result = next(m.content for m in model_sees(k, pid) if m.role == "tool")
        assert result.startswith("First line.") and result.endswith("Last line.")


async def test_a_change_of_the_window_is_no_answer_to_a_message(home: Path):
    """A kernel killed right after making room answers the message when it starts again."""
    async with kernel_on(home, window=2000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        kernel._closing = True  # nobody takes it up
        kernel._closing = False
        process = kernel.table[pid]
        process.stop()
        await kernel.send(pid, "Hello " + LONG * 20)
        await kernel._transcript.open(process, 1)
        await kernel._transcript.begin(process, process.mailbox[0])
        assert any(is_change(r) for r in kernel.journal.records(pid))
    async with kernel_on(home, window=2000, agent=AGENT) as kernel:
        await kernel.wait(pid)
        assert [m.message.role for m in await kernel.messages(pid)] == ["user", "assistant"]


async def test_a_conversation_is_brought_back_while_its_turn_is_being_planned(home: Path):
    async with kernel_on(home, [("", "Fine.")]) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello.")
        await settled(kernel, pid)
        backend, texts = kernel.backend, []
        expect, generate = backend.expect, backend.generate

        def expecting(prompt):
            texts.append(prompt.text)
            expect(prompt)

        def generating(prompt, *more, **named):
            texts.append(prompt.text)
            return generate(prompt, *more, **named)

        backend.expect, backend.generate = expecting, generating
        await turn(kernel, pid, "And how are you?")
    expected, generated, *_ = texts  # then what frames the next message
    assert "Hello." in expected and expected.endswith("And how are you?<|im_end|>\n")
    assert generated.startswith(expected) and generated != expected


async def test_what_is_being_typed_is_computed_ahead(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 1)
        await kernel.draft(pid, LONG)
        await settled(kernel, pid)
        await kernel.draft(pid, LONG + LONG)
        await settled(kernel, pid)
        _, finished = await turn(kernel, pid, LONG + LONG + "End.")
        usage = finished.usage
        assert usage.cached_tokens >= usage.prompt_tokens - 80
        assert len(await kernel.messages(pid)) == 4  # a draft leaves no trace


async def test_between_two_turns_what_frames_the_next_message_is_computed(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 1)
        await settled(kernel, pid)
        said = "And how are you?"
        _, finished = await turn(kernel, pid, said)
        usage = finished.usage
        behind = f"{said}<|im_end|>\n<|im_start|>assistant\n"
        assert usage.prompt_tokens - usage.cached_tokens <= len(behind)


async def test_what_cannot_be_dropped_again_is_not_computed_ahead(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        kernel.backend.info = replace(kernel.backend.info, can_rewind=False)
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 1)
        assert kernel.table[pid].ahead is None


async def test_a_server_is_asked_for_nothing_ahead_of_need(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        kernel.backend.info = replace(kernel.backend.info, computes_here=False)
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 1)
        await settled(kernel, pid)
        sampled = kernel.backend.stats()["sampled_tokens"]
        await kernel.draft(pid, LONG * 3)
        if (ahead := kernel.table[pid].ahead) is not None:
            await ahead
        assert kernel.backend.stats()["sampled_tokens"] == sampled


@pytest.mark.parametrize("what", ["turn", "kill"])
async def test_what_is_computed_ahead_ends_where_a_turn_begins_and_with_its_process(
    home: Path, what: str
):
    async with kernel_on(home, window=4000, agent=AGENT, slow=True) as kernel:
        pid = (await kernel.create()).pid
        await kernel.draft(pid, LONG * 3)
        ahead = kernel.table[pid].ahead
        assert ahead is not None
        await (kernel.kill(pid) if what == "kill" else turn(kernel, pid, "Something else."))
        assert ahead.cancelled()


async def test_nothing_is_computed_of_an_empty_draft(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await kernel.draft(pid, "   ")
        assert kernel.table[pid].ahead is None
