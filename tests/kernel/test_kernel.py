from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from llmos import limits
from llmos.errors import (
    BudgetExceeded,
    KernelError,
    NoSuchProcess,
    ProcessEnded,
    StoreFull,
)
from llmos.events import (
    CallStarted,
    Message,
    ProcessChanged,
    ReplyDelta,
    ToolCall,
    TurnFinished,
    TurnStarted,
    TurnState,
)
from llmos.kernel.process import Budget
from llmos.kernel.syscalls import Outcome
from llmos.labels import Label
from llmos.memory.journal import Journal
from tests.kernel.kernels import call, kernel_on, row, said, shown, turn, until

LONG = "word " * 600


# --- processes --------------------------------------------------------------------------------


async def test_processes_are_listed_newest_first_and_ended_ones_where_asked(home: Path):
    async with kernel_on(home) as kernel:
        first = await kernel.create(title="one", priority="idle")
        second = await kernel.create(title="two")
        await kernel.kill(first.pid)
        assert [p.title for p in kernel.processes()] == ["two"]
        assert [(p.title, p.state) for p in kernel.processes(ended=True)] == [
            ("two", "ready"),
            ("one", "ended"),
        ]
        assert kernel.process(first.pid).reason == "killed"
        assert kernel.process(second.pid).window_tokens == 8192
        with pytest.raises(ProcessEnded):
            await kernel.send(first.pid, "Hello")
        with pytest.raises(NoSuchProcess):
            await kernel.send(99, "Hello")


@pytest.mark.parametrize(
    "arguments",
    [
        {"priority": "highest"},
        {"budget": {"money": 1}},
        {"budget": {"tokens": -1}},
        {"budget": {"tokens": float("nan")}},
        {"budget": {"tokens": "many"}},
        {"parent": 77},
    ],
)
async def test_what_is_no_process_is_refused_with_a_sentence(home: Path, arguments):
    async with kernel_on(home) as kernel:
        with pytest.raises(KernelError):
            await kernel.create(**arguments)
        assert kernel.processes(ended=True) == []


async def test_a_message_that_cannot_be_taken_is_refused(home: Path, monkeypatch):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        monkeypatch.setattr(limits, "MESSAGE_CHARS", 10)
        monkeypatch.setattr(limits, "MAILBOX_MAX", 1)
        for text in ("", " \n", "x" * 11):
            with pytest.raises(KernelError):
                await kernel.send(pid, text)
        await kernel.signal(pid, "stop")
        await kernel.send(pid, "one")
        with pytest.raises(KernelError, match="too many unanswered"):
            await kernel.send(pid, "two")
        with pytest.raises(KernelError, match="no signal"):
            await kernel.signal(pid, "hup")


async def test_a_message_is_on_the_disk_when_it_is_acknowledged(home: Path, monkeypatch):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        written = asyncio.Event()
        append = kernel.journal.append

        async def slow(*args, **kwargs):
            stored = await append(*args, **kwargs)
            written.set()
            return stored

        monkeypatch.setattr(kernel.journal, "append", slow)
        message = await kernel.send(pid, "Hello")
        assert written.is_set()
        assert kernel.journal.messages(pid)[0].id == message


async def test_a_message_the_disk_has_no_room_for_is_not_acknowledged(home: Path, monkeypatch):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create(title="t")).pid
        monkeypatch.setattr(limits, "STORE_FREE_BYTES", 1 << 62)
        with pytest.raises(StoreFull):
            await kernel.send(pid, "Hello")
        monkeypatch.undo()
        assert said(kernel, pid) == []
        _, finished = await turn(kernel, pid, "Hello")
        assert finished.reason == "stop"


async def test_messages_are_answered_in_their_order_and_a_title_is_found(home: Path):
    async with kernel_on(home, [("one", "first"), ("two", "second"), ("three", "third")]) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            ids = [await kernel.send(pid, text) for text in ("one", "two", "three")]
            started = [(await until(events, TurnStarted)).message_id for _ in ids]
        assert started == ids
        await kernel.wait(pid)
        replies = [text for role, text in said(kernel, pid) if role == "assistant"]
        assert replies == ["first", "second", "third"]
        assert kernel.process(pid).title == "one"
        renamed = await kernel.rename(pid, "t" * 500)
        assert len(renamed.title) == limits.TITLE_CHARS
        assert [m.content for m in await shown(kernel, pid)] == [
            "one", "first", "two", "second", "three", "third",
        ]  # fmt: skip


