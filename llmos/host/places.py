"""From what somebody calls a file to an open folder and a name in it, inside what was granted.

A path is first compared as text with the granted folders. Then the file system is gone down one
name at a time, from the top, each opened without following links (``O_NOFOLLOW``) relative to the
one before: whoever exchanges a folder for a link in the meantime gains nothing, and ``..`` never
reaches the file system. Our own folders are recognised by device and inode on the way.

A second name of a file from elsewhere (a hard link) cannot be told from the first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from llmos import limits, paths
from llmos.errors import HostError
from llmos.host import guarded
from llmos.visible import visible

__all__ = ["Grant", "Places", "check_regular", "folder_of", "kind", "not_there", "opened", "told"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: A folder on the way need only be passed through, not read, where the system tells these apart.
_WAY = _FOLDER | getattr(os, "O_PATH", 0)
_NAME_BYTES = 255  # of a file's name; every file system in use allows as many
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Grant:
    """A folder, or a single file, that a person granted.

    Args:
        path: Absolute, without links: as ``of`` makes it at the moment it is granted.
        write: Whether it may be changed, too.
    """

    path: Path
    write: bool = False

    @classmethod
    def of(cls, path: str | Path, *, write: bool = False) -> Grant:
        """What a person grants now; links in its path are resolved once, here.

        Raises:
            HostError: There is nothing, all of the machine was meant, or what is no file.
        """
        try:
            found = Path(path).expanduser().resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise HostError(
                f"There is no folder {told(str(path))}.",
                remedy="Make it, or name one that is there.",
            ) from error
        if found == Path(found.anchor):
            raise HostError(
                "The whole machine cannot be granted.", remedy="Name the folders that are needed."
            )
        if guarded.not_files(found):
            raise HostError(
                f"{told(str(found))} holds no files: there the system shows its processes.",
                remedy="Name a folder of files.",
            )
        return cls(found, write)


class Places:
    """What was granted, and what of it a path means.

    Args:
        roots: Gives what is granted at this moment.
        never: What is refused whatever was granted; our own folders where not given.
    """

    def __init__(
        self, roots: Callable[[], Sequence[Grant]], never: Sequence[Path] | None = None
    ) -> None:
        self._roots = roots
        self._never = paths.own_places() if never is None else tuple(never)

    def roots(self) -> tuple[Path, ...]:
        """The granted folders and files."""
        return tuple(grant.path for grant in self._roots())

    def find(self, text: str, *, write: bool = False) -> Path:
        """The file or folder that ``text`` means; it need not exist.

        Args:
            text: Absolute, from ``~``, or from a granted folder on.
            write: Whether it is to be changed.

        Raises:
            HostError: It lies outside what was granted, or is never touched.
        """
        grants = self._roots()
        if not grants:
            raise HostError(
                "No folder is granted.",
                remedy="Grant one with: llmos grants folder ~/Documents (or F5 in the chat).",
            )
        _check_text(text)
        path = self._meant(text, grants, write)
        within = [grant for grant in grants if path.is_relative_to(grant.path)]
        if not within:
            names = ", ".join(told(str(grant.path)) for grant in grants)
            raise HostError(
                f"{told(text)} is outside the granted folders.",
                remedy=f"Granted: {names}. Allow another: {_grant_of(path)} (or F5 in the chat).",
            )
        nearest = max(within, key=lambda grant: len(grant.path.parts))
        if why := guarded.why_not(path.relative_to(nearest.path).parts):
            raise HostError(
                f"{told(text)} is left alone: {why}.",
                remedy=f"Such a folder is granted by its own path: {_grant_of(path)}",
            )
        if write and not any(grant.write for grant in within):
            raise HostError(
                f"{told(text)} may be read, not changed.",
                remedy=f"Allow changes with: {_grant_of(nearest.path)} --write",
            )
        if write and any(path == grant.path and path.is_dir() for grant in grants):
            raise HostError(f"{told(text)} is a granted folder itself; only what is in it changes.")
        self._check_own(path)
        return path

    def shown(self, parts: Sequence[str]) -> bool:
        """Whether what these names lead to, from a granted folder on, is listed."""
        return not guarded.why_not(parts) and all(part.isprintable() for part in parts)

    def own(self) -> frozenset[tuple[int, int]]:
        """Device and inode of what is never touched, as far as it is there."""
        found = set()
        for path in self._never:
            with contextlib.suppress(OSError):
                status = path.stat()
                found.add((status.st_dev, status.st_ino))
        return frozenset(found)

    def _check_own(self, path: Path) -> None:
        own = self.own()
        for each in (path, *path.parents):
            with contextlib.suppress(OSError):
                status = each.lstat()
                if (status.st_dev, status.st_ino) in own:
                    raise HostError(f"{told(str(path))} belongs to llmos itself and is left alone.")

    def _meant(self, text: str, grants: Sequence[Grant], write: bool) -> Path:
        written = Path(os.path.normpath(os.path.expanduser(text or ".")))
        if written.is_absolute():
            if any(written.is_relative_to(grant.path) for grant in grants):
                return written
            # A path that reaches a granted folder through a link above it, as macOS has them. What
            # comes out is gone down without links like any other.
            real = Path(os.path.realpath(written.parent)) / written.name
            for each in (real, Path(os.path.realpath(written))):
                if any(each.is_relative_to(grant.path) for grant in grants):
                    return each
            return written
        if ".." in written.parts:
            raise HostError(
                f"{told(text)} leads out of the granted folders.",
                remedy="Name it by its whole path.",
            )
        places = []
        for grant in grants:
            if written.parts and written.parts[0].casefold() == grant.path.name.casefold():
                places.append(grant.path.joinpath(*written.parts[1:]))
            places.append(grant.path / written)
        there = [place for place in places if os.path.lexists(place)]
        if not there and not write:  # "downloads": what is there already may be spelt like that
            there = [found for grant in grants if (found := _spelt(grant.path, written.parts))]
        near = [place for place in places if place.parent.is_dir()]
        return (there or near or places)[0]


def _spelt(folder: Path, parts: Sequence[str]) -> Path | None:
    """What is there under names that differ only in the case of their letters, if it is one."""
    for part in parts:
        if not os.path.lexists(folder / part):
            try:
                with os.scandir(folder) as entries:
                    names = [entry.name for entry in islice(entries, limits.GRANTED_LISTED)]
            except OSError:
                return None
            same = [name for name in names if name.casefold() == part.casefold()]
            if len(same) != 1:
                return None
            part = same[0]
        folder = folder / part
    return folder


def _check_text(text: str) -> None:
    if len(text) > limits.GRANTED_PATH_CHARS:
        raise HostError("That path is too long.", remedy="Name it from a granted folder on.")
    if any(unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp") for mark in text):
        raise HostError(
            f"{told(text)} holds a line break or another mark that no path should hold.",
            remedy="Such files are left alone.",
        )
    for name in text.split("/"):
        if len(os.fsencode(name)) > _NAME_BYTES:
            raise HostError(f"The name {told(name)} is too long.", remedy="Take a shorter one.")


def _grant_of(path: Path) -> str:
    """The command that grants a folder, or the one that a file lies in; never the whole disk."""
    place = path if path.is_dir() else path.parent
    if place.parent == place:
        return "llmos grants folder ~/Documents"
    folder = told(str(place))
    start, _, rest = folder.partition("/")
    if start == "~":  # a shell expands it only outside of quotes
        return f"llmos grants folder ~/{shlex.quote(rest) if rest else ''}"
    return f"llmos grants folder {shlex.quote(folder)}"


def told(text: str) -> str:
    """A path as it may stand in a sentence: short, and without marks a terminal acts on."""
    home = os.path.expanduser("~")
    if text == home or text.startswith(home.rstrip("/") + "/"):
        text = "~" + text[len(home.rstrip("/")) :]
    plain = visible(text).replace("\n", "␊").replace("\t", "␉")
    return plain if len(plain) <= 300 else f"{plain[:140]}…{plain[-140:]}"


# --- going down -----------------------------------------------------------------------------------


@contextlib.contextmanager
def folder_of(path: Path, *, itself: bool = False) -> Iterator[int]:
    """A descriptor of the folder ``path`` lies in, or of the folder that it is.

    Raises:
        HostError: It is not there, cannot be read, or a link is in the way.
    """
    parts = path.parts[1:] if itself else path.parts[1:-1]
    handle = os.open(path.anchor, _WAY)
    try:
        for count, part in enumerate(parts, 1):
            last = count == len(parts)
            try:
                below = os.open(part, _FOLDER if last else _WAY, dir_fd=handle)
            except OSError as error:
                raise _refused(Path(path.anchor).joinpath(*parts[:count]), error) from error
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def kind(folder: int, name: str) -> os.stat_result | None:
    """What a name in a folder is, without following it; None where nothing is there."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def opened(folder: int, path: Path) -> tuple[int, os.stat_result]:
    """Open the regular file ``path`` of a folder for reading; the caller closes it.

    Raises:
        HostError: It is no regular file, or cannot be read.
    """
    try:
        before = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        check_regular(path, before)  # to open a device may be to act on it
        handle = os.open(path.name, _FILE, dir_fd=folder)
    except OSError as error:
        raise _refused(path, error) from error
    status = os.fstat(handle)
    try:
        check_regular(path, status)
    except HostError:
        os.close(handle)
        raise
    return handle, status


