"""Resampling: exact in time, free of aliases, the same however the sound is cut."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.devices.resample import Resampler, resample

RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000]


def tone(frequency, rate, seconds=0.5):
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def inner(sound):
    """Without the edges, where the silence around a sound is heard, too."""
    return sound[len(sound) // 5 : -len(sound) // 5]


@pytest.mark.parametrize("source", RATES)
@pytest.mark.parametrize("target", RATES)
def test_a_tone_stays_itself_at_its_time_at_every_rate(source, target):
    out = resample(tone(1_000, source), source, target)

    assert np.abs(inner(out) - inner(tone(1_000, target, 1)[: len(out)])).max() < 1e-3


@pytest.mark.parametrize(
    ("source", "target", "frequency"),
    [(48_000, 16_000, 8_400), (24_000, 16_000, 9_000), (96_000, 8_000, 7_000)],
)
def test_what_the_lower_rate_cannot_hold_is_gone(source, target, frequency):
    out = resample(tone(frequency, source), source, target)

    assert 20 * np.log10(np.abs(inner(out)).max()) < -75


def test_speech_up_to_6_5_kilohertz_comes_through_from_48_to_16_khz():
    out = resample(tone(6_500, 48_000), 48_000, 16_000)

    assert np.sqrt(2 * np.mean(inner(out) ** 2)) == pytest.approx(1.0, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 700), max_size=8),
    st.sampled_from([(16_000, 24_000), (48_000, 16_000), (44_100, 16_000), (8_000, 96_000),
                     (44_101, 48_000), (16_000, 16_000)]),
)  # fmt: skip
def test_chunks_of_any_size_give_the_same_samples_as_one_go(cuts, rates):
    sound = np.random.default_rng(1).uniform(-1, 1, sum(cuts)).astype(np.float32)
    resampler = Resampler(*rates)
    parts, start = [], 0
    for cut in cuts:
        parts.append(resampler.feed(sound[start : start + cut]))
        start += cut
    parts.append(resampler.flush())

    whole = resample(sound, *rates)

    assert np.concatenate(parts).tolist() == whole.tolist()
    assert len(whole) == ceil(len(sound) * rates[1] / rates[0])


def test_all_that_is_older_than_the_latency_has_come_out():
    resampler = Resampler(16_000, 24_000)

    out = resampler.feed(np.zeros(1_600, dtype=np.float32))

    assert 2_400 - len(out) <= ceil(resampler.latency_s * 24_000) + 1


def test_the_latency_is_what_is_stated():
    worst = max(Resampler(a, b).latency_s for a in RATES for b in RATES)

    assert Resampler(16_000, 24_000).latency_s == pytest.approx(0.0016, abs=1e-4)
    assert worst <= 0.0034
    assert Resampler(16_000, 16_000).latency_s == 0


def test_after_a_flush_nothing_of_the_old_sound_is_heard():
    resampler = Resampler(16_000, 24_000)
    resampler.feed(np.ones(500, dtype=np.float32))
    resampler.flush()

    assert not resampler.feed(np.zeros(500, dtype=np.float32)).any()


def test_a_constant_stays_constant():
    out = resample(np.full(4_000, 0.5, dtype=np.float32), 44_100, 16_000)

    assert np.abs(inner(out) - 0.5).max() < 1e-5


def test_rates_without_a_common_measure_work_too():
    out = resample(tone(440, 44_101), 44_101, 48_000)

    assert np.abs(inner(out) - inner(tone(440, 48_000)[: len(out)])).max() < 1e-3


@pytest.mark.parametrize("rate", [0, 1, 7_999, 96_001, -16_000])
def test_a_rate_nobody_records_at_is_refused(rate):
    with pytest.raises(ValueError, match="rates from 8,000"):
        Resampler(rate, 16_000)
