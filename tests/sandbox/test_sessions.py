from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmos.door.threads import on_shared_loop
from llmos.errors import SandboxMissing
from llmos.sandbox.sessions import Sessions
from llmos.sdk import ToolError
from tests.sandbox.bare import Bare


@pytest.fixture
async def sessions(tmp_path: Path):
    sessions = Sessions(tmp_path / "python", jail=Bare(), most=2)
    await sessions.open()
    yield sessions
    await sessions.aclose()


async def test_each_process_has_a_session_of_its_own(sessions):
    await sessions.lend(1).run("x = 1")
    await sessions.lend(2).run("x = 2")
    assert (await sessions.lend(1).run("x")).output == "1"
    assert (await sessions.lend(2).run("x")).output == "2"


async def test_sessions_are_bounded_and_the_one_at_rest_longest_makes_room(sessions):
    for pid in (1, 2):
        await sessions.lend(pid).run("x = 1")
    await sessions.lend(1).run("x")
    await sessions.lend(3).run("x = 3")
    assert sessions.count() == 2
    assert (await sessions.lend(1).run("x")).output == "1"
    lost = await sessions.lend(2).run("'x' in globals()")
    assert lost.output.startswith("[A new session: it was closed to make room for others; what it")
    assert lost.output.endswith("False")


async def test_where_all_are_busy_nobody_loses_theirs(sessions):
    busy = asyncio.Queue()

    async def ask(name, arguments):
        busy.put_nowait(name)
        await free.wait()

    free = asyncio.Event()
    running = [
        asyncio.create_task(sessions.lend(pid, ask).run("import llmos; llmos.call('wait')"))
        for pid in (1, 2)
    ]
    for _ in running:
        await busy.get()
    with pytest.raises(ToolError, match="busy"):
        await sessions.lend(3).run("1")
    free.set()
    assert [each.error for each in await asyncio.gather(*running)] == ["", ""]


async def test_a_session_at_rest_is_closed_and_the_next_one_says_so(tmp_path):
    jail = Bare()
    sessions = Sessions(tmp_path / "python", jail=jail, idle_seconds=0.01)
    await sessions.open()
    await sessions.lend(1).run("x = 1")
    await jail.started[0].wait()
    assert sessions.count() == 0
    assert "at rest" in (await sessions.lend(1).run("1")).output
    await sessions.aclose()


async def test_a_process_that_ended_leaves_nothing(sessions, tmp_path):
    await sessions.lend(1).put("a.txt", b"a")
    await sessions.lend(1).run("open('b.txt', 'w').write('b')")
    assert len(list((tmp_path / "python").iterdir())) == 1
    await sessions.close(1)
    await sessions.close(1)
    assert list((tmp_path / "python").iterdir()) == []
    assert (await sessions.lend(1).run("1")).output == "1"  # another process of that number


async def test_what_a_kernel_that_died_left_is_removed_and_folders_are_private(tmp_path):
    (tmp_path / "python/7-old").mkdir(parents=True)
    sessions = Sessions(tmp_path / "python", jail=Bare())
    await sessions.open()
    assert list((tmp_path / "python").iterdir()) == []
    await sessions.lend(1).run("1")
    assert [f.stat().st_mode & 0o77 for f in (tmp_path / "python").iterdir()] == [0]
    await sessions.aclose()
    assert not (tmp_path / "python").exists()


async def test_a_lent_interpreter_works_from_another_loop(sessions):
    lent = sessions.lend(1)
    ran = asyncio.wrap_future(on_shared_loop(lent.run("6 * 7")))
    assert (await ran).output == "42"
    assert (await asyncio.wrap_future(on_shared_loop(lent.evaluate("6 * 7")))).output == "42"


async def test_a_call_that_is_cancelled_on_another_loop_is_interrupted(sessions):
    reached = asyncio.Event()

    async def ask(name, arguments):
        reached.set()

    code = "import llmos\nx = 1\nllmos.call('here')\nwhile True: pass"
    running = on_shared_loop(sessions.lend(1, ask).run(code))
    await reached.wait()
    running.cancel()
    assert (await sessions.lend(1).run("x")).output == "1"


async def test_without_a_jail_a_tool_is_told_the_remedy_and_the_subset_works(tmp_path):
    async def none():
        raise SandboxMissing("Nothing here holds.", remedy="Install one.")

    sessions = Sessions(tmp_path / "python", jail=none)
    await sessions.open()
    with pytest.raises(ToolError) as caught:
        await sessions.lend(1).run("1")
    assert caught.value.remedy.startswith("Install one.")
    assert "evaluate" in caught.value.remedy
    assert (await sessions.lend(1).evaluate("1 + 1")).output == "2"
    await sessions.aclose()


async def test_what_one_expert_leaves_in_its_session_nobody_else_runs(sessions):
    await sessions.lend(1, role="snake").run("import builtins; builtins.hook = 1; x = 1")
    ran = await sessions.lend(1).run("import builtins; hasattr(builtins, 'hook'), 'x' in globals()")
    assert (ran.output, ran.error) == ("(False, False)", "")
    assert (await sessions.lend(1, role="snake").run("x")).output == "1"
    await sessions.close(1)
    assert sessions.count() == 0
