"""Idle consolidation: what is done with memory while nobody is there.

Three steps, each in small pieces: memories that say the same are merged (``merging.py``), turns
that left a window are summarised (``summaries.py``), pages of different conversations that are
about the same are linked (``links.py``). All of it is derived: it keeps its sources, goes when they
go, and can be undone. It ends at once when it is cancelled, and begins where it left off: what was
made, or undone, is not made again.

Knows the order of the steps; not when it is time to dream (``idle.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from llmos.engine.backend import Backend
from llmos.kernel.dreaming import DreamState, Notebook
from llmos.kernel.links import link_pages
from llmos.kernel.memory import Memory
from llmos.kernel.merging import merge_memories
from llmos.kernel.process import Process
from llmos.kernel.summaries import Summaries
from llmos.kernel.transcript import Transcript
from llmos.memory.journal import Journal

__all__ = ["Dream"]


class Dream:
    """Consolidates one kernel's memory.

    Args:
        backend: Writes summaries.
        journal: Where everything derived is kept.
        memory: Facts and the index, started.
        transcript: Opens windows.
        processes: Gives the living processes, those used last first.
        writes: The model writes summaries; where it is too small for that, the sentences that say
            most are quoted.
    """

    def __init__(
        self,
        backend: Backend,
        journal: Journal,
        memory: Memory,
        transcript: Transcript,
        processes: Callable[[], Iterable[Process]],
        *,
        writes: bool = True,
    ) -> None:
        self._journal = journal
        self._memory = memory
        self._notebook = Notebook(journal, memory.facts, memory.derived)
        self._summaries = Summaries(
            backend,
            journal,
            memory.index,
            transcript,
            self._notebook,
            processes,
            writes=writes,
        )

    @property
    def state(self) -> DreamState:
        """How far the dream is that is under way, or what the last one made."""
        return self._notebook.state

    def clear(self) -> None:
        """Tell no more what the last one made: some of it may be gone."""
        self._notebook.state = DreamState()

    async def run(self, *, write: bool = True) -> DreamState:
        """Consolidate until nothing is left that can be done now, or this is cancelled.

        Args:
            write: The model may be asked for summaries; otherwise what was said is quoted.

        Returns:
            What was made.

        Raises:
            StoreError: The journal or the index cannot be read or written.
        """
        self._notebook.state = DreamState("memories")
        try:
            await merge_memories(self._memory, self._notebook)
            await self._summaries.run(write=write)
            await link_pages(self._memory, self._journal, self._notebook)
        finally:
            self._notebook.state = replace(self.state, step="", done=0, of=0)
        return self.state
