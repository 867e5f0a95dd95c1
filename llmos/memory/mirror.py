"""Keeps a copy of the index's vectors in Chroma, and asks it.

The copy can be lost at any moment: it is checked when it is opened, and whenever it is damaged,
of another index, hanging or crashing, it is put aside and made anew from the vectors in SQLite.
In the meantime ``nearest`` says None and whoever asks compares exactly. A small index is compared
exactly anyway: it has no copy and no worker in memory, until it is half as large as that.

What the copy has is kept in ``ledger.py``. Doesn't rank: what Chroma finds are candidates.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos import limits, paths
from llmos.errors import StoreError
from llmos.memory.chroma import Chroma, ChromaFailed, ChromaMissing
from llmos.memory.ledger import Ledger
from llmos.memory.passages import Scope
from llmos.memory.words import Words

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
        self._ledger = Ledger(words, dimension)
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
        return list(found), await asyncio.to_thread(self._ledger.upto)

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
        if await asyncio.to_thread(self._ledger.lag, self._small + 1) > self._small:
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
            mark = await asyncio.to_thread(self._ledger.mark)
            count, marked = await self._chroma.open(mark)
            await self._check(count, marked == mark)
        except ChromaMissing:
            raise
        except ChromaFailed as error:
            if self._url and not isinstance(error, _Unsound):
                raise  # a server that is away has lost nothing
            await self._renewed(error)
            count, _ = await self._chroma.open(await asyncio.to_thread(self._ledger.mark))

    async def _check(self, count: int, ours: bool) -> None:
        """See that the copy has what it should, and finds it.

        Raises:
            ChromaFailed: It does not.
        """
        expected, gone = await asyncio.to_thread(self._ledger.entries)
        # A kernel that was killed may not have noted down its last batch.
        if not ours or not expected - gone <= count <= expected + limits.CHROMA_BATCH:
            raise _Unsound(f"Chroma has {count} entries of {expected}, or another index's.")
        for vector in await asyncio.to_thread(self._ledger.samples):
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
        mark, batch = await asyncio.to_thread(self._ledger.batch)
        entries = [
            (id, vector, {"pid": one.pid, "source": one.source})
            for one in batch
            for id, vector in zip(_ids(one.n), one.vectors, strict=False)
        ]
        if entries:
            ids, vectors, about = zip(*entries, strict=True)
            await self._chroma.add(ids, np.stack(vectors), about)
        if batch:
            await asyncio.to_thread(self._ledger.note_copied, mark, batch)
        return bool(batch)

    async def _drop_some(self) -> bool:
        """Take some of what was dropped out of the copy; whether there was any."""
        gone = await asyncio.to_thread(self._ledger.gone)
        if gone:
            await self._chroma.delete([id for n in gone for id in _ids(n)])
            await asyncio.to_thread(self._ledger.note_gone, gone)
        return bool(gone)

    def _put_aside(self) -> None:
        """Rename the folder, one at most, and begin a new copy."""
        self._ledger.void()
        if not self._url and os.path.lexists(self._folder):
            aside = self._folder.with_name(f"{FOLDER}.broken")
            _remove(aside)
            os.replace(self._folder, aside)

    def _throw_away(self) -> None:
        """Delete the folder, and what was put aside."""
        self._ledger.void()
        _remove(self._folder.with_name(f"{FOLDER}.broken"))
        _remove(self._folder)


class _Unsound(ChromaFailed):
    """It opens, and is not what it should be."""


def _ids(n: int) -> tuple[str, str]:
    """The entries of a passage: its text, and its text with its context."""
    return str(n), f"{n}c"


def _number(id: str) -> int:
    return int(id.rstrip("c"))


def _condition(scope: Scope) -> dict[str, Any] | None:
    """The scope's processes and sources, as Chroma writes a condition."""
    parts: list[dict[str, Any]] = []
    if scope.pids is not None:
        parts.append({"pid": {"$in": [pid for pid in scope.pids if abs(pid) < 1 << 63] or [-1]}})
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
