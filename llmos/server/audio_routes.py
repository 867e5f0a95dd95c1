"""``/v1/audio``: sound in, text out; text in, sound out; in OpenAI's form.

An upload is spooled to a private temporary file and decoded in a jail; it is written down stretch
by stretch, and streamed that way where a stream is asked for. Speech is sent as it is made. Both
stop when the client goes. What cannot be honoured is refused, never ignored.
"""

from __future__ import annotations

import base64
import json
import logging
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, File, Form, Request, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, PlainTextResponse, Response

from llmos import limits
from llmos.devices import subtitles
from llmos.devices.audio import WIRE_RATE, Samples
from llmos.devices.recogniser import Recogniser
from llmos.devices.sound_codec import MEDIA, SoundFile, encoded
from llmos.devices.speaker import FASTEST, SLOWEST
from llmos.devices.speaking import Synthesise, Utterance
from llmos.devices.speech import Speech
from llmos.devices.transcribing import Segment, transcribe
from llmos.devices.voices import NAMES
from llmos.errors import LlmosError
from llmos.server.body import JsonRoute
from llmos.server.errors import ApiError, responses
from llmos.server.kernel_routes import while_connected
from llmos.server.stream import DESCRIPTION, DONE, EventStream, cancel_when_gone

__all__ = ["router"]

log = logging.getLogger(__name__)

#: What OpenAI's clients call a model where they know no other; any stands for the one there is.
_ANY_RECOGNISER = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
_ANY_VOICE = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
#: OpenAI's own voices, which any program may ask for; each stands for the one there is.
_ANY_NAME = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # noqa: SIM905
)


class VoiceId(BaseModel):
    """A voice by its id."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str


class SpeechRequest(BaseModel):
    """What is to be said, and how."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str
    input: Annotated[str, Field(min_length=1, max_length=limits.SPEECH_CHARS)]
    voice: str | VoiceId = ""
    instructions: str = ""
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Field(ge=SLOWEST, le=FASTEST)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


def router(speech: Speech | None) -> APIRouter:
    """The routes over the devices; None where this server has none."""
    routes = APIRouter(prefix="/v1/audio", tags=["openai"], route_class=JsonRoute)

    @routes.post("/speech", response_class=Response, responses=_sound(responses(400, 404, 503)))
    async def create_speech(body: SpeechRequest, request: Request) -> Response:
        """A text, read out as a person would read it."""
        if body.instructions:
            raise ApiError("Voices here take no instructions.", param="instructions")
        devices = _devices(speech)
        name = body.voice if isinstance(body.voice, str) else body.voice.id
        known = [voice.name for voice in await anyio.to_thread.run_sync(devices.voices)]
        wanted = "" if not name or name in _ANY_NAME else name
        if wanted and wanted not in known:
            raise _unknown("voice", name, known)
        if body.model not in (*_ANY_VOICE, *known):
            raise _unknown("model", body.model, known)
        if body.model in known:
            wanted = wanted or body.model
        speaker = await anyio.to_thread.run_sync(devices.speaker)
        chosen = speaker.speaking(wanted, body.speed)
        sound = _spoken(chosen, body.input, speaker.languages)
        written = encoded(sound, body.response_format)
        if body.stream_format == "sse":
            return EventStream(_speech_events(written), ())
        first = await anext(written, b"")  # what cannot be spoken at all is an error, not a stream
        return _Bytes(first, written, MEDIA[body.response_format])

    @routes.post(
        "/transcriptions",
        response_class=Response,
        responses=_text(responses(400, 404, 413, 503)),
    )
    async def create_transcription(
        request: Request,
        file: Annotated[UploadFile, File(description="A sound or video file.")],
        model: Annotated[str, Form(description="`whisper-1`, or a recogniser's name.")],
        language: Annotated[str, Form(pattern="^([a-z]{2,3})?$")] = "",
        prompt: Annotated[str, Form()] = "",
        response_format: Annotated[
            Literal["json", "text", "srt", "verbose_json", "vtt"], Form()
        ] = "json",
        temperature: Annotated[float, Form(ge=0, le=1)] = 0.0,
        stream: Annotated[bool, Form()] = False,
        timestamp_granularities: Annotated[
            list[Literal["word", "segment"]] | None, Form(alias="timestamp_granularities[]")
        ] = None,
    ) -> Response:
        """What is said in a sound or video file."""
        if prompt:
            raise ApiError("The recogniser here takes no prompt.", param="prompt")
        if temperature:
            raise ApiError("The recogniser here takes no temperature.", param="temperature")
        if stream and response_format not in ("json", "text"):
            raise ApiError("A stream has the format json or text.", param="response_format")
        devices = _devices(speech)
        recogniser = await anyio.to_thread.run_sync(devices.recogniser)
        if model not in (*_ANY_RECOGNISER, recogniser.name):
            raise _unknown("model", model, [recogniser.name])
        sound, segments = await anyio.to_thread.run_sync(
            _written, file, devices, recogniser, language
        )
        if stream:
            return EventStream(_transcript_events(segments), ())
        found = await while_connected(request, _all(segments))
        if found is None:
            return Response(status_code=204)  # nobody reads it
        words = "word" in (timestamp_granularities or ())
        return _transcript(found, sound.heard_s, response_format, words)

    return routes


