"""Words that stay, out of transcripts that change while a person speaks.

LocalAgreement-n (Liu et al. 2020, arXiv:2005.11185; as Whisper-Streaming uses it: Macháček et al.
2023, arXiv:2307.14743): the sound since the last sentence is transcribed again and again, and words
on which the last n transcripts agree are committed. Committed words never change. What comes after
them, the tail, is a guess: good for captions and for computing ahead, not for acting.

Knows no recogniser: it says when to transcribe again and from where, and takes what comes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llmos.devices.turn_words import words_of

__all__ = ["HeardWord", "LocalAgreement", "Pace"]

#: Transcripts that must agree. Two is what the paper found best: three adds delay for few errors.
AGREEING: Final = 2
#: Seconds by which the times of a committed word may shift before it counts as another one.
SHIFT_S: Final = 0.1
#: Committed words that a new transcript may repeat at its beginning.
REPEATED: Final = 5
#: Seconds behind the last committed word at which several of them may begin again.
REPEATED_S: Final = 0.5
#: Seconds of sound after which what is committed is cut off in front: the recogniser's window is
#: 30 s, and its errors grow before that.
LONGEST_S: Final = 15.0
#: Seconds of new sound before another transcript is worth its cost, and the share of time it may
#: take: the rest belongs to the language model.
LEAST_NEW_S: Final = 0.5
SHARE: Final = 0.6

_ENDS: Final = (".", "?", "!", "。", "？", "！", "؟", "।")


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word of a transcript.

    Args:
        text: As the recogniser wrote it, blank in front and punctuation included.
        start_s / end_s: When it was spoken, in seconds from the beginning of the stream.
    """

    text: str
    start_s: float
    end_s: float


class LocalAgreement:
    """The transcript of one stream, growing.

    Args:
        agreeing: How many transcripts in a row must agree on a word.
    """

    def __init__(self, agreeing: int = AGREEING) -> None:
        if agreeing < 1:
            raise ValueError(f"{agreeing} transcripts cannot agree")
        self._agreeing = agreeing
        self._committed: list[HeardWord] = []
        self._guesses: deque[list[HeardWord]] = deque(maxlen=agreeing)
        self._from_s = 0.0

    @property
    def committed(self) -> tuple[HeardWord, ...]:
        """The words that stay."""
        return tuple(self._committed)

    @property
    def tail(self) -> tuple[HeardWord, ...]:
        """What the last transcript has after them."""
        return tuple(self._guesses[-1]) if self._guesses else ()

    @property
    def text(self) -> str:
        """All of it: what stays, and the guess."""
        return "".join(word.text for word in (*self._committed, *self.tail)).strip()

    @property
    def from_s(self) -> float:
        """From where on the sound is to be transcribed next, in seconds.

        After the last committed sentence once the sound is longer than ``LONGEST_S``; after the
        last committed word where there was no end of a sentence.
        """
        return self._from_s

    def feed(self, words: Sequence[HeardWord]) -> tuple[HeardWord, ...]:
        """Take the transcript of the sound from ``from_s`` to now; the words that it settles."""
        self._guesses.append(self._new(words))
        if len(self._guesses) < self._agreeing:
            return ()
        latest = self._guesses[-1]
        agreed = min(_agreement(guess, latest) for guess in self._guesses)
        return self._commit(agreed)

    def settle(self, words: Sequence[HeardWord], end_s: float) -> tuple[HeardWord, ...]:
        """Take the transcript of sound that is transcribed once: there is too much after it.

        Args:
            words: Of the sound from ``from_s`` on; all of them stay.
            end_s: From where the next transcript is to begin.
        """
        self._guesses.append(self._new(words))
        settled = self._commit(len(self._guesses[-1]))
        self._guesses.clear()
        self._from_s = end_s
        return settled

    def finish(self) -> tuple[HeardWord, ...]:
        """Nothing comes after: what the last transcript has stays, too. Begin a turn with a new
        object, or go on with this one where the stream goes on."""
        return self._commit(len(self._guesses[-1])) if self._guesses else ()

    def _commit(self, count: int) -> tuple[HeardWord, ...]:
        words = tuple(self._guesses[-1][:count])
        self._committed += words
        for guess in self._guesses:
            del guess[:count]
        if words:
            self._cut()
        return words

    def _cut(self) -> None:
        """Move ``from_s`` forward where too much of what is committed lies after it."""
        now = self._committed[-1].end_s
        if now - self._from_s < LONGEST_S:
            return
        ends = [
            word.end_s
            for word in self._committed
            if word.text.rstrip().endswith(_ENDS) and word.end_s > self._from_s
        ]
        # a sentence end soon after the old place would have to be moved again at once
        late = [end for end in ends if now - end < LONGEST_S / 2]
        self._from_s = late[-1] if late else now

    def _new(self, words: Sequence[HeardWord]) -> list[HeardWord]:
        """The words of a transcript that are not committed yet."""
        if not self._committed:
            return list(words)
        border = self._committed[-1].end_s
        new = [word for word in words if word.end_s > border + SHIFT_S / 2]
        # the times of words shift, so the last committed ones may stand behind the border once
        # more; a single word must overlap it, since people do say "very, very"
        for count in range(min(REPEATED, len(new), len(self._committed)), 0, -1):
            last = new[count - 1].start_s if count == 1 else new[0].start_s - REPEATED_S
            if last < border - SHIFT_S and _same(self._committed[-count:], new[:count]):
                return new[count:]
        return [word for word in new if word.start_s > border - 2 * SHIFT_S]


def _agreement(a: Sequence[HeardWord], b: Sequence[HeardWord]) -> int:
    """How many words at the beginning are the same."""
    for number, (one, other) in enumerate(zip(a, b, strict=False)):
        if not _same([one], [other]):
            return number
    return min(len(a), len(b))


def _same(a: Sequence[HeardWord], b: Sequence[HeardWord]) -> bool:
    """The same words, whatever their case and punctuation."""
    for one, other in zip(a, b, strict=True):
        left, right = words_of(one.text), words_of(other.text)
        if left != right or (not left and one.text.strip() != other.text.strip()):
            return False
    return True


class Pace:
    """When to transcribe again, by the seconds of sound heard; no clock."""

    def __init__(self) -> None:
        self._done_s = 0.0
        self._cost_s = 0.0
        self._settled = False

    def due(self, heard_s: float, *, speaking: bool) -> bool:
        """Whether a transcript is worth its cost now.

        While somebody speaks, as often as the recogniser's share of the time allows. When they
        stop, once more at once, since the end of the turn is decided from it; then no more.

        Args:
            heard_s: Seconds of sound so far.
            speaking: Whether somebody speaks.
        """
        new_s = heard_s - self._done_s
        if not speaking:
            return not self._settled and new_s > 0
        return new_s >= max(LEAST_NEW_S, self._cost_s / SHARE)

    def done(self, heard_s: float, cost_s: float, *, speaking: bool) -> None:
        """A transcript of the sound up to ``heard_s`` took ``cost_s`` seconds.

        Args:
            speaking: Whether somebody spoke at ``heard_s``.
        """
        self._done_s = max(self._done_s, heard_s)
        # half the new cost: one slow transcript, on a busy machine, does not slow down all others
        self._cost_s = (self._cost_s + max(cost_s, 0.0)) / 2 if self._cost_s else max(cost_s, 0.0)
        self._settled = not speaking

    def spoke(self) -> None:
        """Somebody speaks again: the next stop is worth a transcript of its own."""
        self._settled = False
