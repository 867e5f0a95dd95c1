"""A Realtime server on the scripted double, and the official client that talks with it.

Sound carries its own words: a word is a stretch of one amplitude, which the recogniser reads back.
Every event that comes is held against the official types, and must fit them to the field.
"""

from __future__ import annotations

import asyncio
import base64
import json
import typing
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openai
from openai.types.realtime import RealtimeServerEvent
from openai.types.realtime.realtime_session_create_response import RealtimeSessionCreateResponse
from pydantic import BaseModel

from llmos.config import VoiceConfig
from llmos.devices.audio import EAR_RATE, WIRE_RATE, Samples, encode_pcm16
from llmos.devices.listening import Transcript
from llmos.devices.partials import HeardWord
from llmos.devices.speaking import Voiced
from llmos.server import create_app, serve

WORD_S = 0.25
TOKEN = "secret"


def _models() -> dict[str, type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {}
    for cls in typing.get_args(typing.get_args(RealtimeServerEvent)[0]):
        for name in typing.get_args(cls.model_fields["type"].annotation):
            found[name] = cls
    return found


MODELS = _models()


def extras(value: Any, path: str) -> list[str]:
    """Fields that the official types do not know."""
    if isinstance(value, BaseModel):
        unknown = [f"{path}.{name}" for name in (value.model_extra or {})]
        for name in type(value).model_fields:
            unknown += extras(getattr(value, name), f"{path}.{name}")
        return unknown
    if isinstance(value, list):
        return [each for item in value for each in extras(item, path)]
    return []


def check(event: dict[str, Any]) -> None:
    """Fails where an event is not what the official client expects."""
    kind = event["type"]
    if kind.startswith("llmos."):
        return
    if kind in ("session.created", "session.updated"):
        session = RealtimeSessionCreateResponse.model_validate(event["session"], strict=True)
        assert extras(session, kind) == []
        MODELS[kind].model_validate(event)
        return
    assert extras(MODELS[kind].model_validate(event, strict=True), kind) == []


# --- devices ----------------------------------------------------------------------------------

WORDS: list[str] = []


def speech(text: str) -> bytes:
    """``text``, said; 256 ms a word, 32 ms between two."""
    sound: list[Samples] = []
    for word in text.split():
        if word not in WORDS:
            WORDS.append(word)
        level = 0.2 + WORDS.index(word) / 500
        sound.append(np.full(round(0.256 * WIRE_RATE), level, np.float32))
        sound.append(np.zeros(round(0.032 * WIRE_RATE), np.float32))
    return encode_pcm16(np.concatenate(sound))


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * WIRE_RATE))


class Loudness:
    """A detector that hears that it is not silent."""

    def probability(self, frame: Samples) -> float:
        return 0.95 if np.abs(frame).max() > 0.1 else 0.02

    def reset(self) -> None: ...


