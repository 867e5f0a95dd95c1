"""Headers that were read before, so that a start does not read them again.

One small file for each model file, by device and inode, in the private cache directory. It counts
as long as the model file has the size and the times it had when it was read, to the nanosecond:
also that of its last change of any kind, which no program can set back. What the cache says is
believed no more than what a jail says. It can be deleted at any time, and a cache that cannot be
written only costs time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path

from llmos import __version__, limits, paths
from llmos.models.header import GgufHeader, read_back, told

__all__ = ["get", "put"]

_log = logging.getLogger(__name__)


def _folder() -> Path:
    return paths.cache_dir() / "headers"


def _file(status: os.stat_result) -> Path:
    return _folder() / f"{status.st_dev:x}-{status.st_ino:x}.json"


def _stamp(status: os.stat_result) -> list[object]:
    return [__version__, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def get(status: os.stat_result, path: Path) -> GgufHeader | None:
    """The header of a model file, where it was read before and is the same since.

    Args:
        status: What the system says of the file, open.
        path: Its name now.
    """
    try:
        with _file(status).open("rb") as file:
            kept = json.loads(file.read(limits.GGUF_SAID_BYTES + 1))
        if kept["stamp"] != _stamp(status):
            return None
        return read_back(kept["header"], path, status.st_size)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        _log.debug("the header kept of %s is read anew: %s", path, error)
        return None


def put(status: os.stat_result, header: GgufHeader) -> None:
    """Keep a header; one too many, and the oldest goes."""
    kept = {"stamp": _stamp(status), "header": told(header)}
    try:
        paths.remade_dir(_folder())
        paths.atomic_write(_file(status), json.dumps(kept, ensure_ascii=False))
        _prune()
    except OSError as error:
        _log.warning("the header of %s cannot be kept: %s", header.path, error)


def _prune() -> None:
    found: list[tuple[int, str]] = []
    with os.scandir(_folder()) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # another program was quicker
                found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path))
    for _, path in sorted(found)[: -limits.GGUF_HEADERS_KEPT]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
