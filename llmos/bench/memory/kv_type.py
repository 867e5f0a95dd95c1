"""What ``[engine] kv_type`` changes: the size of the cells, the speed over them, the answers.

``q8_0`` needs flash attention, which changes answers by itself. So there are three ways: ``f16``
as it is on a CPU, ``f16`` with flash attention, and ``q8_0``. The figures hold ``q8_0`` against
``f16`` with flash attention, and the controls this against ``f16`` without.

The three stand side by side on one thread of this process, without the engine around them: what
differs is then the cells and nothing else. Needs a model that llama.cpp runs here.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, TypeVar

from llmos.bench.harness import WORDS, interleaved, median_ratio, say, summary
from llmos.bench.memory.cells import Cells
from llmos.bench.memory.generators import MEMORIZE, chunks, essay, hide, needles
from llmos.bench.memory.scope import MemoryBench
from llmos.config import EngineConfig
from llmos.engine.template import TemplateWorker
from llmos.events import Message

__all__ = ["PROMPTS", "WAYS", "measure", "sums"]

#: A name for each way, with its type of cells and whether attention is flash attention.
WAYS: dict[str, tuple[Any, Any]] = {
    "f16": ("f16", "off"),
    "f16_flash": ("f16", "on"),
    "q8_0": ("q8_0", "on"),
}
TOKENS = 4096  # of the snapshot, and of what is decoded behind
RATE_TOKENS = 32  # decoded in each round
REPLY_TOKENS = 48
NEEDLES, NEEDLE_TOKENS = 8, 320  # needles asked for, each in a text of so many tokens
SUMS = 8
TEXT_TOKENS = 256  # of the text whose likelihood is taken
SYSTEM = "You are a helpful assistant. Answer briefly and truthfully."
#: What is answered beside needles and sums; whether rightly, nobody judges.
PROMPTS = (
    "What is a lighthouse for?",
    "Name three things one can cook with potatoes.",
    "Write one sentence about a river in spring.",
    "Why is the sky blue?",
    "Explain in two sentences what a loan is.",
    "Give me a short greeting for a birthday card.",
    "What should I pack for a day in the mountains?",
    "Describe a library to someone who has never seen one.",
)

#: The key of each way's right answers.
RIGHT = {"q8_0": "kv_type_right", "f16_flash": "kv_type_right_flash", "f16": "kv_type_right_f16"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, and what a right answer holds; empty where nobody judges."""

    text: str
    right: str = ""


@dataclass(slots=True)
class _Three:
    """The three ways, each used on one and the same thread.

    Args:
        bench: The run.
        thread: That thread.
    """

    bench: MemoryBench
    thread: ThreadPoolExecutor
    cells: dict[str, Cells] = field(default_factory=dict)

    async def load(self) -> None:
        path, threads = self.bench.model_path(), self.bench.threads()
        for name, (kind, flash) in WAYS.items():
            window = TOKENS + RATE_TOKENS
            config = EngineConfig(window=window, cells=window, kv_type=kind, flash_attention=flash)
            self.cells[name] = await self.on(Cells, path, config, threads)

    async def on(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do ``work`` on the thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)

    async def close(self) -> None:
        for cells in self.cells.values():
            await self.on(cells.close)


async def measure(bench: MemoryBench) -> None:
    """The group's figures."""
    with ThreadPoolExecutor(1, "kv-type") as thread:
        three = _Three(bench, thread)
        try:
            await three.load()
            if bench.wants("kv_type_size", "kv_type_speed", "kv_type_speed_flash"):
                await _size_and_speed(three)
            if bench.wants("kv_type_loss", "kv_type_loss_flash"):
                await _likelihood(three)
            if bench.wants("kv_type_same", "kv_type_same_flash", *RIGHT.values()):
                await _answers(three)
        finally:
            await three.close()


# --- size and speed ---------------------------------------------------------------------------


async def _size_and_speed(three: _Three) -> None:
    bench = three.bench
    words = " ".join(bench.random.choice(WORDS) for _ in range(TOKENS))  # none is less than a token
    prompt = three.cells["f16"].tokenize(words)[:TOKENS]
    sizes: dict[str, int] = {}
    for name, cells in three.cells.items():
        sizes[name] = await three.on(cells.fill, prompt)
        say(f"  {name}: {sizes[name]:,} bytes for {TOKENS} tokens")

    def side(cells: Cells) -> Callable[[int], Any]:
        async def rate(_: int) -> float:
            return await three.on(cells.rate, RATE_TOKENS)

        return rate

    rounds = await interleaved(bench.pairs, *(side(cells) for cells in three.cells.values()))
    for place, name in enumerate(three.cells):
        bench.samples[f"kv_type_tokens_per_s_{name}"] = summary([each[place] for each in rounds])
    bench.samples["kv_type_bytes"] = sizes
    told = {"tokens": TOKENS}
    bench.found("kv_type_size", sizes["q8_0"] / sizes["f16"], **told)
    told = {**told, "reply_tokens": RATE_TOKENS, "threads": bench.threads()}
    bench.found("kv_type_speed", median_ratio(rounds, above=2, below=1), **told)
    bench.found("kv_type_speed_flash", median_ratio(rounds, above=1, below=0), **told)


