"""One mounted folder, brought in step with what is there: the work of one sync.

Only what changed is read: size, time and inode tell, then the bytes' hash. A file's new passages
are all in before the old ones leave. Every step is noted first (``notes.py``), so that whatever
interrupts it, the next sync takes back what is half there and goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Sequence,
)
from dataclasses import dataclass, replace
from pathlib import Path

from llmos import limits
from llmos.credentials import without
from llmos.documents.decoder import Broken
from llmos.documents.reader import Reader, Section
from llmos.errors import FileNotRead, MountError
from llmos.failpoints import failpoint
from llmos.memory.files.notes import Notes, Reading
from llmos.memory.files.walk import Found, Stamp, Unread, Walk, open_inside, shown, why
from llmos.memory.passages import Passage
from llmos.threads import aside, in_thread

__all__ = ["Forget", "Progress", "Put", "Sync", "forget_all", "passage_id"]

Put = Callable[[Sequence[Passage]], Awaitable[None]]
Forget = Callable[[Iterable[str]], Awaitable[None]]

_HASHED = max(limits.FILE_TEXT_BYTES, limits.FILE_DECODED_BYTES)  # no more of a file is ever read
_IDS = 1024  # forgotten at once


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sync is.

    Args:
        mount: Number of the mount.
        done / files: Changed files that were read, and that there are.
        passages: That came of them so far.
        path: The file that was read last, fit to be read.
    """

    mount: int
    done: int
    files: int
    passages: int
    path: str = ""


def passage_id(mount: int, reading: int, number: int) -> str:
    """The id of a passage: ``f2-31.4``."""
    return f"f{mount}-{reading}.{number}"


async def forget_all(
    notes: Notes, forget: Forget, mount: int, readings: Collection[tuple[int, int]]
) -> int:
    """Take back all passages of readings, given by number and passages; return how many."""
    if not readings:
        return 0
    await in_thread(notes.leaving, [number for number, _ in readings])
    failpoint("mount.leaving")
    ids = (
        passage_id(mount, number, n) for number, last in readings for n in range(1, last + 1)
    )  # fmt: skip
    while some := list(itertools.islice(ids, _IDS)):
        await forget(some)
    await in_thread(notes.gone, [number for number, _ in readings])
    return sum(passages for _, passages in readings)


