"""Sound from a WAV file as from a microphone, and into one as into a loudspeaker.

Needs no sound hardware. At the pace of a clock, or as fast as it is read and written.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from llmos.devices.audio import EAR_RATE, WIRE_RATE, Frames, Samples, encode_pcm16, mono
from llmos.devices.resample import HIGHEST_RATE, LOWEST_RATE, Resampler
from llmos.devices.sound import EAR_FRAME, DeviceGone, Heard, Playout
from llmos.errors import BadFile, DeviceError

__all__ = ["FileLoudspeaker", "FileMicrophone"]

#: Samples read at once, of each channel.
_BLOCK: Final = 1 << 14
#: Channels of a file; one that claims more lies.
_CHANNELS: Final = 64
#: Samples at 24 kHz that sound in one step at the pace of a clock.
_STEP: Final = WIRE_RATE // 50

_REMEDY: Final = "Convert it to 16-bit PCM in a WAV file."


class FileMicrophone:
    """A WAV file, heard once from its beginning; silence fills its last frame up.

    Args:
        path: Integer PCM of 8, 16, 24 or 32 bits, of any channels, 8 to 96 kHz.
        realtime: Frames come as the clock has it; else as fast as they are taken.
    """

    def __init__(self, path: Path, *, realtime: bool = False) -> None:
        self._path = path
        self._realtime = realtime
        self._closed = False

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def deaf(self) -> str:
        return ""

    async def frames(self) -> AsyncIterator[Heard]:
        """See ``Microphone.frames``.

        Raises:
            BadFile: It is no WAV file, or of a kind that cannot be read.
            DeviceError: It is not there, or cannot be read.
        """
        began, count = time.monotonic(), 0
        with contextlib.closing(_Reader(self._path)) as reader:
            while not self._closed and (some := await asyncio.to_thread(reader.read)):
                for sound in some:
                    at_s = began + count * EAR_FRAME / EAR_RATE
                    due_s = at_s + EAR_FRAME / EAR_RATE
                    await asyncio.sleep(max(0.0, due_s - time.monotonic()) if self._realtime else 0)
                    if self.closed:  # meanwhile
                        return
                    yield Heard(sound, at_s)
                    count += 1

    @property
    def closed(self) -> bool:
        """Whether nothing more is heard of it."""
        return self._closed

    async def reopen(self) -> None:
        """A file does not go."""

    async def close(self) -> None:
        self._closed = True


class _Reader:
    """The file, in frames of 10 ms. Opened by its first ``read``; blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: wave.Wave_read | None = None
        self._ended = False

    def read(self) -> list[Samples]:
        """Some frames; none at the end."""
        try:
            file = self._file = self._file or self._open()
            out: list[Samples] = []
            while not out and not self._ended:
                data = file.readframes(_BLOCK)
                sound = mono(_numbers(data, file.getsampwidth(), file.getnchannels()))
                out = self._frames.feed(self._resampler.feed(sound))
                if not data:
                    self._ended = True
                    out += self._frames.feed(self._resampler.flush())
                    if len(rest := self._frames.flush()):
                        out.append(np.pad(rest, (0, EAR_FRAME - len(rest))))
            return out
        except (wave.Error, EOFError) as error:
            raise BadFile(
                f"{self._path} is no WAV file that can be read: {error or 'it is cut short'}.",
                remedy=_REMEDY,
            ) from error
        except OSError as error:
            raise DeviceError(f"{self._path} cannot be read: {error.strerror}.") from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> wave.Wave_read:
        file = wave.open(str(self._path), "rb")  # noqa: SIM115 -- closed by ``close``
        rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
        if (
            not LOWEST_RATE <= rate <= HIGHEST_RATE
            or not 1 <= channels <= _CHANNELS
            or width not in (1, 2, 3, 4)
        ):
            file.close()
            raise wave.Error(f"{channels} channels of {8 * width} bits at {rate:,} Hz")
        self._resampler = Resampler(rate, EAR_RATE)
        self._frames = Frames(EAR_FRAME)
        return file


def _numbers(data: bytes, width: int, channels: int) -> npt.NDArray[Any]:
    """Samples as WAV stores them, shape (n, channels); half a one at the end is left out."""
    data = data[: len(data) - len(data) % (width * channels)]
    if width == 3:  # no type of numpy's: put in the upper bytes of one that is
        wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        flat: npt.NDArray[Any] = wide.reshape(-1).view("<i4")
    else:
        flat = np.frombuffer(data, {1: "u1", 2: "<i2", 4: "<i4"}[width])
    return flat.reshape(-1, channels)


class FileLoudspeaker(Playout):
    """A WAV file that is played into: 16 bits, 24 kHz, mono. Made when it is made.

    Its header is right after every write, so that a crash leaves a file that can be played.

    Args:
        path: Replaced where it is there.
        realtime: Sound passes as the clock has it, pauses included; else at once, without them.

    Raises:
        DeviceError: It cannot be written.
    """

    def __init__(self, path: Path, *, realtime: bool = False) -> None:
        super().__init__(path.name)
        self._path = path
        self._sink = self._try(lambda: path.open("wb"))  # what ``wave`` opens by itself, it leaks
        self._file = wave.open(self._sink)  # noqa: SIM115 -- closed by ``close``
        self._file.setparams((1, 2, WIRE_RATE, 0, "NONE", "not compressed"))
        self._realtime = realtime
        self._began = time.monotonic()
        self._count = 0  # samples in the file
        self._running = asyncio.create_task(self._run()) if realtime else None

    async def reopen(self) -> None:
        """A file does not go."""

    async def close(self) -> None:
        """See ``Loudspeaker.close``; the file is whole then.

        Raises:
            DeviceError: It cannot be written.
        """
        self.flush()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        self._try(self._file.close)
        self._try(self._sink.close)

    def _now(self) -> float:
        return time.monotonic() if self._realtime else self._began + self._count / WIRE_RATE

    def _put(self) -> None:
        if not self._realtime:
            self._pass(self._queued)

    def _pass(self, count: int) -> None:
        sound = self.take(count, self._now())
        self._count += count
        self._try(lambda: self._file.writeframes(encode_pcm16(sound)))

    async def _run(self) -> None:
        try:
            while True:
                due_s = self._began + (self._count + _STEP) / WIRE_RATE
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                self._pass(_STEP)
        except DeviceError as error:
            self.lose(DeviceGone(error.sentence))

    def _try(self, what: Callable[[], Any]) -> Any:
        try:
            return what()
        except OSError as error:
            raise DeviceError(
                f"The sound file {self._path} cannot be written: {error.strerror}."
            ) from error
