"""From frames of sound to what a person says: the words as they grow, and when the turn is over.

The stream is cut by ``segmenter.py`` and transcribed again and again while somebody speaks
(``partials.py``); from silence and words together ``endpoint.py`` tells when an answer may be begun
and when it may be heard. Until it may be heard the person can go on, and it is still the same turn.

Time is counted in samples of the stream, so a listener hears a file as it hears a microphone. Every
event carries the number of its turn: what comes late for a turn that is over is dropped here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from llmos.devices.audio import EAR_RATE, Samples
from llmos.devices.endpoint import Endpointer
from llmos.devices.partials import HeardWord, LocalAgreement, Pace
from llmos.devices.segmenter import Segmenter, SpeechStarted, SpeechStopped
from llmos.devices.vad import FRAME, SpeechDetector
from llmos.errors import DeviceError, LlmosError

__all__ = [
    "HeardEvent",
    "Listener",
    "Transcribe",
    "Transcript",
    "TurnBegan",
    "TurnEmpty",
    "TurnFailed",
    "TurnGrew",
    "TurnLikelyOver",
    "TurnOver",
    "TurnWentOn",
]

log = logging.getLogger(__name__)

#: Seconds of sound before the onset that are kept while nobody speaks.
BEFORE_S: Final = 1.0
#: Seconds after which a turn ends although somebody still speaks: a radio left on.
LONGEST_TURN_S: Final = 600.0
#: Seconds of sound that a recogniser is given at once, its own window. Where more waits, since
#: sound comes faster than it is transcribed, one window after the other is; a word that ends so
#: shortly before a window's end may go on behind it.
WINDOW_S: Final = 30.0
CUT_S: Final = 1.0

_LOST: Final = "What you said could not be written down; the log has the details."


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recogniser makes of a stretch of sound.

    Args:
        words: Their times are seconds from the beginning of that stretch.
        language: As in ``en``; empty where it is not known.
    """

    words: tuple[HeardWord, ...]
    language: str = ""


class Transcribe(Protocol):
    """A recogniser."""

    async def __call__(self, sound: Samples, *, language: str, final: bool) -> Transcript:
        """The words in ``sound``, 16 kHz; none where nobody speaks.

        Args:
            sound: Shape (n,).
            language: Of the words, where it is known.
            final: Nobody speaks any more: worth more care than a guess in between.

        Raises:
            LlmosError: It cannot be transcribed.
        """
        ...


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """Something about a turn. Turns are counted from 1."""

    turn: int


@dataclass(frozen=True, slots=True)
class TurnBegan(HeardEvent):
    """Somebody speaks, since ``onset`` (in samples of the stream)."""

    onset: int


@dataclass(frozen=True, slots=True)
class TurnGrew(HeardEvent):
    """What is known of the words now.

    Args:
        text: All of it.
        settled: How many characters of ``text``, from the first, will not change any more.
        language: As in ``en``.
    """

    text: str
    settled: int
    language: str


@dataclass(frozen=True, slots=True)
class TurnLikelyOver(HeardEvent):
    """An answer to ``text`` may be computed, but not be heard yet."""

    text: str
    language: str


@dataclass(frozen=True, slots=True)
class TurnWentOn(HeardEvent):
    """It was not over: what was computed is not wanted."""


@dataclass(frozen=True, slots=True)
class TurnOver(HeardEvent):
    """The person has said ``text``, and waits.

    Args:
        words: With their times in the stream, in seconds.
        end: The sample after the last that was speech.
    """

    text: str
    language: str
    words: tuple[HeardWord, ...]
    end: int


@dataclass(frozen=True, slots=True)
class TurnEmpty(HeardEvent):
    """It was no speech after all: a cough, a door."""


@dataclass(frozen=True, slots=True)
class TurnFailed(HeardEvent):
    """What was said could not be transcribed; it is lost, and the person must be told."""

    error: LlmosError