async def test_several_processes_run_at_once(home: Path):
    async with kernel_on(home, [("a", LONG), ("b", "short")], slow=True) as kernel:
        slow, quick = (await kernel.create()).pid, (await kernel.create()).pid
        with kernel.subscribe() as events:
            await kernel.send(slow, "a")
            await until(events, ReplyDelta)
            await kernel.send(quick, "b")
            assert (await until(events, TurnFinished)).pid == quick
        await kernel.kill(slow)


# --- signals ----------------------------------------------------------------------------------


async def test_a_stopped_process_stands_still_and_goes_on_where_it_was(home: Path):
    async with kernel_on(home, [("Go", "word " * 40)], slow=True) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Go")
            await until(events, ReplyDelta)
            assert (await kernel.signal(pid, "stop")).state == "stopped"
            process = kernel.table[pid]
            assert process.live.clock.when() is None  # its time stands still
            assert (await kernel.wait(pid, 0.05)).state == "stopped"
            assert (await kernel.signal(pid, "continue")).state == "running"
            assert process.live.clock.when() is not None
            assert (await until(events, TurnFinished)).reason == "stop"
        assert said(kernel, pid)[-1][1] == "word " * 40


async def test_a_process_stopped_before_its_turn_has_begun_loses_no_time(home: Path, monkeypatch):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        process = kernel.table[pid]
        recalled, go_on = asyncio.Event(), asyncio.Event()

        opened = kernel._transcript.open

        async def slowly(process, number):
            recalled.set()
            await go_on.wait()
            return await opened(process, number)

        monkeypatch.setattr(kernel._transcript, "open", slowly)
        await kernel.send(pid, "Hello")
        await recalled.wait()
        await kernel.signal(pid, "stop")
        go_on.set()
        while process.live is None or process.live.clock is None:
            await asyncio.sleep(0)
        assert process.live.clock.when() is None
        await kernel.signal(pid, "continue")
        await kernel.wait(pid)
        assert said(kernel, pid)[-1] == ("assistant", "Yes.")


async def test_a_turn_whose_end_cannot_be_kept_ends_all_the_same(home: Path, monkeypatch):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid

        async def broken(*_arguments, **_more) -> None:
            raise ValueError("broken")

        monkeypatch.setattr(kernel.journal, "finish_turn", broken)
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Hello")
            assert (await until(events, TurnFinished)).reason == "error"
            await kernel.send(pid, "Hello again")
            await until(events, TurnFinished)
        assert said(kernel, pid)[-1] == ("assistant", "Yes.")


async def test_messages_to_a_stopped_process_wait_until_it_goes_on(home: Path):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        await kernel.signal(pid, "stop")
        await kernel.send(pid, "Hello")
        await kernel.wait(pid)
        assert len(said(kernel, pid)) == 1
        await kernel.signal(pid, "continue")
        await kernel.wait(pid)
        assert said(kernel, pid)[-1] == ("assistant", "Yes.")


async def test_a_stopped_turn_can_be_interrupted_and_killed(home: Path):
    async with kernel_on(home, [("Go", LONG)], slow=True) as kernel:
        for sent in ("interrupt", "terminate"):
            pid = (await kernel.create()).pid
            with kernel.subscribe(pid) as events:
                await kernel.send(pid, "Go")
                await until(events, ReplyDelta)
                await kernel.signal(pid, "stop")
                await kernel.signal(pid, sent)
                assert (await until(events, TurnFinished)).reason == "interrupted"


async def test_a_kill_in_mid_reply_keeps_what_was_written(home: Path):
    async with kernel_on(home, [("Go", LONG)], slow=True) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Go")
            await kernel.send(pid, "Go again")
            await until(events, ReplyDelta)
            waiting = asyncio.create_task(kernel.wait(pid))
            assert (await kernel.kill(pid)).state == "ended"
            assert (await until(events, TurnFinished)).reason == "interrupted"
            changed = await until(events, ProcessChanged)
            assert changed.state == "ended"
        assert (await waiting).state == "ended"
        assert kernel.journal.messages(pid)[-1].partial
        assert kernel.processes() == []


