"""A voice in its worker, on real weights: what is long is spoken in parts."""

from __future__ import annotations

import contextlib

import pytest

from llmos.config import VoiceConfig
from llmos.devices.speaker_worker import LONGEST, parts
from llmos.devices.speech import Speech


@pytest.mark.parametrize("text", ["", "a b", "ab " * 300, "x" * 900, "a" * LONGEST])
def test_parts_are_short_and_make_the_whole(text):
    found = list(parts(text))
    assert [phoneme for part in found for phoneme in part] == list(text)
    assert all(0 < len(part) <= LONGEST for part in found)


def test_parts_end_between_words_where_there_are_any():
    found = list(parts("word " * 200))
    assert all(part[-1] == " " for part in found)


@pytest.mark.parametrize("text", ["一二三四五六七八九十" * 4, "to be or not to be " * 40])
async def test_a_text_without_any_pause_is_spoken_all_the_same(voice_weights, text):
    async with contextlib.aclosing(Speech(VoiceConfig())) as speech:
        seconds = 0.0
        async for piece in speech.speaker().speaking("")(text, words=1, language="en"):
            seconds += len(piece.sound) / piece.rate
    assert seconds > 15
