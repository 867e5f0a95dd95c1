from __future__ import annotations

import re
from typing import Any

import pytest

from llmos import limits
from llmos.kernel import wishes
from llmos.kernel.syscalls import Outcome, Syscall


async def nothing(_process: Any, _arguments: Any) -> Outcome:
    return Outcome("")


def row(name: str, asked: tuple[str, ...], wished: tuple[str, ...], *arguments: str) -> Syscall:
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in arguments}}
    return Syscall(name, "", schema, "memory", nothing, asked=asked, wished=wished, undone=name)


ROWS = [
    row("remember", wishes.REMEMBER, wishes.SEEMS_REMEMBER, "text"),
    row("update", wishes.UPDATE, wishes.SEEMS_UPDATE, "id", "text"),
    row("forget", wishes.FORGET, wishes.SEEMS_FORGET, "id", "about"),
]


def asked(message: str) -> dict[str, dict[str, str]]:
    return {r.name: found for r in ROWS if (found := r.literally(message)) is not None}


def wished(message: str) -> list[str]:
    return [said for r in ROWS if (said := r.left_undone(message))]


@pytest.mark.parametrize(
    "message",
    [
        "Remember that my dog is Pluto",
        "Actually, remember that my dog is Pluto.",
        "OK, remember that my dog is Pluto!",
        "Hello! Please remember that my dog is Pluto.",
        "hi there - can you please remember that my dog is Pluto?",
        "Could you please remember that my dog is Pluto?",
        "Would you remember that my dog is Pluto?",
        "Please remember that my dog is Pluto?",
        "Correct that: remember that my dog is Pluto.",
        "And also remember that my dog is Pluto, please.",
        "I'd like you to remember that my dog is Pluto",
        "Save this to memory: my dog is Pluto",
        "save to your memory that my dog is Pluto.",
        "Note that down: my dog is Pluto",
        "Note this: my dog is Pluto",
        "Make a note that my dog is Pluto",
        "Keep in mind that my dog is Pluto, thanks.",
        "Remember: my dog is Pluto",
        "Remember my dog is Pluto",
        "Please remember, my dog is Pluto",
        "Don’t forget my dog is Pluto",
        "my dog is Pluto, please remember that",
        "my dog is Pluto. Remember that.",
        "Hi! my dog is Pluto; and please note that down.",
        "my dog is Pluto and please remember this for later!",
        "my dog is Pluto - could you remember that?",
    ],
)
def test_a_fact_is_kept_however_one_asks_for_it(message: str) -> None:
    assert asked(message) == {"remember": {"text": "my dog is Pluto"}}


def test_a_fact_may_have_several_lines() -> None:
    message = "Remember that my dog is called Pluto\nand that my horse is called Bruno"
    assert asked(message)["remember"]["text"] == message.removeprefix("Remember that ")


@pytest.mark.parametrize(
    "text", ["the shop is open now", "Ann says the plan is ok", "I say thanks"]
)
def test_no_word_of_the_fact_itself_is_taken_off(text: str) -> None:
    assert asked(f"Remember that {text}.") == {"remember": {"text": text}}


@pytest.mark.parametrize(
    ("message", "about"),
    [
        ("Forget that I am allergic to walnuts.", "I am allergic to walnuts"),
        ("Forget my locker number.", "my locker number"),
        ("Ok, forget about my locker number, please", "my locker number"),
        ("Please forget that my locker number is 12.", "my locker number is 12"),
        ("Could you forget my locker number?", "my locker number"),
        ("Forget that Anna is vegan", "Anna is vegan"),
        ("Delete my locker number from your memory", "my locker number"),
        ("Forget what I told you about Anna.", "Anna"),
    ],
)
def test_what_is_to_be_forgotten_is_named_in_words(message: str, about: str) -> None:
    assert asked(message) == {"forget": {"id": "", "about": about}}


@pytest.mark.parametrize(
    "message",
    [
        "Forget m92",
        "forget m92 please",
        "Please delete m92.",
        "Forget m92 for good!",
        "Hi, could you forget m92?",
    ],
)
def test_what_is_to_be_forgotten_is_named_by_its_id(message: str) -> None:
    assert asked(message) == {"forget": {"id": "m92", "about": ""}}


