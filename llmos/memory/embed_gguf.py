"""A GGUF model as an embedder, in a worker process.

llama.cpp keeps one pool of threads a process, and the kernel's belongs to the language model; so
this one computes apart, on one thread at low priority (``embed_gguf_worker.py``). The worker is
started with the first text. One that dies is started again, once for the same texts; one that is
late is ended. Vectors are pooled as the file says, by the mean where it says nothing.

A chat model can be used, too, and is a bad embedder: it was never trained for it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmos import limits
from llmos.errors import LlmosError, ModelCorrupt, TextTooLong
from llmos.memory.embed import Embedded, Vectors
from llmos.memory.embed_layout import fingerprint
from llmos.models import gguf

__all__ = ["GgufEmbedder"]

log = logging.getLogger(__name__)

_LENGTHS = struct.Struct("!II")
_SEQUENCES = 8  # texts in one batch of the worker's
#: Of the environment; no more than a program needs to find its libraries.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # the card's memory is the chat's
_ENDS, _NONSENSE = "ends its process", "makes its process answer nonsense"
_REMEDY = "Choose another embedder: [memory] embedder. The log has the details."


class GgufEmbedder:
    """The vectors of one GGUF file.

    Args:
        path: The file. Its header is checked at once; the weights are read with the first text.

    Raises:
        ModelMissing: There is no such file.
        ModelCorrupt: It is damaged, or can be no embedder.
    """

    def __init__(self, path: Path) -> None:
        header = gguf.verify(path)
        if header.recurrent:
            raise ModelCorrupt(
                f"The model file {path} is of a recurrent kind, which cannot embed texts.",
                remedy=_REMEDY,
            )
        self._path = path.resolve()
        self._model = path.stem
        self._name = f"{path.stem}@{fingerprint(path)}"
        # llama.cpp makes room for the logits of every token, also where nobody wants them.
        room = limits.EMBED_LOGITS_BYTES // (2 * 4 * header.vocab)
        self._window = min(header.context, limits.EMBED_WINDOW, max(room, 1))
        self._dimension = 0  # the header's may not be the vectors'
        self._worker: _Worker | None = None
        self._closed = False
        self._turn = _FairLock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def model(self) -> str:
        return self._model

    @property
    def dimension(self) -> int:
        return self._dimension

    @property
    def window(self) -> int:
        return self._window

    @property
    def pid(self) -> int:
        """The worker's process id; 0 while there is none."""
        worker = self._worker
        return worker.process.pid if worker is not None else 0

    def load(self) -> None:
        """Start the worker now.

        Raises:
            ModelCorrupt: The model cannot be used.
        """
        with self._turn:
            self._started()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of ``texts``; see ``Embedder.embed``."""
        return self.embed_counted(texts).vectors

    def embed_counted(self, texts: Sequence[str], *, cut: bool = True) -> Embedded:
        """The vectors of ``texts``; see ``ModelEmbedder.embed_counted``."""
        vectors: list[Vectors] = []
        tokens: list[int] = []
        used = 0
        for some in _pieces([text[: limits.EMBED_CHARS] for text in texts]):
            with self._turn:  # let go in between: a query does not wait for a whole batch
                counts, computed, rows = self._ask(some, cut)
            for at, count in enumerate(counts, len(tokens)):
                whole = len(texts[at]) <= limits.EMBED_CHARS
                if not cut and (count > self._window or not whole):
                    raise TextTooLong(count, self._window, at=at, whole=whole)
            vectors.append(rows)
            tokens += counts
            used += computed
        made = np.concatenate(vectors) if vectors else np.zeros((0, self._dimension), np.float32)
        truncated = tuple(
            count > self._window or len(text) > limits.EMBED_CHARS
            for count, text in zip(tokens, texts, strict=True)
        )
        return Embedded(made, tuple(tokens), truncated, used)

    def close(self) -> None:
        """End the worker; whoever waits for it gets an error. Safe to call twice."""
        self._closed = True
        worker = self._worker
        if worker is not None:
            worker.end()

    # --- the worker -------------------------------------------------------------------------

    def _ask(self, texts: list[str], cut: bool) -> tuple[list[int], int, Vectors]:
        """Lengths, tokens computed and vectors; for whoever has the turn.

        A worker that died gets one successor.
        """
        request = {"op": "embed", "texts": texts, "cut": cut}
        for attempt in (1, 2):
            worker = self._started()
            try:
                told, blob = worker.ask(request, limits.EMBED_WORKER_S)
                return _read(told, blob, len(texts), self._dimension)
            except _Died as error:
                self._stop()
                if self._closed:
                    raise self._gone() from None
                log.warning("the embedder's worker failed: it %s", error)
                if attempt == 2 or isinstance(error, _Late):
                    raise ModelCorrupt(
                        f"The embedding model {self._model} {error}.", remedy=_REMEDY
                    ) from error
        raise AssertionError("unreachable")

    def _started(self) -> _Worker:
        if self._worker is not None and not self._closed:
            return self._worker
        if self._closed:
            raise self._gone()
        self._worker = worker = _Worker()
        request = {"op": "open", "path": str(self._path), "window": self._window}
        try:
            if self._closed:  # meanwhile
                raise self._gone()
            told, _ = worker.ask(request, limits.EMBED_WORKER_START_S)
            self._dimension, self._window = _opened(told, self._window)
        except _Died as error:
            self._stop()
            raise ModelCorrupt(
                f"The embedding model {self._path} cannot be loaded: it {error}.", remedy=_REMEDY
            ) from error
        except LlmosError:
            self._stop()
            raise
        return worker

    def _gone(self) -> ModelCorrupt:
        return ModelCorrupt(f"The embedder {self._model} is closed.", remedy="Start llmos again.")

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()


class _Died(Exception):
    """The worker ended or said nonsense; the message is a clause about the model."""


class _Late(_Died):
    """It was out of time."""


class _Worker:
    """The process, and the socket to it. One request at a time."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("embed_gguf_worker.py")
        mine, its = socket.socketpair()
        self._socket = mine
        with its:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-X", "utf8", str(program)],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={n: os.environ[n] for n in _PASSED if n in os.environ} | _ALONE,
                cwd="/",
                start_new_session=True,  # an interrupt at the keyboard is not meant for it
            )
        threading.Thread(target=self._to_log, name="embedder log", daemon=True).start()

    def ask(self, request: Mapping[str, Any], seconds: float) -> tuple[dict[str, Any], bytes]:
        """One message there, one back.

        Raises:
            ModelCorrupt: It says that the model cannot be used.
            _Died: It ended or said nonsense.
        """
        text = json.dumps(request).encode()
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(_LENGTHS.pack(len(text), 0) + text)
            size, blob = _LENGTHS.unpack(self._receive(_LENGTHS.size))
            if size > limits.EMBED_CONFIG_BYTES or blob > 4 * limits.EMBED_DIMENSION * _SEQUENCES:
                raise _Died(_NONSENSE)
            told = json.loads(self._receive(size))
            rows = self._receive(blob)
        except TimeoutError:
            raise _Late(f"takes longer than {seconds:g} s") from None
        except (OSError, EOFError, ValueError) as error:
            raise _Died(_ENDS) from error
        if not isinstance(told, dict):
            raise _Died(_NONSENSE)
        if "error" in told:
            raise ModelCorrupt(
                f"The embedding model cannot be used: {told['error']}.", remedy=_REMEDY
            )
        return told, rows

    def end(self) -> None:
        """Kill it; from any thread, and more than once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes who reads
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._socket.close()

    def _receive(self, size: int) -> bytes:
        body = bytearray()
        while len(body) < size:
            block = self._socket.recv(min(size - len(body), 1 << 20))
            if not block:
                raise EOFError
            body += block
        return bytes(body)

    def _to_log(self) -> None:
        """What llama.cpp complains of goes to the log, until the process ends."""
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in iter(lambda: stream.readline(4096), b""):
                log.info("embedder: %s", line.decode("utf-8", "replace").rstrip())


class _FairLock:
    """A lock for who comes first: a plain one may be taken by the same thread for ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the row, held for a moment
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        mine = threading.Event()
        with self._lock:
            self._waiting.append(mine)
            if len(self._waiting) == 1:
                return
        mine.wait()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._waiting.popleft()
            if self._waiting:
                self._waiting[0].set()


