"""A GGUF embedder in a process of its own: reads requests from standard input, answers there too.

Stands alone: imports nothing of llmos, is started by its path with one end of a socket as standard
input, and dies with whoever started it (the end of the stream). llama.cpp computes on one thread,
at low priority: the cores belong to the language model. Knows one model file, which was checked
before. What llama.cpp prints goes to standard error.

A message either way is two lengths (network order, four bytes each), then so many bytes of JSON,
then so many bytes of float32 vectors. Requests are answered in their order.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LENGTHS = struct.Struct("!II")
NICE = 10
SEQUENCES = 8  # texts in one batch
SPACE = " "  # in place of a text without a token


class Refused(Exception):
    """The model cannot be used, or not for this; the message is a clause that says why."""


class Model:
    """One model, by the requests that can be made of it.

    Args:
        path: The file.
        window: Tokens of a text that count, at most.

    Raises:
        Refused: It is no embedder, or does not load.
    """

    def __init__(self, path: str, window: int) -> None:
        import llama_cpp.llama_cpp as C
        import numpy as np

        self._c, self._np = C, np
        self._complaints: list[str] = []
        self._log = C.llama_log_callback(self._complain)  # kept, or C calls what is gone
        C.llama_log_set(self._log, ctypes.c_void_p(0))
        C.llama_backend_init()
        params = C.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = C.llama_model_load_from_file(path.encode(), params)
        if not self._model:
            raise Refused(f"llama.cpp cannot load it ({self._said()})")
        trained = C.llama_model_n_ctx_train(self._model)
        self.window = min(window, trained) if trained > 0 else window
        self._vocab = C.llama_model_get_vocab(self._model)
        self._context = self._open()
        self.dimension = int(C.llama_model_n_embd_out(self._model))
        self._memory = C.llama_get_memory(self._context)
        encodes = C.llama_model_has_encoder(self._model)
        only = encodes and not C.llama_model_has_decoder(self._model)
        self._compute = C.llama_encode if only else C.llama_decode
        self._batch = C.llama_batch_init(self.window, 0, 1)

    def _open(self) -> Any:
        """A context that pools as the file says; by the mean where it says nothing."""
        c = self._c
        for pooling in (c.LLAMA_POOLING_TYPE_UNSPECIFIED, c.LLAMA_POOLING_TYPE_MEAN):
            params = c.llama_context_default_params()
            # A text must be computed in one piece to be pooled.
            params.n_ctx = params.n_batch = params.n_ubatch = self.window
            params.n_seq_max = SEQUENCES
            params.kv_unified = True
            params.n_threads = params.n_threads_batch = 1
            params.embeddings = True
            params.pooling_type = pooling
            params.no_perf = True
            context = c.llama_init_from_model(self._model, params)
            if not context:
                raise Refused(f"there is not enough memory for it ({self._said()})")
            found = c.llama_pooling_type(context)
            if found == c.LLAMA_POOLING_TYPE_RANK:
                raise Refused("it is made to rank texts, not to embed them")
            if found != c.LLAMA_POOLING_TYPE_NONE:
                return context
            c.llama_free(context)
        raise Refused("it does not pool")

    def embed(self, texts: Sequence[str], cut: bool) -> tuple[dict[str, Any], bytes]:
        """Vectors of length 1, and the length of each text in tokens.

        Without ``cut`` nothing is computed where a text is too long.
        """
        rows = [self._tokens(text) for text in texts]
        counts = [len(row) for row in rows]
        told = {"tokens": counts, "used": sum(min(n, self.window) for n in counts)}
        if not cut and max(counts, default=0) > self.window:
            return told, b""
        vectors = self._np.empty((len(rows), self.dimension), self._np.float32)
        for batch in self._batches([self._within(row) for row in rows]):
            self._run(batch, vectors)
        norms = self._np.linalg.norm(vectors, axis=1, keepdims=True)
        if not self._np.isfinite(norms).all() or not norms.all():
            raise Refused("it makes vectors that are no directions")
        return told, (vectors / norms).tobytes()

    def _tokens(self, text: str) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        tokens = (self._c.llama_token * room)()
        # Control tokens around it, none within it: a text is text.
        count = self._c.llama_tokenize(self._vocab, raw, len(raw), tokens, room, True, False)
        if count < 0:
            raise Refused("it cannot read a text")
        if count or text == SPACE:
            return list(tokens[:count]) or [0]
        return self._tokens(SPACE)

    def _within(self, row: list[int]) -> list[int]:
        """The row cut to the window; a control token at its end stays there."""
        if len(row) <= self.window:
            return row
        last = row[-1:] if self._c.llama_vocab_is_control(self._vocab, row[-1]) else []
        return row[: self.window - len(last)] + last

    def _batches(self, rows: Sequence[list[int]]) -> Iterator[list[tuple[int, list[int]]]]:
        batch: list[tuple[int, list[int]]] = []
        for at, row in enumerate(rows):
            filled = sum(len(other) for _, other in batch)
            if batch and (len(batch) == SEQUENCES or filled + len(row) > self.window):
                yield batch
                batch = []
            batch.append((at, row))
        if batch:
            yield batch

    def _run(self, rows: Sequence[tuple[int, list[int]]], vectors: Any) -> None:
        c, batch, filled = self._c, self._batch, 0
        for slot, (_, row) in enumerate(rows):
            for position, token in enumerate(row):
                batch.token[filled] = token
                batch.pos[filled] = position
                batch.n_seq_id[filled] = 1
                batch.seq_id[filled][0] = slot
                batch.logits[filled] = 1
                filled += 1
        batch.n_tokens = filled
        if self._memory:
            c.llama_memory_clear(self._memory, True)
        if code := self._compute(self._context, batch):
            raise Refused(f"llama.cpp could not compute (code {code}; {self._said()})")
        for slot, (at, _) in enumerate(rows):
            found = c.llama_get_embeddings_seq(self._context, slot)
            if not found:
                raise Refused("it gives no vectors")
            vectors[at] = self._np.ctypeslib.as_array(found, (self.dimension,))

    def _complain(self, level: int, text: bytes, _data: Any) -> None:
        line = text.decode("utf-8", "replace").strip()
        if level in (3, 4) and line:  # warnings and errors
            print(line, file=sys.stderr, flush=True)
            self._complaints = [*self._complaints[-9:], line]

    def _said(self) -> str:
        return self._complaints[-1][:300].rstrip(".") if self._complaints else "it does not say why"


def _receive(stream: socket.socket, size: int) -> bytes:
    body = bytearray()
    while len(body) < size:
        block = stream.recv(min(size - len(body), 1 << 20))
        if not block:
            raise EOFError
        body += block
    return bytes(body)


def _answer(models: list[Model], request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    if request["op"] == "open":
        models[:] = [Model(request["path"], request["window"])]
        return {"dimension": models[0].dimension, "window": models[0].window}, b""
    return models[0].embed(request["texts"], request["cut"])


def main() -> None:
    """Serve until the stream ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the texts are nobody's business
    with contextlib.suppress(OSError):
        os.nice(NICE)
    stream = socket.socket(fileno=os.dup(0))
    models: list[Model] = []
    with contextlib.suppress(EOFError, OSError):
        while True:
            size, _ = LENGTHS.unpack(_receive(stream, LENGTHS.size))
            request = json.loads(_receive(stream, size))
            try:
                told, blob = _answer(models, request)
            except Refused as error:
                told, blob = {"error": str(error)}, b""
            except ImportError as error:
                told, blob = {"error": f"llama-cpp-python cannot be loaded ({error})"}, b""
            except Exception as error:  # what it is worth to its user is one sentence
                told, blob = {"error": f"it fails ({type(error).__name__}: {error})"[:1000]}, b""
            text = json.dumps(told).encode()
            stream.sendall(LENGTHS.pack(len(text), len(blob)) + text + blob)
    os._exit(0)  # nothing of llama.cpp's may hold up the end


if __name__ == "__main__":
    main()
