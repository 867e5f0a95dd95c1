from __future__ import annotations

import pytest
from hypothesis import given

from llmos.devices.lines import Line, kind_of
from tests.devices.strategies import texts


@pytest.mark.parametrize(
    ("begun", "kind"),
    [
        ("a", Line.TEXT),
        ("\n", Line.BLANK),
        ("## ", Line.HEADING),
        ("#t", Line.TEXT),
        ("#######", Line.TEXT),
        ("- ", Line.ITEM),
        ("* ", Line.ITEM),
        ("•", Line.ITEM),
        ("-5", Line.TEXT),
        ("**b", Line.TEXT),
        ("12. ", Line.NUMBER),
        ("3) ", Line.NUMBER),
        ("3.5", Line.TEXT),
        ("2026", Line.TEXT),
        ("---\n", Line.RULE),
        ("***\n", Line.RULE),
        ("===\n", Line.RULE),
        ("--f", Line.TEXT),
        ("```\n", Line.FENCE),
        ("~~~~ py\n", Line.FENCE),
        ("``x", Line.TEXT),
        ("```x``", Line.TEXT),
        ("|", Line.TABLE),
        ("$$", Line.FORMULA),
        (r"\[", Line.FORMULA),
        ("$5", Line.TEXT),
        ("[1]:", Line.SOURCE),
        ("[^2]:", Line.SOURCE),
        ("[1] ", Line.TEXT),
        ("[Note]:", Line.TEXT),
    ],
)
def test_a_line_is_told_by_its_beginning_and_no_earlier(begun, kind):
    assert kind_of(begun) is kind
    assert kind is Line.TEXT or kind_of(begun[:-1]) is None


@pytest.mark.parametrize(
    "begun", ["", "#", "-", "**", "`", "```", "```py", "1", "12.", "$", "[", "[1]"]
)
def test_what_may_become_several_things_is_waited_for(begun):
    assert kind_of(begun) is None


@given(texts)
def test_once_told_the_kind_stays(text):
    line = text.partition("\n")[0] + "\n"
    kinds = [kind_of(line[:length]) for length in range(len(line) + 1)]
    told = [kind for kind in kinds if kind is not None]
    assert told, "a whole line is always told"
    assert set(told) == {told[0]}


@pytest.mark.parametrize("char", "#-*_=`~")
def test_a_run_without_end_is_text_after_a_bound(char):
    assert kind_of(char * 1_000) is Line.TEXT
    assert kind_of(char * 1_000 + "\n") is Line.TEXT
