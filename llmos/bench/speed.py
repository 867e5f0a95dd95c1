"""How fast tokens come, against the bare loop and against llama.cpp's own server.

Every round takes a prompt nobody has seen, so that no cache of anybody's helps.
"""

from __future__ import annotations

import contextlib
from statistics import median
from typing import Any

from llmos.bench import llama_server
from llmos.bench.harness import Bench, interleaved, median_ratio, summary
from llmos.bench.processes import Child
from llmos.bench.streams import http, request, stream, streams

__all__ = ["measure"]

SINGLE_PROMPT, SINGLE_TOKENS = 32, 256
BATCH, BATCH_PROMPT, BATCH_TOKENS = 8, 32, 96
FIRST_PROMPT = 64


async def measure(bench: Bench) -> None:
    """The group's figures."""
    if bench.wants("single_stream_ratio"):
        await _single(bench)
    if bench.wants("ttft_overhead_ms"):
        await _first_token(bench)
    if bench.wants("batch8_ratio", "batch8_vs_llama_server"):
        await _batch(bench)


async def _single(bench: Bench) -> None:
    kernel, bare = await bench.kernel(), await bench.bare()
    prompts = [await bench.prompt(SINGLE_PROMPT) for _ in range(bench.pairs + 1)]
    async with http(str(kernel.client.socket)) as client:

        async def ours(number: int) -> float:
            body = request(kernel.model, prompts[number], SINGLE_TOKENS)
            return (await stream(client, body)).rate

        async def theirs(number: int) -> float:
            answer = await bare.ask(do="run", prompts=[prompts[number]], tokens=SINGLE_TOKENS)
            return float(SINGLE_TOKENS / answer["seconds"])

        rounds = await interleaved(bench.pairs, ours, theirs)
    bench.samples["single_stream_tokens_per_s"] = summary([each[0] for each in rounds])
    bench.samples["single_bare_tokens_per_s"] = summary([each[1] for each in rounds])
    bench.found(
        "single_stream_ratio",
        median_ratio(rounds),
        prompt_tokens=SINGLE_PROMPT,
        reply_tokens=SINGLE_TOKENS,
        bare_threads=bench.threads(),
    )


async def _first_token(bench: Bench) -> None:
    kernel, bare = await bench.kernel(), await bench.bare()
    pairs = 2 * bench.pairs + 1  # they are short, and their difference is small
    prompts = [await bench.prompt(FIRST_PROMPT) for _ in range(pairs + 1)]
    async with http(str(kernel.client.socket)) as client:

        async def ours(number: int) -> float:
            return (await stream(client, request(kernel.model, prompts[number], 2))).first_s

        async def theirs(number: int) -> float:
            answer = await bare.ask(do="run", prompts=[prompts[number]], tokens=1)
            return float(answer["first_s"])

        rounds = await interleaved(pairs, ours, theirs)
    bench.samples["first_token_ms"] = summary([1000 * each[0] for each in rounds])
    bench.samples["bare_first_token_ms"] = summary([1000 * each[1] for each in rounds])
    overhead = median(1000 * (each[0] - each[1]) for each in rounds)
    bench.found("ttft_overhead_ms", overhead, prompt_tokens=FIRST_PROMPT, pairs=pairs)


async def _batch(bench: Bench) -> None:
    kernel = await bench.kernel()
    bare = await bench.bare()
    prompts = [
        [await bench.prompt(BATCH_PROMPT) for _ in range(BATCH)] for _ in range(bench.pairs + 1)
    ]

    def bodies(model: str, number: int, **more: Any) -> list[dict[str, Any]]:
        return [request(model, prompt, BATCH_TOKENS, **more) for prompt in prompts[number]]

    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(http(str(kernel.client.socket)))

        async def ours(number: int) -> float:
            return (await streams(client, bodies(kernel.model, number))).rate

        async def theirs(number: int) -> float:
            answer = await bare.ask(do="run", prompts=prompts[number], tokens=BATCH_TOKENS)
            return float(BATCH * BATCH_TOKENS / answer["seconds"])

        sides = [ours, theirs]
        if bench.wants("batch8_vs_llama_server"):
            if llama_server.installed():
                cells = str(2 * BATCH * (BATCH_PROMPT + BATCH_TOKENS))
                command = (str(bench.model_path()), str(bench.threads()), str(BATCH), cells)
                server = Child("llmos.bench.llama_server", *command)
                hello = (await stack.enter_async_context(server)).hello
                rival = await stack.enter_async_context(http(address=hello["address"]))

                async def other(number: int) -> float:
                    return (await streams(rival, bodies("rival", number))).rate

                sides.append(other)
            else:
                reason = "llama.cpp's server is not installed (the package xllamacpp)."
                bench.left_out["batch8_vs_llama_server"] = reason
        rounds = await interleaved(bench.pairs, *sides)
    parameters = {"prompt_tokens": BATCH_PROMPT, "reply_tokens": BATCH_TOKENS, "streams": BATCH}
    bench.samples["batch8_tokens_per_s"] = summary([each[0] for each in rounds])
    bench.samples["batch8_bare_tokens_per_s"] = summary([each[1] for each in rounds])
    bench.found("batch8_ratio", median_ratio(rounds), **parameters)
    if len(sides) == 3:
        rates = [each[2] for each in rounds]
        bench.samples["batch8_llama_server_tokens_per_s"] = summary(rates)
        bench.found("batch8_vs_llama_server", median_ratio(rounds, 0, 2), **parameters)
