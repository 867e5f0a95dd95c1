"""A grammar that would hold up everybody is refused; what people write is not."""

from __future__ import annotations

import string

import pytest

from llmos.engine.grammar import from_schema
from llmos.errors import GrammarError


def refused(schema: object) -> str:
    with pytest.raises(GrammarError) as caught:
        from_schema(schema)
    return str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [
        "^" + ".*" * 60 + "$",
        "^(" + "|".join(".*" + c for c in string.ascii_letters) + ")$",
    ],
)
def test_a_pattern_with_too_many_ways_to_go_on_is_refused(pattern):
    assert "too many ways" in refused({"type": "string", "pattern": pattern})


def test_so_it_is_wherever_it_is_hidden():
    wide = {"type": "string", "pattern": "^" + ".*" * 60 + "$"}
    for schema in (
        {"type": "object", "properties": {"a": wide}},
        {"type": "array", "items": {"anyOf": [{"type": "null"}, wide]}},
        {"$defs": {"w": wide}, "type": "array", "items": {"$ref": "#/$defs/w"}},
    ):
        assert "too many ways" in refused(schema)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
        r"^\d{3}-\d{4}( ext\. \d+)?$",
        r"^(a|b|c)*d.*$",
        r"^.{0,2000}$",
        r"^\w+(\.\w+)*$",
        r"^.*foo.*bar.*$",
    ],
)
def test_patterns_people_write_are_taken(pattern):
    assert from_schema({"type": "string", "pattern": pattern})


def test_wide_schemas_people_write_are_taken():
    names = [f"field_{i}" for i in range(150)]
    assert from_schema({"type": "object", "properties": {n: {"type": "integer"} for n in names}})
    assert from_schema({"enum": [f"value number {i}" for i in range(4000)]})
    assert from_schema({"enum": list(range(20_000))})


@pytest.mark.parametrize("count", [10**9, 10**18, 10**30, 10**300, 1e300])
def test_a_huge_count_is_no_different_from_none(count):
    for schema in (
        {"type": "string", "maxLength": count},
        {"type": "array", "items": {"type": "integer"}, "maxItems": count},
    ):
        assert from_schema(schema) == from_schema(
            {key: value for key, value in schema.items() if not key.startswith("max")}
        )


def test_a_count_no_reply_could_hold_is_refused():
    assert "any reply" in refused({"type": "string", "minLength": 10**30})
