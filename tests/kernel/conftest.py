"""Kernels with a memory: the scripted double, the real embedder, a real journal and index."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from llmos.memory.embed_onnx import MiniLM
from tests.kernel.kernels import remembering


@pytest.fixture(scope="module")
def embedder(embedder_weights: Path, embedder_tokenizer: Path):
    return MiniLM(embedder_weights, embedder_tokenizer)


@pytest.fixture
def started(home: Path, embedder):
    """Starts kernels with a memory, on the same state."""
    return functools.partial(remembering, home, embedder=embedder)
