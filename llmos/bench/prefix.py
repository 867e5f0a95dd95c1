"""How much of what was computed once is used again."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.bench.harness import Bench
from llmos.bench.local import Recorded, local_kernel
from llmos.bench.streams import http, request
from llmos.bench.turns import turn
from llmos.config import AgentConfig, EngineConfig
from llmos.errors import KernelError

__all__ = ["CHAT", "measure", "reuse", "seen_before"]

FORK_PROMPT, FORK_TOKENS, FORKS = 1000, 16, 8
REPLY_TOKENS = 96

#: A conversation of twenty turns, calls among them.
CHAT = (
    "Hello! Who are you?",
    "What is 38 × 56?",
    "Thank you. I am planning a birthday party.",
    "What day of the week is 17 August 2026?",
    "Give me three ideas for games.",
    "How much is 15% of 240?",
    "Which of the games is best for small children?",
    "How many days are there between 3 March 2025 and 10 June 2025?",
    "I also need a cake. What kind do you suggest?",
    "If one cake is 18.75, how much are 4 cakes?",
    "What should I write on the invitation?",
    "What date is 25 days before 10 April 2026?",
    "That sounds good.",
    "What is (45 - 17) * 4?",
    "What music do children like?",
    "What time is it in Berlin?",
    "And what could we drink?",
    "what is 15000 divided by 300",
    "Say something nice for the speech.",
    "Thank you for your help. Goodbye!",
)


async def measure(bench: Bench) -> None:
    """The group's figures."""
    if bench.wants("fork8_prefill_tokens", "prompt_tokens", "fork8_ratio"):
        await _fork(bench)
    if bench.wants("reuse_ratio"):
        await _reuse(bench)


async def _fork(bench: Bench) -> None:
    kernel = await bench.kernel()
    prompt = await bench.prompt(FORK_PROMPT)
    before = await kernel.until_idle()
    body = request(kernel.model, prompt, FORK_TOKENS, n=FORKS)
    del body["stream"], body["stream_options"]
    async with http(str(kernel.client.socket)) as client:
        answer = await client.post("/v1/completions", json=body)
    if not answer.is_success or len(answer.json()["choices"]) != FORKS:
        raise KernelError(f"The kernel made no {FORKS} replies to one prompt.")
    prompt_tokens = int(answer.json()["usage"]["prompt_tokens"])
    after = await kernel.until_idle()
    prefilled = after["prefilled_tokens"] - before["prefilled_tokens"]
    bench.found("fork8_prefill_tokens", prefilled, replies=FORKS, reply_tokens=FORK_TOKENS)
    bench.found("prompt_tokens", prompt_tokens)
    bench.found("fork8_ratio", prefilled / prompt_tokens)


async def _reuse(bench: Bench) -> None:
    agent = AgentConfig(reply_tokens=REPLY_TOKENS)
    async with local_kernel(bench.home, EngineConfig(model=bench.model), agent) as local:
        client = local.client
        process = await client.create()
        answers = [await turn(client, text, process.pid) for text in CHAT]
        records = list(local.recorder.records)
    calls = sum(len(answer.calls) for answer in answers)
    reused, seen = reuse(records)
    bench.samples["reuse"] = {
        "turns": len(CHAT),
        "calls": calls,
        "generations": len(records),
        "tokens_seen_before": seen,
        "tokens_reused": reused,
    }
    if errors := [answer.error for answer in answers if answer.reason == "error"]:
        raise KernelError(f"{len(errors)} turns of the chat failed: {errors[0]}")
    if not calls:
        raise KernelError("The chat made no calls, so it shows nothing.")
    bench.found("reuse_ratio", reused / seen, turns=len(CHAT), reply_tokens=REPLY_TOKENS)


def reuse(records: Sequence[Recorded]) -> tuple[int, int]:
    """Tokens reused, and tokens of prompts that an earlier prompt and reply began with.

    Args:
        records: The generations of one conversation, oldest first.
    """
    reused = seen = 0
    for at, record in enumerate(records):
        seen += seen_before(record.prompt, [earlier.tokens for earlier in records[:at]])
        reused += record.usage.cached_tokens if record.usage else 0
    return reused, seen


def seen_before(prompt: Sequence[int], earlier: Sequence[Sequence[int]]) -> int:
    """Length of the longest prefix of ``prompt`` that one of ``earlier`` begins with."""
    return max((_common(prompt, tokens) for tokens in earlier), default=0)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    for at, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return at
    return min(len(a), len(b))
