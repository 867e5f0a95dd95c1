"""Whether a person is interrupting."""

from __future__ import annotations

import numpy as np
import pytest

from llmos.devices.interruption import EchoLeak, Interruptions, Outcome
from llmos.devices.overheard import judge
from llmos.devices.vad import FRAME, FRAME_S, EnergyDetector, SileroDetector, silero_file
from tests.devices.voices import RATE, click, echo, noise, silence, voice

SPOKEN = "the budget for last week came to three hundred dollars"


def frames(sound):
    return sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)


def outcomes(left, played, *, probability=None, interruptions=None):
    """(outcome, seconds into the sound) for each decision."""
    interruptions = interruptions or Interruptions()
    detector, out = EnergyDetector(), []
    for number, (residual, reference) in enumerate(zip(frames(left), frames(played), strict=True)):
        likely = detector.probability(residual) if probability is None else probability
        outcome = interruptions.feed(likely, residual, reference)
        if outcome is not None:
            out.append((outcome, (number + 1) * FRAME_S))
    return out


def leaked(played, gain, *, seed=4):
    """What a canceller leaves over: an echo of 10 ms, distorted, and some noise."""
    left = echo(played, 0.01, gain=gain, distortion=3)
    return left + noise(len(played) / RATE, seed=seed, level=0.0005)[: len(played)]


@pytest.mark.parametrize("gain", [0.003, 0.03, 0.1])
def test_an_echo_is_no_person_though_every_frame_sounds_like_speech(gain):
    played = voice(20, level=0.1)

    assert outcomes(leaked(played, gain), played, probability=0.95) == []


@pytest.mark.parametrize("person_level", [0.2, 0.1, 0.05])
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_who_speaks_over_it_is_suspected_within_150_ms(person_level, seed):
    played = voice(6, level=0.1)
    left = leaked(played, 0.03)
    onset = 4 * RATE
    left[onset:] += voice(2, seed=seed, pitch=205, level=person_level)
    interruptions = Interruptions()
    before = outcomes(left[:onset], played[:onset], probability=0.1, interruptions=interruptions)

    heard = slice(onset, onset + 5 * FRAME)  # 160 ms; four whole frames are 128
    first = outcomes(left[heard], played[heard], probability=0.9, interruptions=interruptions)

    assert before == []
    assert [outcome for outcome, _ in first] == [Outcome.SUSPECTED]
    assert first[0][1] <= 0.15
    assert 0 <= interruptions.onset - onset <= FRAME


def test_while_nothing_is_played_speech_counts_at_once():
    sound = voice(0.3)

    assert outcomes(sound, silence(0.3), probability=0.9) == [
        (Outcome.SUSPECTED, pytest.approx(FRAME_S))
    ]


def test_clicks_claps_and_a_cough_are_nobody():
    detector = SileroDetector(file) if (file := silero_file()) else None
    if detector is None:
        pytest.skip("faster-whisper, whose assets/silero_vad_v6.onnx is needed, is not installed")
    fade = np.exp(-np.arange(RATE // 5) / 800)
    cough = (noise(0.2, level=0.3) * fade).astype(np.float32)
    sound = np.concatenate([noise(1), click(), noise(1), click(), noise(1), cough, noise(1)])
    interruptions = Interruptions()
    decided = [
        interruptions.feed(detector.probability(frame), frame, silence(FRAME_S))
        for frame in frames(sound)
    ]

    assert set(decided) == {None}


def test_doubtful_frames_are_over_before_they_count_and_do_not_add_up():
    interruptions = Interruptions()
    quiet = silence(FRAME_S)
    levels = np.geomspace(1, 1e-4, 200, dtype=np.float32)
    faint = next(
        frame
        for frame in (level * voice(FRAME_S) for level in levels)
        if EchoLeak().above_db(frame, quiet) < 20
    )
    decided = []
    for _ in range(5):
        decided.append(interruptions.feed(0.2, faint, quiet))
        decided += [interruptions.feed(0.05, quiet, quiet) for _ in range(3)]

    assert decided == [None] * 20


def suspect():
    interruptions = Interruptions()
    assert interruptions.feed(0.9, voice(FRAME_S), silence(FRAME_S)) is Outcome.SUSPECTED
    return interruptions


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("no, the travel one", Outcome.CONFIRMED),
        ("stop", Outcome.CONFIRMED),
        ("mhm", Outcome.FALSE_ALARM),
        ("", Outcome.FALSE_ALARM),
        ("ha ha ha", Outcome.FALSE_ALARM),
        ("for last week came to", Outcome.FALSE_ALARM),
    ],
)
def test_the_words_decide(text, outcome):
    interruptions = suspect()

    assert interruptions.words(judge(text, SPOKEN, "en")) is outcome
    assert not interruptions.suspected


def test_yeah_may_go_on_so_it_waits_for_the_rest():
    interruptions = suspect()

    assert interruptions.words(judge("yeah", SPOKEN, "en"), final=False) is None
    assert (
        interruptions.words(judge("yeah but why", SPOKEN, "en"), final=False) is Outcome.CONFIRMED
    )


def test_words_without_a_suspect_decide_nothing():
    assert Interruptions().words(judge("stop", SPOKEN, "en")) is None


def test_speech_that_goes_on_is_an_interruption_without_any_words():
    interruptions = suspect()

    decided = outcomes(voice(2), silence(2), probability=0.9, interruptions=interruptions)

    assert decided[0][0] is Outcome.CONFIRMED
    assert decided[0][1] <= 1.6


def test_silence_after_a_suspect_is_a_false_alarm():
    decided = outcomes(silence(3), silence(3), probability=0.02, interruptions=suspect())

    assert [outcome for outcome, _ in decided] == [Outcome.FALSE_ALARM]
    assert decided[0][1] == pytest.approx(1.2, abs=0.05)


def test_after_a_false_alarm_the_next_one_is_heard():
    interruptions = suspect()
    interruptions.words(judge("mhm", SPOKEN, "en"))

    decided = outcomes(voice(0.2), silence(0.2), probability=0.9, interruptions=interruptions)

    assert decided[0][0] is Outcome.SUSPECTED


@pytest.mark.parametrize("gain", [0.01, 0.1, 0.3])
def test_the_leak_is_learned_and_forgotten(gain):
    played = voice(10, level=0.1)
    leak = EchoLeak()
    first = leak.leak_db
    for left, reference in zip(frames(played * np.float32(gain)), frames(played), strict=True):
        leak.above_db(left, reference)
        leak.learn()

    assert leak.leak_db == pytest.approx(20 * np.log10(gain), abs=4)
    leak.reset()
    assert leak.leak_db == first
