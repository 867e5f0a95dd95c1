"""What is played: answers and announcements in the order in which they came, and nothing stale.

Knows how far each was heard and what words sound now; rests and goes on, repeats, and speaks slower
than the sound was made. Every chunk of an answer names its response, and only those of the one
begun last are taken: what arrives late from a cancelled one is never heard. Pulls nothing and waits
for nothing; the loop of the terminal, or a device's callback on the same thread, reads from it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from llmos.devices.audio import WIRE_RATE, Samples
from llmos.voice.tempo import HOP, Stretch

__all__ = ["BACK_S", "LONGEST_S", "Played", "Player"]

#: Seconds that are said again when a sentence is taken up: about a word.
BACK_S: Final = 0.4
#: Seconds of sound that are kept, to play and to repeat.
LONGEST_S: Final = 1_800
#: Seconds for which words that have sounded may still be heard again, and transcribed.
ECHOED_S: Final = 12.0


@dataclass(frozen=True, slots=True)
class Played:
    """How much of an item was heard: what ``conversation.item.truncate`` is told."""

    item: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A piece of sound, its place counted from the first that ever was added.

    Args:
        response: Empty for an announcement.
    """

    start: int
    response: str
    item: str
    sound: Samples

    @property
    def end(self) -> int:
        return self.start + len(self.sound)

    def is_announcement(self, item: str) -> bool:
        return not self.response and self.item == item


