"""A process without walls is bound and ended all the same."""

from __future__ import annotations

import sys

import pytest

from llmos.errors import CallFailed
from llmos.sandbox.jail import Bounds, Task, run
from llmos.sandbox.unjailed import Unjailed

BOUNDS = Bounds(memory_bytes=256 << 20, cpu_seconds=2, processes=4, file_bytes=1000, open_files=32)


def task(code: str) -> Task:
    return Task(argv=(sys.executable, "-I", "-S", "-c", code), bounds=BOUNDS)


async def test_a_program_reads_its_input_in_pieces_as_far_as_it_wants():
    asked = []

    def pieces():
        for number in range(1000):
            asked.append(number)
            yield b"x" * 65_536

    code = "import sys; print(len(sys.stdin.buffer.read(100_000)), flush=True); sys.stdin.close()"
    done = await run(Unjailed(), task(code), pieces(), seconds=30, output_bytes=1000)
    assert (done.status, done.stdout) == (0, b"100000\n")
    assert len(asked) < 1000


async def test_it_has_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "x")
    code = "import os; print(os.environ.get('SECRET'))"
    done = await run(Unjailed(), task(code), seconds=30, output_bytes=1000)
    assert done.stdout == b"None\n"


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux bounds another process from here.")
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = b'x' * (1 << 30)", b"MemoryError"),
        ("open('big', 'wb', 0).write(b'x' * 5000); open('big', 'ab', 0).write(b'x')", b"large"),
        ("f = [open('/dev/null') for _ in range(100)]", b"Too many open files"),
    ],
)
async def test_its_bounds_are_set_before_it_reads(code: str, said: bytes, tmp_path):
    code = f"import os, sys; sys.stdin.read(); os.chdir({str(tmp_path)!r}); {code}"
    done = await run(Unjailed(), task(code), b"go", seconds=30, output_bytes=10_000)
    assert done.status
    assert said in done.stderr


async def test_its_time_is_bounded():
    code = "import sys, time; sys.stdin.read(); time.sleep(600)"
    done = await run(Unjailed(), task(code), seconds=0.5, output_bytes=10)
    assert done.ended == "time"


async def test_what_cannot_be_started_is_one_sentence():
    missing = Task(argv=("/nonexistent/program",))
    with pytest.raises(CallFailed, match=r"could not be started: No such file"):
        await run(Unjailed(), missing, seconds=5, output_bytes=10)
