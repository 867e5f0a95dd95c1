"""The room that is computed: what its microphone hears of its loudspeaker."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from llmos.devices.audio import EAR_RATE, WIRE_RATE, level_dbfs
from llmos.devices.delay import DelayEstimator
from llmos.devices.sound import EAR_FRAME, DeviceGone, Loudspeaker, Microphone, back_again
from llmos.devices.sound_loopback import Loopback, room_response
from tests.devices.voices import voice


async def hear(room: Loopback, seconds: float):
    """What the microphone hears, and the loudspeaker's reference for it."""
    frames, references = [], []
    async for heard in room.microphone.frames():
        frames.append(heard)
        references.append(room.loudspeaker.reference(heard.at_s, EAR_FRAME))
        if len(frames) * EAR_FRAME >= seconds * EAR_RATE:
            break
    return frames, np.concatenate(references)


def sound_of(frames):
    return np.concatenate([frame.sound for frame in frames])


async def test_it_fulfils_both_contracts():
    room = Loopback()
    microphone: Microphone = room.microphone
    loudspeaker: Loudspeaker = room.loudspeaker
    assert microphone.name == loudspeaker.name == "loopback"


async def test_what_is_said_is_heard_when_it_is_said():
    room = Loopback()
    said = voice(0.5)
    room.say(said, after_s=0.1)
    frames, _ = await hear(room, 1)
    heard = sound_of(frames)
    start = round(0.1 * EAR_RATE)
    assert np.array_equal(heard[start : start + len(said)], said)
    assert not heard[:start].any()
    assert frames[10].at_s - frames[0].at_s == pytest.approx(0.1)


@pytest.mark.parametrize("delay_s", [0.005, 0.06, 0.25])
async def test_what_is_played_is_heard_later_and_fainter(delay_s):
    room = Loopback(delay_s=delay_s, gain=0.5)
    played = np.zeros(WIRE_RATE // 10, dtype=np.float32)
    played[0] = 1.0
    await room.loudspeaker.write(played)
    frames, _ = await hear(room, 0.5)
    heard = sound_of(frames)
    assert np.argmax(np.abs(heard)) == pytest.approx(delay_s * EAR_RATE, abs=1)
    # a click of one sample has less above what 16 kHz can hold
    assert heard.sum() == pytest.approx(0.5 * EAR_RATE / WIRE_RATE, rel=0.05)


async def test_the_reference_leads_the_echo_by_the_rooms_delay():
    room = Loopback(delay_s=0.08, gain=0.4, response=room_response(0.2), noise=0.001)
    writing = asyncio.create_task(room.loudspeaker.write(voice(4, rate=WIRE_RATE)))
    frames, reference = await hear(room, 4)
    await writing
    found = DelayEstimator().feed(sound_of(frames), reference)
    assert found == pytest.approx(0.08, abs=0.008)


async def test_played_is_known_to_the_sample():
    room = Loopback()
    await room.loudspeaker.write(voice(0.1, rate=WIRE_RATE))
    await hear(room, 0.05)
    assert room.loudspeaker.played == round(0.05 * WIRE_RATE)
    await hear(room, 0.1)
    await room.loudspeaker.drain()
    assert room.loudspeaker.played == round(0.1 * WIRE_RATE)


async def test_both_devices_go_and_come_back():
    room = Loopback()
    writing = asyncio.create_task(room.loudspeaker.write(voice(2, rate=WIRE_RATE)))
    await hear(room, 0.1)
    room.unplug()
    with pytest.raises(DeviceGone, match="Plug them in again"):
        await hear(room, 0.1)
    with pytest.raises(DeviceGone):
        await writing
    with pytest.raises(DeviceGone):
        await room.microphone.reopen()
    with pytest.raises(DeviceGone):
        await room.loudspeaker.reopen()
    room.plug()
    await back_again(room.microphone)
    await back_again(room.loudspeaker)
    room.say(voice(0.2))
    frames, _ = await hear(room, 0.2)
    assert level_dbfs(sound_of(frames)) > -40
    assert room.loudspeaker.played > round(0.2 * WIRE_RATE)


async def test_at_the_pace_of_a_clock_nothing_comes_early():
    room = Loopback(realtime=True)
    frames, _ = await hear(room, 0.05)
    passed = asyncio.get_running_loop().time() - frames[0].at_s
    assert passed >= 0.049  # both clocks are time.monotonic


async def test_a_closed_microphone_ends():
    room = Loopback()
    frames = room.microphone.frames()
    await anext(frames)
    await room.microphone.close()
    with pytest.raises(StopAsyncIteration):
        await anext(frames)


@pytest.mark.parametrize("delay_s", [0.0, 0.6])
def test_a_room_that_cannot_be_is_refused(delay_s):
    with pytest.raises(ValueError, match=r"0\.005 to 0\.5 s are possible"):
        Loopback(delay_s=delay_s)


def test_a_rooms_echo_falls_away():
    response = room_response(0.3)
    assert response[0] == 1
    assert level_dbfs(response[-100:]) < level_dbfs(response[1:101]) - 50
    assert room_response(0).tolist() == [1]
