"""How long a person waits on coming back to a conversation, and whether it goes on as it would.

A conversation of 4,096 tokens is built turn by turn in a window of 8,192, of which there are just
as many cells: a second prompt of that length (nobody has seen it: this is the cold one) drives it
out. Each return is a turn in a fork of the conversation, so that all returns start from the very
same tokens; each says something else, so that none finds the words of another. Times are those a
terminal has, from sending to the first words, the guide's thinking and the journal included; cold
is a bare completion, so the ratio flatters nobody.

A person who comes back has read what the other conversation said, so a second passes before each
return; what the kernel does at rest (copying cells to RAM and to disk) is done by then.

After a restart the kernel has answered one question in another process before.

Whether it goes on as it would is asked once more each time, as the first thing after another such
return: the same question, put to the conversation while it had never left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from llmos.bench.harness import say, summary
from llmos.bench.memory.asking import Reply, heard
from llmos.bench.memory.scope import MemoryBench
from llmos.bench.processes import PrivateKernel
from llmos.bench.streams import http, request, stream
from llmos.client import Client
from llmos.errors import KernelError

__all__ = ["Returned", "measure", "ratio"]

KEYS = ("ttft_ram_ratio", "ttft_disk_ratio", "ttft_restart_ratio", "resume_identical")
TOKENS, WINDOW = 4096, 8192
MESSAGE_TOKENS = 900
REPLY_TOKENS = 32
AWAY_S = 1.0  # between two conversations
QUESTION = "Tell me what you think of all this."  #: whose answer must stay the same
#: What is said on returning, each time something else, all about as long.
REMARKS = (
    "Which of these words do you like best?",
    "Is there an animal in what I wrote?",
    "What would you call such a story?",
    "Do any of these belong in a kitchen?",
    "Say something kind about my list.",
    "Could a child have written this?",
    "What colour comes to your mind?",
    "Where would you put the bridge?",
    "Should I go on with it tomorrow?",
    "Whom could I show this to?",
    "Would it make a good song?",
    "What is missing here?",
)


@dataclass(frozen=True, slots=True)
class Returned:
    """One return beside its cold prefill, in seconds."""

    first_s: float
    cold_s: float


def ratio(returns: list[Returned]) -> float:
    """The median over the pairs of return ÷ cold."""
    return median(each.first_s / each.cold_s for each in returns)


async def measure(bench: MemoryBench) -> None:
    """The group's figures."""
    if not bench.wants(*KEYS):
        return
    identical: dict[str, list[bool]] = {"ram": [], "restart": [], "disk": []}
    times: dict[str, list[Returned]] = {"ram": [], "restart": [], "disk": []}
    if bench.wants("ttft_ram_ratio", "ttft_restart_ratio", "resume_identical"):
        await _ram_and_restart(bench, times, identical)
    if bench.wants("ttft_disk_ratio", "resume_identical"):
        await _disk(bench, times, identical)
    told = {"tokens": TOKENS, "window": WINDOW, "pairs": bench.pairs, "away_s": AWAY_S}
    for way, returns in times.items():
        if returns:
            bench.samples[f"ttft_{way}_ms"] = summary([1000 * each.first_s for each in returns])
            bench.samples[f"ttft_{way}_cold_ms"] = summary([1000 * r.cold_s for r in returns])
            bench.found(f"ttft_{way}_ratio", ratio(returns), **told)
    bench.samples["resume_identical"] = identical
    same = all(all(found) and found for found in identical.values())
    bench.found("resume_identical", same, reply_tokens=REPLY_TOKENS, question=QUESTION)