def check_regular(path: Path, status: os.stat_result) -> None:
    """Check that ``path`` is an ordinary file.

    Raises:
        HostError: What it is instead.
    """
    if stat.S_ISDIR(status.st_mode):
        raise HostError(f"{told(str(path))} is a folder, not a file.", remedy="Name a file in it.")
    if stat.S_ISLNK(status.st_mode):
        raise _link(path)
    if not stat.S_ISREG(status.st_mode):
        raise HostError(f"{told(str(path))} is no ordinary file.")


def not_there(path: Path, what: str = "") -> HostError:
    """What is told where a ``what``, such as ``file``, was looked for in vain."""
    name = f"{what} {told(str(path))}".strip()
    return HostError(f"There is no {name}.", remedy="Ask which files there are.")


def _link(path: Path) -> HostError:
    sentence = f"{told(str(path))} is a link, and links are not followed."
    return HostError(sentence, remedy="Name what it leads to.")


def _refused(path: Path, error: OSError) -> HostError:
    name = told(str(path))
    match error.errno:
        case errno.ENOENT:
            return not_there(path)
        case errno.ENOTDIR if not path.is_symlink():
            return HostError(f"{name} is no folder.", remedy="Name the folder it is in.")
        case errno.ELOOP | errno.EMLINK | errno.ENOTDIR:
            return _link(path)
        case errno.EACCES | errno.EPERM:
            return HostError(
                f"{name} may not be read by this user.", remedy="Its permissions say who may."
            )
    return HostError(f"{name} cannot be read: {error.strerror or error}.")
