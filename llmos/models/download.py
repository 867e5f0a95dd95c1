"""One file over HTTP: resumed, retried, counted and hashed while it streams.

What has arrived lies in a ``.part`` file, with a note beside it of what it is a part of, so that a
later run goes on where this one stopped. Knows nothing of models or hubs.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llmos import limits, paths
from llmos.errors import ModelCorrupt, ModelError

if TYPE_CHECKING:
    import httpx

__all__ = ["Meter", "Progress", "download", "free_bytes", "need_room"]

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)$")
_RETRIED = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is.

    Args:
        phase: ``downloading``, ``package`` (through the package installer, which does not say
            how far it is) or ``checking``.
        done / total: Bytes of this file; ``total`` is 0 where unknown.
        rate: Bytes a second, averaged over the last few seconds.
    """

    model: str
    file: str
    phase: str
    done: int = 0
    total: int = 0
    rate: float = 0.0


class Meter:
    """Turns bytes into ``Progress``, a few times a second.

    Args:
        report: Who wants to know; may be None.
    """

    _SMOOTH_S = 3.0

    def __init__(
        self, model: str, file: str, total: int, report: Callable[[Progress], None] | None
    ) -> None:
        self.model, self.file, self.total = model, file, total
        self.done = 0
        self.phase = "downloading"
        self._report = report
        self._rate = 0.0
        self._last = time.monotonic()
        self._last_done = 0

    def reset(self, done: int) -> None:
        """Go on from ``done`` bytes, which do not count as speed."""
        self.done = self._last_done = done
        self.show()

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        passed = now - self._last
        if passed >= limits.PULL_PROGRESS_S:
            weight = min(passed / self._SMOOTH_S, 1.0) if self._rate else 1.0
            self._rate += weight * ((self.done - self._last_done) / passed - self._rate)
            self._last, self._last_done = now, self.done
            self.show()

    def show(self, phase: str = "") -> None:
        """Report now."""
        self.phase = phase or self.phase
        if self._report:
            self._report(
                Progress(self.model, self.file, self.phase, self.done, self.total, self._rate)
            )


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Retry(Exception):
    """This connection brought nothing more; another may."""


