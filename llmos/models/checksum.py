"""Checksums of large files, computed once.

A file that was found right is remembered in the cache directory by its path, size and time of
change, so that a start does not read gigabytes again. The memory can be deleted at any time.
It guards against damage and mix-ups, not against somebody who can write both files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from llmos import limits, paths
from llmos.errors import ModelCorrupt, ModelMissing

__all__ = ["check", "remember", "sha256_of"]


def _memory() -> Path:
    return paths.cache_dir() / "checksums.json"


def _remembered() -> dict[str, list[int | str]]:
    try:
        known = json.loads(_memory().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _stamp(path: Path, sha256: str) -> list[int | str]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, sha256]


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """The file's SHA-256, in hexadecimal.

    Args:
        on_bytes: Called with the number of bytes just read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(limits.PULL_CHUNK_BYTES):
            digest.update(block)
            if on_bytes:
                on_bytes(len(block))
    return digest.hexdigest()


def remember(path: Path, sha256: str) -> None:
    """Note that ``path``, as it is now, has this checksum."""
    known = _remembered()
    known[str(path)] = _stamp(path, sha256)
    try:
        paths.private_dir(paths.cache_dir())
        paths.atomic_write(_memory(), json.dumps(known, indent=1))
    except OSError:
        pass  # a cache that cannot be written only costs time


def check(path: Path, sha256: str) -> None:
    """Check a file against its checksum, or trust that it has not changed since the last time.

    Raises:
        ModelMissing: The file cannot be read.
        ModelCorrupt: It is not the file it should be.
    """
    try:
        if _remembered().get(str(path)) == _stamp(path, sha256):
            return
        found = sha256_of(path)
    except OSError as error:
        raise ModelMissing(f"The model file {path} cannot be read: {error.strerror}.") from error
    if found != sha256:
        raise ModelCorrupt(
            f"The model file {path} is not the one expected: its SHA-256 is {found[:16]}…, "
            f"not {sha256[:16]}….",
            remedy="Delete it and pull it again.",
        )
    remember(path, sha256)
