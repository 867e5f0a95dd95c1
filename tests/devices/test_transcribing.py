"""Long sound, stretch by stretch: nothing is heard twice, nothing is lost, silence is not asked."""

from __future__ import annotations

import numpy as np

from llmos.devices.audio import EAR_RATE
from llmos.devices.listening import WINDOW_S, Transcript
from llmos.devices.partials import HeardWord
from llmos.devices.transcribing import transcribe
from tests.devices.voices import silence


class Loud:
    """A detector: whatever is loud is speech."""

    def probability(self, frame):
        return 1.0 if np.abs(frame).mean() > 0.01 else 0.0

    def reset(self):
        pass


class Recorder:
    """A recogniser that keeps what it was given."""

    def __init__(self):
        self.given = []

    async def __call__(self, sound, *, language, final):
        assert final and len(sound) <= WINDOW_S * EAR_RATE
        self.given.append(sound)
        seconds = len(sound) / EAR_RATE
        return Transcript((HeardWord(f" {len(self.given)}", 0.1, seconds - 0.1),), language or "en")


def tone(seconds):
    return np.full(int(seconds * EAR_RATE), 0.3, np.float32) * np.sign(
        np.sin(np.arange(int(seconds * EAR_RATE)))
    ).astype(np.float32)


async def run(sound, chunk=7_000):
    async def chunks():
        for start in range(0, len(sound), chunk):
            yield sound[start : start + chunk]

    recogniser = Recorder()
    found = [one async for one in transcribe(chunks(), Loud(), recogniser, language="")]
    return found, recogniser


async def test_silence_is_never_asked_about():
    found, recogniser = await run(silence(60))
    assert (found, recogniser.given) == ([], [])


async def test_stretches_are_parted_by_rests_and_have_their_times():
    sound = np.concatenate([silence(1), tone(2), silence(3), tone(4), silence(1)])
    found, recogniser = await run(sound)
    assert len(found) == len(recogniser.given) == 2
    assert abs(found[0].start_s - 0.8) < 0.1 and abs(found[1].start_s - 5.8) < 0.1
    assert found[0].language == "en"


async def test_a_short_rest_parts_nothing():
    found, _ = await run(np.concatenate([tone(2), silence(0.8), tone(2), silence(2)]))
    assert len(found) == 1


async def test_speech_without_a_rest_is_cut_and_nothing_of_it_is_lost_or_heard_twice():
    sound = tone(95)
    _, recogniser = await run(sound)
    assert len(recogniser.given) >= 4
    assert abs(sum(map(len, recogniser.given)) - len(sound)) < 0.1 * EAR_RATE


async def test_what_ends_in_the_midst_of_a_word_is_heard():
    found, recogniser = await run(np.concatenate([silence(0.5), tone(1.37)]))
    assert len(found) == 1
    assert len(recogniser.given[0]) >= 1.3 * EAR_RATE
