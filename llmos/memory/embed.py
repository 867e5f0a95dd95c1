"""Texts to vectors: what an embedder is, and one that remembers what it saw last.

The embedders themselves: ``embed_onnx.py``, ``embed_gguf.py``, ``embed_remote.py``; which of them
the settings mean: ``embedders.py``.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from llmos import limits

__all__ = [
    "CachedEmbedder",
    "Embedded",
    "Embedder",
    "ModelEmbedder",
    "Vectors",
    "unit",
]

#: Shape (n, dimension), one L2-normalised row a text.
Vectors: TypeAlias = npt.NDArray[np.float32]


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
            LlmosError: The model cannot be used; the sentence says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors and what the model saw of each text.

    Args:
        vectors: Shape (n, dimension).
        tokens: Length of each text in tokens, control tokens included; of a text that was cut
            before it was tokenized (``limits.EMBED_CHARS``), the length of what was read. Empty
            where somebody else's server counts.
        truncated: Whether the end of the text did not reach the model.
        used: Tokens that were computed, of all texts together; 0 where nobody says.
    """

    vectors: Vectors
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]
    used: int


class ModelEmbedder(Embedder, Protocol):
    """An embedder with a model of its own behind it, which counts what it reads.

    ``dimension`` and ``window`` are known once ``load`` returned; before, they may be 0. ``model``
    is what a client calls the model. ``window`` is in tokens, 0 where nobody knows.
    """

    @property
    def model(self) -> str: ...

    @property
    def window(self) -> int: ...

    def load(self) -> None:
        """Get ready now; otherwise the first use does.

        Raises:
            LlmosError: The model cannot be used; the sentence says why.
        """
        ...

    def embed_counted(self, texts: Sequence[str], *, cut: bool = True) -> Embedded:
        """The vectors of ``texts``, their lengths, and which of them were cut.

        Args:
            texts: Any number.
            cut: A text longer than the window is cut; otherwise it is refused.

        Raises:
            TextTooLong: A text is too long, and must not be cut.
            LlmosError: As ``embed``.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds. Safe to call twice, and from another thread."""
        ...


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


def unit(vectors: npt.NDArray[Any]) -> Vectors:
    """The rows of ``vectors`` with length 1, as float32; a row of zeros stays one.

    However large or small the numbers are: squared as they come, they could all be infinite or 0.
    """
    peak = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    scaled = vectors / np.where(peak > 0, peak, 1)
    norm = np.linalg.norm(scaled, axis=1, keepdims=True)
    rows: Vectors = (scaled / np.where(norm > 0, norm, 1)).astype(np.float32)
    return rows


def _key(text: str) -> bytes:
    """A digest, so that the cache doesn't keep long texts alive."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
