"""What a header says, carried over a pipe: read back whole, or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos import limits
from llmos.models.header import GgufHeader, described, read_back, told

Make = Callable[..., bytes]
PATH = Path("/models/m.gguf")


@pytest.fixture
def header(make_gguf: Make) -> GgufHeader:
    raw = make_gguf()
    return described(io.BytesIO(raw), len(raw), PATH)


def said(header: GgufHeader) -> Any:
    """A header as it comes out of a pipe."""
    return json.loads(json.dumps(told(header)))


def test_a_header_comes_back_as_it_went(header: GgufHeader) -> None:
    assert read_back(said(header), PATH, header.file_size) == header


def test_only_the_header_is_read(make_gguf: Make) -> None:
    whole = make_gguf()
    file = io.BytesIO(whole)
    described(file, len(whole), PATH)
    assert file.tell() < len(whole) - 4096


def test_texts_for_people_are_one_harmless_line(make_gguf: Make) -> None:
    raw = make_gguf({"general.name": "a\x1b[2J\nb", "general.type": "model\n"})
    header = described(io.BytesIO(raw), len(raw), PATH)
    assert (header.name, header.kind) == ("a␛[2J b", "model")
    assert read_back(said(header), PATH, header.file_size) == header


def test_a_long_text_for_people_is_cut(make_gguf: Make) -> None:
    raw = make_gguf({"general.license": "word " * limits.GGUF_LABEL_CHARS})
    header = described(io.BytesIO(raw), len(raw), PATH)
    assert len(header.licence) == limits.GGUF_LABEL_CHARS - 1
    assert read_back(said(header), PATH, header.file_size) == header


LIES: dict[str, dict[str, Any]] = {
    "a text for a number": {"layers": "2"},
    "a number for a text": {"name": 7},
    "a number for a yes": {"recurrent": 1},
    "a yes for a number": {"heads": True},
    "a fraction": {"context": 512.5},
    "a negative number": {"vocab": -1},
    "a number without end": {"parameters": 1 << 200},
    "a list for a text": {"template": []},
    "nothing": {"kv_heads": None},
    "heads for other layers": {"kv_heads": [2]},
    "heads that are texts": {"kv_heads": ["2", "2"]},
    "heads that are too many": {"kv_heads": [1 << 41, 2]},
    "absurd layers": {"layers": 5000, "kv_heads": [0] * 5000},
    "a long name": {"name": "x" * (limits.GGUF_LABEL_CHARS + 1)},
    "a long template": {"template": "x" * (limits.GGUF_KEPT_STRING_BYTES + 1)},
    "an escape": {"licence": "\x1b[2J"},
    "two lines": {"architecture": "llama\nmit"},
    "half a character": {"template": "\ud800"},
    "another size": {"file_size": 1},
    "more weights than file": {"tensor_bytes": 1 << 40},
    "a field of its own": {"path": "/etc/passwd"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_not_read_back(lie: str, header: GgufHeader) -> None:
    with pytest.raises(ValueError, match=r"wrong|other fields|surrogates"):
        read_back({**said(header), **LIES[lie]}, PATH, header.file_size)


@pytest.mark.parametrize("what", [None, 1, "x", [], {}, {"header": {}}])
def test_what_is_no_header_is_not_read_back(what: object) -> None:
    with pytest.raises(ValueError, match="other fields"):
        read_back(what, PATH, 100)


_NOISE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_value_in_any_place_is_read_back_well_formed_or_refused(
    data: st.DataObject, header: GgufHeader
) -> None:
    values = said(header)
    values[data.draw(st.sampled_from(sorted(values)))] = data.draw(_NOISE)
    try:
        back = read_back(values, PATH, header.file_size)
    except ValueError:
        return
    for name in GgufHeader.__slots__:
        assert type(getattr(back, name)) is type(getattr(header, name))
    assert replace(back, path=PATH) == back
