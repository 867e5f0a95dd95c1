"""An answer read out while it comes; the loudspeaker is a list."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from llmos.config import VoiceConfig
from llmos.devices import reading
from llmos.devices.reading import Aloud, Reader
from llmos.devices.speaking import Voiced
from llmos.errors import DeviceError


class Speech:
    """Devices whose voice makes a tenth of a second of each word."""

    settings = VoiceConfig()

    def __init__(self, broken=""):
        self.said, self.closed, self._broken = [], False, broken
        self.languages = ("en",)

    def speaker(self):
        if self._broken:
            raise DeviceError(self._broken)
        return self

    async def __call__(self, text, *, words, language):
        self.said.append(text)
        yield Voiced(np.full(2_400 * words, 0.1, np.float32), 24_000)

    async def aclose(self):
        self.closed = True


class System:
    """PortAudio, with one loudspeaker."""

    def __init__(self):
        self.played = 0

    async def open(self):
        return self

    async def loudspeaker(self, name):
        return self

    async def write(self, sound):
        self.played += len(sound)

    async def drain(self):
        pass

    async def close(self):
        pass


@pytest.fixture
def system(monkeypatch):
    found = System()
    monkeypatch.setattr(reading, "PortAudio", found)
    return found


async def test_an_answer_is_read_out_clause_by_clause(system):
    speech = Speech()
    aloud = Aloud(speech)
    aloud.feed("One two. ")
    await asyncio.sleep(0)
    aloud.feed("Three four five.")
    await aloud.end()
    assert " ".join(speech.said).split() == ["One", "two.", "Three", "four", "five."]
    assert system.played == 5 * 2_400
    assert speech.closed


async def test_without_a_voice_it_says_so_in_the_end(system):
    aloud = Aloud(Speech("There is no voice on this machine."))
    aloud.feed("Hello.")
    with pytest.raises(DeviceError, match="no voice"):
        await aloud.end()


async def test_a_reader_gives_the_sound_of_a_whole_text():
    reader = Reader(Speech(), ("en",))
    reader.feed("One two three.")
    reader.end()
    assert sum([len(sound) async for sound in reader.sounds()]) == 3 * 2_400
