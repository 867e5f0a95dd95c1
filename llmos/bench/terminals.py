"""What a person waits for at a terminal: the kernel, ``llmos ask``, the chat screen's first paint.

Each time is that of a real process, from its start.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import time
from statistics import median
from typing import Any

from llmos.bench.harness import Bench, summary
from llmos.bench.processes import PrivateKernel, end
from llmos.errors import KernelError

__all__ = ["measure", "painted"]

QUESTION = "What is the capital of France?"
COMPOSER = "Ask anything"  # what stands in the empty composer
COLUMNS, ROWS = 100, 30
_PAINT_SECONDS = 60.0
_ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[P\]_^].*?(\x1b\\|\x07)|[@-Z\\-_]|[ -/]+.)")


async def measure(bench: Bench) -> None:
    """The group's figures."""
    if bench.wants("kernel_ready_s"):
        await _ready(bench)
    if bench.wants("ask_overhead_ms"):
        await _ask(bench)
    if bench.wants("first_paint_ms"):
        await _paint(bench)


async def _ready(bench: Bench) -> None:
    times = []
    for number in range(bench.pairs + 1):
        async with PrivateKernel(bench.home, bench.model) as kernel:
            if number:  # the first one fills the disk cache
                times.append(kernel.ready_s)
    bench.samples["kernel_ready_s"] = summary(times)
    bench.found("kernel_ready_s", median(times))


async def _ask(bench: Bench) -> None:
    kernel = await bench.kernel()
    times = []
    for number in range(bench.pairs + 1):
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "llmos", "ask", "--json", QUESTION),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            env=kernel.environ,
        )
        try:
            output, _ = await process.communicate()
        finally:
            await end(process)
        seconds = time.perf_counter() - began
        if number:
            times.append(1000 * (seconds - _generation(output)))
    bench.samples["ask_overhead_ms"] = summary(times)
    bench.found("ask_overhead_ms", median(times), question=QUESTION)


def _generation(output: bytes) -> float:
    """Seconds that the model worked on an answer of ``llmos ask --json``.

    Raises:
        KernelError: There is no whole answer.
    """
    try:
        told: dict[str, Any] = json.loads(output)
    except ValueError:
        raise KernelError("llmos ask gave no answer to the bench.") from None
    if told["reason"] != "stop":
        raise KernelError(f"llmos ask ended with {told['reason']}: {told['error']}")
    usage = told["usage"]
    return float(usage["queue_s"] + usage["prefill_s"] + usage["decode_s"])


async def _paint(bench: Bench) -> None:
    kernel = await bench.kernel()
    times = []
    for number in range(bench.pairs + 1):
        seconds = await asyncio.to_thread(first_paint, kernel.environ)
        if number:
            times.append(1000 * seconds)
    bench.samples["first_paint_ms"] = summary(times)
    bench.found("first_paint_ms", median(times), columns=COLUMNS, rows=ROWS)


def first_paint(environ: dict[str, str]) -> float:
    """Seconds from the start of ``llmos`` in a pseudo-terminal until its composer is painted.

    Raises:
        KernelError: It ended or painted nothing of the kind.
    """
    began = time.perf_counter()
    child, terminal = pty.fork()
    if not child:
        try:
            size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            fresh = {**environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.execve(sys.executable, [sys.executable, "-m", "llmos"], fresh)
        finally:
            os._exit(127)
    seen = b""
    try:
        while time.perf_counter() - began < _PAINT_SECONDS:
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            if painted(seen):
                return time.perf_counter() - began
    finally:
        os.close(terminal)
        os.kill(child, 9)
        os.waitpid(child, 0)
    raise KernelError("The chat screen painted no composer.")


def painted(output: bytes) -> bool:
    """Whether a terminal that got ``output`` shows the composer."""
    text = _ESCAPES.sub(b"", output).decode("utf-8", "replace")
    return COMPOSER in text
