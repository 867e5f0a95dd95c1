"""The process in which one archive is unpacked. Started by ``unpack.py``, in a jail.

It gets an archive's bytes, never its name, writes no file, and imports nothing of llmos. What is
in an archive is bounded here, too, so that one that swells is given up early; whoever started this
counts again.

In: a line of JSON with the bounds, ``kind`` (``zip``, ``tar``, ``tar.gz``) and ``bytes``, then so
many bytes. Out: frames, each a line with a word and a length, then so many bytes. First ``names``,
a list in JSON of all regular files in the archive's order. Then a line comes in: the places in
that list of those that are wanted, in JSON; and each of these goes out as frames ``data``, then
one ``end``. Wherever it has to stop it says ``refused``, a reason and a name in JSON.
"""

from __future__ import annotations

import gzip
import io
import json
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__: list[str] = []

CHUNK = 1 << 20
END = b"PK\5\6"  # of a zip: its end record, 22 bytes and a comment
END_BYTES = 22
Setup = dict[str, Any]
#: What the readers make of damage: their own errors, a wrong number, an unknown compression.
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, OSError),
    *(ValueError, NotImplementedError, RuntimeError, OverflowError, MemoryError),
)


class Refused(Exception):
    """Why an archive is not unpacked: a reason, and the name it is about."""

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(reason, name)
        self.reason, self.name = reason, name


def frame(word: str, data: bytes = b"") -> None:
    sys.stdout.buffer.write(b"%s %d\n" % (word.encode(), len(data)) + data)
    sys.stdout.buffer.flush()


def wanted(names: list[str], setup: Setup) -> list[int]:
    """Say which files there are, and hear which of them are to come."""
    # A name that is too long is refused for what is left of it, too.
    said = [name[: setup["path_bytes"] + 1] for name in names]
    frame("names", json.dumps(said).encode())
    places: list[int] = json.loads(sys.stdin.buffer.readline())
    return places


def send(source: Any, setup: Setup) -> None:
    """One file, up to where it is too large."""
    left = setup["file_bytes"] + 1
    while left > 0 and (chunk := source.read(min(CHUNK, left))):
        left -= len(chunk)
        frame("data", chunk)
    frame("end")


def unzip(data: bytes, setup: Setup) -> None:
    short_list(data, setup)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) > 2 * setup["files"]:
            raise Refused("many")
        for entry in entries:
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if "\0" in entry.orig_filename:
                raise Refused("name", entry.orig_filename)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Refused("kind", entry.filename)
            if entry.flag_bits & 1:
                raise Refused("encrypted")
        files = [entry for entry in entries if not entry.is_dir()]
        for place in wanted([entry.filename for entry in files], setup):
            with archive.open(files[place]) as source:
                send(source, setup)


def short_list(data: bytes, setup: Setup) -> None:
    """Refuse a zip whose list of contents would fill the memory before it can be counted."""
    tail = data[max(len(data) - END_BYTES - 65_535, 0) :]
    at = tail.rfind(END)
    if at < 0 or len(tail) - at < END_BYTES:
        raise Refused("damaged")
    length = int.from_bytes(tail[at + 12 : at + 16], "little")
    if length > setup["index_bytes"] or b"PK\6\7" in tail[max(at - 20, 0) : at]:
        raise Refused("index")


class Bounded(io.RawIOBase):
    """What comes out of a decompressor, up to as much as any expert may have."""

    def __init__(self, source: BinaryIO | gzip.GzipFile, setup: Setup) -> None:
        super().__init__()
        self._source = source
        # A tar has a head of 512 bytes a file, or a few, and is filled up to full blocks.
        self._left = setup["all_bytes"] + 8 * 512 * setup["files"]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size if 0 <= size <= CHUNK else CHUNK)
        self._left -= len(data)
        if self._left < 0:
            raise Refused("large")
        return data


def untar(source: Bounded, setup: Setup) -> None:
    """Read a tar from its beginning to its end, without ever going back."""
    # Which files are wanted depends on all names, known in the end only; what is kept till then
    # is bounded above.
    files = list(regular(source, setup))
    for place in wanted([name for name, _ in files], setup):
        send(io.BytesIO(files[place][1]), setup)


def regular(source: Bounded, setup: Setup) -> Iterator[tuple[str, bytes]]:
    count = 0
    with tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK) as archive:
        for entry in archive:
            count += 1
            if count > 2 * setup["files"]:
                raise Refused("many")
            archive.members = []  # type: ignore[attr-defined]  # else all are kept
            if entry.isdir():
                continue
            if not entry.isreg() or entry.issparse():
                raise Refused("kind", entry.name)
            if entry.size > setup["file_bytes"]:
                raise Refused("large file", entry.name)
            content = archive.extractfile(entry)
            if content is None:
                raise Refused("kind", entry.name)
            yield entry.name.removeprefix("./"), content.read()


def main() -> None:
    setup = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read(setup["bytes"])
    file = io.BytesIO(data)
    try:
        if setup["kind"] == "zip":
            unzip(data, setup)
        elif setup["kind"] == "tar":
            untar(Bounded(file, setup), setup)
        else:
            with gzip.GzipFile(fileobj=file) as unpacked:
                untar(Bounded(unpacked, setup), setup)
    except BrokenPipeError:
        return  # nobody listens any more
    except Refused as refused:
        frame("refused", json.dumps([refused.reason, refused.name[: setup["path_bytes"]]]).encode())
    except DAMAGE:
        frame("refused", b'["damaged", ""]')


if __name__ == "__main__":
    main()
