"""Where speech begins and stops, to the sample.

Probabilities of single frames flicker. Speech begins when they rise above one threshold and stay
there for a while, and stops when they fall below a lower one and stay there (hysteresis). A click
or a cough is over before it counts. What a stop is good for (a pause, the end of a turn) is decided
in ``endpoint.py``: stops here come early, and a pause in a sentence is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from llmos.devices.audio import EAR_RATE
from llmos.devices.vad import FRAME

__all__ = ["Segmenter", "SegmenterSettings", "SpeechStarted", "SpeechStopped"]

#: Probability at which speech may begin, and below which it may stop. Silero's own defaults.
START: Final = 0.5
STOP: Final = 0.35
#: Seconds of speech before it counts. A click has 10 ms, "no" and "stop" 200 and more.
MIN_SPEECH_S: Final = 0.128
#: Seconds below ``STOP`` before speech has stopped; a "t" or "k" holds its breath for 100 ms.
MIN_SILENCE_S: Final = 0.192
#: Seconds kept before the onset: the detector misses a soft "h" or "f" at a word's beginning.
PADDING_S: Final = 0.3
#: Of the frames of a beginning, so many may lie below ``START``: words flicker.
FLICKER: Final = 1


@dataclass(frozen=True, slots=True)
class SegmenterSettings:
    """What is a beginning and what an end. Times in seconds, probabilities in [0, 1]."""

    start: float = START
    stop: float = STOP
    min_speech_s: float = MIN_SPEECH_S
    min_silence_s: float = MIN_SILENCE_S
    padding_s: float = PADDING_S

    def __post_init__(self) -> None:
        if not 0 < self.stop <= self.start < 1:
            raise ValueError(f"0 < stop ({self.stop}) <= start ({self.start}) < 1 must hold")
        if min(self.min_speech_s, self.min_silence_s, self.padding_s) < 0:
            raise ValueError("times are not negative")


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks.

    Args:
        onset: The first sample of the first frame that was speech.
        padded: From which sample on the sound is worth keeping; never before the last stop.
        known: The sample up to which it had to be listened to know.
    """

    onset: int
    padded: int
    known: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """Nobody speaks any more.

    Args:
        onset: Of the speech that stopped.
        end: The sample after the last frame that was speech.
        known: The sample up to which it had to be listened to know.
    """

    onset: int
    end: int
    known: int


class Segmenter:
    """Speech in one stream of frames, counted in samples from its beginning.

    Args:
        frame: Samples that one probability stands for.
        rate: Samples a second.
    """

    def __init__(
        self, settings: SegmenterSettings | None = None, *, frame: int = FRAME, rate: int = EAR_RATE
    ) -> None:
        self._settings = settings or SegmenterSettings()
        self._frame = frame
        self._min_speech = max(1, ceil(self._settings.min_speech_s * rate / frame))
        self._min_silence = max(1, ceil(self._settings.min_silence_s * rate / frame))
        self._padding = round(self._settings.padding_s * rate)
        self._at = 0  # samples so far
        self._speaking = False
        self._onset = 0
        self._end = 0  # behind the last frame that was speech
        self._loud = 0  # frames at or above the start threshold since the onset
        self._candidate_end = 0  # behind the last of them
        self._before = 0  # the last stop; no padding reaches back over it

    def hears_from(self, start: float) -> None:
        """Take another probability for the one at which speech may begin, in (0, 1)."""
        stop = min(self._settings.stop, start)
        self._settings = replace(self._settings, start=start, stop=stop)

    @property
    def speaking(self) -> bool:
        return self._speaking

    @property
    def position(self) -> int:
        """Samples heard so far."""
        return self._at

    @property
    def silence(self) -> int:
        """Samples since the last frame that was speech; all of them where there was none."""
        return self._at - self._end

    def feed(self, probability: float) -> SpeechStarted | SpeechStopped | None:
        """Take the next frame's probability; NaN counts as no speech."""
        start = self._at
        self._at += self._frame
        loud = probability >= self._settings.start
        if self._speaking:
            return self._go_on(probability >= self._settings.stop)
        if loud:
            if not self._loud:
                self._onset = start
            self._loud += 1
            self._candidate_end = self._at
        elif self._loud and self._at - self._candidate_end > FLICKER * self._frame:
            self._loud = 0  # a click, a cough: over before it counted
        if not loud or self._loud < self._min_speech:
            return None
        self._speaking = True
        self._end = self._at
        return SpeechStarted(
            self._onset, max(self._before, self._onset - self._padding), known=self._at
        )

    def flush(self) -> SpeechStopped | None:
        """The stream is over; speech that goes on until here stops here."""
        if not self._speaking:
            self._loud = 0
            return None
        return self._stop()

    def _go_on(self, heard: bool) -> SpeechStopped | None:
        if heard:
            self._end = self._at
            return None
        if self._at - self._end < self._min_silence * self._frame:
            return None
        return self._stop()

    def _stop(self) -> SpeechStopped:
        self._speaking = False
        self._loud = 0
        self._before = self._end
        return SpeechStopped(self._onset, self._end, known=self._at)
