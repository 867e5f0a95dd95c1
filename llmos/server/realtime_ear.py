"""What a Realtime client says, from chunks of any size at 24 kHz to a listener's frames.

Between two chunks the loop has its turn, so that a flood of them holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from llmos import limits
from llmos.devices.audio import EAR_RATE, WIRE_RATE, Frames, Samples
from llmos.devices.listening import HeardEvent, Listener, Transcribe
from llmos.devices.resample import Resampler
from llmos.devices.segmenter import START
from llmos.devices.vad import FRAME, SpeechDetector

__all__ = ["Detection", "Ear"]

_LEAST_S: Final = 0.1  # of sound, for a commit


@dataclass(frozen=True, slots=True)
class Detection:
    """How turns are told.

    Args:
        automatic: Whether silence ends them; else the client does.
        silence_s: The silence that does, in seconds; None: by what was said, and who says it.
        patience: By which that is longer than usual.
        threshold: The probability at which speech begins, in (0, 1).
    """

    automatic: bool = True
    silence_s: float | None = None
    patience: float = 1.0
    threshold: float = START


class Ear:
    """Hears one connection. Used from the asyncio loop only.

    Args:
        detector: Of speech, for this connection alone.
        transcribe: The recogniser.
        tell: Gets every event of the turns.
        language: To listen for; empty takes it as it comes.
        detection: How turns are told.
    """

    def __init__(
        self,
        detector: SpeechDetector,
        transcribe: Transcribe,
        tell: Callable[[HeardEvent], None],
        *,
        language: str,
        detection: Detection,
    ) -> None:
        self.language = language
        self._listener = Listener(detector, transcribe, tell, language=language)
        self.detects(detection)
        self._begin()
        self._since_s = 0.0  # of sound since the last commit

    def _begin(self) -> None:
        self._resampler = Resampler(WIRE_RATE, EAR_RATE)
        self._frames = Frames(FRAME)

    @property
    def turn(self) -> int:
        """The number of the turn under way; 0 where there is none."""
        return self._listener.turn

    @property
    def empty(self) -> bool:
        """Whether there is too little to be committed."""
        return self._since_s < _LEAST_S

    def detects(self, detection: Detection) -> None:
        """Have turns told as a client wants it."""
        self._listener.automatic = detection.automatic
        self._listener.endpointer.patience = detection.patience
        self._listener.endpointer.silence_s = detection.silence_s
        self._listener.segmenter.hears_from(detection.threshold)

    async def hear(self, sound: Samples) -> None:
        """Hear more, at 24 kHz; the loop has its turn now and then."""
        self._since_s += len(sound) / WIRE_RATE
        for start in range(0, len(sound), WIRE_RATE):
            piece = self._resampler.feed(sound[start : start + WIRE_RATE])
            await self._feed(self._frames.feed(piece))

    @property
    def position(self) -> int:
        """Samples heard so far, at 16 kHz."""
        return self._listener.position

    async def flush(self) -> None:
        """Hear what is no whole frame yet: no more sound belongs to it."""
        piece = self._frames.feed(self._resampler.flush())
        rest = self._frames.flush()
        if len(rest):
            piece.append(np.pad(rest, (0, FRAME - len(rest))).astype(np.float32))
        await self._feed(piece)
        self._begin()

    def over(self) -> None:
        """The turn is over: a key was let go."""
        self._since_s = 0.0
        self._listener.over()

    def drop(self, *, turn: bool) -> None:
        """Forget what was said since the last commit.

        Args:
            turn: The turn under way, too.
        """
        if turn:
            self._listener.drop()
        self._begin()
        self._since_s = 0.0

    async def close(self) -> None:
        """Hear nothing any more."""
        await self._listener.close()

    async def _feed(self, frames: list[Samples]) -> None:
        for number, frame in enumerate(frames, 1):
            self._listener.feed(frame)
            if number % limits.REALTIME_SLICE == 0:
                await asyncio.sleep(0)
        if frames:
            await asyncio.sleep(0)
