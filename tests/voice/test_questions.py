"""A question as it is read out, and what answers it."""

from __future__ import annotations

import pytest

from llmos.voice.questions import VALUE_CHARS, answer_of, read_out


def test_a_question_is_read_out_with_its_literal_arguments_and_where_they_come_from():
    said = read_out(
        {
            "title": "files.delete wants to change something.",
            "arguments": [{"name": "path", "value": "~/a.txt", "source": "you said it"}],
        }
    )
    assert "files.delete wants to change something." in said
    assert "path: ~/a.txt (you said it)." in said
    assert said.endswith("Yes, or no?")


def test_a_long_argument_is_said_to_go_on():
    said = read_out({"title": "x", "arguments": [{"name": "a", "value": "b" * 900, "source": ""}]})
    assert "b" * VALUE_CHARS in said and "on the screen" in said
    assert "b" * (VALUE_CHARS + 1) not in said


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Yes.", "once"),
        ("Okay!", "once"),
        ("Ja, bitte.", "once"),
        ("No, thanks.", "no"),
        ("Don’t.", "no"),
        ("Nein", "no"),
        ("Yes, but not that file.", None),
        ("Always", None),
        ("yes no", None),
        ("", None),
    ],
)
def test_only_plain_words_answer(said, answer):
    assert answer_of(said) == answer
