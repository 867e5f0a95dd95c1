"""Many clients that come, cancel and vanish, for minutes; afterwards the books must balance.

Each client does one thing after another, chosen by its own seeded generator: a completion read to
its end, one read in part and dropped, one dropped unread, a process that is asked and answers, is
interrupted or is killed in mid-reply. At the end nothing runs, every cell is free but those of
idle prefixes, memory has not grown since the warm-up, and nothing failed that was not cancelled.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil

from llmos.bench.harness import say
from llmos.bench.processes import PrivateKernel
from llmos.bench.streams import http, request
from llmos.bench.turns import warm_up
from llmos.client import Client
from llmos.errors import KernelError, LlmosError
from llmos.events import ReplyDelta, TurnFinished

__all__ = ["GROWTH_PERCENT", "Soak", "judge", "soak"]

GROWTH_PERCENT = 5.0  # of resident memory after the warm-up
_WARM_UP = 0.3  # of the time: caches fill
_SAMPLES = 60  # of memory, over the whole time
_STUCK_S = 120.0  # nothing takes this long
_SETTLE_S = 5.0
_SWAP_BYTES = 64 << 20  # small, so that the swap store is full when the warm-up ends
_SHARED = "You are one of many clients of this machine. Be patient, it answers everybody in turn. "
_TOPICS = ("rivers", "bread", "the moon", "trains", "bees", "chess", "glass", "winter", "maps")


@dataclass
class Soak:
    """What happened.

    Args:
        counts: Requests by how they ended: ``finished``, ``cancelled``, ``failed``.
        failures: The sentences of those that failed.
        memory: Resident bytes of the kernel and its workers, over time.
    """

    counts: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)


async def soak(
    home: Path, *, model: str, seconds: float, clients: int, seed: int
) -> dict[str, Any]:
    """Run it and judge it.

    Args:
        home: Where the bench may write.
        model: What the kernel serves.
        seconds: How long clients come and go.

    Returns:
        One JSON-ready object; ``ok`` says whether everything held.
    """
    environ = {
        "LLMOS_ENGINE_SWAP_BYTES": str(_SWAP_BYTES),
        "LLMOS_AGENT_REPLY_TOKENS": "48",
    }
    found = Soak()
    async with PrivateKernel(home, model, environ) as kernel:
        await warm_up(kernel.client)
        began = time.monotonic()
        until = began + seconds
        watching = asyncio.create_task(_watch(kernel.pid, found, seconds))
        say(f"{clients} clients for {seconds:.0f} s …")
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                chance = random.Random(f"{seed}/{number}")
                group.create_task(_client(kernel, found, chance, until))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        stats = await _settled(kernel)
        processes = await kernel.client.processes()
    about = {"model": model, "seconds": seconds, "clients": clients, "seed": seed}
    return judge(found, stats, living=len(processes)) | {"parameters": about}


async def _settled(kernel: PrivateKernel) -> dict[str, Any]:
    """The engine's stats once nothing runs and the last step's books are closed.

    The gauges are read one by one while the engine still puts away the last sequence; what has not
    come right after a while never will.
    """
    deadline = time.monotonic() + _SETTLE_S
    while True:
        stats = await kernel.until_idle()
        if stats["cells_used"] == stats["cells_idle"] or time.monotonic() > deadline:
            return stats
        await asyncio.sleep(0.05)


def judge(found: Soak, stats: dict[str, Any], *, living: int = 0) -> dict[str, Any]:
    """What the run shows, and whether it is as it must be.

    Args:
        stats: The engine's, once nothing runs.
        living: Processes left over.
    """
    growth = _growth([size for _, size in found.memory])
    checks = {
        "nothing_runs": stats["running"] == 0 and stats["waiting"] == 0,
        "cells_free_but_idle_prefixes": stats["cells_used"] == stats["cells_idle"],
        "memory_steady": growth < GROWTH_PERCENT,
        "nothing_failed": not found.counts["failed"],
        "no_process_left": living == 0,
        "worked": found.counts["finished"] > 0 and found.counts["cancelled"] > 0,
    }
    sizes = [size for _, size in found.memory]
    return {
        "ok": all(checks.values()),
        "checks": checks,
        "requests": sum(found.counts.values()),
        "finished": found.counts["finished"],
        "cancelled": found.counts["cancelled"],
        "failed": found.counts["failed"],
        "failures": sorted(set(found.failures))[:10],
        "actions": dict(sorted(found.actions.items())),
        "memory_growth_percent": round(growth, 2),
        "memory_mb_last": round(sizes[-1] / 1e6, 1) if sizes else None,
        "engine": stats,
    }


def _growth(sizes: list[int]) -> float:
    """Percent by which memory grew between the end of the warm-up and the end."""
    after = sizes[int(len(sizes) * _WARM_UP) :]
    if len(after) < 2:
        return 0.0
    part = max(len(after) // 5, 1)
    first, last = median(after[:part]), median(after[-part:])
    return 100.0 * (last - first) / first


async def _watch(pid: int, found: Soak, seconds: float) -> None:
    """Note the memory of the kernel and its workers now and then."""
    root = psutil.Process(pid)
    while True:
        size = 0
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                size += process.memory_info().rss
        found.memory.append((time.monotonic(), size))
        await asyncio.sleep(seconds / _SAMPLES)


# --- one client -------------------------------------------------------------------------------


async def _client(kernel: PrivateKernel, found: Soak, chance: random.Random, until: float) -> None:
    """One thing after another until the time is up."""
    visitor = _Visitor(kernel, chance)
    acts: list[tuple[Callable[[], Awaitable[str]], int]] = [
        (visitor.reads, 4),
        (visitor.drops, 3),
        (visitor.vanishes, 2),
        (visitor.asks, 2),
        (visitor.interrupts, 1),
        (visitor.kills, 1),
    ]
    async with visitor:
        while time.monotonic() < until:
            act = chance.choices([a for a, _ in acts], [w for _, w in acts])[0]
            found.actions[act.__name__] += 1
            try:
                async with asyncio.timeout(_STUCK_S):
                    ended = await act()
            except (LlmosError, httpx.HTTPError, TimeoutError) as error:
                ended = "failed"
                found.failures.append(f"{act.__name__}: {type(error).__name__}: {error}")
            found.counts[ended] += 1


class _Visitor:
    """A client with its own connections; each method is one visit and says how it ended."""

    def __init__(self, kernel: PrivateKernel, chance: random.Random) -> None:
        self._model = kernel.model
        self._chance = chance
        self._http = http(str(kernel.client.socket))
        self._client = Client(kernel.client.socket)

    async def __aenter__(self) -> _Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        await self._client.close()

    def _text(self) -> str:
        """A prompt; some begin alike, so that cells are shared."""
        words = " ".join(self._chance.choice(_TOPICS) for _ in range(self._chance.randint(1, 60)))
        shared = _SHARED * self._chance.randint(1, 4) if self._chance.random() < 0.5 else ""
        return f"{shared}Tell me about {words}."

    def _body(self) -> dict[str, Any]:
        tokens = self._chance.randint(8, 64)
        body = request(self._model, self._text(), tokens, n=self._chance.choice((1, 1, 1, 2, 4)))
        del body["ignore_eos"]
        return body

    async def _read(self, most: int | None) -> str:
        """Read a streamed completion to its end, or drop it after ``most`` lines."""
        priority = self._chance.choice(("interactive", "normal", "idle"))
        headers = {"x-llmos-priority": priority}
        body = self._body()
        ended = False
        url = "/v1/completions"
        async with self._http.stream("POST", url, json=body, headers=headers) as answer:
            if not answer.is_success:
                await answer.aread()
                raise KernelError(f"{answer.status_code} {answer.text[:200]}")
            lines = 0
            async for line in answer.aiter_lines():
                if '"error"' in line:
                    raise KernelError(line[:200])
                ended = ended or line == "data: [DONE]"
                lines += 1
                if most is not None and lines >= most:
                    return "cancelled"
        if not ended:
            raise KernelError("A stream ended without its last event.")
        return "finished"

    async def reads(self) -> str:
        return await self._read(None)

    async def drops(self) -> str:
        return await self._read(self._chance.randint(1, 12))

    async def vanishes(self) -> str:
        """Send a request, streaming or not, and be gone before it is answered."""
        body = self._body()
        if self._chance.random() < 0.5:
            del body["stream"], body["stream_options"]
        seconds = self._chance.uniform(0.0, 0.3)
        sending = asyncio.create_task(self._http.post("/v1/completions", json=body))
        await asyncio.wait({sending}, timeout=seconds)
        if sending.done():
            if not sending.result().is_success:
                raise KernelError(sending.result().text[:200])
            return "finished"
        sending.cancel()
        await asyncio.wait({sending})
        return "cancelled"

    async def asks(self) -> str:
        return await self._process(None)

    async def interrupts(self) -> str:
        return await self._process("interrupt")

    async def kills(self) -> str:
        return await self._process("kill")

    async def _process(self, cut: str | None) -> str:
        """Ask a new process; let it answer, or cut it short at its first words."""
        info = await self._client.create(priority=self._chance.choice(("interactive", "idle")))
        try:
            async with self._client.subscribe(info.pid) as events:
                await self._client.send(info.pid, self._text())
                async for event in events:
                    if isinstance(event, TurnFinished):
                        if event.reason in ("error", "loop"):
                            raise KernelError(event.error or event.reason)
                        return "cancelled" if event.reason == "interrupted" else "finished"
                    if cut == "kill" and isinstance(event, ReplyDelta):
                        return "cancelled"
                    if cut == "interrupt" and isinstance(event, ReplyDelta):
                        await self._client.signal(info.pid, "interrupt")
                        cut = None
        finally:
            await self._client.kill(info.pid)
        raise KernelError("The events of a process ended before its turn.")
