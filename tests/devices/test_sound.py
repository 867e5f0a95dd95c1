"""What every sound device has in common: what was played, and when."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from llmos.devices.audio import EAR_RATE, WIRE_RATE
from llmos.devices.sound import (
    AHEAD_S,
    HISTORY_S,
    DeviceGone,
    Playout,
    SampleClock,
    back_again,
)
from tests.devices.voices import voice

AHEAD = round(AHEAD_S * WIRE_RATE)
STEP = WIRE_RATE // 100


class Device(Playout):
    """A loudspeaker whose time is the test's."""

    def __init__(self, **options) -> None:
        super().__init__("test", **options)
        self.time = 1000.0
        self.got: list[np.ndarray] = []

    def _now(self) -> float:
        return self.time

    def run(self, steps: int = 1) -> np.ndarray:
        """Let so many times 10 ms pass; what sounded."""
        blocks = []
        for _ in range(steps):
            blocks.append(self.take(STEP, self.time))
            self.time += 0.01
        self.got += blocks
        return np.concatenate(blocks)


def ramp(count: int, start: int = 1) -> np.ndarray:
    return (np.arange(start, start + count) / 100_000).astype(np.float32)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_written_is_handed_over_once_and_in_order():
    device = Device()
    assert await device.write(ramp(500)) == 0
    assert await device.write(ramp(500, 501)) == 500
    got = device.run(5)
    assert np.array_equal(got[:1000], ramp(1000))
    assert not got[1000:].any()


