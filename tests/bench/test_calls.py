"""How calls are judged, and that the turns kept as data are sound."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime

import pytest

from llmos.bench.calls import Item, _schemas, items, right, valid
from llmos.bench.turns import Answer
from llmos.boot import syscall_table
from llmos.events import ToolCall
from llmos.kernel.guide import chat_bank

SUM = Item("1 + 1?", "arithmetic", ((frozenset({"calculator.evaluate"}), ("2",)),))
TWO = Item(
    "Two sums",
    "two",
    ((frozenset({"calculator.evaluate"}), ("20",)), (frozenset({"calculator.evaluate"}), ("343",))),
)
DAY = Item("Which day?", "clock", ((frozenset({"clock.now", "clock.weekday"}), ("Friday",)),))


def plain(text):
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def call(name, **arguments):
    return ToolCall("1", name, arguments)


def answer(text, *names):
    return Answer(tuple(call(name) for name in names), text)


def test_there_are_a_hundred_questions_and_fifty_chat_turns_each_of_them_once():
    now, turns = items()
    assert datetime.fromisoformat(now).tzinfo is not None
    assert Counter(bool(turn.expect) for turn in turns) == {True: 100, False: 50}
    assert len({turn.text for turn in turns}) == len(turns)


def test_every_expected_call_is_one_the_kernel_has():
    schemas = _schemas()
    for turn in items()[1]:
        for tools, values in turn.expect:
            assert tools <= set(schemas)
            assert values


def test_no_turn_is_an_example_that_the_kernel_was_shown():
    shown = set(chat_bank())
    for row in syscall_table(lambda: None)[0]:
        shown |= set(row.examples) | {worked.question for worked in row.worked}
    assert not {plain(text) for text in shown} & {plain(turn.text) for turn in items()[1]}


def test_the_right_call_and_the_value_in_the_answer_are_right():
    assert right(SUM, answer("1 + 1 is 2.", "calculator.evaluate"))


@pytest.mark.parametrize(
    "given",
    [
        answer("1 + 1 is 2."),
        answer("1 + 1 is 2.", "clock.now"),
        answer("1 + 1 is 2.", "calculator.evaluate", "clock.now"),
        answer("1 + 1 is 3.", "calculator.evaluate"),
        answer("1 + 1 is 12.", "calculator.evaluate"),
        answer("1 + 1 is 2.5.", "calculator.evaluate"),
        answer("", "calculator.evaluate"),
    ],
)
def test_no_call_another_call_one_more_call_or_another_value_is_wrong(given):
    assert not right(SUM, given)


def test_each_of_two_wanted_calls_needs_one_of_its_own():
    assert right(TWO, answer("20 and 343.", *["calculator.evaluate"] * 2))
    assert not right(TWO, answer("20 and 343.", "calculator.evaluate"))


def test_any_of_several_right_tools_is_right():
    assert right(DAY, answer("It is Friday.", "clock.weekday"))
    assert right(DAY, answer("It is Friday.", "clock.now"))


def test_a_number_with_marks_for_thousands_is_the_same_number():
    big = Item("12,400 + 3,650", "arithmetic", ((frozenset({"calculator.evaluate"}), ("16050",)),))
    assert right(big, answer("It is 16,050.", "calculator.evaluate"))


def test_a_call_that_fits_its_schema_is_valid_and_others_are_not():
    schemas = {
        "a.b": {
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
            "additionalProperties": False,
        }
    }
    assert valid(call("a.b", x=1), schemas)
    assert not valid(call("a.b", x="1"), schemas)
    assert not valid(call("a.b"), schemas)
    assert not valid(call("a.c", x=1), schemas)
