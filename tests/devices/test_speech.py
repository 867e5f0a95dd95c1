"""The devices of a process: one of each, whoever asks for them at once."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError

import pytest

from llmos.config import VoiceConfig
from llmos.devices import speech as module
from llmos.devices.speech import Speech
from llmos.errors import DeviceError


async def test_who_asks_at_once_gets_the_same_recogniser(monkeypatch, whisper_weights):
    probe, together, inside = module.machine.probe, Barrier(2), Barrier(2)

    def slowly():
        with contextlib.suppress(BrokenBarrierError):
            inside.wait(0.2)  # two that are here at once would each make one
        return probe()

    def ask():
        together.wait()
        return speech.recogniser()

    monkeypatch.setattr(module.machine, "probe", slowly)
    async with contextlib.aclosing(Speech(VoiceConfig(recogniser="whisper-tiny"))) as speech:
        with ThreadPoolExecutor(2) as pool:
            one, other = [each.result() for each in [pool.submit(ask), pool.submit(ask)]]
        assert one is other


async def test_without_a_voice_it_is_said_how_to_get_one(monkeypatch):
    monkeypatch.setattr(module, "installed_voices", lambda: ())
    with pytest.raises(DeviceError, match="no voice") as caught:
        Speech(VoiceConfig()).speaker()
    assert "llmos models pull" in caught.value.remedy
