"""Files of an expert out of a folder or an archive, read with suspicion.

What comes may have been made to do harm: names that lead elsewhere or read as something else,
links, devices, sparse and compressed bombs, lists without end. Whatever is not plainly a regular
file with a plain name (``incoming.py``) ends the whole with one sentence; nothing is written
outside the folder it is given, and that one is the caller's to throw away. Archives inside are
never opened. It knows nothing of what the files mean.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from llmos import limits
from llmos.errors import ExpertError
from llmos.experts.expertfile import FILE
from llmos.experts.incoming import LEFT_OUT, Incoming, shown

__all__ = ["gather"]

_CHUNK = 1 << 20
_END = b"PK\5\6"  # of a zip: its end record, 22 bytes and a comment
_END_BYTES = 22


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
        head = file.read(512)
        file.seek(0)
        try:
            if head.startswith(b"PK"):
                _zip(file, status.st_size, files)
            elif head.startswith(b"\x1f\x8b"):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    _tar(_Bounded(unpacked), files)
            elif head[257:262] == b"ustar":
                _tar(_Bounded(file), files)
            else:
                raise ExpertError(
                    f"{shown(source.name)} is no zip and no tar file.",
                    remedy="An expert comes as a folder, a .zip or a .tar.gz.",
                )
        except (
            *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile),
            # What the readers make of damage besides: a wrong number, an unknown compression.
            *(ValueError, NotImplementedError, RuntimeError, OverflowError),
        ) as error:
            raise ExpertError(f"{shown(source.name)} is damaged.") from error


def _zip(file: BinaryIO, size: int, files: Incoming) -> None:
    _short_list(file, size)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > 2 * limits.EXPERT_FILES:
            raise ExpertError(f"It has more than {limits.EXPERT_FILES:,} files.")
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if "\0" in entry.orig_filename:
                raise ExpertError(f"It holds {shown(entry.orig_filename)}, no plain name.")
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ExpertError(f"It holds {shown(entry.filename)}, which is no regular file.")
            if entry.flag_bits & 1:
                raise ExpertError("It is encrypted with a password.")
        files_in = [entry for entry in entries if not entry.is_dir()]
        skip = _top([entry.filename for entry in files_in])
        for entry in files_in:
            name = entry.filename
            if files.wants(_below(name, skip)):
                with archive.open(entry) as source:
                    files.write(_below(name, skip), source)  # type: ignore[arg-type]


def _short_list(file: BinaryIO, size: int) -> None:
    """Refuse a zip whose list of contents would fill the memory before it can be counted."""
    file.seek(max(size - _END_BYTES - 65_535, 0))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise zipfile.BadZipFile("no end record")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if length > limits.EXPERT_INDEX_BYTES or b"PK\6\7" in tail[max(at - 20, 0) : at]:
        raise ExpertError("Its list of contents is too long.")
    file.seek(0)


class _Bounded(io.RawIOBase):
    """What comes out of a decompressor, up to as much as any expert may have."""

    def __init__(self, source: BinaryIO | gzip.GzipFile) -> None:
        super().__init__()
        self._source = source
        # A tar has a head of 512 bytes a file, or a few, and is filled up to full blocks.
        self._left = limits.EXPERT_BYTES + 8 * 512 * limits.EXPERT_FILES

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size if 0 <= size <= _CHUNK else _CHUNK)
        self._left -= len(data)
        if self._left < 0:
            raise ExpertError(f"Its files are larger than {limits.EXPERT_BYTES >> 20} MB.")
        return data


def _tar(source: _Bounded, files: Incoming) -> None:
    """Read a tar from its beginning to its end, without ever going back."""
    names: list[str] = []
    with tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK) as archive:
        staged: list[tuple[str, bytes]] = []
        count = 0
        for entry in archive:
            count += 1
            if count > 2 * limits.EXPERT_FILES:
                raise ExpertError(f"It has more than {limits.EXPERT_FILES:,} files.")
            archive.members = []  # type: ignore[attr-defined]  # else all are kept
            if entry.isdir():
                continue
            if not entry.isreg() or entry.issparse():
                raise ExpertError(f"It holds {shown(entry.name)}, which is no regular file.")
            if entry.size > limits.EXPERT_FILE_BYTES:
                most = limits.EXPERT_FILE_BYTES >> 20
                raise ExpertError(f"{shown(entry.name)} in it is larger than {most} MB.")
            content = archive.extractfile(entry)
            if content is None:
                raise ExpertError(f"It holds {shown(entry.name)}, which is no regular file.")
            name = entry.name.removeprefix("./")
            names.append(name)
            staged.append((name, content.read()))
    # Where plugin.toml stands is known in the end only; what is kept till then is bounded above.
    skip = _top(names)
    for name, data in staged:
        if files.wants(_below(name, skip)):
            files.write(_below(name, skip), io.BytesIO(data))


def _top(names: list[str]) -> str:
    """The one folder that holds everything, where an archive has one and it holds the manifest."""
    if FILE in names:
        return ""
    tops = {name.partition("/")[0] for name in names} - LEFT_OUT
    if len(tops) == 1 and f"{(top := tops.pop())}/{FILE}" in names:
        return f"{top}/"
    raise ExpertError(f"There is no {FILE} in it; so this is no expert.")


def _below(name: str, top: str) -> str:
    if top and not name.startswith(top):  # what is left out anyway, such as __MACOSX
        return name
    return name[len(top) :]
