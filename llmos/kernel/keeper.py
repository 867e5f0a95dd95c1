"""What a person does with memory: look, remember, change, pin, forget, mount, tidy up, undo.

The entry points over ``kernel/memory.py``, for the server. What takes something away (forgetting,
undoing) waits until no turn is under way, and no turn begins meanwhile: it may stand in a window.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from llmos.engine.backend import Backend
from llmos.engine.swapfile import erase
from llmos.errors import KernelError, NotStored, StoreError
from llmos.kernel.dreaming import DreamState
from llmos.kernel.folders import Folders
from llmos.kernel.idle import Idle
from llmos.kernel.memory import Memory
from llmos.kernel.process import Process
from llmos.kernel.replay import Replay
from llmos.kernel.table import Table
from llmos.kernel.transcript import Transcript
from llmos.memory.derived import Made
from llmos.memory.facts import Block, Fact
from llmos.memory.files.mounts import Mount, Progress
from llmos.memory.journal import Journal
from llmos.memory.pages import Page
from llmos.memory.passages import Hit, Passage
from llmos.memory.records import Record
from llmos.memory.salvage import damaged_copies
from llmos.memory.window import Window

__all__ = ["Keeper"]

log = logging.getLogger(__name__)


class Keeper:
    """One kernel's memory, as a person has it.

    Args:
        memory: What is remembered, started; None for a kernel without.
        idle: Dreams while nobody is there; None with it.
        table: The processes.
        transcript: Their windows.
        journal: The truth.
        backend: Forgets what it computed of what is forgotten.
        wake: Has the messages of a process answered that wait.
        replay: Runs conversations again, and reads them meanwhile.
        swap: The folder of snapshots, which a processor may have left there that runs no more.
        sweep: Takes away files that no record names any more; blocks.
    """

    def __init__(
        self,
        memory: Memory | None,
        idle: Idle | None,
        table: Table,
        transcript: Transcript,
        journal: Journal,
        backend: Backend,
        wake: Callable[[Process], None],
        replay: Replay,
        swap: Path,
        sweep: Callable[[], Any] = lambda: None,
    ) -> None:
        self._kept = memory
        self._dreams = idle
        self._table = table
        self._transcript = transcript
        self._journal = journal
        self._backend = backend
        self._wake = wake
        self._replay = replay
        self._swap = swap
        self._sweep = sweep
        self._closing = False
        self._task: asyncio.Task[int] | None = None  # no turn begins meanwhile

    # --- looking ----------------------------------------------------------------------------

    async def search(self, query: str, *, k: int = 5, pid: int = 0) -> list[Hit]:
        """Passages by meaning and by words, best first; of one conversation, or (0) of all."""
        return await self._memory.search(query, k=k, pid=pid)

    async def pages(self, written: str) -> Sequence[Page]:
        """The page of that id, or all pages of the record.

        Raises:
            NotStored: There is none.
        """
        return await self._memory.recall.pages(written)

    async def passage(self, id: str) -> Passage:
        """A passage as it is indexed.

        Raises:
            NotStored: There is none of that name.
        """
        found = await self._memory.index.get(id)
        if found is None:
            raise NotStored(
                f"There is no passage {id!r}; its file may have changed since.",
                remedy="Search for it again.",
            )
        return found

    async def links(self) -> dict[str, list[str]]:
        """For each page those of other conversations that are about the same."""
        return await asyncio.to_thread(self._memory.derived.links)

    async def page_table(self, pid: int) -> list[tuple[Page, bool]]:
        """Every page of a conversation, and whether it is in view."""
        return (await self._window(pid)).pages()

    async def front(self, pid: int) -> str:
        """What the model is told before all that was said: the system prompt with what it holds."""
        return (await self._window(pid)).head()

    async def pinned(self, pid: int) -> set[str]:
        """Ids of the pages that stay in view of a process when room is made."""
        return (await self._window(pid)).pinned()

    async def facts(self) -> list[Fact]:
        """What is remembered, newest first."""
        return self._memory.facts.all()

    async def derived(self) -> list[Made]:
        """What dreams have made, newest first."""
        return await asyncio.to_thread(self._memory.derived.made)

    async def _window(self, pid: int) -> Window:
        process = self._table.living(pid)
        await self.at_rest()
        return await self._transcript.open(process, process.first_open_turn or process.turns + 1)

    # --- changing ---------------------------------------------------------------------------

    async def remember(self, text: str, *, block: Block = "fact") -> Fact:
        """Keep something a person says outside of any conversation."""
        return await self._memory.remember(text, block=block)

    async def change_fact(
        self, id: str, *, text: str | None = None, pinned: bool | None = None
    ) -> Fact:
        """Give a fact another text, or pin or unpin it. What is refused changes nothing.

        Raises:
            NotStored: There is none.
            NotRemembered: The text is empty or too long, or the front would be.
        """
        memory = self._memory
        if text is not None or pinned is not None:
            await memory.change(id, text=text, pinned=pinned)
        return memory.facts.get(id)

    async def pin_page(self, pid: int, page: str, pinned: bool = True) -> None:
        """Have a page stay in view of a process, with its turn, or no longer.

        Raises:
            NotStored: Nothing that was said in it is called so.
            KernelError: It is answering; or pinned pages would fill too much of the window.
        """
        process = self._table.living(pid)
        await self.at_rest()
        if process.task is not None:
            raise KernelError(f"Process {pid} is answering.", remedy="Pin it when that is done.")
        process.stop_ahead()
        # In the place of a turn, so that none begins and nothing is forgotten meanwhile.
        process.task = asyncio.create_task(self._pin(process, page, pinned), name=f"pin {page}")
        await asyncio.shield(process.task)

    async def _pin(self, process: Process, page: str, pinned: bool) -> None:
        try:
            await self._transcript.pin(process, page, pinned)
        finally:
            process.task = None
            self.forget_at_rest()
            self._wake(process)

    # --- forgetting and undoing -------------------------------------------------------------

    async def would_forget(self, written: str) -> list[Record]:
        """The records that ``forget`` would empty, in the journal's order.

        Raises:
            NotStored: There is nothing of that name.
        """
        await self.at_rest()
        return await self._memory.forgetting.would_forget(written)

    def set_aside(self) -> list[Path]:
        """Journals that a repair put aside: what is forgotten may still stand in them."""
        return damaged_copies(self._journal.path)

    async def forget(self, written: str) -> int:
        """Remove a fact (``m12``) or a page (``p12``) for good, and everything made of it.

        Returns:
            How many records were erased.

        Raises:
            NotStored: There is nothing of that name.
            KernelError: A turn or a replay is under way, which may be reading it.
        """
        await self.at_rest()
        self._require_rest("Forget it when that is done.")
        self._task = asyncio.create_task(self._forget(written))
        return await asyncio.shield(self._task)

    async def undo(self, written: str) -> int:
        """Undo something that a dream made (``d12``); it is not made again.

        Returns:
            How many records were erased.

        Raises:
            NotStored: Nothing derived is called so.
            KernelError: A turn or a replay is under way, which may be reading it.
        """
        await self.at_rest()
        self._require_rest("Undo it when that is done.")
        self._task = asyncio.create_task(self._undo(written))
        return await asyncio.shield(self._task)

    def forget_at_rest(self) -> None:
        """Forget what a process was told to forget, once nothing is being answered."""
        if self._kept is None or self._closing or self._table.working or self._replay.running:
            return
        forgetting = self._kept.forgetting
        if forgetting.doomed:
            doomed, forgetting.doomed = forgetting.doomed, set()
            self._task = asyncio.create_task(self._forget_all(doomed))

    @property
    def taking(self) -> bool:
        """Whether something is being taken away."""
        return self._task is not None and not self._task.done()

    async def at_rest(self) -> None:
        """Wait until what is being taken away is."""
        while self._task is not None and self.taking:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Begin nothing more, and wait for what was begun."""
        self._closing = True
        if self._dreams is not None:
            await self._dreams.close()
        await self.at_rest()

    def _require_rest(self, remedy: str) -> None:
        """See that no turn and no replay is under way: it may have in view what is to go."""
        if self._table.working:
            raise KernelError("Something is being answered.", remedy=remedy)
        if self._replay.running:
            raise KernelError("A conversation is being replayed.", remedy=remedy)

    async def _forget_all(self, doomed: Iterable[str]) -> int:
        count = 0
        for id in doomed:
            try:
                count += await self._forget(id)
            except Exception as error:
                log.warning("%s is not forgotten: %s", id, error)
        return count

    async def _forget(self, written: str) -> int:
        with self._transcript.erasing():
            return await self._erase(written)

    async def _erase(self, written: str) -> int:
        await self._dreams_over()
        aheads = [process.ahead for process in self._table if process.ahead is not None]
        for process in self._table:
            process.stop_ahead()
        if aheads:
            await asyncio.wait(aheads)  # or it would be kept after all
        try:
            count = await self._memory.forgetting.forget(written)
        finally:
            self._transcript.shut(self._table)
            for process in self._table:
                process.title = self._journal.process(process.pid).title
            await self._backend.forget()
        await asyncio.to_thread(self._sweep)
        try:
            await asyncio.to_thread(erase, self._swap)
        except OSError as error:
            raise StoreError(
                f"A snapshot could not be removed: {error}.", remedy="Free it, and forget again."
            ) from error
        await self._memory.forgetting.done(written)
        return count

    async def _undo(self, written: str) -> int:
        await self._dreams_over()
        try:
            return await self._memory.forgetting.undo(written)
        finally:
            self._transcript.shut(self._table)

    async def _dreams_over(self) -> None:
        """Stop dreaming, or it would write of what is gone; and tell no more of what it made."""
        if self._dreams is not None:
            await self._dreams.wake()
            self._dreams.clear()

    # --- dreaming ---------------------------------------------------------------------------

    async def dream(self) -> None:
        """Consolidate memory now; see ``kernel/dream.py``. Returns at once.

        Raises:
            KernelError: The kernel is stopping.
        """
        await self.at_rest()
        if self._closing:
            raise KernelError("The kernel is stopping.")
        await self._idle.begin()

    async def wake(self) -> None:
        """Stop dreaming, and return when it has stopped."""
        await self._idle.wake()

    def dreaming(self) -> tuple[DreamState, bool, str]:
        """How far the dream is, whether it goes on, and why it ended early."""
        idle = self._idle
        return idle.state, idle.dreaming, idle.error

    # --- folders ----------------------------------------------------------------------------

    def mounts(self) -> list[tuple[Mount, Progress | None]]:
        """Mounted folders, and how far those are that are being read."""
        return self._folders.list()

    async def mount(self, folder: str) -> Mount:
        """Mount a folder; it is read in the background.

        Raises:
            MountError: It is no folder that can be mounted.
        """
        return await self._folders.mount(folder)

    async def umount(self, which: int | str) -> int:
        """Take a mounted folder out; returns how many passages that were.

        Raises:
            MountError: It is not mounted.
        """
        return await self._folders.umount(which)

    # --- inside -----------------------------------------------------------------------------

    @property
    def _memory(self) -> Memory:
        if self._kept is None:
            raise KernelError("This kernel has no memory.")
        return self._kept

    @property
    def _idle(self) -> Idle:
        if self._dreams is None:
            raise KernelError("This kernel has no memory.")
        return self._dreams

    @property
    def _folders(self) -> Folders:
        folders = self._memory.folders
        if folders is None:
            raise KernelError("This kernel mounts no folders.")
        return folders
