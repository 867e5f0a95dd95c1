"""Where speech begins and stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.segmenter import Segmenter, SegmenterSettings, SpeechStarted, SpeechStopped

FRAME = 512


def events(probabilities, **settings):
    segmenter = Segmenter(SegmenterSettings(**settings))
    out = [event for p in probabilities if (event := segmenter.feed(p)) is not None]
    last = segmenter.flush()
    return [*out, last] if last else out


def test_positions_are_exact():
    started, stopped = events([0.0] * 20 + [0.9] * 10 + [0.0] * 10)

    assert started == SpeechStarted(onset=20 * FRAME, padded=20 * FRAME - 4800, known=24 * FRAME)
    assert stopped == SpeechStopped(onset=20 * FRAME, end=30 * FRAME, known=36 * FRAME)


def test_padding_does_not_reach_before_the_first_sample():
    assert events([0.9] * 10)[0].padded == 0


def test_padding_does_not_reach_into_what_was_spoken_before():
    segments = events([0.9] * 10 + [0.0] * 7 + [0.9] * 10)

    assert segments[2].padded == segments[1].end == 10 * FRAME


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_click_or_a_cough_is_no_speech(frames):
    assert events([0.0] * 5 + [0.99] * frames + [0.0] * 20) == []


def test_clicks_far_apart_do_not_add_up():
    assert events(([0.9] * 2 + [0.0] * 4) * 10) == []


def test_a_word_that_flickers_is_one_word():
    segments = events([0.9, 0.4, 0.9, 0.9, 0.4, 0.9, 0.9] + [0.0] * 10)

    assert [type(event) for event in segments] == [SpeechStarted, SpeechStopped]
    assert segments[0].onset == 0


def test_between_the_thresholds_speech_goes_on_but_does_not_begin():
    assert events([0.4] * 50) == []
    assert events([0.9] * 5 + [0.4] * 50)[-1].end == 55 * FRAME


def test_a_breath_within_a_word_stops_nothing():
    segments = events([0.9] * 8 + [0.0] * 5 + [0.9] * 8 + [0.0] * 10)

    assert len(segments) == 2
    assert segments[1].end == 21 * FRAME


def test_speech_until_the_end_of_the_stream_stops_there():
    assert events([0.9] * 8)[-1] == SpeechStopped(onset=0, end=8 * FRAME, known=8 * FRAME)


def test_not_a_number_is_no_speech():
    assert events([float("nan")] * 20) == []


def test_silence_is_counted_from_the_last_frame_of_speech():
    segmenter = Segmenter()
    for probability in [0.9] * 8 + [0.0] * 3:
        segmenter.feed(probability)

    assert segmenter.speaking
    assert segmenter.silence == 3 * FRAME


@given(st.lists(st.floats(0, 1), max_size=200))
def test_starts_and_stops_take_turns_in_time(probabilities):
    at = 0
    for number, event in enumerate(events(probabilities)):
        assert isinstance(event, SpeechStarted if number % 2 == 0 else SpeechStopped)
        assert at <= (event.padded if number % 2 == 0 else event.end)
        at = event.onset if number % 2 == 0 else event.end
        assert event.onset <= at <= event.known <= len(probabilities) * FRAME


@pytest.mark.parametrize(
    "settings", [{"start": 0.3}, {"stop": 0.0}, {"start": 1.0}, {"padding_s": -1}]
)
def test_settings_that_contradict_themselves_are_refused(settings):
    with pytest.raises(ValueError):
        SegmenterSettings(**settings)


def test_speech_begins_where_it_is_told_to():
    segmenter = Segmenter()
    segmenter.hears_from(0.8)
    assert [segmenter.feed(0.7) for _ in range(20)] == [None] * 20
    segmenter.hears_from(0.2)
    assert any(isinstance(segmenter.feed(0.3), SpeechStarted) for _ in range(20))
