from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.kernel.fill import OPENING, Blank, readings
from llmos.kernel.spans import Copied
from llmos.kernel.syscalls import Outcome, Syscall


def is_room(text: str) -> bool:
    return text.lower() in {"kitchen", "hall", 'the "den"'}


def is_level(text: str) -> bool:
    return text.rstrip("%").isdigit()


async def nothing(_process: Any, _arguments: Any) -> Outcome:
    return Outcome("done")


def row(copied: dict[str, Copied], **others: dict[str, Any]) -> Syscall:
    properties = {name: {"type": "string"} for name in copied} | others
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return Syscall("lamp.set", "Sets a lamp.", schema, "write", nothing, copied=copied)


ROOM = Copied(is_room, "room", also=("hall",))
LEVEL = Copied(is_level, "level")


def blank(call: Syscall, clause: str) -> Blank:
    return Blank(call, tuple(readings(call, clause)), clause)


def test_what_the_person_said_goes_before_what_needs_no_saying() -> None:
    assert readings(row({"room": ROOM}), "the kitchen lamp") == [{"room": "kitchen"}]
    assert readings(row({"room": ROOM}), "the lamp") == [{"room": "hall"}]


def test_each_value_is_used_once() -> None:
    call = row({"source": ROOM, "target": ROOM})
    ways = readings(call, "from kitchen to hall")
    assert all(way["source"] != way["target"] for way in ways)
    assert {"source": "kitchen", "target": "hall"} in ways


def test_a_value_behind_its_argument_s_sign_is_that_argument_s() -> None:
    call = row({"source": ROOM, "target": replace(ROOM, after=("to", "into"))})
    said = "from kitchen to hall", "to hall from kitchen", "into the hall goes the kitchen"
    for clause in said:
        assert readings(call, clause) == [{"source": "kitchen", "target": "hall"}]


def test_one_way_to_fill_it_in_leaves_nothing_to_the_model() -> None:
    call = row({"room": ROOM, "level": LEVEL})
    assert blank(call, "the kitchen at 40%").forced == {"room": "kitchen", "level": "40%"}
    assert blank(call, "the kitchen at 40% or 50%").forced is None


def test_a_free_argument_is_left_to_the_model() -> None:
    call = row({"room": ROOM}, colour={"type": "string", "enum": ["red", "blue"]})
    open_call = blank(call, "the kitchen in red")
    assert open_call.forced is None
    assert "red" in open_call.grammar()


def test_a_call_that_failed_is_not_offered_again() -> None:
    call = row({"level": LEVEL})
    first = blank(call, "40% or 50%")
    left = first.without({"level": "40%"})
    assert left.forced == {"level": "50%"}
    assert left.without({"level": "50%"}).ways == ()


def test_a_composed_value_is_not_tried_twice() -> None:
    call = row({"level": Copied(lambda _: False, "l", joins=(" + ",))})
    assert blank(call, "40 and 50").without({"level": "40 + 50"}).ways == ()


WORDS = st.lists(
    st.sampled_from(["kitchen", "hall", '"den"', "the", "40%", "7", "nine", "a\\b", "é"]),
    max_size=10,
).map(" ".join)


@given(WORDS)
@settings(deadline=None)
def test_every_way_holds_only_the_persons_words(text: str) -> None:
    for way in readings(row({"room": ROOM, "level": LEVEL}), text):
        assert way["room"] in text or way["room"] in ROOM.also
        assert way["level"] in text


@pytest.fixture(scope="module")
def accepts(starter_weights: Path) -> Any:
    """Whether llama.cpp takes a grammar."""
    import llama_cpp

    llama_cpp.llama_backend_init()
    wanted = llama_cpp.llama_model_default_params()
    wanted.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(starter_weights).encode(), wanted)
    vocab = llama_cpp.llama_model_get_vocab(model)

    def ask(grammar: str) -> bool:
        sampler = llama_cpp.llama_sampler_init_grammar(vocab, grammar.encode(), b"root")
        if sampler:
            llama_cpp.llama_sampler_free(sampler)
        return bool(sampler)

    yield ask
    llama_cpp.llama_model_free(model)


