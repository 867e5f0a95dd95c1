from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.clauses import Clauser
from llmos.devices.contracts import SpokenPart
from llmos.devices.parts import heard_prefix, parts_of, spoken_text
from tests.devices.strategies import texts


def parts(answer: str, language: str = "en") -> list[SpokenPart]:
    clauser = Clauser()
    found = clauser.feed(answer) + clauser.flush()
    return [part for clause in found for part in parts_of(clause, language)]


def words(answer: str, language: str = "en") -> list[str]:
    return [word for part in parts(answer, language) for word in part.words]


@given(texts, st.sampled_from(["en", "de", "fr", "zh"]))
def test_spans_follow_each_other_and_cover_the_answer(answer, language):
    place = 0
    for part in parts(answer, language):
        assert part.start == place
        assert part.text == answer[part.start : part.end]
        place = part.end
    assert place == len(answer)


@given(texts, st.sampled_from(["en", "de", "zh"]))
def test_what_was_heard_grows_word_by_word_and_is_a_prefix(answer, language):
    found = parts(answer, language)
    total = sum(len(part.words) for part in found)
    before = ""
    for heard in range(total + 1):
        prefix = heard_prefix(found, heard)
        assert answer.startswith(prefix)
        assert prefix.startswith(before)
        before = prefix
    assert before == answer


@pytest.mark.parametrize(
    ("heard", "prefix"),
    [
        (0, ""),
        (1, "**It"),
        (2, "**It costs**"),
        (6, "**It costs**"),  # half of the amount
        (7, "**It costs** $3.50,"),
        (8, "**It costs** $3.50, or"),
        (9, "**It costs** $3.50, or [less](http://x.y)."),
        (10, "**It costs** $3.50, or [less](http://x.y). Bye.\n"),
    ],
)
def test_an_amount_counts_as_heard_when_its_last_word_was(heard, prefix):
    answer = "**It costs** $3.50, or [less](http://x.y). Bye.\n"
    assert words(answer)[2:7] == ["three", "dollars", "and", "fifty", "cents,"]
    assert heard_prefix(parts(answer), heard) == prefix


def test_words_beyond_the_last_change_nothing():
    assert heard_prefix(parts("One two."), 99) == "One two."
    assert heard_prefix([], 3) == ""


def test_a_silent_answer_was_heard_before_it_began():
    assert heard_prefix(parts("---\n"), 0) == "---\n"


def test_code_is_heard_up_to_where_it_was_announced():
    answer = "Look:\n```\nx = 1\n```\nDone."
    assert words(answer)[:7] == ["Look:", "The", "code", "is", "on", "the", "screen."]
    assert heard_prefix(parts(answer), 7) == "Look:\n```\n"


def test_the_head_of_a_table_stands_for_what_leads_up_to_its_cell():
    answer = "| Name |\n|---|\n| a b |\n"
    assert words(answer) == ["Name:", "a", "b."]
    assert heard_prefix(parts(answer), 2) == "| Name |\n|---|\n| a"


def test_a_large_table_is_announced_with_its_rows():
    assert " ".join(words("| A |\n|---|\n" + "| x |\n" * 12)) == (
        "A table of twelve rows is on the screen."
    )
    assert words("```\nx\n```\n", "de")[:3] == ["Der", "Code", "steht"]
    assert words("```\nx\n```\n", "xx") == []


def test_the_voice_comes_down_at_the_end_of_a_heading():
    assert words("# Two words\n- item\n") == ["Two", "words.", "item."]


def test_the_voice_gets_blanks_where_the_script_has_them():
    assert spoken_text(parts("Two words.")) == "Two words."
    assert spoken_text(parts("你好吗？", "zh")) == "你好吗？"
    assert spoken_text(parts("用 Python 写。", "zh")) == "用 Python 写。"
