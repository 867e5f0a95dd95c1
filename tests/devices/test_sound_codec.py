"""Sound files of every kind, honest and not: read in a jail, written by it."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

from llmos import limits
from llmos.devices.audio import EAR_RATE, WIRE_RATE
from llmos.devices.sound_codec import MEDIA, SoundFile, encoded, wav_head
from llmos.errors import BadFile, DeviceError, SandboxMissing
from llmos.sandbox import tiers

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("av") is None, reason="The package av is not installed: make setup."
)


def tone(seconds=2.0, hertz=440, rate=WIRE_RATE):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype("f4")


async def pieces(sound, size=5_000):
    for start in range(0, len(sound), size):
        yield sound[start : start + size]


async def heard(path):
    chunks = [chunk async for chunk in SoundFile(path).chunks()]
    return np.concatenate(chunks)


def wav(samples, rate, channels=1, form=1, width=2):
    data = samples.tobytes()
    head = struct.pack("<4sI4s4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16)
    head += struct.pack(
        "<HHIIHH", form, channels, rate, rate * channels * width, channels * width, 8 * width
    )
    return head + struct.pack("<4sI", b"data", len(data)) + data


def pitch(sound):
    return np.argmax(np.abs(np.fft.rfft(sound))) * EAR_RATE / len(sound)


@pytest.mark.parametrize("form", sorted(set(MEDIA) - {"pcm"}))
async def test_what_is_written_in_a_format_is_read_again(tmp_path, form):
    path = tmp_path / f"a.{form}"
    path.write_bytes(b"".join([part async for part in encoded(pieces(tone()), form)]))
    sound = await heard(path)
    assert abs(len(sound) / EAR_RATE - 2.0) < 0.1
    assert pitch(sound) == pytest.approx(440, abs=1)
    assert 0.2 < np.abs(sound).max() < 0.4


async def test_pcm_is_samples_alone():
    data = b"".join([part async for part in encoded(pieces(tone()), "pcm")])
    assert len(data) == 2 * len(tone())


async def test_a_wav_file_whose_length_is_known_says_so(tmp_path):
    samples = (tone() * 32_767).astype("<i2")
    (tmp_path / "a.wav").write_bytes(wav_head(WIRE_RATE, len(samples)) + samples.tobytes())
    assert len(await heard(tmp_path / "a.wav")) == 2 * EAR_RATE


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
async def test_every_rate_and_number_of_channels_is_heard(tmp_path, rate, channels):
    samples = np.repeat((tone(rate=rate) * 32_767).astype("<i2"), channels)
    (tmp_path / "a.wav").write_bytes(wav(samples, rate, channels))
    sound = await heard(tmp_path / "a.wav")
    assert abs(len(sound) - 2 * EAR_RATE) < 50
    assert pitch(sound) == pytest.approx(440, abs=1)


async def test_samples_that_no_loudspeaker_plays_become_some_that_it_does(tmp_path):
    odd = np.full(EAR_RATE, np.nan, "<f4")
    odd[::7], odd[1::3] = np.inf, 5.0
    (tmp_path / "a.wav").write_bytes(wav(odd, EAR_RATE, form=3, width=4))
    sound = await heard(tmp_path / "a.wav")
    assert np.isfinite(sound).all() and np.abs(sound).max() <= 1.0


LIE = wav(np.zeros(50, "<i2"), 16_000)
BAD = {
    "nothing": b"",
    "zeros": bytes(10_000),
    "text": b"hello world" * 100,
    "noise": np.random.default_rng(1).bytes(100_000),
    "many channels": LIE[:22] + struct.pack("<HI", 60_000, 4_000_000_000) + LIE[28:],
    "no samples": wav(np.zeros(0, "<i2"), 16_000),
}


@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_sound_is_a_sentence(tmp_path, kind):
    (tmp_path / "a.wav").write_bytes(BAD[kind])
    with pytest.raises(BadFile, match=r"a\.wav"):
        await heard(tmp_path / "a.wav")


async def test_a_head_that_promises_more_than_there_is_gives_what_there_is(tmp_path):
    data = wav((tone() * 32_767).astype("<i2"), WIRE_RATE)
    (tmp_path / "a.wav").write_bytes(data[:40] + struct.pack("<I", 0xFFFFFFF0) + data[44:])
    assert abs(len(await heard(tmp_path / "a.wav")) - 2 * EAR_RATE) < 50


@pytest.mark.parametrize(
    ("rate", "channels"), [(1, 1), (2_000_000, 1), (16_000, 0), (16_000, 64), (16_000, 65_535)]
)
async def test_a_head_that_says_what_cannot_be_is_told_in_a_sentence(tmp_path, rate, channels):
    samples = np.zeros(70_000, "<i2")
    data = bytearray(wav(samples, 16_000))
    struct.pack_into("<HI", data, 22, channels, rate)
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(BadFile, match="Convert it to a WAV file") as told:
        await heard(tmp_path / "a.wav")
    for inner in ("avcodec", "errno", "returned", "resample"):
        assert inner not in str(told.value).lower()


async def test_sound_of_a_kind_that_nobody_knows_is_refused(tmp_path):
    data = bytearray(wav(np.zeros(16_000, "<i2"), 16_000))
    struct.pack_into("<H", data, 20, 0x7777)
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(BadFile, match=r"does not know\. Convert it"):
        await heard(tmp_path / "a.wav")


async def test_a_file_that_is_not_there_is_named():
    with pytest.raises(DeviceError, match="nowhere"):
        await heard(Path("/nowhere.wav"))


async def test_a_file_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "SOUND_SECONDS", 1)
    (tmp_path / "a.wav").write_bytes(wav((tone() * 32_767).astype("<i2"), WIRE_RATE))
    with pytest.raises(BadFile, match="longer than"):
        await heard(tmp_path / "a.wav")


async def test_without_a_jail_wav_files_are_read_and_others_are_refused(tmp_path, monkeypatch):
    async def none():
        raise SandboxMissing("No jail holds here.", remedy="Install bubblewrap.")

    (tmp_path / "a.mp3").write_bytes(
        b"".join([part async for part in encoded(pieces(tone()), "mp3")])
    )
    (tmp_path / "a.wav").write_bytes(wav((tone() * 32_767).astype("<i2"), WIRE_RATE))
    monkeypatch.setattr(tiers, "best", none)
    assert pitch(await heard(tmp_path / "a.wav")) == pytest.approx(440, abs=1)
    with pytest.raises(BadFile, match="only WAV files can"):
        await heard(tmp_path / "a.mp3")
    with pytest.raises(DeviceError, match="cannot be written as mp3"):
        _ = [part async for part in encoded(pieces(tone()), "mp3")]


async def test_what_cannot_be_spoken_to_its_end_is_no_whole_file():
    async def broken():
        yield tone(0.5)
        raise DeviceError("The voice is gone.")

    with pytest.raises(DeviceError, match="voice is gone"):
        _ = [part async for part in encoded(broken(), "flac")]
