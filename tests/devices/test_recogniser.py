"""Whisper in its worker, on real weights: what it writes, and what becomes of one that dies."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal

import numpy as np
import pytest

from llmos.devices import recogniser as module
from llmos.devices.audio import EAR_RATE
from llmos.devices.recogniser import Recogniser, Whisper, engine, find_whisper
from llmos.devices.resample import Resampler
from llmos.devices.speaker import Speaker
from llmos.devices.voices import Voice
from llmos.errors import DeviceError, ModelMissing
from llmos.models.machine import Device, Hardware
from tests.devices.voices import silence

MACHINE = Hardware(memory_total=8 << 30, memory_available=4 << 30, cores=2)
SAID = "The library opens at nine and closes at six in the evening."


async def _said(voice_weights, text=SAID):
    config = voice_weights.with_name(f"{voice_weights.name}.json")
    speaker = Speaker([Voice("joe", "en", "US", voice_weights, config, 22_050)])
    pieces = [one async for one in speaker(text, words=len(text.split()), language="en")]
    await speaker.close()
    to_ear = Resampler(pieces[0].rate, EAR_RATE)
    return np.concatenate([*(to_ear.feed(one.sound) for one in pieces), to_ear.flush()])


@pytest.fixture(scope="module")
def spoken(voice_weights):
    """A sentence, by the starter voice."""
    return asyncio.run(_said(voice_weights))


@pytest.fixture
async def recogniser(whisper_weights):
    one = Recogniser(Whisper("whisper-tiny", whisper_weights), MACHINE)
    yield one
    await one.close()


def words(transcript):
    return "".join(word.text for word in transcript.words).strip()


@pytest.mark.parametrize("final", [True, False])
async def test_a_sentence_is_written_down_with_the_times_of_its_words(recogniser, spoken, final):
    found = await recogniser(spoken, language="", final=final)
    assert found.language == "en"
    assert "library opens at" in words(found) and "in the evening" in words(found)
    times = [(word.start_s, word.end_s) for word in found.words]
    assert all(a <= b for a, b in times)
    assert all(a[0] <= b[0] for a, b in itertools.pairwise(times))
    assert times[-1][1] <= len(spoken) / EAR_RATE


async def test_who_repeats_themselves_is_written_down(recogniser, voice_weights):
    named = ("apple", "river", "window", "garden", "doctor", "music", "paper", "silver")
    said = ". ".join(f"My next word is {word}, and I say {word} again" for word in named)
    sound = await _said(voice_weights, said)
    assert 15 < len(sound) / EAR_RATE < 30
    found = words(await recogniser(sound, language="en", final=True)).lower()
    assert [word for word in named if word not in found] == []
    assert found.count("my next word") == len(named)


async def test_noise_makes_no_words(recogniser):
    noise = np.random.default_rng(1).normal(0, 0.05, 10 * EAR_RATE).astype(np.float32)
    assert words(await recogniser(noise, language="", final=True)) == ""


async def test_no_sound_makes_no_words_and_too_much_is_refused(recogniser):
    assert (await recogniser(silence(0), language="", final=True)).words == ()
    with pytest.raises(DeviceError, match="30 seconds"):
        await recogniser(silence(31), language="", final=True)


async def test_sound_that_is_none_ends_nothing(recogniser):
    odd = np.full(EAR_RATE, np.nan, np.float32)
    odd[::3] = np.inf
    assert isinstance(words(await recogniser(odd, language="en", final=False)), str)


async def test_a_worker_that_dies_is_replaced_for_the_same_sound(recogniser, spoken):
    await recogniser.load()
    first = recogniser.pid
    asked = asyncio.create_task(recogniser(spoken, language="en", final=True))
    await asyncio.sleep(0)  # it is asked
    with contextlib.suppress(ProcessLookupError):
        os.kill(first, signal.SIGKILL)
    assert "library" in words(await asked)
    assert recogniser.pid not in (0, first)


async def test_it_gives_back_its_memory_and_comes_again(recogniser, spoken):
    await recogniser.load()
    assert recogniser.memory_bytes > 50 << 20
    await recogniser.unload()
    assert (recogniser.pid, recogniser.memory_bytes) == (0, 0)
    assert "library" in words(await recogniser(spoken, language="en", final=False))


async def test_a_folder_that_is_no_model_is_a_sentence_with_a_remedy(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"no model")
    broken = Recogniser(Whisper("mine", tmp_path), MACHINE)
    with pytest.raises(DeviceError, match="does not load") as caught:
        await broken.load()
    assert "Pull it again" in caught.value.remedy
    await broken.close()


async def test_it_takes_no_more_memory_than_it_may(whisper_weights):
    small = Recogniser(Whisper("whisper-tiny", whisper_weights), MACHINE, memory_bytes=40 << 20)

    async def work():
        for _ in range(20):  # it is looked at while it works
            await small(silence(20) + 0.1, language="en", final=True)

    with pytest.raises(DeviceError, match="memory"):
        await work()
    await small.close()


# --- which engine, and which model ------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x" * 10)
    return Whisper("a", tmp_path)


@pytest.fixture
def ggml(tmp_path):
    (tmp_path / "ggml-tiny.bin").write_bytes(b"x")
    return Whisper("b", tmp_path / "ggml-tiny.bin")


def with_(*names, cards=()):
    devices = tuple(Device(name, name, "gpu") for name in names)
    return Hardware(8 << 30, 4 << 30, 4, devices=devices, cards=cards)


def test_what_computes_is_chosen_by_the_model_and_the_machine(folder, ggml):
    assert engine(folder, with_()) == ("faster-whisper", "cpu")
    assert engine(folder, with_("CUDA0")) == ("faster-whisper", "cuda")
    assert engine(folder, with_(cards=("NVIDIA",))) == ("faster-whisper", "cuda")
    assert engine(folder, with_("Vulkan0", cards=("AMD",))) == ("faster-whisper", "cpu")
    assert engine(ggml, with_("Metal")) == ("whisper.cpp", "metal")
    assert engine(ggml, with_("MTL0")) == ("whisper.cpp", "metal")
    assert engine(ggml, with_()) == ("whisper.cpp", "cpu")


def test_a_card_that_cannot_be_used_leaves_it_to_the_processors(monkeypatch, whisper_weights):
    pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")
    from llmos.devices import recogniser_worker

    real = recogniser_worker.FasterWhisper(str(whisper_weights), "cuda", 1)
    assert real.device == "cpu"


def test_models_are_found_by_name_and_by_path(folder, ggml, whisper_weights):
    assert find_whisper("whisper-tiny").path == whisper_weights
    assert find_whisper(str(folder.path)).path == folder.path
    assert find_whisper(str(ggml.path)).ggml
    with pytest.raises(ModelMissing, match="There is no speech recogniser nonsense"):
        find_whisper("nonsense")
    with pytest.raises(ModelMissing, match="not on this machine") as caught:
        find_whisper("whisper-small")
    assert "llmos models pull whisper-small" in caught.value.remedy


def test_nonsense_from_a_worker_is_no_word():
    with pytest.raises(ValueError, match="no word"):
        module._words([["a", float("nan"), 1.0, 1.0]], 2.0)
    assert [w.end_s for w in module._words([["a", 0.0, 99.0, 1.0], ["b", 1.0, 0.5, 1.0]], 2.0)] == [
        2.0,
        2.0,
    ]
