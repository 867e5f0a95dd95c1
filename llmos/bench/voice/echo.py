"""Its own voice coming back: whether it takes that for a person, and a person for that.

Computed, not played: speech of the starter voice goes through a loudspeaker that distorts, a room,
a delay and another clock, then through the canceller, the detector and the fast decision, exactly
as in the voice terminal. Time is counted in samples.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from llmos.bench.harness import say
from llmos.bench.voice.scope import VoiceBench, spread
from llmos.bench.voice.users import in_room
from llmos.devices.audio import EAR_RATE, Frames, Samples, clean
from llmos.devices.delay import DelayEstimator
from llmos.devices.echo import CANCELLER_FRAME, WebRtcCanceller
from llmos.devices.interruption import Interruptions, Outcome
from llmos.devices.vad import FRAME

__all__ = ["measure"]

_GAINS_DB = (-6.0, -10.0, -15.0, -20.0)
_DELAYS_S = (0.02, 0.06, 0.12, 0.25)
_MINUTES = 20
_INTERRUPTIONS = 50
_LEARNED_S = 8.0  # of its own speech before somebody interrupts
_NOTICED_S = 1.5
_DRIFT = 60e-6  # of the loudspeaker's clock against the microphone's
_PATIENCE = 400  # frames between two breaths of the loop


@dataclass(frozen=True, slots=True)
class _Decided:
    """An outcome, and the sample it came at."""

    outcome: Outcome
    at: int


async def measure(bench: VoiceBench) -> None:
    """Everything of this group."""
    rooms = [(gain, delay) for gain in _GAINS_DB for delay in _DELAYS_S]
    if bench.wants("self_interruptions", "self_rests"):
        await _alone(bench, rooms)
    if bench.wants("barge_in_stop_ms", "missed_interruptions"):
        await _interrupted(bench, rooms)


async def _alone(bench: VoiceBench, rooms: list[tuple[float, float]]) -> None:
    seconds = 60 * bench.samples_of(_MINUTES) / len(rooms)
    rests = broken = 0
    for gain, delay in rooms:
        played = await _speech(bench, seconds)
        heard = _echo(bench, played, gain, delay)
        decided = [each async for each in _decisions(bench, heard, played)]
        rests += sum(each.outcome is Outcome.SUSPECTED for each in decided)
        broken += sum(each.outcome is Outcome.CONFIRMED for each in decided)
        say(f"  {gain:g} dB, {1000 * delay:g} ms: {rests} rests, {broken} breaks so far")
    bench.found(
        "self_interruptions", float(broken), minutes=seconds * len(rooms) / 60, rooms=len(rooms)
    )
    bench.found("self_rests", float(rests))


async def _interrupted(bench: VoiceBench, rooms: list[tuple[float, float]]) -> None:
    users = await bench.users()
    voices = [voice for voice in users.voices if voice[1] == "en"]
    late: list[float] = []
    missed = 0
    count = bench.samples_of(_INTERRUPTIONS)
    for number in range(count):
        gain, delay = rooms[number % len(rooms)]
        played = await _speech(bench, _LEARNED_S + 4.0)
        voice = voices[number % len(voices)]
        texts = users.sentences["en"]
        said = await users.say(texts[number % len(texts)], *voice)
        spoken = said.sound[len(said.sound) - said.end : said.end]
        onset = round(_LEARNED_S * EAR_RATE)
        heard = _echo(bench, played, gain, delay)
        spoken = spoken[: len(heard) - onset]
        heard[onset : onset + len(spoken)] += spoken
        at = next(
            (
                each.at
                for each in [d async for d in _decisions(bench, clean(heard), played)]
                if each.outcome is Outcome.SUSPECTED and each.at >= onset
            ),
            None,
        )
        if at is None or at - onset > _NOTICED_S * EAR_RATE:
            missed += 1
        else:
            late.append(1000 * (at - onset) / EAR_RATE)
    if late:
        bench.found("barge_in_stop_ms", spread(late), rooms=len(rooms))
    bench.found("missed_interruptions", float(missed), n=count)


async def _speech(bench: VoiceBench, seconds: float) -> Samples:
    """So much of llmos's own speech, at a usual level."""
    users = await bench.users()
    texts = users.sentences["en"]
    parts: list[Samples] = []
    made = 0
    while made < seconds * EAR_RATE:
        said = await users.say(texts[int(users.random.integers(len(texts)))])
        parts.append(2.0 * said.sound)
        made += len(said.sound)
    return clean(np.concatenate(parts)[: round(seconds * EAR_RATE)])


def _echo(bench: VoiceBench, played: Samples, gain_db: float, delay_s: float) -> Samples:
    """What the microphone hears of it: a saturated loudspeaker, a room, another clock, noise."""
    random = np.random.default_rng(bench.seed)
    sound = np.tanh(1.5 * played) / 1.5
    at = np.arange(len(sound)) * (1 + _DRIFT)
    sound = np.interp(at, np.arange(len(sound)), sound).astype(np.float32)
    room = in_room(sound, random)
    late = np.concatenate([np.zeros(round(delay_s * EAR_RATE), np.float32), room])[: len(played)]
    hiss = 0.001 * random.standard_normal(len(played)).astype(np.float32)
    return np.asarray(np.float32(10 ** (gain_db / 20)) * late + hiss, dtype=np.float32)


async def _decisions(bench: VoiceBench, heard: Samples, played: Samples) -> AsyncIterator[_Decided]:
    """What the fast decision makes of it, as the terminal has it."""
    canceller, delay, fast = WebRtcCanceller(), DelayEstimator(), Interruptions()
    detector = (await bench.speech()).detector()
    left, sounded = Frames(FRAME), Frames(FRAME)
    known = np.concatenate([np.zeros(EAR_RATE, np.float32), played])
    for number, at in enumerate(range(0, len(heard) - CANCELLER_FRAME, CANCELLER_FRAME)):
        mine, theirs = heard[at : at + CANCELLER_FRAME], played[at : at + CANCELLER_FRAME]
        delay.feed(mine, theirs)
        late = round((delay.delay_s or 0.0) * EAR_RATE)
        canceller.set_delay(late / EAR_RATE)
        start = EAR_RATE + at - late
        frames = zip(
            left.feed(canceller.process(mine, theirs)),
            sounded.feed(known[start : start + CANCELLER_FRAME]),
            strict=True,
        )
        for frame, of_mine in frames:
            outcome = fast.feed(detector.probability(frame), frame, of_mine)
            if outcome is not None:
                yield _Decided(outcome, at + CANCELLER_FRAME)
        if number % _PATIENCE == 0:
            await asyncio.sleep(0)
