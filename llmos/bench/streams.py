"""Replies streamed over HTTP, timed: what a client really sees.

Speaks OpenAI's completions, so the same code measures the kernel and llama.cpp's own server.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from llmos.errors import KernelError

__all__ = ["Timing", "http", "request", "stream", "streams"]


@dataclass(frozen=True, slots=True)
class Timing:
    """One or several replies.

    Args:
        seconds: From the request to the last token.
        first_s: From the request to the first token.
        tokens: Tokens of all replies, by the server's own count.
    """

    seconds: float
    first_s: float
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens a second, prefill included."""
        return self.tokens / self.seconds


def http(socket: str = "", address: str = "http://kernel") -> httpx.AsyncClient:
    """A client of a Unix socket or of an address."""
    transport = httpx.AsyncHTTPTransport(uds=socket) if socket else None
    limits = httpx.Limits(max_connections=None)
    timeout = httpx.Timeout(30.0, read=None, pool=None)
    return httpx.AsyncClient(
        transport=transport, base_url=address, timeout=timeout, limits=limits, trust_env=False
    )


def request(model: str, prompt: Any, tokens: int, **more: Any) -> dict[str, Any]:
    """The body of a greedy completion of exactly ``tokens`` tokens."""
    return {
        "model": model,
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **more,
    }


async def stream(
    client: httpx.AsyncClient, body: dict[str, Any], priority: str = "interactive"
) -> Timing:
    """One reply, timed.

    Raises:
        KernelError: The server refused or broke it.
    """
    headers = {"x-llmos-priority": priority}
    began = time.perf_counter()
    first = last = 0.0
    tokens = 0
    async with client.stream("POST", "/v1/completions", json=body, headers=headers) as answer:
        if not answer.is_success:
            raise KernelError((await answer.aread()).decode("utf-8", "replace")[:500])
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise KernelError(str(event["error"].get("message", event["error"])))
            if event["choices"]:
                last = time.perf_counter()
                first = first or last
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    return Timing(last - began, first - began, tokens)


async def streams(client: httpx.AsyncClient, bodies: Sequence[dict[str, Any]]) -> Timing:
    """Several replies at once, timed from the first request to the last token."""
    began = time.perf_counter()
    timings = await asyncio.gather(*(stream(client, body) for body in bodies))
    seconds = time.perf_counter() - began
    return Timing(
        seconds, min(timing.first_s for timing in timings), sum(t.tokens for t in timings)
    )