def free_bytes(folder: Path) -> int:
    """Free space on the disk that holds ``folder`` or will."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def need_room(folder: Path, size: int, what: str) -> None:
    """Refuse before anything is fetched that would not fit.

    Raises:
        ModelError: There is not enough free space.
    """
    free = free_bytes(folder)
    if size + limits.PULL_SPARE_BYTES > free:
        raise _full(folder, what, size, free)


def _full(folder: Path, what: str, size: int, free: int) -> ModelError:
    return ModelError(
        f"There is no room for {what}: it takes {size / 1e6:,.0f} MB more, and "
        f"{max(free - limits.PULL_SPARE_BYTES, 0) / 1e6:,.0f} MB can be used in {folder}.",
        remedy="Make room, or set LLMOS_HOME to a folder on a larger disk.",
    )


def _stopped(what: str) -> ModelError:
    return ModelError(
        f"The pull of {what} was stopped.", remedy="Pull it again to go on where it stopped."
    )


class _Part:
    """The ``.part`` file, its running hash, and the note of what it is a part of."""

    def __init__(self, path: Path, url: str, sha256: str) -> None:
        self.path = path
        self._note_path = path.with_name(path.name + ".json")
        self._key = {"url": url, "sha256": sha256}
        self.etag = ""
        self.size = 0
        self.digest: _Hash = hashlib.sha256()

    def resume(self) -> None:
        """Take over what is there, if it belongs to the same file."""
        try:
            note = json.loads(self._note_path.read_text("utf-8"))
            same = isinstance(note, dict) and (
                note.get("sha256") == self._key["sha256"] != ""
                or note.get("url") == self._key["url"]
            )
            self.etag = str(note.get("etag", "")) if same else ""
            # Without a checksum or a strong tag nobody could tell a changed file from the old.
            if not (same and (self._key["sha256"] or self.etag)):
                raise ValueError("another file")
            with self.path.open("rb", buffering=0) as file:
                while block := file.read(limits.PULL_CHUNK_BYTES):
                    self.digest.update(block)
                    self.size += len(block)
        except (OSError, ValueError):
            self.restart()

    def restart(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note_path.unlink(missing_ok=True)
        self.etag, self.size, self.digest = "", 0, hashlib.sha256()

    def note(self, etag: str) -> None:
        self.etag = "" if etag.startswith("W/") else etag
        paths.atomic_write(self._note_path, json.dumps({**self._key, "etag": self.etag}))

    def forget_note(self) -> None:
        self._note_path.unlink(missing_ok=True)


def download(
    client: httpx.Client,
    url: str,
    part: Path,
    *,
    meter: Meter,
    size: int = 0,
    sha256: str = "",
    headers: Mapping[str, str] | None = None,
    cancel: threading.Event | None = None,
) -> str:
    """Fetch ``url`` into ``part``, going on from what an earlier run left there.

    Args:
        part: Where to write; its folder exists. On success it holds the whole file, on a broken
            connection or a cancel what came so far, and is gone when the content was wrong.
        size: Expected bytes, or 0.
        sha256: Expected checksum, or empty.
        cancel: Set it from another thread to stop.

    Returns:
        The file's SHA-256.

    Raises:
        ModelCorrupt: The server sent something else than expected.
        ModelError: The server refuses, the connection keeps breaking, the disk is full, or it
            was cancelled.
    """
    import httpx

    cancel = cancel or threading.Event()
    state = _Part(part, url, sha256)
    state.resume()
    failures = 0
    why = ""
    while True:
        before = state.size
        try:
            _connection(client, url, state, meter, size, headers or {}, cancel)
            break
        except (_Retry, httpx.TransportError) as error:
            why = str(error) or type(error).__name__
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise ModelError(f"{part} cannot be written: {error.strerror}.") from error
            left = max(meter.total - state.size, 0)
            raise _full(part.parent, meter.file, left, free_bytes(part.parent)) from error
        failures = 0 if state.size > before else failures + 1
        if failures >= limits.PULL_TRIES:
            raise ModelError(
                f"The connection for {meter.file} keeps breaking: {why.rstrip('.')}.",
                remedy="Pull it again later to go on where it stopped.",
            )
        pause = limits.PULL_BACKOFF_S * 2 ** max(failures - 1, 0)
        if cancel.wait(min(pause, limits.PULL_BACKOFF_MAX_S)):
            raise _stopped(meter.file)
    found = state.digest.hexdigest()
    if sha256 and found != sha256:
        state.restart()
        raise ModelCorrupt(
            f"{meter.file} from {httpx.URL(url).host} is not the file expected: its SHA-256 is "
            f"{found[:16]}…, not {sha256[:16]}…."
        )
    state.forget_note()
    return found


def _connection(
    client: httpx.Client,
    url: str,
    state: _Part,
    meter: Meter,
    size: int,
    headers: Mapping[str, str],
    cancel: threading.Event,
) -> None:
    """One request, until the file is whole."""
    if size and state.size == size:
        return
    if size and state.size > size:
        state.restart()
    asked = {**headers, "Accept-Encoding": "identity"}
    if state.size:
        asked["Range"] = f"bytes={state.size}-"
        if state.etag:
            asked["If-Range"] = state.etag
    with client.stream("GET", url, headers=asked, follow_redirects=True) as answer:
        total = _begin(answer, state, meter, size)
        need_room(state.path.parent, max(total - state.size, 0), meter.file)
        with state.path.open("ab") as file:
            try:
                for block in answer.iter_raw():  # as it comes: a cut loses nothing
                    if cancel.is_set():
                        raise _stopped(meter.file)
                    if total and state.size + len(block) > total:
                        raise ModelCorrupt(f"The server sends more than {total} bytes.")
                    file.write(block)
                    state.digest.update(block)
                    state.size += len(block)
                    meter.add(len(block))
            finally:  # on the disk before anybody relies on the part's size
                file.flush()
                os.fsync(file.fileno())
    if total and state.size < total:
        raise _Retry(f"{state.size} of {total} bytes came")
    meter.show()


def _begin(answer: httpx.Response, state: _Part, meter: Meter, size: int) -> int:
    """Judge the answer's head; returns the file's whole size, 0 where unknown."""
    status = answer.status_code
    if status in _RETRIED:
        raise _Retry(f"the server answered {status}")
    if status == 416:  # what is here does not fit what is there
        state.restart()
        raise _Retry("the server has less than what came before")
    if status not in (200, 206):
        raise ModelError(f"The server {answer.url.host} answered {status} for {meter.file}.")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ModelError(f"The server {answer.url.host} sends {meter.file} compressed.")
    length = answer.headers.get("content-length", "")
    if status == 206:
        found = _RANGE.match(answer.headers.get("content-range", ""))
        total = int(found[3]) if found and found[3] != "*" else size
        if not state.size or not found or int(found[1]) != state.size:
            state.restart()
            raise _Retry("the server sent another range than asked for")
    else:
        state.restart()  # it ignores Range, or the file changed: all of it comes again
        total = int(length) if length.isdigit() else size
    if size and total != size:
        state.restart()
        raise ModelCorrupt(
            f"The server {answer.url.host} offers {total} bytes for {meter.file}, "
            f"where {size} were expected."
        )
    state.note(answer.headers.get("etag", ""))
    meter.total = total
    meter.reset(state.size)
    return total
