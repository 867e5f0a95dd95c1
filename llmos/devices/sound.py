"""Sound devices: one interface for microphones and loudspeakers, whatever stands behind it.

A microphone gives 10 ms at a time, 16 kHz, with the time at which they were heard. A loudspeaker
takes sound at 24 kHz, not far ahead, and says how much of it has really sounded. ``Playout`` is
what every loudspeaker has in common. All of it is used from one asyncio loop, which it never holds
up; only ``Playout.take`` belongs to the device's own thread.

A device that goes raises ``DeviceGone`` once and can be opened again when it is back; what was
written before keeps its position.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from llmos.devices.audio import EAR_RATE, WIRE_RATE, Samples, clean
from llmos.devices.resample import Resampler
from llmos.errors import DeviceError

__all__ = [
    "EAR_FRAME",
    "Device",
    "DeviceGone",
    "Devices",
    "Heard",
    "Loudspeaker",
    "Microphone",
    "Playout",
    "SampleClock",
    "SoundSystem",
    "back_again",
]

#: Samples of what a microphone gives at once: 10 ms at 16 kHz.
EAR_FRAME: Final = EAR_RATE // 100
#: Seconds of sound that wait in a loudspeaker; what is more is waited for by who writes it.
AHEAD_S: Final = 0.2
#: Seconds between two looks whether a device is back.
LOOK_S: Final = 1.0
#: Seconds of what was handed over that ``Playout.reference`` still knows.
HISTORY_S: Final = 2.0
#: Seconds by which ``Playout.reference`` lags: longer than any resampler here needs, and shorter
#: than any loudspeaker and the way to a microphone.
LAG_S: Final = 0.005
#: Of a device's clock against this machine's; real ones stay within a tenth of it.
DRIFT: Final = 0.000_5
#: Seconds of lateness after which samples were lost rather than late.
JUMP_S: Final = 0.2


class DeviceGone(DeviceError):
    """The device was unplugged, switched off or taken away; ``reopen`` may bring it back."""

    code = "device_gone"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a microphone heard in 10 ms.

    Args:
        sound: Shape (160,), 16 kHz.
        at_s: When its first sample was heard, by ``time.monotonic``.
        lost: Samples that were lost right before it, since nobody took them in time.
    """

    sound: Samples
    at_s: float
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """One that can be chosen.

    Args:
        name: What it is chosen by.
        rate: Its own, in Hz.
        default: Whether it is what the system uses where none is chosen.
    """

    name: str
    rate: int
    default: bool = False


@dataclass(frozen=True, slots=True)
class Devices:
    """What there is.

    Args:
        missing: What is not there or may not be used: a sentence and its remedy each.
    """

    microphones: tuple[Device, ...]
    loudspeakers: tuple[Device, ...]
    missing: tuple[str, ...] = ()


class Microphone(Protocol):
    """A source of sound."""

    @property
    def name(self) -> str:
        """What it is called, for a person."""
        ...

    @property
    def deaf(self) -> str:
        """What to tell a person while it gives nothing at all, as one that may not be used."""
        ...

    def frames(self) -> AsyncIterator[Heard]:
        """What it hears from now on, without end but for a file's, or for ``close``.

        Raises:
            DeviceGone: It went. Ask again after ``reopen``.
        """
        ...

    async def reopen(self) -> None:
        """Take it up again after it went.

        Raises:
            DeviceGone: It is not back.
        """
        ...

    async def close(self) -> None:
        """Let go of it; ``frames`` ends. Safe to call twice."""
        ...


class Loudspeaker(Protocol):
    """A sink of sound. Positions count samples at 24 kHz, of what was written and not flushed."""

    @property
    def name(self) -> str:
        """What it is called, for a person."""
        ...

    @property
    def played(self) -> int:
        """How much has really sounded: what its buffers still hold is not in it."""
        ...

    @property
    def waiting(self) -> int:
        """Samples that were written and have not sounded."""
        ...

    async def write(self, sound: Samples) -> int:
        """Play ``sound`` after what was written before; waits until little of it is left to play.

        Args:
            sound: Shape (n,), 24 kHz.

        Returns:
            The position of its first sample. What a flush cut off of it is never played.

        Raises:
            DeviceGone: It went.
        """
        ...

    def flush(self) -> int:
        """Fall silent at once.

        Returns:
            The position up to which it will have sounded; the next sample written has this one.
        """
        ...

    async def drain(self) -> None:
        """Wait until all that was written has sounded, or was flushed.

        Raises:
            DeviceGone: It went.
        """
        ...

    def reference(self, at_s: float, count: int) -> Samples:
        """What it was given to play while a microphone heard something: for an echo canceller.

        Args:
            at_s: When that began, by ``time.monotonic``.
            count: Samples at 16 kHz.

        Returns:
            Shape (count,), 16 kHz; silence where nothing was played.
        """
        ...

    async def reopen(self) -> None:
        """Take it up again after it went; goes on with what was not handed to it.

        Raises:
            DeviceGone: It is not back.
        """
        ...

    async def close(self) -> None:
        """Fall silent and let go of it. Safe to call twice."""
        ...


