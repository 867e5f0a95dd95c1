"""Kernels that work until they are killed; see ``tests/memory/nursery.py``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from llmos.kernel.process import Process
from llmos.kernel.syscalls import Outcome, Syscall
from tests.kernel.kernels import call, kernel_on, mounted, remembering, row, turn

RULES = [("Go", call("mail.send", n=1))]
FORGETS = [("Forget m", call("memory.forget", id="m1"))]
LONG = "word " * 60


def acknowledge(out: int, *what: Any) -> None:
    os.write(out, (json.dumps(what) + "\n").encode())


def sending(home: Path) -> Syscall:
    """A call whose effect can be counted: a line in a file, on the disk at once."""

    async def send(process: Process, _arguments: Any) -> Outcome:
        handle = os.open(home / "sent", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, f"{process.pid}.{process.turn_number}\n".encode())
        os.fsync(handle)
        os.close(handle)
        return Outcome("Sent.")

    return row("mail.send", send, effect="egress")


async def send(home: Path, out: int) -> None:
    """Start a process and have it make calls, turn after turn."""
    async with kernel_on(home, RULES, calls=[sending(home)]) as kernel:
        pid = (await kernel.create(title="mail")).pid
        for _ in range(20):
            acknowledge(out, "sent", await kernel.send(pid, "Go"))
            await kernel.wait(pid)


async def talk(home: Path, out: int) -> None:
    """Talk in one process until much has left its window."""
    async with remembering(home, window=2000) as kernel:
        known = kernel.processes()
        pid = known[0].pid if known else (await kernel.create(title="talk")).pid
        for number in range(40):
            text = f"Question {number}. {LONG}"
            acknowledge(out, "said", await kernel.send(pid, text), text)
            await kernel.wait(pid)


def remembers(prompt: str) -> str:
    """Remembers what it was told last, by a call, once."""
    *_, last = re.finditer(r"Remember: (number \d+)", prompt)
    if "Remembered as" in prompt[last.end() :]:
        return "Done."
    return call("memory.remember", text=last[1])


async def remember(home: Path, out: int) -> None:
    """Be told one thing after the other."""
    async with remembering(home, remembers) as kernel:
        known = kernel.processes()
        pid = known[0].pid if known else (await kernel.create(title="talk")).pid
        for _ in range(20):
            number = kernel.process(pid).turns + 1
            acknowledge(out, "said", await kernel.send(pid, f"Remember: number {number}"))
            await kernel.wait(pid)


async def mount(home: Path, out: int) -> None:
    """Mount the folder of ``home``, or read it again, and say when it is read."""
    async with remembering(home) as kernel:
        if not kernel.keeper.mounts():
            await kernel.keeper.mount(str(home / "folder"))
        await mounted(kernel)
        acknowledge(out, "mounted")


async def umount(home: Path, out: int) -> None:
    async with remembering(home) as kernel:
        await mounted(kernel)
        await kernel.keeper.umount(str(home / "folder"))
        acknowledge(out, "umounted")


async def forget(home: Path, out: int) -> None:
    """Forget the one thing that is remembered."""
    async with remembering(home) as kernel:
        [fact] = await kernel.keeper.facts()
        acknowledge(out, "begun")
        await kernel.keeper.forget(fact.id)
        acknowledge(out, "forgotten")


async def asked(home: Path, out: int) -> None:
    """Be asked in a conversation to forget it."""
    async with remembering(home, FORGETS) as kernel:
        [process] = kernel.processes()
        acknowledge(out, "begun")
        await turn(kernel, process.pid, "Forget m1, please")


JOBS: dict[str, Callable[[Path, int], Awaitable[None]]] = {
    "send": send,
    "talk": talk,
    "remember": remember,
    "mount": mount,
    "umount": umount,
    "forget": forget,
    "asked": asked,
}