def _opened(told: Mapping[str, Any], most: int) -> tuple[int, int]:
    """Dimension and window of a model that was opened."""
    dimension, window = told.get("dimension"), told.get("window")
    if type(dimension) is not int or not 0 < dimension <= limits.EMBED_DIMENSION:
        raise _Died(_NONSENSE)
    if type(window) is not int or not 0 < window <= most:
        raise _Died(_NONSENSE)
    return dimension, window


def _read(
    told: Mapping[str, Any], blob: bytes, texts: int, dimension: int
) -> tuple[list[int], int, Vectors]:
    """What an answer says; no vectors where a text is too long and was not to be cut."""
    counts, used = told.get("tokens"), told.get("used")
    if not isinstance(counts, list) or len(counts) != texts or type(used) is not int:
        raise _Died(_NONSENSE)
    if not all(type(count) is int for count in counts):
        raise _Died(_NONSENSE)
    if len(blob) not in (0, 4 * texts * dimension):
        raise _Died(_NONSENSE)
    return counts, used, np.frombuffer(blob, "=f4").reshape(-1, dimension).copy()


def _pieces(texts: Sequence[str]) -> Iterator[list[str]]:
    """A few texts at a time, so that nobody waits long for the worker."""
    piece: list[str] = []
    for text in texts:
        held = sum(map(len, piece))
        if piece and (len(piece) == _SEQUENCES or held + len(text) > limits.EMBED_WORKER_CHARS):
            yield piece
            piece = []
        piece.append(text)
    if piece:
        yield piece
