"""Where messages are cut, with values of a toy kind: towns, and sums of numbers."""

from __future__ import annotations

import re

import pytest

from llmos.kernel.clauses import apart, closed, endings, grouped, split, stands_behind, wants_answer

TOWNS = {"rome", "oslo", "salt, and pepper"}


def is_town(text: str) -> bool:
    return text.lower() in TOWNS


def is_sum(text: str) -> bool:
    return re.fullmatch(r"\d+ [+*] \d+", text) is not None


def pieces(message: str) -> list[str]:
    return [piece.strip() for piece in split(message, [is_town, is_sum])]


def test_a_message_is_cut_at_sentences_commas_and_conjunctions() -> None:
    assert pieces("Sing. I listen, then clap and go") == [
        "Sing.",
        "I listen,",
        "then clap",
        "and go",
    ]


def test_the_pieces_together_are_the_message() -> None:
    message = "Is it late in Rome? And what is 3 + 4, please?"
    assert "".join(split(message, [is_town, is_sum])) == message


def test_a_value_is_not_cut() -> None:
    assert pieces("I want salt, and pepper, and tea") == ["I want salt, and pepper,", "and tea"]


@pytest.mark.parametrize(
    "message",
    [
        "add up 4, 8, 15 and 16",
        "the average of 2.50, 3.75, and 10",
        "from Rome to Oslo, and Rome",
        "the distance of Rome and Oslo",
    ],
)
def test_a_list_of_values_is_not_cut(message: str) -> None:
    assert pieces(message) == [message]


def test_two_sums_may_be_parted() -> None:
    assert pieces("what is 3 + 4 and 5 * 6") == ["what is 3 + 4", "and 5 * 6"]


def test_a_condition_stays_with_what_hangs_on_it() -> None:
    assert len(pieces("When it is noon in Rome, what time is it in Oslo?")) == 1
    assert len(pieces("if I pay 20, what is left?")) == 1


def test_a_question_that_begins_with_when_is_no_condition() -> None:
    assert pieces("When is Easter, and who sings?") == ["When is Easter,", "and who sings?"]


def test_a_message_has_few_pieces() -> None:
    assert len(split("go. " * 40, [])) <= 6


def test_clauses_lose_the_conjunction_they_begin_with() -> None:
    assert grouped(["Sing, ", "and then clap, ", "but softly"], [True, False]) == [
        "Sing,",
        "clap, but softly",
    ]


def test_where_a_clause_stands_decides_whether_it_stands_alone() -> None:
    message = "It is late. Sing, and clap, please"
    assert closed(message, "Sing")
    assert not closed(message, "clap")
    assert apart(message, "clap")
    assert not apart(message, "please")


def test_a_remark_wants_no_answer() -> None:
    assert wants_answer("why is the sky blue?")
    assert wants_answer("explain the sky to me")
    assert not wants_answer("I am so tired today.")
    assert not wants_answer("thanks")


SIGNS = (":", "add", "append", "the line", "append the line")


@pytest.mark.parametrize(
    ("clause", "taken", "after", "texts"),
    [
        ("append the line eggs to a.txt", ["a.txt"], SIGNS, ["eggs"]),
        ("Add butter and jam to a.txt", ["a.txt"], SIGNS, ["butter and jam"]),
        ("to a.txt add: call Ben, then Ida", ["a.txt"], SIGNS, ["call Ben, then Ida"]),
        ("add 'green  tea' to the end of a.txt", ["a.txt"], SIGNS, ["green tea"]),
        ("in a.txt: eggs", ["a.txt"], SIGNS, ["eggs"]),
        ("put eggs on a.txt", ["a.txt"], SIGNS, ["put eggs", "eggs"]),
        ("add to a.txt", ["a.txt"], SIGNS, ["add"]),
        ("", [], SIGNS, []),
    ],
)
def test_a_text_ends_where_a_value_begins_and_begins_behind_its_sign(clause, taken, after, texts):
    assert endings(clause, taken, after) == texts


@pytest.mark.parametrize(
    ("clause", "old", "new"),
    [
        ("replace Monday by Tuesday in a.txt", ["Monday"], ["Tuesday"]),
        ("In a.txt, replace call Anna with call Eva.", ["call Anna"], ["call Eva"]),
        ("change eggs in a.txt", ["eggs"], ["change eggs", "eggs"]),
    ],
)
def test_a_text_ends_where_anothers_sign_stands(clause, old, new):
    begins, ends = ("replace", "change"), ("by", "with")
    assert endings(clause, ["a.txt"], begins, ends) == old
    assert endings(clause, ["a.txt"], ends, begins) == new


@pytest.mark.parametrize(
    ("clause", "behind"),
    [
        ("move a.txt to b.txt", {"b.txt"}),
        ("move a.txt into the folder b.txt", {"b.txt"}),
        ("put into “b.txt” what is a.txt", {"b.txt"}),
        ("a.txt and b.txt", set()),
    ],
)
def test_a_value_stands_behind_a_sign_with_no_more_than_its_kind_between(clause, behind):
    signs = ("to", "into")
    assert {v for v in ("a.txt", "b.txt") if stands_behind(clause, v, signs)} == behind


def test_a_text_that_must_stand_behind_a_sign_is_none_without_one():
    assert endings("wake me at six", ["at six"], ("to", "that"), only=True) == []
    assert endings("remind me to go at six", ["at six"], ("to", "that"), only=True) == ["go"]
