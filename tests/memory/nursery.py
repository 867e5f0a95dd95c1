"""Children that die: forked from one Python, so that hundreds of kills take seconds.

Run as a program it reads one order a line from standard input (JSON), forks a child for it, kills
it when it has acknowledged enough (or lets it kill itself at a failpoint), and answers with what
the child had acknowledged. It never opens a journal itself: its children must find no thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmos.events import Message, ToolCall
from llmos.failpoints import VARIABLE
from llmos.labels import Label, Origin
from llmos.memory.erase import erase
from llmos.memory.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = 400  # after so many a child that nobody killed ends by itself


class Nursery:
    """The program, seen from a test."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def order(self, **what: Any) -> tuple[list[list[Any]], int]:
        """Have a child do ``what``; returns what it acknowledged and how it ended."""
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.write(json.dumps({key: what[key] for key in what}, default=str) + "\n")
        self._child.stdin.flush()
        answer = json.loads(self._child.stdout.readline())
        return answer["acknowledged"], answer["status"]


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A running nursery."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.memory.nursery"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
        cwd=ROOT,
    ) as child:
        yield Nursery(child)
        assert child.stdin is not None
        child.stdin.close()


def label_of(number: int) -> Label:
    """The label that the record ``number`` is given, so that it can be checked."""
    return Label(Origin(number % len(Origin)), tuple(f"s{n}" for n in range(number % 3)))


def acknowledge(out: int, *what: Any) -> None:
    """Tell the nursery, in one write, that something is on the disk."""
    os.write(out, (json.dumps(what) + "\n").encode())


async def live(path: Path, out: int, *, erasing: bool) -> None:
    """Do all that a kernel does with a journal, side by side, until somebody kills this process."""
    journal = Journal(path)
    work = [talk(journal, out), call(journal, out), turns(journal, out), births(journal, out)]
    await asyncio.gather(*work, *([forget(journal, out)] if erasing else []))
    await journal.close()


async def talk(journal: Journal, out: int) -> None:
    pid = (await journal.create_process(title="talk")).pid
    for number in range(OPERATIONS):
        text = f"{number} " + "x" * (number % 5 * 700)
        stored = await journal.append(pid, Message("user", text), label=label_of(number))
        acknowledge(out, "message", stored.id, number, text)


async def call(journal: Journal, out: int) -> None:
    pid = (await journal.create_process(title="call")).pid
    for n in range(OPERATIONS):
        number = await journal.start_call(pid, n, ToolCall(str(n), "a.b", {"n": n}))
        acknowledge(out, "started", number)
        await journal.finish_call(number, result="done")
        acknowledge(out, "finished", number)


async def turns(journal: Journal, out: int) -> None:
    pid = (await journal.create_process(title="turns")).pid
    for n in range(1, OPERATIONS):
        await journal.finish_turn(pid, n, "stop", tokens=1)
        acknowledge(out, "turn", pid, n)


async def births(journal: Journal, out: int) -> None:
    for _ in range(OPERATIONS):
        pid = (await journal.create_process(title="short")).pid
        acknowledge(out, "born", pid)
        await journal.end_process(pid, "done")
        acknowledge(out, "ended", pid)


async def forget(journal: Journal, out: int) -> None:
    pid = (await journal.create_process(title="forget")).pid
    for n in range(OPERATIONS):
        secret = f"<secret {n} of {pid}>"
        stored = await journal.append(pid, Message("user", secret))
        acknowledge(out, "doomed", stored.seq, secret)
        await erase(journal, [stored.seq], "test")
        acknowledge(out, "erased", stored.seq, secret)


def child(order: dict[str, Any], out: int) -> None:
    """What a forked child does; it does not come back."""
    status = 1
    try:
        if order.get("failpoint"):
            os.environ[VARIABLE] = order["failpoint"]
        if order["job"] == "live":
            asyncio.run(live(Path(order["path"]), out, erasing=order.get("erasing", False)))
        else:
            from tests.kernel import dying

            asyncio.run(dying.JOBS[order["job"]](Path(order["path"]), out))
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def serve() -> None:
    """Obey orders until there are no more."""
    import tests.kernel.dying  # noqa: F401 - once, before the first fork

    for line in sys.stdin:
        order = json.loads(line)
        after, dice = order.get("after", 0), random.Random(order.get("seed", 0))
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            child(order, theirs)
        os.close(theirs)
        said: list[str] = []
        with os.fdopen(ours) as pipe:
            for said_line in pipe:
                said.append(said_line)
                if len(said) == after:
                    for _ in range(dice.randrange(20_000)):
                        pass  # somewhere within the next write
                    os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        whole = [json.loads(one) for one in said if one.endswith("\n")]
        print(json.dumps({"acknowledged": whole, "status": status}), flush=True)


if __name__ == "__main__":
    serve()
