"""/v1/realtime with a real voice, a real recogniser and a real detector of speech."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest

from llmos.config import VoiceConfig
from llmos.devices.audio import EAR_RATE, WIRE_RATE, decode_pcm16, encode_pcm16
from llmos.devices.resample import resample
from llmos.devices.speaking import Utterance
from llmos.devices.speech import Speech
from tests.kernel.kernels import kernel_on
from tests.server.talking import server, silence

ASKED = "When does the library open in the morning?"
ANSWER = "The library opens at nine and closes at six in the evening."


@pytest.fixture
async def devices(whisper_weights, voice_weights):
    async with contextlib.aclosing(Speech(VoiceConfig(language="en"))) as speech:
        yield speech


async def said(devices: Speech, text: str) -> bytes:
    utterance = Utterance(1, devices.speaker(), ("en",), "en")
    utterance.feed(text)
    utterance.end()
    return encode_pcm16(np.concatenate([sound.sound async for sound in utterance.sounds()]))


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


async def test_a_question_is_heard_and_its_answer_can_be_heard(home, devices):
    async with (
        kernel_on(home, [("library", ANSWER)]) as kernel,
        server(kernel, home, devices) as served,
        served.talk() as talk,
    ):
        await talk.said(silence(0.5), await said(devices, ASKED), silence(4))
        done = await talk.until("response.done")
        assert done["response"]["status"] == "completed"
        [heard] = talk.of("conversation.item.input_audio_transcription.completed")
        assert words(heard["transcript"]) == words(ASKED)
        sound = resample(decode_pcm16(talk.sound), WIRE_RATE, EAR_RATE)
        written = await devices.recogniser()(sound, language="en", final=True)
        told = "".join(word.text for word in written.words)
        assert words(told)[:4] == words(ANSWER)[:4]
        assert done["response"]["output"][0]["content"][0]["transcript"] == ANSWER
