"""The delay between loudspeaker and microphone."""

from __future__ import annotations

import numpy as np
import pytest

from llmos.devices.delay import DelayEstimator
from tests.devices.voices import RATE, echo, noise, silence, voice


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.1, 0.25, 0.45])
def test_the_delay_is_found_to_a_few_milliseconds(delay_s):
    played = voice(4, level=0.1)
    heard = echo(played, delay_s, gain=0.5) + noise(4, seed=4, level=0.003)

    assert DelayEstimator().feed(heard, played) == pytest.approx(delay_s, abs=0.003)


def test_it_is_found_through_distortion_drift_and_another_voice():
    played = voice(5, level=0.1)
    heard = echo(played, 0.12, gain=0.5, distortion=4, drift_ppm=100)
    heard += voice(5, seed=9, pitch=210, level=0.04)

    assert DelayEstimator().feed(heard, played) == pytest.approx(0.12, abs=0.004)


def test_a_delay_that_changes_is_followed():
    estimator = DelayEstimator()
    played = voice(5, level=0.1)
    estimator.feed(echo(played, 0.05, gain=0.5), played)

    assert estimator.feed(echo(played, 0.2, gain=0.5), played) == pytest.approx(0.2, abs=0.003)


def test_silence_leaves_the_delay_as_it_was():
    estimator = DelayEstimator()
    played = voice(3, level=0.1)
    known = estimator.feed(echo(played, 0.08, gain=0.5), played)

    assert estimator.feed(silence(20), silence(20)) == known == pytest.approx(0.08, abs=0.003)


def test_with_headphones_there_is_no_delay():
    estimator = DelayEstimator()
    played = voice(8, level=0.1)

    assert estimator.feed(noise(8, seed=4, level=0.01), played) is None
    assert estimator.feed(voice(8, seed=3, pitch=190), played) is None


def test_while_nothing_is_played_nothing_is_found():
    estimator = DelayEstimator()

    assert estimator.feed(voice(3), silence(3)) is None
    assert estimator.confidence == 0


def test_chunks_of_any_size_give_the_same():
    played = voice(3, level=0.1)
    heard = echo(played, 0.1, gain=0.5)
    estimator = DelayEstimator()
    for start in range(0, len(heard), 321):
        estimator.feed(heard[start : start + 321], played[start : start + 321])

    assert estimator.delay_s == DelayEstimator().feed(heard, played)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="2 samples were heard, 3 played"):
        DelayEstimator().feed(np.zeros(2, dtype=np.float32), np.zeros(3, dtype=np.float32))


def test_after_a_reset_nothing_is_known():
    estimator = DelayEstimator(RATE)
    played = voice(3, level=0.1)
    estimator.feed(echo(played, 0.1, gain=0.5), played)
    estimator.reset()

    assert estimator.delay_s is None