class Sync:
    """One sync of one mount. ``run`` it once.

    Args:
        mount: Number of the mount.
        folder: Resolved.
        notes / reader / put / forget: What ``Mounts`` has.
        exclude: Folders left out.
        going: Asked between steps; False stops it.
        progress: Told after every file.
    """

    def __init__(
        self,
        mount: int,
        folder: Path,
        *,
        notes: Notes,
        reader: Reader,
        put: Put,
        forget: Forget,
        exclude: Collection[Path],
        going: Callable[[], bool],
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._mount = mount
        self._folder = folder
        self._notes = notes
        self._reader = reader
        self._put = put
        self._forget = forget
        self._exclude = exclude
        self._going = going
        self._progress = progress
        self._batch: list[Passage] = []
        self._upto: dict[int, tuple[bytes, int]] = {}  # by reading in the batch, path and last
        self._done: list[Reading] = []  # all of whose passages are in or in the batch
        self._total = 0  # passages of the mount

    async def run(
        self, only: Collection[bytes] | None, *, again: bool, emptied: bool
    ) -> list[bytes] | None:
        """Do it.

        Args:
            only: Paths to look at, relative to the folder; the whole folder where None.
            again: Read every file, changed or not.
            emptied: Whether a folder without any file is believed to be one; else nothing is
                done where files had been read of it.

        Returns:
            The folders looked at, relative to this one; None where the folder is away, as it
            can't be looked at or isn't believed.

        Raises:
            MountError: The notes can't be used, or ``going`` said no.
        """
        notes, mount = self._notes, self._mount
        await forget_all(notes, self._forget, mount, await in_thread(notes.unfinished, mount))
        known = await in_thread(notes.readings, mount)
        try:
            walk, found, unread = await self._look(only)
            if only is not None and walk.unsure:  # only a whole look tells which name counts
                only = None
                walk, found, unread = await self._look(None)
        except OSError:
            return None
        if not found and known and only is None and not emptied:
            return None
        blind = {one.path for one in unread if one.blind}
        there = {file.path for file in found}
        left = [p for p in known if p not in there and _below(p, only) and not _below(p, blind)]
        noted = None if only is None else await self._noted(only)
        await in_thread(notes.unread, mount, unread, noted)
        gone = [(known[path].number, known[path].passages) for path in left]
        await forget_all(notes, self._forget, mount, gone)
        self._total = sum(reading.passages for reading in known.values())
        self._total -= sum(passages for _, passages in gone)
        await self._read(found, known, again=again)
        return walk.directories

    async def _look(self, only: Collection[bytes] | None) -> tuple[Walk, list[Found], list[Unread]]:
        walk = Walk(self._folder, exclude=self._exclude, only=only)
        found: list[Found] = []
        unread: list[Unread] = []
        async with contextlib.aclosing(aside(iter(walk))) as entries:
            async for entry in entries:
                self._go_on()
                if isinstance(entry, Unread):
                    unread.append(entry)
                elif len(found) < limits.MOUNT_FILES:
                    found.append(entry)
                else:
                    sentence = f"Only its first {len(found):,} files are read: it has more."
                    unread.append(Unread(b"", sentence, blind=True))
                    break
        return walk, found, unread

    async def _noted(self, only: Collection[bytes]) -> list[bytes]:
        """What is noted as unread of the paths looked at."""
        noted = await in_thread(self._notes.skipped, self._mount, -1)
        return [path for path, _ in noted if _below(path, only)]

    # --- reading ----------------------------------------------------------------------------

    async def _read(
        self, found: Sequence[Found], known: dict[bytes, Reading], *, again: bool
    ) -> None:
        stamps = {} if again else {path: reading.stamp for path, reading in known.items()}
        changed = [file for file in found if stamps.get(file.path) != file.stamp]
        before = self._total
        for done, file in enumerate(changed):
            self._go_on()
            self._tell(done, len(changed), before, file.path)
            await self._file(file, known.get(file.path), again=again)
        await self._flush()
        self._tell(len(changed), len(changed), before, b"")

    def _tell(self, done: int, files: int, before: int, path: bytes) -> None:
        if self._progress is not None:
            count = max(self._total - before, 0)
            self._progress(Progress(self._mount, done, files, count, shown(path)))

    async def _file(self, found: Found, old: Reading | None, *, again: bool) -> None:
        """Read a file; once more where it changed meanwhile."""
        for last in (False, True):
            number = self._notes.new_number()
            reading = Reading(number, self._mount, found.path, 0, found.stamp, b"")
            try:
                file = await in_thread(open_inside, self._folder, found.path)
            except FileNotFoundError:
                return  # it went: the next sync sees to it
            except (FileNotRead, OSError) as error:
                reading = _unproven(replace(reading, note=_sentence(error)))
                break
            with file:
                stamp = Stamp.of(os.fstat(file.fileno()))
                try:
                    digest = await in_thread(_digest, file, stamp.size)
                except OSError as error:
                    reading = _unproven(replace(reading, note=_sentence(error)))
                    break
                if old is not None and digest == old.hash and not again:
                    await in_thread(self._notes.restamp, old, _proven(stamp))
                    return
                reading = replace(reading, stamp=_proven(stamp), hash=digest)
                reading = await self._sections(file, reading)
                if Stamp.of(os.fstat(file.fileno())) == stamp:
                    break
            if last:
                note = "It changes while it is read: what was read of it may not fit together."
                reading = _unproven(replace(reading, note=note))
            else:
                await self._abandon(number)
        if old is not None:
            self._total -= old.passages
        self._done.append(reading)
        if len(self._done) >= limits.MOUNT_BATCH:
            await self._flush()

    async def _sections(self, file: io.FileIO, reading: Reading) -> Reading:
        """Hand over the passages of a file; return what is to be noted of it."""
        held: Section | None = None
        before, count, retry = "", 0, False
        note = ""
        seconds = os.fstat(file.fileno()).st_mtime
        name = shown(reading.path.rpartition(b"/")[2])
        try:
            async with contextlib.aclosing(self._within(self._reader.read(file, name))) as sections:
                async for section in sections:
                    if held is not None:
                        count += 1
                        await self._add(reading, count, held, before, section.text, seconds)
                        before = held.text
                    held = section
        except FileNotRead as error:
            note, retry = str(error), isinstance(error, Broken)
        if held is not None:
            count += 1
            await self._add(reading, count, held, before, "", seconds)
        reading = replace(reading, passages=count, note=note)
        return _unproven(reading) if retry else reading

    async def _within(
        self, sections: AsyncGenerator[Section, None]
    ) -> AsyncGenerator[Section, None]:
        """The sections without credentials, until the mount has all it may have."""
        left = limits.MOUNT_PASSAGES - self._total
        async with contextlib.aclosing(sections):
            async for section in sections:
                left -= 1
                if left < 0:
                    most = f"{limits.MOUNT_PASSAGES:,} passages, the most"
                    raise Broken(f"It is not read to its end: the folder has {most}.")
                yield replace(section, text=without(section.text))

    async def _add(
        self, reading: Reading, n: int, section: Section, before: str, after: str, seconds: float
    ) -> None:
        edge = limits.FILE_CONTEXT_CHARS
        context = "\n".join(part for part in (before[-edge:], after[:edge]) if part)
        place = f"{shown(os.fsencode(self._folder.name))}/{shown(reading.path)}"
        if section.where:
            place = f"{place}, {section.where}"
        identity = passage_id(self._mount, reading.number, n)
        self._batch.append(Passage(identity, "file", 0, place, seconds, section.text, context))
        self._upto[reading.number] = reading.path, n
        self._total += 1
        if len(self._batch) >= limits.MOUNT_BATCH:
            await self._flush()

    # --- handing over -----------------------------------------------------------------------

    async def _flush(self) -> None:
        """Hand over the batch; what is whole with it is noted, what it replaces is taken back."""
        self._go_on()
        if self._batch:
            upto = [(number, path, n) for number, (path, n) in self._upto.items()]
            await in_thread(self._notes.coming, self._mount, upto)
            failpoint("mount.coming")
            batch, self._batch, self._upto = self._batch, [], {}
            await self._put(batch)
            failpoint("mount.put")
        done, self._done = self._done, []
        if done:
            old = await in_thread(self._notes.here, done)
            failpoint("mount.here")
            await forget_all(self._notes, self._forget, self._mount, old)

    async def _abandon(self, number: int) -> None:
        """Take back what was handed over of a reading that is not going to be whole."""
        start = passage_id(self._mount, number, 0)[:-1]
        kept = [passage for passage in self._batch if not passage.id.startswith(start)]
        dropped, self._batch = len(self._batch) - len(kept), kept
        self._upto.pop(number, None)
        unfinished = await in_thread(self._notes.unfinished, self._mount)
        mine = [(n, passages) for n, passages in unfinished if n == number]
        self._total -= dropped + await forget_all(self._notes, self._forget, self._mount, mine)

    def _go_on(self) -> None:
        if not self._going():
            raise MountError(f"{shown(os.fsencode(self._folder))} is being umounted.")


def _sentence(error: FileNotRead | OSError) -> str:
    return str(error) if isinstance(error, FileNotRead) else why(error)


def _digest(file: io.FileIO, size: int) -> bytes:
    """A hash of a file's length and of as much of it as is ever read."""
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    at = 0
    while at < min(size, _HASHED) and (chunk := os.pread(file.fileno(), 1 << 20, at)):
        digest.update(chunk)
        at += len(chunk)
    return digest.digest()


def _proven(stamp: Stamp) -> Stamp:
    """The stamp, or one that no file has where it may stay the same though the file changes.

    A file changed within its file system's unit of time after it was read looks unchanged (Git
    calls that racy): it is hashed again next time.
    """
    racy = abs(time.time() - stamp.mtime_ns / 1e9) < limits.MOUNT_RACY_S
    return replace(stamp, mtime_ns=-1) if racy else stamp


def _unproven(reading: Reading) -> Reading:
    """A reading that is to be done again next time."""
    return replace(reading, stamp=replace(reading.stamp, mtime_ns=-1), hash=b"")


def _below(path: bytes, tops: Collection[bytes] | None) -> bool:
    """Whether ``path`` is one of ``tops`` or lies below one; all are where None."""
    if tops is None or b"" in tops:
        return True
    parts = path.split(b"/")
    return any(b"/".join(parts[:n]) in tops for n in range(1, len(parts) + 1))
