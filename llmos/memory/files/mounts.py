"""Mounted folders: which there are, and what was read of them kept in step with what is there.

The list is a small JSON file; what was read of which file lies beside it (``notes.py``). A folder
that is away (a drive that was unplugged) keeps its passages until it is back or is umounted.
Whatever is interrupted, by a cancelled task or a crash, the next sync finishes. Passages go to
``put`` and ``forget``; how they are found again is not known here, nor when to look for changes.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from llmos import limits, paths
from llmos.documents.reader import Reader
from llmos.errors import MountError
from llmos.memory.files.mtab import Entry, State, checked, identity, load, refuse, save
from llmos.memory.files.notes import Notes
from llmos.memory.files.sync import Forget, Progress, Put, Sync, forget_all
from llmos.memory.files.walk import shown

__all__ = ["Mount", "Mounts", "Progress", "Skipped", "State"]

Known = Callable[[str], Awaitable[Iterable[str]]]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read, or not to its end: its place, and the sentence why."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted folder, as it is shown.

    Args:
        number: Its number, never given again.
        folder: The folder.
        files / passages: Files that gave passages, and how many.
        skipped: What was not read, or not to its end; at most ``limits.MOUNT_SKIPPED`` of it.
        skips: How much there is of that.
        synced: When it was last read to its end, seconds since the epoch; 0 for never.
        state: How it is.
        following: How changes are noticed; empty where they are not.
    """

    number: int
    folder: Path
    files: int
    passages: int
    skipped: tuple[Skipped, ...]
    skips: int
    synced: float
    state: State
    following: str = ""


