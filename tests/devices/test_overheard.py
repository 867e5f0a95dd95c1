"""What was heard while llmos spoke."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.overheard import Heard, Overheard, command_of, judge
from llmos.devices.turn_words import Command

SPOKEN = "The budget for last week came to three hundred and forty dollars, most of it for travel."


@pytest.mark.parametrize(
    "text",
    [
        "the budget for last week came to three hundred and forty dollars",
        "Budget for last week came to free hundred",
        "last weak came two three hundred and forty",
        "and forty dollars most",
        "hundred and forty dollar",
        "travel",
        "The budget",
        "for last week game to three hundred and 40 dollars",
    ],
)
def test_what_is_spoken_is_an_echo_also_when_heard_badly(text):
    assert judge(text, SPOKEN, "en") == Overheard(Heard.ECHO)


@pytest.mark.parametrize(
    "text",
    [
        "no I meant the travel one",
        "What about next month?",
        "Tell me about Hamburg instead.",
        "Actually, can you send it by mail?",
        "no",
        "who paid for it",
        "that is wrong",
    ],
)
def test_what_somebody_else_says_is_speech(text):
    heard = judge(text, SPOKEN, "en")

    assert heard == Overheard(Heard.SPEECH, text)
    assert heard.interrupts


def test_words_after_an_echo_are_the_persons():
    heard = judge("three hundred and forty dollars no not that", SPOKEN, "en")

    assert heard == Overheard(Heard.SPEECH, "no not that")


def test_a_command_after_an_echo_is_heard():
    heard = judge("three hundred and forty dollars stop", SPOKEN, "en")

    assert heard == Overheard(Heard.COMMAND, "stop", Command.STOP)


def test_the_same_words_are_speech_when_nothing_is_being_spoken():
    assert judge("the budget for last week", "", "en").heard is Heard.SPEECH


@pytest.mark.parametrize(
    "text", ["mhm", "Mm-hmm.", "Uh-huh", "yeah", "Yeah, okay.", "Oh, I see.", "right right"]
)
def test_english_go_on_is_no_interruption(text):
    heard = judge(text, SPOKEN, "en")

    assert heard == Overheard(Heard.BACKCHANNEL)
    assert not heard.interrupts


@pytest.mark.parametrize("text", ["mhm", "Ja, genau.", "Ach so!", "verstehe", "ah ja"])
def test_german_go_on_is_no_interruption(text):
    assert judge(text, "Das Budget der letzten Woche", "de") == Overheard(Heard.BACKCHANNEL)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "...",
        "ha ha",
        "Hahaha!",
        "hehe",
        "[laughter]",
        "(coughs)",
        "*sighs*",
        "♪ music ♪",
        "[BLANK_AUDIO]",
        "Thank you.",
        "you",
    ],
)
def test_a_laugh_a_cough_and_what_whisper_invents_are_nothing(text):
    assert judge(text, SPOKEN, "en") == Overheard(Heard.NOTHING)


def test_a_greeting_is_no_laugh():
    assert judge("hi", SPOKEN, "en").heard is Heard.SPEECH


@pytest.mark.parametrize(
    ("text", "language", "command"),
    [
        ("Stop!", "en", Command.STOP),
        ("stop stop stop", "en", Command.STOP),
        ("Please stop.", "en", Command.STOP),
        ("Okay, wait a moment", "en", Command.WAIT),
        ("Say that again, please", "en", Command.REPEAT),
        ("Slow down", "en", Command.SLOWER),
        ("louder please", "en", Command.LOUDER),
        ("Stopp!", "de", Command.STOP),
        ("Warte mal", "de", Command.WAIT),
        ("Bitte noch einmal", "de", Command.REPEAT),
        ("Etwas langsamer, bitte.", "de", Command.SLOWER),
        ("lauter", "de-AT", Command.LOUDER),
        ("warte", "fr", Command.WAIT),
        ("stop", "", Command.STOP),
    ],
)
def test_short_commands(text, language, command):
    assert command_of(text, language) is command
    assert judge(text, SPOKEN, language).command is command


@pytest.mark.parametrize(
    "text",
    [
        "stop the timer in the kitchen",
        "wait until tomorrow",
        "I can't stop laughing",
        "",
        "please",
        "when does the bus stop",
    ],
)
def test_a_sentence_with_such_a_word_is_no_command(text):
    assert command_of(text, "en") is None


def test_a_command_that_is_just_being_spoken_is_an_echo():
    assert judge("stop", "Take the bus to the last stop", "en") == Overheard(Heard.ECHO)


@given(st.text(max_size=120), st.text(max_size=120), st.sampled_from(["en", "de", ""]))
def test_any_text_is_judged(text, spoken, language):
    assert judge(text, spoken, language).heard in Heard


@pytest.mark.timeout(30)  # what grew with its square would take minutes
def test_long_texts_are_judged():
    said = judge("harbour masters write " * 50_000, "the harbour master wrote " * 50_000, "en")
    assert said.heard in Heard
