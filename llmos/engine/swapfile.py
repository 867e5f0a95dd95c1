"""Snapshots on disk: what the swap store has no room for, and what survives the kernel.

One private file a snapshot. Its header names the model and parameters it belongs to and the sizes,
and carries a checksum over tokens and state; whatever does not fit (cut short, swapped with
another, of another model, of another version) is dropped and its tokens are computed again: a lost
file costs time, never an answer. Nothing is synced for the same reason.

Files are read and written on one thread of its own, never on the engine's; reading goes first.
What waits to be written is bounded in bytes, too: a disk slower than the conversations that come to
rest costs a computation, not memory. Knows tokens and bytes, not conversations.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import os
import queue
import shutil
import stat
import struct
import threading
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from llmos import limits, paths
from llmos.engine.backend import State
from llmos.engine.cells import common_prefix
from llmos.engine.swap import Snapshot

__all__ = ["SUFFIX", "SwapFiles", "erase", "unsound"]

log = logging.getLogger(__name__)

_MAGIC = b"llmossn2"
_LENGTH = struct.Struct("<I")
#: Of the files' names.
SUFFIX = ".snapshot"
_READ, _WRITE, _END = 0, 1, 2  # in this order


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """What is known of a file without its state."""

    path: Path
    tokens: tuple[int, ...]
    fingerprint: str
    size: int  # of the whole file


class SwapFiles:
    """The snapshots in one directory, under a byte budget; the least recently used goes first.

    Args:
        directory: Made if it is missing, for this user alone.
        budget: Bytes of all files together.
        fingerprint: Of the model that runs: only its snapshots are found, the others wait for it.
        rewinds: Whether a restored sequence can be cut, so that a longer one stands in for a
            shorter.
    """

    def __init__(
        self, directory: Path, budget: int, fingerprint: str, *, rewinds: bool = True
    ) -> None:
        self.budget = budget
        self.written = 0
        self.read = 0
        self.dropped = 0  # damaged, or for want of room
        self._directory = directory
        self._fingerprint = fingerprint
        self._rewinds = rewinds
        self._lock = threading.Condition()  # guards _entries and _pending; told of what is written
        self._entries: OrderedDict[tuple[str, tuple[int, ...]], _Entry] = OrderedDict()
        self._pending: dict[tuple[int, ...], int] = {}  # to be written: bytes of the state
        self._jobs: queue.PriorityQueue[tuple[int, int, Callable[[], None]]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._closed = False
        self._scan()
        self._thread = threading.Thread(target=self._work, name="swap files", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    @property
    def bytes(self) -> int:
        """Of all files together."""
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    def holds(self, tokens: tuple[int, ...]) -> bool:
        """Whether a snapshot of exactly ``tokens`` is there or being written."""
        with self._lock:
            return tokens in self._pending or (self._fingerprint, tokens) in self._entries

    @property
    def waiting(self) -> int:
        """Bytes in memory that wait to be written."""
        with self._lock:
            return sum(self._pending.values())

    def put(self, snapshot: Snapshot, *, seconds: float = 0.0) -> bool:
        """Have ``snapshot`` written, if it is long enough to be worth a file.

        Args:
            snapshot: What is to be written.
            seconds: To wait where too much waits to be written already
                (``limits.SWAP_FILE_QUEUE_BYTES``); without, it returns at once.

        Returns:
            False where it is not written for that reason; whoever still has it may ask again.
        """
        tokens, size = snapshot.tokens, len(snapshot.state)
        if len(tokens) < limits.SWAP_FILE_TOKENS or self.holds(tokens):
            return True

        def room() -> bool:
            waiting = sum(self._pending.values())
            return not waiting or waiting + size <= limits.SWAP_FILE_QUEUE_BYTES

        with self._lock:
            if not self._lock.wait_for(room, seconds):
                return False
            self._pending[tokens] = size
        self._do(_WRITE, lambda: self._write(snapshot))
        return True

    def match(self, tokens: Sequence[int], *, whole: bool = False) -> tuple[tuple[int, ...], int]:
        """The snapshot that shares the longest prefix with ``tokens``: its tokens, the length.

        Args:
            whole: Only consider snapshots that are a prefix in full.
        """
        wanted, best, length = tuple(tokens), tuple[int, ...](), 0
        with self._lock:
            entries = [e for e in self._entries.values() if e.fingerprint == self._fingerprint]
        for entry in entries:
            shared = common_prefix(entry.tokens, wanted)
            if shared > length and (not whole or shared == len(entry.tokens)):
                best, length = entry.tokens, shared
        return best, length

    def fetch(self, tokens: tuple[int, ...], done: Callable[[Snapshot | None], None]) -> None:
        """Read the snapshot of exactly ``tokens``; ``done`` is called on this object's thread.

        It gets None where the file is gone or not what it should be; it is dropped then.
        """

        def read() -> None:
            snapshot = None
            try:
                snapshot = self._read(tokens)
            finally:  # whatever happens: somebody waits for it
                done(snapshot)

        self._do(_READ, read)

    def forget(self) -> None:
        """Drop every file, those being written too."""
        self.wait()
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            entry.path.unlink(missing_ok=True)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until what was asked for is done; False where it takes longer."""
        done = threading.Event()
        self._do(_END, done.set)
        return done.wait(seconds)

    def close(self, seconds: float = limits.SWAP_FILE_CLOSE_S) -> None:
        """Finish what was asked for, as far as that is possible in so many seconds."""
        if not self._closed:
            if not self.wait(seconds):
                log.warning("not all snapshots could be written in time; they are computed again")
            self._closed = True
            self._do(_READ, lambda: None)
            self._thread.join(1.0)

    # --- on its thread ----------------------------------------------------------------------

    def _do(self, kind: int, work: Callable[[], None]) -> None:
        self._jobs.put((kind, next(self._order), work))

    def _work(self) -> None:
        while not self._closed:
            _, _, work = self._jobs.get()
            try:
                work()
            except Exception:
                log.exception("a snapshot file")

    def _write(self, snapshot: Snapshot) -> None:
        try:
            entry = self._save(snapshot)
        except Exception as error:  # whatever it is: others wait for its place
            log.warning("a snapshot cannot be written: %s", error)
            entry = None
        with self._lock:
            self._pending.pop(snapshot.tokens, None)
            self._lock.notify_all()
            if entry is None:
                return
            self.written += 1
            self._entries[entry.fingerprint, entry.tokens] = entry
            gone = self._superseded(entry) if self._rewinds else []
            left = sum(e.size for e in self._entries.values()) - sum(e.size for e in gone)
            for old in self._entries.values():
                if left <= self.budget:
                    break
                if old not in gone:
                    gone.append(old)
                    left -= old.size
                    self.dropped += 1
        for old in gone:
            self._remove(old)

    def _superseded(self, entry: _Entry) -> list[_Entry]:
        """Those that are a beginning of ``entry``, which can stand in for them."""
        return [
            old
            for old in self._entries.values()
            if old is not entry
            and old.fingerprint == entry.fingerprint
            and entry.tokens[: len(old.tokens)] == old.tokens
        ]

    def _save(self, snapshot: Snapshot) -> _Entry | None:
        tokens = array("i", snapshot.tokens).tobytes()
        header = json.dumps(
            {
                "fingerprint": snapshot.fingerprint,
                "tokens": len(snapshot.tokens),
                "state": len(snapshot.state),
                "crc32": _checksum(tokens, snapshot.state),
            }
        ).encode()
        size = len(_MAGIC) + _LENGTH.size + len(header) + len(tokens) + len(snapshot.state)
        if size > self.budget:
            self.dropped += 1
            return None
        free = shutil.disk_usage(self._directory).free
        if free - size < limits.SWAP_FILE_SPARE_BYTES:
            log.warning("the disk is nearly full: a snapshot is not written")
            self.dropped += 1
            return None
        name = hashlib.sha256(snapshot.fingerprint.encode() + tokens).hexdigest()[:32]
        path = self._directory / f"{name}{SUFFIX}"
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        try:
            with open(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                for piece in (_MAGIC, _LENGTH.pack(len(header)), header, tokens, snapshot.state):
                    file.write(piece)
            part.rename(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return _Entry(path, snapshot.tokens, snapshot.fingerprint, size)

    def _read(self, tokens: tuple[int, ...]) -> Snapshot | None:
        with self._lock:
            entry = self._entries.get((self._fingerprint, tokens))
        if entry is None:
            return None
        try:
            with entry.path.open("rb") as file:
                header, held = _begin(file)
                state = bytearray(header["state"])
                complete = file.readinto(state) == len(state) and not file.read(1)
            sound = complete and header["crc32"] == _checksum(held, state)
            same = held == array("i", tokens).tobytes()
            if not (sound and same and header["fingerprint"] == self._fingerprint):
                raise ValueError("it is not what it should be")
        except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
            log.warning("a snapshot is dropped and will be computed again: %s", error)
            with self._lock:
                self.dropped += 1
            self._remove(entry)
            return None
        with self._lock:
            self.read += 1
            key = self._fingerprint, tokens
            if key in self._entries:
                self._entries.move_to_end(key)
        os.utime(entry.path)
        return Snapshot(tokens, state, self._fingerprint)

    def _remove(self, entry: _Entry) -> None:
        with self._lock:
            self._entries.pop((entry.fingerprint, entry.tokens), None)
        entry.path.unlink(missing_ok=True)

    def _scan(self) -> None:
        """Read the headers of what is there, least recently used first."""
        paths.remade_dir(self._directory)
        for part in self._directory.glob("*.part"):
            part.unlink(missing_ok=True)
        found = [(p.lstat(), p) for p in self._directory.glob(f"*{SUFFIX}")]
        for status, path in sorted(found, key=lambda each: each[0].st_mtime):
            if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
                log.warning("%s is no file and is left alone", path.name)
                continue
            try:
                with path.open("rb") as file:
                    header, tokens = _begin(file)
                entry = _Entry(
                    path, tuple(array("i", tokens)), str(header["fingerprint"]), status.st_size
                )
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s is dropped and will be computed again: %s", path.name, error)
                path.unlink(missing_ok=True)
                self.dropped += 1
                continue
            self._entries[entry.fingerprint, entry.tokens] = entry


def erase(directory: Path) -> None:
    """Remove every file of a swap directory, whoever wrote it: any may hold what was said.

    Raises:
        OSError: One cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in list(directory.iterdir()):
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)


def unsound(path: Path) -> str:
    """Why a file is no whole snapshot; empty for one that is. Reads all of it."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return "it is no file"
    try:
        with path.open("rb") as file:
            header, tokens = _begin(file)
            checksum = zlib.crc32(tokens)
            while piece := file.read(1 << 20):
                checksum = zlib.crc32(piece, checksum)
        return "" if header["crc32"] == checksum else "its checksum is wrong"
    except OSError as error:
        return error.strerror or str(error)
    except (ValueError, KeyError, TypeError) as error:
        return str(error)


def _begin(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Header and tokens of a snapshot file, which is left at its state.

    Raises:
        ValueError: It is none.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is no snapshot")
    (length,) = _LENGTH.unpack(_exactly(file, _LENGTH.size))
    if length > limits.SWAP_FILE_HEADER_BYTES:
        raise ValueError("its header is too long")
    try:
        header = json.loads(_exactly(file, length))
    except RecursionError:
        raise ValueError("its header does not make sense") from None
    tokens, state = header["tokens"], header["state"]
    left = os.fstat(file.fileno()).st_size - file.tell()
    if not (isinstance(tokens, int) and isinstance(state, int) and tokens > 0 and state >= 0):
        raise ValueError("its header does not make sense")
    if 4 * tokens + state != left:
        raise ValueError("its length is not what it says")
    return header, _exactly(file, 4 * tokens)


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise ValueError("it ends too early")
    return data


def _checksum(tokens: bytes, state: State) -> int:
    """Tells a damaged file from a whole one, five times as fast as a cryptographic hash.

    It keeps nobody from forging one: who can write the file can write its checksum, too.
    """
    return zlib.crc32(state, zlib.crc32(tokens))
