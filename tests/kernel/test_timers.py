from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from llmos import limits, paths
from llmos.errors import KernelError, NoSuchProcess, NoSuchReminder
from llmos.kernel.timers import Timers
from llmos.sdk import ToolError


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Woken:
    """Takes down who was woken; ``failing`` is raised first, once each."""

    def __init__(self, *failing: Exception) -> None:
        self.said: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self.tried = asyncio.Event()
        self._failing = list(failing)

    async def __call__(self, pid, timer) -> None:
        self.tried.set()
        if self._failing:
            raise self._failing.pop(0)
        await self.said.put((pid, timer.text))


@pytest.fixture
def file(home: Path) -> Path:
    return home / "state" / "timers.json"


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_process_is_woken_when_its_reminder_is_due_and_only_once(file, clock):
    woken = Woken()
    timers = Timers(file, woken, clock=clock)
    await timers.start()
    mine = timers.of(7)
    timer = await mine.set(clock.now + 60, "milk")
    assert [each.id for each in await mine.list()] == [timer.id]
    clock.now += 61
    await timers.of(8).set(clock.now + 1000, "something else")  # has the clock looked at
    assert await woken.said.get() == (7, "milk")
    await timers.close()
    assert await mine.list() == []
    assert woken.said.empty()


async def test_reminders_survive_a_restart_and_those_missed_come_at_the_start(file, clock):
    woken = Woken()
    timers = Timers(file, woken, clock=clock)
    await timers.start()
    await timers.of(7).set(clock.now + 60, "milk")
    await timers.of(7).set(clock.now + 6000, "bread")
    await timers.close()
    clock.now += 600
    timers = Timers(file, woken, clock=clock)
    await timers.start()
    assert await woken.said.get() == (7, "milk")
    async with asyncio.timeout(30):
        while len(listed := await timers.of(7).list()) > 1:  # that it rang is being written down
            await asyncio.sleep(0)
    assert [each.text for each in listed] == ["bread"]
    later = await timers.of(7).set(clock.now + 10, "eggs")
    assert later.id == "t3"  # no name is used twice
    await timers.close()


async def test_a_clock_that_jumps_is_noticed_without_anybody_asking(file, clock, monkeypatch):
    monkeypatch.setattr(limits, "TIMER_LOOK_S", 0.01)
    woken = Woken()
    timers = Timers(file, woken, clock=clock)
    await timers.start()
    await timers.of(7).set(clock.now + 86400, "milk")
    clock.now -= 3600
    clock.now += 3600 + 86401
    assert await woken.said.get() == (7, "milk")
    await timers.close()


async def test_a_process_that_cannot_be_woken_is_woken_later_and_one_that_is_gone_never(
    file, clock, monkeypatch
):
    monkeypatch.setattr(limits, "TIMER_AGAIN_S", 0.0)
    woken = Woken(RuntimeError("not now"), NoSuchProcess("gone"))
    timers = Timers(file, woken, clock=clock)
    await timers.start()
    await timers.of(7).set(clock.now + 1, "milk")
    clock.now += 2
    await timers.of(9).set(clock.now + 1, "bread")
    clock.now += 2
    timers.forget(99)
    await timers.of(9).set(clock.now + 1000, "eggs")
    assert (await woken.said.get())[0] in (7, 9)
    await timers.close()
    assert woken.said.empty()


async def test_reminders_belong_to_their_process(file, clock):
    timers = Timers(file, Woken(), clock=clock)
    await timers.start()
    timer = await timers.of(7).set(clock.now + 60, "milk")
    with pytest.raises(ToolError):
        await timers.of(8).cancel(timer.id)
    assert await timers.of(8).list() == []
    assert (await timers.of(7).cancel(timer.id)).text == "milk"
    await timers.of(7).set(clock.now + 60, "bread")
    timers.forget(7)
    assert await timers.of(7).list() == []
    await timers.close()


@pytest.mark.parametrize("due", [float("nan"), float("inf"), -1.0, 1_000_000.0, 1e15])
async def test_moments_that_no_reminder_can_have_are_refused(file, clock, due):
    timers = Timers(file, Woken(), clock=clock)
    with pytest.raises(ToolError):
        await timers.of(7).set(due, "milk")
    assert not file.exists()


