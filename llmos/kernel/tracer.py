"""What a kernel tells of its calls, and what it runs again: the trail and the replay, together.

Changes nothing and keeps nothing.
"""

from __future__ import annotations

import asyncio

from llmos.errors import UnknownCall
from llmos.kernel.keeper import Keeper
from llmos.kernel.replay import Replay, Replayed
from llmos.kernel.syscalls import SyscallTable
from llmos.memory.journal import Journal
from llmos.memory.trail import Traced, trail

__all__ = ["Tracer"]


class Tracer:
    """Traces the processes of one kernel.

    Args:
        journal: Where calls are kept.
        calls: The syscall table: it tells the effect of calls that were kept without it.
        replay: Runs conversations again.
        keeper: Takes nothing away meanwhile.
    """

    def __init__(
        self, journal: Journal, calls: SyscallTable, replay: Replay, keeper: Keeper
    ) -> None:
        self._journal = journal
        self._calls = calls
        self._replay = replay
        self._keeper = keeper

    async def trail(self, pid: int = 0, after: int = 0) -> list[Traced]:
        """The calls of a process, or (0) of all, oldest first.

        Args:
            pid: Whose.
            after: Only those behind the call of this number.

        Raises:
            NoSuchProcess: There is no ``pid``.
            StoreError: The journal cannot be read.
        """
        return await asyncio.to_thread(
            trail, self._journal.path, pid, effect=self._effect, after=after
        )

    async def replay(self, pid: int) -> Replayed:
        """Run a conversation again, without effects.

        Raises:
            NoSuchProcess: There is no ``pid``.
            KernelError: Another replay is under way.
            StoreError: The journal cannot be copied.
        """
        await self._keeper.at_rest()
        try:
            return await self._replay.run(pid)
        finally:
            self._keeper.forget_at_rest()  # what waited for it

    def _effect(self, name: str) -> str:
        try:
            return self._calls.get(name).effect
        except UnknownCall:
            return ""
