"""WAV files as microphone and as loudspeaker."""

from __future__ import annotations

import asyncio
import wave

import numpy as np
import pytest

from llmos.devices.audio import EAR_RATE, WIRE_RATE, encode_pcm16
from llmos.devices.sound import EAR_FRAME, Loudspeaker, Microphone
from llmos.devices.sound_file import FileLoudspeaker, FileMicrophone
from llmos.errors import BadFile, DeviceError
from tests.devices.voices import voice


def write(path, data: bytes, *, rate=EAR_RATE, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(data)
    return path


async def everything(microphone: Microphone):
    return [heard async for heard in microphone.frames()]


async def test_all_of_a_file_is_heard_once_and_the_last_frame_filled_up(tmp_path):
    sound = voice(0.255)
    path = write(tmp_path / "a.wav", encode_pcm16(sound))
    frames = await everything(FileMicrophone(path))
    heard = np.concatenate([frame.sound for frame in frames])
    assert {len(frame.sound) for frame in frames} == {EAR_FRAME}
    assert len(frames) == 26
    assert np.allclose(heard[: len(sound)], sound, atol=1e-4)
    assert not heard[len(sound) :].any()
    steps = np.diff([frame.at_s for frame in frames])
    assert np.allclose(steps, 0.01)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
async def test_any_rate_and_channels_become_sixteen_kilohertz_mono(tmp_path, rate):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    both = np.stack([tone, -0.5 * tone], axis=1).reshape(-1)
    path = write(tmp_path / "a.wav", encode_pcm16(both), rate=rate, channels=2)
    frames = await everything(FileMicrophone(path))
    heard = np.concatenate([frame.sound for frame in frames])
    assert len(heard) == EAR_RATE
    middle = heard[4_000:12_000]
    assert np.abs(middle).max() == pytest.approx(0.125, abs=0.005)
    assert np.argmax(np.abs(np.fft.rfft(middle))) * 2 == 440


@pytest.mark.parametrize(("width", "full"), [(1, 127), (3, 2**23 - 1), (4, 2**31 - 1)])
async def test_other_widths_of_samples_are_read(tmp_path, width, full):
    sound = voice(0.1)
    numbers = np.rint(sound.astype(np.float64) * full).astype(np.int64)
    if width == 1:
        data = (numbers + 128).astype(np.uint8).tobytes()
    else:
        data = b"".join(int(n).to_bytes(width, "little", signed=True) for n in numbers)
    path = write(tmp_path / "a.wav", data, width=width)
    frames = await everything(FileMicrophone(path))
    heard = np.concatenate([frame.sound for frame in frames])
    assert np.allclose(heard, sound, atol=0.012)  # a step of 8 bits is 0.008


async def test_at_the_pace_of_a_clock_a_frame_is_there_once_it_was_heard(tmp_path):
    path = write(tmp_path / "a.wav", encode_pcm16(voice(0.05)))
    loop = asyncio.get_running_loop()
    async for heard in FileMicrophone(path, realtime=True).frames():
        assert loop.time() >= heard.at_s + 0.0099


@pytest.mark.parametrize("data", [b"", b"RIFF\x04\0\0\0WAVE", b"not a sound at all" * 10])
async def test_what_is_no_sound_is_refused_in_a_sentence(tmp_path, data):
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(BadFile, match=r"no WAV file that can be read.*Convert it"):
        await everything(FileMicrophone(path))


async def test_a_rate_that_lies_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", b"\0\0" * 100, rate=1)
    with pytest.raises(BadFile, match="1 channels of 16 bits at 1 Hz"):
        await everything(FileMicrophone(path))


async def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DeviceError, match=r"missing\.wav cannot be read: No such file"):
        await everything(FileMicrophone(tmp_path / "missing.wav"))


async def test_a_file_cut_short_is_heard_as_far_as_it_goes(tmp_path):
    path = write(tmp_path / "a.wav", encode_pcm16(voice(0.1)))
    path.write_bytes(path.read_bytes()[:-1_001])
    frames = await everything(FileMicrophone(path))
    assert len(frames) == 7


async def test_what_is_played_is_in_the_file(tmp_path):
    loudspeaker = FileLoudspeaker(tmp_path / "out.wav")
    contract: Loudspeaker = loudspeaker
    sound = voice(1.5, rate=WIRE_RATE)
    assert await contract.write(sound[:20_000]) == 0
    assert await contract.write(sound[20_000:]) == 20_000
    await contract.drain()
    assert contract.played == len(sound)
    with wave.open(str(tmp_path / "out.wav")) as before_closing:
        assert before_closing.getnframes() == len(sound)
    await contract.close()
    await contract.close()
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert file.getparams()[:4] == (1, 2, WIRE_RATE, len(sound))
        assert file.readframes(len(sound)) == encode_pcm16(sound)


async def test_at_the_pace_of_a_clock_pauses_are_in_the_file(tmp_path):
    loudspeaker = FileLoudspeaker(tmp_path / "out.wav", realtime=True)
    sound = voice(0.05, rate=WIRE_RATE)
    for _ in range(2):
        await loudspeaker.write(sound)
        async with asyncio.timeout(10):
            await loudspeaker.drain()
    assert loudspeaker.played == 2 * len(sound)
    await loudspeaker.close()
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert file.getnframes() > 2 * len(sound)


async def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(DeviceError, match="cannot be written"):
        FileLoudspeaker(tmp_path / "no" / "out.wav")
