"""Whom a message is for, and what is said where nobody has that name."""

from __future__ import annotations

import pytest

from llmos import limits
from llmos.experts.address import addressed, meant, unknown


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("@coder why does this fail?", "coder"),
        ("  @Coder, why?", "coder"),
        ("@coder: why?", "coder"),
        ("@coder\nwhy?", "coder"),
        ("@coder", "coder"),
        ("@coder? why", "coder"),
        ("@coders why?", "coders"),
        ("@coder-x why?", "coder-x"),
        ("@coder@example.org wrote", ""),
        ("ask @coder why", ""),
        ("me@coder why", ""),
        ("@ coder", ""),
        ("@ 5pm", ""),
        ("@5pm", ""),
        ("", ""),
    ],
)
def test_a_message_is_for_whose_name_it_begins_with(text: str, name: str):
    assert addressed(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "@analist which columns?",
        " @Analist, which?",
        "@analist",
        "@analist\nwhich columns are there?",
        "@analist: which?\n\nname;sold\nboat;3",
        "@my-own-expert... hello",
    ],
)
def test_a_word_that_can_only_be_a_name_is_meant_as_one(text: str):
    assert meant(text)


@pytest.mark.parametrize(
    "text",
    [
        "@example.org is a domain",
        "@a is a letter",
        "@two--hyphens",
        f"@{'long' * 9} name",
        "@my_decorator",
        "@dataclass\nclass Point: ...",
        "@staticmethod\r\n    def of(): ...",
        "@cached\n@property\ndef size(self): ...",
        "@Override\npublic String toString() {",
        "@media (max-width: 9em) {\n  a { color: red }\n}",
        '@charset "utf-8";',
        "@pytest.fixture\ndef home(): ...",
        "write to me@example.org or @coder",
    ],
)
def test_addresses_handles_within_a_text_and_pasted_code_are_text(text: str):
    assert not meant(text)


def test_the_nearest_name_and_those_that_are_there_are_told():
    error = unknown("analist", {"coder", "analyst", "researcher"})
    assert str(error) == (
        "There is no expert @analist. Did you mean @analyst? "
        "Installed: @analyst, @coder, @researcher."
    )
    assert "Did you mean" not in str(unknown("zzz", {"coder"}))


def test_what_is_told_stays_short_whatever_was_asked_and_however_many_there_are():
    names = [f"expert-{n:03}" for n in range(200)]
    assert f"and {200 - limits.EXPERTS_TOLD} more." in str(unknown("nobody", names))
    told = str(unknown("\x1b[2J" * 5000, names))
    assert "\x1b" not in told and len(told) < 600
    assert str(unknown("nobody", ())) == "There is no expert @nobody. See: llmos plugin --help"
