"""What was granted, and what it does not reach."""

from __future__ import annotations

from typing import Any

import pytest

from llmos.kernel.capabilities import Capabilities, Capability, matches, same


@pytest.mark.parametrize("literal", ["*", "a*", "[ab]", "notes/?", "**"])
def test_a_literal_value_is_never_a_pattern(literal: str) -> None:
    granted = Capability("files.write", {"path": literal})
    assert granted.covers("files.write", {"path": literal}, 0)
    for other in ("a", "ab", "notes/x", "anything/at/all"):
        assert not granted.covers("files.write", {"path": other}, 0)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("notes/*", "notes/a.txt"),
        ("notes/**", "notes/2024/a.txt"),
        ("https://docs.x.org/**", "https://docs.x.org/a/b?c"),
        ("*@x.org", "ann@x.org"),
        ("a[1]", "a[1]"),
    ],
)
def test_a_pattern_leaves_open_what_it_says(pattern: str, value: str) -> None:
    assert matches(value, pattern)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("notes/*", "notes/2024/a.txt"),
        ("notes/**", "notes/../.ssh/id"),
        ("notes/**", "notes/a/.."),
        ("notes/**", "notes/%2e%2e/.ssh"),
        ("notes/**", "notes/a\\..\\b"),
        ("notes/*", "notes/a\nb"),
        ("notes/*", "notes/a\u202eb"),
        ("notes/*", "notes/a\u200bb"),
        ("notes/*", "notes/ａ"),
        ("notes/*", "mynotes/a"),
        ("https://*.x.org/**", "https://evil.com/a.x.org/b"),
        ("https://x.org**", "https://x.org@evil.com"),
        ("*", None),
        ("*", ["a"]),
        ("a[1]", "a1"),
    ],
)
def test_a_pattern_leads_nowhere_else(pattern: str, value: Any) -> None:
    assert not matches(value, pattern)


@pytest.mark.parametrize(
    ("value", "wanted", "are"),
    [
        (50, 50.0, True),
        (1, True, False),
        ([True], [1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ("1", 1, False),
        (None, "", False),
        (float("nan"), float("nan"), False),
        (object(), object(), False),
    ],
)
def test_values_are_the_same_only_where_json_says_so(value: Any, wanted: Any, are: bool) -> None:
    assert same(value, wanted) is are


def test_a_capability_is_spent_and_expires() -> None:
    held = Capabilities([Capability("t.c", uses=2, until=10.0)])
    for _ in range(2):
        found = held.find("t.c", {}, 9.0)
        assert found is not None
        held.spend(found)
    assert held.find("t.c", {}, 9.0) is None
    held.give(Capability("t.c"))
    assert held.find("t.c", {}, 99.0) is not None
    assert Capabilities([Capability("t.c", until=10.0)]).find("t.c", {}, 10.0) is None


def test_the_narrowest_one_is_used_first() -> None:
    wide, narrow = Capability("t.*"), Capability("t.c", {"to": "Ann"}, uses=1)
    held = Capabilities([wide, Capability("t.c", patterns={"to": "A*"}), narrow])
    assert held.find("t.c", {"to": "Ann"}, 0) is narrow
    assert held.find("t.d", {}, 0) is wide


def test_a_name_reaches_no_further_than_it_says() -> None:
    assert not Capability("files.read").covers("files.readall", {}, 0)
    assert not Capability("files.*").covers("filesystem.x", {}, 0)


def test_what_is_handed_to_a_child_is_never_more() -> None:
    held = Capabilities([Capability("t.a", uses=2), Capability("t.*", {"to": "Ann"})])
    child = held.handed(["t.a", "u.b"], 0)
    assert sorted(each.call for each in child) == ["t.a", "t.a"]
    assert held.find("t.a", {}, 0) is None  # what was bounded is the child's now
    assert child.find("t.b", {"to": "Ann"}, 0) is None
    assert child.find("u.b", {}, 0) is None


@pytest.mark.parametrize(
    "command", ["git status; touch pwned", "git log | sh", "git $(rm x)", "git a && b", "git `x`"]
)
def test_a_pattern_of_commands_allows_no_second_one(command: str):
    given = Capability("shell.run", patterns={"command": "git **"})
    assert not given.covers("shell.run", {"command": command}, 0)
    assert given.covers("shell.run", {"command": "git status -s"}, 0)
