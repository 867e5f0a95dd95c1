"""Files from outside, written into a private folder: which names they may have, and how much.

A name has to be plain: it leads nowhere else, hides nothing from a person who reads it, and is no
other file's name on a system that does not tell ``A`` from ``a``. Whoever brings the files sees to
it that they are regular ones.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import BinaryIO

from llmos import limits, paths
from llmos.errors import ExpertError
from llmos.visible import visible

__all__ = ["LEFT_OUT", "Incoming", "shown"]

_CHUNK = 1 << 20
#: Made anew by whoever runs or keeps the files; no part of an expert.
LEFT_OUT = frozenset({".git", "__pycache__", ".DS_Store", "__MACOSX"})
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".jar", ".whl")


def shown(name: str) -> str:
    """A name from outside, for a sentence: on one line, and nothing a terminal would act on."""
    line = visible(name.replace("\n", "␊").replace("\t", "␉"))
    return f"“{line if len(line) <= 80 else f'{line[:79]}…'}”"


class Incoming:
    """What was written so far, and whether one more may be."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._total = 0
        self._count = 0
        self._known: dict[str, str] = {}  # every file and folder, as any system tells them apart
        self._names: set[str] = set()  # of files

    def wants(self, name: str) -> bool:
        """Whether a file of that name is copied at all.

        Raises:
            ExpertError: No file may have that name.
        """
        self._count += 1
        if self._count > limits.EXPERT_FILES:
            raise ExpertError(f"It has more than {limits.EXPERT_FILES:,} files.")
        if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
            raise ExpertError(f"It holds a file {shown(name)}, whose path leads elsewhere.")
        parts = name.split("/")
        if ".." in parts:
            raise ExpertError(f"It holds a file {shown(name)}, whose path leads elsewhere.")
        if len(parts) > limits.EXPERT_DEPTH or len(name.encode("utf-8", "replace")) > (
            limits.EXPERT_PATH_BYTES
        ):
            raise ExpertError(f"The path {shown(name)} in it is too long.")
        for part in parts:
            if (
                visible(part) != part
                or not part.isprintable()
                or part in ("", ".")
                or part != part.strip(" ")
                or part.endswith(".")
                or part.startswith("-")
                or unicodedata.normalize("NFC", part) != part
            ):
                raise ExpertError(f"It holds a file {shown(name)}, whose name is not a plain one.")
        if not LEFT_OUT.isdisjoint(parts) or name.endswith(".pyc"):
            return False
        if name.lower().endswith(_ARCHIVES):
            raise ExpertError(
                f"It holds another archive, {shown(name)}.", remedy="Unpack it first."
            )
        self._claim(name)
        return True

    def _claim(self, name: str) -> None:
        """Take a name, unless some system would hold it for another that is taken."""
        if name in self._names:
            raise ExpertError(f"It holds {shown(name)} twice.")
        parts = name.split("/")
        for length in range(1, len(parts) + 1):
            path = "/".join(parts[:length])
            folded = unicodedata.normalize("NFKC", path).casefold()
            known = folded in self._known
            other = self._known.setdefault(folded, path)
            is_file = length == len(parts)
            if other != path or (known and (is_file or path in self._names)):
                raise ExpertError(f"It holds {shown(other)} and {shown(name)}, which collide.")
        self._names.add(name)

    def write(self, name: str, source: BinaryIO) -> None:
        """Copy one file."""
        path = self._into.joinpath(*name.split("/"))
        paths.private_dir(path.parent)
        size = 0
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                self._total += len(chunk)
                if size > limits.EXPERT_FILE_BYTES:
                    most = limits.EXPERT_FILE_BYTES >> 20
                    raise ExpertError(f"{shown(name)} in it is larger than {most} MB.")
                if self._total > limits.EXPERT_BYTES:
                    raise ExpertError(f"Its files are larger than {limits.EXPERT_BYTES >> 20} MB.")
                file.write(chunk)