def test_who_gives_a_wrong_budget_reads_what_it_may_have():
    with pytest.raises(KernelError) as refused:
        Budget.of({"money": 1})
    assert refused.value.remedy == "It has calls, seconds, tokens: numbers, none below 0."


# --- budgets ----------------------------------------------------------------------------------


async def test_a_budget_of_tokens_cuts_the_reply_and_refuses_the_next(home: Path):
    async with kernel_on(home, lambda _: "0123456789") as kernel:
        pid = (await kernel.create(budget={"tokens": 4})).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "length"
        assert said(kernel, pid)[-1] == ("assistant", "0123")
        _, finished = await turn(kernel, pid, "Go")
        assert (finished.reason, finished.code) == ("budget", "budget_exceeded")
        with pytest.raises(BudgetExceeded):
            await kernel.fork(pid)


async def test_a_budget_of_seconds_ends_the_turn(home: Path):
    async with kernel_on(home, lambda _: LONG, slow=True) as kernel:
        pid = (await kernel.create(budget={"seconds": 0.3})).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "budget"


async def test_a_call_beyond_the_budget_is_refused_as_data(home: Path):
    async def run(_process, _arguments) -> Outcome:
        return Outcome("made")

    rules = [("used up", "No more."), ("made", call("t.c", n=2)), ("Go", call("t.c", n=1))]
    async with kernel_on(home, rules, calls=[row("t.c", run)]) as kernel:
        pid = (await kernel.create(budget={"calls": 1})).pid
        _, finished = await turn(kernel, pid, "Go")
        assert finished.reason == "stop"
        assert said(kernel, pid)[-1] == ("assistant", "No more.")
        assert kernel.process(pid).calls == 1


# --- children of calls ------------------------------------------------------------------------

DELEGATE = [
    ("Process 2 is working", call("process.wait", pid=2)),
    ("Delegate", call("process.spawn", task="Find the answer")),
    ("Find the answer", "It is 42."),
    ("42", "They say 42."),
]


async def test_a_child_works_on_a_task_and_ends_when_its_answer_is_read(home: Path):
    async with kernel_on(home, DELEGATE) as kernel:
        pid = (await kernel.create(budget={"tokens": 5000})).pid
        _, finished = await turn(kernel, pid, "Delegate")
        assert finished.reason == "stop"
        assert said(kernel, pid)[-1] == ("assistant", "They say 42.")
        assert [(p.pid, p.state, p.reason, p.parent) for p in kernel.processes(ended=True)] == [
            (2, "ended", "done", 1),
            (1, "ready", "", 0),
        ]
        parent = kernel.table[pid]
        assert parent.paid_tokens == kernel.process(2).tokens > 0
        assert parent.remaining().tokens == 5000 - parent.tokens - parent.paid_tokens


async def test_a_killed_parent_takes_its_children_with_it_and_an_interrupt_reaches_them(home: Path):
    rules = [*DELEGATE[:2], ("Find the answer", LONG)]
    for sent, state in (("interrupt", "ready"), ("terminate", "ended")):
        async with kernel_on(home / sent, rules, slow=True) as kernel:
            pid = (await kernel.create()).pid
            with kernel.subscribe() as events:
                await kernel.send(pid, "Delegate")
                while (await until(events, ReplyDelta)).pid != 2:
                    pass
                await kernel.signal(pid, sent)
                ended = {(await until(events, TurnFinished)).pid for _ in range(2)}
            assert ended == {1, 2}
            await kernel.wait(2)
            assert kernel.process(2).state == state


