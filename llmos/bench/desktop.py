"""How llmos behaves beside other programs: speed on a busy machine, rest on an idle one."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import psutil

from llmos.bench.harness import Bench, interleaved, median_ratio, summary
from llmos.bench.processes import spinner
from llmos.bench.streams import http, request, stream

__all__ = ["measure"]

PROMPT, TOKENS = 32, 96
SETTLE_SECONDS, IDLE_SECONDS = 2.0, 10.0


async def measure(bench: Bench) -> None:
    """The group's figures."""
    if bench.wants("idle_cpu_percent"):
        await _idle(bench)
    if bench.wants("busy_desktop_gain"):
        await _busy(bench)


async def _idle(bench: Bench) -> None:
    kernel = await bench.kernel()
    await kernel.until_idle()
    async with kernel.client.subscribe() as _:  # a chat screen that is open and quiet
        await asyncio.sleep(SETTLE_SECONDS)
        before, began = _processor_seconds(kernel.pid), time.perf_counter()
        await asyncio.sleep(IDLE_SECONDS)
        used = _processor_seconds(kernel.pid) - before
        seconds = time.perf_counter() - began
    bench.found("idle_cpu_percent", 100 * used / seconds, seconds=IDLE_SECONDS)


def _processor_seconds(pid: int) -> float:
    """Processor time of a process and its children so far, in seconds of one core."""
    root = psutil.Process(pid)
    total = 0.0
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


async def _busy(bench: Bench) -> None:
    kernel, bare = await bench.kernel(), await bench.bare()
    prompts = [await bench.prompt(PROMPT) for _ in range(bench.pairs + 1)]
    async with http(str(kernel.client.socket)) as client, spinner():

        async def ours(number: int) -> float:
            return (await stream(client, request(kernel.model, prompts[number], TOKENS))).rate

        async def theirs(number: int) -> float:
            answer = await bare.ask(do="run", prompts=[prompts[number]], tokens=TOKENS)
            return float(TOKENS / answer["seconds"])

        rounds = await interleaved(bench.pairs, ours, theirs)
    bench.samples["busy_tokens_per_s"] = summary([each[0] for each in rounds])
    bench.samples["busy_bare_tokens_per_s"] = summary([each[1] for each in rounds])
    bench.found(
        "busy_desktop_gain",
        median_ratio(rounds),
        prompt_tokens=PROMPT,
        reply_tokens=TOKENS,
        bare_threads=bench.threads(),
    )
