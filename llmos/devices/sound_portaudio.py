"""Real microphones and loudspeakers, through PortAudio (the package ``sounddevice``).

PortAudio sees the devices that were there when it was started. To see others it is started anew:
streams that are open are stopped for a moment and go on. Whether that is worth it is asked of a
process of its own, so that nothing is interrupted by a look. PortAudio takes its calls from one
thread at a time, and that is never the loop's.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from llmos.devices.audio import EAR_RATE, WIRE_RATE, Frames, Samples, mono
from llmos.devices.resample import HIGHEST_RATE, LOWEST_RATE, Resampler
from llmos.devices.sound import (
    EAR_FRAME,
    Device,
    DeviceGone,
    Devices,
    Heard,
    Playout,
    SampleClock,
)
from llmos.errors import DeviceError

__all__ = ["PortAudio"]

log = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Seconds without a block, after which a device counts as gone: some go without a word.
STALLED_S: Final = 2.0
#: Seconds of a microphone's sound that may wait to be taken; older ones are lost.
WAITING_S: Final = 2.0
#: Seconds of nothing but zeros after which a microphone is not allowed, rather than quiet.
DEAF_S: Final = 2.0
#: Samples at 24 kHz that are resampled at once for a loudspeaker of another rate.
_STEP: Final = WIRE_RATE // 100
#: Seconds for a process of its own to list the devices.
LISTING_S: Final = 10.0

#: Where ALSA numbers its cards, which changes when one is plugged in again.
_NUMBERED: Final = re.compile(r"\s*\((?:plug)?hw:\d+,\d+\)")
_LIST: Final = (
    "import json, sounddevice as sd; print(json.dumps([list(map(dict, sd.query_devices())),"
    " sd.default.device[0], sd.default.device[1]]))"
)
_NOT_INSTALLED: Final = "Sound devices need the package sounddevice, which is not installed."
_NO_LIBRARY: Final = "Sound devices need the library PortAudio, which is not on this machine."
_REFUSED: Final = (
    "This user may not use the sound card. Join the group audio (sudo usermod -aG audio $USER) "
    "and log in again."
)
_DEAF: Final = (
    "The microphone {name} gives nothing but silence. Check that it is switched on, and that the "
    "system's privacy settings let this terminal use the microphone."
)


def _load() -> Any:
    """The package.

    Raises:
        DeviceError: It or its library is not there.
    """
    try:
        return importlib.import_module("sounddevice")  # by name: it is optional and has no types
    except ImportError as error:
        raise DeviceError(
            _NOT_INSTALLED, remedy="Install it with: pip install 'llmos[voice]'"
        ) from error
    except OSError as error:
        raise DeviceError(
            _NO_LIBRARY,
            remedy="On Debian and Ubuntu: sudo apt install libportaudio2. On Fedora: sudo dnf "
            "install portaudio.",
        ) from error


class PortAudio:
    """The sound devices of this machine. Made by ``open``."""

    def __init__(self, package: Any, thread: ThreadPoolExecutor) -> None:
        self._package = package
        self._thread = thread
        self._streams: set[_Stream] = set()  # that are open
        self._turn = asyncio.Lock()  # of who starts PortAudio anew

    @classmethod
    async def open(cls) -> PortAudio:
        """PortAudio as it is on this machine.

        Raises:
            DeviceError: The package or its library is not installed.
        """
        thread = ThreadPoolExecutor(1, "portaudio")
        try:
            package = await asyncio.get_running_loop().run_in_executor(thread, _load)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(package, thread)

    async def devices(self) -> Devices:
        """What is there now, whatever was there before."""
        async with self._turn:
            if self._streams:
                rows, default = await self._look()
            else:
                await self._anew()
                rows, default = await self.call(self._rows)
        return _told(rows, default)

    async def microphone(self, name: str = "") -> PortAudioMicrophone:
        """Open one.

        Args:
            name: As ``devices`` has it, or a part of that; empty for the system's own choice.

        Raises:
            DeviceError: There is none of that name, or it does not open.
        """
        microphone = PortAudioMicrophone(self, name)
        await microphone.start()
        return microphone

    async def loudspeaker(self, name: str = "") -> PortAudioLoudspeaker:
        """Open one; as ``microphone``."""
        loudspeaker = PortAudioLoudspeaker(self, name)
        await loudspeaker.start()
        return loudspeaker

    async def close(self) -> None:
        """Close all that is open."""
        for stream in list(self._streams):
            await stream.stop()
        self._thread.shutdown(wait=False)

    # --- for its devices --------------------------------------------------------------------

    @property
    def package(self) -> Any:
        """``sounddevice``."""
        return self._package

    async def call(self, what: Callable[..., _T], *args: Any) -> _T:
        """Call PortAudio on its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, what, *args)

    def find(self, name: str, kind: str) -> int:
        """The number of a device; on PortAudio's thread.

        Args:
            kind: ``input`` or ``output``.

        Raises:
            DeviceGone: There is none.
        """
        rows, default = self._rows()
        index = _match(rows, default, name, kind)
        if index is None:
            raise _absent(rows, name, kind)
        return index

    async def bring_back(self, stream: _Stream) -> None:
        """Open a stream whose device went, if it is there.

        Raises:
            DeviceGone: It is not.
        """
        async with self._turn:
            await stream.stop()
            if self._streams:  # of others: interrupted only for something
                rows, default = await self._look()
                if _match(rows, default, stream.wanted, stream.kind) is None:
                    raise _absent(rows, stream.wanted, stream.kind)
            await self._anew()
            await stream.start()

    async def _anew(self) -> None:
        """Have PortAudio look for devices; what is open is stopped meanwhile."""
        others = list(self._streams)
        for other in others:
            await other.stop()
        await self.call(self._restart)
        for other in others:
            try:
                await other.start()
            except DeviceGone as gone:
                other.lose(gone)

    def _restart(self) -> None:
        # there is no public way (github.com/spatialaudio/python-sounddevice/issues/125)
        with contextlib.suppress(self._package.PortAudioError):
            self._package._terminate()
        self._package._initialize()

    def _rows(self) -> tuple[list[Mapping[str, Any]], Sequence[int]]:
        chosen = self._package.default.device
        return list(self._package.query_devices()), (chosen[0], chosen[1])

    async def _look(self) -> tuple[list[Mapping[str, Any]], Sequence[int]]:
        """The devices as a process of its own sees them; as this one does where that fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", _LIST,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(LISTING_S):
                said, _ = await process.communicate()
            rows, *default = json.loads(said)
            return rows, default
        except (TimeoutError, ValueError) as error:
            log.warning("the sound devices could not be listed apart: %r", error)
            return await self.call(self._rows)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _match(
    rows: Sequence[Mapping[str, Any]], default: Sequence[int], name: str, kind: str
) -> int | None:
    """The number of the device that ``name`` means; by its whole name, or by a part of it."""
    usable = [n for n, row in enumerate(rows) if row[f"max_{kind}_channels"] > 0]
    if not name:
        chosen = default[0 if kind == "input" else 1]
        return chosen if chosen in usable else next(iter(usable), None)
    wanted = _plain(name)
    for fits in (
        lambda row: row["name"] == name,
        lambda row: _plain(row["name"]) == wanted,
        lambda row: wanted in _plain(row["name"]),
    ):
        for number in usable:
            if fits(rows[number]):
                return number
    return None


def _plain(name: str) -> str:
    return _NUMBERED.sub("", name).strip().lower()


def _absent(rows: Sequence[Mapping[str, Any]], name: str, kind: str) -> DeviceGone:
    what = "microphone" if kind == "input" else "loudspeaker"
    if not name:
        return DeviceGone(f"No {what} was found.", remedy=_permission() or f"Plug a {what} in.")
    others = sorted({row["name"] for row in rows if row[f"max_{kind}_channels"] > 0})
    there = f" There are: {', '.join(others)}." if others else ""
    return DeviceGone(
        f"The {what} {name} is not there.", remedy=f"Plug it in, or choose another one.{there}"
    )


def _told(rows: Sequence[Mapping[str, Any]], default: Sequence[int]) -> Devices:
    found: dict[str, tuple[Device, ...]] = {}
    missing: list[str] = []
    for kind in ("input", "output"):
        chosen = _match(rows, default, "", kind)
        found[kind] = tuple(
            Device(str(row["name"]), round(row["default_samplerate"]), number == chosen)
            for number, row in enumerate(rows)
            if row[f"max_{kind}_channels"] > 0
        )
        if not found[kind]:
            missing.append(str(_absent(rows, "", kind)))
    return Devices(found["input"], found["output"], tuple(missing))


def _permission(folder: Path = Path("/dev/snd")) -> str:
    """What to do where Linux has sound cards and this user may not use them; else empty."""
    try:
        cards = [path for path in folder.iterdir() if path.name.startswith("pcm")]
    except OSError:
        return ""
    usable = any(os.access(path, os.R_OK | os.W_OK) for path in cards)
    return _REFUSED if cards and not usable else ""


class _Stream:
    """One stream of PortAudio's, and the device it is for.

    Args:
        kind: ``input`` or ``output``.
    """

    def __init__(self, system: PortAudio, wanted: str, kind: str) -> None:
        self.system = system
        self.wanted = wanted
        self.kind = kind
        self._loop = asyncio.get_running_loop()
        self._stream: Any = None

    async def start(self) -> None:
        """Open it.

        Raises:
            DeviceGone: There is no such device, or it does not open.
        """
        opened = await self.system.call(self._open)
        self._stream = opened
        self.system._streams.add(self)
        self.opened(opened)

    async def stop(self) -> None:
        """Close it; harmless where it is not open."""
        stream, self._stream = self._stream, None
        self.system._streams.discard(self)
        if stream is not None:
            await self.system.call(lambda: stream.close(ignore_errors=True))

    def opened(self, stream: Any) -> None:
        """It is open; on the loop."""

    def lose(self, gone: DeviceGone) -> None:
        """Its device went; on the loop."""

    def block(self, sound: npt.NDArray[np.float32], frames: int) -> None:
        """A block is there, or wanted; on PortAudio's own thread."""

    def _open(self) -> Any:
        package = self.system.package
        index = self.system.find(self.wanted, self.kind)
        info = package.query_devices(index)
        name = str(info["name"])
        own = min(max(round(info["default_samplerate"]), LOWEST_RATE), HIGHEST_RATE)
        check = getattr(package, f"check_{self.kind}_settings")
        make = package.InputStream if self.kind == "input" else package.OutputStream
        ideal = EAR_RATE if self.kind == "input" else WIRE_RATE
        most = min(2, int(info[f"max_{self.kind}_channels"]))
        # what is wanted where the device takes it, else what it has by itself
        ways = dict.fromkeys((rate, count) for rate in (ideal, own) for count in (1, most))
        failed: Exception | None = None
        for rate, count in ways:
            settings = {"device": index, "channels": count, "dtype": "float32", "samplerate": rate}
            try:
                check(**settings)
                stream = make(
                    **settings,
                    latency="low",
                    callback=self._called,
                    finished_callback=self._finished,
                )
            except (package.PortAudioError, ValueError) as error:
                failed = error
                continue
            try:
                self._device(name, rate, float(stream.latency))
                stream.start()
                return stream
            except package.PortAudioError as error:
                failed = error
                stream.close(ignore_errors=True)
        log.warning("%s does not open: %r", name, failed)
        what = "microphone" if self.kind == "input" else "loudspeaker"
        raise DeviceGone(
            f"The {what} {name} does not open.",
            remedy=_permission() or "Another program may hold it; close that, or choose another.",
        ) from failed

    def _device(self, name: str, rate: int, latency_s: float) -> None:
        """What was opened; before its first block, on PortAudio's thread."""

    def _called(self, data: npt.NDArray[np.float32], frames: int, _time: Any, status: Any) -> None:
        if status:
            log.debug("%s: %s", self.kind, status)
        self.block(data, frames)

    def _finished(self) -> None:
        """The stream ended: closed here, or its device went."""
        self._post(self._ended)

    def _ended(self) -> None:
        if self._stream is not None and not self._stream.closed and not self._stream.active:
            what = "microphone" if self.kind == "input" else "loudspeaker"
            self.lose(DeviceGone(f"The {what} went away.", remedy="Plug it in again."))

    def _post(self, what: Callable[..., object], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed before the device
            self._loop.call_soon_threadsafe(what, *args)


class _Intake:
    """What one stream of a microphone gives, made into frames.

    Args:
        rate: Its own, in Hz.
        latency_s: Since a sample was heard when its block is there.
    """

    def __init__(self, rate: int, latency_s: float) -> None:
        self._rate = rate
        self._latency_s = latency_s
        self._clock = SampleClock(rate)
        self._count = 0  # samples that came
        self._made = 0  # samples of frames
        self._resampler = Resampler(rate, EAR_RATE)
        self._frames = Frames(EAR_FRAME)

    def feed(self, sound: Samples, now: float) -> list[Heard]:
        """The frames that a block completes; it came at ``now``."""
        self._count += len(sound)
        self._clock.tick(self._count, now)
        out: list[Heard] = []
        for frame in self._frames.feed(self._resampler.feed(sound)):
            at_s = self._clock.at(0) + self._made / EAR_RATE - self._latency_s
            out.append(Heard(frame, at_s))
            self._made += EAR_FRAME
        return out


class PortAudioMicrophone(_Stream):
    """See ``Microphone``. Made by ``PortAudio.microphone``."""

    def __init__(self, system: PortAudio, wanted: str) -> None:
        super().__init__(system, wanted, "input")
        self._name = wanted
        self._intake = _Intake(EAR_RATE, 0.0)
        self._closed = False
        self._gone: DeviceGone | None = None
        self._arrived = asyncio.Event()
        self._waiting: deque[Heard] = deque()
        self._silent = 0  # frames without any noise, in a row

    @property
    def name(self) -> str:
        return self._name

    @property
    def deaf(self) -> str:
        """What to tell a person while it gives nothing but zeros, as one that is not allowed."""
        silent_s = self._silent * EAR_FRAME / EAR_RATE
        return _DEAF.format(name=self._name) if silent_s > DEAF_S else ""

    async def frames(self) -> AsyncIterator[Heard]:
        while not self._closed:
            self._arrived.clear()
            if self._waiting:
                yield self._waiting.popleft()
                continue
            if self._gone is not None:
                raise self._gone
            try:
                async with asyncio.timeout(STALLED_S):
                    await self._arrived.wait()
            except TimeoutError:
                self.lose(
                    DeviceGone(
                        f"The microphone {self._name} gives no sound any more.",
                        remedy="Plug it in again, or choose another one.",
                    )
                )

    async def reopen(self) -> None:
        await self.system.bring_back(self)

    async def close(self) -> None:
        self._closed = True
        self._arrived.set()
        await self.stop()

    def opened(self, stream: Any) -> None:
        self._gone = None
        self._silent = 0

    def lose(self, gone: DeviceGone) -> None:
        self._gone = gone
        self._arrived.set()

    def block(self, sound: npt.NDArray[np.float32], frames: int) -> None:
        self._post(self._hear, self._intake, sound.copy(), time.monotonic())

    def _device(self, name: str, rate: int, latency_s: float) -> None:
        self._name = name
        self._intake = _Intake(rate, latency_s)

    def _hear(self, intake: _Intake, block: npt.NDArray[np.float32], now: float) -> None:
        for heard in intake.feed(mono(block), now):
            self._silent = 0 if heard.sound.any() else self._silent + 1
            if len(self._waiting) * EAR_FRAME >= WAITING_S * EAR_RATE:
                old, first = self._waiting.popleft(), self._waiting.popleft()
                lost = old.lost + EAR_FRAME + first.lost
                self._waiting.appendleft(replace(first, lost=lost))
            self._waiting.append(heard)
        self._arrived.set()


class PortAudioLoudspeaker(_Stream, Playout):
    """See ``Loudspeaker``. Made by ``PortAudio.loudspeaker``."""

    def __init__(self, system: PortAudio, wanted: str) -> None:
        _Stream.__init__(self, system, wanted, "output")
        Playout.__init__(self, wanted, stalled_s=STALLED_S)
        self._to_device: Resampler | None = None
        self._ready: Samples = np.zeros(0, dtype=np.float32)  # at the device's rate

    async def reopen(self) -> None:
        await self.system.bring_back(self)

    async def close(self) -> None:
        self.flush()
        await self.stop()

    def opened(self, stream: Any) -> None:
        self.begin(float(stream.latency))

    def lose(self, gone: DeviceGone) -> None:
        Playout.lose(self, gone)

    def block(self, sound: npt.NDArray[np.float32], frames: int) -> None:
        now = time.monotonic()
        if self._to_device is None:
            sound[:] = self.take(frames, now)[:, None]
            return
        while len(self._ready) < frames:  # in steps, since the resampler holds some back
            made = self._to_device.feed(self.take(_STEP, now))
            self._ready = np.concatenate([self._ready, made])
        sound[:] = self._ready[:frames, None]
        self._ready = self._ready[frames:]

    def _device(self, name: str, rate: int, latency_s: float) -> None:
        self._name = name
        self._to_device = None if rate == WIRE_RATE else Resampler(WIRE_RATE, rate)
        self._ready = np.zeros(0, dtype=np.float32)
