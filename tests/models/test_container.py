"""The GGUF container: honest files read whole, lying ones refused cheaply."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos import limits
from llmos.errors import ModelCorrupt, ModelMissing
from llmos.models.container import read_container

Make = Callable[..., bytes]


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], object]:
    def call(raw: bytes) -> object:
        path = tmp_path / "model.gguf"
        path.write_bytes(raw)
        return read_container(path)

    return call


def test_an_honest_file_is_read_whole(make_gguf: Make, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(make_gguf({"llama.rope.freq_base": 10000.0, "x.flag": True}))
    container = read_container(path)
    assert container.version == 3
    assert container.metadata["general.name"] == "Tiny"
    assert container.metadata["llama.rope.freq_base"] == 10000.0
    assert container.metadata["x.flag"] is True
    assert container.metadata["tokenizer.ggml.tokens"] == ("a", "b", "c")
    assert [(t.name, t.kind, t.elements, t.size) for t in container.tensors] == [
        ("token_embd.weight", "F32", 192, 768),
        ("blk.0.attn_q.weight", "Q8_0", 4096, 4352),
    ]
    assert container.tensors[1].offset + container.tensors[1].size == path.stat().st_size


def test_version_2_is_read_like_version_3(make_gguf: Make, read: Callable[..., object]) -> None:
    assert read(make_gguf(version=2)).version == 2  # type: ignore[attr-defined]


def test_nested_arrays_are_walked_and_not_kept(
    make_gguf: Make, read: Callable[..., object]
) -> None:
    inner = struct.pack("<IQ2I", 4, 2, 7, 8)
    nested = struct.pack("<IIQ", 9, 9, 2) + inner + inner
    container = read(make_gguf({"x.nested": nested, "x.after": 5}))
    assert "x.nested" not in container.metadata  # type: ignore[attr-defined]
    assert container.metadata["x.after"] == 5  # type: ignore[attr-defined]


def test_long_arrays_are_counted_but_not_kept(make_gguf: Make, read: Callable[..., object]) -> None:
    count = limits.GGUF_KEPT_ARRAY + 1
    container = read(make_gguf({"x.scores": [1] * count, "x.words": ["w"] * count, "x.after": 5}))
    assert "x.scores" not in container.metadata  # type: ignore[attr-defined]
    assert "x.words" not in container.metadata  # type: ignore[attr-defined]
    assert container.lengths["x.words"] == count  # type: ignore[attr-defined]
    assert container.metadata["x.after"] == 5  # type: ignore[attr-defined]


HUGE = 1 << 40
LIES: dict[str, tuple[dict[str, object], str]] = {
    "tensor count": ({"tensor_count": HUGE}, "claims"),
    "plausible tensor count": ({"tensor_count": limits.GGUF_TENSORS}, "ends within"),
    "key count": ({"key_count": HUGE}, "claims"),
    "plausible key count": ({"key_count": limits.GGUF_KEYS}, "ends within"),
    "string length": ({"metadata": {"x": struct.pack("<IQ", 8, HUGE)}}, "ends within"),
    "array length": ({"metadata": {"x": struct.pack("<IIQ", 9, 4, HUGE)}}, "ends within"),
    "array of strings": ({"metadata": {"x": struct.pack("<IIQ", 9, 8, HUGE)}}, "ends within"),
    "array of arrays": ({"metadata": {"x": struct.pack("<IIQ", 9, 9, HUGE)}}, "ends within"),
    "deep nesting": (
        {"metadata": {"x": struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50}},
        "deep",
    ),
    "value type": ({"metadata": {"x": struct.pack("<II", 77, 1)}}, "unknown type"),
    "element type": ({"metadata": {"x": struct.pack("<IIQI", 9, 77, 1, 1)}}, "element type"),
    "tensor shape": ({"tensors": [("t", [HUGE, HUGE], 0, 0)]}, "elements"),
    "empty tensor": ({"tensors": [("t", [0], 0, 0)]}, "0 elements"),
    "tensor size": ({"tensors": [("t", [HUGE], 0, 0)]}, "cut short"),
    "tensor offset": ({"tensors": [("t", [32], 0, 1 << 62)]}, "cut short"),
    "tensor dimensions": ({"tensors": [("t", [1] * 5, 0, 0)]}, "dimensions"),
    "tensor type": ({"tensors": [("t", [32], 99, 0)]}, "unknown type 99"),
    "block size": ({"tensors": [("t", [33], 8, 0)]}, "multiple of 32"),
    "alignment of a tensor": ({"tensors": [("t", [32], 0, 8)]}, "not aligned"),
    "overlap": ({"tensors": [("a", [32], 0, 0), ("b", [32], 0, 32)]}, "overlaps"),
    "same name": ({"tensors": [("a", [8], 0, 0), ("a", [8], 0, 32)]}, "same name"),
    "long tensor name": ({"tensors": [("a" * 200, [8], 0, 0)]}, "claims 200 bytes"),
    "alignment": ({"metadata": {"general.alignment": 3}}, "alignment"),
    "alignment zero": ({"metadata": {"general.alignment": 0}}, "alignment"),
    "alignment text": ({"metadata": {"general.alignment": "x"}}, "alignment"),
    "version 1": ({"version": 1}, "version 1"),
    "big endian": ({"version": 3 << 24}, "big-endian"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_with_its_sentence(
    lie: str, make_gguf: Make, read: Callable[..., object]
) -> None:
    arguments, words = LIES[lie]
    raw = make_gguf(**arguments)
    tracemalloc.start()
    with pytest.raises(ModelCorrupt, match=words) as caught:
        read(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20
    assert "model.gguf" in str(caught.value)


def test_a_key_may_not_be_there_twice(make_gguf: Make, read: Callable[..., object]) -> None:
    raw = make_gguf({"same.one": 1, "same.two": 2}).replace(b"same.two", b"same.one")
    with pytest.raises(ModelCorrupt, match="twice"):
        read(raw)


def test_a_file_cut_at_any_byte_is_refused(make_gguf: Make, read: Callable[..., object]) -> None:
    raw = make_gguf()
    for length in range(0, len(raw), 7):
        with pytest.raises(ModelCorrupt):
            read(raw[:length])


def test_kept_values_share_one_budget(
    make_gguf: Make, read: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GGUF_KEPT_BYTES", 1000)
    container = read(make_gguf({f"x.{n}": "v" * 400 for n in range(5)}, base={}))
    assert len(container.metadata) == 2  # type: ignore[attr-defined]


def test_too_many_strings_are_refused(
    make_gguf: Make, read: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GGUF_STRINGS", 10)
    with pytest.raises(ModelCorrupt, match="more than 10 elements"):
        read(make_gguf({"x": ["w"] * 11}))


def test_a_header_beyond_the_bound_is_refused(
    make_gguf: Make, read: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GGUF_HEADER_BYTES", 200)
    with pytest.raises(ModelCorrupt, match="larger than any real header"):
        read(make_gguf())


def test_what_is_no_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="There is no model file"):
        read_container(tmp_path / "nothing.gguf")
    with pytest.raises(ModelMissing, match="folder"):
        read_container(tmp_path)
    with pytest.raises(ModelMissing, match="ordinary"):
        read_container(Path("/dev/zero"))
    with pytest.raises(ModelMissing, match="cannot be read"):
        read_container(Path("a\0b"))


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, 1 << 16), st.sampled_from([1, 4, 8]), st.integers(0, (1 << 64) - 1)
        ),
        min_size=1,
        max_size=6,
    ),
    cut=st.integers(0, 400),
)
def test_any_mutation_ends_in_a_header_or_model_corrupt(
    edits: list[tuple[int, int, int]], cut: int, make_gguf: Make, tmp_path: Path
) -> None:
    raw = bytearray(make_gguf())
    header = len(raw) - 5120
    for place, width, value in edits:
        at = place % header
        raw[at : at + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    path = tmp_path / "mutant.gguf"
    path.write_bytes(raw[: len(raw) - cut] if cut > 300 else raw)
    tracemalloc.start()
    try:
        container = read_container(path)
        assert all(t.offset + t.size <= container.file_size for t in container.tensors)
    except ModelCorrupt as error:
        assert "\n" not in str(error).split(" is damaged")[0]
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 16 << 20
