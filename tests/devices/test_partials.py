"""Words that stay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.partials import LONGEST_S, HeardWord, LocalAgreement, Pace


def heard(text, start=0.0, each=0.4):
    """Words of 0.4 s, one after the other."""
    return [
        HeardWord(f" {word}", start + number * each, start + (number + 1) * each)
        for number, word in enumerate(text.split())
    ]


def said(words):
    return "".join(word.text for word in words).strip()


def test_a_word_stays_once_two_transcripts_agree_on_it():
    agreement = LocalAgreement()

    assert agreement.feed(heard("what did I")) == ()
    assert said(agreement.feed(heard("what did I stay about"))) == "what did I"
    assert said(agreement.feed(heard("what did I say about the"))) == ""
    assert said(agreement.feed(heard("what did I say about the budget"))) == "say about the"
    assert said(agreement.committed) == "what did I say about the"
    assert agreement.text == "what did I say about the budget"


def test_case_and_punctuation_are_no_disagreement():
    agreement = LocalAgreement()
    agreement.feed(heard("Hello."))

    assert said(agreement.feed(heard("hello, there"))) == "hello,"


def test_with_three_it_takes_three():
    agreement = LocalAgreement(3)

    assert agreement.feed(heard("yes we can")) == ()
    assert agreement.feed(heard("yes we can")) == ()
    assert said(agreement.feed(heard("yes we could"))) == "yes we"


def test_committed_words_are_not_said_twice_when_their_times_shift():
    agreement = LocalAgreement()
    agreement.feed(heard("one two three"))
    agreement.feed(heard("one two three"))

    agreement.feed(heard("one two three four", start=0.08))
    settled = agreement.feed(heard("one two three four five", start=-0.05))

    assert said(settled) == "four"
    assert said(agreement.committed) == "one two three four"


def test_a_word_that_is_really_said_twice_stays_twice():
    agreement = LocalAgreement()
    for text in ("very", "very very", "very very very good", "very very very good"):
        agreement.feed(heard(text))

    assert said(agreement.committed) == "very very very good"


def test_at_the_end_the_last_guess_stays():
    agreement = LocalAgreement()
    agreement.feed(heard("turn it"))
    agreement.feed(heard("turn it off please"))

    assert said(agreement.finish()) == "off please"
    assert said(agreement.committed) == "turn it off please"
    assert agreement.tail == ()


def test_silence_settles_nothing():
    agreement = LocalAgreement()

    assert agreement.feed([]) == agreement.feed([]) == agreement.finish() == ()
    assert agreement.text == ""


def test_a_word_that_was_invented_at_the_end_goes_away_again():
    agreement = LocalAgreement()
    agreement.feed(heard("thank you thank you"))
    agreement.feed(heard("thank you"))

    assert said(agreement.finish()) == ""
    assert said(agreement.committed) == "thank you"


def test_long_sound_is_cut_after_a_committed_sentence():
    agreement = LocalAgreement()
    words = heard("word " * 30 + "end. " + "more " * 10)
    agreement.feed(words)
    agreement.feed(words)

    assert agreement.from_s == pytest.approx(31 * 0.4)
    assert agreement.feed(heard("more " * 10 + "news", start=agreement.from_s)) == ()
    assert said(agreement.finish()) == "news"


def test_long_sound_without_a_sentence_end_is_cut_after_the_last_word():
    agreement = LocalAgreement()
    words = heard("word " * 60)
    agreement.feed(words)
    agreement.feed(words)

    assert agreement.from_s == words[-1].end_s


def test_what_is_to_be_transcribed_stays_bounded_in_an_hour_of_speech():
    agreement, longest = LocalAgreement(), 0.0
    words = heard("so it goes on and on. " * 1_500)
    for now in range(1, 3_600):
        start = agreement.from_s
        agreement.feed([w for w in words[int(start / 0.4) : int(now / 0.4)] if w.end_s <= now])
        longest = max(longest, now - start)

    assert longest < 2 * LONGEST_S
    assert said(agreement.committed) == said(words[: len(agreement.committed)])
    assert len(agreement.committed) > 8_900


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c."]), max_size=6), max_size=8))
def test_committed_words_never_change(transcripts):
    agreement, before = LocalAgreement(), ()
    for transcript in transcripts:
        new = agreement.feed(heard(" ".join(transcript)))
        assert agreement.committed == before + new
        before = agreement.committed
    assert agreement.committed[: len(before)] == before


def test_no_transcripts_cannot_agree():
    with pytest.raises(ValueError, match="cannot agree"):
        LocalAgreement(0)


def test_transcripts_are_as_frequent_as_their_cost_allows():
    pace = Pace()
    assert not pace.due(0.4, speaking=True)
    assert pace.due(0.5, speaking=True)

    pace.done(0.5, cost_s=0.6, speaking=True)

    assert not pace.due(1.4, speaking=True)
    assert pace.due(1.5, speaking=True)


def test_when_speech_stops_there_is_one_more_and_then_none():
    pace = Pace()
    pace.done(2.0, cost_s=0.6, speaking=True)
    assert pace.due(2.1, speaking=False)

    pace.done(2.2, cost_s=0.6, speaking=False)

    assert not pace.due(9.0, speaking=False)
    pace.spoke()
    assert pace.due(9.5, speaking=False)
