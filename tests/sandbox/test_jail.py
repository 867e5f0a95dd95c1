"""Both tiers of Linux, tried on this machine: what a jailed program gets, and how it is ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from llmos.errors import CallFailed
from llmos.sandbox import bubblewrap
from llmos.sandbox.bubblewrap import Bubblewrap
from llmos.sandbox.jail import Bounds, Finished, Jail, Task, run
from llmos.sandbox.landlock import Landlock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="These tiers are Linux's.")

TIERS = {"bubblewrap": Bubblewrap(), "landlock": Landlock(), "landlock-5": Landlock(5)}
SECONDS = 60  # nothing here is timed: what hangs ends the test


@pytest.fixture(params=TIERS)
def jail(request: pytest.FixtureRequest) -> Jail:
    return TIERS[request.param]


@pytest.fixture
def space(tmp_path: Path) -> Path:
    folder = tmp_path / "space"
    folder.mkdir()
    return folder


def program(code: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, "-I", "-S", "-c", code, *arguments


async def ran(jail: Jail, task: Task, data: bytes = b"", output: int = 100_000) -> Finished:
    return await run(jail, task, data, seconds=SECONDS, output_bytes=output)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# --- what it gets -------------------------------------------------------------------------------


async def test_a_program_reads_its_input_and_writes_its_output_and_errors(jail: Jail):
    code = "import sys; print(sys.stdin.read().upper()); print('e', file=sys.stderr); sys.exit(3)"
    assert await ran(jail, Task(program(code)), b"hello") == Finished(3, b"HELLO\n", b"e\n", "")


async def test_a_large_input_and_a_large_output_cross_whole(jail: Jail):
    code = "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d[::-1])"
    data = bytes(range(256)) * 4096
    done = await ran(jail, Task(program(code)), data, output=len(data))
    assert (done.stdout == data[::-1], done.ended) == (True, "")


async def test_a_program_that_does_not_read_its_input_is_no_error(jail: Jail):
    done = await ran(jail, Task(program("print(1)")), b"x" * 1_000_000)
    assert (done.status, done.stdout) == (0, b"1\n")


async def test_its_environment_is_what_was_given_and_nothing_of_ours(
    jail: Jail, space: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SECRET", "hunter2")
    code = "import os; print(sorted(os.environ)); print(os.environ['HOME'], os.getcwd())"
    done = await ran(jail, Task(program(code), workspace=space, env={"GIVEN": "1"}))
    names, places = done.stdout.decode().splitlines()
    assert set(eval(names)) - {"PWD", "LC_CTYPE"} == {"GIVEN", "HOME", "LANG", "PATH", "TMPDIR"}
    assert places == f"{space} {space}"


async def test_the_interpreter_and_its_packages_are_there(jail: Jail):
    code = "import numpy; print(numpy.arange(4).sum())"
    task = Task((sys.executable, "-I", "-c", code), env={"OPENBLAS_NUM_THREADS": "2"})
    done = await ran(jail, task)
    assert (done.stdout, done.status) == (b"6\n", 0), done.stderr


async def test_what_is_readable_is_read_and_not_written(jail: Jail, tmp_path: Path, space: Path):
    given = tmp_path / "given.txt"
    given.write_text("given")
    code = "import sys; print(open(sys.argv[1]).read(), flush=True); open(sys.argv[1], 'w')"
    done = await ran(jail, Task(program(code, str(given)), readable=(given,), workspace=space))
    assert done.stdout == b"given\n"
    assert done.status == 1
    assert given.read_text() == "given"


async def test_what_is_not_given_is_not_read(jail: Jail, tmp_path: Path, space: Path):
    (tmp_path / "secret").write_text("hunter2")
    (space / "link").symlink_to(tmp_path / "secret")
    code = "import sys; print(open(sys.argv[1]).read())"
    for path in (tmp_path / "secret", space / "link", space / ".." / "secret"):
        done = await ran(jail, Task(program(code, str(path)), workspace=space))
        assert done.status == 1
        assert b"hunter2" not in done.stdout


async def test_what_it_writes_in_its_workspace_is_on_our_side(jail: Jail, space: Path):
    more = space.parent / "more"
    more.mkdir()
    code = "import sys; open('a', 'w').write('1'); open(sys.argv[1] + '/b', 'w').write('2')"
    task = Task(program(code, str(more)), workspace=space, writable=(more,))
    assert (await ran(jail, task)).status == 0
    assert ((space / "a").read_text(), (more / "b").read_text()) == ("1", "2")


async def test_it_inherits_only_the_descriptors_it_was_given(jail: Jail):
    reading, writing = os.pipe()
    try:
        code = "import os, sys\nfor fd in range(3, 100):\n try: os.fstat(fd); print(fd)\n"
        code += " except OSError: pass\nos.write(int(sys.argv[1]), b'hello')"
        done = await ran(jail, Task(program(code, str(writing)), fds=(writing,)))
        assert done.stdout.split() == [str(writing).encode()], done.stderr
        assert os.read(reading, 10) == b"hello"
    finally:
        os.close(reading)
        os.close(writing)


# --- what it does not get -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket()",
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "import os; os.chmod(os.environ['HOME'], 0o4755)",
        "import os; os.open('x', os.O_CREAT | os.O_WRONLY, 0o4755)",
        "import os; os.setpriority(os.PRIO_PROCESS, 0, 5)",
        "import os; os.memfd_create('x')",
        "import os; os.pidfd_open(os.getppid())",
        "import os; os.kill(int(__import__('sys').argv[1]), 9)",
        "import os; os.kill(-1, 0) or os.kill(int(__import__('sys').argv[1]), 0)",
    ],
)
async def test_a_refused_call_is_an_error_that_the_program_sees(jail: Jail, space: Path, code: str):
    done = await ran(jail, Task(program(code, str(os.getpid())), workspace=space))
    assert done.status == 1, done
    assert b"Error" in done.stderr


async def test_ordinary_programs_find_what_they_need(jail: Jail, space: Path):
    code = """
