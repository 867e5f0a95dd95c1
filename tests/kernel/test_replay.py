from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from llmos.boot import boot
from llmos.config import AgentConfig, load
from llmos.errors import KernelError, NoSuchProcess
from llmos.events import BY_REMINDER, TurnFinished
from llmos.kernel.syscalls import Outcome
from llmos.labels import Label, Origin
from tests.kernel.kernels import call, kernel_on, remembering, row, said, turn, until

WRITE = row("test.write", None, effect="memory")


def counted(made: list[int], text: str = "The result is 4.", effect: str = "memory"):
    """A call that counts how often it is really made."""

    async def run(_by, arguments):
        made.append(arguments.get("n", 0))
        return Outcome(text, label=Label(Origin.SYSTEM))

    return dataclasses.replace(WRITE, run=run, effect=effect)


def rules(reply: str = "Done.", n: int = 1):
    return [("Do it", call("test.write", n=n)), ("The result", reply), ("Hello", "Good day.")]


async def test_a_conversation_that_is_replayed_unchanged_is_the_same_and_leaves_no_trace(home):
    made: list[int] = []
    async with kernel_on(home, rules(), calls=[counted(made)]) as kernel:
        pid = (await kernel.create()).pid
        for text in ("Hello", "Do it", "Hello again"):
            await turn(kernel, pid, text)
        before = [record.stored.seq for record in kernel.journal.records()]
        calls = kernel.journal.calls(pid)
        replayed = await kernel.tracer.replay(pid)
        assert replayed.same and [t.turn for t in replayed.turns] == [1, 2, 3]
        assert replayed.turns[1].replayed_calls == (("test.write", {"n": 1}),)
        assert replayed.turns[1].replayed == "Done."
        assert [record.stored.seq for record in kernel.journal.records()] == before
        assert kernel.journal.calls(pid) == calls
    assert made == [1]  # only when it was asked for
    assert not list((home / "state" / "replay").iterdir())


async def test_a_reply_that_differs_is_shown_and_the_next_turn_stands_on_the_record(home):
    async with kernel_on(home, [("Hello", "Good day."), ("And", "Fine.")]) as kernel:
        pid = (await kernel.create()).pid
        for text in ("Hello", "And you?"):
            await turn(kernel, pid, text)
    seen: list[str] = []

    def other(prompt: str) -> str:
        seen.append(prompt)
        return "Fine." if "And you?" in prompt else "Good evening."

    async with kernel_on(home, other) as kernel:
        replayed = await kernel.tracer.replay(pid)
        first, second = replayed.turns
        assert (first.same, first.recorded, first.replayed) == (
            False, "Good day.", "Good evening."
        )  # fmt: skip
        assert second.same and "Good day." in seen[-1] and "Good evening." not in seen[-1]


async def test_a_call_that_differs_is_refused_and_never_made(home):
    made: list[int] = []
    async with kernel_on(home, rules(), calls=[counted(made)]) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Do it")
    changed = [("Do it", call("test.write", n=2)), ("recorded calls", "Refused.")]
    async with kernel_on(home, changed, calls=[counted(made)]) as kernel:
        [turned] = (await kernel.tracer.replay(pid)).turns
        assert not turned.same and turned.replayed == "Refused."
        assert turned.replayed_calls == (("test.write", {"n": 2}),)
    assert made == [1]


async def test_results_come_from_the_record_whatever_the_call_would_give_now(home):
    async with kernel_on(home, rules(), calls=[counted([])]) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Do it")
    made: list[int] = []
    now = counted(made, "The result is 5.", effect="pure")
    async with kernel_on(home, rules(), calls=[now]) as kernel:
        assert (await kernel.tracer.replay(pid)).same


async def test_a_call_with_an_effect_that_was_denied_is_denied_the_same_way(home):
    made: list[int] = []
    written = [("Do it", call("test.write", n=1)), ("not made", "Nobody let me.")]
    async with kernel_on(home, written, calls=[counted(made, effect="write")]) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Do it")
        assert said(kernel, pid)[-1] == ("assistant", "Nobody let me.")
        assert (await kernel.tracer.replay(pid)).same
    assert made == []


async def test_what_was_brought_back_and_what_had_left_is_shown_as_it_was(home):
    async with remembering(home, [], window=2400) as kernel:
        pid = (await kernel.create()).pid
        for text in ("My boat is called Anna.", *("Tell me more. " + "x" * 300,) * 8):
            await turn(kernel, pid, text)
        await turn(kernel, pid, "How is my boat called?")
        kinds = {record.stored.message.role for record in kernel.journal.records(pid)}
        assert "window" in kinds
        replayed = await kernel.tracer.replay(pid)
        assert replayed.same and len(replayed.turns) == 10


