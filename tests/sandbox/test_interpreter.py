from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import psutil
import pytest

from llmos import limits
from llmos.errors import CallDenied, SandboxMissing
from llmos.sandbox import tiers
from llmos.sandbox.interpreter import Session
from llmos.sandbox.jail import Jail
from llmos.sdk import ToolError
from tests.sandbox.bare import Bare


@pytest.fixture
async def session(tmp_path: Path):
    """In the jail that this machine has."""
    session = Session(tmp_path / "session", jail=tiers.best)
    yield session
    await session.close()


@pytest.fixture
async def hasty(tmp_path: Path):
    """Without walls, and impatient."""
    session = Session(tmp_path / "session", jail=Bare(), seconds=1.0)
    yield session
    await session.close()


async def said(session: Session, code: str, ask=None) -> str:
    ran = await session.run(code, ask)
    assert ran.error == ""
    return ran.output


# --- a session ----------------------------------------------------------------------------------


async def test_what_one_call_defines_the_next_one_finds(session):
    assert await said(session, "x = 20\ndef double(n): return 2 * n") == ""
    assert await said(session, "double(x) + 2") == "42"


async def test_the_value_of_the_last_expression_is_shown_but_none_is_not(session):
    assert await said(session, "print('a')\n'b'") == "a\n'b'"
    assert await said(session, "None") == ""
    assert await said(session, "3;") == ""
    assert await said(session, "5\n_") == "'b'"


async def test_output_and_errors_keep_their_order(session):
    code = "import sys\nfor i in range(3):\n print(i)\n print(i, file=sys.stderr)"
    assert await said(session, code) == "0\n0\n1\n1\n2\n2"


async def test_what_a_program_started_by_the_code_prints_is_output_too(session):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(7)']).returncode"
    assert await said(session, code) == "7\n0"


async def test_a_traceback_has_the_codes_own_lines_and_no_others(session):
    ran = await session.run("import json\ndef f():\n    json.loads('{')\nf()")
    assert "json.loads('{')" in ran.error and "JSONDecodeError" in ran.error
    assert "decoder.py" not in ran.error and "interpreter_worker" not in ran.error


async def test_a_chained_error_is_told_with_its_cause(session):
    ran = await session.run("try: 1/0\nexcept ZeroDivisionError as e: raise KeyError('k') from e")
    assert "ZeroDivisionError" in ran.error and "KeyError: 'k'" in ran.error
    assert "interpreter_worker" not in ran.error


@pytest.mark.parametrize("code", ["(", "if", "a b", "\udc80", "\0", "(" * 5000, "return 1"])
async def test_code_that_is_none_is_told_and_the_session_goes_on(session, code):
    assert (await session.run(code)).error != ""
    assert await said(session, "1") == "1"


async def test_an_error_that_cannot_be_shown_is_told(session):
    code = "class E(Exception):\n def __str__(self): raise RuntimeError\nraise E"
    assert "E" in (await session.run(code)).error
    assert await said(session, "1") == "1"


async def test_exit_ends_the_code_but_not_the_session(session):
    await session.run("x = 1")
    assert await session.run("exit()") == await session.run("raise SystemExit")
    assert "SystemExit: no" in (await session.run("raise SystemExit('no')")).error
    assert await said(session, "x") == "1"


async def test_nobody_answers_input(session):
    assert "nobody is there" in (await session.run("input('name? ')")).error


async def test_classes_can_be_pickled_and_files_of_the_folder_imported(session):
    await session.put("mine.py", b"value = 3")
    assert await said(session, "import mine; mine.value") == "3"
    code = "import pickle\nclass A: pass\ntype(pickle.loads(pickle.dumps(A()))) is A"
    assert await said(session, code) == "True"


async def test_a_file_of_the_folder_stands_for_no_library(session):
    await session.put("json.py", b"raise SystemError")
    assert await said(session, "import json; json.dumps(1)") == "'1'"


async def test_code_sees_neither_the_network_nor_the_environment_nor_the_home(session, tmp_path):
    (tmp_path / "secret").write_text("s")
    os.environ["LLMOS_TEST_SECRET"] = "s"
    try:
        code = f"""
import os, socket
seen = [os.environ.get("LLMOS_TEST_SECRET"), os.path.exists({str(tmp_path / "secret")!r})]
try:
    socket.create_connection(("127.0.0.1", 1), 1)
except ConnectionRefusedError:
    seen.append("a network")
except OSError:
    seen.append(None)
seen"""
        assert await said(session, code) == "[None, False, None]"
    finally:
        del os.environ["LLMOS_TEST_SECRET"]


