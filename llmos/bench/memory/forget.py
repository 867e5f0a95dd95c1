"""What is left of a text that was forgotten, in all files of the state directory.

A fact with two invented marks is the first thing said in a conversation (and so in its title). It
is searched, asked about, driven out of the window, recalled, and the conversation is swapped to
disk. Then every page that a search shows to hold a mark is forgotten, as a person would do it.

Counted are the marks as text (any case; the tail of each, since an index of words may share the
beginning of a word with another's) and as the model's tokens, in the forms in which token ids are
kept: while the kernel runs, and after it has stopped. Bytes are read as they lie: a mark inside
something compressed would not be seen.
"""

from __future__ import annotations

import asyncio
import json
import time
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmos.bench.harness import say
from llmos.bench.memory.api import Memory
from llmos.bench.memory.asking import evictions, heard
from llmos.bench.memory.scope import MemoryBench
from llmos.bench.processes import PrivateKernel
from llmos.errors import KernelError

__all__ = ["measure", "traces", "written"]

KEY = "forget_leaves"
WINDOW, REPLY_TOKENS = 1024, 48
MARKS = ("brontelquix", "48213077")
FACT = f"The code word of my boat is {MARKS[0]}, and its number is {MARKS[1]}."
QUESTION = "What is the code word of my boat, and what is its number?"
FILLER_TOKENS, FILLERS = 200, 12  # messages; together more than two windows
SEARCHED = 50
_PAGES = 100  # forgotten at most
_TAIL = 8  # characters of a mark that are looked for
_SNAPSHOT_S = 60.0
_READ_BYTES = 1 << 20


async def measure(bench: MemoryBench) -> None:
    """The group's figure."""
    if not bench.wants(KEY):
        return
    forms: dict[str, bytes] = {}
    for mark in MARKS:
        forms |= written(mark, await _tokens(bench, mark))
    settings: dict[str, Any] = {
        "engine_window": WINDOW,
        "engine_swap_bytes": 0,  # so that snapshots lie on disk
        "agent_reply_tokens": REPLY_TOKENS,
    }
    async with bench.memory(**settings) as (kernel, memory):
        said = await _say(bench, kernel, memory)
        before = await asyncio.to_thread(traces, kernel.state, forms)
        if not before:
            raise KernelError("The fact was never there, so forgetting it shows nothing.")
        forgotten = await _forget(memory)
        running = await asyncio.to_thread(traces, kernel.state, forms)
        state = kernel.state
    stopped = await asyncio.to_thread(traces, state, forms)
    bench.samples[KEY] = {
        "before": before,
        "running": running,
        "stopped": stopped,
        "pages_forgotten": forgotten,
        **said,
    }
    say(f"  {sum(before.values())} traces before")
    leaves = max(sum(running.values()), sum(stopped.values()))
    bench.found(KEY, leaves, marks=len(MARKS), window=WINDOW)


async def _tokens(bench: MemoryBench, mark: str) -> list[int]:
    """The model's tokens of ``mark`` in a sentence, without those at its borders."""
    answer = await (await bench.bare()).ask(do="tokenize", text=f" {mark}")
    return list(answer["tokens"][1:])


async def _say(bench: MemoryBench, kernel: PrivateKernel, memory: Memory) -> dict[str, Any]:
    """Everything that can become of a fact; what of it happened."""
    client = kernel.client
    pid = (await client.create()).pid
    await heard(client, pid, FACT)
    await memory.settled(pid, FACT)
    async with evictions(client, pid) as batches:
        for _ in range(FILLERS):
            await heard(client, pid, f"{await bench.words(FILLER_TOKENS)}\n\nJust say OK.")
    if not batches:
        raise KernelError("The fact never left the window.")
    await heard(client, pid, QUESTION)
    await heard(client, (await client.create()).pid, await bench.words(WINDOW // 4))
    deadline = time.perf_counter() + _SNAPSHOT_S
    while not (files := (await kernel.engine())["snapshot_files"]):
        if time.perf_counter() > deadline:
            raise KernelError("The conversation was never swapped to disk.")
        await asyncio.sleep(0.1)
    return {"evictions": len(batches), "snapshot_files": files, **await memory.counters()}


async def _forget(memory: Memory) -> int:
    """Forget one page after another that is found to hold a mark; how many there were.

    Looked for anew each time: what was made of a page goes with it.
    """
    for forgotten in range(_PAGES):
        holding = [
            hit.id
            for query in (*MARKS, FACT)
            for hit in await memory.search(query, k=SEARCHED)
            if any(mark in hit.text for mark in MARKS)
        ]
        if not holding:
            return forgotten
        await memory.forget(holding[0])
    raise KernelError("What was forgotten is found again and again.")


def written(mark: str, tokens: Sequence[int]) -> dict[str, bytes]:
    """How a mark may lie in a file, by name: its tail, and its tokens as bytes and as JSON."""
    forms = {f"{mark}, text": mark[-_TAIL:].lower().encode()}
    if len(tokens) > 2:  # fewer occur by chance
        forms[f"{mark}, tokens"] = array("i", tokens).tobytes()
        forms[f"{mark}, list of tokens"] = json.dumps(list(tokens))[1:-1].encode()
    return forms


def traces(folder: Path, forms: Mapping[str, bytes]) -> dict[str, int]:
    """How often ``forms`` occur in the files below ``folder``; letters in any case.

    Returns:
        File and form to number, where there are any.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        counts = _occurrences(path, list(forms.values()))
        for form, count in zip(forms, counts, strict=True):
            if count:
                found[f"{path.relative_to(folder)}: {form}"] = count
    return found


def _occurrences(path: Path, forms: Sequence[bytes]) -> list[int]:
    """Reads in pieces: snapshots may be larger than memory. A file that goes meanwhile has none."""
    longest = max(len(form) for form in forms)
    counts, kept = [0] * len(forms), b""
    try:
        with path.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                data = kept + piece
                lower = data.lower()
                for at, form in enumerate(forms):
                    # What ends within ``kept`` was counted with the piece before.
                    text = lower if form.isalnum() else data
                    counts[at] += _count(text, form, len(kept))
                kept = data[-(longest - 1) :] if longest > 1 else b""
    except FileNotFoundError:
        pass
    return counts


def _count(data: bytes, form: bytes, kept: int) -> int:
    """Occurrences of ``form`` that end behind the first ``kept`` bytes."""
    count, at = 0, data.find(form)
    while at >= 0:
        count += at + len(form) > kept
        at = data.find(form, at + 1)
    return count
