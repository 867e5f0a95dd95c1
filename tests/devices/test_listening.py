"""Turns out of a stream: what is said is heard once and whole, and ends when the person does.

The sound carries its own words: a word is a stretch of one amplitude, which the recogniser of
these tests reads back.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from llmos.devices import listening
from llmos.devices.audio import EAR_RATE, Samples
from llmos.devices.listening import (
    HeardEvent,
    Listener,
    Transcript,
    TurnBegan,
    TurnEmpty,
    TurnFailed,
    TurnGrew,
    TurnLikelyOver,
    TurnOver,
    TurnWentOn,
)
from llmos.devices.partials import HeardWord
from llmos.devices.vad import FRAME, FRAME_S
from llmos.errors import DeviceError

WORDS: list[str] = []
PER_WORD = 8  # frames: 256 ms


def amplitude(word: str) -> float:
    if word not in WORDS:
        WORDS.append(word)
    return 0.2 + WORDS.index(word) / 1000


def speech(text: str) -> list[Samples]:
    """Frames in which ``text`` is said, a gap of one frame between two words."""
    frames: list[Samples] = []
    for word in text.split():
        frames += [np.full(FRAME, amplitude(word), np.float32)] * PER_WORD
        frames.append(np.zeros(FRAME, np.float32))
    return frames


def silence(seconds: float) -> list[Samples]:
    return [np.zeros(FRAME, np.float32)] * round(seconds / FRAME_S)


def read(sound: Samples) -> tuple[HeardWord, ...]:
    """The words of a stretch; half a word is one, too, as recognisers have it."""
    words: list[HeardWord] = []
    edges = np.flatnonzero(np.diff(sound)) + 1
    for start, end in zip([0, *edges], [*edges, len(sound)], strict=True):
        if end > start and sound[start] > 0.1:
            word = WORDS[round((float(sound[start]) - 0.2) * 1000)]
            words.append(HeardWord(f" {word}", start / EAR_RATE, end / EAR_RATE))
    return tuple(words)


class Loudness:
    """A detector that hears that it is not silent."""

    def probability(self, frame: Samples) -> float:
        return 0.95 if np.abs(frame).max() > 0.1 else 0.02

    def reset(self) -> None: ...


class Recogniser:
    """Reads what is in the sound, once it may."""

    def __init__(self) -> None:
        self.sounds: list[tuple[float, bool]] = []  # seconds, final
        self.may = asyncio.Event()
        self.may.set()
        self.error: Exception | None = None

    async def __call__(self, sound: Samples, *, language: str, final: bool) -> Transcript:
        self.sounds.append((len(sound) / EAR_RATE, final))
        await self.may.wait()
        if self.error is not None:
            raise self.error
        return Transcript(read(sound), language or "en")


class Rig:
    def __init__(self, **options: object) -> None:
        self.events: list[HeardEvent] = []
        self.recogniser = Recogniser()
        self.listener = Listener(
            Loudness(),
            self.recogniser,
            self.events.append,
            **options,  # type: ignore[arg-type]
        )

    async def hear(self, *stretches: list[Samples]) -> None:
        for frames in stretches:
            for frame in frames:
                self.listener.feed(frame)
                await self.idle()

    async def idle(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)

    def of(self, kind: type[HeardEvent]) -> list[HeardEvent]:
        return [event for event in self.events if type(event) is kind]

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, TurnOver)]


async def test_a_sentence_is_heard_as_it_grows_and_over_soon_after_its_end():
    rig = Rig()
    await rig.hear(silence(1), speech("What is the weather today?"), silence(2))
    began, *_, over = rig.events
    assert isinstance(began, TurnBegan) and isinstance(over, TurnOver)
    assert rig.said == ["What is the weather today?"]
    assert over.language == "en"
    assert began.onset == len(silence(1)) * FRAME
    assert over.end == began.onset + (5 * (PER_WORD + 1) - 1) * FRAME
    assert over.words[0].start_s == pytest.approx(began.onset / EAR_RATE)
    assert over.words[-1].end_s == pytest.approx(over.end / EAR_RATE)
    grown = [event.text for event in rig.of(TurnGrew)]
    assert grown == sorted(grown, key=len) and len(grown) > 2
    assert all(text == over.text[: len(text)] for text in grown)
    [likely] = rig.of(TurnLikelyOver)
    assert likely.text == over.text
    assert {event.turn for event in rig.events} == {1}


async def test_what_was_settled_does_not_change():
    rig = Rig()
    await rig.hear(speech("one two three four five six seven eight nine ten"), silence(2))
    settled = ""
    for grew in rig.of(TurnGrew):
        assert grew.text.startswith(settled)
        settled = grew.text[: grew.settled]
    assert settled


async def test_who_goes_on_after_a_pause_is_in_the_same_turn():
    rig = Rig()
    await rig.hear(speech("I think that is fine."), silence(0.45), speech("But wait."), silence(3))
    assert rig.said == ["I think that is fine. But wait."]
    kinds = [type(event) for event in rig.events if not isinstance(event, TurnGrew)]
    assert kinds == [TurnBegan, TurnLikelyOver, TurnWentOn, TurnLikelyOver, TurnOver]


async def test_a_pause_teaches_how_long_the_speaker_rests():
    rig = Rig()
    await rig.hear(speech("and then because"), silence(0.8), speech("it rains."), silence(3))
    assert rig.said == ["and then because it rains."]
    rhythm = rig.listener.endpointer.rhythm
    assert rhythm.heard == 1
    assert rhythm.quantile(1.0) == pytest.approx(0.8, abs=0.1)


async def test_two_turns_have_two_numbers_and_no_word_of_each_other():
    rig = Rig()
    await rig.hear(speech("First question?"), silence(3), speech("Second question?"), silence(3))
    assert rig.said == ["First question?", "Second question?"]
    assert [event.turn for event in rig.of(TurnOver)] == [1, 2]


async def test_a_noise_without_words_is_no_turn(monkeypatch):
    rig = Rig()
    monkeypatch.setattr("tests.devices.test_listening.read", lambda sound: ())
    await rig.hear(speech("cough cough"), silence(3))
    assert not rig.said and len(rig.of(TurnEmpty)) == 1
    assert rig.listener.turn == 0


async def test_a_click_does_not_begin_a_turn():
    rig = Rig()
    await rig.hear(silence(0.5), [np.full(FRAME, 0.9, np.float32)] * 2, silence(2))
    assert not rig.events and not rig.recogniser.sounds


async def test_with_a_key_the_key_ends_the_turn_and_silence_does_not():
    rig = Rig(automatic=False)
    await rig.hear(speech("Hold on."), silence(6))
    assert not rig.said and not rig.of(TurnLikelyOver)
    rig.listener.over()
    await rig.idle()
    assert rig.said == ["Hold on."]


async def test_a_key_let_go_in_the_last_word_hears_it_out():
    rig = Rig(automatic=False)
    await rig.hear(speech("Please stop now.")[:-1])
    rig.listener.over()
    await rig.idle()
    assert rig.said == ["Please stop now."]


async def test_the_end_of_a_file_ends_its_last_turn():
    rig = Rig()
    await rig.hear(speech("Cut off"))
    rig.listener.end_of_stream()
    await rig.idle()
    assert rig.said == ["Cut off"]


async def test_speech_while_the_last_transcript_is_awaited_is_not_lost():
    rig = Rig()
    await rig.hear(speech("Tell me a story."))
    rig.recogniser.may.clear()  # a busy machine
    await rig.hear(silence(0.3))
    assert rig.recogniser.sounds[-1][1], "the pause is transcribed"
    await rig.hear(speech("Please."), silence(0.6))
    rig.recogniser.may.set()
    await rig.idle()
    await rig.hear(silence(2))
    assert rig.said == ["Tell me a story. Please."]


async def test_a_slow_recogniser_is_asked_once_at_a_time():
    rig = Rig()
    rig.recogniser.may.clear()
    await rig.hear(speech("a b c d e f g h i j"), silence(4))
    assert len(rig.recogniser.sounds) == 1
    rig.recogniser.may.set()
    await rig.hear(silence(1))
    assert rig.said == ["a b c d e f g h i j"]


@pytest.mark.parametrize("error", [DeviceError("The recogniser ended."), RuntimeError("oops")])
async def test_a_guess_that_fails_is_made_again_and_a_last_word_that_fails_is_told(error):
    rig = Rig()
    rig.recogniser.error = error
    await rig.hear(speech("one two three four"))
    assert rig.listener.turn == 1, "it goes on"
    rig.recogniser.error = None
    await rig.hear(silence(2))
    assert rig.said == ["one two three four"]
    rig.recogniser.error = error
    await rig.hear(speech("five six"), silence(2))
    [failed] = rig.of(TurnFailed)
    assert isinstance(failed, TurnFailed) and failed.turn == 2
    assert failed.error.sentence
    rig.recogniser.error = None
    await rig.hear(speech("seven eight."), silence(2))
    assert rig.said == ["one two three four", "seven eight."]


async def test_of_a_turn_that_was_dropped_nothing_is_told_and_who_speaks_on_begins_another():
    rig = Rig()
    rig.recogniser.may.clear()
    await rig.hear(speech("an echo of mine"))
    rig.listener.drop()
    told = len(rig.events)
    rig.recogniser.may.set()
    await rig.idle()
    assert len(rig.events) == told
    await rig.hear(speech("this is me."), silence(2))
    assert rig.said == ["this is me."]
    assert [event.turn for event in rig.of(TurnOver)] == [2]


async def test_a_monologue_is_heard_whole_and_never_longer_than_the_recogniser_takes():
    text = " ".join(f"w{number}{'.' if number % 12 == 0 else ''}" for number in range(1, 240))
    rig = Rig()
    await rig.hear(speech(text), silence(3))
    assert rig.said == [text]
    assert max(seconds for seconds, _ in rig.recogniser.sounds) <= listening.WINDOW_S


@pytest.mark.parametrize("automatic", [True, False])
async def test_what_comes_faster_than_it_is_transcribed_is_heard_whole(automatic):
    text = " ".join(f"w{number}" for number in range(1, 300))
    rig = Rig(automatic=automatic)
    rig.recogniser.may.clear()
    for frame in (*speech(text), *silence(1)):
        rig.listener.feed(frame)  # 87 s at once
    rig.listener.over()
    rig.recogniser.may.set()
    for _ in range(20):
        await rig.idle()
    assert rig.said == [text]
    assert max(seconds for seconds, _ in rig.recogniser.sounds) <= listening.WINDOW_S
    assert [final for _, final in rig.recogniser.sounds].count(True) == 1


async def test_a_recogniser_that_fails_with_much_waiting_loses_the_turn_once():
    rig = Rig()
    rig.recogniser.may.clear()
    for frame in speech(" ".join(f"w{number}" for number in range(1, 300))):
        rig.listener.feed(frame)
    rig.listener.over()
    rig.recogniser.error = DeviceError("gone")
    rig.recogniser.may.set()
    for _ in range(20):
        await rig.idle()
    assert len(rig.of(TurnFailed)) == 1
    assert len(rig.recogniser.sounds) <= 3


async def test_a_radio_that_was_left_on_is_a_turn_that_ends(monkeypatch):
    monkeypatch.setattr(listening, "LONGEST_TURN_S", 5.0)
    rig = Rig()
    text = " ".join(f"r{number}" for number in range(30))
    await rig.hear(speech(text), silence(2))
    first, second = (said.split() for said in rig.said)
    if first[-1] == second[0]:  # it was cut within a word
        del second[0]
    assert [*first, *second] == text.split()


async def test_after_closing_nothing_is_told():
    rig = Rig()
    rig.recogniser.may.clear()
    await rig.hear(speech("hello there"))
    told = len(rig.events)
    await rig.listener.close()
    rig.recogniser.may.set()
    await rig.idle()
    assert len(rig.events) == told
