"""What languages say at the edges of a turn: the data holds together."""

from __future__ import annotations

import dataclasses

import pytest

from llmos.devices.turn_words import LANGUAGES, Command, turn_words, words_of


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_entry_is_written_as_transcripts_are_read(language):
    table = LANGUAGES[language]
    for field in dataclasses.fields(table):
        value = getattr(table, field.name)
        sets = value.values() if field.name == "commands" else [value]
        for entry in (entry for one in sets for entry in one):
            assert " ".join(words_of(entry)) == entry


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_each_command_can_be_said_and_means_one_thing(language):
    commands = LANGUAGES[language].commands
    ways = [way for said in commands.values() for way in said]

    assert set(commands) == set(Command)
    assert len(ways) == len(set(ways))


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_what_may_end_a_question_is_a_word_that_hangs(language):
    table = LANGUAGES[language]

    assert table.stranded <= table.hanging
    assert not table.backchannels & {way for said in table.commands.values() for way in said}


def test_a_region_or_capitals_make_no_other_language():
    assert turn_words("de-AT") is turn_words("DE_ch") is LANGUAGES["de"]
    assert turn_words("") is turn_words("xx") is None


def test_words_are_lower_case_without_punctuation():
    assert words_of("Don’t STOP, Mm-hmm… it's 3.5!") == [
        "don't",
        "stop",
        "mm-hmm",
        "it's",
        "3",
        "5",
    ]
