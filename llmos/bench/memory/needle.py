"""Needles in haystacks of many windows: RULER's single and multi-key tasks, with a window of 1,024.

Haystacks of 1 and 4 windows are read turn by turn, in messages of about 150 tokens; those of 16
and 64 are imported as a past conversation, so that only recall is on trial. The question is asked
once the index has caught up. The haystack is the same for all samples, as RULER's essays are; word,
number and depth differ. An answer is right where the number stands in what the model says.

A conversation has no introduction: after RULER's own ("I will quiz you") the starter model answers
every part with "I'm ready to practice", and then the question too, whatever it is shown.

The bar's haystack is the essay. The same in repeated noise is reported with fewer samples.
Controls, asked in one message without any memory, with RULER's own words before it: the whole text
in a window of 8,192, and the first hit of a search by words alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmos.bench.harness import say
from llmos.bench.memory.api import Memory
from llmos.bench.memory.asking import ask
from llmos.bench.memory.generators import (
    MEMORIZE,
    Count,
    Needle,
    chunks,
    essay,
    hide,
    needles,
    noise,
)
from llmos.bench.memory.scope import MemoryBench
from llmos.bench.memory.words import Words
from llmos.bench.processes import PrivateKernel
from llmos.bench.streams import http
from llmos.errors import KernelError

__all__ = ["Sample", "Task", "exact", "measure", "samples"]

WINDOW, WHOLE_WINDOW = 1024, 8192
MESSAGE_TOKENS, REPLY_TOKENS = 150, 48
DISTRACTORS = 8
CONTROLS = 10  # samples of a control, and of the noise form
_OK = "Just say OK."
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Task:
    """One figure.

    Args:
        key: The figure.
        windows: Length of the haystack.
        count: Samples.
        imported: As a past conversation, or read turn by turn.
        distractors: Needles with other words.
        noise: In repeated noise rather than an essay.
    """

    key: str
    windows: int
    count: int
    imported: bool
    distractors: int = 0
    noise: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """A haystack with its needle: the messages, and how deep it lies."""

    needle: Needle
    messages: tuple[str, ...]
    depth: float


_READ = [
    task
    for size in (1, 4)
    for task in (
        Task(f"needle_{size}x", size, 20, imported=False),
        Task(f"needle_{size}x_noise", size, CONTROLS // size, imported=False, noise=True),
    )
]
_IMPORTED = [
    task
    for size in (16, 64)
    for task in (
        Task(f"needle_{size}x", size, 50, imported=True),
        Task(f"needle_{size}x_noise", size, CONTROLS, imported=True, noise=True),
    )
]
_MULTIKEY = Task("needle_multikey_16x", 16, 50, imported=True, distractors=DISTRACTORS)
TASKS = (*_READ, *_IMPORTED, _MULTIKEY)


async def measure(bench: MemoryBench) -> None:
    """The group's figures. One that breaks does not take the others with it."""
    for task in TASKS:
        for key, work in _figures(bench, task):
            if not bench.wants(key):
                continue
            try:
                await work()
            except KernelError as error:
                bench.left_out[key] = f"It could not be measured: {error}"
                bench.broken.append(key)
                say(f"  {key}: {error}")


def _figures(bench: MemoryBench, task: Task) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
    figures: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        (task.key, lambda: _remembered(bench, task))
    ]
    if not task.noise and task.imported:
        figures.append((f"{task.key}_words", lambda: _by_words(bench, task)))
    elif not task.noise:
        figures.append((f"{task.key}_whole", lambda: _in_view(bench, task)))
    return figures


# --- samples ----------------------------------------------------------------------------------


async def samples(task: Task, seed: int, number: int, count: Count) -> list[Sample]:
    """So many samples of ``task``, their needles spread evenly over the depths.

    Args:
        seed: Of haystack and needles.
        count: Tokens of a text.
    """
    sentences = noise() if task.noise else essay(random.Random(seed))
    haystack = await chunks(sentences, task.windows * WINDOW, MESSAGE_TOKENS, count)
    drawn = random.Random(f"{seed} {task.key}")
    keys = needles(drawn, number * (1 + task.distractors))
    out = []
    for at in range(number):
        mine, *others = keys[at * (1 + task.distractors) :][: 1 + task.distractors]
        depth = at / max(number - 1, 1)
        hidden = [(mine.sentence, depth), *((o.sentence, drawn.random()) for o in others)]
        out.append(Sample(mine, tuple(hide(haystack, hidden)), depth))
    return out


def exact(needle: Needle, answer: str) -> bool:
    """Whether the number stands in ``answer``; marks for thousands do no harm."""
    digits = "".join(mark if mark.isdigit() else " " for mark in answer.replace(",", ""))
    return needle.number in digits.split()


