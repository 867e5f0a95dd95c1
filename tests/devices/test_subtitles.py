"""Words with their times, as cues that can be read, in two formats."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.partials import HeardWord
from llmos.devices.subtitles import LINE, LINES, LONGEST_S, Cue, cues, srt, vtt


def said(text, start=0.0, step=0.4):
    words = text.split()
    return [
        HeardWord(f" {word}", start + n * step, start + (n + 0.9) * step)
        for n, word in enumerate(words)
    ]


def test_a_sentence_is_a_cue_and_the_next_one_another():
    found = list(cues(said("This is the first sentence. And here is another one.")))
    assert [" ".join(cue.lines) for cue in found] == [
        "This is the first sentence.",
        "And here is another one.",
    ]


def test_a_rest_parts_cues():
    found = list(cues([*said("one two"), *said("three four", start=5.0)]))
    assert [(cue.start_s, cue.lines) for cue in found] == [
        (0.0, ("one two",)),
        (5.0, ("three four",)),
    ]


def test_the_last_cue_stands_as_long_as_it_is_spoken():
    (cue,) = cues(said("a b c d e f g"))
    assert cue.end_s > 2.7


def test_a_short_cue_stands_long_enough_to_be_read_unless_the_next_one_comes():
    (alone,) = cues([HeardWord(" Yes.", 1.0, 1.2)])
    assert alone.end_s == 2.0
    first, _ = cues([HeardWord(" Yes, that is what I meant.", 1.0, 1.2), *said("So", 1.5)])
    assert first.end_s == 1.5


def test_srt_counts_cues_and_writes_the_time_with_a_comma():
    assert "".join(srt([Cue(3661.5, 3662.0, ("a", "b"))])) == (
        "1\n01:01:01,500 --> 01:01:02,000\na\nb\n\n"
    )


def test_what_is_said_is_no_markup_in_webvtt():
    text = "".join(vtt([Cue(0, 1, ("a <b> & c --> d",))]))
    assert text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n")
    assert "a &lt;b&gt; &amp; c --&gt; d" in text


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=60), st.floats(0.01, 3.0), st.floats(0, 2.0)),
        max_size=40,
    )
)
def test_cues_are_in_order_fit_the_screen_and_lose_no_word(rows):
    words, at = [], 0.0
    for text, length, gap in rows:
        words.append(HeardWord(f" {text}", at, at + length))
        at += length + gap
    found = list(cues(words))
    for cue, after in itertools.pairwise(found):
        assert cue.start_s <= cue.end_s <= after.start_s + 1e-9
    for cue in found:
        assert cue.lines
        assert all(len(line) <= LINE for line in cue.lines)
        assert len(cue.lines) <= LINES or len("".join(cue.lines)) <= 61
        assert cue.end_s - cue.start_s <= max(LONGEST_S, 3.0) + 1e-6
    spoken = "".join("".join(word.text for word in words).split())
    assert "".join("".join("".join(cue.lines) for cue in found).split()) == spoken
