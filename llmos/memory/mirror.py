"""Keeps a copy of the index's vectors in Chroma, and asks it.

The copy can be lost at any moment: it is checked when it is opened, and whenever it is damaged,
of another index, hanging or crashing, it is put aside and made anew from the vectors in SQLite.
In the meantime ``nearest`` says None and whoever asks compares exactly. A small index is compared
exactly anyway: it has no copy and no worker in memory, until it is half as large as that.

Doesn't rank: what Chroma finds are candidates.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sqlite3
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos import limits, paths
from llmos.errors import StoreError
from llmos.memory.chroma import Chroma, ChromaFailed, ChromaMissing
from llmos.memory.passages import Scope
from llmos.memory.words import UNMIRRORED, Words

__all__ = ["Mirror"]

log = logging.getLogger(__name__)

FOLDER = "chroma"
#: A vector asked for must be found at this cosine distance; float16 alone makes 0.001 of it.
_NEAR = 0.01


class Mirror:
    """The copy of one index's vectors.

    Args:
        words: The index's file, open.
        where: ``embedded``, ``off``, or the address of a Chroma server.
        dimension: Of the vectors.
        small: Up to so many vectors nobody asks Chroma.
        idle: Returns once nobody needs the processor.
    """

    def __init__(
        self,
        words: Words,
        where: str,
        dimension: int,
        small: int,
        idle: Callable[[], Awaitable[Any]],
    ) -> None:
        self.state = "off" if where == "off" else "building"
        self._words = words
        self._folder = words.path.parent / FOLDER
        self._url = "" if where in ("embedded", "off") else where
        self._dimension = dimension
        self._small = small
        self._idle = idle
        self._chroma = Chroma(self._folder, self._url, _name(words.path.parent, self._url))
        self._error: Exception | None = None  # of a search, for the background to look at
        self._failures = 0  # in a row
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._asked: set[asyncio.Task[Any]] = set()

    @property
    def worker(self) -> int:
        """Process id of Chroma's worker; 0 while there is none."""
        return self._chroma.pid

    def start(self) -> None:
        """Begin to keep the copy, in the background."""
        if self.state != "off":
            self._wake.set()
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the worker; the copy stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for task in list(self._asked):
            task.cancel()
        if self._asked:
            await asyncio.wait(self._asked)
        await self._chroma.close()

    def changed(self) -> None:
        """There are vectors to copy, or to take out."""
        self._settled.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Returns once the copy is whole, not wanted, or given up."""
        if self._task is not None:
            await self._settled.wait()

    async def renew(self, change: Callable[[], None]) -> None:
        """Stop, run ``change`` in a thread, throw the copy away and begin a new one."""
        running, self._task = self._task, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
        await self._chroma.close()
        await asyncio.to_thread(change)
        await asyncio.to_thread(self._throw_away)
        if running is not None:
            self._failures, self.state = 0, "building"
            self._settled.clear()
            self.start()

    async def drop_gone(self) -> None:
        """Take what was dropped out of the copy now, if Chroma is there; otherwise later."""
        if self.state == "ready" and self._chroma.alive:
            try:
                await self._drop_some()
            except ChromaFailed as error:
                self._error = error
        self.changed()

    # --- asking -----------------------------------------------------------------------------

    async def nearest(
        self, query: npt.NDArray[np.float32], scope: Scope, n: int
    ) -> tuple[list[int], int] | None:
        """Numbers of passages near to ``query``, and the number up to which the copy goes.

        Within the scope's processes and sources; its other bounds are up to the caller.

        Returns:
            None where Chroma has no answer now.
        """
        if self.state != "ready" or not self._chroma.pid:
            return None
        task = asyncio.create_task(self._chroma.query(query, n, _condition(scope)))
        self._asked.add(task)  # a search that is given up leaves the request to its own end
        task.add_done_callback(self._answered)
        await asyncio.wait([task], timeout=limits.CHROMA_QUERY_S)
        if not task.done() or task.cancelled() or task.exception() is not None:
            return None
        found = dict.fromkeys(_number(id) for id, _ in task.result())
        upto = await asyncio.to_thread(self._words.meta, "mirrored")
        return list(found), int(upto or 0)

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._asked.discard(task)
        if task.cancelled():
            return
        if (error := task.exception()) is None:
            self._failures = 0
        elif self.state == "ready":
            self.state = "building"
            self._error = ChromaFailed(str(error))
            self.changed()

    # --- copying ----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.state.startswith("broken") and not self._url:
                self._settled.set()
                continue
            await self._idle()
            error, self._error = self._error, None
            try:
                if error is not None:
                    raise error
                await self._copy()
            except ChromaMissing as error:
                self._give_up(error)
            except ChromaFailed as error:
                await self._failed(error)
            except (StoreError, OSError) as error:
                self._give_up(error)
            else:
                if not self._wake.is_set():
                    self._settled.set()

    async def _copy(self) -> None:
        """Bring the copy up to date."""
        if not self._url and self._words.embedded <= self._small // 2:
            await self._chroma.close()
            self.state = "ready"
            return
        if not self._chroma.alive:
            self.state = "building"
            await self._open()
        if await asyncio.to_thread(self._lag) > self._small:
            self.state = "building"
        while await self._copy_some() or await self._drop_some():
            await self._idle()
        self.state = "ready"

    async def _open(self) -> None:
        """Start the worker and look whether the copy is this index's and sound.

        Raises:
            ChromaFailed: It was neither; what there was is out of the way.
        """
        try:
            mark = await asyncio.to_thread(self._words.meta, "mirror")
            count, marked = await self._chroma.open(mark)
            await self._check(count, marked == mark)
        except ChromaMissing:
            raise
        except ChromaFailed as error:
            if self._url and not isinstance(error, _Unsound):
                raise  # a server that is away has lost nothing
            await self._renewed(error)
            count, _ = await self._chroma.open(await asyncio.to_thread(self._words.meta, "mirror"))

    async def _check(self, count: int, ours: bool) -> None:
        """See that the copy has what it should, and finds it.

        Raises:
            ChromaFailed: It does not.
        """
        expected, gone = await asyncio.to_thread(self._entries)
        # A kernel that was killed may not have noted down its last batch.
        if not ours or not expected - gone <= count <= expected + limits.CHROMA_BATCH:
            raise _Unsound(f"Chroma has {count} entries of {expected}, or another index's.")
        for vector in await asyncio.to_thread(self._samples):
            found = await self._chroma.query(vector, 3)
            if not found or found[0][1] > _NEAR:
                raise _Unsound("Chroma does not find what it should have.")

    async def _renewed(self, error: Exception) -> None:
        """Put the copy aside, and begin a new one."""
        log.warning("Chroma's copy of the index is made anew: %s", error)
        if self._url and self._chroma.alive:
            await self._chroma.drop()
        await self._chroma.close()
        await asyncio.to_thread(self._put_aside)

    async def _failed(self, error: Exception) -> None:
        """After a failure: try again, then with a new copy, then no more."""
        log.warning("%s", error)
        await self._chroma.close()
        self._failures += 1
        if self._url:
            self._give_up(error)
            asyncio.get_running_loop().call_later(limits.CHROMA_RETRY_S, self._wake.set)
        elif self._failures > limits.CHROMA_TRIES:
            self._give_up(error)
        else:
            self.state = "building"
            if self._failures > 1:
                await self._renewed(error)
            self._wake.set()

    def _give_up(self, error: Exception) -> None:
        self.state = f"broken: {error}"
        log.warning("searches go on without Chroma: %s", error)
        self._settled.set()

    async def _copy_some(self) -> bool:
        """Copy one request's worth of vectors; whether there were any."""
        mark, rows = await asyncio.to_thread(self._batch)
        ids: list[str] = []
        vectors: list[npt.NDArray[np.float32]] = []
        metadatas: list[dict[str, Any]] = []
        copied: list[tuple[int, int]] = []
        for n, pid, source, pair in rows:
            pairs = self._pair(pair)
            for id, vector in zip(_ids(n), pairs, strict=False):
                ids.append(id)
                vectors.append(vector)
                metadatas.append({"pid": pid, "source": source})
            copied.append((n, len(pairs)))
        if ids:
            await self._chroma.add(ids, np.stack(vectors), metadatas)
        if copied:
            await asyncio.to_thread(self._note_copied, mark, copied)
        return bool(copied)

    async def _drop_some(self) -> bool:
        """Take some of what was dropped out of the copy; whether there was any."""
        gone = await asyncio.to_thread(self._gone)
        if gone:
            await self._chroma.delete([id for n in gone for id in _ids(n)])
            await asyncio.to_thread(self._note_gone, gone)
        return bool(gone)

    def _pair(self, pair: bytes) -> list[npt.NDArray[np.float32]]:
        """The vectors of a passage: none, one, or two where its context makes a difference."""
        both = np.frombuffer(pair, np.float16).astype(np.float32)
        if len(both) != 2 * self._dimension:
            return []
        text, whole = both.reshape(2, -1)
        return [text] if np.array_equal(text, whole) else [text, whole]

    # --- what is in SQLite about it ---------------------------------------------------------

    def _lag(self) -> int:
        """Vectors that are not copied, counted up to where it matters."""
        with self._words.reading() as db:
            sql = f"SELECT count(*) FROM (SELECT 1 FROM vectors WHERE {UNMIRRORED} LIMIT ?)"
            return int(db.execute(sql, (self._small + 1,)).fetchone()[0])

    def _batch(self) -> tuple[str, list[tuple[int, int, str, bytes]]]:
        """The copy's mark, and the next vectors to copy: n, pid, source, pair."""
        with self._words.reading() as db:
            mark = _get(db, "mirror")
            rows = db.execute(
                "SELECT n, pid, source, pair FROM vectors JOIN passages USING (n)"
                f" WHERE {UNMIRRORED} ORDER BY n LIMIT ?",
                (limits.CHROMA_BATCH // 2,),  # two entries each
            )
            return mark, rows.fetchall()

    def _note_copied(self, mark: str, copied: list[tuple[int, int]]) -> None:
        with self._words.writing() as db:
            if _get(db, "mirror") != mark:
                return  # another copy has begun in the meantime
            _set(db, "mirrored", copied[-1][0])
            _set(db, "mirror_entries", _get(db, "mirror_entries") + sum(e for _, e in copied))
            # What was dropped while it was being copied must go from the copy, too.
            sql = "INSERT INTO gone SELECT ?, ? WHERE ? NOT IN (SELECT n FROM vectors)"
            db.executemany(sql, [(n, entries, n) for n, entries in copied])

    def _gone(self) -> list[int]:
        with self._words.reading() as db:
            rows = db.execute("SELECT n FROM gone LIMIT ?", (limits.CHROMA_BATCH,))
            return [n for (n,) in rows]

    def _note_gone(self, gone: list[int]) -> None:
        with self._words.writing() as db:
            for n in gone:
                sql = "DELETE FROM gone WHERE n = ? RETURNING entries"
                entries = sum(row[0] for row in db.execute(sql, (n,)).fetchall())
                _set(db, "mirror_entries", _get(db, "mirror_entries") - entries)

    def _entries(self) -> tuple[int, int]:
        """Entries the copy should have, and those of them that are to go."""
        with self._words.reading() as db:
            (gone,) = db.execute("SELECT coalesce(sum(entries), 0) FROM gone").fetchone()
            return _get(db, "mirror_entries") or 0, gone

    def _samples(self) -> list[npt.NDArray[np.float32]]:
        """Vectors that the copy must find: the first, one in the middle, the last."""
        with self._words.reading() as db:
            sql = "SELECT pair FROM vectors WHERE n >= ? AND n <= ? AND length(pair) ORDER BY n"
            upto = _get(db, "mirrored") or 0
            rows = [
                db.execute(f"{sql} {way} LIMIT 1", bounds).fetchone()
                for bounds, way in (
                    ((0, upto), "ASC"),
                    ((upto // 2, upto), "ASC"),
                    ((0, upto), "DESC"),
                )
            ]
        return [self._pair(row[0])[0] for row in rows if row and self._pair(row[0])]

    def _put_aside(self) -> None:
        """Rename the folder, one at most, and begin a new copy."""
        with self._words.writing() as db:
            self._words.forget_mirror(db)
        if not self._url and os.path.lexists(self._folder):
            aside = self._folder.with_name(f"{FOLDER}.broken")
            _remove(aside)
            os.replace(self._folder, aside)

    def _throw_away(self) -> None:
        """Delete the folder, and what was put aside."""
        with self._words.writing() as db:
            self._words.forget_mirror(db)
        _remove(self._folder.with_name(f"{FOLDER}.broken"))
        _remove(self._folder)


class _Unsound(ChromaFailed):
    """It opens, and is not what it should be."""


def _get(db: sqlite3.Connection, key: str) -> Any:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def _set(db: sqlite3.Connection, key: str, value: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _ids(n: int) -> tuple[str, str]:
    """The entries of a passage: its text, and its text with its context."""
    return str(n), f"{n}c"


def _number(id: str) -> int:
    return int(id.rstrip("c"))


def _condition(scope: Scope) -> dict[str, Any] | None:
    """The scope's processes and sources, as Chroma writes a condition."""
    parts: list[dict[str, Any]] = []
    if scope.pids is not None:
        parts.append({"pid": {"$in": list(scope.pids)}})
    if scope.sources is not None:
        parts.append({"source": {"$in": list(scope.sources)}})
    return {"$and": parts} if len(parts) > 1 else parts[0] if parts else None


def _name(folder: Path, url: str) -> str:
    """The collection's name. On a server that others use too, one that nobody else has."""
    if not url:
        return "llmos"
    file = folder / "chroma.name"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        kept = file.read_text("ascii").strip()
        if kept.startswith("llmos-") and kept.replace("-", "").isalnum():
            return kept
    name = f"llmos-{uuid.uuid4().hex}"
    paths.atomic_write(file, name)
    return name


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
