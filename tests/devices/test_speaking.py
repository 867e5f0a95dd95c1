"""Answers that are spoken while they are written, and what of them was heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from llmos.devices.audio import WIRE_RATE
from llmos.devices.speaking import AHEAD, Sound, Utterance, Voiced
from llmos.errors import DeviceError

WORD_S = 0.25
ANSWER = "Well, that depends. One two three, four five six seven, and eight. It is 14:30 now."


class Voice:
    """Speaks four words a second, each as one piece."""

    def __init__(self, *, rate: int = 22_050, tells: bool = True) -> None:
        self.rate = rate
        self.tells = tells
        self.asked: list[tuple[str, str]] = []
        self.closed = 0
        self.error: Exception | None = None
        self.fails_at = -1

    async def __call__(self, text: str, *, words: int, language: str) -> AsyncGenerator[Voiced]:
        self.asked.append((text, language))
        assert len(text.split()) == words
        try:
            if self.fails_at == len(self.asked):
                assert self.error is not None
                raise self.error
            for _ in range(words):
                sound = np.full(round(WORD_S * self.rate), 0.1, np.float32)
                yield Voiced(sound, self.rate, (WORD_S,) if self.tells else ())
        finally:
            self.closed += 1


async def everything(utterance: Utterance) -> list[Sound]:
    async with asyncio.timeout(10):
        return [sound async for sound in utterance.sounds()]


def spoken(voice: Voice, answer: str, **options: Any) -> Utterance:
    utterance = Utterance(3, voice, ("en", "de"), "en", **options)
    for char in answer:
        utterance.feed(char)
    utterance.end()
    return utterance


async def idle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000])
async def test_all_of_an_answer_sounds_and_is_shown_once(rate):
    voice = Voice(rate=rate)
    utterance = spoken(voice, ANSWER)
    sounds = await everything(utterance)
    assert "".join(sound.text for sound in sounds) == ANSWER
    assert {sound.turn for sound in sounds} == {3}
    words = sum(len(text.split()) for text, _ in voice.asked)
    seconds = sum(len(sound.sound) for sound in sounds) / WIRE_RATE
    assert seconds == pytest.approx(words * WORD_S, abs=0.01)
    assert utterance.seconds == seconds
    assert utterance.heard(seconds) == ANSWER


async def test_sound_begins_while_the_answer_is_being_written():
    voice = Voice()
    utterance = Utterance(1, voice, ("en",), "en")
    utterance.feed("That is a good question. And now")
    sounds = utterance.sounds()
    async with asyncio.timeout(10):
        first = await anext(sounds)
    assert first.text == "That is a good question."
    await utterance.stop()


async def test_what_was_heard_is_whole_words_and_grows():
    voice = Voice()
    utterance = spoken(voice, ANSWER)
    await everything(utterance)
    said = [utterance.heard(step * WORD_S / 5) for step in range(200)]
    assert said[0] == "" and said[-1] == ANSWER
    for before, after in pairwise(said):
        assert after.startswith(before)
    assert utterance.heard(2 * WORD_S) == "Well, that"
    assert utterance.heard(2.5 * WORD_S) == "Well, that"
    spans = [heard for heard in said if heard.endswith(("14", "14:"))]
    assert not spans, "half a time of day is none"


async def test_a_voice_that_does_not_tell_of_words_has_said_a_clause_at_its_end():
    voice = Voice(tells=False)
    utterance = spoken(voice, "One two three. Four five six.")
    await everything(utterance)
    assert utterance.heard(2.5 * WORD_S) == ""
    assert utterance.heard(3 * WORD_S) == "One two three."
    assert utterance.heard(6 * WORD_S) == "One two three. Four five six."


async def test_a_held_answer_is_made_and_not_let_out():
    voice = Voice()
    utterance = spoken(voice, ANSWER, held=True)
    taking = asyncio.create_task(everything(utterance))
    await idle()
    assert voice.asked and not taking.done()
    assert utterance._sounds.full()
    utterance.release()
    assert "".join(sound.text for sound in await taking) == ANSWER


async def test_nothing_comes_after_stop_and_the_voice_is_let_go():
    voice = Voice()
    utterance = spoken(voice, ANSWER)
    sounds = utterance.sounds()
    first = await anext(sounds)
    heard = utterance.heard(WORD_S)
    await utterance.stop()
    async with asyncio.timeout(10):
        assert [sound async for sound in sounds] == []
    assert voice.closed == len(voice.asked)
    assert first.text.startswith(heard) and heard == "Well,"


async def test_a_held_answer_that_is_stopped_is_never_heard():
    utterance = spoken(Voice(), ANSWER, held=True)
    await idle()
    await utterance.stop()
    assert await everything(utterance) == []


async def test_no_more_is_made_than_is_soon_taken():
    voice = Voice()
    utterance = spoken(voice, ANSWER * 20)
    await idle()
    assert utterance.seconds <= (AHEAD + 1) * WORD_S
    assert len(voice.asked) == 1
    await utterance.stop()


@pytest.mark.parametrize("error", [DeviceError("The voice ended."), RuntimeError("oops")])
async def test_a_voice_that_fails_is_told_after_what_it_had_said(error):
    voice = Voice()
    voice.error, voice.fails_at = error, 2
    utterance = spoken(voice, "One two three four. Five six seven eight.")
    heard: list[Sound] = []

    async def take() -> None:
        async for sound in utterance.sounds():
            heard.append(sound)

    with pytest.raises(DeviceError):
        await take()
    assert "".join(sound.text for sound in heard) == "One two three four."
    assert utterance.heard(60) == "One two three four."


async def test_code_is_shown_and_not_read_out():
    voice = Voice()
    answer = "Try this:\n\n```python\nprint(2**64)\n```\n\nIt prints a number."
    sounds = await everything(spoken(voice, answer))
    assert "".join(sound.text for sound in sounds) == answer
    assert not any("print(" in text for text, _ in voice.asked)


async def test_each_clause_is_spoken_in_its_own_language():
    voice = Voice()
    await everything(
        spoken(voice, "Das ist aber eine gute Frage. The answer is not what you think it is.")
    )
    assert [language for _, language in voice.asked] == ["de", "en"]


@pytest.mark.parametrize("answer", ["", "   \n\n", "---", "[1]"])
async def test_an_answer_with_nothing_to_say_is_silent(answer):
    voice = Voice()
    utterance = spoken(voice, answer)
    assert await everything(utterance) == []
    assert not voice.asked
