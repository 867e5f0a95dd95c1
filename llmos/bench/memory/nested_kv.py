"""MemGPT's nested key-value task (Packer et al. 2023, arXiv:2310.08560), 140 pairs, levels 0 to 4.

The pairs were read out in a past conversation, and the window holds a quarter of them. The value
of a key may be a key itself, ``level`` times over; the answer is the value that is none.

``nested_kv`` is a perfect reader's: it makes the calls a model would make (search for a key, read
the page it stands on) and makes no mistakes in reading, so it fails only where the memory does.
``nested_kv_starter`` is the model's own, which makes its own mistakes.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Sequence
from typing import Any

from llmos.bench.harness import say
from llmos.bench.memory.api import Memory, Past
from llmos.bench.memory.asking import ask
from llmos.bench.memory.generators import Nested, nested
from llmos.bench.memory.scope import MemoryBench

__all__ = ["follow", "measure", "past"]

PAIRS, LEVELS = 140, range(5)
TASKS, STARTER_TASKS = 5, 2  # of each level
PAIRS_A_MESSAGE = 7  # about 400 tokens
SHARE = 0.25  # of the pairs, that the window holds
REPLY_TOKENS = 64
HITS = 5
_DAY = 86_400.0
_GRAIN = 64  # tokens; a window is a round number


async def measure(bench: MemoryBench) -> None:
    """The group's figures."""
    if not bench.wants("nested_kv", "nested_kv_starter"):
        return
    drawn = random.Random(bench.seed)
    each = bench.samples_of(TASKS)
    tasks = [nested(drawn, PAIRS, level) for level in LEVELS for _ in range(each)]
    in_all = await bench.count("\n".join(_line(*pair) for pair in tasks[0].pairs.items()))
    window = max(512, round(SHARE * in_all / _GRAIN) * _GRAIN)
    told = {"pairs": PAIRS, "pairs_tokens": in_all, "window": window}
    followed: list[tuple[int, bool]] = []
    answered: list[tuple[int, bool]] = []
    async with bench.memory(engine_window=window, agent_reply_tokens=REPLY_TOKENS) as (
        kernel,
        memory,
    ):
        for at, task in enumerate(tasks):
            messages = past(task)
            pid = await memory.import_past(messages, "Pairs")
            await memory.settled(pid, messages[-2][1])
            found = await follow(memory, pid, task.key)
            followed.append((task.level, found == task.value))
            if at % each < STARTER_TASKS and bench.wants("nested_kv_starter"):
                reply = await ask(kernel.client, pid, _question(task))
                answered.append((task.level, task.value in reply.text))
            await kernel.client.kill(pid)
        counters = await memory.counters()
    say(f"  {sum(right for _, right in followed)} of {len(followed)} chains followed")
    bench.samples["nested_kv"] = {"by_level": _by_level(followed), **counters}
    bench.found("nested_kv", _rate(followed), tasks=len(followed), **told)
    if answered:
        bench.samples["nested_kv_starter"] = {"by_level": _by_level(answered)}
        bench.found("nested_kv_starter", _rate(answered), tasks=len(answered), **told)


def past(task: Nested) -> list[Past]:
    """The conversation in which the pairs were read out."""
    began = time.time() - _DAY
    lines = [_line(*pair) for pair in task.pairs.items()]
    out: list[Past] = []
    for at in range(0, len(lines), PAIRS_A_MESSAGE):
        pairs = "\n".join(lines[at : at + PAIRS_A_MESSAGE])
        said = began + 10 * at
        out += [("user", f"Some keys and their values:\n{pairs}", said), ("assistant", "OK.", said)]
    return out


async def follow(memory: Memory, pid: int, key: str) -> str:
    """The last value of the chain that begins at ``key``, read page by page; empty for none.

    A value is the last where no page has it as a key.
    """
    value, wanted = "", key
    for _ in range(PAIRS):
        found = await _value(memory, pid, wanted)
        if found is None:
            return value
        value = wanted = found
    return value


async def _value(memory: Memory, pid: int, key: str) -> str | None:
    """The value of ``key``, on one of the pages that a search for it finds."""
    for hit in await memory.search(key, k=HITS, pid=pid):
        for written in re.findall(
            re.escape(f'"{key}": ') + r'("[^"]*")', await memory.page(hit.id)
        ):
            return str(json.loads(written))
    return None


def _line(key: str, value: str) -> str:
    return f'"{key}": "{value}"'


def _question(task: Nested) -> str:
    return (
        f'What is the value of the key "{task.key}"? Where a value is itself one of the keys, '
        "look up that key too, and so on. Answer with the last value alone."
    )


def _rate(results: Sequence[tuple[int, bool]]) -> float:
    return sum(right for _, right in results) / len(results)


def _by_level(results: Sequence[tuple[int, bool]]) -> dict[str, Any]:
    return {
        str(level): _rate([each for each in results if each[0] == level])
        for level in sorted({level for level, _ in results})
    }
