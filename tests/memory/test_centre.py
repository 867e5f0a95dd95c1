"""Cosines that mean the same for any model, on one that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llmos import limits
from llmos.errors import RemoteDown
from llmos.memory.centre import Centred
from llmos.memory.embed import Embedder
from llmos.memory.embed_gguf import GgufEmbedder
from llmos.memory.embedders import for_memory, starter

UNRELATED = [
    "I forgot my login credentials.",
    "The soup needs salt.",
    "Interest rates rose.",
    "Our landlord raised the rent by eight percent.",
    "A kitten naps on the couch.",
    "The server side is written in Rust.",
]


@pytest.fixture(scope="module")
def gguf(starter_weights: Path) -> Iterator[GgufEmbedder]:
    embedder = GgufEmbedder(starter_weights)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def centred(gguf: GgufEmbedder) -> Centred:
    """Its middle is computed with the first text, and once."""
    return Centred(gguf)


def passing(embedder: Embedder) -> float:
    """The share of pairs that have nothing in common and would be brought back all the same."""
    vectors = embedder.embed(UNRELATED)
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    return float(np.mean(cosines >= limits.PREFETCH_SIMILAR))


def test_what_has_nothing_in_common_is_not_taken_for_related(
    gguf: GgufEmbedder, centred: Centred
) -> None:
    assert passing(gguf) > 0.9
    assert passing(centred) == 0


def test_vectors_keep_their_length_and_what_means_the_same_stays_nearer(centred: Centred) -> None:
    vectors = centred.embed(["The cat sleeps on the sofa.", UNRELATED[4], UNRELATED[2]])
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]


def test_it_is_a_space_of_its_own(gguf: GgufEmbedder, centred: Centred) -> None:
    centred.embed(["a"])
    assert centred.name != gguf.name
    assert centred.dimension == gguf.dimension == 576


def test_memory_takes_the_starter_as_it_is_and_any_other_from_its_middle(
    gguf: GgufEmbedder, embedder_weights: Path, embedder_tokenizer: Path
) -> None:
    assert for_memory(starter()).name == starter().name
    assert for_memory(gguf).name == Centred(gguf).name


def test_the_middle_is_computed_once_and_tried_again_where_that_failed() -> None:
    class Shaky:
        name, dimension, down, calls = "shaky", 2, True, 0

        def embed(self, texts):
            self.calls += 1
            if self.down:
                raise RemoteDown("It is down.")
            return np.array([[len(text), 1.0] for text in texts], np.float32)

    shaky = Shaky()
    centred = Centred(shaky)
    with pytest.raises(RemoteDown):
        centred.embed(["a"])
    shaky.down = False
    centred.embed(["a"])
    centred.embed(["b"])
    assert shaky.calls == 4
