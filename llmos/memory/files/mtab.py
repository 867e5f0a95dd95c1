"""The table of mounts: what is kept of each, and which folders may come into it.

The file is replaced whole whenever it changes. Knows nothing of what is in the folders.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from llmos import limits, paths
from llmos.errors import MountError
from llmos.memory.files.walk import shown

__all__ = ["Entry", "NewerList", "State", "checked", "identity", "load", "refuse", "save"]

_VERSION = 1
_NO_FOLDERS = tuple(Path(path) for path in ("/proc", "/sys", "/dev"))  # what the kernel makes up


class State(StrEnum):
    """How a mount is."""

    UNREAD = "unread"  # not read to its end yet, or not since it was interrupted
    READING = "reading"
    READY = "ready"
    GONE = "gone"  # the folder is away; what was read of it is kept
    LEAVING = "leaving"  # being umounted


@dataclass(slots=True)
class Entry:
    """A mount in the list; what stands below the line is of this run only."""

    number: int
    folder: str
    device: int  # with the inode, which folder it was when it was last read
    inode: int
    notes: str = ""  # the notes that tell of it
    synced: float = 0.0
    leaving: bool = False
    # ---
    state: State = State.UNREAD
    following: str = ""
    directories: tuple[bytes, ...] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def path(self) -> Path:
        return Path(self.folder)

    @property
    def name(self) -> str:
        """The folder, fit to be read."""
        return shown(os.fsencode(self.folder))


_KEPT = ("number", "folder", "device", "inode", "notes", "synced", "leaving")


class NewerList(MountError):
    """A list of mounts that is sound, of a form that is not known yet."""


def load(file: Path) -> tuple[int, list[Entry]]:
    """The next number, and the mounts, as ``save`` wrote them.

    Raises:
        MountError: It can't be read. It is left as it is.
    """
    try:
        if file.exists() and not file.is_file():
            raise ValueError("it is no file")
        data: dict[str, Any] = json.loads(file.read_text("utf-8"))
        if data["version"] > _VERSION:
            raise NewerList(f"A newer llmos wrote the list of mounts {file}.")
        entries = [Entry(**{name: kept[name] for name in _KEPT}) for kept in data["mounts"]]
        return max([int(data["next"]), *(entry.number + 1 for entry in entries)]), entries
    except FileNotFoundError:
        return 1, []
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MountError(
            f"The list of mounts {file} can't be read ({error}).",
            remedy="Move it away and mount the folders again.",
        ) from error


def save(file: Path, following: int, entries: Iterable[Entry]) -> None:
    """Write the list, whole or not at all.

    Raises:
        MountError: It can't be written.
    """
    kept = [{name: getattr(entry, name) for name in _KEPT} for entry in entries]
    data = {"version": _VERSION, "next": following, "mounts": kept}
    try:
        paths.private_dir(file.parent)
        paths.atomic_write(file, json.dumps(data, indent=1) + "\n")
    except OSError as error:
        raise MountError(
            f"The list of mounts {file} can't be written: {error.strerror or error}."
        ) from error


def checked(folder: Path) -> tuple[Path, os.stat_result]:
    """The folder, resolved, and its status, where it can be mounted for what it is.

    Raises:
        MountError: It can't; the sentence says why.
    """
    name = shown(os.fsencode(folder))
    try:
        path = folder.expanduser().resolve(strict=True)
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise MountError(f"{name} is a file.", remedy="Mount the folder it is in.")
        with os.scandir(path):
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise MountError(f"There is no folder {name}.") from None
    except (OSError, RuntimeError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise MountError(f"{name} can't be read: {said}.") from error
    if path == Path(path.anchor):
        raise MountError("The whole file system can't be mounted.", remedy="Choose a folder in it.")
    if any(path == made or made in path.parents for made in _NO_FOLDERS):
        raise MountError(f"{name} holds no files but the system's own workings.")
    return path, status


def identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode of a mounted folder; None where it is away, or a link stands there now.

    What the link leads to is not what was mounted; it may be what can't be.
    """
    with contextlib.suppress(OSError, RuntimeError):
        status = folder.stat()
        if stat.S_ISDIR(status.st_mode) and folder.resolve(strict=True) == folder:
            return status.st_dev, status.st_ino
    return None


def refuse(
    path: Path, status: os.stat_result, own: Collection[Path], entries: Collection[Entry]
) -> None:
    """Raise where a folder can't be mounted beside what is mounted.

    Args:
        path / status: Of the folder, as ``checked`` gave them.
        own: llmos's own folders.
        entries: What is mounted.

    Raises:
        MountError: The sentence says why.
    """
    if len(entries) >= limits.MOUNTS_MAX:
        raise MountError(
            f"There are {len(entries)} mounts already, the most.", remedy="Umount one."
        )
    name = shown(os.fsencode(path))
    if any(path == ours or ours in path.parents for ours in own):
        raise MountError(f"{name} holds llmos's own files and can't be mounted.")
    for entry in entries:
        there = entry.path
        number = f"mounted already (number {entry.number})"
        if path == there or (status.st_dev, status.st_ino) == identity(there):
            raise MountError(f"{name} is {number}.")
        if there in path.parents:
            raise MountError(f"{name} lies in {entry.name}, which is {number}.")
        if path in there.parents:
            raise MountError(
                f"{name} holds {entry.name}, which is {number}.", remedy="Umount that first."
            )