@pytest.mark.parametrize("tier", tiers.available(), ids=lambda tier: tier.name)
async def test_a_session_works_in_every_tier_of_this_machine(tier, tmp_path):
    async def jail():
        return tier

    session = Session(tmp_path / "session", jail=jail)
    try:
        try:
            await session.run("x = 1")
        except SandboxMissing as missing:
            pytest.skip(str(missing))
        code = "import matplotlib.pyplot as plt; plt.plot([x, 2]); x + 1"
        ran = await session.run(code)
        assert (ran.output, ran.error, len(ran.artifacts)) == ("2", "", 1)
        flood = await session.run("while True: print('x' * 1000)")
        assert "KeyboardInterrupt" in flood.error
        assert await said(session, "x") == "1"
    finally:
        await session.close()


# --- pictures and files -------------------------------------------------------------------------


async def test_numbers_tables_and_charts(session):
    await session.put("data.csv", b"day,price\n1,2.5\n2,3.5\n")
    code = """
import pandas as pd, matplotlib.pyplot as plt
table = pd.read_csv("data.csv")
table.plot(x="day", y="price")
plt.show()
plt.figure(); plt.plot([1, 2])
table["price"].mean()"""
    ran = await session.run(code)
    assert (ran.output, ran.error) == ("np.float64(3.0)", "")
    assert [(a.name, a.media) for a in ran.artifacts] == [
        ("chart-1.png", "image/png"),
        ("chart-2.png", "image/png"),
    ]
    assert all(a.data.startswith(b"\x89PNG") for a in ran.artifacts)
    assert (await session.run("1")).artifacts == ()


async def test_a_chart_that_the_code_saved_itself_comes_once(session):
    code = "import matplotlib.pyplot as plt; plt.plot([1]); plt.savefig('mine.png')"
    assert [a.name for a in (await session.run(code)).artifacts] == ["mine.png"]


async def test_a_chart_comes_also_where_the_code_fails_later(session):
    ran = await session.run("import matplotlib.pyplot as plt; plt.plot([1])\n1/0")
    assert "ZeroDivisionError" in ran.error
    assert [a.name for a in ran.artifacts] == ["chart-1.png"]


async def test_of_very_many_charts_the_first_ones_are_drawn_and_that_is_said(session):
    code = "import matplotlib.pyplot as plt\nfor n in range(18): plt.figure(figsize=(1, 1))"
    ran = await session.run(code)
    assert ran.output == "[2 more charts are not drawn]"
    assert [a.name for a in ran.artifacts] == [f"chart-{n}.png" for n in range(1, 17)]


async def test_only_new_and_changed_files_come_back(session):
    await session.put("given.txt", b"g")
    made = await session.run("open('a.txt','w').write('1'); open('.hidden','w').write('2');")
    assert [(a.name, a.media, a.data) for a in made.artifacts] == [("a.txt", "text/plain", b"1")]
    assert (await session.run("open('given.txt').read()")).artifacts == ()
    assert (await session.run("open('a.txt','w').write('22');")).artifacts[0].data == b"22"


# --- calls --------------------------------------------------------------------------------------


async def test_code_reads_files_and_makes_calls_through_the_kernel_only(session):
    asked = []

    async def ask(name, arguments):
        asked.append((name, arguments))
        return b"a,b\n1,2\n" if name == "files.bytes" else {"text": "now"}

    code = "import llmos, pandas\npandas.read_csv(llmos.open('~/data.csv'))['b'].sum()"
    assert await said(session, code, ask) == "np.int64(2)"
    assert await said(session, "llmos.open('x', 'rb').read()", ask) == r"b'a,b\n1,2\n'"
    assert await said(session, "llmos.call('clock.now', zone='UTC')['text']", ask) == "'now'"
    assert asked[0] == ("files.bytes", {"path": "~/data.csv"})
    assert asked[2] == ("clock.now", {"zone": "UTC"})


async def test_a_call_that_is_refused_is_an_error_the_code_can_catch(session):
    async def ask(name, arguments):
        raise CallDenied("You may not.")

    code = "import llmos\ntry: llmos.call('files.write')\nexcept llmos.CallError as e: print(e)"
    assert await said(session, code, ask) == "You may not."
    assert "No calls can be made from here" in (await session.run("llmos.read('/x')")).error


