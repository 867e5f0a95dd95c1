"""An index with many passages, in a process of its own; answers JSON lines on its pipes.

``python -m llmos.bench.memory.search_child FOLDER PASSAGES PROCESSES SEED``. Commands:
``{"do": "fill"}``, ``{"do": "search", "queries": n, "filtered": bool}`` and ``{"do": "embed",
"queries": n}``, which embeds the same queries with the starter embedder, where it is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmos.errors import LlmosError
from llmos.memory.embed import Vectors
from llmos.memory.embed_onnx import MiniLM
from llmos.memory.index import Index
from llmos.memory.passages import Passage, Scope

__all__ = ["RandomEmbedder", "main", "passages"]

DIMENSION = 384
_BATCH = 500
_VOCABULARY, _WORDS, _CONTEXT = 20_000, 50, 200  # words known; words and characters of a passage
_CHROMA_SECONDS = 300.0
_POLL_S = 0.25


class RandomEmbedder:
    """A unit vector for each text, the same for the same text, and none like another."""

    name = "random"
    dimension = DIMENSION

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = np.empty((len(texts), DIMENSION), np.float32)
        for row, text in zip(rows, texts, strict=True):
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            row[:] = np.random.default_rng(int.from_bytes(digest)).standard_normal(DIMENSION)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _words(seed: int) -> list[str]:
    """A vocabulary of words that can be said."""
    drawn = random.Random(seed)
    parts = [a + b for a in "bcdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "ol")]
    return ["".join(drawn.choices(parts, k=drawn.randint(2, 4))) for _ in range(_VOCABULARY)]


def _texts(seed: int, length: int) -> Iterator[str]:
    """Texts whose words are as unevenly common as those of a language (Zipf's law)."""
    words = np.array(_words(seed))
    weights = 1 / np.arange(1, len(words) + 1)
    drawn = np.random.default_rng(seed)
    while True:
        rows = drawn.choice(len(words), size=(1000, length), p=weights / weights.sum())
        yield from (" ".join(words[row]) for row in rows)


def passages(count: int, processes: int, seed: int) -> Iterator[Passage]:
    """So many passages, one process's after another's, each with its neighbours as context."""
    texts = _texts(seed, _WORDS)
    before, text = "", next(texts)
    for number in range(count):
        after = next(texts)
        pid = number * processes // count + 1
        context = f"{before[-_CONTEXT:]} {text} {after[:_CONTEXT]}"
        place = f"process {pid}"
        yield Passage(f"p{number + 1}", "turn", pid, place, 1.7e9 + number, text, context)
        before, text = text, after


class _Child:
    def __init__(self, folder: str, count: str, processes: str, seed: str) -> None:
        self._index = Index(Path(folder), RandomEmbedder())
        self._count, self._processes, self._seed = int(count), int(processes), int(seed)

    async def fill(self) -> dict[str, Any]:
        began = time.perf_counter()
        await self._index.start()
        batch: list[Passage] = []
        for passage in passages(self._count, self._processes, self._seed):
            batch.append(passage)
            if len(batch) == _BATCH:
                await self._index.put(batch)
                batch = []
        await self._index.put(batch)
        put = time.perf_counter() - began
        await self._index.settled()
        deadline = time.perf_counter() + _CHROMA_SECONDS
        while self._index.progress().chroma == "building" and time.perf_counter() < deadline:
            await asyncio.sleep(_POLL_S)
        return {
            "put_seconds": put,
            "seconds": time.perf_counter() - began,
            "chroma": self._index.progress().chroma,
            "dimension": DIMENSION,
        }

    async def search(self, queries: int, filtered: bool) -> dict[str, Any]:
        drawn = random.Random(self._seed)
        times = []
        for query in self._queries(queries):
            pid = drawn.randint(1, self._processes)
            scope = Scope(pids=(pid,)) if filtered else Scope()
            began = time.perf_counter()
            hits = await self._index.search(query, k=5, scope=scope)
            times.append(1000 * (time.perf_counter() - began))
            if not hits or (filtered and any(hit.passage.pid != pid for hit in hits)):
                return {"error": "The index found nothing, or what is another process's."}
        return {"ms": times}

    async def embed(self, queries: int) -> dict[str, Any]:
        from llmos.models import catalog

        entry = catalog.entry("embedder")
        model = catalog.locate(entry) if entry else None
        if model is None:
            return {"ms": []}
        embedder = MiniLM(model.files["model.onnx"], model.files["tokenizer.json"])
        embedder.embed(["the model is loaded"])
        times = []
        for query in self._queries(queries):
            began = time.perf_counter()
            embedder.embed([query])
            times.append(1000 * (time.perf_counter() - began))
        return {"ms": times}

    async def close(self) -> None:
        await self._index.close()

    def _queries(self, count: int) -> list[str]:
        """Questions of eight words, common and rare, as the passages' are."""
        texts = _texts(self._seed + 1, 8)
        return [next(texts) for _ in range(count)]


async def _serve(arguments: list[str]) -> None:
    child = _Child(*arguments)
    print(json.dumps({"ready": True}), flush=True)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            try:
                answer = await getattr(child, command.pop("do"))(**command)
            except LlmosError as error:
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)
    finally:
        await child.close()


def main(arguments: list[str]) -> None:
    """Answer commands until standard input ends."""
    asyncio.run(_serve(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