import asyncio, os, shutil, socket, subprocess, sys, tempfile, threading, time
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
asyncio.run(asyncio.sleep(0))
t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()
print(subprocess.run(['/bin/sh', '-c', 'echo one | cat'], capture_output=True).stdout)
with tempfile.TemporaryDirectory() as folder: open(folder + '/f', 'w').write('x')
open('a', 'w').write('a'); shutil.copy2('a', 'b'); os.rename('b', 'c'); os.mkdir('d')
os.rename('c', 'd/c'); os.symlink('d', 'e'); os.mkfifo('f'); os.kill(0, 0)
open('/dev/null', 'w').write('x'); assert len(open('/dev/urandom', 'rb').read(8)) == 8
p = os.fork()
if p == 0: time.sleep(100)
os.kill(p, 9); print(os.waitpid(p, 0)[1])
"""
    done = await ran(jail, Task(program(code), workspace=space))
    assert done.status == 0, done.stderr.decode()
    assert done.stdout == b"thread\nb'one\\n'\n9\n"


# --- its bounds ---------------------------------------------------------------------------------


async def test_a_process_that_wants_too_much_memory_is_told_so(jail: Jail):
    task = Task(program("bytearray(400 << 20)"), bounds=Bounds(memory_bytes=300 << 20))
    done = await ran(jail, task)
    assert done.status == 1
    assert b"MemoryError" in done.stderr


async def test_processes_that_want_too_much_memory_together_are_ended(jail: Jail):
    code = "import os, signal\nfor _ in range(8):\n if os.fork() == 0:\n"
    code += "  x = bytearray(b'x') * (100 << 20); signal.pause()\nsignal.pause()"
    done = await ran(jail, Task(program(code), bounds=Bounds(memory_bytes=300 << 20)))
    assert done.ended == "memory"


async def test_memory_that_processes_share_counts_once(jail: Jail):
    code = "import os, time\nx = bytearray(b'x') * (200 << 20)\nfor _ in range(4):\n"
    code += " if os.fork() == 0:\n  end = time.monotonic() + 0.5\n"
    code += "  while time.monotonic() < end: pass\n  os._exit(0)\n"
    code += "for _ in range(4): os.wait()"
    task = Task(program(code), bounds=Bounds(memory_bytes=500 << 20))
    done = await ran(jail, task)
    assert (done.status, done.ended) == (0, ""), done


async def test_a_process_that_hides_what_it_uses_is_ended(jail: Jail):
    code = "import ctypes; ctypes.CDLL(None).prctl(4, 0)\nwhile True: pass"
    done = await ran(jail, Task(program(code), bounds=Bounds(cpu_seconds=2)))
    assert done.ended or done.status >= 128


async def test_a_fork_bomb_ends_within_its_bound(jail: Jail, space: Path):
    code = "import os\ntry:\n while True:\n  if os.fork() == 0: open(str(os.getpid()), 'w')\n"
    code += "except OSError: __import__('signal').pause()"
    jailed = await jail.start(Task(program(code), workspace=space, bounds=Bounds(processes=20)))
    while len(list(space.iterdir())) < 12:
        await asyncio.sleep(0.1)
    below = psutil.Process(jailed.pid).children(recursive=True)
    assert len(below) <= 24  # process 1 of the jail, and one that was just let start
    await jailed.kill()
    assert all(gone(process.pid) for process in below)


async def test_threads_count_as_processes(jail: Jail):
    code = "import threading, signal\nn = 0\ntry:\n"
    code += " for _ in range(100): threading.Thread(target=signal.pause, daemon=True).start(); n+=1"
    code += "\nexcept RuntimeError: pass\nprint(n, flush=True); __import__('os')._exit(0)"
    done = await ran(jail, Task(program(code), bounds=Bounds(processes=10)))
    assert 5 <= int(done.stdout) <= 11, done


async def test_processor_time_is_bounded(jail: Jail):
    done = await ran(jail, Task(program("while True: pass"), bounds=Bounds(cpu_seconds=1)))
    assert done.ended == "time" or done.status == 128 + signal.SIGKILL


async def test_one_file_is_bounded(jail: Jail, space: Path):
    code = "open('f', 'wb').write(bytes(1 << 20))"
    done = await ran(jail, Task(program(code), workspace=space, bounds=Bounds(file_bytes=1000)))
    assert done.status != 0
    assert (space / "f").stat().st_size <= 1000


@pytest.mark.parametrize("kept", ["named", "gone", "mapped"])
async def test_all_files_together_are_bounded(jail: Jail, space: Path, kept: str):
    """Also those that have no name any more, and those that no descriptor stands for either."""
    code = """
