"""Wake words on their real models: they are heard, and other words are not."""

from __future__ import annotations

import contextlib
import importlib.util

import numpy as np
import pytest

from llmos.config import VoiceConfig
from llmos.devices import wake
from llmos.devices.audio import EAR_RATE
from llmos.devices.resample import resample
from llmos.devices.speech import Speech
from llmos.devices.wake import WAKE_WORDS, MicroWakeWord
from llmos.errors import DeviceError

FRAME = 512


@pytest.fixture
async def said(voice_weights):
    """What Joe says, 16 kHz, with silence around it."""
    async with contextlib.aclosing(Speech(VoiceConfig())) as speech:

        async def say(text):
            speaks = speech.speaker().speaking("")
            pieces = [p async for p in speaks(text, words=len(text.split()), language="en")]
            sound = np.concatenate([piece.sound for piece in pieces])
            quiet = np.zeros(EAR_RATE, np.float32)
            return np.concatenate([quiet, resample(sound, pieces[0].rate, EAR_RATE), quiet])

        yield say


def times(word, sound):
    """Seconds at which it was heard."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    return [n * FRAME / EAR_RATE for n, frame in enumerate(frames) if word.heard(frame)]


needed = pytest.mark.skipif(
    importlib.util.find_spec("pymicro_wakeword") is None,
    reason="the package pymicro-wakeword (the extra wake) is not installed",
)


@needed
async def test_it_is_heard_once_each_time_and_other_words_are_not(said):
    word = MicroWakeWord("hey jarvis")
    called = await said("Hey Jarvis!")
    other = await said("Have you heard of the service that Harvey began in his garage?")
    heard = times(word, np.concatenate([called, other, called]))
    assert len(heard) == 2
    assert 1.0 < heard[0] < len(called) / EAR_RATE
    assert heard[1] > (len(called) + len(other)) / EAR_RATE


@needed
@pytest.mark.parametrize("name", WAKE_WORDS)
def test_silence_and_broken_sound_wake_nobody(name):
    word = MicroWakeWord(name)
    broken = np.full(EAR_RATE, np.nan, np.float32)
    noise = 0.1 * np.random.default_rng(1).standard_normal(5 * EAR_RATE).astype(np.float32)
    assert times(word, np.concatenate([np.zeros(EAR_RATE, np.float32), broken, noise])) == []


def test_an_unknown_one_is_named_with_those_there_are():
    with pytest.raises(DeviceError, match="okay nabu"):
        MicroWakeWord("hey you")


def test_without_the_package_the_remedy_is_told(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(wake.importlib, "import_module", missing)
    with pytest.raises(DeviceError, match="pip install"):
        MicroWakeWord("alexa")