async def test_children_are_limited_in_number_and_depth(home: Path, monkeypatch):
    monkeypatch.setattr(limits, "CHILDREN_MAX", 2)
    monkeypatch.setattr(limits, "DEPTH_MAX", 1)
    async with kernel_on(home, lambda _: "Yes.") as kernel:
        root = kernel.table[(await kernel.create()).pid]
        first = await kernel.children.spawn(root, "a")
        await kernel.children.spawn(root, "b")
        with pytest.raises(Exception, match="wait for one of 2, 3"):
            await kernel.children.spawn(root, "c")
        with pytest.raises(Exception, match="this far down"):
            await kernel.children.spawn(kernel.table[first], "d")
        with pytest.raises(Exception, match="not yours"):
            await kernel.children.answer(kernel.table[first], root.pid)
        assert (await kernel.children.answer(root, first))[0] == "Yes."
        assert (await kernel.children.answer(root, first))[0] == "Yes."  # it can be read again
        await kernel.children.spawn(root, "c")


# --- forks ------------------------------------------------------------------------------------


async def test_a_fork_shares_the_history_and_then_goes_its_own_way(home: Path):
    async with kernel_on(home, [("more", "Parent."), ("else", "Child.")]) as kernel:
        pid = (await kernel.create(title="chat")).pid
        await turn(kernel, pid, "Hello")
        child = await kernel.fork(pid)
        assert (child.title, child.parent) == ("chat", pid)
        await turn(kernel, pid, "more")
        await turn(kernel, child.pid, "else")
        assert [t for _, t in said(kernel, pid)] == ["Hello", "Yes.", "more", "Parent."]
        assert [t for _, t in said(kernel, child.pid)] == ["Hello", "Yes.", "else", "Child."]


async def test_a_fork_in_mid_turn_shares_the_turns_that_are_over(home: Path):
    async def hangs(_process, _arguments) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    rules = [("Go", "Well. " + call("t.hangs"))]
    async with kernel_on(home, rules, calls=[row("t.hangs", hangs)]) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello")
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Go")
            await kernel.send(pid, "And then?")
            await until(events, CallStarted)
            child = await kernel.fork(pid)
        assert [t for _, t in said(kernel, child.pid)] == ["Hello", "Yes."]
        assert [m.content for m in await shown(kernel, child.pid)] == ["Hello", "Yes."]


# --- listening --------------------------------------------------------------------------------


async def test_who_connects_in_mid_turn_is_told_what_was_written(home: Path):
    async with kernel_on(home, [("Go", LONG)], slow=True) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Go")
            text = (await until(events, ReplyDelta)).text
            for watched in (pid, 0):
                with kernel.subscribe(watched) as late:
                    state = await anext(late)
                    assert isinstance(state, TurnState)
                    assert state.turn == 1 and state.text.startswith(text)
                    more = await until(late, ReplyDelta)
                    assert LONG.startswith(state.text + more.text)
            await kernel.kill(pid)
        with pytest.raises(NoSuchProcess):
            kernel.subscribe(99)


# --- restarts ---------------------------------------------------------------------------------


async def test_a_conversation_goes_on_after_a_restart(home: Path):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello")
        used = kernel.process(pid).tokens
    async with kernel_on(home, lambda p: str("Hello" in p and "Yes." in p)) as kernel:
        assert kernel.process(pid).tokens == used
        await turn(kernel, pid, "Again")
        assert [t for _, t in said(kernel, pid)] == ["Hello", "Yes.", "Again", "True"]
        assert kernel.journal.messages(pid)[-1].turn == 2


async def test_closing_in_mid_reply_keeps_the_part_and_answers_what_waited_later(home: Path):
    async with kernel_on(home, [("Go", LONG)], slow=True) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Go")
            await kernel.send(pid, "Next")
            await until(events, ReplyDelta)
    async with kernel_on(home) as kernel:
        await kernel.wait(pid)
        stored = kernel.journal.messages(pid)
        assert [m.partial for m in stored] == [False, False, True, False]
        assert stored[-1].message.content == "Yes." and stored[-1].turn == 2
        assert [m.role for m in await shown(kernel, pid)] == [
            "user", "assistant", "user", "assistant",
        ]  # fmt: skip
    with pytest.raises(KernelError, match="stopping"):
        await kernel.send(pid, "Too late")


