"""Whether words sound finished."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.completeness import NEUTRAL, completeness

GOES_ON = 0.35
FINISHED = 0.8


@pytest.mark.parametrize(
    "text",
    [
        "I wanted to ask about the",
        "and then I went home because",
        "We should go to",
        "um",
        "I think, uh",
        "It was, well, you know, um...",
        "What I mean is…",
        "Can you tell me the",
        "On Monday,",
        "If it rains tomorrow.",
        "I wanted to ask about the.",
        "My number is five five nine",
        "My number is 0 1 5",
        "Send it to my",
        "and",
        "When I get home",
        "I would like to",
        "I would like to know.",
        "Explain to me.",
        "Which of the two?",
    ],
)
def test_english_that_goes_on(text):
    assert completeness(text, "en") <= GOES_ON


@pytest.mark.parametrize(
    "text",
    [
        "Ich wollte fragen, ob",
        "Ich gehe heute in die",
        "ähm",
        "Das ist so, weil.",
        "Wenn es morgen regnet",
        "Am Montag,",
        "Kannst du mir den",
        "Ich habe gestern mit meinem",
        "Meine Nummer ist null eins sieben",
        "Und dann…",
        "Ich hätte gern einen Kaffee und",
        "Ich möchte wissen.",
        "Welches von beiden?",
    ],
)
def test_german_that_goes_on(text):
    assert completeness(text, "de") <= GOES_ON


@pytest.mark.parametrize(
    "text",
    [
        "What time is it?",
        "I bought a book.",
        "Stop",
        "yes",
        "Thank you",
        "If it rains, we stay home.",
        "What are you looking for?",
        "Who is it for?",
        "Turn the light off!",
        "Never mind",
        "What did I say about the budget last week?",
        "It cost three hundred.",
        "I went home. Thanks.",
    ],
)
def test_english_that_is_finished(text):
    assert completeness(text, "en") >= FINISHED


@pytest.mark.parametrize(
    "text",
    [
        "Wie spät ist es?",
        "Ich habe ein Buch gekauft.",
        "ja",
        "Danke schön",
        "Was kostet das?",
        "Wenn es regnet, bleiben wir zu Hause.",
        "Halt",
        "Weißt du, wo er ist?",
    ],
)
def test_german_that_is_finished(text):
    assert completeness(text, "de-DE") >= FINISHED


def test_a_question_without_its_mark_sounds_more_finished_than_a_statement():
    question = completeness("what did I say last week", "en")

    assert question > completeness("yesterday I bought some books", "en")


def test_only_the_last_sentence_counts():
    assert completeness("What time is it? I need to know because", "en") <= GOES_ON


def test_a_comma_after_yes_goes_on():
    assert completeness("Yes,", "en") <= GOES_ON


@pytest.mark.parametrize("text", ["", "   ", "...", "?!"])
def test_no_words_say_nothing(text):
    assert completeness(text, "en") == NEUTRAL


def test_an_unknown_language_is_judged_by_punctuation_alone():
    assert completeness("mi volas iri and", "eo") == NEUTRAL
    assert completeness("Ĉu vi venas?", "eo") >= FINISHED
    assert completeness("你好吗？", "zh") >= FINISHED
    assert completeness("mi volas…", "eo") <= GOES_ON


@given(st.text(max_size=200), st.sampled_from(["en", "de", "", "zh", "??"]))
def test_any_text_gets_a_score(text, language):
    assert 0 <= completeness(text, language) <= 1


@pytest.mark.timeout(30)  # what grew with its square would take minutes
def test_a_monologue_of_hours_is_judged():
    assert 0 <= completeness("word " * 2_000_000, "en") <= 1
