"""Changes in mounted folders, noticed while llmos runs.

Each folder is watched through the operating system; what changed is read soon after, the whole
folder now and then, since a watch may miss something (network drives tell nothing). Where a folder
can't be watched it is looked at every minute, and the mount says so; one that is away is looked for
as often. Following takes a tenth of the time at most, however fast a file grows.

Knows when to look, nothing of what is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from watchfiles import Change, awatch

from llmos import limits
from llmos.errors import LlmosError, MountError
from llmos.memory.files.ignore import IGNORE_FILES
from llmos.memory.files.mounts import Mounts, State

__all__ = ["Follower", "Watch", "system_watch"]

log = logging.getLogger(__name__)

Changes = set[tuple[Change, str]]
Watch = Callable[[Sequence[str]], AsyncGenerator[Changes, None]]

_WATCHED = "watched"
_EVERY = f"every {limits.FOLLOW_POLL_S:g} s"
#: macOS watches a folder with all below it; Linux each by itself, so that ignored ones cost none.
_RECURSIVE = sys.platform == "darwin"


def system_watch(folders: Sequence[str]) -> AsyncGenerator[Changes, None]:
    """Changes in folders, as the operating system tells them, gathered for a moment."""
    return awatch(
        *folders,
        watch_filter=None,
        debounce=limits.FOLLOW_DEBOUNCE_MS,
        step=limits.FOLLOW_STEP_MS,
        recursive=_RECURSIVE,
        force_polling=False,
        ignore_permission_denied=True,
    )


class Follower:
    """Follows all mounts.

    Args:
        mounts: The mounts.
        watch: Gives changes in folders; the folders are watched from its first step on.
        pause: Sleeps for some seconds.
    """

    def __init__(
        self,
        mounts: Mounts,
        *,
        watch: Watch = system_watch,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._mounts = mounts
        self._watch = watch
        self._pause = pause
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def update(self) -> None:
        """Follow each mount there is now, and no other: after the start, a mount, an umount."""
        numbers = {mount.number for mount in self._mounts.list()}
        for number in self._tasks.keys() - numbers:
            self._tasks.pop(number).cancel()
        for number in numbers - self._tasks.keys():
            self._tasks[number] = asyncio.create_task(
                self._follow(number), name=f"follow mount {number}"
            )

    async def close(self) -> None:
        """Stop. What is being read is left to the next start."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- one mount --------------------------------------------------------------------------

    async def _follow(self, number: int) -> None:
        while True:
            try:
                mount = self._mounts.get(number)
                if mount.state is State.LEAVING:
                    await self._mounts.umount(number)  # it was interrupted
                    return
                await self._sync(number, None)
                if self._mounts.get(number).state is State.GONE:
                    self._mounts.follow(number, f"looked for {_EVERY}")
                else:
                    await self._watched(number, mount.folder)
                    continue
            except MountError as error:
                if all(mount.number != number for mount in self._mounts.list()):
                    return
                log.warning("mount %d: %s", number, error)
            except LlmosError as error:  # the index can't take anything now
                log.warning("mount %d: %s", number, error)
            except _Unwatched as error:
                log.warning("mount %d is not watched: %s", number, error.__cause__ or error)
                self._mounts.follow(number, f"looked at {_EVERY}: {error}")
            except Exception:
                log.exception("mount %d could not be followed", number)
            await self._pause(limits.FOLLOW_POLL_S)

    async def _watched(self, number: int, folder: Path) -> None:
        """Watch a folder until it is away, or has other folders in it than are watched.

        Raises:
            _Unwatched: It can't be watched.
        """
        directories = self._mounts.directories(number)
        if len(directories) > limits.FOLLOW_DIRECTORIES:
            raise _Unwatched("it has too many folders to watch")
        root = os.fsencode(folder)
        below = () if _RECURSIVE else directories
        names = [os.path.join(root, path) for path in below if path]
        watch = self._watch([str(folder), *(n.decode() for n in names if _is_text(n))])
        coming: asyncio.Future[Changes] = asyncio.ensure_future(anext(watch))
        tick: asyncio.Future[None] | None = None
        try:
            await asyncio.sleep(0)  # its first step: from here on changes are kept for us
            if not coming.done():
                await self._sync(number, None)  # what changed before that
            looked = time.monotonic()
            while self._mounts.directories(number) == directories:
                if not coming.done():
                    self._mounts.follow(number, _WATCHED)
                tick = tick or asyncio.ensure_future(self._pause(limits.FOLLOW_POLL_S))
                either: list[asyncio.Future[Any]] = [coming, tick]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    changes = self._taken(coming)
                    coming = asyncio.ensure_future(anext(watch))
                    paths = await asyncio.to_thread(_relative, root, changes)
                    anew = not paths.isdisjoint(directories) or await asyncio.to_thread(
                        _any_folder, root, paths
                    )
                    full = anew or len(paths) > limits.FOLLOW_PATHS
                    await self._sync(number, None if full else paths)
                    if anew:
                        return
                elif time.monotonic() - looked > limits.FOLLOW_FULL_S:
                    await self._sync(number, None)
                    looked = time.monotonic()
                elif not await asyncio.to_thread(folder.is_dir):
                    return
                if tick.done():
                    tick = None
                if self._mounts.get(number).state is not State.READY:
                    return
        finally:
            if tick is not None:
                tick.cancel()
            coming.cancel()
            await asyncio.wait({coming})
            if not coming.cancelled():
                coming.exception()
            with contextlib.suppress(RuntimeError):  # its step was cancelled, so it has ended
                await watch.aclose()

    def _taken(self, coming: asyncio.Future[Changes]) -> Changes:
        """The changes that came.

        Raises:
            _Unwatched: The watch failed.
        """
        try:
            return coming.result()
        except StopAsyncIteration:
            raise _Unwatched("the watch ended") from None
        except (OSError, RuntimeError, ValueError) as error:
            text = str(error).lower()
            full = "limit" in text or "no space" in text or "too many" in text
            said = "the system has no watches left" if full else "the system can't watch it"
            raise _Unwatched(said) from error

    async def _sync(self, number: int, only: Collection[bytes] | None) -> None:
        start = time.monotonic()
        await self._mounts.sync(number, only=only)
        took = time.monotonic() - start
        await self._pause(min(took / limits.FOLLOW_SHARE - took, limits.FOLLOW_POLL_S))


class _Unwatched(Exception):
    """Why a folder is not watched: the end of a sentence."""


def _is_text(name: bytes) -> bool:
    """Whether a watch can be asked for it: it takes text alone."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _relative(root: bytes, changes: Changes) -> set[bytes]:
    """What to look at for these changes, relative to the folder."""
    out = set()
    for _, name in changes:
        path = os.path.relpath(os.fsencode(name), root)
        # A name that is no text comes mangled, and an ignore file tells of all beside it.
        if "\ufffd" in name or os.path.basename(path) in IGNORE_FILES:
            path = os.path.dirname(path)
        out.add(b"" if path == b"." or path.startswith(b"..") else path)
    return out


def _any_folder(root: bytes, paths: Collection[bytes]) -> bool:
    return any(path and os.path.isdir(os.path.join(root, path)) for path in paths)
