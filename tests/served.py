"""Kernels as operating-system processes, on the scripted double, for tests of terminals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmos import paths
from llmos.client import Client
from llmos.errors import KernelUnreachable

RULES = [
    ["Wait for ever", '<tool_call>\n{"name": "test.wait", "arguments": {}}\n</tool_call>'],
    ["Delegate", '<tool_call>\n{"name": "no.such", "arguments": {}}\n</tool_call>'],
    ["There is no call", "I cannot."],
    ["Paint", "\x1b[31mred\x1b[0m"],
    ["Long", "0123456789" * 200],
]

_TOOL = """
name = "test"
version = "1.0"
summary = "Waits."

[[call]]
function = "wait"
description = "Waits for ever."
effect = "pure"
"""


def prepare(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Settings for every kernel that a test's terminals start."""
    script = home / "script.json"
    script.write_text(json.dumps({"rules": RULES, "default": "Yes."}))
    tool = home / "tools" / "test"
    tool.mkdir(parents=True)
    (tool / "tool.toml").write_text(_TOOL)
    (tool / "__init__.py").write_text(
        "import time\n\n\ndef wait() -> str:\n    while True:\n        time.sleep(0.05)\n"
    )
    patch.setenv("LLMOS_ENGINE_MODEL", f"scripted:{script}")
    checkout = str(Path(__file__).resolve().parent.parent)
    found = os.environ.get("PYTHONPATH")  # an empty entry would be the current directory
    patch.setenv("PYTHONPATH", os.pathsep.join([checkout, *([found] if found else [])]))


async def _stop(state: Path) -> None:
    with contextlib.suppress(KernelUnreachable):
        async with await Client.connect(state=state, start=False) as client:
            pid = (await client.status())["pid"]
            await client.shutdown()
            try:
                await client.gone()
            except Exception:
                os.kill(pid, signal.SIGKILL)
                raise


@contextlib.contextmanager
def stopped_afterwards() -> Iterator[None]:
    """Stop the kernel that the block's terminals started, wherever the block went since."""
    state = paths.state_dir()
    try:
        yield
    finally:
        asyncio.run(_stop(state))


def command(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """``llmos …`` in a process of its own."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "llmos", *arguments], **{**given, **options})


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """``llmos …`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "llmos", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