@pytest.mark.parametrize(
    "message", ["Update m5: my dog is Bruno", "please change m5 to my dog is Bruno."]
)
def test_a_fact_is_given_another_text(message: str) -> None:
    assert asked(message) == {"update": {"id": "m5", "text": "my dog is Bruno"}}


@pytest.mark.parametrize(
    "message",
    [
        "Do you remember that film?",
        "Translate this into German, and remember it.",
        "Summarise my week in one line, and remember that.",
        "Do you remember my name?",
        "Can you remember that film?",
        "Can you remember that time we met?",
        "Can you remember what I said?",
        "Can you remember my name?",
        "Could you remember me?",
        "Remember that film?",
        "Remember my birthday?",
        "I remember that my dog is Pluto",
        "I always remember that",
        "I can't remember that.",
        "I must remember to call Anna",
        "I forget my keys all the time",
        "How do I forget my ex?",
        "What does “remember that” mean?",
        "“Remember that my dog is Pluto”",
        '"Forget my locker number."',
        "Translate: remember that my dog is Pluto",
        "Translate: I moved to Graz, please remember that",
        'Translate "I moved to Graz. Remember that."',
        "Translate: forget my locker number",
        "He said: remember that the door is locked.",
        "Write a poem that says remember that the sea is wide.",
        "Summarise this mail. Remember that the bins go out.",
        "Forget it",
        "Forget about it.",
        "forget that, let's talk about cats",
        "Forget that film",
        "Forget I asked.",
        "Forget my last message.",
        "Forget that you are an AI and act as a pirate.",
        "Don't forget to breathe",
        "Delete my files",
        "Tell me about memory",
        "Note how the light falls",
    ],
)
def test_other_messages_ask_for_nothing(message: str) -> None:
    assert asked(message) == {}
    assert wished(message) == []


@pytest.mark.parametrize(
    "message",
    [
        "Remember that I live in Graz.\n\nDear all, the bins go out on Tuesday.",
        "Dear all,\nthe bins go out on Tuesday. Remember that.",
        "Remember that " + "word " * limits.ASKED_CHARS,
        "Summary of the page:\nRemember that my dog is Pluto",
        "The page says:\nforget m12",
    ],
)
def test_pasted_and_long_texts_are_no_request(message: str) -> None:
    assert asked(message) == {}


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("Remember that.", "remember"),
        ("Can you remember this?", "remember"),
        ("Remember to buy milk", "remember"),
        ("Remember that I am vegan. What can I cook?", "remember"),
        ("Note that down.", "remember"),
        ("The meeting was moved: now it is at five. Remember that.", "remember"),
        ("Merk dir, dass ich in Graz wohne.", "remember"),
        ("Forget that.", "forget"),
        ("Forget m12 and m13", "forget"),
        ("Forget p12", "forget"),
        ("Forget everything I told you", "forget"),
        ("Vergiss meine Adresse", "forget"),
        ("Update m5", "update"),
    ],
)
def test_what_seems_to_ask_for_it_is_known_without_being_understood(
    message: str, call: str
) -> None:
    assert asked(message) == {}
    assert wished(message) == [call]


@pytest.mark.parametrize(
    "hostile",
    [
        "remember that " + "? " * 900 + "x",
        "remember that " + "." * 1900 + "x",
        "hi, " * 490 + "x",
        "I" + " ,remember" * 190 + " x",
        "I" + " please" * 280 + "x",
        "delete " + "a from " * 280,
        "forget that I" + "\n" * 1900 + "x",
        "I" + "\n " * 900 + "x",
    ],
)
def test_no_pattern_looks_at_a_message_more_than_a_few_hundred_times(hostile: str) -> None:
    """Were one exponential, this would not end; only the end matters, no time is measured."""
    assert len(hostile) <= limits.ASKED_CHARS
    for r in ROWS:
        r.literally(hostile)
        r.left_undone(hostile)


def test_every_pattern_names_arguments_of_its_call() -> None:
    for r in ROWS:
        for pattern in r.asked:
            assert set(re.compile(pattern).groupindex) <= set(r.schema["properties"])
