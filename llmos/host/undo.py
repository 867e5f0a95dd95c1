"""The log of changes to files, from which each can be taken back.

A change is written down before it is made, with the file as it was, and again once it is made. Who
is killed in between leaves an entry that is only begun, and the next one to hold the log settles
what happened (``changes.py``). One file lock covers a change from end to end, between processes.

Kept are the newest changes within bounds; the oldest go first, and ``lost`` tells how many did.
Changes made by others than llmos are not known here.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from llmos import limits, paths
from llmos.errors import HostError
from llmos.memory.fields import Fields

__all__ = ["Entry", "Log"]

log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{1,9})\.(done|begun|image)")
_PATH_CHARS = 2 * limits.GRANTED_PATH_CHARS


@dataclass(frozen=True, slots=True)
class Entry:
    """One change.

    Args:
        number: From 1; never used twice.
        at: When, in seconds since the epoch.
        kind: ``write``, ``overwrite``, ``append``, ``edit``, ``copy``, ``move``, ``delete`` or
            ``undo``.
        path: What was changed, absolute; of a copy, the new file.
        to: Where it was moved; empty where it was not moved.
        before: SHA-256 of the file as it was, in hex; empty where there was none.
        after: The same of the file as it is then.
        mode: Its permissions before.
        identity: Device and inode of what was moved.
        made: Folders that were made for it, outermost first.
        temporary: The name, beside ``path``, under which the new file was prepared.
        undoes: The change that this one takes back; 0 for none.
        undone: The change that took this one back; 0 for none.
        group: What was done with it in one go, and is taken back with it, has the same; empty for
            a change by itself.
    """

    number: int
    at: float
    kind: str
    path: str
    to: str = ""
    before: str = ""
    after: str = ""
    mode: int = 0
    identity: str = ""
    made: tuple[str, ...] = ()
    temporary: str = ""
    undoes: int = 0
    undone: int = 0
    group: str = ""


class Log:
    """The log in one folder.

    Args:
        folder: Its own, private; made when the first change is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = threading.RLock()  # the file lock does not hold off our own threads

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else changes anything meanwhile, in whatever process.

        Raises:
            HostError: The log cannot be used; then nothing may be changed.
        """
        with self._thread:
            try:
                paths.private_dir(self._folder)
                handle = os.open(
                    self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
                )
            except OSError as error:
                raise _unusable(error) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)

    # --- writing; only while it is held ---------------------------------------------------------

    def begin(self, entry: Entry, before: bytes | None) -> Entry:
        """Write down what is about to be changed, with the file as it was; number the entry.

        Raises:
            HostError: It cannot be written down; then nothing may be changed.
        """
        entry = replace(entry, number=max(self._numbers(), default=0) + 1)
        try:
            self._sweep()
            self._trim(len(before or b""))
            if before is not None:
                paths.atomic_write(self._file(entry, "image"), before)
            paths.atomic_write(self._file(entry, "begun"), _written(entry))
            self._sync()
        except OSError as error:
            self.drop(entry)
            raise _unusable(error) from error
        return entry

    def done(self, entry: Entry) -> None:
        """What was begun is made."""
        try:
            os.replace(self._file(entry, "begun"), self._file(entry, "done"))
            self._sync()
        except OSError as error:  # the next one to hold the log settles it
            log.warning("change %d is made, but not written down: %s", entry.number, error)

    def drop(self, entry: Entry) -> None:
        """What was begun was not made."""
        for kind in ("begun", "image"):
            with contextlib.suppress(OSError):
                self._file(entry, kind).unlink(missing_ok=True)

    def mark(self, entry: Entry, *, undone: int) -> None:
        """A change was taken back by another."""
        if not self._file(entry, "done").exists():
            return  # it had to make room for that other
        try:
            paths.atomic_write(self._file(entry, "done"), _written(replace(entry, undone=undone)))
        except OSError as error:
            log.warning("change %d is undone, but not written down: %s", entry.number, error)

    # --- reading --------------------------------------------------------------------------------

    def begun(self) -> list[Entry]:
        """Changes that were begun and never ended, oldest first."""
        return self._entries("begun")

    def entries(self) -> list[Entry]:
        """The changes that were made, oldest first."""
        return self._entries("done")

    def image(self, entry: Entry) -> bytes:
        """The file as it was before a change.

        Raises:
            HostError: It is gone.
        """
        try:
            return self._file(entry, "image").read_bytes()
        except OSError as error:
            raise HostError(
                f"What {Path(entry.path).name} was before change {entry.number} is gone."
            ) from error

    def lost(self) -> int:
        """How many of the first changes can't be taken back any more: their room was needed."""
        return min(self._numbers(), default=1) - 1

    def _entries(self, kind: str) -> list[Entry]:
        found = []
        for number in sorted(self._numbers(kind)):
            try:
                raw = (self._folder / f"{number}.{kind}").read_bytes()
                found.append(_read(number, raw))
            except (OSError, ValueError, RecursionError) as error:
                log.warning("change %d cannot be read: %s", number, error)
        return found

    def _numbers(self, kind: str = "") -> set[int]:
        try:
            names = os.listdir(self._folder)
        except OSError:
            return set()
        matches = [match for name in names if (match := _NAME.fullmatch(name))]
        return {int(match[1]) for match in matches if match[2] == kind or not kind}

    def _sweep(self) -> None:
        """Remove what somebody who was killed had half written; nobody else writes now."""
        for name in os.listdir(self._folder):
            if name.startswith("."):
                (self._folder / name).unlink(missing_ok=True)

    def _trim(self, more: int) -> None:
        """Let the oldest go, so that ``more`` bytes have room."""
        sizes: dict[int, int] = {}
        for number in self._numbers():
            sizes[number] = 0
            with contextlib.suppress(OSError):
                sizes[number] = (self._folder / f"{number}.image").stat().st_size
        total = sum(sizes.values()) + more
        for number in sorted(sizes):
            if total <= limits.UNDO_BYTES and len(sizes) < limits.UNDO_CHANGES:
                return
            log.info("change %d can't be undone any more: its room is needed", number)
            total -= sizes.pop(number)
            for kind in ("done", "image"):
                (self._folder / f"{number}.{kind}").unlink(missing_ok=True)

    def _file(self, entry: Entry, kind: str) -> Path:
        return self._folder / f"{entry.number}.{kind}"

    def _sync(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _unusable(error: OSError) -> HostError:
    return HostError(
        f"Nothing was changed: what it was before cannot be kept ({error.strerror or error}).",
        remedy="Free some space."
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        else "Make the state directory yours and writable, or set LLMOS_HOME to another folder.",
    )


def _written(entry: Entry) -> str:
    return json.dumps(asdict(entry))


def _read(number: int, raw: bytes) -> Entry:
    """An entry as it was written.

    Raises:
        ValueError: It was not written here.
    """

    def wrong(sentence: str) -> NoReturn:
        raise ValueError(sentence)

    data: Any = json.loads(raw[: limits.UNDO_ENTRY_BYTES])
    if not isinstance(data, dict):
        wrong("it is no object")
    said = Fields(data, wrong)
    made = data.get("made")
    if not isinstance(made, list) or not all(isinstance(each, str) for each in made):
        wrong("“made” is no list of paths")
    if not (path := said.text("path", _PATH_CHARS)).startswith("/"):
        wrong("“path” is no absolute path")
    return Entry(
        number=number,
        at=said.moment("at"),
        kind=said.text("kind", 20),
        path=path,
        to=said.text("to", _PATH_CHARS),
        before=said.text("before", 64),
        after=said.text("after", 64),
        mode=said.integer("mode"),
        identity=said.text("identity", 80),
        made=tuple(made),
        temporary=said.text("temporary", 255),
        undoes=said.integer("undoes"),
        undone=said.integer("undone"),
        group=said.text("group", limits.UNDO_GROUP_CHARS) if "group" in data else "",
    )
