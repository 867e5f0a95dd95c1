"""What a change of a file would do: looked up and shown, nothing done.

A ``Change`` holds the file as it is and as it is to be, and a mark of the state it was made from,
by which whoever makes it later knows whether anything happened in the meantime. Paths come from
``Places.find``: whether they may be changed is settled there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from llmos import limits
from llmos.errors import HostError
from llmos.host import diffs
from llmos.host.places import folder_of, kind, not_there, opened, told
from llmos.host.texts import Text, decoded

__all__ = [
    "Change",
    "State",
    "append",
    "copy",
    "delete",
    "edit",
    "look",
    "mark",
    "move",
    "overwrite",
    "seen_now",
    "shown",
    "write",
]

_MODE = 0o666  # of a new file, less what the person's umask takes


@dataclass(frozen=True, slots=True)
class State:
    """What stands at a path.

    Args:
        data: The bytes of a file; None where there is none, or a folder.
        mode: Its permissions.
        identity: Device and inode; empty where nothing is there.
        folder: Whether it is a folder.
    """

    data: bytes | None = None
    mode: int = _MODE
    identity: str = ""
    folder: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hex; empty where there is none."""
        return "" if self.data is None else hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one file, or of one place.

    Args:
        kind: ``write``, ``overwrite``, ``append``, ``edit``, ``copy``, ``move``, ``delete`` or
            ``undo``.
        path: What is changed; of a copy, the new file.
        seen: Identifies the state it was made from.
        shown: A unified diff, or a sentence.
        before: The file as it is; None where there is none.
        after: As it is to be; None where it is taken away.
        mode: The permissions it is to have.
        to: Where it is moved; None where it is not moved.
        identity: Device and inode of what is moved.
        undoes: The number of the change it takes back.
    """

    kind: str
    path: Path
    seen: str
    shown: str
    before: bytes | None = None
    after: bytes | None = None
    mode: int = _MODE
    to: Path | None = None
    identity: str = ""
    undoes: int = 0


def look(path: Path, *, whole: bool = True) -> State:
    """What stands at ``path``.

    Args:
        whole: Whether to read a file; its data is empty bytes where not.

    Raises:
        HostError: It is a link or no ordinary file, too large to be kept, or cannot be read.
    """
    try:
        with folder_of(path) as folder:
            status = kind(folder, path.name)
            if status is None:
                return State()
            identity = f"{status.st_dev}:{status.st_ino}"
            if stat.S_ISDIR(status.st_mode):
                return State(None, status.st_mode & 0o777, identity, True)
            handle, status = opened(folder, path)
            with open(handle, "rb") as file:
                most = limits.GRANTED_FILE_BYTES
                if whole and status.st_size > most:
                    raise HostError(
                        f"{told(str(path))} is larger than {most >> 20} MB: too large to be read, "
                        "and to be kept for undoing.",
                        remedy="Change it with the program it belongs to.",
                    )
                data = file.read(most + 1) if whole else b""
            return State(data[: most + 1], status.st_mode & 0o777, identity)
    except HostError:
        if not os.path.lexists(path.parent):
            return State()  # a folder on the way is not there yet
        raise


def seen_now(change: Change) -> str:
    """The mark of the state that a change meets now."""
    if change.to is None:
        return mark(look(change.path))
    return _move_mark(look(change.path, whole=False), look(change.to, whole=False))


def write(path: Path, text: str) -> Change:
    """A new file that is to hold ``text``. A file that holds anything is left as it is.

    A model that was asked to add a line would otherwise write the line in the place of the rest.
    """
    now = look(path)
    if now.data:
        raise HostError(
            f"There is a file {told(str(path))} already, and nothing was written.",
            remedy="It can be added to (append), changed in places (edit), or overwritten.",
        )
    return _whole("write", path, now, text)


def overwrite(path: Path, text: str) -> Change:
    """A file that is to hold ``text`` in the place of all it holds, written as it was written.

    Encoding and line ends stay; where there is no such file, it is a new one.
    """
    return _whole("overwrite", path, look(path), text)


def append(path: Path, text: str) -> Change:
    """A file at whose end ``text`` is to stand, on lines of its own.

    Where there is no such file, it is a new one.
    """
    now = look(path)
    written = decoded(now.data) if now.data else Text("")
    before = written.text
    if before and not before.endswith("\n"):
        before += "\n"
    added = written.with_text(text).text
    if not added.strip():
        raise HostError("There is nothing to add.", remedy="Say which text.")
    if not added.endswith("\n"):
        added += "\n"
    return _whole("append", path, now, before + added)


def edit(path: Path, old: str, new: str) -> Change:
    """A file in which ``old``, which stands there once, is to be ``new``."""
    now = look(path)
    if now.data is None:
        raise not_there(path, "file")
    _check_writable(path, now)
    text = decoded(now.data)
    if text.crlf:
        old = old.replace("\r\n", "\n")
    count = text.text.count(old) if old else 0
    if count != 1:
        often = f"stands {count} times in" if count else "does not stand in"
        remedy = "Give more of the text around it." if count else "Read the file first."
        raise HostError(f"The text to be replaced {often} {told(str(path))}.", remedy=remedy)
    after = text.with_text(text.text.replace(old, new)).encoded()
    if after == now.data:
        raise HostError(f"That would change nothing in {told(str(path))}.")
    return _content("edit", path, now, after)


def delete(path: Path) -> Change:
    """A file that is to be taken away."""
    now = look(path)
    if now.folder:
        raise HostError(
            f"{told(str(path))} is a folder; only files are taken away.",
            remedy="Name the files in it.",
        )
    if now.data is None:
        raise not_there(path, "file")
    _check_writable(path, now)
    return _content("delete", path, now, None)


def move(path: Path, to: Path) -> Change:
    """A file or folder that is to have another place or name."""
    now = look(path, whole=False)
    if not now.identity:
        raise not_there(path)
    if to.is_relative_to(path):
        raise HostError(f"{told(str(path))} cannot be moved to where it is, or into itself.")
    there = look(to, whole=False)
    if there.identity and there.identity != now.identity:  # else only the case of letters changes
        raise _taken(to)
    return Change(
        "move",
        path,
        seen=_move_mark(now, there),
        shown=f"{told(str(path))} becomes {told(str(to))}",
        to=to,
        mode=now.mode,
        identity=now.identity,
    )


def copy(path: Path, to: Path) -> Change:
    """A file that is to stand at ``to``, too, where nothing is."""
    now = look(path)
    if now.folder:
        raise HostError(
            f"{told(str(path))} is a folder; only files are copied.", remedy="Name the files in it."
        )
    if now.data is None:
        raise not_there(path, "file")
    there = look(to, whole=False)
    if there.identity:
        raise _taken(to)
    line = f"{told(str(to))} becomes a copy of {told(str(path))} ({len(now.data):,} bytes)"
    return Change("copy", to, mark(there), line, after=now.data, mode=now.mode)


def _taken(to: Path) -> HostError:
    return HostError(
        f"There is already something at {told(str(to))}.", remedy="Choose another name."
    )


def shown(before: bytes | None, after: bytes | None, name: str) -> str:
    """What a person is shown of a change: a unified diff, or a sentence where there can be none."""
    try:
        old, new = (None if each is None else decoded(each).text for each in (before, after))
    except HostError:
        was = "nothing" if before is None else f"{len(before):,} bytes"
        becomes = "nothing" if after is None else f"{len(after):,} bytes"
        return f"{name}, which is not text: {was} becomes {becomes}"
    lines = diffs.unified(old, new, name)
    return lines if "@@" in lines else f"{name} is empty" if not (old or new) else lines


def mark(now: State) -> str:
    """Identifies what stands at a path, by its content."""
    return f"file:{now.digest}" if now.data is not None else ("folder" if now.folder else "absent")


def _whole(kind: str, path: Path, now: State, text: str) -> Change:
    """A change after which a file holds ``text`` and nothing else."""
    if now.folder:
        raise HostError(f"{told(str(path))} is a folder, not a file.", remedy="Name a file in it.")
    _check_writable(path, now)
    after = (_text(now) or Text("")).with_text(text).encoded()
    if after == now.data:
        raise HostError(f"{told(str(path))} holds exactly that already.")
    if len(after) > limits.GRANTED_FILE_BYTES:
        raise HostError(
            f"That is longer than {limits.GRANTED_FILE_BYTES >> 20} MB.",
            remedy="Spread it over several files.",
        )
    return _content(kind, path, now, after)


def _content(kind: str, path: Path, now: State, after: bytes | None) -> Change:
    diff = shown(now.data, after, told(str(path)))
    return Change(kind, path, mark(now), diff, before=now.data, after=after, mode=now.mode)


def _text(now: State) -> Text | None:
    if now.data is None:
        return None
    try:
        return decoded(now.data)
    except HostError:
        return None


def _check_writable(path: Path, now: State) -> None:
    if now.data is not None and not now.mode & 0o222:
        raise HostError(
            f"{told(str(path))} is read-only.", remedy="Make it writable first, or copy it."
        )


def _move_mark(now: State, there: State) -> str:
    return f"move:{now.identity}:{there.identity}"