# --- by memory --------------------------------------------------------------------------------


async def _remembered(bench: MemoryBench, task: Task) -> None:
    number = bench.samples_of(task.count)
    drawn = await samples(task, bench.seed, number, bench.count)
    began = time.perf_counter()
    results = []
    async with bench.memory(engine_window=WINDOW, agent_reply_tokens=REPLY_TOKENS) as (
        kernel,
        memory,
    ):
        for at, sample in enumerate(drawn, 1):
            results.append(await _one(kernel, memory, task, sample))
            right = sum(result["right"] for result in results)
            if at % 5 == 0:
                say(f"  {task.key}: {right} of {at}, {time.perf_counter() - began:.0f} s")
        counters = await memory.counters()
    _note(bench, task.key, task, results, seconds=round(time.perf_counter() - began), **counters)


async def _one(kernel: PrivateKernel, memory: Memory, task: Task, sample: Sample) -> dict[str, Any]:
    client = kernel.client
    if task.imported:
        pid = await memory.import_past(_past(sample.messages), "A long text")
    else:
        pid = (await client.create(title="A text, read")).pid
        for message in sample.messages:
            await ask(client, pid, f"{message}\n\n{_OK}")
    await memory.settled(pid, sample.messages[-1])
    try:
        reply = await ask(client, pid, sample.needle.question)
        result = _judged(sample, reply.text, reply.error)
        if not result["right"]:  # the model's mistake, or the memory's
            shown = await memory.in_view(pid)
            result["in_view"] = any(sample.needle.number in text for text in shown)
        return result
    finally:
        await client.kill(pid)


def _past(messages: Sequence[str]) -> list[tuple[str, str, float]]:
    """A conversation of yesterday: somebody dictates, and the assistant listens."""
    began = time.time() - _DAY
    return [
        each
        for at, message in enumerate(messages)
        for each in (
            ("user", f"{message}\n\n{_OK}", began + 10 * at),
            ("assistant", "OK.", began + 10 * at + 1),
        )
    ]


# --- controls ---------------------------------------------------------------------------------


async def _in_view(bench: MemoryBench, task: Task) -> None:
    """The whole text in the window."""
    drawn = await samples(task, bench.seed, bench.samples_of(CONTROLS), bench.count)
    shown = [" ".join(sample.messages) for sample in drawn]
    await _control(bench, f"{task.key}_whole", task, drawn, shown)


async def _by_words(bench: MemoryBench, task: Task) -> None:
    """What a search by words alone finds first, and nothing else."""
    drawn = await samples(task, bench.seed, bench.samples_of(CONTROLS), bench.count)
    found = []
    for sample in drawn:
        with Words(sample.messages) as words:
            found.append([sample.messages[at] for at in words.search(sample.needle.question, 1)])
    shown = [" ".join(texts) for texts in found]
    await _control(bench, f"{task.key}_words", task, drawn, shown)


async def _control(
    bench: MemoryBench, key: str, task: Task, drawn: Sequence[Sample], shown: Sequence[str]
) -> None:
    results = []
    async with (
        bench.memory(engine_window=WHOLE_WINDOW) as (kernel, _),
        http(str(kernel.client.socket)) as client,
    ):
        for sample, text in zip(drawn, shown, strict=True):
            content = f"{MEMORIZE}\n{text}\n{sample.needle.question}"
            body = {
                "model": kernel.model,
                "messages": [{"role": "user", "content": content}],
                "max_tokens": REPLY_TOKENS,
                "temperature": 0,
            }
            answer = await client.post("/v1/chat/completions", json=body)
            if not answer.is_success:
                raise KernelError(f"The control was refused: {answer.text[:200]}")
            said = str(answer.json()["choices"][0]["message"]["content"])
            results.append(_judged(sample, said, ""))
    _note(bench, key, task, results, window=WHOLE_WINDOW)


# --- results ----------------------------------------------------------------------------------


def _judged(sample: Sample, said: str, error: str) -> dict[str, Any]:
    return {
        "right": exact(sample.needle, said),
        "depth": round(sample.depth, 2),
        "word": sample.needle.word,
        "number": sample.needle.number,
        "said": said[:200],
        **({"error": error} if error else {}),
    }


def _note(
    bench: MemoryBench, key: str, task: Task, results: Sequence[dict[str, Any]], **told: Any
) -> None:
    right = sum(result["right"] for result in results)
    bench.samples[key] = {"wrong": [result for result in results if not result["right"]]}
    told = {"window": WINDOW, **told}
    bench.found(
        key,
        right / len(results),
        samples=len(results),
        haystack_tokens=task.windows * WINDOW,
        haystack="noise" if task.noise else "essay",
        distractors=task.distractors,
        **told,
    )
