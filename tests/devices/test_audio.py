"""Sound as arrays: what comes in is made safe."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.audio import (
    SILENCE_DBFS,
    Frames,
    clean,
    decode_pcm16,
    encode_pcm16,
    level_dbfs,
    mono,
)


@given(st.binary(max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_pcm16_comes_back_byte_for_byte(data):
    assert encode_pcm16(decode_pcm16(data)) == data


def test_half_a_sample_at_the_end_is_left_out():
    assert decode_pcm16(b"\x00\x40\x07").tolist() == [0.5]
    assert decode_pcm16(b"\x07").size == 0


def test_full_scale_and_what_lies_beyond_it_become_the_largest_steps():
    sound = np.array([1.0, 7.0, -1.0, -7.0, np.inf, -np.inf, np.nan], dtype=np.float32)

    steps = np.frombuffer(encode_pcm16(sound), dtype="<i2").tolist()

    assert steps == [32767, 32767, -32768, -32768, 32767, -32768, 0]


def test_clean_sound_is_finite_and_in_range():
    assert clean([0.25, np.nan, np.inf, -np.inf, 2.0]).tolist() == [0.25, 0.0, 1.0, -1.0, 1.0]
    assert clean([0.25]).dtype == np.float32


@pytest.mark.parametrize(
    ("dtype", "lowest", "middle", "half"),
    [
        ("uint8", 0, 128, 192),
        ("int16", -32768, 0, 16384),
        ("int32", -(2**31), 0, 2**30),
        ("float64", -1.0, 0.0, 0.5),
    ],
)
def test_every_sample_type_is_scaled_by_its_own_range(dtype, lowest, middle, half):
    assert mono(np.array([lowest, middle, half], dtype=dtype)).tolist() == [-1.0, 0.0, 0.5]


def test_channels_are_averaged():
    assert mono(np.array([[1.0, 0.0], [0.5, -0.5]])).tolist() == [0.5, 0.0]
    assert mono(np.array([[16384, 16384]], dtype=np.int16)).tolist() == [0.5]


def test_a_broken_sample_of_one_channel_does_not_take_the_other_with_it():
    assert mono(np.array([[np.nan, 0.5]])).tolist() == [0.25]


@pytest.mark.parametrize("shape", [(), (2, 2, 2)])
def test_sound_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="shape"):
        mono(np.zeros(shape))


def test_what_are_no_numbers_is_refused():
    with pytest.raises(ValueError, match="integers or floats"):
        mono(np.array(["loud"]))


def test_no_channels_are_silence():
    assert mono(np.zeros((3, 0))).tolist() == [0.0, 0.0, 0.0]


def test_levels_of_known_sounds():
    tone = np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000).astype(np.float32)

    assert level_dbfs(np.ones(8, dtype=np.float32)) == pytest.approx(0.0)
    assert level_dbfs(tone) == pytest.approx(-3.01, abs=0.01)
    assert level_dbfs(tone / 10) == pytest.approx(-23.01, abs=0.01)


def test_nothing_and_silence_have_the_lowest_level():
    assert level_dbfs(np.zeros(0, dtype=np.float32)) == SILENCE_DBFS
    assert level_dbfs(np.zeros(9, dtype=np.float32)) == SILENCE_DBFS
    assert level_dbfs(np.full(9, np.nan, dtype=np.float32)) == SILENCE_DBFS


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 17))
def test_frames_lose_nothing_however_the_chunks_are_cut(cuts, size):
    sound = np.arange(sum(cuts), dtype=np.float32)
    frames = Frames(size)
    out, start = [], 0
    for cut in cuts:
        out += frames.feed(sound[start : start + cut])
        start += cut
    assert all(len(frame) == size for frame in out)
    assert frames.waiting < size

    rest = frames.flush()

    assert np.concatenate([*out, rest]).tolist() == sound.tolist()
    assert frames.waiting == 0


def test_a_frame_of_no_samples_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Frames(0)
