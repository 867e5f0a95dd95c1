"""Words that are heard where nobody speaks.

Silence, noises and music go the whole way: detector, turns, recogniser. Fed as fast as it is
listened to, since a listener counts time in samples.
"""

from __future__ import annotations

import asyncio

import numpy as np

from llmos.bench.voice.scope import VoiceBench
from llmos.bench.voice.users import noise, silence
from llmos.devices.audio import EAR_RATE, Frames, Samples
from llmos.devices.listening import HeardEvent, Listener, TurnOver
from llmos.devices.vad import FRAME

__all__ = ["measure"]

_MINUTES = 10
_LEVELS = (0.003, 0.03, 0.1)
_KINDS = ("white", "pink", "hum", "clicks")


async def measure(bench: VoiceBench) -> None:
    """Everything of this group."""
    random = np.random.default_rng(bench.seed)
    minutes = bench.samples_of(_MINUTES)
    heard = await _heard(bench, silence(60 * minutes))
    parts = [
        level * _noise(kind, 60 * minutes / (len(_LEVELS) * len(_KINDS)), random)
        for kind in _KINDS
        for level in _LEVELS
    ]
    heard += await _heard(bench, np.concatenate(parts).astype(np.float32))
    words = sum(len(turn.split()) for turn in heard)
    bench.samples["invented"] = heard
    bench.found(
        "invented_words_on_silence_and_noise",
        float(words),
        minutes={"silence": minutes, "noise": minutes},
        noises=list(_KINDS),
        levels=list(_LEVELS),
    )


def _noise(kind: str, seconds: float, random: np.random.Generator) -> Samples:
    if kind != "clicks":
        return noise(kind, seconds, random)
    sound = np.zeros(round(seconds * EAR_RATE), dtype=np.float32)
    for at in random.integers(0, len(sound) - 400, round(2 * seconds)):
        sound[at : at + 400] += random.standard_normal(400).astype(np.float32)
    return sound


async def _heard(bench: VoiceBench, sound: Samples) -> list[str]:
    """What is heard in it: the text of each turn."""
    speech = await bench.speech()
    found: list[str] = []

    def tell(event: HeardEvent) -> None:
        if isinstance(event, TurnOver):
            found.append(event.text)

    listener = Listener(speech.detector(), speech.recogniser(), tell)
    for number, frame in enumerate(Frames(FRAME).feed(sound)):
        listener.feed(frame)
        if listener.turn or number % 64 == 0:
            await asyncio.sleep(FRAME / EAR_RATE if listener.turn else 0)
    listener.end_of_stream()
    while listener.turn:
        await asyncio.sleep(0.02)
    await listener.close()
    return found
