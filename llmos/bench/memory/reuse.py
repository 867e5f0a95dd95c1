"""How much of what was in view is computed again, in a chat of sixty turns.

For every generation (turns, calls, what is computed ahead): a token of its prompt was in view
before where it stands in a stretch of 16 or more that one of the last generations had too, at
whatever place; it is reused where its cells were still there. So what an eviction makes the
engine compute again counts against the figure, though as a prefix nobody saw it before. What was
out of view and is recalled is new: that is a page fault, and is counted as one.

Needs exact prompts, so the kernel runs in this process; what is said comes through its socket.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from llmos.bench import prefix
from llmos.bench.harness import say
from llmos.bench.local import Recorded, local_kernel
from llmos.bench.memory.api import Memory
from llmos.bench.memory.asking import ask, evictions
from llmos.bench.memory.generators import chat, past
from llmos.bench.memory.scope import MemoryBench
from llmos.config import AgentConfig, EngineConfig
from llmos.errors import KernelError

__all__ = ["in_view", "measure", "reuse"]

KEYS = {"reuse_ratio": 8192, "reuse_ratio_evicting": 1024}  # and their windows
REPLY_TOKENS = 48
EVICTIONS = 5  # at least, where the figure is about them
STRETCH = 16  # tokens; shorter ones are the template's and common phrases
REACH = 8  # generations back: a turn with two calls has five


async def measure(bench: MemoryBench) -> None:
    """The group's figures."""
    for key, window in KEYS.items():
        if bench.wants(key):
            await _chat(bench, key, window)


async def _chat(bench: MemoryBench, key: str, window: int) -> None:
    engine = EngineConfig(model=bench.model, window=window)
    agent = AgentConfig(reply_tokens=REPLY_TOKENS)
    async with local_kernel(bench.home, engine, agent) as local, Memory(local.client) as memory:
        pid = await memory.import_past(past(), "A party")
        local.recorder.records.clear()
        replies, turns = [], chat()
        async with evictions(local.client, pid) as batches:
            for number, text in enumerate(turns, 1):
                replies.append(await ask(local.client, pid, text))
                if number % 10 == 0:
                    say(f"  {key}: turn {number} of {len(turns)}")
        records = list(local.recorder.records)
        counters = await memory.counters()
    reused, seen = reuse(records)
    calls = sum(reply.calls for reply in replies)
    by_prefix = prefix.reuse(records)
    bench.samples[key] = {
        "generations": len(records),
        "calls": calls,
        "evictions": len(batches),
        **counters,
        "tokens_in_view_before": seen,
        "tokens_reused": reused,
        "ratio_of_true_prefixes": round(by_prefix[0] / max(by_prefix[1], 1), 4),
    }
    if errors := [reply.error for reply in replies if reply.reason == "error"]:
        raise KernelError(f"{len(errors)} turns of the chat failed: {errors[0]}")
    if not calls:
        raise KernelError("The chat made no calls, so it shows nothing.")
    if key == "reuse_ratio" and batches:
        raise KernelError("The chat outgrew its window, so it shows another figure.")
    if key == "reuse_ratio_evicting" and len(batches) < EVICTIONS:
        raise KernelError(f"There were {len(batches)} evictions, fewer than {EVICTIONS}.")
    bench.found(
        key,
        reused / seen,
        turns=len(turns),
        window=window,
        reply_tokens=REPLY_TOKENS,
        evictions=len(batches),
    )


def reuse(records: Sequence[Recorded]) -> tuple[int, int]:
    """Tokens reused, and tokens that were in view before.

    Args:
        records: The generations of one conversation, oldest first.
    """
    reused = seen = 0
    for at, record in enumerate(records):
        before = [earlier.tokens for earlier in records[max(0, at - REACH) : at]]
        in_sight = in_view(record.prompt, before)
        seen += in_sight
        # One token of a prompt is always decoded, for its logits.
        reused += min(record.usage.cached_tokens, in_sight) if record.usage else 0
    return reused, seen


def in_view(prompt: Sequence[int], earlier: Sequence[Sequence[int]]) -> int:
    """Tokens of ``prompt`` that stand in a stretch that one of ``earlier`` has, too."""
    return max((_shared(prompt, tokens) for tokens in earlier), default=0)


def _shared(prompt: Sequence[int], other: Sequence[int]) -> int:
    prefix = 0
    for mine, theirs in zip(prompt, other, strict=False):
        if mine != theirs:
            break
        prefix += 1
    # Most of two prompts is a common prefix; looking for blocks there would take minutes.
    matcher = difflib.SequenceMatcher(None, prompt[prefix:], other[prefix:], autojunk=False)
    blocks = (block.size for block in matcher.get_matching_blocks())
    return prefix + sum(size for size in blocks if size >= STRETCH)
