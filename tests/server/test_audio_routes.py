"""``/v1/audio`` as OpenAI's own client uses it, on real weights, in the whole application."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import wave
from types import SimpleNamespace

import httpx
import openai
import pytest

from llmos.config import VoiceConfig
from llmos.devices.speech import Speech
from llmos.errors import DeviceError
from llmos.server import audio_routes, create_app

SAID = "The library opens at nine and closes at six in the evening."


@contextlib.asynccontextmanager
async def application(speech):
    app = create_app(SimpleNamespace(touch=lambda: None), speech)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://llmos") as http:
        yield openai.AsyncOpenAI(
            api_key="-", base_url="http://llmos/v1", http_client=http, max_retries=0
        )


@pytest.fixture
async def client(whisper_weights, voice_weights):
    async with contextlib.aclosing(Speech(VoiceConfig())) as speech, application(speech) as api:
        yield api


async def speech_of(client, form="wav", **more):
    made = await client.audio.speech.create(
        model="tts-1", voice="alloy", input=SAID, response_format=form, **more
    )
    return made.read()


async def test_what_is_spoken_is_written_down_again_in_every_format(client):
    data = await speech_of(client, "mp3")

    async def written(form, **more):
        return await client.audio.transcriptions.create(
            model="whisper-1", file=("a.mp3", data), response_format=form, **more
        )

    assert "library opens at" in (await written("json")).text
    assert "library opens at" in await written("text")
    assert "-->" in await written("srt")
    assert (await written("vtt")).startswith("WEBVTT")
    told = await written("verbose_json", timestamp_granularities=["word"])
    assert told.language == "english" and 2 < told.duration < 8
    assert [word.word for word in told.words][:2] == ["The", "library"]
    assert all(word.start <= word.end <= told.duration for word in told.words)
    assert told.segments[0].text.startswith("The library")


async def test_a_transcription_is_streamed_stretch_by_stretch(client):
    data = await speech_of(client)
    stream = await client.audio.transcriptions.create(
        model="whisper-1", file=("a.wav", data), stream=True
    )
    events = [event async for event in stream]
    assert [event.type for event in events][-1] == "transcript.text.done"
    deltas = "".join(event.delta for event in events[:-1])
    assert events[-1].text == deltas and "library" in deltas


async def test_speech_is_a_sound_file_and_its_speed_is_heard(client):
    usual = await speech_of(client)
    with wave.open(io.BytesIO(usual)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
    fast = await speech_of(client, speed=2.0)
    assert len(fast) < 0.7 * len(usual)


async def test_speech_is_streamed_as_events(client):
    made = await client.audio.speech.create(
        model="tts-1",
        voice="alloy",
        input=SAID,
        response_format="pcm",
        extra_body={"stream_format": "sse"},
    )
    text = made.read().decode()
    assert text.count('"type": "speech.audio.delta"') >= 2
    assert '"type": "speech.audio.done"' in text and text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"file": ("x.wav", b"")}, 400, "x.wav is empty"),
        ({"file": ("x.wav", b"junk" * 100)}, 400, "x.wav cannot be decoded"),
        ({"file": ("../../etc/passwd", b"junk" * 100)}, 400, "passwd cannot be decoded"),
        ({"model": "nope"}, 404, "'nope' is not on this machine"),
        ({"prompt": "names"}, 400, "takes no prompt"),
        ({"temperature": 0.5}, 400, "takes no temperature"),
        ({"language": "Klingon"}, 400, "language"),
        ({"response_format": "docx"}, 400, "response_format"),
        ({"response_format": "srt", "stream": True}, 400, "json or text"),
    ],
)
async def test_what_cannot_be_written_down_is_said_in_a_sentence(client, given, status, says):
    usual = {"model": "whisper-1", "file": ("a.wav", b"x")}
    with pytest.raises(openai.APIStatusError, match=says) as caught:
        await client.audio.transcriptions.create(**{**usual, **given})
    assert caught.value.status_code == status


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"voice": "nobody"}, 404, "'nobody' is not on this machine"),
        ({"model": "nope"}, 404, "'nope' is not on this machine"),
        ({"speed": 9.0}, 400, "speed"),
        ({"input": ""}, 400, "input"),
        ({"instructions": "whisper"}, 400, "no instructions"),
        ({"response_format": "midi"}, 400, "response_format"),
    ],
)
async def test_what_cannot_be_spoken_is_said_in_a_sentence(client, given, status, says):
    usual = {"model": "tts-1", "voice": "alloy", "input": "Hello."}
    with pytest.raises(openai.APIStatusError, match=says) as caught:
        await client.audio.speech.create(**{**usual, **given})
    assert caught.value.status_code == status


async def test_a_server_without_devices_says_so():
    async with application(None) as client:
        with pytest.raises(openai.APIStatusError, match="neither hears nor speaks") as caught:
            await speech_of(client)
        assert caught.value.status_code == 404


def _scope(request):
    """An ASGI request of a client that may go."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "server": ("llmos", 80),
        "client": ("llmos", 1),
        "method": request.method,
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
    }


async def test_who_goes_while_nobody_speaks_ends_the_work(
    monkeypatch, whisper_weights, voice_weights
):
    ended = asyncio.Event()

    async def endless(*_given, **_named):
        try:
            await asyncio.Event().wait()
            yield
        finally:
            ended.set()

    monkeypatch.setattr(audio_routes, "transcribe", endless)
    request = httpx.Request(
        "POST",
        "http://llmos/v1/audio/transcriptions",
        data={"model": "whisper-1"},
        files={"file": ("a.wav", b"x" * 100)},
    )
    come = [{"type": "http.request", "body": request.read(), "more_body": False}]

    async def receive():
        return come.pop(0) if come else {"type": "http.disconnect"}

    async def send(_event):
        pass

    async with contextlib.aclosing(Speech(VoiceConfig())) as speech:
        app = create_app(SimpleNamespace(touch=lambda: None), speech)
        async with asyncio.timeout(20):
            await app(_scope(request), receive, send)
            await ended.wait()


async def test_speech_that_breaks_off_breaks_the_connection_off_and_no_more(
    monkeypatch, caplog, whisper_weights, voice_weights
):
    async def broken(*_given):
        yield b"first"
        raise DeviceError("The voice is gone.")

    monkeypatch.setattr(audio_routes, "encoded", broken)
    async with contextlib.aclosing(Speech(VoiceConfig())) as speech:
        app = create_app(SimpleNamespace(touch=lambda: None), speech)
        body = json.dumps({"model": "tts-1", "input": SAID, "response_format": "wav"}).encode()
        headers = {"content-type": "application/json"}
        url = "http://llmos/v1/audio/speech"
        request = httpx.Request("POST", url, content=body, headers=headers)
        come = [{"type": "http.request", "body": body, "more_body": False}]
        sent = []

        async def receive():
            if come:
                return come.pop(0)
            return await asyncio.Event().wait()

        async def send(event):
            sent.append(event)

        async with asyncio.timeout(20):
            await app(_scope(request), receive, send)
    assert sent[-1].get("more_body") is True  # it never said that it was whole
    assert "The voice is gone." in caplog.text
