"""The folder of a session: files put there, and files found there afterwards.

Whoever's code runs in the jail writes into this folder, also while it is looked at here. So nothing
in it is opened through a link, nothing but ordinary files is read, and everything is counted. It
bounds what is handed over, not what is on the disk: that is the jail's.
"""

from __future__ import annotations

import contextlib
import mimetypes
import os
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from llmos import limits, paths
from llmos.sdk import ToolError
from llmos.services import Artifact
from llmos.visible import encodable

__all__ = ["Mark", "Workspace", "remove_tree"]

#: What tells that a file is the same as before: inode, size, time of its last change in ns.
Mark = tuple[int, int, int]
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Workspace:
    """One private folder, made anew and gone with ``remove``. All of it blocks: use a thread.

    Args:
        path: Where it is; its parents are made private, too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Create it where it is not there."""
        paths.private_dir(self.path)

    def remove(self) -> None:
        """Delete it with all that is in it."""
        remove_tree(self.path)

    def put(self, name: str, data: bytes) -> None:
        """Write a file, in place of one of that name.

        Raises:
            ToolError: The name is none, the file is too large, or the disk does not take it.
        """
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise ToolError(f"“{name}” is no file name.", "Give a bare name, such as data.csv.")
        if len(data) > limits.PYTHON_PUT_BYTES:
            raise ToolError(
                f"{name} is larger than {limits.PYTHON_PUT_BYTES // 2**20} MB.",
                "Give a smaller file.",
            )
        temporary = f".put-{secrets.token_hex(8)}"
        try:
            with self._opened() as folder:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                try:
                    file = os.open(temporary, flags, 0o600, dir_fd=folder)
                    with os.fdopen(file, "wb") as stream:
                        stream.write(data)
                    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.unlink(temporary, dir_fd=folder)
                    raise
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ToolError(f"{name} cannot be put there: {why}.") from error

    def marks(self) -> dict[str, Mark]:
        """Every file that would be handed over, by its path within the folder."""
        with self._opened() as folder:
            return dict(self._walk(folder))

    def changed(self, before: Mapping[str, Mark]) -> tuple[tuple[Artifact, ...], list[str]]:
        """The files that are new or different since ``before``.

        Returns:
            The files, and a sentence for each that is too large or one too many.
        """
        artifacts: list[Artifact] = []
        said: list[str] = []
        names: set[str] = set()
        left = limits.PYTHON_ARTIFACTS_BYTES
        with self._opened() as folder:
            # In the order in which they were written, as code numbers its charts.
            for path, mark in sorted(self._walk(folder), key=lambda file: (file[1][2], file[0])):
                if before.get(path) == mark:
                    continue
                shown = _bare(path.rpartition("/")[2])
                if len(artifacts) == limits.PYTHON_ARTIFACTS:
                    said.append("There are more files; they stay in the session.")
                    break
                most = min(left, limits.PYTHON_ARTIFACT_BYTES)
                data = _read(folder, path, most)
                if data is None:
                    continue
                if len(data) > most:
                    said.append(f"{shown} is too large to be handed over; it stays in the session.")
                    continue
                left -= len(data)
                name = shown if shown not in names else _bare(path)
                names.add(name)
                media = mimetypes.guess_type(name)[0] or "application/octet-stream"
                artifacts.append(Artifact(name, media, data))
        return tuple(artifacts), said

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        os.chmod(self.path, 0o700)  # the code may have taken its own rights away
        folder = os.open(self.path, _LOOK | os.O_DIRECTORY)
        try:
            yield folder
        finally:
            os.close(folder)

    def _walk(self, folder: int) -> Iterator[tuple[str, Mark]]:
        """Ordinary files, without hidden ones and caches; links are neither followed nor told."""
        looked = 0
        ahead = [""]
        while ahead:
            path = ahead.pop()
            # What changes under the hand, or may not be read, is left.
            with (
                contextlib.suppress(OSError),
                _at(folder, path) as opened,
                os.scandir(opened) as entries,
            ):
                for entry in entries:
                    looked += 1
                    if looked > limits.PYTHON_FILES_LOOKED:
                        return
                    if entry.name.startswith((".", "__pycache__")):
                        continue
                    inner = f"{path}/{entry.name}" if path else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if inner.count("/") < limits.PYTHON_FILES_DEPTH:
                            ahead.append(inner)
                    elif entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        yield inner, (status.st_ino, status.st_size, status.st_mtime_ns)


def remove_tree(path: Path) -> None:
    """Delete a folder that strangers' code wrote into; links in it are not followed."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        # Folders without rights, or deeper than Python follows. These two can do both.
        for command in (("chmod", "-R", "u+rwx"), ("rm", "-rf")):
            subprocess.run(
                [*command, "--", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )


@contextlib.contextmanager
def _at(folder: int, path: str) -> Iterator[int]:
    """What stands at a path, opened part by part, so that no link on the way is followed."""
    opened = os.dup(folder)
    try:
        for part in path.split("/") if path else ():
            inner = os.open(part, _LOOK, dir_fd=opened)
            os.close(opened)
            opened = inner
        yield opened
    finally:
        os.close(opened)


def _read(folder: int, path: str, most: int) -> bytes | None:
    """At most one byte more than ``most`` of an ordinary file; None where it is none any more."""
    try:
        with _at(folder, path) as opened:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                return None
            with os.fdopen(os.dup(opened), "rb") as stream:
                return stream.read(most + 1)
    except OSError:
        return None


def _bare(path: str) -> str:
    """A bare name that may stand in a line, whatever the code called its file."""
    clean = "".join(c if c.isprintable() and c != "/" else "-" for c in encodable(path))
    return clean[-limits.PYTHON_NAME_CHARS :].lstrip(". ") or "file"
