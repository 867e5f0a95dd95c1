"""Long sound written down: stretch by stretch, at the rests of whoever speaks, in bounded memory.

What a detector takes for speech is cut out, so that the recogniser is never asked about silence,
and is given to it in stretches of at most its own window. A stretch ends at the longest rest there
is to end it at. Knows neither files nor models.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from llmos.devices.audio import EAR_RATE, Frames, Samples
from llmos.devices.listening import WINDOW_S, Transcribe
from llmos.devices.partials import HeardWord
from llmos.devices.segmenter import Segmenter, SpeechStarted, SpeechStopped
from llmos.devices.vad import FRAME, SpeechDetector

__all__ = ["Segment", "transcribe"]

#: Seconds of silence within a stretch; after more another one begins.
REST_S: Final = 1.5
#: Seconds kept of the silence after a stretch: the last sound of a word is soft.
AFTER_S: Final = 0.3
#: Seconds of a stretch after which the next rest ends it, however short.
FULL_S: Final = 20.0
#: Seconds of a stretch at most; then it ends at its quietest moment.
MOST_S: Final = WINDOW_S - 1.0
#: Seconds at the end of a stretch in which that moment is looked for.
SEAM_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech.

    Args:
        start_s / end_s: In seconds from the beginning of the sound.
        text: What was said.
        words: With their times from the beginning of the sound.
        language: As in ``en``; empty where it is not known.
    """

    start_s: float
    end_s: float
    text: str
    words: tuple[HeardWord, ...]
    language: str


async def transcribe(
    sound: AsyncIterator[Samples],
    detector: SpeechDetector,
    recogniser: Transcribe,
    *,
    language: str = "",
) -> AsyncIterator[Segment]:
    """Write down ``sound``.

    Args:
        sound: Chunks of any length, 16 kHz.
        language: Of the words; empty takes each stretch's as it comes.

    Raises:
        LlmosError: It cannot be transcribed.
    """
    stretches = _Stretches(detector)
    frames = Frames(FRAME)
    async for chunk in sound:
        for frame in frames.feed(chunk):
            for start, stretch in stretches.feed(frame):
                if segment := await _written(start, stretch, recogniser, language):
                    yield segment
    rest = frames.flush()
    if len(rest):
        rest = np.pad(rest, (0, FRAME - len(rest)))
        for start, stretch in stretches.feed(rest):
            if segment := await _written(start, stretch, recogniser, language):
                yield segment
    for start, stretch in stretches.flush():
        if segment := await _written(start, stretch, recogniser, language):
            yield segment


async def _written(
    start: int, sound: Samples, recogniser: Transcribe, language: str
) -> Segment | None:
    found = await recogniser(sound, language=language, final=True)
    offset = start / EAR_RATE
    words = tuple(
        replace(word, start_s=word.start_s + offset, end_s=word.end_s + offset)
        for word in found.words
    )
    text = "".join(word.text for word in words).strip()
    if not text:
        return None
    return Segment(words[0].start_s, words[-1].end_s, text, words, found.language or language)


class _Stretches:
    """Frames in, stretches of speech out: the sample each begins with, and its sound."""

    def __init__(self, detector: SpeechDetector) -> None:
        self._detector = detector
        self._segmenter = Segmenter()
        self._frames: list[Samples] = []  # from ``_first`` on
        self._first = 0  # the frame of the stream that they begin with
        self._start: int | None = None  # the sample that the stretch begins with
        self._end = 0  # the sample after the last speech in it

    def feed(self, frame: Samples) -> list[tuple[int, Samples]]:
        self._frames.append(frame)
        heard = self._segmenter.feed(self._detector.probability(frame))
        if isinstance(heard, SpeechStarted) and self._start is None:
            self._start = max(heard.padded, self._first * FRAME)
        if isinstance(heard, SpeechStopped):
            self._end = heard.end
        if self._start is None:
            self._let_go(self._segmenter.position - EAR_RATE)  # a second before the next onset
            return []
        return self._cut()

    def flush(self) -> list[tuple[int, Samples]]:
        """The stretch under way, if there is one."""
        if isinstance(stopped := self._segmenter.flush(), SpeechStopped):
            self._end = stopped.end
        return [] if self._start is None else [self._take(self._end)]

    def _cut(self) -> list[tuple[int, Samples]]:
        assert self._start is not None
        at = self._segmenter.position
        if self._segmenter.speaking:
            if at - self._start < MOST_S * EAR_RATE:
                return []
            seam = self._quietest(at)
            cut = self._take(seam, after_s=0.0)
            self._start = seam  # whoever speaks goes on
            return [cut]
        rest = at - self._end
        full = self._end - self._start > FULL_S * EAR_RATE
        return [self._take(self._end)] if full or rest > REST_S * EAR_RATE else []

    def _take(self, end: int, after_s: float = AFTER_S) -> tuple[int, Samples]:
        assert self._start is not None
        start, self._start = self._start, None
        sound = np.concatenate(self._frames)
        offset = self._first * FRAME
        until = min(end + round(after_s * EAR_RATE), offset + len(sound))
        until = min(until, start + round(WINDOW_S * EAR_RATE))
        cut = sound[start - offset : until - offset]
        self._let_go(end)
        return start, cut

    def _quietest(self, at: int) -> int:
        """Where to cut speech that does not end."""
        count = round(SEAM_S * EAR_RATE / FRAME)
        levels = [float(np.square(frame).mean()) for frame in self._frames[-count:]]
        return at - (len(levels) - int(np.argmin(levels))) * FRAME

    def _let_go(self, before: int) -> None:
        """Forget the frames that lie before a sample."""
        gone = max(0, before // FRAME - self._first)
        del self._frames[:gone]
        self._first += gone
