"""Sound files of any kind: read as 16 kHz, and written as FLAC, MP3, Opus or AAC.

FFmpeg (through PyAV) is what reads them. A file from outside is a stranger's bytes, so all of that
happens in a jail (``sound_codec_worker.py``); what comes back are samples, whose number is bounded
here. Where this machine has no jail or no PyAV, plain WAV files are still read, by Python itself.
WAV and raw PCM are written by this module.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import struct
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from llmos import limits
from llmos.devices.audio import EAR_RATE, WIRE_RATE, Samples, clean, encode_pcm16
from llmos.devices.sound_file import FileMicrophone
from llmos.errors import BadFile, CallFailed, DeviceError, SandboxMissing
from llmos.sandbox import tiers
from llmos.sandbox.jail import Bounds, Jailed, Task

__all__ = ["MEDIA", "SoundFile", "encoded"]

log = logging.getLogger(__name__)

#: Formats that speech can be written in, and the media type of each.
MEDIA: Final = {
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "aac": "audio/aac",
}
_LENGTH: Final = struct.Struct("!I")
_FAILED: Final = 0xFFFFFFFF
_SENTENCE_BYTES: Final = 800
_PYAV: Final = "Install it with: pip install 'llmos[voice]'"


class SoundFile:
    """A sound or video file, read from its beginning.

    Args:
        path: The file.
        name: What it is called to a person; empty takes the path's.
    """

    def __init__(self, path: Path, *, name: str = "") -> None:
        self._path = path
        self._name = name or path.name
        self.seconds = 0.0  #: how long the file says it is, once ``chunks`` began; 0: not known
        self.heard_s = 0.0  #: of sound, taken so far

    async def chunks(self) -> AsyncGenerator[Samples, None]:
        """The first sound in it: chunks of mono 16 kHz, at most about two seconds each.

        Raises:
            BadFile: It is no such file, or damaged. What came before holds.
            DeviceError: It cannot be read on this machine.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"{self._name} cannot be read: {error.strerror}.") from error
        try:
            if os.fstat(fd).st_size == 0:
                raise BadFile(f"{self._name} is empty.")
            try:
                jailed = await _jailed({"do": "decode"}, fd)
            except (SandboxMissing, DeviceError) as error:
                async with contextlib.aclosing(self._wav(error)) as plain:
                    async for sound in plain:
                        self.heard_s += len(sound) / EAR_RATE
                        yield sound
                return
            async with contextlib.aclosing(self._decoded(jailed)) as decoded:
                async for sound in decoded:
                    self.heard_s += len(sound) / EAR_RATE
                    yield sound
        finally:
            os.close(fd)

    async def _decoded(self, jailed: Jailed) -> AsyncGenerator[Samples, None]:
        count = 0
        try:
            head = json.loads(await _chunk(jailed))
            self.seconds = min(float(head["seconds"]), limits.SOUND_SECONDS)
            while data := await _chunk(jailed):
                sound = clean(np.frombuffer(data, dtype="<f4"))
                count += len(sound)
                if count > limits.SOUND_SECONDS * EAR_RATE:
                    hours = limits.SOUND_SECONDS // 3600
                    raise BadFile(f"{self._name} is longer than {hours} hours.")
                yield sound
            if not count:
                raise BadFile(f"There is no sound in {self._name}.")
        except _Said as said:
            raise BadFile(
                f"{self._name} cannot be decoded. {said}", remedy="Convert it to a WAV file."
            ) from said
        except (EOFError, OSError, TimeoutError, ValueError, KeyError, TypeError) as error:
            log.warning("the decoder of sound failed (%s): %r", jailed.ended, error)
            raise BadFile(
                f"{self._name} is damaged: its decoder crashed.",
                remedy="Convert it to a WAV file.",
            ) from error
        finally:
            await asyncio.shield(jailed.kill())

    async def _wav(self, why: Exception) -> AsyncGenerator[Samples, None]:
        """By Python itself, where nothing else can be used because of ``why``."""
        heard, frames = [], FileMicrophone(self._path).frames()
        try:
            async for frame in frames:
                heard.append(frame.sound)
                if len(heard) >= 100:
                    yield np.concatenate(heard)
                    heard = []
        except BadFile as error:
            raise BadFile(
                f"{self._name} cannot be decoded here, only WAV files can. {why}"
            ) from error
        if heard:
            yield np.concatenate(heard)


