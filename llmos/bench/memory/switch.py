"""Twelve conversations in turn, against llama.cpp's own server with its prompt cache on.

Both get the same requests (OpenAI's completions, a conversation's tokens and a few new ones), both
have seen every conversation once before, and neither is told which comes next. The server has one
slot and its prompt cache in host memory at its own default size, which holds all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from llmos.bench import llama_server
from llmos.bench.harness import median_ratio, say, summary
from llmos.bench.memory.scope import MemoryBench
from llmos.bench.processes import Child
from llmos.bench.streams import http, request, stream

__all__ = ["measure", "visits"]

CONVERSATIONS, TOKENS, NEW_TOKENS = 12, 1200, 16
WINDOW = 8192


async def measure(bench: MemoryBench) -> None:
    """The group's figure."""
    key = "switch_vs_llama_server"
    if not bench.wants(key):
        return
    if not llama_server.installed():
        bench.left_out[key] = "llama.cpp's server is not installed (the package xllamacpp)."
        return
    histories = [await bench.prompt(TOKENS) for _ in range(CONVERSATIONS)]
    command = (str(bench.model_path()), str(bench.threads()), "1", str(WINDOW))
    async with (
        bench.memory(engine_window=WINDOW) as (kernel, _),
        Child("llmos.bench.llama_server", *command) as server,
        http(str(kernel.client.socket)) as mine,
        http(address=server.hello["address"]) as rival,
    ):
        for client in (mine, rival):  # the server closes connections that rest for 5 s
            client.headers["connection"] = "close"

        async def first(number: int, new: Sequence[int]) -> tuple[float, float]:
            prompt = [*histories[number], *new]
            ours = (mine, request(kernel.model, prompt, 2))
            theirs = (rival, request("rival", prompt, 2, cache_prompt=True))
            if number % 2:  # who goes first changes, so that a drift favours nobody
                other = (await stream(*theirs)).first_s
                return (await stream(*ours)).first_s, other
            return (await stream(*ours)).first_s, (await stream(*theirs)).first_s

        rounds: list[tuple[float, float]] = []
        for number in visits(bench.pairs):
            rounds.append(await first(number, await bench.prompt(NEW_TOKENS)))
            if number == CONVERSATIONS - 1:
                ours, theirs = (
                    1000 * median(side) for side in zip(*rounds[-CONVERSATIONS:], strict=True)
                )
                say(f"  a round: {ours:.0f} ms a visit, llama.cpp's server {theirs:.0f} ms")
        cold, rounds = rounds[:CONVERSATIONS], rounds[CONVERSATIONS:]
    bench.samples["switch_cold_ms"] = summary([1000 * each[0] for each in cold])
    bench.samples["switch_ms"] = summary([1000 * each[0] for each in rounds])
    bench.samples["switch_llama_server_ms"] = summary([1000 * each[1] for each in rounds])
    bench.found(
        key,
        median_ratio(rounds),
        conversations=CONVERSATIONS,
        tokens=TOKENS,
        new_tokens=NEW_TOKENS,
        rounds=bench.pairs,
        rival_slots=1,
    )


def visits(rounds: int) -> list[int]:
    """Whom to visit: everybody once, which is the cold round, then ``rounds`` times in turn."""
    return [number for _ in range(rounds + 1) for number in range(CONVERSATIONS)]