import ctypes, os, signal
map = ctypes.CDLL(None).mmap
map.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
def named(i): return open(str(i), 'wb')
def gone(i):
    f = open(str(i), 'wb'); os.unlink(str(i)); return f
def mapped(i):
    f = open(str(i), 'w+b'); map(None, 4096, 1, 1, f.fileno(), 0); os.unlink(str(i)); return f
files = []
for i in range(200):
    f = KEPT(i); files.append(f)
    f.write(b'x' * (4 << 20)); f.flush()
    if KEPT is mapped: f.close()
signal.pause()
""".replace("KEPT", kept)
    done = await ran(jail, Task(program(code), workspace=space, bounds=Bounds(disk_bytes=20 << 20)))
    assert done.ended == "disk"


async def test_output_beyond_its_bound_is_dropped_and_ends_it(jail: Jail):
    code = "import os\nwhile True: os.write(1, b'x' * 60000); os.write(2, b'y' * 60000)"
    done = await ran(jail, Task(program(code)), output=100_000)
    assert done.ended == "output"
    assert len(done.stdout) + len(done.stderr) == 100_000


async def test_wall_time_is_bounded_also_for_what_ignores_signals(jail: Jail):
    code = "import signal\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\nprint(1, flush=True)"
    code += "\nwhile True: signal.pause()"
    done = await run(jail, Task(program(code)), seconds=1.5, output_bytes=100)
    assert (done.ended, done.status) == ("time", 128 + signal.SIGKILL)


# --- its end ------------------------------------------------------------------------------------

DAEMON = """
import os, signal, sys
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)
        os.write(writing, b'x')
        while True: signal.pause()
    os._exit(0)