class Mounts:
    """The mounted folders.

    Args:
        file: The list, a JSON file; need not exist. The notes lie beside it, ending in ``.db``.
        put: Takes passages into the index; one with a known id replaces that.
        forget: Takes them out again, by their ids; unknown ones are no matter.
        erase: Leaves no trace of what was forgotten: the end of an umount.
        known: Gives the ids in the index that begin so. Without it, passages of notes that were
            lost can't be told from others, and stay until the index is built anew.
        changed: Told whenever a mount is not as it was.
        exclude: Folders never read; llmos's own where not given.

    Raises:
        MountError: The list or the notes can't be read. They are left as they are.
    """

    def __init__(
        self,
        file: Path,
        put: Put,
        forget: Forget,
        *,
        erase: Callable[[], Awaitable[None]] | None = None,
        known: Known | None = None,
        changed: Callable[[Mount], None] | None = None,
        exclude: Collection[Path] | None = None,
    ) -> None:
        self.file = file
        self._put = put
        self._forget = forget
        self._erase = erase
        self._known = known
        self._changed = changed
        own = (paths.state_dir(), paths.cache_dir(), paths.models_dir(), file.parent)
        self._exclude = [path.resolve() for path in (own if exclude is None else exclude)]
        self._next, entries = load(file)
        self._entries = {entry.number: entry for entry in entries}
        self._notes = Notes(file.with_suffix(".db"))
        self._reader = Reader()
        self._running = 0  # syncs

    async def close(self) -> None:
        """End what it started. A sync that is running has to be cancelled before."""
        await self._reader.close()
        self._notes.close()

    # --- what there is ----------------------------------------------------------------------

    def list(self) -> list[Mount]:
        """All mounts, oldest first."""
        return [self._shown(entry) for entry in self._entries.values()]

    def get(self, which: int | str | Path) -> Mount:
        """One mount, by number or folder.

        Raises:
            MountError: It is none.
        """
        return self._shown(self._entry(which))

    def directories(self, number: int) -> tuple[bytes, ...]:
        """The folders that the last whole look saw, relative to the mounted one."""
        return self._entry(number).directories

    def follow(self, number: int, how: str) -> None:
        """Say how changes of a mount are noticed, for people."""
        entry = self._entry(number)
        if entry.following != how:
            entry.following = how
            self._tell(entry)

    # --- mount and umount -------------------------------------------------------------------

    async def mount(
        self, folder: str | Path, *, progress: Callable[[Progress], None] | None = None
    ) -> Mount:
        """Mount a folder and read it. If that is interrupted, it is mounted, and read on later.

        Raises:
            MountError: It is no folder that can be mounted; the sentence says why.
        """
        path, status = await asyncio.to_thread(checked, Path(folder))
        refuse(path, status, self._exclude, self._entries.values())
        entry = Entry(self._next, str(path), status.st_dev, status.st_ino, self._notes.id)
        self._entries[entry.number] = entry
        self._next += 1
        try:
            self._save()
        except BaseException:
            del self._entries[entry.number]
            raise
        return await self.sync(entry.number, progress=progress)

    async def umount(self, which: int | str | Path) -> int:
        """Take a folder out, with all that was read of it. A sync of it that runs is stopped.

        Returns:
            How many passages were taken out of the index.

        Raises:
            MountError: It is not mounted.
        """
        entry = self._entry(which)
        entry.leaving, entry.state = True, State.LEAVING
        self._save()
        self._tell(entry)
        async with entry.lock:
            if entry.number not in self._entries:
                return 0  # somebody else was first
            notes, number = self._notes, entry.number
            readings = await asyncio.to_thread(notes.readings, number)
            all_of_it = [(reading.number, reading.passages) for reading in readings.values()]
            all_of_it += await asyncio.to_thread(notes.unfinished, number)
            count = await forget_all(notes, self._forget, number, all_of_it)
            count += await self._forget_unnoted(number)
            if self._erase is not None:
                await self._erase()
            await asyncio.to_thread(notes.forget, number)
            del self._entries[number]
            self._save()
        return count

    # --- sync -------------------------------------------------------------------------------

    async def sync(
        self,
        which: int | str | Path,
        *,
        only: Collection[bytes] | None = None,
        again: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> Mount:
        """Read what changed. A folder that is away is no error: the mount says ``gone``.

        Args:
            only: Look only at these and what is below them; relative to the folder.
            again: Read every file, changed or not, for an index that was lost.
            progress: Told after every file.

        Raises:
            MountError: There is no such mount, it is being umounted, or the notes can't be used.
        """
        entry = self._entry(which)
        async with entry.lock:
            if entry.leaving:
                raise MountError(f"{entry.name} is being umounted.")
            self._running += 1
            try:
                await self._sync(entry, only, again, progress)
            finally:
                self._running -= 1
                if entry.state is State.READING:  # it was interrupted
                    entry.state = State.UNREAD
                self._tell(entry)
                if not self._running:
                    await self._reader.close()  # an idle worker holds 67 MB for nothing
            return self._shown(entry)

    async def _sync(
        self,
        entry: Entry,
        only: Collection[bytes] | None,
        again: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        now = await asyncio.to_thread(identity, entry.path)
        if now is None:
            entry.state = State.GONE
            return
        same = now == (entry.device, entry.inode)
        if not same or entry.notes != self._notes.id or entry.state is not State.READY:
            only = None
        entry.state = State.READING
        self._tell(entry)
        if entry.notes != self._notes.id:  # the notes were lost
            await self._forget_unnoted(entry.number)
            entry.notes = self._notes.id
            self._save()
        sync = Sync(
            entry.number,
            entry.path,
            notes=self._notes,
            reader=self._reader,
            put=self._put,
            forget=self._forget,
            exclude=self._exclude,
            going=lambda: not entry.leaving,
            progress=progress,
        )
        # Where a drive was mounted there may be an empty folder now that it is away.
        directories = await sync.run(only, again=again, emptied=same)
        if directories is None:
            entry.state = State.GONE
            return
        if only is None:
            entry.directories = tuple(directories)
        entry.device, entry.inode = now
        entry.state, entry.synced = State.READY, time.time()
        self._save()

    async def _forget_unnoted(self, number: int) -> int:
        """Take out what is in the index of a mount and in no notes."""
        if self._known is None:
            return 0
        ids = list(await self._known(f"f{number}-"))
        if ids:
            await self._forget(ids)
        return len(ids)

    # --- the list ---------------------------------------------------------------------------

    def _entry(self, which: int | str | Path) -> Entry:
        if isinstance(which, int):
            if which in self._entries:
                return self._entries[which]
            raise MountError(f"There is no mount {which}.")
        path = Path(which).expanduser()
        for folder in (Path(os.path.abspath(path)), path.resolve()):  # it may be away
            for entry in self._entries.values():
                if entry.path == folder:
                    return entry
        raise MountError(f"{shown(os.fsencode(path))} is not mounted.")

    def _shown(self, entry: Entry) -> Mount:
        files, passages, skips = self._notes.counts(entry.number)
        skipped = self._notes.skipped(entry.number, limits.MOUNT_SKIPPED) if skips else []
        return Mount(
            entry.number,
            entry.path,
            files,
            passages,
            tuple(Skipped(shown(path) or entry.name, reason) for path, reason in skipped),
            skips,
            entry.synced,
            State.LEAVING if entry.leaving else entry.state,
            entry.following,
        )

    def _tell(self, entry: Entry) -> None:
        if self._changed is not None:
            self._changed(self._shown(entry))

    def _save(self) -> None:
        save(self.file, self._next, self._entries.values())
