"""Embedders that run on ONNX Runtime, the starter embedder (all-MiniLM-L6-v2) among them.

They know one model file and its tokenizer, both given as paths; where these come from and whether
their checksums are right is the catalog's business. Documents they don't know: what is longer
than the model's window is cut, and ``embed_counted`` says so; splitting is up to the caller. Nor do
they put anything before a text: a model that wants "query: " there finds less well.

The vector of a text doesn't depend on what shares its batch: the starter model stores its weights
in int8 but has no operator that quantises activations over the batch, and texts of 2 to 400
tokens came out bit-identical alone and padded together (x86-64, ONNX Runtime 1.31). The tests
hold 1e-3, since other kernels may round differently.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from llmos import limits
from llmos.errors import ModelCorrupt, TextTooLong
from llmos.memory.embed import Embedded, Vectors, unit
from llmos.memory.embed_files import REMEDY, open_session, open_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["MiniLM", "OnnxEmbedder", "Pooling"]

#: How the vectors of a text's tokens become one: their mean, the first one's, the last one's.
Pooling: TypeAlias = Literal["mean", "cls", "last"]


class OnnxEmbedder:
    """Sentence embeddings as sentence-transformers makes them (Reimers and Gurevych 2019,
    arXiv:1908.10084): the vectors of the tokens, pooled, with length 1.

    Nothing is read before the first use. One compute thread, which sleeps when idle: the cores
    belong to the language model.

    Args:
        onnx: The model; inputs ``input_ids``, ``attention_mask`` (and ``token_type_ids``). Its
            output ``sentence_embedding`` is taken as it is; else the first of the shape (batch,
            sequence, dimension) is pooled; else its first one is taken.
        tokenizer: ``tokenizer.json``, or a zip archive that holds it.
        name: Name of the vector space.
        model: What clients call it; the name where not given.
        dimension: Length of a vector; 0 takes the model's.
        window: Tokens of a text that count.
        pooling: How the tokens' vectors become one.
    """

    def __init__(
        self,
        onnx: Path,
        tokenizer: Path,
        *,
        name: str,
        model: str = "",
        dimension: int = 0,
        window: int = limits.EMBED_TOKENS,
        pooling: Pooling = "mean",
    ) -> None:
        self._onnx = onnx
        self._tokenizer_file = tokenizer
        self._name = name
        self._model = model or name
        self._dimension = dimension
        self._window = window
        self._pooling = pooling
        self._lock = threading.Lock()
        self._session: Any = None
        self._tokenizer: Tokenizer | None = None
        self._inputs: frozenset[str] = frozenset()
        self._output = ""

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

    def load(self) -> None:
        """Read model and tokenizer now; otherwise the first use does.

        Raises:
            ModelMissing: A file is not there.
            ModelCorrupt: A file is not what it should be.
        """
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = open_tokenizer(self._tokenizer_file)
            if self._session is None:
                self._try(open_session(self._onnx), self._tokenizer)

    def close(self) -> None:
        """Let go of the model; the next use reads it again."""
        with self._lock:
            self._session = self._tokenizer = None

    def token_count(self, text: str) -> int:
        """Length of the whole ``text`` in the model's tokens, control tokens included."""
        return len(self._encode([text])[0])

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of ``texts``; see ``Embedder.embed``.

        Only the first ``window`` tokens of a text count; ``embed_counted`` tells for which texts
        that mattered.
        """
        return self.embed_counted(texts).vectors

    def embed_counted(self, texts: Sequence[str], *, cut: bool = True) -> Embedded:
        """The vectors of ``texts``, their lengths, and which of them were cut.

        Raises:
            TextTooLong: A text is too long, and must not be cut.
            ModelMissing: A file is not there.
            ModelCorrupt: A file is not what it should be.
        """
        if not texts:
            return Embedded(np.zeros((0, self._dimension), np.float32), (), (), 0)
        encoded = self._encode([text[: limits.EMBED_CHARS] for text in texts])
        tokens = tuple(map(len, encoded))
        most = self._window
        for at, (count, text) in enumerate(zip(tokens, texts, strict=True)):
            if not cut and (count > most or len(text) > limits.EMBED_CHARS):
                raise TextTooLong(count, most, at=at, whole=len(text) <= limits.EMBED_CHARS)
        # The control token at the end stays in its place, as the model was trained.
        rows = [ids if len(ids) <= most else [*ids[: most - 1], ids[-1]] for ids in encoded]
        vectors = np.zeros((len(texts), self._dimension), np.float32)
        for batch in _batches([len(row) for row in rows]):
            vectors[batch] = self._run([rows[index] for index in batch])
        truncated = tuple(
            count > most or len(text) > limits.EMBED_CHARS
            for count, text in zip(tokens, texts, strict=True)
        )
        return Embedded(vectors, tokens, truncated, sum(map(len, rows)))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        self.load()
        tokenizer = self._tokenizer
        if tokenizer is None:  # closed meanwhile
            raise ModelCorrupt(f"The embedder {self._model} is closed.")
        # Lone surrogates cannot be encoded; the tokenizer would refuse the whole batch.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        # Not encode_batch: it runs a thread pool over the cores the language model needs. Some
        # tokenizers make no token of an empty text, and a row must have one.
        return [tokenizer.encode(text).ids or [0] for text in clean]

    def _run(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """Vectors of a batch of token rows, shape (len(rows), dimension)."""
        session = self._session
        if session is None:
            raise ModelCorrupt(f"The embedder {self._model} is closed.")
        [found] = self._compute(session, [self._output], rows)
        if found.ndim == 3:
            found = _pooled(found, [len(row) for row in rows], self._pooling)
        return unit(found)

    def _compute(
        self, session: Any, outputs: list[str] | None, rows: Sequence[Sequence[int]]
    ) -> Any:
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {name: array for name, array in feed.items() if name in self._inputs}
        try:
            return session.run(outputs, wanted)
        except Exception as error:  # tokens beyond the vocabulary, broken weights
            raise ModelCorrupt(
                f"{self._onnx} does not run with the tokens of {self._tokenizer_file}.",
                remedy=REMEDY,
            ) from error

    def _try(self, session: Any, tokenizer: Tokenizer) -> None:
        """See by one short text that the model has the expected inputs and outputs."""
        self._inputs = frozenset(given.name for given in session.get_inputs())
        known = {"input_ids", "attention_mask", "token_type_ids"}
        names = [output.name for output in session.get_outputs()]
        wrong = ModelCorrupt(
            f"{self._onnx} is no sentence embedding model"
            + (f" of dimension {self._dimension}." if self._dimension else "."),
            remedy=REMEDY,
        )
        if not names or not {"input_ids", "attention_mask"} <= self._inputs <= known:
            raise wrong
        made = dict(
            zip(
                names, self._compute(session, None, [tokenizer.encode("a").ids or [0]]), strict=True
            )
        )
        whole = [name for name in names if np.ndim(made[name]) == 2]
        apart = [name for name in names if np.ndim(made[name]) == 3]
        best = [name for name in whole if name == "sentence_embedding"]
        picked = next(iter([*best, *apart, *whole]), "")
        dimension = made[picked].shape[-1] if picked else 0
        if not dimension or self._dimension not in (0, dimension):
            raise wrong
        self._output, self._dimension, self._session = picked, dimension, session


class MiniLM(OnnxEmbedder):
    """The starter embedder.

    Args:
        onnx / tokenizer / name / dimension: See ``OnnxEmbedder``.
    """

    def __init__(
        self,
        onnx: Path,
        tokenizer: Path,
        *,
        name: str = "all-MiniLM-L6-v2",
        dimension: int = 384,
    ) -> None:
        super().__init__(onnx, tokenizer, name=name, dimension=dimension)


def _pooled(hidden: npt.NDArray[Any], lengths: Sequence[int], pooling: Pooling) -> npt.NDArray[Any]:
    """One vector a row of tokens: shape (n, sequence, dimension) becomes (n, dimension)."""
    if pooling == "cls":
        return hidden[:, 0]
    ends = np.asarray(lengths)
    if pooling == "last":
        return hidden[np.arange(len(ends)), ends - 1]
    weight = (np.arange(hidden.shape[1]) < ends[:, None])[..., None].astype(np.float32)
    return (hidden * weight).sum(axis=1) / weight.sum(axis=1)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indexes of rows of similar length, so that little is computed for padding.

    Attention takes memory with the square of the length, so long rows go in smaller batches.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        padded = (len(batch) + 1) * lengths[index]
        if batch and (len(batch) == limits.EMBED_BATCH or padded > limits.EMBED_BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