class Recogniser:
    """Reads the words that are in the sound, once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.error: Exception | None = None
        self.languages: list[str] = []

    async def __call__(self, sound: Samples, *, language: str, final: bool) -> Transcript:
        self.languages.append(language)
        await self.may.wait()
        if self.error is not None:
            raise self.error
        words: list[HeardWord] = []
        loud = np.abs(sound) > 0.1
        edges = np.flatnonzero(np.diff(loud)) + 1
        for start, end in zip([0, *edges], [*edges, len(sound)], strict=True):
            if loud[start] and end - start > 64:
                level = float(np.median(sound[start:end]))
                word = WORDS[round((level - 0.2) * 500)]
                words.append(HeardWord(f" {word}", start / EAR_RATE, end / EAR_RATE))
        return Transcript(tuple(words), language or "en")


class Voice:
    """Speaks four words a second, each as one piece, once it may."""

    languages = ("en", "de")

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.may.set()
        self.chosen: list[tuple[str, float | None]] = []
        self.error: Exception | None = None
        self.spoken: list[str] = []

    def speaking(self, voice: str = "", speed: float | None = None) -> Voice:
        self.chosen.append((voice, speed))
        return self

    async def __call__(self, text: str, *, words: int, language: str) -> AsyncGenerator[Voiced]:
        if self.error is not None:
            raise self.error
        for word in text.split():
            await self.may.wait()
            self.spoken.append(word)
            sound = np.full(round(WORD_S * WIRE_RATE), 0.1, np.float32)
            yield Voiced(sound, WIRE_RATE, (WORD_S,))


@dataclass
class Name:
    name: str


@dataclass
class Devices:
    """What hears and speaks in these tests."""

    settings: VoiceConfig = field(default_factory=VoiceConfig)
    hears: Recogniser = field(default_factory=Recogniser)
    speaks: Voice = field(default_factory=Voice)
    names: tuple[str, ...] = ("joe", "thorsten")
    error: Exception | None = None

    def recogniser(self) -> Recogniser:
        if self.error is not None:
            raise self.error
        return self.hears

    def detector(self) -> Loudness:
        return Loudness()

    def speaker(self) -> Voice:
        return self.speaks

    async def warm(self) -> None:
        pass

    def voices(self) -> tuple[Name, ...]:
        return tuple(map(Name, self.names))


# --- the server and its client ----------------------------------------------------------------


class Talk:
    """The official client's connection; every event it gets is checked and kept."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[dict[str, Any]] = []

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            raw = await self.connection.recv_bytes()
        event = json.loads(raw)
        check(event)
        parsed = self.connection.parse_event(raw)
        assert event["type"].startswith("llmos.") or parsed.type == event["type"]
        self.events.append(event)
        return event

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next event of a kind; what comes before it is kept."""
        while True:
            event = await self.next()
            if event["type"] == kind and all(event.get(k) == v for k, v in fields.items()):
                return event
            assert event["type"] != "error" or kind == "error", event

    async def said(self, *sounds: bytes) -> None:
        """Sound, a tenth of a second at a time, as a microphone gives it."""
        size = 2 * WIRE_RATE // 10
        for sound in sounds:
            for start in range(0, len(sound), size):
                audio = base64.b64encode(sound[start : start + size]).decode()
                await self.connection.input_audio_buffer.append(audio=audio)

    async def written(self, text: str) -> None:
        """A message in writing, and the wish to have it answered."""
        part: Any = {"type": "input_text", "text": text}
        item: Any = {"type": "message", "role": "user", "content": [part]}
        await self.connection.conversation.item.create(item=item)
        await self.connection.response.create()

    async def set(self, **session: Any) -> dict[str, Any]:
        await self.connection.session.update(session={"type": "realtime", **session})
        return (await self.until("session.updated"))["session"]

    async def raw(self, data: str | bytes) -> None:
        await self.connection._connection.send(data)

    async def error(self, data: str | bytes) -> dict[str, Any]:
        """The error that a text is answered with."""
        await self.raw(data)
        return (await self.until("error"))["error"]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def sound(self) -> bytes:
        deltas = self.of("response.output_audio.delta")
        return b"".join(base64.b64decode(event["delta"]) for event in deltas)


@dataclass
class Server:
    port: int
    devices: Devices | None

    @asynccontextmanager
    async def talk(self, **query: str) -> AsyncIterator[Talk]:
        async with self.client().realtime.connect(model="gpt-realtime", extra_query=query) as one:
            talk = Talk(one)
            await talk.until("session.created")
            yield talk

    def client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(api_key=TOKEN, base_url=f"http://127.0.0.1:{self.port}/v1")


@asynccontextmanager
async def server(kernel: Any, home: Path, devices: Devices | None) -> AsyncIterator[Server]:
    """A server over ``kernel``, until the block ends."""
    bound: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    app = create_app(kernel, devices)  # type: ignore[arg-type]
    task = asyncio.create_task(serve(app, home / "k.sock", None, TOKEN, ready=bound.set_result))
    await asyncio.wait({task, bound}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield Server(bound.result(), devices)
    finally:
        task.cancel()
        await asyncio.wait({task})
