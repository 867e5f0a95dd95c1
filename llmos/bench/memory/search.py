"""How long a search takes among 100,000 passages, in one process of a hundred.

Measured on the index itself (``memory/index.py``) in an operating-system process of its own, with
generated passages and random unit vectors: a real embedder would take an hour to make them. What
it takes for the query is measured beside and added to each search in ``with_embedder_p95_ms``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmos.bench.harness import say, summary
from llmos.bench.memory.scope import MemoryBench
from llmos.bench.processes import Child
from llmos.errors import KernelError

__all__ = ["measure", "percentile"]

KEY = "search_p95_ms"
PASSAGES, PROCESSES, QUERIES = 100_000, 100, 200


async def measure(bench: MemoryBench) -> None:
    """The group's figure."""
    if not bench.wants(KEY):
        return
    folder = bench.home / "search-index"
    passages = bench.samples_of(PASSAGES)
    arguments = (str(folder), str(passages), str(PROCESSES), str(bench.seed))
    async with Child("llmos.bench.memory.search_child", *arguments) as child:
        told = _sound(await child.ask(do="fill"))
        say(f"  {passages} passages in {told['seconds']:.0f} s, Chroma {told['chroma']}")
        answer = _sound(await child.ask(do="search", queries=QUERIES, filtered=True))
        whole = _sound(await child.ask(do="search", queries=QUERIES, filtered=False))
        embedding = _sound(await child.ask(do="embed", queries=QUERIES))
    mine = answer["ms"]
    bench.samples[KEY] = {"filtered_ms": summary(mine), "unfiltered_ms": summary(whole["ms"])}
    bench.samples[KEY]["unfiltered_p95_ms"] = round(percentile(whole["ms"], 0.95), 2)
    if embedding["ms"]:
        both = [a + b for a, b in zip(mine, embedding["ms"], strict=True)]
        bench.samples[KEY]["with_embedder_p95_ms"] = round(percentile(both, 0.95), 2)
    bench.found(
        KEY,
        percentile(mine, 0.95),
        passages=passages,
        processes=PROCESSES,
        queries=QUERIES,
        vectors="random",
        dimension=told["dimension"],
        put_seconds=round(told["put_seconds"]),
        settled_seconds=round(told["seconds"]),
        chroma=told["chroma"],
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _sound(answer: dict[str, Any]) -> dict[str, Any]:
    if sentence := answer.get("error"):
        raise KernelError(sentence)
    return answer
