"""Text made harmless for a terminal, and legible where a person says yes to it."""

from __future__ import annotations

import pytest

from llmos.visible import legible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Two words.  And more", "Two words.  And more"),
        ("def f():\n    if x:\n\treturn 1\n\n\nf()", "def f():\n    if x:\n    return 1\n\n\nf()"),
        ("a" + " " * 16 + "b", "a" + " " * 16 + "b"),
        ("a" + " " * 40 + "b", "a⟨40 spaces⟩b"),
        ("a" + "\u2800\u3164" * 20 + "b", "a⟨40 spaces⟩b"),
        ("a" + "\n \n" * 20 + "b", "a\n⟨39 empty lines⟩\nb"),
        ("/tmp/name ", "/tmp/name␣"),
        ("  ", "␣␣"),
        ("", ""),
        ("\x1b[2J\u202e", "␛[2J\ufffd"),
    ],
)
def test_white_space_that_could_hide_what_follows_is_counted(text: str, shown: str):
    assert legible(text) == shown


def test_what_has_its_place_in_a_sentence_stays_on_one_line():
    assert legible("a\nb\tc", line=True) == "a␊b␉c"
    assert legible("a" + "\n" * 900 + "b", line=True) == "a⟨900 line ends⟩b"


@pytest.mark.parametrize("part", [" ", "\n", " \u200d", " " * 16 + "x", "\n\n\n \u200d", "\u200d"])
def test_a_text_made_to_be_slow_is_not(part: str):
    assert legible(part * 200_000) is not None


def _hidden(text: str) -> str:
    """A text in variation selectors, a byte each: nothing of it is seen."""
    return "".join(chr(0xFE00 + b if b < 16 else 0xE0100 + b - 16) for b in text.encode())


@pytest.mark.parametrize(
    "unseen",
    [
        "\ufe00",
        "\U000e0100",
        "\u034f",
        "\u17b4",
        "\u180b",
        "\U0001d173",
        "\U0001bca0",
        "\u200d\u200c",
    ],
)
def test_what_has_no_width_is_shown_where_it_means_nothing(unseen: str):
    assert "\ufffd" in legible(f"https://example.org/{unseen}graz")


def test_a_message_in_what_has_no_width_is_seen():
    assert legible("weather" + _hidden("PIN 4711")) == "weather" + "\ufffd" * 8


@pytest.mark.parametrize("text", ["❤\ufe0f", "👩\u200d👩\u200d👧", "می\u200cخواهم", "1\ufe0f⃣"])
def test_what_has_no_width_stays_where_it_belongs(text: str):
    assert legible(text) == text