async def test_a_call_that_breaks_or_answers_what_is_no_json_tells_nothing_of_its_inside(session):
    async def ask(name, arguments):
        if name == "broken":
            raise ZeroDivisionError("inner secret")
        return object()

    ran = await session.run("import llmos; llmos.call('broken')", ask)
    assert "broken failed." in ran.error and "secret" not in ran.error
    assert "odd failed." in (await session.run("llmos.call('odd')", ask)).error


async def test_code_that_asks_on_after_it_was_interrupted_is_ended(hasty, monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_REFUSED", 10**9)
    monkeypatch.setattr(limits, "PYTHON_GRACE_SECONDS", 0.1)

    async def ask(name, arguments):
        return 1

    code = """
import llmos, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [2])
while True:
    try: llmos.call("again")
    except llmos.CallError: pass"""
    assert "did not stop" in (await hasty.run(code, ask)).error


async def test_a_result_that_is_too_large_is_refused(session, monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_ANSWER_BYTES", 100)

    async def ask(name, arguments):
        return b"x" * 100

    ran = await session.run("import llmos; llmos.call('large')", ask)
    assert "The result of large is too large." in ran.error


async def test_waiting_for_an_answer_does_not_count_as_computing(hasty, tmp_path):
    other = Session(tmp_path / "other", jail=Bare(), seconds=1.5)

    async def ask(name, arguments):
        return (await other.run("while True: pass")).error[-40:]  # longer than it may compute

    assert "longer than 1.5 s" in await said(hasty, "import llmos; llmos.call('slow')", ask)
    assert "longer than 1 s" in (await hasty.run("while True: pass", ask)).error
    await other.close()


async def test_a_loop_of_calls_ends(session):
    async def ask(name, arguments):
        return 1

    code = "import llmos\nfor n in range(10000): llmos.call('again')"
    assert f"may make {limits.PYTHON_ASKED} calls" in (await session.run(code, ask)).error


# --- ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(1e6)"])
async def test_code_that_takes_too_long_is_interrupted_and_the_session_survives(hasty, code):
    await hasty.run("x = 1")
    ran = await hasty.run(code)
    assert "longer than 1 s" in ran.error and "KeyboardInterrupt" in ran.error
    assert await said(hasty, "x") == "1"


async def test_code_that_cannot_be_interrupted_costs_its_session(hasty, monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_GRACE_SECONDS", 0.1)
    code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [2])\nwhile True: pass"
    await hasty.run("x = 1")
    ran = await hasty.run(code)
    assert "did not stop" in ran.error and "What was defined is gone" in ran.error
    again = await hasty.run("'x' in globals()")
    assert again.output.startswith("[A new session: ") and again.output.endswith("False")
    assert (await hasty.run("1")).output == "1"  # said once


async def test_a_cancelled_call_is_interrupted_and_the_session_survives(session):
    await session.run("x = 1")
    reached = asyncio.Event()

    async def ask(name, arguments):
        reached.set()

    running = asyncio.create_task(session.run("import llmos; llmos.call('here')\nwhile 1: 0", ask))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await said(session, "x") == "1"


async def test_a_call_that_is_cancelled_while_it_asks_ends_the_question(session):
    reached, gone = asyncio.Event(), asyncio.Event()

    async def ask(name, arguments):
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    running = asyncio.create_task(session.run("import llmos; llmos.call('ever')", ask))
    await reached.wait()
    running.cancel()
    await gone.wait()
    assert await said(session, "1") == "1"


async def test_a_flood_is_cut_in_the_middle_and_stopped(session):
    ran = await session.run("print('first')\nwhile True: print('x' * 1000)")
    assert ran.output.startswith("first\n")
    assert "bytes of what was printed are left out here" in ran.output
    assert len(ran.output) < 2 * (limits.PYTHON_SHOWN_HEAD + limits.PYTHON_SHOWN_TAIL)
    assert "printed more than 8 MB" in ran.error
    assert await said(session, "1") == "1"


@pytest.mark.parametrize("code", ["import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)"])
async def test_a_session_that_died_begins_anew_and_says_so(session, code):
    await session.put("kept.txt", b"k")
    ran = await session.run(f"x = 1\nprint('before')\n{code}")
    assert ran.output == "before"
    assert "What was defined is gone; the files are still there." in ran.error
    again = await session.run("open('kept.txt').read()")
    assert again.output.startswith("[A new session: ") and again.output.endswith("'k'")


async def test_more_memory_than_there_may_be_is_an_error_and_no_more(session):
    ran = await session.run("x = bytearray(64 << 30)")
    assert "MemoryError" in ran.error
    assert await said(session, "1") == "1"


async def test_code_that_writes_into_the_line_to_the_kernel_costs_its_session(session):
    code = """
import os
for fd in range(3, 30):
    try: os.write(fd, b"[" * 100000 + b"\\n")
    except OSError: pass
"""
    assert "wrote into its own line" in (await session.run(code)).error
    assert (await session.run("1")).output.endswith("1")


async def test_code_that_floods_the_line_to_the_kernel_costs_its_session_and_holds_up_nobody(
    session,
):
    code = """
import os
while True:
    for fd in range(3, 10):
        try: os.write(fd, b"{}\\n" * 20000)
        except OSError: pass
"""
    ran = asyncio.create_task(session.run(code))
    turns = 0
    while not ran.done():
        await asyncio.sleep(0)
        turns += 1
    assert "wrote into its own line" in (await ran).error
    assert turns > 10
    assert (await session.run("1")).output.endswith("1")


async def test_code_that_asks_without_end_costs_its_session(session, monkeypatch):
    monkeypatch.setattr(limits, "PYTHON_ASKED", 3)
    monkeypatch.setattr(limits, "PYTHON_REFUSED", 40)
    code = """
import llmos
refused = 0
while True:
    try: llmos.call('files.list')
    except llmos.CallError: refused += 1
    if refused == LAST: break
refused
"""
    made = []

    async def ask(name, arguments):
        made.append(name)

    assert (await session.run(code.replace("LAST", "40"), ask)).output == "40"
    async with asyncio.timeout(60):
        ran = await session.run(code.replace("LAST", "41"), ask)
    assert "it asked for calls without end" in ran.error
    assert len(made) == 6
    assert (await session.run("1")).output.endswith("1")


@pytest.mark.parametrize("jail", tiers.available(), ids=lambda jail: jail.name)
async def test_code_that_closes_its_line_to_the_kernel_is_not_waited_for(
    jail: Jail, tmp_path: Path, monkeypatch
):
    async def this() -> Jail:
        return jail

    monkeypatch.setattr(limits, "PYTHON_GRACE_SECONDS", 0.2)
    session = Session(tmp_path / "session", jail=this, seconds=3600.0)
    try:
        async with asyncio.timeout(60):
            ran = await session.run("import os\nos.dup2(1, 3)")
        assert "wrote into its own line to the kernel, or closed it" in ran.error
        assert (await session.run("1")).output.endswith("1")
    except SandboxMissing as missing:
        pytest.skip(f"{jail.name}: {missing}")
    finally:
        await session.close()


async def test_code_that_forks_and_goes_on_in_both_leaves_one_session(session):
    code = (
        "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nprint('child' if not pid else '')"
    )
    assert await said(session, code) == "child"
    assert await said(session, "print(pid > 0)") == "True"


async def test_a_daemon_does_not_outlive_its_session(tmp_path):
    session = Session(tmp_path / "session", jail=tiers.best)
    name = f"daemon-{secrets.token_hex(8)}"
    daemon = f"import sys, time; print(sys.argv[1], flush=True); time.sleep(1e6)  # {name}"
    code = f"""
import subprocess, sys
started = subprocess.Popen([sys.executable, "-c", {daemon!r}, "up"], stdout=subprocess.PIPE,
    start_new_session=True, text=True)
started.stdout.readline()"""
    assert await said(session, code) == r"'up\n'"
    assert _running(name)
    await session.close()
    assert not _running(name)
    assert not (tmp_path / "session").exists()


def _running(name: str) -> bool:
    return any(
        name in part
        for process in psutil.process_iter(["cmdline"])
        for part in process.info["cmdline"] or ()
    )


async def test_pieces_that_come_together_run_one_after_the_other(session):
    ran = await asyncio.gather(*(session.run(f"print({n})") for n in range(5)))
    assert [each.output for each in ran] == ["0", "1", "2", "3", "4"]


async def test_code_without_end_is_refused_before_it_runs(session):
    with pytest.raises(ToolError, match="too long"):
        await session.run("#" * (limits.PYTHON_CODE_CHARS + 1))


async def test_where_no_jail_holds_nothing_runs(tmp_path):
    async def none():
        raise SandboxMissing("Nothing here holds.", remedy="Install one.")

    session = Session(tmp_path / "session", jail=none)
    with pytest.raises(SandboxMissing, match="Install one"):
        await session.run("1")
    await session.close()
