"""Values and descriptions that come out of a jail: what is passed, and what is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos import sdk, services
from llmos.door import schema
from llmos.errors import ExpertError, InvalidArguments
from llmos.experts import described, wire

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=20,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inside: (
        st.lists(inside)
        | st.dictionaries(
            st.sampled_from(["is", "of", "map", "bytes", "Page", "type", "properties"]) | st.text(),
            inside,
        )
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_a_value_comes_out_as_it_went_in(value: Any):
    message = wire.parse(wire.line({"kind": "x", "value": wire.pack(value)}))
    assert wire.unpack(message["value"]) == value


@pytest.mark.parametrize(
    "value",
    [
        services.Page("a", "b", "c", (("d", "e"), ("f", "g"))),
        services.Entry("/a", False, 3, 1.5),
        services.Entry("/a", False, 3, 1),
        services.Ran("out", "", (services.Artifact("a.png", "image/png", b"\x89"),)),
        services.Timer("t1", 3.0, "tea"),
    ],
)
def test_what_services_give_passes_whole(value: Any):
    assert wire.unpack(wire.parse(wire.line({"kind": "x", "v": wire.pack(value)}))["v"]) == value


@pytest.mark.parametrize(
    "packed",
    [
        {},
        {"is": "Page"},
        {"is": "Path", "of": {}},
        {"is": "Page", "of": {"address": "a"}},
        {"is": "Page", "of": {"address": "a", "title": "b", "text": 3}},
        {"is": "Page", "of": {"address": "a", "title": "b", "text": "c", "links": [["d"]]}},
        {"is": "Page", "of": {"address": "a", "title": "b", "text": "c", "other": 1}},
        {"is": "Entry", "of": {"path": "a", "folder": 1, "size": 1, "modified": 1.0}},
        {"is": "Entry", "of": {"path": "a", "folder": True, "size": True, "modified": 1.0}},
        {"bytes": "no base64!"},
        {"bytes": "", "more": 1},
        {"map": []},
        [{"x": 1}],
    ],
)
def test_what_is_no_value_is_refused(packed: Any):
    with pytest.raises(ValueError, match=r"\w"):
        wire.unpack(packed)


@given(JSON)
def test_nothing_that_a_stranger_packs_breaks_the_reader(packed: Any):
    try:
        wire.unpack(packed)
    except ValueError:
        pass


def test_only_data_is_passed():
    with pytest.raises(TypeError):
        wire.pack({"a": object()})
    with pytest.raises(TypeError):
        wire.pack({1: "a"})
    with pytest.raises(ValueError):
        wire.line({"kind": float("nan")})


@pytest.mark.parametrize("raw", [b"", b"x", b"[]", b"{}", b'{"kind": 3}', b"[" * 200_000, b"\xff"])
def test_what_is_no_message_is_refused(raw: bytes):
    with pytest.raises(ValueError, match=r"."):
        wire.parse(raw)


# --- descriptions -------------------------------------------------------------------------------


def many(
    text: Annotated[str, sdk.Length(1, 9), sdk.Pattern("[a-z]+")],
    number: Annotated[float, sdk.Range(0, 1)],
    kind: Literal["a", "b"],
    items: list[int],
    table: dict[str, float],
    free: dict[str, Any],
    flag: bool = False,
    place: Annotated[str, sdk.Verbatim(also=("here",), joins=(" + ",))] = "",
) -> str:
    """Do many things.

    Args:
        text: Small letters.
    """
    return text


def said(function: Any) -> dict[str, Any]:
    signature = schema.read(function)
    verbatim = {
        name: {"also": list(how.also), "joins": list(how.joins), "after": list(how.after)}
        for name, how in signature.verbatim.items()
    }
    return {
        "schema": signature.schema,
        "summary": signature.summary,
        "verbatim": verbatim,
        "defaults": signature.defaults,
    }


RIGHT: dict[str, Any] = {
    "text": "abc",
    "number": 0.5,
    "kind": "a",
    "items": [1],
    "table": {"x": 1.0},
    "free": {"x": [1]},
}


def test_a_signature_comes_out_of_the_jail_as_it_was():
    here, there = schema.read(many), described.signature(said(many))
    assert there.schema == here.schema
    assert there.summary == here.summary
    assert there.verbatim == here.verbatim
    assert there.defaults == here.defaults == {"flag": False, "place": ""}
    assert there.check(RIGHT) == here.check(RIGHT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"text": ""},
        {"text": "x" * 10},
        {"text": 3},
        {"number": 2.0},
        {"kind": "c"},
        {"items": ["x"]},
        {"table": {"x": "y"}},
        {"flag": 1},
        {"other": 1},
    ],
)
def test_arguments_are_checked_on_this_side_as_on_the_other(wrong: dict[str, Any]):
    told = []
    for signature in (schema.read(many), described.signature(said(many))):
        with pytest.raises(InvalidArguments) as caught:
            signature.check({**RIGHT, **wrong})
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_a_pattern_is_not_tried_on_this_side():
    def slow(text: Annotated[str, sdk.Pattern("(a+)+b")]) -> str:
        """Slow."""
        return text

    described.signature(said(slow)).check({"text": "a" * 5000})  # it would take for ever


@pytest.mark.parametrize(
    "change",
    [
        {"schema": None},
        {"schema": {"type": "object"}},
        {"schema": {"type": "object", "properties": {}, "required": ["x"]}},
        {"schema": {"type": "object", "properties": {"a b": {"type": "string"}}, "required": []}},
        {"schema": {"type": "object", "properties": {"class": {"type": "string"}}, "required": []}},
        {"schema": {"type": "object", "properties": {"x": {"$ref": "y"}}, "required": []}},
        {"schema": {"type": "object", "properties": {"x": {"type": "magic"}}, "required": []}},
        {"summary": 3},
        {"summary": "x" * 3000},
        {"summary": "x" * 100_000},
        {"verbatim": {"nobody": {"also": [], "joins": [], "after": []}}},
        {"verbatim": []},
        {"defaults": None},
    ],
)
def test_a_description_that_is_none_is_one_sentence(change: dict[str, Any]):
    with pytest.raises(ExpertError, match="takes"):
        described.signature({**said(many), **change})


@given(JSON)
def test_no_description_breaks_the_reader(packed: Any):
    for thing in (packed, {**said(many), "schema": packed}):
        try:
            described.signature(thing)
        except ExpertError:
            pass
