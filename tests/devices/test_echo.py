"""Echo cancellation."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from llmos.devices.audio import level_dbfs
from llmos.devices.echo import (
    CANCELLER_FRAME,
    NoCanceller,
    WebRtcCanceller,
    open_canceller,
)
from llmos.errors import DeviceError
from tests.devices.voices import RATE, echo, noise, voice


@pytest.fixture
def webrtc():
    pytest.importorskip("aec_audio_processing", reason="aec-audio-processing is not installed")
    return WebRtcCanceller()


def cancelled(canceller, heard, played):
    frames = zip(
        heard.reshape(-1, CANCELLER_FRAME), played.reshape(-1, CANCELLER_FRAME), strict=True
    )
    return np.concatenate([canceller.process(*pair) for pair in frames])


@pytest.mark.parametrize("delay_s", [0.02, 0.12, 0.25])
def test_the_echo_of_a_distorting_loudspeaker_on_another_clock_is_taken_out(webrtc, delay_s):
    played = voice(6, level=0.1)
    heard = echo(played, delay_s, gain=0.5, distortion=3, drift_ppm=100) + noise(
        6, seed=4, level=0.0005
    )

    left = cancelled(webrtc, heard, played)

    later = slice(3 * RATE, 6 * RATE)
    assert level_dbfs(heard[later]) - level_dbfs(left[later]) > 15


def test_who_speaks_over_the_echo_stays_audible(webrtc):
    played = voice(8, level=0.1)
    person = voice(2, seed=5, pitch=210, level=0.1)
    heard = echo(played, 0.1, gain=0.3)
    heard[5 * RATE : 7 * RATE] += person

    left = cancelled(webrtc, heard, played)

    both = level_dbfs(left[5 * RATE : 7 * RATE])
    assert both > level_dbfs(left[4 * RATE : 5 * RATE]) + 10
    assert both > level_dbfs(person) - 10


def test_after_a_reset_it_works_still(webrtc):
    webrtc.set_delay(0.1)
    webrtc.reset()

    assert len(webrtc.process(voice(0.01), voice(0.01))) == CANCELLER_FRAME


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aec_audio_processing", None)

    with pytest.raises(DeviceError, match=r"hear its own voice\. Install it with pip"):
        WebRtcCanceller()
    canceller, notice = open_canceller()
    assert isinstance(canceller, NoCanceller)
    assert "pip install aec-audio-processing" in notice


def test_no_canceller_hands_the_sound_through():
    heard = voice(0.01)

    assert NoCanceller().process(heard, noise(0.01)).tolist() == heard.tolist()


@pytest.mark.parametrize("sizes", [(159, 160), (160, 161), (0, 0)])
def test_frames_of_another_length_are_refused(sizes):
    frames = [np.zeros(size, dtype=np.float32) for size in sizes]

    with pytest.raises(ValueError, match="is needed"):
        NoCanceller().process(*frames)