def _devices(speech: Speech | None) -> Speech:
    if speech is None:
        raise ApiError("This server neither hears nor speaks.", code="no_devices", status=404)
    return speech


def _unknown(param: str, name: str, known: Sequence[str]) -> ApiError:
    there = " and ".join(f"'{one}'" for one in known) or "none"
    sentence = f"The {param} '{name}' is not on this machine; there is {there}."
    return ApiError(sentence, param=param, code=f"{param}_not_found", status=404)


# --- to text ----------------------------------------------------------------------------------


def _written(
    file: UploadFile, devices: Speech, recogniser: Recogniser, language: str
) -> tuple[SoundFile, AsyncGenerator[Segment, None]]:
    # a file with a name: what is deleted and held open counts as written by the jail that has it
    held = tempfile.NamedTemporaryFile(prefix="llmos-upload-")  # noqa: SIM115 -- closed below
    file.file.seek(0)
    shutil.copyfileobj(file.file, held)
    held.flush()
    sound = SoundFile(Path(held.name), name=Path(file.filename or "the file").name)

    async def segments() -> AsyncGenerator[Segment, None]:
        detector = devices.detector()
        spoken = language or devices.settings.language
        with held:
            async with aclosing(sound.chunks()) as chunks:
                async for segment in transcribe(chunks, detector, recogniser, language=spoken):
                    yield segment

    return sound, segments()


async def _all(segments: AsyncGenerator[Segment, None]) -> list[Segment]:
    async with aclosing(segments):
        return [segment async for segment in segments]


def _transcript(found: Sequence[Segment], seconds: float, form: str, words: bool) -> Response:
    text = " ".join(segment.text for segment in found)
    spoken = [word for segment in found for word in segment.words]
    if form == "text":
        return PlainTextResponse(f"{text}\n")
    if form in ("srt", "vtt"):
        written = getattr(subtitles, form)(subtitles.cues(spoken))
        return PlainTextResponse("".join(written), media_type="text/vtt" if form == "vtt" else None)
    if form == "json":
        usage = {"type": "duration", "seconds": round(seconds)}
        return JSONResponse({"text": text, "usage": usage})
    languages = [segment.language for segment in found]
    language = max(languages, key=languages.count, default="")
    told: dict[str, Any] = {
        "task": "transcribe",
        "language": NAMES.get(language, language).lower(),
        "duration": round(seconds, 3),
        "text": text,
        "segments": [
            {"id": number, "start": s.start_s, "end": s.end_s, "text": s.text}
            for number, s in enumerate(found)
        ],
    }
    if words:
        told["words"] = [
            {"word": w.text.strip(), "start": w.start_s, "end": w.end_s} for w in spoken
        ]
    return JSONResponse(told)


async def _transcript_events(
    segments: AsyncGenerator[Segment, None],
) -> AsyncGenerator[bytes, None]:
    whole = ""
    async with aclosing(segments):
        async for segment in segments:
            delta = f" {segment.text}" if whole else segment.text
            whole += delta
            yield _event({"type": "transcript.text.delta", "delta": delta})
    yield _event({"type": "transcript.text.done", "text": whole})
    yield DONE


# --- to sound ---------------------------------------------------------------------------------


async def _spoken(
    speaker: Synthesise, text: str, languages: Sequence[str]
) -> AsyncIterator[Samples]:
    utterance = Utterance(1, speaker, languages, languages[0])
    try:
        utterance.feed(text)
        utterance.end()
        async for sound in utterance.sounds():
            yield sound.sound
    finally:
        await utterance.stop()


async def _speech_events(written: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(written):
        async for data in written:
            audio = base64.b64encode(data).decode()
            yield _event({"type": "speech.audio.delta", "audio": audio})
    yield _event({"type": "speech.audio.done"})
    yield DONE


class _Bytes(Response):
    """Bytes as they are made; what breaks them off breaks the connection off, too."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None], media: str) -> None:
        self._first = first
        self._rest = rest
        super().__init__(None, media_type=media)
        del self.headers["content-length"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with aclosing(self._rest) as rest, cancel_when_gone(receive, ()) as gone:
            await send(start)
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            try:
                async for data in rest:
                    if gone.is_set():
                        return
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            except LlmosError as error:  # too late to tell: what is cut short says so
                log.warning("speech was broken off: %s", error)
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _event(told: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def _sound(errors: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {media: {} for media in MEDIA.values()}
    content |= DESCRIPTION
    return {**errors, 200: {"content": content, "description": f"Sound, {WIRE_RATE} Hz."}}


def _text(errors: dict[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    content: dict[str, Any] = {"application/json": {}, "text/plain": {}, "text/vtt": {}}
    content |= DESCRIPTION
    return {**errors, 200: {"content": content, "description": "What is said."}}
