"""Files of an expert out of a folder or an archive, read with suspicion.

What comes may have been made to do harm: names that lead elsewhere or read as something else,
links, devices, sparse and compressed bombs, lists without end. Whatever is not plainly a regular
file with a plain name (``incoming.py``) ends the whole with one sentence; nothing is written
outside the folder it is given, and that one is the caller's to throw away. Archives are unpacked
in a jail (``unpack.py``), archives inside never. It knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from llmos import limits
from llmos.errors import ExpertError
from llmos.experts.incoming import LEFT_OUT, Incoming, shown
from llmos.experts.unpack import Kind, unpack
from llmos.sandbox.blocking import completed

__all__ = ["gather"]


def gather(source: Path, into: Path) -> None:
    """Copy the files of an expert into an empty folder; ``plugin.toml`` comes to its top.

    Args:
        source: A folder, a zip file or a tar file, compressed with gzip or not.
        into: There already, empty, and private.

    Raises:
        ExpertError: Why not; what was copied so far is still there.
    """
    try:
        if source.is_dir():
            files = Incoming(into)
            _folder(source, files)
        else:
            files = Incoming(into)
            _archive(source, files)
    except FileNotFoundError:
        raise ExpertError(f"There is no {shown(str(source))}.") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ExpertError(
                "There is no room on the disk for another expert.", remedy="Free some space."
            ) from error
        raise ExpertError(
            f"{shown(source.name)} can't be read: {error.strerror or error}."
        ) from error


# --- a folder -----------------------------------------------------------------------------------


def _folder(source: Path, files: Incoming) -> None:
    for name, path in _walk(source, ""):
        if not files.wants(name):
            continue
        # Not blocking, for a pipe may stand here by now.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ExpertError(f"{shown(name)} is no regular file.")
            files.write(name, file)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    if prefix.count("/") > limits.EXPERT_DEPTH:
        raise ExpertError(f"The path {shown(prefix)} in it is too long.")
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.name in LEFT_OUT:
            continue
        if entry.is_symlink():
            raise ExpertError(f"{shown(name)} is a link.", remedy="Put the file itself there.")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/")
        elif entry.is_file(follow_symlinks=False):
            yield name, Path(entry.path)
        else:
            raise ExpertError(f"{shown(name)} is no regular file.")


# --- archives -----------------------------------------------------------------------------------


def _archive(source: Path, files: Incoming) -> None:
    with open(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ExpertError(f"{shown(source.name)} is neither a folder nor a file.")
        if status.st_size > limits.EXPERT_ARCHIVE_BYTES:
            raise ExpertError(f"It is larger than {limits.EXPERT_ARCHIVE_BYTES >> 20} MB.")
        kind = _kind(file.read(512))
        if kind is None:
            raise ExpertError(
                f"{shown(source.name)} is no zip and no tar file.",
                remedy="An expert comes as a folder, a .zip or a .tar.gz.",
            )
        file.seek(0)
        completed(lambda: unpack(file, status.st_size, kind, source.name, files))


def _kind(head: bytes) -> Kind | None:
    """What a file is by its first bytes; they alone are looked at outside the jail."""
    if head.startswith(b"PK"):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "tar.gz"
    return "tar" if head[257:262] == b"ustar" else None
