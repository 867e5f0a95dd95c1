"""Headers of models, real and hand-made, and what ``verify`` lets through to llama.cpp."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos.errors import ModelCorrupt, ModelMissing
from llmos.models import header, header_process
from llmos.models.gguf import read_header, verify

Make = Callable[..., bytes]


def test_the_starter_model_is_described_as_it_is(starter_weights: Path) -> None:
    header = verify(starter_weights)
    assert header.architecture == "llama"
    assert header.size_label == "135M"
    assert header.parameters == 134_515_008
    assert header.quantisation == "Q4_1"
    assert header.context == 8192
    assert (header.layers, header.embedding, header.heads) == (30, 576, 9)
    assert header.kv_heads == (3,) * 30
    assert (header.key_length, header.value_length) == (64, 64)
    assert header.vocab == 49_152
    assert header.tokenizer == "gpt2"
    assert header.licence == "apache-2.0"
    assert header.tensors == 272
    assert "<|im_start|>" in header.template
    assert not header.recurrent and not header.sliding_window and not header.experts
    assert 0 < header.tensor_bytes < header.file_size == starter_weights.stat().st_size


def test_the_header_agrees_with_the_reference_reader(starter_weights: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    reference = gguf.GGUFReader(starter_weights)
    header = read_header(starter_weights)
    assert header.tensor_bytes == sum(int(tensor.n_bytes) for tensor in reference.tensors)
    assert header.parameters == sum(int(tensor.n_elements) for tensor in reference.tensors)


def test_a_starter_model_cut_short_is_refused(starter_weights: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    with starter_weights.open("rb") as whole:
        cut.write_bytes(whole.read(5_000_000))
    with pytest.raises(ModelCorrupt, match="cut short: 5,000,000 bytes of 98,362,432"):
        verify(cut)


def test_a_web_page_saved_as_a_model_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.gguf"
    page.write_text("<!doctype html><title>Sign in</title>")
    with pytest.raises(ModelCorrupt, match="does not start like a GGUF file"):
        verify(page)


@pytest.fixture
def header_of(tmp_path: Path, make_gguf: Make) -> Callable[..., object]:
    def call(*args: object, check: bool = False, name: str = "m.gguf", **kwargs: object) -> object:
        path = tmp_path / name
        path.write_bytes(make_gguf(*args, **kwargs))
        return verify(path) if check else read_header(path)

    return call


def test_missing_sizes_are_derived(header_of: Callable[..., object]) -> None:
    header = header_of({"general.name": None, "llama.attention.head_count_kv": None}, check=True)
    assert header.name == "m"  # type: ignore[attr-defined]
    assert header.kv_heads == (4, 4)  # type: ignore[attr-defined]
    assert header.key_length == 16  # type: ignore[attr-defined]
    assert header.size_label == "4.29K"  # type: ignore[attr-defined]
    assert header.quantisation == "Q8_0"  # type: ignore[attr-defined]


def test_kv_heads_may_differ_by_layer(header_of: Callable[..., object]) -> None:
    header = header_of({"llama.attention.head_count_kv": [0, 2]}, check=True)
    assert header.kv_heads == (0, 2)  # type: ignore[attr-defined]


def test_recurrent_layers_are_noticed(header_of: Callable[..., object]) -> None:
    keys = {"inner_size": 128, "state_size": 16, "conv_kernel": 4, "group_count": 1}
    header = header_of({f"llama.ssm.{key}": value for key, value in keys.items()})
    assert header.recurrent  # type: ignore[attr-defined]
    assert header.ssm_state == 2 * (3 * (128 + 32) + 128 * 16)  # type: ignore[attr-defined]


def test_a_template_too_large_to_keep_is_left_out(header_of: Callable[..., object]) -> None:
    header = header_of({"tokenizer.chat_template": "x" * (1 << 21)})
    assert header.template == ""  # type: ignore[attr-defined]


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "an adapter": ({"general.type": "adapter", "adapter.type": "lora"}, "adapter"),
    "a projector": ({"general.type": "mmproj"}, "'mmproj'"),
    "no architecture": ({"general.architecture": None}, "architecture"),
    "no layers": ({"llama.block_count": None}, "how many layers"),
    "no tokenizer": ({"tokenizer.ggml.model": None}, "no tokenizer"),
    "no vocabulary": ({"tokenizer.ggml.tokens": None}, "no tokenizer"),
    "text for a number": ({"llama.block_count": "many"}, "'llama.block_count' has a senseless"),
    "a number for text": ({"general.architecture": 7}, "'general.architecture' has a senseless"),
    "absurd layers": ({"llama.block_count": 1_000_000}, "senseless"),
    "heads for other layers": ({"llama.attention.head_count_kv": [1, 2, 3]}, "senseless"),
    "fractions": ({"llama.embedding_length": 2.5}, "senseless"),
    "negative": ({"llama.context_length": struct.pack("<Ii", 5, -1)}, "senseless"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_language_model_is_refused(case: str, header_of: Callable[..., object]) -> None:
    metadata, words = REFUSED[case]
    with pytest.raises(ModelCorrupt, match=words):
        header_of(metadata, check=True)


def test_a_vocabulary_alone_is_refused(header_of: Callable[..., object]) -> None:
    with pytest.raises(ModelCorrupt, match="no weights"):
        header_of(tensors=[], check=True)


def test_a_split_model_needs_all_its_parts(
    header_of: Callable[..., object], tmp_path: Path, make_gguf: Make
) -> None:
    split = {"split.count": struct.pack("<IH", 2, 2), "split.no": struct.pack("<IH", 2, 0)}
    first = "m-00001-of-00002.gguf"
    with pytest.raises(ModelMissing, match="needs m-00002-of-00002.gguf"):
        header_of(split, check=True, name=first)
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(make_gguf(base={}))
    header = header_of(split, check=True, name=first)
    assert header.tensors == 4  # type: ignore[attr-defined]
    assert header.parameters == 2 * 4288  # type: ignore[attr-defined]
    with pytest.raises(ModelCorrupt, match="not named like one"):
        header_of(split, check=True, name="renamed.gguf")


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read headers here, where many are read; the jail has tests of its own."""

    async def read(file: BinaryIO, size: int, path: Path) -> header.GgufHeader:
        return header.described(file, size, path)

    monkeypatch.setattr(header_process, "read", read)


@pytest.mark.usefixtures("in_process")
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(place=st.integers(0, 1 << 16), junk=st.binary(min_size=1, max_size=12))
def test_any_mutation_is_verified_or_refused(
    place: int, junk: bytes, make_gguf: Make, tmp_path: Path
) -> None:
    raw = bytearray(make_gguf())
    at = place % (len(raw) - 5120)
    raw[at : at + len(junk)] = junk
    path = tmp_path / "mutant.gguf"
    path.write_bytes(raw)
    try:
        assert verify(path).layers >= 1
    except (ModelCorrupt, ModelMissing) as error:
        assert str(path) in str(error)


def test_a_model_made_for_too_few_tokens_is_refused(make_gguf: Make, tmp_path: Path) -> None:
    file = tmp_path / "short.gguf"
    for context in (255, None):
        file.write_bytes(make_gguf({"llama.context_length": context}))
        with pytest.raises(ModelCorrupt, match="too few"):
            verify(file)
