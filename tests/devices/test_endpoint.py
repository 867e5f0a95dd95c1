"""The end of a turn, on sentences whose speakers rest in the middle of them."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.endpoint import GIVE_UP_S, Endpointer
from llmos.devices.rhythm import Rhythm
from tests.devices.pauses import ENGLISH, GERMAN, HEARD

#: Seconds that a pause inside a sentence takes, one after the other, and between two looks.
PAUSES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
STEP = 0.02
#: Seconds after the last word until its transcript is there: the stop is noticed, Whisper runs.
TRANSCRIPT_S = 0.55


def written(prefix, rng):
    """How a recogniser may write a prefix: mostly a guess at its end, as good as none."""
    return prefix.rstrip(",") + rng.choice(["", "", ",", "...", "…", ".", "."])


def older(text):
    """The transcript before the last: without the last words and any mark."""
    return " ".join(text.split()[:-2])


def turns():
    """Each sentence as ([transcript at each pause], transcript at the end, language)."""
    for sentence, heard in zip(ENGLISH, HEARD, strict=True):
        assert sentence.count("|") == len(heard) - 1
        yield [text for text in heard[:-1] if text is not None], heard[-1], "en"
    rng = random.Random(4)
    for sentence in GERMAN:
        parts = [part.strip() for part in sentence.split("|")]
        prefixes = [" ".join(parts[: count + 1]) for count in range(len(parts) - 1)]
        yield [written(prefix, rng) for prefix in prefixes], " ".join(parts), "de"


def silence_until(endpointer, text, language, longest, which="sure"):
    """Seconds of silence at which the end is sure, or None where it is not before ``longest``."""
    silence = 0.0
    while silence < longest:
        seen = text if silence >= TRANSCRIPT_S else older(text)
        if getattr(endpointer.judge(silence, seen, language), which):
            return round(silence, 3)
        silence += STEP
    return None


def run(endpointer, languages=("en", "de")):
    """(pauses inside sentences, how many were cut off, silences before the ends of sentences)"""
    inside = cut = 0
    ends = []
    for offset in range(len(PAUSES)):
        for number, (prefixes, whole, language) in enumerate(turns()):
            if language not in languages:
                continue
            for place, text in enumerate(prefixes):
                pause = PAUSES[(offset + number + 3 * place) % len(PAUSES)]
                inside += 1
                cut += silence_until(endpointer, text, language, pause) is not None
                endpointer.resumed(pause)
            ends.append(silence_until(endpointer, whole, language, 9))
    return inside, cut, ends


def test_pauses_inside_sentences_cut_hardly_anybody_off_and_ends_are_answered_soon():
    inside, cut, ends = run(Endpointer())

    assert inside > 600
    assert cut / inside <= 0.10
    assert statistics.median(ends) <= 0.7
    assert max(ends) <= 1.6


def test_where_whisper_completes_what_it_heard_most_pauses_are_waited_out_still():
    """All that the words can do: "Do you know who wrote?" is a finished question to them."""
    inside, cut, _ = run(Endpointer(), languages=["en"])

    assert inside > 300
    assert cut / inside <= 0.16


def test_a_guess_is_made_well_before_the_end_is_sure():
    for _, whole, language in turns():
        judged = Endpointer().judge(0, whole, language)

        assert judged.likely_s <= 0.5 * judged.sure_s


def test_nothing_ends_while_somebody_speaks():
    judged = Endpointer().judge(0.0, "Stop!", "en")

    assert (judged.likely, judged.sure, judged.probability) == (False, False, 0.0)


def test_a_hanging_sentence_is_waited_for_longer_than_a_finished_one():
    endpointer = Endpointer()
    hanging = endpointer.judge(0.7, "I wanted to ask about the", "en")
    finished = endpointer.judge(0.7, "What time is it?", "en")

    assert not hanging.sure
    assert not hanging.likely
    assert finished.sure
    assert finished.sure_s < hanging.sure_s / 2


def test_a_slow_speaker_is_waited_for_longer():
    rhythm = Rhythm()
    for _ in range(40):
        rhythm.pause(1.4)
    text = "Yesterday I bought a book."

    assert Endpointer(rhythm).judge(0, text, "en").sure_s == pytest.approx(1.4)
    assert Endpointer().judge(0, text, "en").sure_s < 0.7


def test_who_goes_on_after_being_cut_off_is_waited_for_the_next_times():
    endpointer = Endpointer()
    text = "I went to the market."
    first = silence_until(endpointer, text, "en", 1.0)
    for _ in range(20):
        endpointer.resumed(1.1)

    assert first is not None
    assert silence_until(endpointer, text, "en", 1.0) is None


def test_a_quick_speaker_does_not_make_it_hasty():
    rhythm = Rhythm()
    for _ in range(40):
        rhythm.pause(0.16)

    assert Endpointer(rhythm).judge(0, "I wanted to ask about the", "en").sure_s > 1.5


@pytest.mark.parametrize("text", ["", "   ", "io ne scias", "I wanted to ask about the"])
def test_every_turn_ends_some_time(text):
    assert Endpointer().judge(GIVE_UP_S, text, "en").sure
    assert silence_until(Endpointer(), text, "eo", 9) <= GIVE_UP_S


@given(st.floats(0, 10), st.text(max_size=30), st.sampled_from(["en", "de", ""]))
def test_what_is_sure_is_likely_and_the_probability_says_so(silence, text, language):
    judged = Endpointer().judge(silence, text, language)

    assert 0 < judged.likely_s <= judged.sure_s <= GIVE_UP_S
    assert judged.likely or not judged.sure
    assert judged.likely == (judged.probability >= 0.5)
    assert judged.sure == (judged.probability >= 0.9)


@given(st.floats(0.01, 4), st.floats(0.01, 4))
def test_the_probability_rises_with_the_silence(a, b):
    shorter, longer = sorted((a, b))
    endpointer = Endpointer()
    text = "I bought a book"

    assert (
        endpointer.judge(shorter, text, "en").probability
        <= endpointer.judge(longer, text, "en").probability
    )


def test_more_patience_waits_longer_and_a_silence_that_was_named_is_all_that_counts():
    said = "What time is it?"
    endpointer = Endpointer()
    usual = endpointer.judge(0.0, said, "en").sure_s
    endpointer.patience = 1.5
    assert endpointer.judge(0.0, said, "en").sure_s == pytest.approx(1.5 * usual)
    endpointer.silence_s = 0.3
    for text in (said, "I wanted to ask about the", ""):
        assert not endpointer.judge(0.29, text, "en").sure
        assert endpointer.judge(0.3, text, "en").sure