@pytest.mark.parametrize(
    "clause",
    ["kitchen at 40%", "kitchen or hall at 40% or 50%", 'the "den", 7', "hall 1 2 3 4 5 6 7 8 9"],
)
def test_llama_cpp_accepts_the_grammar(accepts: Any, clause: str) -> None:
    composed = Copied(lambda _: False, "sum", joins=(" + ", ' "or" ', "\\"))
    for copied in ({"room": ROOM, "level": LEVEL}, {"room": ROOM, "sum": composed}):
        call = row(copied, note={"type": "string"})
        to_fill = blank(call, clause)
        if to_fill.ways:
            assert accepts(to_fill.grammar())


def test_a_composed_value_without_parts_is_no_way() -> None:
    call = row({"sum": Copied(lambda _: False, "sum", joins=(" + ",))})
    assert readings(call, "nothing to add") == []


def test_the_grammar_writes_json_after_the_opening() -> None:
    grammar = blank(row({"room": ROOM}), "kitchen").grammar()
    assert json.dumps(OPENING)[1:-1] in grammar
    assert '\\"room\\": \\"kitchen\\"' in grammar


WHAT = Copied(also=("",), after=("to", "about", ":"))


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("tell me in the hall to close the door and sit", "close the door and sit"),
        ("tell me to close the door in the hall", "close the door"),
        ("hall: close the door.", "close the door"),
        ("tell me in the hall: close the door.", "close the door"),
        ('say "close the door" in the hall', "close the door"),
        ("wake me in the hall", ""),
    ],
)
def test_a_text_of_any_words_is_what_stands_behind_its_sign(clause: str, expected: str) -> None:
    call = row({"room": Copied(is_room, "room"), "what": WHAT})
    ways = [way for way in readings(call, clause) if way["room"] == "hall"]
    assert [way["what"] for way in ways] == [expected]


def test_a_text_without_a_sign_may_begin_anywhere_and_goes_on_to_the_end() -> None:
    ways = readings(row({"room": ROOM, "what": Copied()}), "find the old red lamp in the hall")
    assert [way["what"] for way in ways] == [
        "find the old red lamp",
        "the old red lamp",
        "old red lamp",
        "red lamp",
        "lamp",
    ]


def test_a_list_of_values_is_all_of_them_and_the_model_adds_none() -> None:
    rooms = {"type": "array", "items": {"type": "string"}}
    call = replace(
        row({"level": LEVEL}, rooms=rooms, why={"type": "string"}), listed={"rooms": is_room}
    )
    assert readings(call, "hall and kitchen at 40%, for the kitchen is dark") == [
        {"level": "40%", "rooms": ["hall", "kitchen"]}
    ]
    assert readings(call, "40%, please") == [{"level": "40%", "rooms": []}]
    grammar = blank(call, "the hall at 40%").grammar()
    assert r"\"rooms\": " in grammar and r"[\"hall\"]" in grammar and "kitchen" not in grammar


@pytest.mark.parametrize(
    ("clause", "offered"),
    [
        ("how warm is the hall", {"all", "hall", "den"}),
        ("how warm are the hall and the den", {"all"}),
        ("how warm is the Hallway den", {"all", "hall", "den"}),
    ],
)
def test_who_names_several_of_a_list_gets_the_default(clause: str, offered: set[str]) -> None:
    place = {"type": "string", "enum": ["all", "hall", "den"]}
    schema = {"type": "object", "properties": {"place": place}}
    call = Syscall("lamp.heat", "", schema, "read", nothing, defaults={"place": "all"})
    grammar = blank(call, clause).grammar()
    assert set(re.findall(r'(all|hall|den)\\"', grammar)) == offered
