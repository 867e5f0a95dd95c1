"""Which files of a folder count.

Left out without a word: what ignore files name, what is hidden, caches and environments of tools,
llmos's own files. Told with a reason: what can't be looked at, special files, links that lead out
or to nothing. A link is never followed: what it leads to counts in its own place, once, if it does.
Names are bytes, as the system has them; ``shown`` makes one fit to be read.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import stat
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos import limits
from llmos.errors import FileNotRead
from llmos.memory.files.ignore import Rules

__all__ = ["Found", "Stamp", "Unread", "Walk", "open_inside", "shown", "why"]

#: Folders that tools fill; hidden ones need no mention.
_TOOLS = frozenset({b"node_modules", b"bower_components", b"__pycache__", b"__pypackages__"})
#: Files that mark a folder as a cache (bford.info/cachedir) or a Python environment.
_TAGS = frozenset({b"CACHEDIR.TAG", b"pyvenv.cfg"})
_FAR = (1 << 63) - 1  # nanoseconds; what SQLite can count to
_ALWAYS_HIDDEN = frozenset({b".git", b".hg", b".svn"})


@dataclass(frozen=True, slots=True)
class Stamp:
    """What shows that a file changed, without reading it."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        inode = status.st_ino & ((1 << 63) - 1)  # SQLite's integers have a sign
        # A time beyond what SQLite counts in is a time like any other.
        moment = max(-_FAR, min(status.st_mtime_ns, _FAR))
        return cls(status.st_size, moment, inode)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that counts; ``path`` is relative to the folder."""

    path: bytes
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that is not read, and why.

    Args:
        path: Relative to the folder.
        reason: A sentence.
        blind: Whatever lies below it is not known now: it need not be gone.
    """

    path: bytes
    reason: str
    blind: bool = False


def shown(path: bytes) -> str:
    """A name fit to be read: text, on one line."""
    text = path.decode("utf-8", "replace")
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in text)


def why(error: OSError) -> str:
    """The sentence for something that can't be read."""
    return f"It can't be read: {error.strerror or error}."


def _slashes(path: bytes) -> list[int]:
    return [at for at, byte in enumerate(path) if byte == 0x2F]


class Walk:
    """One look at a folder, in the order of names: iterate over it.

    Args:
        folder: Resolved, without a link in its path.
        exclude: Folders to leave out, resolved too.
        only: Look only at these and what is below them; relative to the folder.

    Attributes:
        directories: The folders looked at, relative to the folder; complete in the end.
        unsure: In a look at a part, there was a file that may count in another place.
    """

    def __init__(
        self,
        folder: Path,
        *,
        exclude: Collection[Path] = (),
        only: Collection[bytes] | None = None,
    ) -> None:
        self.directories: list[bytes] = []
        self.unsure = False
        self._folder = folder
        self._root = os.fsencode(folder)
        self._exclude = {os.fsencode(path) for path in exclude}
        self._only = None if only is None or b"" in only else frozenset(only)
        # The folders on the way to these.
        self._towards = {path[:at] for path in only or () for at in _slashes(path)}
        self._links: list[bytes] = []
        self._seen: set[tuple[int, int]] = set()  # device and inode of each file that counts
        self._entries = 0
        self._full = False

    def __iter__(self) -> Iterator[Found | Unread]:
        """What there is.

        Raises:
            OSError: The folder itself can't be looked at.
        """
        yield from self._look(b"", Rules.above(self._folder), 0)
        for link in self._links:
            if reason := self._of_link(link):
                yield Unread(link, reason)

    def _look(self, path: bytes, rules: Rules, depth: int) -> Iterator[Found | Unread]:
        full = os.path.join(self._root, path) if path else self._root
        try:
            with os.scandir(full) as listing:
                left = limits.MOUNT_ENTRIES - self._entries
                entries = sorted(itertools.islice(listing, left), key=lambda entry: entry.name)
        except OSError as error:
            if not path:
                raise
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):  # else it went while we looked
                yield Unread(path, why(error), blind=True)
            return
        self._entries += len(entries)
        names = {entry.name for entry in entries}
        if path and names & _TAGS:
            return
        self.directories.append(path)
        rules = rules.inside(full, names)
        for entry in entries:
            below = os.path.join(path, entry.name)
            try:
                if not self._counts(entry, below, rules):
                    continue
                if entry.is_symlink():
                    self._links.append(below)
                elif not entry.is_dir(follow_symlinks=False):
                    yield from self._file(below, entry.stat(follow_symlinks=False))
                elif depth < limits.MOUNT_DEPTH:
                    yield from self._look(below, rules, depth + 1)
                else:
                    yield Unread(below, "It lies too deep.", blind=True)
            except FileNotFoundError:
                continue  # it went while we looked
            except OSError as error:
                yield Unread(below, why(error), blind=True)
        if self._entries >= limits.MOUNT_ENTRIES and not self._full:
            self._full = True
            sentence = f"Only {self._entries:,} names were looked at: there are too many."
            yield Unread(b"", sentence, blind=True)

    def _counts(self, entry: os.DirEntry[bytes], path: bytes, rules: Rules) -> bool:
        if not self._wanted(path):
            return False
        folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _ALWAYS_HIDDEN or (folder and self._join(path) in self._exclude):
            return False
        ignored, by_us = rules.ignores(self._join(path), folder=folder)
        if ignored is False and by_us:
            return True  # brought back by name, hidden or not
        hidden = entry.name.startswith(b".") or (folder and entry.name in _TOOLS)
        return not ignored and not hidden

    def _wanted(self, path: bytes) -> bool:
        if self._only is None or path in self._towards:
            return True
        parts = path.split(b"/")
        return any(b"/".join(parts[:n]) in self._only for n in range(1, len(parts) + 1))

    def _file(self, path: bytes, status: os.stat_result) -> Iterator[Found | Unread]:
        if not stat.S_ISREG(status.st_mode):
            yield Unread(path, "It is no file but a pipe, socket or device.")
            return
        identity = status.st_dev, status.st_ino
        if status.st_nlink > 1:
            self.unsure = self._only is not None
            if identity in self._seen:
                return
        self._seen.add(identity)
        yield Found(path, Stamp.of(status))

    def _of_link(self, path: bytes) -> str:
        """Why what a link leads to is not read; empty where it is, or is a folder."""
        full = self._join(path)
        try:
            status = os.stat(full)
        except FileNotFoundError:
            return "It is a link to nothing."
        except OSError as error:
            loops = error.errno == errno.ELOOP
            return "It is a link that leads to itself." if loops else why(error)
        real = os.path.realpath(full)
        if real != self._root and not real.startswith(os.path.join(self._root, b"")):
            return "It is a link out of the folder."
        if self._only is not None or not stat.S_ISREG(status.st_mode):
            return ""
        counts = (status.st_dev, status.st_ino) in self._seen
        return "" if counts else "It is a link to a file that is left out."

    def _join(self, path: bytes) -> bytes:
        return os.path.join(self._root, path)


def open_inside(folder: Path, path: bytes) -> io.FileIO:
    """Open a file of a folder to read it, whatever has become of its name since it was seen.

    No link is followed on the way, and nothing but a regular file is read.

    Raises:
        FileNotRead: It is no regular file, or lies behind a link now.
        OSError: It can't be opened.
    """
    *folders, name = path.split(b"/")
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for part in folders:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, flags, dir_fd=here)
            os.close(here)
            here = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=here)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise FileNotRead("It is no file any more.") from error
        raise
    finally:
        os.close(here)
    file = io.FileIO(fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        file.close()
        raise FileNotRead("It is no file any more.")
    return file
