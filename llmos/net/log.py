"""The log of every request: JSON lines, private to the person, for them to read.

One line a hop, so a redirect makes two; what was refused stands there, too. It is bounded: a full
file is renamed, and the one before it goes. Requests are made although a line cannot be written
(the kernel's log says so then): this is a record, not a guard.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote_plus

from llmos import limits, paths

__all__ = ["Entry", "RequestLog"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One hop of one request.

    Args:
        at: Seconds since the epoch.
        pid: The process that asked.
        call: The system call.
        address: As it was fetched.
        ip: What was connected to; empty where nothing was.
        status: Of the answer; 0 where there was none.
        bytes: Of the body, unpacked.
        seconds: It took.
        refused: Why it failed or was not made; empty where it went well.
    """

    at: float
    pid: int
    call: str
    address: str
    ip: str = ""
    status: int = 0
    bytes: int = 0
    seconds: float = 0.0
    refused: str = ""


class RequestLog:
    """Appends to one file. Safe to use from any thread.

    Args:
        path: The file; its folder is made when needed.
        most: Bytes after which it is renamed to ``….1``.
    """

    def __init__(self, path: Path, most: int = limits.NET_LOG_BYTES) -> None:
        self._path = path
        self._most = most
        self._lock = threading.Lock()

    def write(self, entry: Entry) -> None:
        """Append a line."""
        line = json.dumps(asdict(entry), ensure_ascii=True).encode() + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        with self._lock:
            try:
                paths.private_dir(self._path.parent)
                file = os.open(self._path, flags, 0o600)
                try:
                    os.write(file, line)
                    full = os.fstat(file).st_size >= self._most
                finally:
                    os.close(file)
                if full:
                    os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
            except OSError as error:
                _log.warning("the log of requests cannot be written: %s", error)

    def forget(self, texts: Iterable[str]) -> int:
        """Take out every line that holds one of ``texts``, whatever its case or its spelling.

        Returns:
            How many lines went.

        Raises:
            OSError: They cannot be taken out.
        """
        wanted = [_plain(text) for text in texts]
        gone = 0
        with self._lock:
            for path in (self._path, self._path.with_name(f"{self._path.name}.1")):
                try:
                    lines = path.read_bytes().splitlines(keepends=True)
                except FileNotFoundError:
                    continue
                kept = [line for line in lines if not _holds(line, wanted)]
                if len(kept) < len(lines):
                    paths.atomic_write(path, b"".join(kept))
                    gone += len(lines) - len(kept)
        return gone


def _holds(line: bytes, wanted: Sequence[str]) -> bool:
    try:
        entry = json.loads(line)
        told = f"{entry['address']} {entry.get('refused', '')}"
    except (ValueError, TypeError, KeyError):
        return True  # nobody knows what it says
    shown = _plain(told) + _plain(unquote_plus(told))
    return any(text in shown for text in wanted)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