class _Visit:
    """One conversation in one kernel after another.

    Args:
        bench: The run.
        settings: Of the kernels.
    """

    def __init__(self, bench: MemoryBench, **settings: Any) -> None:
        self._bench = bench
        self._settings = {
            "engine_window": WINDOW,
            "engine_cells": WINDOW,
            "agent_reply_tokens": REPLY_TOKENS,
            **settings,
        }
        self._remarks = iter(REMARKS * 4)
        self.pid = 0
        self.state: Path | None = None
        self.uninterrupted = ""

    def kernel(self) -> Any:
        """The next kernel on the same state directory."""
        return self._bench.memory(state=self.state, **self._settings)

    async def build(self, kernel: PrivateKernel) -> None:
        """Talk until there are ``TOKENS``, and hear the answer that must stay the same."""
        self.state, client = kernel.state, kernel.client
        self.pid = (await client.create(title="A long conversation")).pid
        filled = 0
        while (left := TOKENS - filled) > REPLY_TOKENS + 64:
            size = min(MESSAGE_TOKENS, left - REPLY_TOKENS - 24)  # 24: the template's own
            words = await self._bench.words(size)
            filled = (await heard(client, self.pid, f"{words}\n\nJust say OK.")).context_tokens
        say(f"  a conversation of {filled} tokens")
        self.uninterrupted = (await self._in_fork(client, QUESTION)).text

    async def cold(self, kernel: PrivateKernel) -> float:
        """Seconds to the first token of a prompt of ``TOKENS`` that nobody has seen."""
        prompt = await self._bench.prompt(TOKENS)
        async with http(str(kernel.client.socket)) as client:
            return (await stream(client, request(kernel.model, prompt, 2))).first_s

    async def back(self, kernel: PrivateKernel) -> float:
        """Seconds to the first words on coming back."""
        await asyncio.sleep(AWAY_S)
        return (await self._in_fork(kernel.client, next(self._remarks))).first_s

    async def same(self, kernel: PrivateKernel) -> bool:
        """Whether the answer on coming back is the uninterrupted one."""
        return (await self._in_fork(kernel.client, QUESTION)).text == self.uninterrupted

    async def _in_fork(self, client: Client, text: str) -> Reply:
        fork = await client.fork(self.pid)
        try:
            return await heard(client, fork.pid, text)
        finally:
            await client.kill(fork.pid)


@asynccontextmanager
async def _fetched(kernel: PrivateKernel, counter: str) -> AsyncIterator[None]:
    """See that what happens inside brings a conversation back, or there is nothing to measure."""
    before = (await kernel.engine())[counter]
    yield
    if (await kernel.engine())[counter] == before:
        raise KernelError(f"The conversation never left the window ({counter} stayed {before}).")


async def _ram_and_restart(
    bench: MemoryBench, times: dict[str, list[Returned]], identical: dict[str, list[bool]]
) -> None:
    visit = _Visit(bench)
    async with visit.kernel() as (kernel, _):
        await visit.build(kernel)
    for _ in range(bench.pairs):
        async with visit.kernel() as (kernel, _):
            async with _fetched(kernel, "snapshots_read"):
                restart = await visit.back(kernel)
            cold = await visit.cold(kernel)
            async with _fetched(kernel, "swapped_in"):
                ram = await visit.back(kernel)
        times["restart"].append(Returned(restart, cold))
        times["ram"].append(Returned(ram, cold))
        async with visit.kernel() as (kernel, _):
            async with _fetched(kernel, "snapshots_read"):
                identical["restart"].append(await visit.same(kernel))
            await visit.cold(kernel)
            async with _fetched(kernel, "swapped_in"):
                identical["ram"].append(await visit.same(kernel))


async def _disk(
    bench: MemoryBench, times: dict[str, list[Returned]], identical: dict[str, list[bool]]
) -> None:
    visit = _Visit(bench, engine_swap_bytes=0)
    async with visit.kernel() as (kernel, _):
        await visit.build(kernel)
        for _ in range(bench.pairs):
            cold = await visit.cold(kernel)
            async with _fetched(kernel, "snapshots_read"):
                back = await visit.back(kernel)
            times["disk"].append(Returned(back, cold))
            await visit.cold(kernel)
            async with _fetched(kernel, "snapshots_read"):
                identical["disk"].append(await visit.same(kernel))