async def back_again(
    device: Microphone | Loudspeaker,
    wanted: Callable[[], bool] = lambda: True,
    look_s: float = LOOK_S,
) -> bool:
    """Wait until a device that went is back and open; whether it is, and still ``wanted``."""
    while wanted():
        try:
            await device.reopen()
        except DeviceGone:
            await asyncio.sleep(look_s)
        else:
            return True
    return False


class SoundSystem(Protocol):
    """What devices are chosen from."""

    async def devices(self) -> Devices:
        """What there is now, whatever was there before."""
        ...

    async def microphone(self, name: str = "") -> Microphone:
        """Open one.

        Args:
            name: As ``devices`` has it, or a part of that; empty for the system's own choice.

        Raises:
            DeviceError: There is none of that name, or it does not open.
        """
        ...

    async def loudspeaker(self, name: str = "") -> Loudspeaker:
        """Open one; as ``microphone``."""
        ...

    async def close(self) -> None:
        """Close all that is open."""
        ...


class SampleClock:
    """When each sample of a device was due, told from when its blocks came.

    A block comes late, never early, so the earliest one tells; a device's own clock may still run
    a little slower than this machine's.

    Args:
        rate: Samples a second.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self.reset()

    def reset(self) -> None:
        """The device stood still: forget when its samples were due."""
        self._start: float | None = None
        self._last = 0.0

    def tick(self, count: int, now: float) -> None:
        """``count`` samples, of all so far, had passed at ``now`` or a little before."""
        start = now - count / self._rate
        if self._start is None or start - self._start > JUMP_S:
            self._start = start
        else:
            self._start = min(self._start + DRIFT * (now - self._last), start)
        self._last = now

    def at(self, index: int) -> float:
        """When the sample ``index`` was due; 0 before the first ``tick``."""
        return (self._start or 0.0) + index / self._rate

    def index(self, at_s: float) -> float:
        """Which sample is due at ``at_s``; minus infinity before the first ``tick``."""
        return float("-inf") if self._start is None else (at_s - self._start) * self._rate


@dataclass(slots=True)
class _Run:
    """A stretch of what was written, as the device got it: ``count`` samples without a gap."""

    handed: int  # where it begins in all that the device got, silence included
    written: int  # where it begins in what was written
    count: int


class Playout:
    """What waits to be played, and how much of it has sounded: a loudspeaker but for its device.

    Written on the loop of whoever made it; taken by the device, from any thread.

    Args:
        name: Of the device.
        latency_s: From ``take`` until it sounds.
        stalled_s: Without a ``take`` while somebody waits for one, after which the device counts
            as gone; None: it may take its time.
    """

    def __init__(
        self, name: str, *, latency_s: float = 0.0, stalled_s: float | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._name = name
        self._latency_s = latency_s
        self._stalled_s = stalled_s
        self._gone: DeviceGone | None = None
        self._taken = asyncio.Event()
        self._writing = asyncio.Lock()
        self._lock = threading.Lock()  # guards all below
        self._awaited = False
        self._flushes = 0
        self._queue: deque[Samples] = deque()
        self._queued = 0  # samples in it
        self._written = 0  # samples that ever were in the queue and were not flushed
        self._handed = 0  # samples the device got, silence included
        self._runs: deque[_Run] = deque()
        self._sounded = 0  # of what was written
        self._clock = SampleClock(WIRE_RATE)
        self._resampler = Resampler(WIRE_RATE, EAR_RATE)
        self._fresh: deque[Samples] = deque()  # handed over, and not in the history yet
        self._fresh_from: int | None = None  # where it begins, if not where the history ends
        self._history: Samples = np.zeros(0, dtype=np.float32)  # 16 kHz
        self._history_end = 0  # index of the sample after its last

    # --- a loudspeaker ----------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._name

    @property
    def played(self) -> int:
        with self._lock:
            self._sound(self._now())
            return self._sounded

    @property
    def waiting(self) -> int:
        with self._lock:
            self._sound(self._now())
            return self._written - self._sounded

    async def write(self, sound: Samples) -> int:
        async with self._writing:
            with self._lock:
                flushes, first = self._flushes, self._written
            place = 0
            while place < len(sound):
                await self._until(lambda: self._flushes != flushes or self._room() > 0)
                with self._lock:
                    if self._flushes != flushes:
                        break
                    piece = clean(sound[place : place + self._room()])
                    self._queue.append(piece)
                    self._queued += len(piece)
                    self._written += len(piece)
                place += len(piece)
                self._put()
            return first

    def flush(self) -> int:
        with self._lock:
            self._flushes += 1
            self._written -= self._queued
            self._queue.clear()
            self._queued = 0
            position = self._written
        self._taken.set()
        return position

    async def drain(self) -> None:
        async with self._writing:
            await self._until(lambda: self.waiting == 0)

    def reference(self, at_s: float, count: int) -> Samples:
        with self._lock:
            fresh, self._fresh = self._fresh, deque()
            begins, self._fresh_from = self._fresh_from, None
            index = self._clock.index(at_s - LAG_S) * EAR_RATE / WIRE_RATE
        if begins is not None:
            self._resampler.reset()
            self._history = self._history[:0]
            self._history_end = round(begins * EAR_RATE / WIRE_RATE)
        known = [self._history, *(self._resampler.feed(chunk) for chunk in fresh)]
        self._history_end += sum(map(len, known[1:]))
        self._history = np.concatenate(known)[-round(HISTORY_S * EAR_RATE) :]
        out = np.zeros(count, dtype=np.float32)
        start = round(max(index, -1e9)) - (self._history_end - len(self._history))
        first, last = max(start, 0), min(start + count, len(self._history))
        if first < last:
            out[first - start : last - start] = self._history[first:last]
        return out

    # --- the device's side ------------------------------------------------------------------

    def take(self, count: int, now: float) -> Samples:
        """The next ``count`` samples to sound; silence where none are left. From any thread.

        Args:
            now: By ``time.monotonic``.
        """
        out = np.zeros(count, dtype=np.float32)
        done = 0
        with self._lock:
            self._clock.tick(self._handed, now)
            self._sound(now)
            first = self._written - self._queued
            while done < count and self._queue:
                chunk = self._queue.popleft()
                piece = chunk[: count - done]
                if len(piece) < len(chunk):
                    self._queue.appendleft(chunk[len(piece) :])
                out[done : done + len(piece)] = piece
                done += len(piece)
            if done:
                self._note(first, done)
            self._queued -= done
            if len(self._fresh) * count > HISTORY_S * WIRE_RATE:  # nobody asks for it
                self._fresh.clear()
                self._fresh_from = self._handed
            self._fresh.append(out)
            self._handed += count
            awaited, self._awaited = self._awaited, False
        if awaited:
            try:
                self._loop.call_soon_threadsafe(self._taken.set)
            except RuntimeError:  # the loop was closed, and the device has not heard of it yet
                pass
        return out

    def lose(self, gone: DeviceGone) -> None:
        """The device went; who waits for it is told. On the loop."""
        self._gone = gone
        self._taken.set()

    def begin(self, latency_s: float) -> None:
        """The device is there, for the first time or once more. On the loop."""
        with self._lock:
            self._gone = None
            self._latency_s = latency_s
            self._clock.reset()
            if self._runs:  # what it got before it went is over
                self._sounded = self._runs[-1].written + self._runs[-1].count
                self._runs.clear()

    def _now(self) -> float:
        """The device's time; that of ``time.monotonic``, but for one that makes its own."""
        return time.monotonic()

    def _put(self) -> None:
        """Something was written. For a device that takes it at once."""

    def _room(self) -> int:
        return max(0, round(AHEAD_S * WIRE_RATE) - self._queued)

    def _note(self, written: int, count: int) -> None:
        """``count`` samples, from the position ``written`` on, are handed over; with the lock."""
        last = self._runs[-1] if self._runs else None
        follows = last and (last.handed + last.count, last.written + last.count)
        if last and follows == (self._handed, written):
            last.count += count
        else:
            self._runs.append(_Run(self._handed, written, count))

    def _sound(self, now: float) -> None:
        """Bring ``_sounded`` up to ``now``; with the lock."""
        due = min(self._clock.index(now - self._latency_s), self._handed)
        while self._runs and self._runs[0].handed < due:
            run = self._runs[0]
            passed = min(int(due + 1e-6) - run.handed, run.count)
            self._sounded = max(self._sounded, run.written + passed)
            if passed < run.count:
                break
            self._runs.popleft()

    async def _until(self, ready: Callable[[], bool]) -> None:
        """Look after each ``take`` and each ``flush``.

        Raises:
            DeviceGone: It went, or takes no sound any more.
        """
        while True:
            self._taken.clear()
            with self._lock:
                self._awaited = True
            if self._gone is not None:
                raise self._gone
            if ready():
                return
            try:
                async with asyncio.timeout(self._stalled_s):
                    await self._taken.wait()
            except TimeoutError:
                self._gone = DeviceGone(
                    f"The loudspeaker {self._name} takes no sound any more.",
                    remedy="Plug it in again, or choose another one.",
                )
