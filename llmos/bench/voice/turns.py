"""When a turn is taken for over: how long after the last word, and how often too early.

Users speak in real time, with pauses of 0.3 to 1.2 s within their sentences; the whole listener
hears them, recogniser included.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np

from llmos.bench.harness import say
from llmos.bench.voice.scope import VoiceBench, spread
from llmos.bench.voice.users import silence
from llmos.devices.audio import EAR_RATE, Frames, Samples
from llmos.devices.endpoint import Endpointer
from llmos.devices.listening import HeardEvent, Listener, TurnOver
from llmos.devices.vad import FRAME

__all__ = ["in_real_time", "measure"]

_PAUSES_S = (0.3, 0.6, 0.9, 1.2)
_AFTER_S = 4.0
_TURNS = 36


async def measure(bench: VoiceBench) -> None:
    """Everything of this group."""
    users, speech = await bench.users(), await bench.speech()
    await speech.recogniser().load()
    late: list[float] = []
    cut = turns = 0
    sentences = users.sentences["pauses"]
    voices = [voice for voice in users.voices if voice[1] == "en"]
    endpointers = {name: Endpointer() for name, *_ in voices}  # each is one speaker's
    for number in range(bench.samples_of(_TURNS)):
        first, second = sentences[number % len(sentences)]
        voice = voices[number % len(voices)]
        # each sentence comes with each pause
        pause_s = _PAUSES_S[(number + number // len(sentences)) % len(_PAUSES_S)]
        a, b = await users.say(first, *voice), await users.say(second, *voice)
        begun = a.sound[: a.end]
        rest = b.sound[len(b.sound) - b.end :]  # without the silence before it
        sound = np.concatenate([begun, silence(pause_s), rest[: len(rest)]])
        end_s = len(sound) / EAR_RATE - (len(b.sound) - b.end) / EAR_RATE
        over = await in_real_time(
            bench, np.concatenate([sound, silence(_AFTER_S)]), endpointers[voice[0]]
        )
        turns += 1
        if not over or over[0][0] < end_s - 0.1:
            cut += 1
        else:
            late.append(1_000 * (over[0][0] - end_s))
        say(f"  turn {turns}: {over[0][1] if over else '(nothing)'}")
    if late:
        bench.found("endpoint_ms", spread(late), pauses_s=list(_PAUSES_S))
    bench.found("cut_off_rate", cut / turns, n=turns, pauses_s=list(_PAUSES_S))


async def in_real_time(
    bench: VoiceBench, sound: Samples, endpointer: Endpointer
) -> list[tuple[float, str]]:
    """When turns were over, in seconds of the sound as it was played, and their texts."""
    speech = await bench.speech()
    found: list[tuple[float, str]] = []
    began = time.monotonic()

    def tell(event: HeardEvent) -> None:
        if isinstance(event, TurnOver):
            found.append((time.monotonic() - began, event.text))

    listener = Listener(
        speech.detector(), speech.recogniser(), tell, endpointer=endpointer, language="en"
    )
    for number, frame in enumerate(Frames(FRAME).feed(sound), 1):
        await asyncio.sleep(max(0.0, began + number * FRAME / EAR_RATE - time.monotonic()))
        listener.feed(frame)
    await listener.close()
    return found