async def test_a_reminder_is_replayed_as_nobodys_words(home):
    """What the turn ends with hangs on who spoke: the person is told that nothing was done."""
    wishing = dataclasses.replace(WRITE, wished=("keep this",), undone="Nothing was kept.")
    rules = [("keep this", "Good.")]
    async with kernel_on(home, rules, calls=[wishing]) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "keep this")
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "keep this", origin=Origin.MODEL, by=BY_REMINDER)
            await until(events, TurnFinished)
        asked, reminded = (await kernel.tracer.replay(pid)).turns
        assert asked.same and asked.recorded == "Good.\n\nNothing was kept."
        assert reminded.same and reminded.recorded == "Good."


async def test_a_fork_replays_its_own_turns_on_what_it_shares(home):
    seen: list[str] = []

    def script(prompt: str) -> str:
        seen.append(prompt)
        return "Yes."

    async with kernel_on(home, script) as kernel:
        parent = (await kernel.create()).pid
        await turn(kernel, parent, "Shared words.")
        child = (await kernel.fork(parent)).pid
        await turn(kernel, child, "Its own.")
        replayed = await kernel.tracer.replay(child)
        assert replayed.same and len(replayed.turns) == 1


async def test_sampled_replies_are_said_to_differ_by_chance(home):
    async with kernel_on(home, agent=AgentConfig(temperature=0.7)) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello")
        replayed = await kernel.tracer.replay(pid)
        assert any("temperature 0.7" in note for note in replayed.notes)


async def test_one_conversation_is_replayed_at_a_time(home):
    async with kernel_on(home, slow=True) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello")
        first = asyncio.create_task(kernel.tracer.replay(pid))
        await asyncio.sleep(0)
        with pytest.raises(KernelError, match="being replayed"):
            await kernel.tracer.replay(pid)
        assert (await first).same


@pytest.mark.parametrize("early", [False, True])
async def test_a_replay_that_nobody_waits_for_any_more_ends_and_cleans_up(home, early: bool):
    async with kernel_on(home, [("Hello", "word " * 400)], slow=True) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello")
        if (ahead := kernel.table[pid].ahead) is not None:
            await asyncio.wait([ahead])
        running = asyncio.create_task(kernel.tracer.replay(pid))
        while not (early or kernel.backend.stats()["running"]):
            await asyncio.sleep(0.001)
        if early:  # while the journal is being copied
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert not list((home / "state" / "replay").iterdir())
        await turn(kernel, pid, "Hello")


async def test_there_must_be_such_a_process(home):
    async with kernel_on(home) as kernel:
        with pytest.raises(NoSuchProcess):
            await kernel.tracer.replay(99)


async def test_a_copy_that_a_kill_left_is_removed(home):
    left = home / "state" / "replay" / "old"
    left.mkdir(parents=True)
    (left / "journal.db").write_text("secrets")
    async with kernel_on(home):
        assert not left.exists()


async def test_the_starter_model_says_the_same_again_with_its_calls_and_what_it_recalled(
    starter_weights: Path,
    embedder_weights: Path,
    embedder_tokenizer: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("LLMOS_CLOCK", "2025-11-20T17:45:00+00:00")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("LLMOS_ENGINE_MODEL", str(starter_weights))
    monkeypatch.setenv("LLMOS_ENGINE_WINDOW", "1024")
    monkeypatch.setenv("LLMOS_ENGINE_THREADS", "1")
    monkeypatch.setenv("LLMOS_AGENT_REPLY_TOKENS", "24")
    async with boot(load()) as kernel:
        await kernel.keeper.remember("My boat is called Anna.", block="user")
        pid = (await kernel.create()).pid
        for text in ("What is 27 * 14?", "Tell me about the sea.", "what is 1/0?"):
            await kernel.send(pid, text)
            await kernel.wait(pid)
        replayed = await kernel.tracer.replay(pid)
        # The free reply may differ by where its cells lie; what calls gave may not.
        assert [turned.same for turned in replayed.turns[::2]] == [True, True], replayed.turns
        assert replayed.turns[1].replayed.startswith("The sea"), replayed.turns[1]
        assert [name for name, _ in replayed.turns[0].replayed_calls] == ["calculator.evaluate"]