async def test_little_waits_and_who_writes_more_waits_for_room():
    device = Device()
    writing = asyncio.create_task(device.write(ramp(2 * AHEAD)))
    await settled()
    assert not writing.done()
    assert device.waiting == AHEAD
    while not writing.done():
        device.run()
        await settled()
    device.run(AHEAD // STEP)
    assert np.array_equal(np.concatenate(device.got)[: 2 * AHEAD], ramp(2 * AHEAD))


async def test_played_is_what_has_sounded_and_not_what_the_buffers_hold():
    device = Device(latency_s=0.05)
    await device.write(ramp(10 * STEP))
    device.run(5)
    assert device.played == 0  # 50 ms were handed over, and the first is about to sound
    device.time += 0.005
    assert device.played == STEP // 2
    device.time -= 0.005
    device.run(5)
    assert device.played == 5 * STEP
    device.run(20)
    assert device.played == 10 * STEP
    assert device.waiting == 0


async def test_silence_between_two_pieces_counts_for_nothing():
    device = Device()
    await device.write(ramp(STEP))
    device.run(10)
    assert device.played == STEP
    assert await device.write(ramp(STEP)) == STEP
    device.run(2)
    assert device.played == 2 * STEP


async def test_after_a_flush_it_is_silent_and_positions_go_on_from_there():
    device = Device()
    await device.write(ramp(10 * STEP))
    device.run(3)
    assert device.flush() == 3 * STEP
    assert not device.run(3).any()
    assert device.played == 3 * STEP
    assert device.waiting == 0
    assert await device.write(ramp(STEP)) == 3 * STEP


async def test_a_flush_ends_what_is_being_written():
    device = Device()
    writing = asyncio.create_task(device.write(ramp(10 * AHEAD)))
    await settled()
    device.flush()
    async with asyncio.timeout(10):
        assert await writing == 0
    assert not device.run(10).any()


async def test_drain_waits_until_the_last_sample_has_sounded():
    device = Device(latency_s=0.03)
    await device.write(ramp(2 * STEP))
    draining = asyncio.create_task(device.drain())
    device.run(3)
    await settled()
    assert not draining.done()
    device.run(3)
    await settled()
    assert draining.done()


async def test_a_device_that_goes_is_told_to_who_writes_and_goes_on_when_it_is_back():
    device = Device()
    await device.write(ramp(10 * STEP))
    device.run(4)
    writing = asyncio.create_task(device.write(ramp(AHEAD)))
    await settled()
    device.lose(DeviceGone("It went."))
    with pytest.raises(DeviceGone, match="It went"):
        await writing
    with pytest.raises(DeviceGone):
        await device.write(ramp(1))
    device.time += 60
    device.begin(0.0)
    written = device.waiting
    assert device.played == 4 * STEP
    got = device.run(written // STEP)
    assert np.array_equal(got[: 6 * STEP], ramp(6 * STEP, 4 * STEP + 1))
    device.run()
    assert device.waiting == 0


async def test_a_device_that_takes_nothing_any_more_counts_as_gone():
    device = Device(stalled_s=0.001)
    with pytest.raises(DeviceGone, match="takes no sound any more"):
        await device.write(ramp(2 * AHEAD))


async def test_what_no_loudspeaker_can_play_is_not_handed_over():
    device = Device()
    await device.write(np.array([np.nan, np.inf, 7, -7], dtype=np.float32))
    assert device.run()[:4].tolist() == [0, 1, 1, -1]


async def test_the_reference_is_what_was_handed_over_at_that_time():
    device = Device()
    sound = voice(1, rate=WIRE_RATE)
    began = device.time
    frames = []
    writing = asyncio.create_task(device.write(sound))
    for _ in range(100):
        await settled()
        device.run()
        frames.append(device.reference(device.time - 0.01, 160))
    await writing
    given = np.concatenate(frames)
    expected = voice_at_ear(sound)
    lag = lag_between(expected, given)
    assert 0 <= lag <= 0.01 * EAR_RATE  # later by what a resampler needs, never earlier
    assert np.allclose(given[lag:], expected[: len(given) - lag], atol=0.02)
    assert not device.reference(began - 1, 160).any()
    assert not device.reference(device.time + 1, 160).any()


async def test_the_reference_is_right_again_after_nobody_asked_for_long():
    device = Device()
    device.run(round(HISTORY_S * 100) * 2 + 1)
    await device.write(np.full(STEP * 10, 0.5, dtype=np.float32))
    device.run(10)
    assert device.reference(device.time - 0.06, 320) == pytest.approx(np.full(320, 0.5), abs=0.01)
    assert not device.reference(device.time - 0.2, 320).any()


def voice_at_ear(sound):
    from llmos.devices.resample import resample

    return resample(sound, WIRE_RATE, EAR_RATE)


def lag_between(early, late):
    size = 2 * max(len(early), len(late))
    both = np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size)))
    return int(np.argmax(both[: size // 4]))


def test_the_clock_goes_by_the_earliest_block():
    clock = SampleClock(16_000)
    rng = np.random.default_rng(1)
    for number in range(1, 300):
        late = 0.0 if number % 10 == 0 else rng.uniform(0, 0.02)
        clock.tick(number * 160, 50 + number * 0.01 + late)
    assert clock.at(160 * 300) == pytest.approx(53, abs=0.001)
    assert clock.index(53) == pytest.approx(160 * 300, abs=16)


def test_the_clock_follows_a_device_that_runs_slower_or_that_lost_samples():
    clock = SampleClock(16_000)
    for number in range(1, 6_000):
        clock.tick(number * 160, number * 0.010_001)
    assert clock.at(160 * 6_000) == pytest.approx(60.006, abs=0.001)
    clock.tick(160 * 6_000, 61.006)  # it stood still for a second
    assert clock.at(160 * 6_000) == pytest.approx(61.006, abs=0.001)


async def test_waiting_for_a_device_asks_until_it_is_back():
    class Gone(Device):
        asked = 0

        async def reopen(self) -> None:
            self.asked += 1
            if self.asked < 3:
                raise DeviceGone("not yet")

        async def close(self) -> None:
            pass

    device = Gone()
    async with asyncio.timeout(10):
        await back_again(device, look_s=0)
    assert device.asked == 3