async def killed(home: Path, *, calls: bool) -> int:
    """What a kernel leaves that was killed in the first turn: a question, perhaps a call."""
    journal = Journal(home / "state" / "journal.db")
    pid = (await journal.create_process()).pid
    await journal.append(pid, Message("user", "Hello"), turn=1, label=Label())
    await journal.append(pid, Message("user", "Second"), turn=2, label=Label())
    if calls:
        made = ToolCall("c1", "t.c", {})
        await journal.append(pid, Message("assistant", "", (made,)), turn=1, label=Label())
        await journal.start_call(pid, 1, made)
    await journal.close()
    return pid


async def test_unanswered_messages_are_answered_once_after_a_crash(home: Path):
    pid = await killed(home, calls=False)
    async with kernel_on(home) as kernel:
        await kernel.wait(pid)
        answered = said(kernel, pid)
        assert [t for _, t in answered] == ["Hello", "Second", "Yes.", "Yes."]
    async with kernel_on(home) as kernel:
        await kernel.wait(pid)
        assert said(kernel, pid) == answered
        history = [m.content for m in await shown(kernel, pid)]
        assert history == ["Hello", "Yes.", "Second", "Yes."]


async def test_a_message_that_brought_the_kernel_down_twice_is_not_taken_up_again(home: Path):
    pid = await killed(home, calls=False)
    journal = Journal(home / "state" / "journal.db")
    await journal.finish_turn(pid, 1, "taken up")
    await journal.finish_turn(pid, 2, "taken up")
    await journal.close()
    async with kernel_on(home) as kernel:
        await kernel.wait(pid)
        assert [t for _, t in said(kernel, pid)] == ["Hello", "Second"]


async def test_a_turn_that_had_made_a_call_is_not_run_again_and_the_call_is_closed(home: Path):
    pid = await killed(home, calls=True)
    async with kernel_on(home) as kernel:
        await kernel.wait(pid)
        assert kernel.journal.open_calls() == []
        assert kernel.journal.calls(pid)[0].error == "interrupted"
        answers = [m for m in kernel.journal.messages(pid) if m.message.role == "assistant"]
        assert [m.turn for m in answers] == [1, 2]  # only the second was taken up
        _, finished = await turn(kernel, pid, "Go on")  # a call without result breaks nothing
        assert finished.reason == "stop"


async def test_what_a_fork_shares_is_not_answered_again_in_it(home: Path):
    pid = await killed(home, calls=False)
    journal = Journal(home / "state" / "journal.db")
    child = (await journal.fork_process(pid)).pid
    await journal.close()
    async with kernel_on(home) as kernel:
        await kernel.wait(child)
        assert [t for _, t in said(kernel, child)] == ["Hello", "Second"]


def test_what_was_acknowledged_survives_a_kill_9(home: Path):
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from tests.kernel.kernels import kernel_on, until
        from llmos.events import ReplyDelta

        async def main():
            async with kernel_on(Path(sys.argv[1]), lambda _: "word " * 600, slow=True) as kernel:
                pid = (await kernel.create()).pid
                with kernel.subscribe(pid) as events:
                    await kernel.send(pid, "Hello")
                    await until(events, ReplyDelta)
                    print("acknowledged", flush=True)
                    await asyncio.Event().wait()

        asyncio.run(main())
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(home)], stdout=subprocess.PIPE, cwd=os.getcwd()
    ) as process:
        assert process.stdout and process.stdout.readline() == b"acknowledged\n"
        os.kill(process.pid, signal.SIGKILL)

    async def after() -> list[tuple[str, str]]:
        async with kernel_on(home) as kernel:
            await kernel.wait(1)
            return said(kernel, 1)

    assert asyncio.run(after()) == [("user", "Hello"), ("assistant", "Yes.")]


# --- the processor ----------------------------------------------------------------------------


class Dies(BaseException):
    """What ends the engine's thread."""


async def test_a_dead_engine_is_told_of_and_stops_the_kernel(home: Path):
    def on_decode(_runs) -> None:
        raise Dies

    async with kernel_on(home, on_decode=on_decode) as kernel:
        assert kernel.status()["engine"] == "running"
        pid = (await kernel.create()).pid
        _, finished = await turn(kernel, pid, "Hello")
        assert (finished.reason, finished.code) == ("error", "engine_stopped")
        await kernel.wait(pid)
        assert kernel.stopping.is_set() and kernel.status()["engine"] == "stopped"
        await kernel.send(pid, "Later")  # journalled, for the next kernel
    async with kernel_on(home) as kernel:
        await kernel.wait(pid)
        assert said(kernel, pid)[-1] == ("assistant", "Yes.")


