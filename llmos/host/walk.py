"""What is in a granted folder, looked through within bounds.

Links, devices, hidden files, secrets and llmos's own folders are passed over. A folder may hold
millions of names: they are read one by one, and the look ends where a bound is reached.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from llmos import limits
from llmos.errors import HostError
from llmos.host.places import Places, folder_of

__all__ = ["Look", "Seen", "seen_in"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Seen:
    """A file or folder. ``folder`` is open only until the next one is asked for."""

    folder: int
    path: Path
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


@dataclass(slots=True)
class Look:
    """How much of a look is left.

    Args:
        entries: Names that may still be looked at.
        until: When it ends, as ``time.monotonic`` has it.
        over: Why it ended before all was seen, a sentence; empty where it did not.
        deep: Whether a folder was not looked into for its depth.
    """

    entries: int = limits.GRANTED_ENTRIES
    until: float = field(default_factory=lambda: time.monotonic() + limits.GRANTED_SECONDS)
    over: str = ""
    deep: bool = False

    @property
    def missing(self) -> str:
        """What was not seen, a sentence; empty where all was."""
        deep = "Folders that lie very deep were not looked into." if self.deep else ""
        return self.over or deep

    def goes_on(self) -> bool:
        """Count one name; whether there is time and room for it."""
        self.entries -= 1
        if self.entries < 0:
            self.over = f"Only {limits.GRANTED_ENTRIES:,} names were looked at."
        elif time.monotonic() > self.until:
            self.over = f"It ended after {limits.GRANTED_SECONDS:g} seconds; the rest is unseen."
        return not self.over


def seen_in(places: Places, path: Path, look: Look, *, below: bool) -> Iterator[Seen]:
    """What is in the folder ``path``, in no order.

    Args:
        places: Tells what is shown.
        path: A folder, as ``Places.find`` gave it.
        look: Counts, and says what is missing.
        below: Whether to look into the folders in it, too.

    Raises:
        HostError: The folder cannot be read.
    """
    with folder_of(path, itself=True) as handle:
        yield from _inside(_Walk(places, look, below, places.own()), handle, path, 0)


@dataclass(frozen=True, slots=True)
class _Walk:
    places: Places
    look: Look
    below: bool
    own: frozenset[tuple[int, int]]


def _inside(walk: _Walk, handle: int, path: Path, depth: int) -> Iterator[Seen]:
    folders: list[str] = []
    try:
        entries = os.scandir(handle)
    except OSError as error:
        raise HostError(f"A folder cannot be read: {error.strerror or error}.") from error
    with entries:
        for entry in entries:
            if not walk.look.goes_on():
                return
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # gone since
            is_folder = stat.S_ISDIR(status.st_mode)
            if not (is_folder or stat.S_ISREG(status.st_mode)):
                continue
            if not walk.places.shown((entry.name,)) or (status.st_dev, status.st_ino) in walk.own:
                continue
            yield Seen(handle, path / entry.name, status)
            if is_folder and walk.below:
                folders.append(entry.name)
    if folders and depth >= limits.GRANTED_DEPTH:
        walk.look.deep = True
        return
    for name in sorted(folders):
        try:
            inner = os.open(name, _FOLDER, dir_fd=handle)
        except OSError:
            continue  # gone, exchanged for a link, or not ours to read
        try:
            yield from _inside(walk, inner, path / name, depth + 1)
        except HostError:
            pass  # one folder that cannot be read hides no other
        finally:
            os.close(inner)
        if walk.look.over:
            return
