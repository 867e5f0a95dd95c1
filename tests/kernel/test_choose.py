"""The choice on toy tools that have nothing to do with arithmetic or dates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmos.kernel.choose import Chooser
from llmos.kernel.guide import chat_bank
from llmos.kernel.probe import Features
from llmos.kernel.spans import Copied
from llmos.kernel.syscalls import Example, Outcome, Syscall
from llmos.memory.embed import CachedEmbedder
from llmos.memory.embed_onnx import MiniLM

ROOMS = {"kitchen", "hall", "bedroom", "living room", "bathroom"}
AUTHORS = {"jane austen", "mark twain", "leo tolstoy", "virginia woolf"}


def is_room(text: str) -> bool:
    return text.lower().removeprefix("the ") in ROOMS


def is_author(text: str) -> bool:
    return text.lower() in AUTHORS


async def nothing(_process: Any, _arguments: Any) -> Outcome:
    return Outcome("done")


def row(name: str, about: str, argument: str, copied: Copied, asked: dict[str, str]) -> Syscall:
    schema = {"type": "object", "properties": {argument: {"type": "string"}}}
    worked = tuple(Example(question, {argument: value}, "") for question, value in asked.items())
    return Syscall(name, about, schema, "read", nothing, worked=worked, copied={argument: copied})


LAMP = row(
    "lamp.switch",
    "Switches the light of a room on or off.",
    "room",
    Copied(is_room, "room"),
    {
        "Turn on the light in the kitchen.": "kitchen",
        "switch off the lamp in the hall": "hall",
        "Make it dark in the bedroom, please.": "bedroom",
        "lights on in the bathroom": "bathroom",
        "can you dim the living room lamp?": "living room",
    },
)
SHELF = row(
    "shelf.find",
    "Finds the books of an author on the shelf.",
    "author",
    Copied(is_author, "author"),
    {
        "Which books by Mark Twain do I own?": "Mark Twain",
        "do I have anything of Leo Tolstoy": "Leo Tolstoy",
        "Where on the shelf is Virginia Woolf?": "Virginia Woolf",
        "find my novels by Jane Austen": "Jane Austen",
        "list the books I have from Mark Twain": "Mark Twain",
    },
)
BARE = Syscall("other.call", "Has no examples.", {}, "read", nothing)


@pytest.fixture(scope="module")
def embed(embedder_weights: Path, embedder_tokenizer: Path) -> Any:
    return CachedEmbedder(MiniLM(embedder_weights, embedder_tokenizer)).embed


@pytest.fixture(scope="module")
def chooser(embed: Any) -> Chooser:
    return Chooser([LAMP, BARE, SHELF], embed, chat_bank())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Please switch the light on in the hall", ["lamp.switch"]),
        ("which books of Jane Austen are mine?", ["shelf.find"]),
        ("turn off the bedroom light, and which books by Leo Tolstoy do I have?",
         ["lamp.switch", "shelf.find"]),
        ("hello there!", []),
        ("tell me a joke", []),
        ("who wrote War and Peace?", []),
    ],
)  # fmt: skip
def test_the_call_is_chosen_by_meaning(chooser: Chooser, message: str, expected: list[str]) -> None:
    assert [choice.call.name for choice in chooser.choose(message)] == expected


def test_a_call_that_cannot_be_filled_from_the_words_is_not_chosen(chooser: Chooser) -> None:
    assert chooser.choose("switch on the light in the cellar") == []


def test_each_clause_goes_to_its_own_call(chooser: Chooser) -> None:
    lamp, shelf = chooser.choose("lights off in the hall, and find my books by Mark Twain")
    assert "hall" in lamp.clause
    assert "Twain" not in lamp.clause
    assert "Mark Twain" in shelf.clause


def test_what_else_is_asked_is_left_for_the_model(chooser: Chooser) -> None:
    reading = chooser.read("Turn on the light in the kitchen. And why is the sky blue?")
    assert [c.call.name for c in reading.choices] == ["lamp.switch"]
    assert reading.rest == "why is the sky blue?"


def test_a_remark_wants_no_answer_of_its_own(chooser: Chooser) -> None:
    reading = chooser.read("I am so tired today. Turn off the light in the bedroom.")
    assert [c.call.name for c in reading.choices] == ["lamp.switch"]
    assert reading.rest == ""


def test_a_long_text_is_no_question_for_a_tool(chooser: Chooser) -> None:
    assert chooser.choose("turn on the light in the kitchen " * 40) == []


def test_the_nearest_worked_example_comes_last(chooser: Chooser) -> None:
    near = chooser.nearest(LAMP, "switch off the lamp in the kitchen", 2)
    assert len(near) == 2
    assert near[-1].question == "switch off the lamp in the hall"


def test_of_several_sentences_those_stay_that_answer_the_question(chooser: Chooser) -> None:
    said = ("The lamp in the hall is off.", "The shelf holds four books by Mark Twain.")
    assert chooser.fitting("Is the lamp in the hall on?", said) == said[:1]
    assert chooser.fitting("anything", said[1:]) == said[1:]


def test_without_calls_nothing_is_chosen(embed: Any) -> None:
    assert Chooser([BARE], embed, chat_bank()).choose("turn on the light") == []


def others(count: int) -> list[Syscall]:
    """Calls on lamps and books in other words, each with a value that is hardly ever said."""
    return [
        row(
            f"other{n}.do",
            "Does something with lights and books.",
            "code",
            Copied(lambda text, n=n: text == f"code-{n}", f"code{n}"),
            {
                f"light up the shelf with code-{n}": f"code-{n}",
                f"turn the book in the hall by code-{n}": f"code-{n}",
                f"switch my novels to code-{n}": f"code-{n}",
            },
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("message", ["Light on in the hall!", "anything by Jane Austen here?"])
def test_calls_that_cannot_be_filled_make_a_choice_no_less_sure(embed: Any, message: str) -> None:
    few = Chooser([LAMP, SHELF], embed, chat_bank()).choose(message)
    many = Chooser([LAMP, SHELF, *others(12)], embed, chat_bank()).choose(message)
    assert [c.call.name for c in many] == [c.call.name for c in few] != []
    assert many[0].probability > few[0].probability - 0.1


def test_values_are_hidden_behind_one_stand_in() -> None:
    seen: list[str] = []

    def embed(texts: Any) -> Any:
        seen.extend(texts)
        return np.ones((len(texts), 2), np.float32) / 2**0.5

    features = Features(embed, {"author": is_author}, {"author": "Mark Twain"})
    features("Do I own 12 books by Jane Austen?")
    assert seen == ["Do I own 7 books by Mark Twain?", "Do I own 7 books by Jane Austen?"]


class Counting:
    """An embedder that counts what it is asked."""

    def __init__(self, embed: Any) -> None:
        self.embed, self.asked = embed, 0

    def __call__(self, texts: Any) -> Any:
        self.asked += len(texts)
        return self.embed(texts)


def test_what_was_fitted_is_kept_for_the_next_start(embed: Any, tmp_path: Path) -> None:
    cache = tmp_path / "kept" / "chooser.npz"
    first = Chooser([LAMP, SHELF], embed, chat_bank(), cache)
    counting = Counting(embed)
    again = Chooser([LAMP, SHELF], counting, chat_bank(), cache)
    assert counting.asked == 1  # the sample by which the embedder is known
    message = "Turn on the light in the hall"
    assert again.choose(message) == first.choose(message) or (
        again.choose(message)[0].probability == first.choose(message)[0].probability
    )


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 broken", b"\x00" * 64])
def test_a_damaged_cache_is_fitted_anew(embed: Any, tmp_path: Path, damage: bytes) -> None:
    cache = tmp_path / "chooser.npz"
    cache.write_bytes(damage)
    counting = Counting(embed)
    chooser = Chooser([LAMP, SHELF], counting, chat_bank()[:40], cache)
    assert counting.asked > 40
    assert [c.call.name for c in chooser.choose("light on in the hall")] == ["lamp.switch"]
    assert cache.stat().st_size > len(damage)


def test_other_examples_are_fitted_anew(embed: Any, tmp_path: Path) -> None:
    cache = tmp_path / "chooser.npz"
    Chooser([LAMP, SHELF], embed, chat_bank()[:40], cache)
    counting = Counting(embed)
    Chooser([LAMP], counting, chat_bank()[:40], cache)
    assert counting.asked > 1
