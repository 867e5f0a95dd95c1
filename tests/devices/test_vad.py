"""Speech or not, frame by frame: Silero on its real weights, and what stands in without them."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import numpy as np
import pytest

from llmos.devices.vad import FRAME, EnergyDetector, SileroDetector, open_detector
from llmos.errors import ModelCorrupt, ModelMissing
from tests.devices.voices import click, noise, silence, voice


@pytest.fixture(scope="module")
def silero() -> Path:
    """Silero's file: as a package's data, or where ``SILERO_VAD_ONNX`` says."""
    named = os.environ.get("SILERO_VAD_ONNX", "")
    if named and Path(named).is_file():
        return Path(named)
    try:
        files = importlib.metadata.files("faster-whisper") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "silero_vad_v6.onnx":
            return Path(str(file.locate()))
    pytest.skip("faster-whisper, whose assets/silero_vad_v6.onnx is needed, is not installed")


def probabilities(detector, sound):
    detector.reset()
    whole = len(sound) // FRAME
    frames = sound[: whole * FRAME].reshape(whole, FRAME)
    return np.array([detector.probability(frame) for frame in frames])


def test_silero_hears_a_voice(silero):
    heard = probabilities(SileroDetector(silero), np.concatenate([noise(1, level=0.001), voice(2)]))

    assert heard[:30].max() < 0.2
    assert (heard[33:] > 0.5).mean() > 0.85


@pytest.mark.parametrize(
    "sound",
    [silence(2), noise(2), noise(2, level=0.2), np.concatenate([silence(1), click(), silence(1)])],
    ids=["silence", "noise", "loud noise", "a click"],
)
def test_silero_takes_what_is_no_voice_for_none(silero, sound):
    assert probabilities(SileroDetector(silero), sound).max() < 0.35


def test_silero_begins_anew_after_a_reset(silero):
    detector = SileroDetector(silero)
    sound = voice(1)
    first = probabilities(detector, sound)
    probabilities(detector, noise(1, level=0.3))

    assert probabilities(detector, sound).tolist() == first.tolist()


def test_silero_remembers_what_came_before_a_frame(silero):
    detector = SileroDetector(silero)
    sound = voice(1)[: 20 * FRAME]
    carried = probabilities(detector, sound)
    detector.reset()

    assert abs(detector.probability(sound[-FRAME:]) - carried[-1]) > 0.05


def test_one_broken_frame_does_not_deafen_silero_for_good(silero):
    detector = SileroDetector(silero)
    broken = np.full(FRAME, np.nan, dtype=np.float32)
    assert np.isfinite(detector.probability(broken))

    sound = voice(2)
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)

    assert max(detector.probability(frame) for frame in frames) > 0.8


def test_a_missing_model_is_named_with_its_remedy(tmp_path):
    with pytest.raises(ModelMissing, match=r"gone\.onnx is not there.*faster-whisper"):
        SileroDetector(tmp_path / "gone.onnx")


def test_a_file_that_is_no_model_is_called_so(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "silero_vad_v6.onnx").write_bytes(b"not a model")

    with pytest.raises(ModelCorrupt, match="no ONNX model"):
        SileroDetector(tmp_path / "silero_vad_v6.onnx")


def test_energy_hears_a_voice_in_a_room_with_noise():
    sound = np.concatenate([noise(1, level=0.003), voice(2) + noise(2, level=0.003)])

    heard = probabilities(EnergyDetector(), sound)

    assert heard[:30].max() < 0.1
    assert (heard[33:] > 0.5).mean() > 0.7


def test_energy_gets_used_to_noise_that_stays():
    heard = probabilities(EnergyDetector(), np.concatenate([silence(1), noise(6, level=0.1)]))

    assert heard[32:40].min() > 0.9
    assert heard[-40:].max() < 0.1


def test_energy_hears_nothing_in_a_microphones_own_noise():
    quiet = np.concatenate([silence(2), noise(2, level=0.0008)])

    assert probabilities(EnergyDetector(), quiet).max() < 0.1


@pytest.mark.parametrize("size", [0, 511, 513])
def test_a_frame_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match="is needed"):
        EnergyDetector().probability(np.zeros(size, dtype=np.float32))


def test_without_a_model_the_stand_in_is_chosen_and_says_so(tmp_path):
    for model in (None, tmp_path / "gone.onnx"):
        detector, notice = open_detector(model)

        assert isinstance(detector, EnergyDetector)
        assert "faster-whisper" in notice


def test_with_a_model_it_is_chosen_without_a_word(silero):
    detector, notice = open_detector(silero)

    assert isinstance(detector, SileroDetector)
    assert notice == ""
