"""The voice terminal with its devices and its line, each of which may go and come back."""

from __future__ import annotations

import asyncio
import base64

import numpy as np
import pytest

from llmos.client import Client
from llmos.devices.audio import EAR_RATE, WIRE_RATE, decode_pcm16, encode_pcm16
from llmos.devices.resample import resample
from llmos.errors import DeviceError
from llmos.voice import terminal as module
from llmos.voice.link import Link
from tests.kernel.kernels import kernel_on
from tests.server.talking import Devices as Spoken
from tests.server.talking import server, speech
from tests.voice.rooms import System, talking, terminal_of


def delta(seconds: float, value: float = 0.1) -> str:
    sound = np.full(round(seconds * WIRE_RATE), value, np.float32)
    return base64.b64encode(encode_pcm16(sound)).decode()


def begin(rig, seconds: float = 1.0) -> None:
    rig.link.comes("response.created", response={"id": "r1"})
    rig.link.comes(
        "response.output_audio.delta", response_id="r1", item_id="i1", delta=delta(seconds)
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(module, "LONG_S", 0.0)
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)


async def test_what_is_said_is_heard_and_the_answer_is_heard_in_the_room(home):
    devices = Spoken()
    async with (
        kernel_on(home, [("library", "It opens at nine.")]) as kernel,
        server(kernel, home, devices),
    ):
        client = Client(home / "k.sock")
        system, lines = System(), []
        terminal = terminal_of(Link(client), system, lines)
        running = asyncio.create_task(terminal.run())
        desk = system.rooms["desk"]
        try:
            async with asyncio.timeout(20):
                await terminal.ready.wait()
                said = decode_pcm16(speech("when does the library open?"))
                desk.say(resample(said, WIRE_RATE, EAR_RATE), after_s=1.0)
                while desk.loudspeaker.played < 4 * WIRE_RATE // 4:  # four words, four a second
                    await asyncio.sleep(0)
            whole = {line.who: line.text for line in lines if line.whole}
            assert whole["person"] == "when does the library open?"
            assert whole["llmos"] == "It opens at nine."
            assert terminal.pid
            messages = await client.messages(terminal.pid)
            assert [stored.message.content for stored in messages][-2:] == [
                "when does the library open?",
                "It opens at nine.",
            ]
        finally:
            running.cancel()
            await asyncio.wait({running})
            await client.close()


async def test_a_microphone_that_goes_ends_the_turn_and_is_heard_again_once_it_is_back():
    async with talking() as rig:
        rig.desk.say(0.1 * np.ones(EAR_RATE, np.float32))
        await rig.until(lambda: len(rig.link.sent) > 10)
        rig.desk.unplug()
        await rig.until(lambda: any("unplugged" in note for note in rig.notes))
        sound = [e["audio"] for e in rig.link.sent if e["type"] == "input_audio_buffer.append"]
        last = np.concatenate([decode_pcm16(base64.b64decode(each)) for each in sound])
        assert not last[-4 * WIRE_RATE :].any()  # so that what was said is answered
        rig.desk.plug()
        await rig.until(lambda: any("is back" in note for note in rig.notes))
        before = len(rig.link.sent)
        await rig.until(lambda: len(rig.link.sent) > before + 10)


async def test_a_loudspeaker_that_goes_in_mid_answer_says_the_rest_when_it_is_back():
    async with talking() as rig:
        begin(rig, seconds=2.0)
        await rig.until(lambda: rig.desk.loudspeaker.played > WIRE_RATE // 2)
        rig.desk.unplug()
        await rig.until(lambda: any("unplugged" in note for note in rig.notes))
        rig.desk.plug()
        await rig.until(lambda: rig.desk.loudspeaker.played >= 2 * WIRE_RATE)


async def test_another_microphone_and_loudspeaker_are_used_without_a_restart():
    async with talking() as rig:
        begin(rig, seconds=2.0)
        await rig.until(lambda: rig.desk.loudspeaker.played > WIRE_RATE // 2)
        await rig.terminal.use_loudspeaker("headset")
        await rig.terminal.use_microphone("headset")
        assert rig.terminal.using == ("loopback", "loopback")
        headset = rig.system.rooms["headset"]
        await rig.until(lambda: headset.loudspeaker.played > WIRE_RATE)
        heard = rig.desk.loudspeaker.played + headset.loudspeaker.played
        await rig.until(lambda: not rig.terminal.duplex.player.playing)
        assert heard <= 2 * WIRE_RATE + WIRE_RATE // 2
        with pytest.raises(DeviceError, match="no cellar"):
            await rig.terminal.use_microphone("cellar")
        before = len(rig.link.sent)
        await rig.until(lambda: len(rig.link.sent) > before + 10)
    assert rig.system.closed


async def test_a_kernel_that_goes_is_told_and_talked_to_again_at_the_speed_that_was_chosen():
    async with talking(speed=0.9) as rig:
        assert rig.link.sessions[0]["audio"]["output"]["speed"] == 0.9
        rig.terminal.duplex.slower()
        rig.link.breaks()
        await rig.until(lambda: len(rig.link.sessions) == 2)
        assert rig.link.sessions[1]["audio"]["output"]["speed"] == pytest.approx(0.77, abs=0.01)
        assert any("went away" in note for note in rig.notes)


async def test_a_call_that_takes_long_is_announced_and_a_short_one_is_not(monkeypatch):
    async with talking() as rig:
        rig.link.comes("llmos.call", id="c1", name="browse.fetch_page", state="began")
        await rig.until(lambda: rig.link.read)
        assert rig.link.read == [("One moment, I am using browse fetch page.", 1.0)]
        monkeypatch.setattr(module, "LONG_S", 3_600.0)
        rig.link.comes("llmos.call", id="c2", name="python.run", state="began")
        rig.link.comes("llmos.call", id="c2", name="python.run", state="ended")
        rig.link.comes("error", error={"code": "x", "message": "It failed."})
        await rig.until(lambda: len(rig.link.read) > 1)
        assert rig.link.read[1:] == [("It failed.", 1.0)]


async def test_without_a_voice_what_would_be_said_is_shown():
    async with talking() as rig:
        rig.link.mute = DeviceError("There is no voice.")
        rig.link.comes("error", error={"code": "x", "message": "It failed."})
        await rig.until(lambda: any("(There is no voice.)" in note for note in rig.notes))


async def test_a_microphone_that_gives_nothing_is_told_once(monkeypatch):
    async with talking() as rig:
        kind = type(rig.desk.microphone)
        monkeypatch.setattr(kind, "deaf", property(lambda self: "It may not be used."))
        await rig.until(lambda: "It may not be used." in rig.notes)
        monkeypatch.setattr(kind, "deaf", property(lambda self: ""))
        await rig.until(lambda: any("hears something" in note for note in rig.notes))
        assert rig.notes.count("It may not be used.") == 1
