"""Mounted folders in a kernel: read and followed in the background, with their progress in view.

The list, the reading and the following are ``memory.files``; here are the jobs. A folder that is
being read when the kernel stops is read on when it starts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from llmos.errors import LlmosError, MountError
from llmos.memory.files.follow import Follower
from llmos.memory.files.mounts import Mount, Mounts, Progress
from llmos.memory.index import Index

__all__ = ["Folders"]

log = logging.getLogger(__name__)


class Folders:
    """All mounted folders.

    Args:
        file: Where the list is kept.
        index: Where what is read becomes findable.
    """

    def __init__(self, file: Path, index: Index) -> None:
        self._file = file
        self._index = index
        self._mounts: Mounts | None = None
        self._follower: Follower | None = None
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._seen: dict[int, Progress] = {}
        self._broken = ""

    async def start(self, *, lost: bool = False) -> None:
        """Open the list and follow what is in it.

        Args:
            lost: The index holds nothing of them any more: all is read again.
        """
        try:
            self._mounts = Mounts(
                self._file,
                self._index.put,
                lambda ids: self._index.forget(ids, erase=False),
                erase=lambda: self._index.forget(()),
            )
        except MountError as error:  # the list is left as it is
            log.warning("no folder is mounted: %s", error)
            self._broken = str(error)
            return
        self._follower = Follower(self._mounts)
        if lost:
            for mount in self._mounts.list():
                self._read(mount.number, again=True)
        self._follower.update()

    async def close(self) -> None:
        for job in self._jobs.values():
            job.cancel()
        if self._jobs:
            await asyncio.wait(self._jobs.values())
        if self._follower is not None:
            await self._follower.close()
        if self._mounts is not None:
            await self._mounts.close()

    def list(self) -> list[tuple[Mount, Progress | None]]:
        """All mounts, oldest first, and how far the one being read is."""
        if self._mounts is None:
            return []
        return [(mount, self._seen.get(mount.number)) for mount in self._mounts.list()]

    async def mount(self, folder: str) -> Mount:
        """Mount a folder and begin to read it; ``list`` shows how far that is.

        Raises:
            MountError: It is no folder that can be mounted.
        """
        mounts = self._open()
        known = {mount.number for mount in mounts.list()}
        began: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def progress(now: Progress) -> None:
            self._seen[now.mount] = now
            if not began.done():
                began.set_result(now.mount)

        job = asyncio.create_task(self._quietly(mounts.mount(folder, progress=progress), began))
        waited: set[asyncio.Future[Any]] = {job, began}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if began.done() and began.exception() is not None:
            raise began.exception() or MountError("The folder cannot be mounted.")
        if began.done():
            number = began.result()
        else:  # it was read before anybody heard of it: an empty folder
            number = next(m.number for m in mounts.list() if m.number not in known)
        self._jobs[number] = job
        job.add_done_callback(lambda _: self._done(number))
        return mounts.get(number)

    async def umount(self, which: int | str) -> int:
        """Take a folder out, with all that was read of it.

        Returns:
            How many passages were taken out of the index.

        Raises:
            MountError: It is not mounted.
        """
        mounts = self._open()
        number = mounts.get(which).number
        removed = await mounts.umount(number)
        if self._follower is not None:
            self._follower.update()
        return removed

    def _read(self, number: int, *, again: bool) -> None:
        work = self._open().sync(number, again=again, progress=self._note)
        self._jobs[number] = asyncio.create_task(self._quietly(work))
        self._jobs[number].add_done_callback(lambda _: self._done(number))

    def _note(self, now: Progress) -> None:
        self._seen[now.mount] = now

    def _done(self, number: int) -> None:
        self._jobs.pop(number, None)
        self._seen.pop(number, None)
        if self._follower is not None:
            self._follower.update()

    async def _quietly(
        self, work: Awaitable[Mount], told: asyncio.Future[int] | None = None
    ) -> None:
        """Do ``work``; what it raises goes to who still waits to be told, or to the log."""
        try:
            await work
        except Exception as error:
            if told is not None and not told.done():
                told.set_exception(error)
                return
            if not isinstance(error, LlmosError):
                log.exception("a mounted folder")
            else:
                log.warning("a mounted folder: %s", error)
        except asyncio.CancelledError:
            with contextlib.suppress(asyncio.InvalidStateError):
                if told is not None:
                    told.set_exception(MountError("The kernel is stopping."))
            raise

    def _open(self) -> Mounts:
        if self._mounts is None:
            raise MountError(self._broken or "No folder can be mounted.")
        return self._mounts
