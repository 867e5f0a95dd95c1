"""Synthesised users: what they say, in which voice, how fast, in what room and noise.

Sentences: the first lists of the Harvard sentences (IEEE Recommended Practice for Speech Quality
Measurements, 1969), and requests as people make them. Voices: Piper's and those of espeak-ng
(where it is installed). All of it is drawn from a seed.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import numpy as np

from llmos.devices.audio import EAR_RATE, Samples, clean
from llmos.devices.resample import Resampler
from llmos.devices.speaker import Speaker

__all__ = ["Said", "Users", "in_room", "noise", "noisy", "silence"]

#: Seconds of silence before and after what is said.
AROUND_S: Final = 0.3
#: Seconds in which a room's echo falls by 60 dB, and its share of the sound's power.
RT60_S: Final = 0.4
ROOM: Final = 0.3
#: Level that everybody speaks at: root mean square where they speak.
LEVEL: Final = 0.08


@dataclass(frozen=True, slots=True)
class Said:
    """What one user said once.

    Args:
        user: Their voice, as in ``espeak en-gb 170``.
        sound: Shape (n,), 16 kHz, with silence around it.
        end: The sample after the last that was speech.
    """

    user: str
    language: str
    text: str
    sound: Samples
    end: int


class Users:
    """Everybody there is.

    Args:
        speaker: Piper's voices.
        seed: Of everything random.
    """

    def __init__(self, speaker: Speaker, seed: int) -> None:
        self._speaker = speaker
        self._espeak = shutil.which("espeak-ng")
        self.random = np.random.default_rng(seed)
        data = files("llmos.bench").joinpath("data", "voice.json").read_text("utf-8")
        self.sentences: dict[str, Any] = json.loads(data)
        self._made: dict[tuple[str, str], Samples] = {}

    @property
    def voices(self) -> tuple[tuple[str, str, str, float], ...]:
        """Name, language, espeak-ng's voice (empty for Piper's), and speed of each user."""
        piper = tuple((f"piper {speed:g}", "en", "", speed) for speed in (0.9, 1.0, 1.15))
        if self._espeak is None:
            return piper
        others = (("en-us", "en", 150), ("en-gb", "en", 165), ("en-us+f3", "en", 160))
        german = (("de", "de", 150),)
        return piper + tuple(
            (f"espeak {voice} {speed}", language, voice, float(speed))
            for voice, language, speed in (*others, *german)
        )

    async def everybody(self, each: int) -> list[Said]:
        """So many sentences of each user."""
        found: list[Said] = []
        for name, language, voice, speed in self.voices:
            texts = self.sentences[language]
            picked = self.random.permutation(len(texts))[:each]
            for number in picked:
                text = texts[int(number)]
                found.append(await self.say(text, name, language, voice, speed))
        return found

    async def say(
        self,
        text: str,
        name: str = "piper 1",
        language: str = "en",
        voice: str = "",
        speed: float = 1,
    ) -> Said:
        """What one of them says, at ``LEVEL``, with silence around it."""
        key = (text, name)
        if key not in self._made:
            made = self._espeaks(text, voice, speed) if voice else self._pipers(text, speed)
            self._made[key] = _levelled(_trimmed(await made))
        spoken = self._made[key]
        around = silence(AROUND_S)
        end = len(around) + len(spoken)
        return Said(name, language, text, np.concatenate([around, spoken, around]), end)

    async def _pipers(self, text: str, speed: float) -> Samples:
        pieces = self._speaker.speaking("", speed)(text, words=len(text.split()), language="en")
        resampler: Resampler | None = None
        out: list[Samples] = []
        async for piece in pieces:
            resampler = resampler or Resampler(piece.rate, EAR_RATE)
            out.append(resampler.feed(piece.sound))
        assert resampler is not None
        return np.concatenate([*out, resampler.flush()])

    async def _espeaks(self, text: str, voice: str, speed: float) -> Samples:
        assert self._espeak is not None
        process = await asyncio.create_subprocess_exec(
            self._espeak, "-v", voice, "-s", f"{speed:g}", "--stdout", text,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        wav, _ = await process.communicate()
        rate = int.from_bytes(wav[24:28], "little")
        resampler = Resampler(rate, EAR_RATE)
        sound = np.frombuffer(wav[44:], "<i2").astype(np.float32) / np.float32(32_768)
        return np.concatenate([resampler.feed(sound), resampler.flush()])


def silence(seconds: float) -> Samples:
    """Nothing."""
    return np.zeros(round(seconds * EAR_RATE), dtype=np.float32)


def noise(kind: str, seconds: float, random: np.random.Generator) -> Samples:
    """Noise at level 1: ``white``, ``pink`` (as of rooms and streets) or ``hum`` (of the mains)."""
    count = round(seconds * EAR_RATE)
    white = random.standard_normal(count)
    if kind == "white":
        return white.astype(np.float32)
    if kind == "hum":
        time = np.arange(count) / EAR_RATE
        hum = sum(np.sin(2 * np.pi * 50 * n * time) / n for n in range(1, 9))
        made = np.asarray(hum) + 0.1 * white
    else:
        spectrum = np.fft.rfft(white)
        made = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), count)
    return (made / np.sqrt(np.mean(made**2))).astype(np.float32)


def noisy(sound: Samples, db: float, random: np.random.Generator) -> Samples:
    """``sound`` in pink noise that is ``db`` decibels below who speaks."""
    level = LEVEL / 10 ** (db / 20)
    return clean(sound + np.float32(level) * noise("pink", len(sound) / EAR_RATE, random))


def in_room(sound: Samples, random: np.random.Generator) -> Samples:
    """``sound`` in a room whose echo dies away exponentially (Polack's model)."""
    count = round(RT60_S * EAR_RATE)
    tail = random.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail *= np.sqrt(ROOM / np.sum(tail**2))
    tail[0] = 1.0
    size = 1 << (len(sound) + count).bit_length()
    heard = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)
    return clean(heard[: len(sound)].astype(np.float32))


def _trimmed(sound: Samples) -> Samples:
    """Without the silence that a voice puts before and behind what it says."""
    loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max(initial=0.0))
    return sound[loud[0] : loud[-1] + 1] if len(loud) else sound


def _levelled(sound: Samples) -> Samples:
    frames = list(_frames(sound))
    loud = [power for power in frames if power > 0.05 * max(frames, default=0.0)]
    return clean(sound * np.float32(LEVEL / np.sqrt(np.mean(loud)))) if loud else sound


def _frames(sound: Samples) -> Iterator[float]:
    for start in range(0, len(sound), 512):
        yield float(np.mean(np.square(sound[start : start + 512])))