async def test_closing_does_not_wait_for_a_call_that_hangs(home: Path, monkeypatch):
    monkeypatch.setattr(limits, "CLOSE_SECONDS", 0.05)

    async def stubborn(_process, _arguments) -> Outcome:
        while True:
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
            return Outcome("late")

    release = asyncio.Event()
    async with kernel_on(home, lambda _: call("t.s"), calls=[row("t.s", stubborn)]) as kernel:
        pid = (await kernel.create()).pid
        with kernel.subscribe(pid) as events:
            await kernel.send(pid, "Go")
            await until(events, CallStarted)
        assert kernel.busy
    release.set()


async def test_status_and_stats_are_json(home: Path):
    import json

    async with kernel_on(home) as kernel:
        await kernel.create()
        assert not kernel.busy
        with kernel.subscribe():
            assert kernel.busy
        assert json.loads(json.dumps(kernel.stats()))["processes"]["ready"] == 1
        assert json.loads(json.dumps(kernel.status()))["model"]["name"] == "scripted"
        await kernel.shutdown()
        assert kernel.stopping.is_set()


# --- clients that go away ---------------------------------------------------------------------


@pytest.mark.parametrize("what", ["create", "fork"])
async def test_a_client_that_goes_while_a_process_is_made_leaves_no_ghost(
    home: Path, monkeypatch, what
):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        begun, release = asyncio.Event(), asyncio.Event()
        name = f"{what}_process"
        make = getattr(kernel.journal, name)

        async def slow(*args, **kwargs):
            begun.set()
            await release.wait()
            return await make(*args, **kwargs)

        monkeypatch.setattr(kernel.journal, name, slow)
        asked = asyncio.create_task(kernel.create() if what == "create" else kernel.fork(pid))
        await begun.wait()
        asked.cancel()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await asked
        living = [p.pid for p in kernel.processes()]
        assert living == [p.pid for p in kernel.journal.processes()] == [pid + 1, pid]


async def test_a_child_whose_start_is_broken_off_ends(home: Path, monkeypatch):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        begun, release = asyncio.Event(), asyncio.Event()
        append = kernel.journal.append

        async def slow(*args, **kwargs):
            begun.set()
            await release.wait()
            return await append(*args, **kwargs)

        monkeypatch.setattr(kernel.journal, "append", slow)
        asked = asyncio.create_task(kernel.children.spawn(kernel.table[pid], "Count"))
        await begun.wait()
        asked.cancel()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert [p.pid for p in kernel.journal.processes()] == [pid]
        assert kernel.process(pid + 1).reason == "abandoned"


async def test_a_restart_forgets_neither_the_fill_of_the_window_nor_what_children_used(home: Path):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create(budget={"tokens": 500})).pid
        await turn(kernel, pid, "Hello")
        child = await kernel.children.spawn(kernel.table[pid], "Count")
        await kernel.wait(child)
        before = kernel.table[pid].remaining()
        filled = kernel.process(pid).context_tokens
        assert filled > 0 and kernel.table[pid].paid_tokens > 0
    async with kernel_on(home) as kernel:
        assert kernel.table[pid].remaining().tokens == before.tokens
        assert kernel.process(pid).context_tokens == filled
        assert kernel.table[child].employer is kernel.table[pid]
        await kernel.kill(pid)
        assert kernel.processes() == []


async def test_a_start_reads_only_the_messages_that_wait(home: Path, monkeypatch):
    async with kernel_on(home) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello")

    def refuse(*_args, **_kwargs):
        raise AssertionError("read at start")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "records", refuse)
        context = kernel_on(home)
        kernel = await context.__aenter__()
    try:
        await turn(kernel, pid, "Go on")
        texts = [m.content for m in await shown(kernel, pid)]
        assert texts == ["Hello", "Yes.", "Go on", "Yes."]
    finally:
        await context.__aexit__(None, None, None)