async def test_reminders_are_bounded_in_number_and_length(file, clock, monkeypatch):
    monkeypatch.setattr(limits, "TIMERS_PROCESS", 2)
    timers = Timers(file, Woken(), clock=clock)
    with pytest.raises(ToolError, match="too long"):
        await timers.of(7).set(clock.now + 1, "x" * (limits.TIMER_CHARS + 1))
    for _ in range(2):
        await timers.of(7).set(clock.now + 60, "x")
    with pytest.raises(ToolError, match="too many"):
        await timers.of(7).set(clock.now + 60, "x")


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b'{"next": 1, "timers": [3]}', b"\xff", b"[" * 100_000]
)
async def test_a_damaged_file_is_put_aside_and_the_kernel_starts(file, clock, raw):
    paths.private_dir(file.parent)
    file.write_bytes(raw)
    timers = Timers(file, Woken(), clock=clock)
    await timers.start()
    assert (await timers.of(7).set(clock.now + 60, "milk")).id == "t1"
    assert file.with_name("timers.json.broken").read_bytes() == raw
    await timers.close()


async def test_a_reminder_that_cannot_be_kept_is_not_promised(file, clock, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paths, "atomic_write", full)
    timers = Timers(file, Woken(), clock=clock)
    with pytest.raises(ToolError, match="cannot be kept"):
        await timers.of(7).set(clock.now + 60, "milk")
    assert await timers.of(7).list() == []
    with pytest.raises(KernelError):
        timers.set(7, clock.now + 60, "milk")


async def test_a_tool_in_another_thread_and_loop_sets_one(file, clock):
    woken = Woken()
    timers = Timers(file, woken, clock=clock)
    await timers.start()

    def elsewhere() -> None:
        asyncio.run(timers.of(7).set(clock.now + 0.01, "milk"))
        clock.now += 1

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert await woken.said.get() == (7, "milk")
    thread.join()
    assert file.stat().st_mode & 0o77 == 0
    await timers.close()
    assert json.loads(file.read_text())["timers"] == []


async def test_reminders_of_others_are_seen_and_taken_only_where_that_was_lent(file, clock):
    timers = Timers(file, Woken(), title=lambda pid: f"chat {pid}", clock=clock)
    theirs = await timers.of(8).set(clock.now + 60, "bread")
    mine = await timers.of(7).set(clock.now + 600, "milk")
    every = timers.of(7, every=True)
    seen = [(each.id, each.pid, each.title) for each in await every.list()]
    assert seen == [(mine.id, 0, ""), (theirs.id, 8, "chat 8")]
    assert await timers.of(7).list() == [mine]
    with pytest.raises(ToolError, match=r"There are: t2\.$"):
        await timers.of(7).cancel(theirs.id)
    assert (await every.cancel(theirs.id)).text == "bread"
    with pytest.raises(ToolError, match=r"There are: t2\.$"):
        await every.cancel(theirs.id)


def test_a_person_sees_and_takes_back_the_reminders_of_all_processes(file, clock):
    timers = Timers(file, Woken(), title=lambda pid: f"chat {pid}", clock=clock)
    timers.set(8, clock.now + 600, "bread")
    timers.set(7, clock.now + 60, "milk")
    assert [(each.id, each.pid) for each in timers.all()] == [("t2", 7), ("t1", 8)]
    taken = timers.take("t1")
    assert (taken.text, taken.pid, taken.title) == ("bread", 8, "chat 8")
    with pytest.raises(NoSuchReminder, match=r"There are: t2\.$"):
        timers.take("t1")
    assert [row["id"] for row in json.loads(file.read_text())["timers"]] == ["t2"]


def test_a_sentence_that_names_the_reminders_there_are_stays_short(file, clock):
    timers = Timers(file, Woken(), clock=clock)
    for _ in range(limits.TIMERS_NAMED + 1):
        timers.set(7, clock.now + 60, "")
    with pytest.raises(NoSuchReminder, match=rf"t{limits.TIMERS_NAMED}, …\.$"):
        timers.take("t99")
