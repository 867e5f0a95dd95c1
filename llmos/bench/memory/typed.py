"""What a person gains from being read while they type.

A message of 500 tokens arrives over 20 s in ten pieces, each time the whole of it so far, as a
terminal sends drafts; then Enter. Beside it the same length at once, in another process. The last
piece is complete 2 s before Enter is pressed, as it is for a person who reads it over once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from llmos.bench.harness import interleaved, median_ratio, summary
from llmos.bench.memory.asking import heard
from llmos.bench.memory.scope import MemoryBench

__all__ = ["measure", "pieces"]

KEY = "typed_ahead_ratio"
TOKENS, SECONDS, PIECES = 500, 20.0, 10
WINDOW, REPLY_TOKENS = 2048, 8


async def measure(bench: MemoryBench) -> None:
    """The group's figure."""
    if not bench.wants(KEY):
        return
    settings: dict[str, Any] = {"engine_window": WINDOW, "agent_reply_tokens": REPLY_TOKENS}
    async with bench.memory(**settings) as (kernel, memory):
        client = kernel.client

        async def with_drafts(_: int) -> float:
            pid = (await client.create()).pid
            text = await bench.words(TOKENS)
            for piece in pieces(text, PIECES):
                await memory.draft(pid, piece)
                await asyncio.sleep(SECONDS / PIECES)
            return await enter(pid, text)

        async def without(_: int) -> float:
            return await enter((await client.create()).pid, await bench.words(TOKENS))

        async def enter(pid: int, text: str) -> float:
            first = (await heard(client, pid, text)).first_s
            await client.kill(pid)
            return first

        rounds = await interleaved(bench.pairs, with_drafts, without)
    bench.samples["typed_ahead_ms"] = summary([1000 * each[0] for each in rounds])
    bench.samples["typed_without_ms"] = summary([1000 * each[1] for each in rounds])
    bench.found(
        KEY,
        median_ratio(rounds),
        tokens=TOKENS,
        seconds=SECONDS,
        pieces=PIECES,
        window=WINDOW,
        pairs=bench.pairs,
    )


def pieces(text: str, count: int) -> list[str]:
    """What has been typed of ``text`` at each of ``count`` moments, the last time all of it."""
    return [text[: len(text) * number // count] for number in range(1, count + 1)]