class Player:
    """Sound at 24 kHz."""

    def __init__(self) -> None:
        self._response: str | None = None
        self._paused = False
        self._chunks: list[_Chunk] = []
        self._words: list[tuple[int, str]] = []  # where they begin to sound
        self._end = 0
        self._position = 0
        self._heard = 0
        self._tempo = 1.0
        self._stretch = Stretch(self._samples)
        self._stretched = np.zeros(0, dtype=np.float32)  # made, and not read yet

    @property
    def playing(self) -> bool:
        """Whether the next ``read`` gives sound."""
        return not self._paused and (self._position < self._end or len(self._stretched) > 0)

    @property
    def paused(self) -> bool:
        """Whether what is said rests until ``resume``, ``repeat`` or ``cancel``."""
        return self._paused

    @property
    def tempo(self) -> float:
        """How fast it is played; 1 as it was made."""
        return self._tempo

    @tempo.setter
    def tempo(self, tempo: float) -> None:
        self._tempo = tempo
        self._jump(self._position)

    @property
    def sounding(self) -> str:
        """The words that sound, and those of the last ``ECHOED_S`` before them."""
        since = self._position - ECHOED_S * WIRE_RATE
        return " ".join(
            text for start, end, text in self._spans() if start <= self._position and end >= since
        )

    # --- what there is to play --------------------------------------------------------------

    def begin(self, response: str) -> None:
        """Take the chunks of ``response`` from now on, and none of another one any more."""
        self._response = response
        self._let_go()

    def add(self, response: str, item: str, sound: Samples, words: str = "") -> bool:
        """Queue a chunk of an answer.

        Args:
            response: Id of the response it belongs to.
            item: Id of the conversation's item it belongs to.
            sound: Shape (n,), at 24 kHz.
            words: That it begins to say; empty where it goes on with those before.

        Returns:
            Whether it was taken: not when it is stale, nor beyond ``LONGEST_S``.
        """
        return response == self._response and self._add(response, item, sound, words)

    def announce(self, item: str, sound: Samples, words: str) -> bool:
        """Queue something that is no part of an answer, behind what waits.

        Args:
            item: By which it can be withdrawn.
            sound: Shape (n,), at 24 kHz.
            words: That it says.

        Returns:
            Whether there was room.
        """
        return self._add("", item, sound, words)

    def withdraw(self, item: str) -> None:
        """Say no more of an announcement."""
        self._keep(
            lambda chunk: self._heard_of(chunk) if chunk.is_announcement(item) else len(chunk.sound)
        )

    def cancel(self) -> list[Played]:
        """Drop what was not heard, and take no chunk of an answer any more until ``begin``.

        Returns:
            The items that were not heard to the end of what came of them, first one first.
        """
        cut = dict.fromkeys(
            chunk.item for chunk in self._chunks if chunk.response and chunk.end > self._heard
        )
        played = [Played(item, self.heard_ms(item)) for item in cut]
        self._keep(self._heard_of)
        self._response = None
        self._paused = False
        return played

    def repeat(self) -> bool:
        """Play the answer again from its start, as far as it came or was heard.

        Returns:
            Whether there is one.
        """
        begun = [chunk for chunk in self._chunks if chunk.start <= self._position]
        last = next((chunk for chunk in reversed(begun) if chunk.response), None)
        self._paused = False
        if last is None:
            return False
        self._keep(  # what was announced is not said again
            lambda chunk: len(chunk.sound) if chunk.response or chunk.end > self._heard else 0
        )
        self._jump(next(c.start for c in self._chunks if c.response == last.response))
        return True

    # --- playing it -------------------------------------------------------------------------

    def read(self, count: int) -> Samples:
        """The next ``count`` samples for the speaker; silence where there are none."""
        if self._paused:
            return np.zeros(count, dtype=np.float32)
        if self._tempo == 1.0:
            out = self._samples(self._position, count)
            self._position = min(self._position + count, self._end)
        else:
            while len(self._stretched) < count and self._position < self._end:
                step = self._stretch.step(self._position)
                self._stretched = np.concatenate([self._stretched, step])
                self._position = min(self._position + round(self._tempo * HOP), self._end)
            out = np.zeros(count, dtype=np.float32)
            ready = self._stretched[:count]
            out[: len(ready)] = ready
            self._stretched = self._stretched[len(ready) :]
        self._heard = max(self._heard, self._position)
        return out

    def unread(self, count: int) -> None:
        """The last ``count`` samples that were read have not sounded, and are read again."""
        made = round((count + len(self._stretched)) * self._tempo)
        self._jump(max(self._first, self._position - made))
        self._heard = min(self._heard, self._position)

    def pause(self) -> None:
        """Rest: silence is read, and chunks are still taken."""
        self._paused = True

    def resume(self, back_s: float = BACK_S) -> None:
        """Go on after ``pause``, ``back_s`` seconds before where it rested."""
        if self._paused:
            self._paused = False
            self._jump(max(self._first, self._position - round(back_s * WIRE_RATE)))

    def heard_ms(self, item: str) -> int:
        """Whole milliseconds of ``item`` that were read for the speaker; each counts once."""
        samples = sum(self._heard_of(chunk) for chunk in self._chunks if chunk.item == item)
        return samples * 1_000 // WIRE_RATE

    # --- inside -----------------------------------------------------------------------------

    @property
    def _first(self) -> int:
        return self._chunks[0].start if self._chunks else self._end

    def _add(self, response: str, item: str, sound: Samples, words: str) -> bool:
        if self._end + len(sound) - self._first > LONGEST_S * WIRE_RATE:
            return False
        if words.strip():
            self._words.append((self._end, words.strip()))
        if len(sound):
            self._chunks.append(_Chunk(self._end, response, item, sound))
            self._end += len(sound)
        return True

    def _samples(self, start: int, count: int) -> Samples:
        out = np.zeros(count, dtype=np.float32)
        index = max(0, bisect_right(self._chunks, start, key=lambda chunk: chunk.start) - 1)
        for chunk in self._chunks[index:]:
            if chunk.start >= start + count:
                break
            first, last = max(start, chunk.start), min(start + count, chunk.end)
            if first < last:
                piece = chunk.sound[first - chunk.start : last - chunk.start]
                out[first - start : last - start] = piece
        return out

    def _spans(self) -> list[tuple[int, int, str]]:
        """Where words begin and end to sound, and which."""
        starts = [*(start for start, _ in self._words), self._end]
        spans = zip(pairwise(starts), self._words, strict=True)
        return [(start, end, text) for (start, end), (_, text) in spans]

    def _jump(self, position: int) -> None:
        self._position = position
        self._stretch.reset()
        self._stretched = self._stretched[:0]

    def _let_go(self) -> None:
        """Forget the answers that were heard; the one that sounds stays whole."""
        current = next((chunk for chunk in self._chunks if chunk.end > self._position), None)
        if current is None:
            self._chunks = []
        elif current.response:
            first = next(c.start for c in self._chunks if c.response == current.response)
            self._chunks = [chunk for chunk in self._chunks if chunk.start >= first]
        else:
            self._chunks = [chunk for chunk in self._chunks if chunk.start >= current.start]
        since = min(self._first, self._position - round(ECHOED_S * WIRE_RATE))
        self._words = [(start, text) for start, text in self._words if start >= since]

    def _heard_of(self, chunk: _Chunk) -> int:
        """Samples of a chunk."""
        return min(max(self._heard - chunk.start, 0), len(chunk.sound))

    def _keep(self, length: Callable[[_Chunk], int]) -> None:
        """Keep so many samples of each chunk, from its first; what follows moves up."""
        kept: list[_Chunk] = []
        gaps: list[tuple[int, int]] = []  # where samples go, and how many
        gone = 0
        for chunk in self._chunks:
            stays = length(chunk)
            if stays:
                kept.append(replace(chunk, start=chunk.start - gone, sound=chunk.sound[:stays]))
            if stays < len(chunk.sound):
                gaps.append((chunk.start + stays, len(chunk.sound) - stays))
                gone += len(chunk.sound) - stays

        def moved(place: int) -> int:
            return place - sum(min(max(place - start, 0), count) for start, count in gaps)

        # of words that nothing is left of, nothing will sound
        self._words = [
            (moved(start), text)
            for start, end, text in self._spans()
            if moved(start) < moved(end) or start == end
        ]
        self._chunks, self._end = kept, self._end - gone
        self._heard = moved(self._heard)
        self._jump(moved(self._position))
