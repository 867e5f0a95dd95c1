"""``llmos transcribe`` and ``llmos speak``, on real weights."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from llmos.devices import commands
from llmos.devices.commands import speak, transcribe_
from llmos.errors import LlmosError

SAID = "The library opens at nine and closes at six in the evening."


def ran(command, *arguments, **more):
    result = CliRunner().invoke(command, [str(one) for one in arguments], **more)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def spoken(tmp_path_factory, voice_weights, whisper_weights):
    path = tmp_path_factory.mktemp("sound") / "said.mp3"
    assert ran(speak, SAID, "--out", path).exit_code == 0
    return path


def test_what_was_spoken_is_written_down(spoken):
    assert "library opens at" in ran(transcribe_, spoken).stdout


def test_the_ending_of_the_file_says_what_is_written(spoken, tmp_path):
    for ending, begins in (("srt", "1\n00:00:0"), ("vtt", "WEBVTT\n\n"), ("txt", "The library")):
        out = tmp_path / f"out.{ending}"
        assert ran(transcribe_, spoken, "--out", out).exit_code == 0
        assert out.read_text().startswith(begins)
    ran(transcribe_, spoken, "--out", tmp_path / "out.json")
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["segments"][0]["words"][0]["word"] == "The"


def test_a_file_that_cannot_be_read_leaves_none_behind(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound" * 100)
    with pytest.raises(LlmosError, match="cannot be decoded"):
        ran(transcribe_, tmp_path / "a.wav", "--out", tmp_path / "out.srt")
    assert not (tmp_path / "out.srt").exists()


def test_a_place_that_cannot_be_written_is_named(spoken, tmp_path):
    with pytest.raises(LlmosError, match="cannot be written"):
        ran(transcribe_, spoken, "--out", tmp_path / "no" / "out.srt")
    with pytest.raises(LlmosError, match="cannot be written"):
        ran(speak, "Hello.", "--out", tmp_path / "no" / "out.wav")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_told_with_the_file(spoken):
    with pytest.raises(LlmosError, match="/dev/full cannot be written: No space left"):
        ran(transcribe_, spoken, "--out", "/dev/full")


def test_a_language_is_a_code(spoken):
    with pytest.raises(LlmosError, match="code such as en"):
        ran(transcribe_, spoken, "--language", "English please")


def test_what_cannot_be_said_leaves_no_file_behind(tmp_path, voice_weights):
    with pytest.raises(LlmosError, match="nothing in this text"):
        ran(speak, "!?.,;:", "--out", tmp_path / "a.wav")
    assert not (tmp_path / "a.wav").exists()


def test_silence_is_said_to_be_none(tmp_path, voice_weights):
    import wave

    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(64_000))
    result = ran(transcribe_, tmp_path / "a.wav")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert "Nobody speaks" in result.stderr


def test_text_comes_from_standard_input_too_and_markup_is_not_read_out(tmp_path, voice_weights):
    ran(speak, "--out", tmp_path / "a.wav", input="# **Hello**\n")
    ran(speak, "--out", tmp_path / "b.wav", "Hello.")
    a, b = ((tmp_path / name).stat().st_size for name in ("a.wav", "b.wav"))
    assert a == pytest.approx(b, rel=0.5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--out", "a.midi", "x"], "ends in one of"), (["  "], "no text"), ([], "no text")],
)
def test_what_cannot_be_done_is_said(arguments, says):
    result = ran(speak, *arguments, input="")
    assert result.exit_code == 2 and says in result.stderr


def test_a_voice_that_is_not_there_is_named_with_those_that_are(voice_weights):
    with pytest.raises(LlmosError, match="no voice nobody") as caught:
        ran(speak, "--voice", "nobody", "--out", "a.wav", "x")
    assert "piper-joe" in caught.value.remedy


def test_voices_are_listed(voice_weights):
    assert "piper-joe  en, US, medium" in ran(speak, "--voices").stdout


def test_a_duration_is_told_as_a_clock_has_it():
    assert [commands._clock(s) for s in (0, 61, 3_725)] == ["0:00", "1:01", "1:02:05"]