async def encoded(
    sound: AsyncIterator[Samples], name: str, rate: int = WIRE_RATE
) -> AsyncGenerator[bytes, None]:
    """The bytes of a sound file, as they are made.

    A WAV file that is streamed says that it is as long as can be: nobody knows yet.

    Args:
        sound: Chunks of any length.
        name: One of ``MEDIA``.
        rate: Of the sound, in Hz.

    Raises:
        DeviceError: It cannot be written in this format here.
    """
    if name in ("wav", "pcm"):
        if name == "wav":
            yield wav_head(rate, None)
        async for chunk in sound:
            yield encode_pcm16(chunk)
        return
    try:
        jailed = await _jailed({"do": "encode", "format": name, "rate": rate})
    except SandboxMissing as error:
        raise DeviceError(
            f"Speech cannot be written as {name} here. {error.sentence}",
            remedy=error.remedy or "Take wav.",
        ) from error
    broken: list[Exception] = []  # why there was no more to write
    feeding = asyncio.create_task(_feed(jailed, sound, broken))
    try:
        await _chunk(jailed)
        while data := await _chunk(jailed):
            yield data
        await feeding
    except (_Said, EOFError, OSError, TimeoutError, ValueError) as error:
        if broken:
            raise broken[0] from error
        log.warning("the encoder of sound failed (%s): %r", jailed.ended, error)
        raise DeviceError(f"Speech cannot be written as {name}.", remedy="Take wav.") from error
    finally:
        feeding.cancel()
        await asyncio.wait({feeding})
        await asyncio.shield(jailed.kill())


def wav_head(rate: int, samples: int | None) -> bytes:
    """What a WAV file of mono 16-bit samples begins with.

    Args:
        samples: How many there are; None where nobody knows yet.
    """
    size = 0xFFFFFFFF - 44 if samples is None else 2 * samples
    riff = struct.pack("<4sI4s", b"RIFF", size + 36, b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return riff + form + struct.pack("<4sI", b"data", size)


async def _feed(jailed: Jailed, sound: AsyncIterator[Samples], broken: list[Exception]) -> None:
    try:
        async for chunk in sound:
            data = encode_pcm16(chunk)
            if data:
                jailed.stdin.write(_LENGTH.pack(len(data)) + data)
                await jailed.stdin.drain()
    except Exception as error:
        broken.append(error)
        await asyncio.shield(jailed.kill())  # what is missing must not look like the end
        return
    jailed.stdin.write(_LENGTH.pack(0))
    with contextlib.suppress(OSError):
        await jailed.stdin.drain()


class _Said(Exception):
    """The sentence with which the jail gave up; shown, never believed."""


async def _chunk(jailed: Jailed) -> bytes:
    """The next chunk; empty at the end."""
    async with asyncio.timeout(limits.SOUND_CHUNK_S):
        (size,) = _LENGTH.unpack(await jailed.stdout.readexactly(_LENGTH.size))
        if size == _FAILED:
            told = (await jailed.stdout.read(_SENTENCE_BYTES)).decode("utf-8", "replace")
            said, _, detail = told.replace("\0", "").partition("\n")
            if detail:
                log.info("the decoder of sound: %s", detail)
            raise _Said(said)
        if size > limits.SOUND_CHUNK_BYTES:
            raise ValueError(f"a chunk of {size} bytes")
        return await jailed.stdout.readexactly(size)


async def _jailed(setup: dict[str, Any], fd: int | None = None) -> Jailed:
    """The worker, told what to do.

    Raises:
        SandboxMissing: This machine has no jail.
        DeviceError: PyAV is not installed, or it does not start.
    """
    worker = Path(__file__).with_name("sound_codec_worker.py")
    libraries = _libraries()
    task = Task(
        argv=(sys.executable, "-I", "-S", "-X", "utf8", str(worker)),
        readable=(worker, *map(Path, libraries)),
        bounds=Bounds(
            memory_bytes=limits.SOUND_MEMORY_BYTES,
            cpu_seconds=limits.SOUND_CPU_SECONDS,
            processes=8,  # FFmpeg's decoders of video start threads
            file_bytes=1,
            disk_bytes=1,
        ),
        fds=() if fd is None else (fd,),
    )
    try:
        jailed = await (await tiers.best()).start(task)
    except CallFailed as error:
        raise DeviceError(f"The decoder of sound does not start. {error}") from error
    jailed.stdin.write(json.dumps({"path": libraries, "fd": fd, **setup}).encode() + b"\n")
    return jailed


def _libraries() -> list[str]:
    """Where PyAV and what it needs lie; the worker looks nowhere else but in Python itself."""
    found: list[str] = []
    for name in ("av", "numpy"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise DeviceError(f"The Python package {name} is not installed.", remedy=_PYAV)
        found.append(os.path.dirname(os.path.dirname(spec.origin)))
    return list(dict.fromkeys(found))
