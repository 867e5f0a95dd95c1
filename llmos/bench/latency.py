"""How soon a person is served while others work, and how soon work ends that nobody wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from statistics import median
from typing import Any

import httpx

from llmos import limits
from llmos.bench.harness import Bench, interleaved, median_ratio, summary
from llmos.bench.local import Local, StepClock, local_kernel
from llmos.bench.processes import PrivateKernel
from llmos.bench.streams import http, request, stream
from llmos.config import EngineConfig
from llmos.engine.local import LocalBackend
from llmos.errors import KernelError

__all__ = ["load", "measure"]

CANCELS = 10
CANCEL_PROMPT, CANCEL_TOKENS = 400, 256
LOAD, LOAD_PROMPT, LOAD_TOKENS = 8, 256, 96
PROMPT = 64
_EACH = 3  # first tokens of one side of a pair; their median counts
_LOADED_TOKENS = 4 * LOAD  # sampled before the load counts as under way
_WAIT_S = 60.0


async def measure(bench: Bench) -> None:
    """The group's figures."""
    if bench.wants("interactive_under_load"):
        await _under_load(bench)
    if bench.wants("cancel_ms"):
        await _cancel(bench)


# --- beside others ----------------------------------------------------------------------------


async def _under_load(bench: Bench) -> None:
    kernel = await bench.kernel()
    async with http(str(kernel.client.socket)) as client:

        async def first() -> float:
            times = []
            for _ in range(_EACH):
                body = request(kernel.model, await bench.prompt(PROMPT), 2)
                times.append((await stream(client, body)).first_s)
            return median(times)

        async def loaded(_: int) -> float:
            async with load(bench, kernel, client):
                return await first()

        async def alone(_: int) -> float:
            await kernel.until_idle()
            return await first()

        rounds = await interleaved(bench.pairs, loaded, alone)
    bench.samples["first_token_loaded_ms"] = summary([1000 * each[0] for each in rounds])
    bench.samples["first_token_alone_ms"] = summary([1000 * each[1] for each in rounds])
    bench.found(
        "interactive_under_load",
        median_ratio(rounds),
        prompt_tokens=PROMPT,
        idle_streams=LOAD,
        idle_prompt_tokens=LOAD_PROMPT,
        idle_reply_tokens=LOAD_TOKENS,
    )


@contextlib.asynccontextmanager
async def load(
    bench: Bench, kernel: PrivateKernel, client: httpx.AsyncClient
) -> AsyncIterator[None]:
    """Idle-priority streams that prefill and decode for as long as the block lasts.

    Each begins anew with a fresh prompt when its reply is done.
    """

    async def work(delay: int) -> None:
        tokens = LOAD_TOKENS * (delay + 1) // LOAD  # so that they do not prefill all at once
        while True:
            body = request(kernel.model, await bench.prompt(LOAD_PROMPT), max(tokens, 1))
            await stream(client, body, "idle")
            tokens = LOAD_TOKENS

    before = (await kernel.engine())["sampled_tokens"]
    workers = [asyncio.create_task(work(i)) for i in range(LOAD)]
    try:
        async with asyncio.timeout(_WAIT_S):
            while (await kernel.engine())["sampled_tokens"] < before + _LOADED_TOKENS:
                for worker in workers:
                    if worker.done():
                        worker.result()
                await asyncio.sleep(0.05)
        yield
    except TimeoutError:
        raise KernelError("The load of the bench did not come under way.") from None
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)


# --- the end of unwanted work -------------------------------------------------------------------


async def _cancel(bench: Bench) -> None:
    async with local_kernel(bench.home, EngineConfig(model=bench.model)) as local:
        if not isinstance(local.kernel.backend, LocalBackend):
            bench.left_out["cancel_ms"] = "The model runs on another server."
            return
        clock = StepClock(local.kernel.backend.engine)
        times = []
        for number in range(CANCELS + 1):
            prompt = await bench.prompt(CANCEL_PROMPT)
            # In turn while it prefills and while it decodes, at any moment of a step.
            body = request(local.kernel.backend.info.name, prompt, CANCEL_TOKENS)
            pause = bench.random.uniform(0.0, 0.05)
            seconds = await _vanish(local, clock, body, prefilling=number % 2 == 0, pause=pause)
            if number:
                times.append(1000 * seconds)
    bench.samples["cancel_ms"] = summary(times)
    bench.found(
        "cancel_ms",
        median(times),
        prompt_tokens=CANCEL_PROMPT,
        reply_tokens=CANCEL_TOKENS,
        longest_step_ms=limits.STEP_TARGET_ALONE_MS,
    )


async def _vanish(
    local: Local, clock: StepClock, body: dict[str, Any], *, prefilling: bool, pause: float
) -> float:
    """Close a connection in mid-reply; seconds until its sequence is gone, beyond the step.

    A raw connection is used, for its closing is one system call at a known moment.
    """
    reader, writer = await asyncio.open_unix_connection(str(local.client.socket))
    steps = len(clock.steps)
    raw = json.dumps(body).encode()
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: kernel\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(raw)}\r\n\r\n"
    )
    writer.write(head.encode() + raw)
    async with asyncio.timeout(_WAIT_S):
        if prefilling:
            engine = local.kernel.backend.engine  # type: ignore[attr-defined]
            while not engine.admission.running:
                await asyncio.sleep(0.001)
        else:
            while len(clock.steps) < steps + 8:
                await reader.read(65536)
        await asyncio.sleep(pause)
        left = len(clock.left)
        asked = time.perf_counter()
        writer.transport.abort()
        while len(clock.left) == left:
            await asyncio.sleep(0.0005)
    return clock.beyond_step(asked, clock.left[left])
