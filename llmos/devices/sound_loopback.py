"""A microphone and a loudspeaker in a room that is computed: for tests, benchmarks and rehearsals.

The microphone hears what is said to it and, later and fainter, what the loudspeaker plays. Time
passes while the microphone is listened to: at the pace of a clock, or as fast as it is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

import numpy as np

from llmos.devices.audio import EAR_RATE, WIRE_RATE, Samples, clean
from llmos.devices.resample import Resampler
from llmos.devices.sound import EAR_FRAME, DeviceGone, Heard, Playout

__all__ = ["Loopback", "room_response"]

#: Samples at 24 kHz in one frame.
_STEP: Final = EAR_FRAME * WIRE_RATE // EAR_RATE
#: Seconds of echo delay: less than a resampler needs cannot be, and more is no room.
SHORTEST_S: Final = 0.005
LONGEST_S: Final = 0.5


def room_response(reverb_s: float, seed: int = 0) -> Samples:
    """What a room makes of a click: the click, and an echo that has fallen by 60 dB at the end.

    Args:
        reverb_s: Its length; 0 for an open field.
        seed: Another one, another room.
    """
    count = max(1, round(reverb_s * EAR_RATE))
    rng = np.random.default_rng(seed)
    out = 0.1 * rng.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    out[0] = 1.0
    return out.astype(np.float32)


class Loopback:
    """The room.

    Args:
        delay_s: From the loudspeaker's being handed sound until the microphone hears it.
        gain: Of the echo; 0 for headphones.
        response: The room's, at 16 kHz, as of ``room_response``.
        noise: Root mean square of what the microphone hears all the time.
        realtime: Time passes as the clock has it; else as fast as the microphone is read.

    Raises:
        ValueError: A delay of less than 5 ms or more than 0.5 s.
    """

    def __init__(
        self,
        *,
        delay_s: float = 0.06,
        gain: float = 0.3,
        response: Samples | None = None,
        noise: float = 0.0,
        realtime: bool = False,
    ) -> None:
        if not SHORTEST_S <= delay_s <= LONGEST_S:
            raise ValueError(f"a delay of {delay_s} s; {SHORTEST_S} to {LONGEST_S} s are possible")
        self._delay = round(delay_s * EAR_RATE)
        self._gain = gain
        self._response = room_response(0) if response is None else response
        self._noise = noise
        self._random = np.random.default_rng(0)
        self._realtime = realtime
        self._began = time.monotonic()
        self._frames = 0
        self._air: Samples = np.zeros(0, dtype=np.float32)  # what will be heard, from now on
        self._echo_at = self._delay  # in it, where the next echo begins
        self._resampler = Resampler(WIRE_RATE, EAR_RATE)
        self._present = True
        self.loudspeaker = _Loudspeaker(self)
        self.microphone = _Microphone(self)

    @property
    def now_s(self) -> float:
        """The room's time, which stands for that of ``time.monotonic``."""
        return self._began + self._frames * EAR_FRAME / EAR_RATE

    def say(self, sound: Samples, after_s: float = 0.0) -> None:
        """Say something to the microphone.

        Args:
            sound: Shape (n,), 16 kHz.
            after_s: From now until it begins.
        """
        self._mix(sound, round(after_s * EAR_RATE))

    def unplug(self) -> None:
        """Both devices go, until ``plug``."""
        self._present = False
        self.loudspeaker.lose(self._gone())

    def plug(self) -> None:
        """They are back, and can be opened again."""
        self._present = True
        if self._realtime:  # what passed without them is not made up for
            self._began += max(0.0, time.monotonic() - self.now_s)

    # --- what the devices need --------------------------------------------------------------

    def _gone(self) -> DeviceGone:
        return DeviceGone("The sound devices were unplugged.", remedy="Plug them in again.")

    async def _step(self) -> Heard:
        """Let 10 ms pass.

        Raises:
            DeviceGone: There are no devices.
        """
        due_s = self._began + (self._frames + 1) * EAR_FRAME / EAR_RATE
        await asyncio.sleep(max(0.0, due_s - time.monotonic()) if self._realtime else 0)
        if not self._present:
            raise self._gone()
        at_s = self.now_s
        played = self._resampler.feed(self.loudspeaker.take(_STEP, at_s))
        echo = np.convolve(played, self._response) if len(played) else played
        self._mix(np.float32(self._gain) * echo.astype(np.float32), self._echo_at)
        self._echo_at += len(played) - EAR_FRAME
        self._mix(np.zeros(EAR_FRAME, dtype=np.float32), 0)
        frame, self._air = self._air[:EAR_FRAME], self._air[EAR_FRAME:]
        if self._noise:
            frame = frame + self._random.normal(0, self._noise, EAR_FRAME).astype(np.float32)
        self._frames += 1
        return Heard(clean(frame), at_s)

    def _mix(self, sound: Samples, at: int) -> None:
        """Add ``sound`` to what will be heard, ``at`` samples from now."""
        missing = at + len(sound) - len(self._air)
        if missing > 0:
            self._air = np.concatenate([self._air, np.zeros(missing, dtype=np.float32)])
        self._air[at : at + len(sound)] += sound


class _Loudspeaker(Playout):
    def __init__(self, room: Loopback) -> None:
        super().__init__("loopback")
        self._around = room

    def _now(self) -> float:
        return self._around.now_s

    async def reopen(self) -> None:
        if not self._around._present:
            raise self._around._gone()
        self.begin(0.0)

    async def close(self) -> None:
        self.flush()


class _Microphone:
    def __init__(self, room: Loopback) -> None:
        self._room = room
        self._closed = False

    @property
    def name(self) -> str:
        return "loopback"

    @property
    def deaf(self) -> str:
        return ""

    async def frames(self) -> AsyncIterator[Heard]:
        while not self._closed:
            yield await self._room._step()

    async def reopen(self) -> None:
        if not self._room._present:
            raise self._room._gone()

    async def close(self) -> None:
        self._closed = True
