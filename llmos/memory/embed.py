"""Texts to vectors: the starter embedder (all-MiniLM-L6-v2 on ONNX Runtime).

It knows one model file and its tokenizer, both given as paths; where they come from and whether
their checksums are right is the catalog's business. It doesn't know documents: what is longer
than the model's window is cut, and ``embed_counted`` says so; splitting is up to the caller.

The vector of a text doesn't depend on what shares its batch: the starter model stores its weights
in int8 but has no operator that quantises activations over the batch, and texts of 2 to 400
tokens came out bit-identical alone and padded together (x86-64, ONNX Runtime 1.31). The tests
hold 1e-3, since other kernels may round differently.
"""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from llmos import limits
from llmos.errors import LlmosError, ModelCorrupt, ModelMissing

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = ["CachedEmbedder", "Embedded", "Embedder", "MiniLM", "Vectors"]

#: Shape (n, dimension), one L2-normalised row a text.
Vectors: TypeAlias = npt.NDArray[np.float32]

_REMEDY = "Pull the embedding model again."


class Embedder(Protocol):
    """Turns texts into unit vectors whose dot product is their similarity.

    ``name`` identifies the vector space: vectors of two names must never be compared, so an index
    built under another name has to be rebuilt.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of ``texts``, in their order. Blocks; safe to call from any thread.

        Raises:
            ModelMissing: The model's file is not there.
            ModelCorrupt: The file is no such model.
        """
        ...


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors and what the model saw of each text.

    Args:
        vectors: Shape (n, dimension).
        tokens: Length of each text in tokens, control tokens included; of a text that was cut
            before it was tokenized (``limits.EMBED_CHARS``), the length of what was read.
        truncated: Whether the end of the text did not reach the model.
    """

    vectors: Vectors
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]


class MiniLM:
    """Sentence embeddings by mean pooling, as sentence-transformers does it (Reimers and
    Gurevych 2019, arXiv:1908.10084).

    Nothing is read before the first use. One compute thread, which sleeps when idle: the cores
    belong to the language model.

    Args:
        onnx: The model; inputs ``input_ids``, ``attention_mask`` (and ``token_type_ids``),
            first output (batch, sequence, dimension).
        tokenizer: ``tokenizer.json``, or a zip archive that holds it.
        name: Name of the vector space.
        dimension: Length of a vector.
    """

    def __init__(
        self,
        onnx: Path,
        tokenizer: Path,
        *,
        name: str = "all-MiniLM-L6-v2",
        dimension: int = 384,
    ) -> None:
        self._onnx = onnx
        self._tokenizer_file = tokenizer
        self._name = name
        self._dimension = dimension
        self._lock = threading.Lock()
        self._session: Any = None
        self._tokenizer: Tokenizer | None = None
        self._inputs: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self._name

    @property
    def dimension(self) -> int:
        return self._dimension

    def load(self) -> None:
        """Read model and tokenizer now; otherwise the first use does.

        Raises:
            ModelMissing: A file is not there.
            ModelCorrupt: A file is not what it should be.
        """
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = _load_tokenizer(self._tokenizer_file)
            if self._session is None:
                session = _load_session(self._onnx)
                self._inputs = frozenset(i.name for i in session.get_inputs())
                self._check(session)
                self._session = session

    def token_count(self, text: str) -> int:
        """Length of the whole ``text`` in the model's tokens, control tokens included."""
        return len(self._encode([text])[0].ids)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of ``texts``; see ``Embedder.embed``.

        Only the first ``limits.EMBED_TOKENS`` tokens of a text count; ``embed_counted`` tells
        for which texts that mattered.
        """
        return self.embed_counted(texts).vectors

    def embed_counted(self, texts: Sequence[str]) -> Embedded:
        """The vectors of ``texts``, their lengths, and which of them were cut.

        Raises:
            ModelMissing: A file is not there.
            ModelCorrupt: A file is not what it should be.
        """
        vectors = np.zeros((len(texts), self._dimension), np.float32)
        if not texts:
            return Embedded(vectors, (), ())
        encodings = self._encode([text[: limits.EMBED_CHARS] for text in texts])
        tokens = tuple(len(encoding.ids) for encoding in encodings)
        most = limits.EMBED_TOKENS
        # The control token at the end stays in its place, as the model was trained.
        rows = [
            ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]
            for ids in (encoding.ids for encoding in encodings)
        ]
        for batch in _batches([len(row) for row in rows]):
            vectors[batch] = self._run([rows[index] for index in batch])
        truncated = tuple(
            count > most or len(text) > limits.EMBED_CHARS
            for count, text in zip(tokens, texts, strict=True)
        )
        return Embedded(vectors, tokens, truncated)

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        self.load()
        assert self._tokenizer is not None
        # Lone surrogates cannot be encoded; the tokenizer would refuse the whole batch.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        # Not encode_batch: it runs a thread pool over the cores the language model needs.
        return [self._tokenizer.encode(text) for text in clean]

    def _run(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Vectors of a batch of token rows, shape (len(rows), dimension)."""
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {name: array for name, array in feed.items() if name in self._inputs}
        try:
            hidden = self._session.run(None, wanted)[0]
        except Exception as error:  # tokens beyond the vocabulary, broken weights
            raise ModelCorrupt(
                f"{self._onnx} does not run with the tokens of {self._tokenizer_file}.",
                remedy=_REMEDY,
            ) from error
        weight = mask[..., None].astype(np.float32)
        mean = (hidden * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), np.float32(1))
        norm = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.float32(1e-12))
        unit: Vectors = (mean / norm).astype(np.float32)
        return unit

    def _check(self, session: Any) -> None:
        """See that the model has the expected inputs and output."""
        shape = session.get_outputs()[0].shape
        fits = len(shape) == 3 and shape[2] == self._dimension
        known = {"input_ids", "attention_mask", "token_type_ids"}
        if not fits or not {"input_ids", "attention_mask"} <= self._inputs <= known:
            raise ModelCorrupt(
                f"{self._onnx} is no sentence embedding model of dimension {self._dimension}.",
                remedy=_REMEDY,
            )


