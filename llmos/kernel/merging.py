"""Memories that say the same are merged: the newer stays, or the one that is pinned.

A step of a dream. Only what a person said is merged, and only where the words are the same
(``memory/sayings.py``): a memory that is lost is worse than one that is there twice.
"""

from __future__ import annotations

import asyncio
import itertools

from llmos.kernel.dreaming import Notebook
from llmos.kernel.memory import Memory
from llmos.labels import Origin
from llmos.memory.facts import Fact
from llmos.memory.pages import Kind
from llmos.memory.sayings import say_the_same

__all__ = ["merge_memories"]


async def merge_memories(memory: Memory, notebook: Notebook) -> None:
    """Merge every pair of memories that say the same, but for pairs a person took apart again.

    Raises:
        StoreError: It cannot be kept.
    """
    undone = await asyncio.to_thread(memory.derived.undone, Kind.MEMORY)
    facts = [fact for fact in memory.facts.all() if fact.label.origin <= Origin.USER]
    gone: set[str] = set()
    for at, one in enumerate(facts):
        await notebook.at("memories", at, len(facts))
        for other in facts[at + 1 :]:
            if {one.id, other.id} & gone or one.block != other.block:
                continue
            if not say_the_same(one.text, other.text):
                continue
            pair = {_first(one), _first(other)}
            if any(pair <= sources for sources in undone):
                continue
            less, more = sorted((one, other), key=lambda f: (f.pinned, f.time, int(f.id[1:])))
            seq = await memory.merge(less.id, more.id)
            gone.add(less.id)
            notebook.made(seq, "merged", f"{less.id} says the same as {more.id}")


def _first(fact: Fact) -> str:
    """The id of the record that began a fact: it stays the same whatever is done with it."""
    return next(itertools.islice(fact.records.values(), 1))
