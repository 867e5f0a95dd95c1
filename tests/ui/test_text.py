"""Text on its way to the screen."""

from __future__ import annotations

import unicodedata

import pytest

from llmos.ui.text import age, arguments, duration, one_line, visible


def test_an_escape_sequence_becomes_visible():
    assert visible("a\x1b[31mred\x1b]0;title\x07") == "a␛[31mred␛]0;title␇"


def test_lines_and_tabs_stay_and_windows_line_ends_become_newlines():
    assert visible("a\tb\r\nc\n") == "a\tb\nc\n"


def test_a_lone_return_cannot_overwrite_the_line():
    assert visible("safe\rrm") == "safe␍rm"


@pytest.mark.parametrize(
    "mark", ["\u202e", "\u2066", "\u200f", "\u061c", "\x9b", "\ufeff", "\U000e0041"]
)
def test_marks_that_change_how_text_reads_become_visible(mark: str):
    assert visible(f"a{mark}b") == "a\ufffdb"


def test_nothing_a_terminal_acts_on_is_left():
    every = "".join(map(chr, range(0x3000)))
    left = {c for c in visible(every) if unicodedata.category(c) in ("Cc", "Zl", "Zp")}
    assert left <= {"\t", "\n"}


def test_a_lone_surrogate_can_be_written_to_a_terminal():
    visible("a\ud83d").encode("utf-8")


def test_joiners_stay_because_scripts_are_spelt_with_them():
    assert visible("می\u200cخواهم") == "می\u200cخواهم"


def test_a_title_is_cut_at_a_word():
    assert (
        one_line("What is 17 × 24,\nand what day is it in Tokyo?", 30)
        == "What is 17 × 24, and what day…"
    )
    assert one_line("short", 30) == "short"
    assert len(one_line("x" * 99, 30)) == 30


def test_arguments_stand_on_one_line_and_keep_their_language():
    assert arguments({"city": "Tōkyō", "days": 3}) == 'city="Tōkyō", days=3'
    assert "\x1b" not in arguments({"\x1b": "\x1b"})


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0042, "4 ms"), (0.123, "0.1 s"), (9.96, "10 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")],
)
def test_durations_read_well(seconds: float, told: str):
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(5, "now"), (61, "1 m"), (7300, "2 h"), (2e5, "2 d")]
)
def test_ages_are_one_short_word(seconds: float, told: str):
    assert age(seconds) == told