class CachedEmbedder:
    """An embedder that remembers the texts it saw last.

    Args:
        embedder: The one that does the work.
        capacity: Vectors kept; the least recently used one goes first.
    """

    def __init__(self, embedder: Embedder, capacity: int = limits.EMBED_CACHE) -> None:
        self._embedder = embedder
        self._capacity = capacity
        self._lock = threading.Lock()  # of the cache alone, never held while embedding
        self._cache: OrderedDict[bytes, Vectors] = OrderedDict()

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of ``texts``; see ``Embedder.embed``. Each new text is embedded once."""
        keys = [_key(text) for text in texts]
        found: dict[bytes, Vectors] = {}
        with self._lock:
            for key in keys:
                vector = self._cache.get(key)
                if vector is not None:
                    self._cache.move_to_end(key)
                    found[key] = vector
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if new:
            # Copied row by row: a view would keep the whole batch alive in the cache.
            rows = [row.copy() for row in self._embedder.embed(list(new.values()))]
            found.update(zip(new, rows, strict=True))
            with self._lock:
                for key in new:
                    self._cache[key] = found[key]
                    self._cache.move_to_end(key)
                while len(self._cache) > self._capacity:
                    self._cache.popitem(last=False)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for index, key in enumerate(keys):
            vectors[index] = found[key]
        return vectors


def _key(text: str) -> bytes:
    """A digest, so that the cache doesn't keep long texts alive."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indexes of rows of similar length, so that little is computed for padding."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), limits.EMBED_BATCH):
        yield order[start : start + limits.EMBED_BATCH]


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelMissing(f"The embedding model's file {path} is not there.", remedy=_REMEDY)


def _load_session(path: Path) -> Any:
    """An ONNX Runtime session with one thread that doesn't spin."""
    import onnxruntime

    _require_file(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 4  # what goes wrong is raised; nothing on the person's terminal
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base of their own
        raise ModelCorrupt(f"{path} is no ONNX model that can be run.", remedy=_REMEDY) from error


def _load_tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    raw = _tokenizer_json(path)
    try:
        tokenizer = Tokenizer.from_str(raw.decode("utf-8"))
    except Exception as error:  # the bindings raise bare Exception
        raise ModelCorrupt(
            f"{path} holds no tokenizer that can be read.", remedy=_REMEDY
        ) from error
    tokenizer.no_truncation()  # lengths are counted whole; rows are cut and padded here
    tokenizer.no_padding()
    return tokenizer


def _tokenizer_json(path: Path) -> bytes:
    """The bytes of ``tokenizer.json``, from the file itself or out of the zip archive it is."""
    _require_file(path)
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                return _bounded(path, file.read(limits.TOKENIZER_BYTES + 1))
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "tokenizer.json"]
            if len(names) != 1:
                raise ModelCorrupt(f"{path} holds no single tokenizer.json.", remedy=_REMEDY)
            # Read, never extracted, and no further than the limit, whatever the header says.
            with archive.open(names[0]) as member:
                return _bounded(path, member.read(limits.TOKENIZER_BYTES + 1))
    except LlmosError:
        raise
    except Exception as error:  # zipfile raises half a dozen kinds on a damaged archive
        raise ModelCorrupt(f"{path} cannot be read.", remedy=_REMEDY) from error


def _bounded(path: Path, raw: bytes) -> bytes:
    if len(raw) > limits.TOKENIZER_BYTES:
        raise ModelCorrupt(f"The tokenizer in {path} is too large.", remedy=_REMEDY)
    return raw
