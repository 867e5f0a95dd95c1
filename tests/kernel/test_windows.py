"""Windows of a kernel: what is pinned, what a forgetting or a kill leaves, how many stay open."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmos import limits
from llmos.config import AgentConfig
from llmos.errors import KernelError, NotStored
from llmos.events import WindowChanged
from llmos.kernel.syscalls import Outcome
from llmos.memory.pages import Kind
from tests.kernel.kernels import call, kernel_on, row, turn

AGENT = AgentConfig(system="Be kind.", reply_tokens=200)
LONG = "word " * 60  # 300 tokens of the scripted double, whose tokens are characters
SECRET = "The archive's password is swordfish."


async def talk(kernel, pid, turns: int, first: int = 1) -> None:
    for number in range(first, first + turns):
        await turn(kernel, pid, f"Question {number}. {LONG}")
        await kernel.wait(pid)


async def seen(kernel, pid) -> list[str]:
    return [message.content for message in (await kernel.keeper._window(pid)).messages()]


async def in_view(kernel, pid, page: str) -> bool:
    return {each.id: shown for each, shown in await kernel.keeper.page_table(pid)}[page]


# --- pinned pages -----------------------------------------------------------------------------


async def test_a_pinned_page_stays_in_view_over_a_restart_and_in_a_fork(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 2)
        await kernel.keeper.pin_page(pid, "p1")
        child = (await kernel.fork(pid)).pid
        await talk(kernel, pid, 15, first=3)
        assert await in_view(kernel, pid, "p1") and await in_view(kernel, pid, "p2")
        assert not await in_view(kernel, pid, "p3")
        before = await seen(kernel, pid)
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        assert await seen(kernel, pid) == before
        assert await kernel.keeper.pinned(child) == await kernel.keeper.pinned(pid) == {"p1"}
        await kernel.keeper.pin_page(pid, "p1", False)
        await talk(kernel, pid, 12, first=18)
        assert not await in_view(kernel, pid, "p1")


async def test_a_page_that_left_comes_back_when_it_is_pinned_and_the_new_front_is_computed(
    home: Path,
):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, SECRET)
        await talk(kernel, pid, 15)
        assert not await in_view(kernel, pid, "p1")
        await kernel.keeper.pin_page(pid, "p1")
        now = await seen(kernel, pid)
        assert now[1] == SECRET
        ahead = kernel.table[pid].ahead
        assert ahead is not None
        await asyncio.wait({ahead})
        _, finished = await turn(kernel, pid, "And now?")
        assert finished.usage.cached_tokens >= finished.usage.prompt_tokens - 100
        await kernel.wait(pid)
        before = await seen(kernel, pid)
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        assert await seen(kernel, pid) == before


async def test_pinned_pages_hold_a_share_of_the_window_and_no_more(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 5)
        records = kernel.journal.records(pid)
        users = [f"p{r.stored.seq}" for r in records if r.stored.message.role == "user"]
        for page in users[:3]:
            await kernel.keeper.pin_page(pid, page)
        with pytest.raises(KernelError, match=r"may hold 1,000 tokens.*Unpin"):
            await kernel.keeper.pin_page(pid, users[3])
        pinned = await kernel.keeper.pinned(pid)
        assert pinned == set(users[:3])
        await talk(kernel, pid, 10, first=6)
        assert await kernel.keeper.pinned(pid) == pinned
        assert all([await in_view(kernel, pid, page) for page in pinned])


async def test_only_what_was_said_in_the_process_can_be_pinned_and_not_while_it_answers(home: Path):
    going, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_process, _arguments) -> Outcome:
        going.set()
        await go_on.wait()
        return Outcome("Done.")

    rules = [("Wait", call("t.wait"))]
    async with kernel_on(home, rules, calls=[row("t.wait", wait)], agent=AGENT) as kernel:
        first, second = (await kernel.create()).pid, (await kernel.create()).pid
        await turn(kernel, first, "Hello")
        for name in ("p99", "p1", "m1", "me"):
            with pytest.raises(NotStored):
                await kernel.keeper.pin_page(second, name)
        await kernel.send(second, "Wait for it.")
        await going.wait()
        with pytest.raises(KernelError, match="is answering"):
            await kernel.keeper.pin_page(second, "p1")
        await kernel.keeper.pin_page(first, "p1")  # another one may be
        go_on.set()
        await kernel.wait(second)


async def test_a_message_that_comes_while_a_page_is_pinned_is_answered_afterwards(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 1)
        pinning = asyncio.create_task(kernel.keeper.pin_page(pid, "p1"))
        await asyncio.sleep(0)
        assert kernel.table[pid].task is not None
        _, finished = await turn(kernel, pid, "Hello")
        await pinning
        assert finished.reason == "stop"
        assert await kernel.keeper.pinned(pid) == {"p1"}


# --- results that fill the window together ----------------------------------------------------


async def test_several_long_results_in_one_turn_leave_room_for_a_reply(home: Path):
    async def long(_process, arguments) -> Outcome:
        return Outcome(f"Result {arguments['n']}.\n" + LONG * 40 + f"\nEnd of {arguments['n']}.")

    calls = "\n".join(call("t.long", n=n) for n in range(1, 6))
    rules = [("Read", calls), ("End of 5", "It ends so.")]
    agent = AgentConfig(system="Be kind.", reply_tokens=500)
    async with kernel_on(home, rules, calls=[row("t.long", long)], window=6000, agent=agent) as k:
        pid = (await k.create()).pid
        events, finished = await turn(k, pid, "Read them.")
        assert finished.reason == "stop", finished.error
        assert finished.context_tokens <= finished.window_tokens
        said = [m.message.content for m in await k.messages(pid)]
        assert said[-1] == "It ends so." and all(len(text) > 12_000 for text in said[2:-1])
        await k.wait(pid)
        shown = (await k.keeper._window(pid)).messages()
        results = [m.content for m in shown if m.role == "tool"]
        assert len(results) == 5
        assert results[-1].startswith("Result 5.") and results[-1].endswith("End of 5.")
        assert all("stored and not shown here" in text for text in results)
        left = {page for e in events if isinstance(e, WindowChanged) for page in e.evicted}
        assert left == (await k.keeper._window(pid)).out_of_view()
        before = await seen(k, pid)
    async with kernel_on(home, rules, window=6000, agent=agent) as k:
        assert await seen(k, pid) == before


# --- what is forgotten ------------------------------------------------------------------------


async def test_what_had_left_stays_out_of_view_when_a_text_the_front_quoted_is_forgotten(
    started,
):
    async with started() as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, SECRET)
        await talk(kernel, pid, 12)
        hidden = (await kernel.keeper._window(pid)).out_of_view()
        assert "p1" in hidden and "swordfish" in (await seen(kernel, pid))[0]
        assert await kernel.keeper.forget("p1") >= 2  # the text, and the front that quoted it
        now = (await kernel.keeper._window(pid)).out_of_view()
        assert now >= hidden - {"p1", "p2"}
        front = (await seen(kernel, pid))[0]
        assert "Earlier turns" in front and "swordfish" not in front
        before = await seen(kernel, pid)
        records = len(kernel.journal.records(pid))
        assert await seen(kernel, pid) == before
    async with started() as kernel:
        assert await seen(kernel, pid) == before
        assert len(kernel.journal.records(pid)) == records  # built anew once


# --- a turn that a kill came into -------------------------------------------------------------


async def test_a_turn_that_is_taken_up_again_shows_its_notes_once(started):
    async with started() as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, SECRET)
        await talk(kernel, pid, 12)
        await kernel.keeper.remember("Call me Sam.", block="user")
        process = kernel.table[pid]
        process.stop()
        await kernel.send(pid, "What is the password of the archive?")
        await kernel._transcript.open(process, process.turns)
        await kernel._transcript.begin(process, process.mailbox[0])
        await kernel._transcript.bring_back(process, process.mailbox[0])  # and here it is killed
        kinds = [r.stored.message.role for r in kernel.journal.records(pid)]
        assert kinds[-1] == Kind.RECALLED
        assert kinds.count(Kind.NOTE) == 1
    async with started() as kernel:
        await kernel.wait(pid)
        kinds = [r.stored.message.role for r in kernel.journal.records(pid)][len(kinds) :]
        assert kinds.count(Kind.NOTE) == kinds.count(Kind.RECALLED) == 1
        before = await seen(kernel, pid)
        assert "\n".join(before).count("Call me Sam.") == 1
        assert before[-2].count(SECRET) == 1
    async with started() as kernel:
        assert await seen(kernel, pid) == before


async def test_what_was_told_in_a_turn_too_long_to_show_is_told_again(started):
    async with started() as kernel:
        pid = (await kernel.create()).pid
        await turn(kernel, pid, "Hello")
        await kernel.wait(pid)
        await kernel.keeper.pin_page(pid, "p1")  # so that no new front is built
        await kernel.keeper.remember("Call me Sam.", block="user")
        sizes = kernel.backend.size
        kernel.backend.size = lambda prompt: 10**6  # as if nothing made room enough
        _, finished = await turn(kernel, pid, "Too long.")
        assert finished.reason == "too_long"
        kernel.backend.size = sizes
        await kernel.wait(pid)
        assert not any("Sam" in text for text in await seen(kernel, pid))
        await turn(kernel, pid, "And now?")
        assert any("Call me Sam." in text for text in await seen(kernel, pid))


# --- what leaves ------------------------------------------------------------------------------


async def test_turns_about_what_is_talked_about_now_stand_out(started):
    async with started() as kernel:
        pid = (await kernel.create()).pid
        for text in (
            "The boat is moored in Setubal, at the second pier of the harbour.",
            "Bake the bread for forty minutes.",
            "My brother plays the violin in an orchestra.",
            "Taxes are due in June.",
            "Where in the harbour did I leave the boat?",
        ):
            await turn(kernel, pid, text)
            await kernel.wait(pid)
        window, memory = await kernel.keeper._window(pid), kernel.memory
        await memory.feed.catch_up()
        await memory.index.settled()
        near = await memory.relevance(window)
        assert near[pid, 1] == max(near.values()) and 0.1 < near[pid, 1] <= 1
        assert (pid, 5) not in near and len(near) < 4
        assert all(value > 0 for value in near.values())
        await memory.index.close()
        assert await memory.relevance(window) == {}  # then age alone counts


# --- how many stay open -----------------------------------------------------------------------


async def test_windows_of_idle_processes_are_shut_and_made_again(home: Path, monkeypatch):
    monkeypatch.setattr(limits, "WINDOW_RECORDS", 12)
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pids = [(await kernel.create()).pid for _ in range(5)]
        for pid in pids:
            await talk(kernel, pid, 2)
        shown = {pid: await seen(kernel, pid) for pid in pids}
        open_ = [pid for pid in pids if kernel.table[pid].window is not None]
        assert open_ == pids[-2:]
        assert len(kernel._transcript._open) == 2
        for pid in pids:
            assert await seen(kernel, pid) == shown[pid]
            _, finished = await turn(kernel, pid, "Go on.")
            assert finished.reason == "stop"


async def test_a_window_that_was_read_while_something_was_forgotten_is_read_again(home: Path):
    async with kernel_on(home, window=4000, agent=AGENT) as kernel:
        pid = (await kernel.create()).pid
        await talk(kernel, pid, 1)
        transcript, process = kernel._transcript, kernel.table[pid]
        process.window, read, times = None, transcript._read, []

        def erased_meanwhile(*arguments):
            window = read(*arguments)
            times.append(window)
            if len(times) == 1:
                transcript.shut([process])
            return window

        transcript._read = erased_meanwhile
        assert await transcript.open(process, 2) is times[1]
