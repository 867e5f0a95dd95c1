"""A kernel that makes calls with an effect until it is killed; see ``tests/memory/nursery.py``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from llmos.kernel.process import Process
from llmos.kernel.syscalls import Outcome, Syscall
from tests.kernel.kernels import call, kernel_on, row

RULES = [("Go", call("mail.send", n=1))]


def sending(home: Path) -> Syscall:
    """A call whose effect can be counted: a line in a file, on the disk at once."""

    async def send(process: Process, _arguments: Any) -> Outcome:
        handle = os.open(home / "sent", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, f"{process.pid}.{process.turn_number}\n".encode())
        os.fsync(handle)
        os.close(handle)
        return Outcome("Sent.")

    return row("mail.send", send, effect="egress")


async def live(home: Path, out: int) -> None:
    """Start a process and have it make calls, turn after turn."""
    async with kernel_on(home, RULES, calls=[sending(home)]) as kernel:
        pid = (await kernel.create(title="mail")).pid
        for _ in range(20):
            os.write(out, (json.dumps(["sent", await kernel.send(pid, "Go")]) + "\n").encode())
            await kernel.wait(pid)