# --- answers ----------------------------------------------------------------------------------


async def _likelihood(three: _Three) -> None:
    """Mean negative log-likelihood of one text, in nats a token."""
    bench, first = three.bench, three.cells["f16"]
    sentences = essay(random.Random(bench.seed))
    text = ""
    while len(tokens := first.tokenize(text)) < TEXT_TOKENS:
        text = f"{text} {next(sentences)}".strip()
    tokens = tokens[:TEXT_TOKENS]
    losses = {name: await three.on(cells.loss, tokens) for name, cells in three.cells.items()}
    bench.samples["kv_type_loss"] = {name: round(loss, 5) for name, loss in losses.items()}
    told = {"text_tokens": len(tokens)}
    bench.found("kv_type_loss", losses["q8_0"] - losses["f16_flash"], **told)
    bench.found("kv_type_loss_flash", losses["f16_flash"] - losses["f16"], **told)


async def _answers(three: _Three) -> None:
    """The same questions every way, answered greedily."""
    bench, first = three.bench, three.cells["f16"]
    asked = await _questions(bench, first)
    template = TemplateWorker(first.info.template, bos=first.info.bos, eos=first.info.eos)
    replies: dict[str, list[list[int]]] = {name: [] for name in three.cells}
    try:
        for each in asked:
            messages = [Message("system", SYSTEM), Message("user", each.text)]
            prompt = first.opened(await template.render(messages, (), True))
            for name, cells in three.cells.items():
                replies[name].append(await three.on(cells.reply, prompt, REPLY_TOKENS))
    finally:
        await template.close()
    told = {"answers": len(asked), "reply_tokens": REPLY_TOKENS}
    bench.found("kv_type_same", _same(replies["q8_0"], replies["f16_flash"]), **told)
    bench.found("kv_type_same_flash", _same(replies["f16_flash"], replies["f16"]), **told)
    judged = [place for place, each in enumerate(asked) if each.right]
    for name, key in RIGHT.items():
        said = [first.text(reply) for reply in replies[name]]
        right = [_holds(said[place], asked[place].right) for place in judged]
        bench.samples[key] = {
            "wrong": [
                {"asked": asked[place].text[-80:], "said": said[place]}
                for place, good in zip(judged, right, strict=True)
                if not good
            ]
        }
        bench.found(key, fmean(right), questions=len(judged), needle_tokens=NEEDLE_TOKENS)


async def _questions(bench: MemoryBench, cells: Cells) -> list[_Asked]:
    drawn = random.Random(bench.seed)

    async def count(text: str) -> int:
        return len(cells.tokenize(text))

    asked = [_Asked(text) for text in PROMPTS[: bench.samples_of(len(PROMPTS))]]
    for needle in needles(drawn, bench.samples_of(NEEDLES)):
        [haystack, *_] = await chunks(essay(drawn), NEEDLE_TOKENS, NEEDLE_TOKENS, count)
        [text] = hide([haystack], [(needle.sentence, drawn.random())])
        asked.append(_Asked(f"{MEMORIZE}\n{text}\n{needle.question}", needle.number))
    return [*asked, *(_Asked(*each) for each in sums(drawn, bench.samples_of(SUMS)))]


def sums(drawn: random.Random, count: int) -> list[tuple[str, str]]:
    """So many additions of small numbers, each with its result."""
    pairs = [(drawn.randrange(2, 60), drawn.randrange(2, 40)) for _ in range(count)]
    things = [drawn.choice(WORDS) for _ in pairs]
    return [
        (
            f"I have {a} cards with a {thing} on them and get {b} more. What is {a} + {b}?",
            str(a + b),
        )
        for (a, b), thing in zip(pairs, things, strict=True)
    ]


def _same(one: Sequence[list[int]], other: Sequence[list[int]]) -> float:
    """The share of replies that are the same, token for token."""
    return fmean(a == b for a, b in zip(one, other, strict=True))


def _holds(said: str, number: str) -> bool:
    """Whether a number stands in a text, and not as a part of another."""
    return re.search(rf"(?<!\d){number}(?!\d)", said.replace(",", "")) is not None
