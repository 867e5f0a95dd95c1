from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.kernel.spans import EDGE, Copied, atoms, candidates, maximal, spans, values


def is_colour(text: str) -> bool:
    return text.lower() in {"red", "dark red", "blue", "blue 7", "green"}


def is_sum(text: str) -> bool:
    parts = text.split("+")
    return len(parts) > 1 and all(part.strip().isdigit() for part in parts)


WORDS = st.lists(
    st.sampled_from(
        ["dark", "red", "blue,", "7", "“green”", "and", "lamp?", "two", "1+2", "3 + 4"]
    ),
    max_size=12,
).map(" ".join)


@given(WORDS)
def test_every_stretch_stands_in_the_words(text: str) -> None:
    for span in spans(text):
        assert span.text in " ".join(text.split())
        assert span.text == span.text.strip(EDGE)


@given(WORDS)
def test_no_maximal_value_lies_in_another(text: str) -> None:
    found = maximal(text, is_colour)
    for a in found:
        assert is_colour(a.text)
        assert not any(b != a and b.start <= a.start and a.end <= b.end for b in found)


@given(WORDS, st.sampled_from([(), ("white",), ("white", "black")]))
def test_every_value_offered_stands_in_the_words_or_needs_no_saying(
    text: str, also: tuple[str, ...]
) -> None:
    words = [word.strip(EDGE) for word in text.split()]
    for value in candidates(Copied(is_colour, "colour", also=also), text):
        rest = iter(words)
        assert value in also or all(any(word == w for w in rest) for word in value.split())


@given(WORDS)
def test_every_part_of_a_composed_value_stands_in_the_words(text: str) -> None:
    for part in candidates(Copied(is_sum, "sum", joins=(" + ",)), text):
        assert part in " ".join(text.split())


def test_a_value_keeps_all_its_words_and_loses_the_marks_around_them() -> None:
    assert [s.text for s in maximal("Paint it dark red, please!", is_colour)] == ["dark red"]


def test_a_number_that_stands_apart_is_joined_to_its_value() -> None:
    assert values("paint it blue, in number 7?", is_colour) == ["blue 7"]
    assert values("paint 7 things blue", is_colour) == ["blue"]


def test_the_parts_are_whole_values_and_the_numbers_outside_them_in_order() -> None:
    assert atoms("He took 3 + 4 and then 12, twenty-five and 1.5 more", is_sum) == [
        "3 + 4",
        "12",
        "twenty-five",
        "1.5",
    ]


def test_equal_numbers_are_two_parts() -> None:
    assert atoms("4 boxes of 4", is_sum) == ["4", "4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("just 5 of them", []),
        ("what is 1 + 2", ["1 + 2"]),
        ("5 and then 6", ["5", "6"]),
        ("nothing", []),
    ],
)
def test_a_composed_value_needs_two_parts_or_one_that_is_whole(
    text: str, expected: list[str]
) -> None:
    assert candidates(Copied(is_sum, "sum", joins=(" + ",)), text) == expected


def test_a_whole_value_that_cannot_be_joined_stands_alone() -> None:
    def is_question(text: str) -> bool:
        return text == "how many in 3 dozen"

    found = candidates(
        Copied(is_question, "q", joins=(" + ",)), "A dozen is 12, how many in 3 dozen?"
    )
    assert found == ["how many in 3 dozen"]


def test_without_a_test_any_words_will_do() -> None:
    assert candidates(Copied(also=("x",)), "a b") == ["a", "a b", "b", "x"]