class _Turn:
    """A turn under way.

    Args:
        number: Counted from 1.
        start: The sample of the stream that its sound begins with.
        sound: What was heard of it already.
        language: Of its words, where it is known.
    """

    def __init__(self, number: int, start: int, sound: list[Samples], language: str) -> None:
        self.number = number
        self.start = start
        self.language = language
        self.agreement = LocalAgreement()
        self.pace = Pace()
        self.likely = False  # told that an end is
        self.said_over = False  # by whoever speaks: no silence is waited for
        self._sound = sound  # frames
        self._gone = 0  # frames of it that were let go

    def hear(self, frame: Samples) -> None:
        self._sound.append(frame)

    def sound(self, from_s: float, to_s: float) -> Samples:
        """The sound between two times, in seconds from its beginning; what is before is let go."""
        first = int(from_s * EAR_RATE) // FRAME
        if first > self._gone:
            del self._sound[: first - self._gone]
            self._gone = first
        offset = self._gone * FRAME
        sound = np.concatenate(self._sound)
        return sound[round(from_s * EAR_RATE) - offset : round(to_s * EAR_RATE) - offset]


class Listener:
    """Hears one microphone. Used from the asyncio loop only.

    Args:
        detector: Of speech, for this stream alone.
        transcribe: The recogniser.
        tell: Gets every event, in order, on the loop.
        endpointer: Of this speaker.
        language: To listen for; empty takes the language as it comes.
        automatic: Whether silence ends a turn; otherwise ``over`` does (push to talk).
    """

    def __init__(
        self,
        detector: SpeechDetector,
        transcribe: Transcribe,
        tell: Callable[[HeardEvent], None],
        *,
        endpointer: Endpointer | None = None,
        language: str = "",
        automatic: bool = True,
    ) -> None:
        self._detector = detector
        self._transcribe = transcribe
        self._tell = tell
        self.endpointer = endpointer or Endpointer()  #: tells the end of a turn
        self._language = language
        self.automatic = automatic
        self.segmenter = Segmenter()  #: tells speech from silence
        self._before: deque[Samples] = deque(maxlen=round(BEFORE_S * EAR_RATE / FRAME))
        self._turn: _Turn | None = None
        self._turns = 0
        self._stopped = 0  # the sample after the last speech
        self._work: asyncio.Task[None] | None = None
        self.probability = 0.0  # of speech in the last frame

    @property
    def position(self) -> int:
        """Samples heard so far."""
        return self.segmenter.position

    @property
    def turn(self) -> int:
        """The number of the turn under way; 0 where there is none."""
        return self._turn.number if self._turn else 0

    def feed(self, frame: Samples) -> None:
        """Hear a frame of 512 samples."""
        self.probability = self._detector.probability(frame)
        heard = self.segmenter.feed(self.probability)
        turn = self._turn
        if turn is None:
            self._before.append(frame)
            if isinstance(heard, SpeechStarted):
                self._begin(heard)
            return
        turn.hear(frame)
        if isinstance(heard, SpeechStopped):
            self._stopped = heard.end
        elif isinstance(heard, SpeechStarted):
            self._go_on(turn, heard)
        self._look(turn)

    def over(self) -> None:
        """The person says that they are done (a key was let go, a buffer committed)."""
        if self._turn is not None:
            self._turn.said_over = True
            self._look(self._turn)

    def drop(self) -> None:
        """Forget the turn under way: it was an echo, or nobody wants it.

        Whoever speaks on begins another.
        """
        self.segmenter.flush()
        self._turn = None

    def end_of_stream(self) -> None:
        """No more sound will come; a turn under way is over."""
        self.segmenter.flush()
        self.over()

    async def close(self) -> None:
        """Stop listening; nothing is told any more."""
        work, self._work, self._turn = self._work, None, None
        if work is not None:
            work.cancel()
            await asyncio.wait({work})

    # --- a turn -----------------------------------------------------------------------------

    def _begin(self, started: SpeechStarted) -> None:
        self._turns += 1
        kept = list(self._before)
        self._before.clear()
        start = self.position - FRAME * len(kept)
        early = max(0, started.padded - start) // FRAME  # frames that nobody spoke in
        turn = _Turn(self._turns, start + early * FRAME, kept[early:], self._language)
        self._turn = turn
        self._tell(TurnBegan(turn.number, started.onset))

    def _go_on(self, turn: _Turn, started: SpeechStarted) -> None:
        turn.pace.spoke()
        self.endpointer.resumed((started.onset - self._stopped) / EAR_RATE)
        if turn.likely:
            turn.likely = False
            self._tell(TurnWentOn(turn.number))

    def _look(self, turn: _Turn) -> None:
        """Have transcribed what is worth it, and judge whether the turn is over."""
        heard_s = (self.position - turn.start) / EAR_RATE
        if heard_s > LONGEST_TURN_S:
            turn.said_over = True
        if self._work is not None:
            return
        final = turn.said_over or not self.segmenter.speaking
        if turn.pace.due(heard_s, speaking=not final):
            self._work = asyncio.create_task(self._hear(turn, heard_s, final))
            self._work.add_done_callback(self._done)
        elif final:
            self._judge(turn)

    def _judge(self, turn: _Turn) -> None:
        """Everything up to now is transcribed, and nobody speaks."""
        text = turn.agreement.text
        silence_s = self.segmenter.silence / EAR_RATE
        judged = self.endpointer.judge(silence_s, text, turn.language)
        if turn.said_over or (self.automatic and judged.sure):
            self._finish(turn)
        elif judged.likely and self.automatic and text and not turn.likely:
            turn.likely = True
            self._tell(TurnLikelyOver(turn.number, text, turn.language))

    def _finish(self, turn: _Turn) -> None:
        turn.agreement.finish()
        words, text = turn.agreement.committed, turn.agreement.text
        end = self.position - self.segmenter.silence
        self.segmenter.flush()  # whoever still speaks begins another
        self._turn = None
        if not text:
            self._tell(TurnEmpty(turn.number))
            return
        from_s = turn.start / EAR_RATE
        placed = tuple(_later(word, from_s) for word in words)
        self._tell(TurnOver(turn.number, text, turn.language, placed, end))

    # --- transcribing -----------------------------------------------------------------------

    def _done(self, work: asyncio.Task[None]) -> None:
        if self._work is not work:
            return  # closed
        self._work = None
        if not work.cancelled() and (error := work.exception()) is not None:
            log.error("a listener failed", exc_info=error)
        if self._turn is not None:
            self._look(self._turn)

    async def _hear(self, turn: _Turn, heard_s: float, final: bool) -> None:
        """Transcribe what is not settled of a turn, up to ``heard_s`` of it, or a window of it."""
        from_s = turn.agreement.from_s
        to_s = min(heard_s, from_s + WINDOW_S)
        more = to_s < heard_s
        sound = turn.sound(from_s, to_s)
        began = time.perf_counter()
        found, failed = None, None
        try:
            found = await self._transcribe(sound, language=turn.language, final=final and not more)
        except LlmosError as error:
            failed = error
        except Exception as error:
            log.exception("turn %d cannot be transcribed", turn.number)
            failed = DeviceError(_LOST, remedy="Say it again.")
            failed.__cause__ = error
        cost_s, more = time.perf_counter() - began, more and found is not None
        turn.pace.done(to_s if more else heard_s, cost_s, speaking=more or not final)
        if turn is not self._turn:
            return  # it is over, or was dropped
        if self.position - self.segmenter.silence > turn.start + heard_s * EAR_RATE:
            turn.pace.spoke()  # meanwhile
        if found is None:
            assert failed is not None
            self._failed(turn, failed, final)
            return
        turn.language = self._language or found.language or turn.language
        words = [_later(word, from_s) for word in found.words]
        if more:
            whole = [word for word in words if word.end_s <= to_s - CUT_S]
            cut = len(whole) < len(words) and whole and whole[-1].end_s > from_s + CUT_S
            turn.agreement.settle(whole if cut else words, whole[-1].end_s if cut else to_s)
        else:
            turn.agreement.feed(words)
        settled = "".join(word.text for word in turn.agreement.committed).lstrip()
        text = turn.agreement.text
        self._tell(TurnGrew(turn.number, text, min(len(settled), len(text)), turn.language))

    def _failed(self, turn: _Turn, error: LlmosError, final: bool) -> None:
        """What was only a guess is made again; what was to be the last word is lost."""
        log.warning("turn %d: %s", turn.number, error)
        if final:
            self._turn = None
            self._tell(TurnFailed(turn.number, error))


def _later(word: HeardWord, seconds: float) -> HeardWord:
    return replace(word, start_s=word.start_s + seconds, end_s=word.end_s + seconds)