os.read(reading, 1)
print('ready', flush=True)
"""


async def test_a_daemon_ends_with_the_program(jail: Jail):
    jailed = await jail.start(Task(program(DAEMON + "sys.stdin.read()")))
    assert await jailed.stdout.readline() == b"ready\n"
    below = psutil.Process(jailed.pid).children(recursive=True)
    assert len(below) >= 2
    jailed.stdin.close()
    assert await jailed.wait() == 0
    assert all(gone(process.pid) for process in below)
    await jailed.kill()


async def test_killing_ends_daemons_too_and_can_be_repeated(jail: Jail):
    jailed = await jail.start(Task(program(DAEMON + "signal.pause()")))
    await jailed.stdout.readline()
    below = psutil.Process(jailed.pid).children(recursive=True)
    await asyncio.gather(jailed.kill(), jailed.kill())
    assert all(gone(process.pid) for process in below)
    assert await jailed.wait() == 128 + signal.SIGKILL
    await jailed.kill()


async def test_a_cancelled_run_leaves_nothing(jail: Jail, space: Path):
    code = "open('began', 'w'); import signal; signal.pause()"
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    task = asyncio.create_task(ran(jail, Task(program(code), workspace=space)))
    while not (space / "began").exists():
        await asyncio.sleep(0.01)
    below = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    assert any(code in p.cmdline() for p in below if not gone(p.pid))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(gone(process.pid) for process in below)


async def test_no_descriptor_is_left_behind(jail: Jail):
    await ran(jail, Task(program("1")))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await ran(jail, Task(program("1")))
    assert len(os.listdir("/proc/self/fd")) <= before


# --- what cannot be started ---------------------------------------------------------------------


async def test_a_folder_that_is_not_there_is_named(jail: Jail, tmp_path: Path):
    with pytest.raises(CallFailed, match="nowhere"):
        await jail.start(Task(program("1"), readable=(tmp_path / "nowhere",)))


async def test_a_program_that_is_not_there_fails(jail: Jail):
    done = await ran(jail, Task(("/usr/bin/no-such-program",)))
    assert done.status != 0
    assert b"No such file" in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        {"argv": ()},
        {"argv": ("a\0b",)},
        {"workspace": Path("relative")},
        {"workspace": Path("/a/../b")},
        {"workspace": Path("/a"), "readable": (Path("/a/b"),)},
        {"env": {"A=B": "1"}},
    ],
)
def test_a_task_that_makes_no_sense_is_refused(wrong: dict):
    with pytest.raises(ValueError):
        Task(**{"argv": ("/bin/true",), **wrong})


def test_a_bound_of_nothing_is_refused():
    with pytest.raises(ValueError, match="processes"):
        Bounds(processes=0)


@pytest.mark.parametrize("when", ["size_before", "_read_all"])
async def test_a_start_that_nobody_waits_for_any_more_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, when: str
):
    real = getattr(bubblewrap, when)
    starts: list[asyncio.Task[Any]] = []

    def broken_off(*given: Any) -> Any:
        monkeypatch.setattr(bubblewrap, when, real)
        starts[0].cancel()
        return real(*given)

    monkeypatch.setattr(bubblewrap, when, broken_off)
    before = set(psutil.Process().children(recursive=True))
    starts.append(asyncio.create_task(TIERS["bubblewrap"].start(Task(argv=program("input()")))))
    async with asyncio.timeout(SECONDS):
        with pytest.raises(asyncio.CancelledError):
            await starts[0]
    assert set(psutil.Process().children(recursive=True)) <= before


async def test_a_jail_whose_limits_cannot_be_set_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
):
    def refused(*_: Any) -> None:
        raise OSError("no limits here")

    monkeypatch.setattr(bubblewrap, "_limit", refused)
    before = set(psutil.Process().children(recursive=True))
    async with asyncio.timeout(SECONDS):
        with pytest.raises(CallFailed, match="could not be set up"):
            await TIERS["bubblewrap"].start(Task(argv=program("input()")))
    assert set(psutil.Process().children(recursive=True)) <= before
