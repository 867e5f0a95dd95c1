"""What is played of an answer: how far it was heard, resting, going on, and nothing stale.

Every chunk names its response, and only those of the one begun last are taken: what arrives late
from a cancelled response is never heard. Pulls nothing and waits for nothing; the loop of the
terminal, or a device's callback on the same thread, reads from it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

import numpy as np

from llmos.devices.audio import WIRE_RATE, Samples

__all__ = ["BACK_S", "LONGEST_S", "Played", "Player"]

#: Seconds that are said again when a sentence is taken up: about a word.
BACK_S: Final = 0.4
#: Seconds of one answer that are kept, to play and to repeat.
LONGEST_S: Final = 1_800


@dataclass(frozen=True, slots=True)
class Played:
    """How much of an item was heard: what ``conversation.item.truncate`` is told."""

    item: str
    audio_end_ms: int


class Player:
    """One answer's sound, at 24 kHz, in the order in which it came."""

    def __init__(self) -> None:
        self._response: str | None = None
        self._paused = False
        self._starts: list[int] = []  # of the chunks, in samples
        self._chunks: list[tuple[str, Samples]] = []  # each with its item
        self._end: int = 0
        self._position: int = 0
        self._heard: int = 0

    @property
    def playing(self) -> bool:
        """Whether the next ``read`` gives sound."""
        return not self._paused and self._position < self._end

    @property
    def paused(self) -> bool:
        """Whether the answer rests until ``resume``, ``cancel`` or ``begin``."""
        return self._paused

    def begin(self, response: str) -> None:
        """Take the chunks of ``response`` from now on, and drop whatever was of another."""
        self._response = response
        self._paused = False
        self._clear()

    def add(self, response: str, item: str, sound: Samples) -> bool:
        """Queue a chunk.

        Args:
            response: Id of the response it belongs to.
            item: Id of the conversation's item it belongs to.
            sound: Shape (n,), at 24 kHz.

        Returns:
            Whether it was taken: not when it is stale, nor beyond ``LONGEST_S``.
        """
        if response != self._response or self._end + len(sound) > LONGEST_S * WIRE_RATE:
            return False
        if len(sound):
            self._starts.append(self._end)
            self._chunks.append((item, sound))
            self._end += len(sound)
        return True

    def read(self, count: int) -> Samples:
        """The next ``count`` samples for the speaker; silence where there are none."""
        out = np.zeros(count, dtype=np.float32)
        if self._paused:
            return out
        done = 0
        while done < count and self._position < self._end:
            index = bisect_right(self._starts, self._position) - 1
            offset = self._position - self._starts[index]
            piece = self._chunks[index][1][offset : offset + count - done]
            out[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        self._heard = max(self._heard, self._position)
        return out

    def unread(self, count: int) -> None:
        """The last ``count`` samples that were read have not sounded, and are read again."""
        self._position = max(0, self._position - count)
        self._heard = min(self._heard, self._position)

    def pause(self) -> None:
        """Rest: silence is read, and chunks are still taken."""
        self._paused = True

    def resume(self, back_s: float = BACK_S) -> None:
        """Go on after ``pause``, ``back_s`` seconds before where it rested."""
        if self._paused:
            self._paused = False
            self._position = max(0, self._position - round(back_s * WIRE_RATE))

    def cancel(self) -> list[Played]:
        """Drop what was not heard, and take no chunk any more until ``begin``.

        Returns:
            The items that were not heard to the end of what came of them, first one first.
        """
        cut = [
            Played(item, self.heard_ms(item))
            for item in dict.fromkeys(item for item, _ in self._chunks)
            if any(
                name == item and start + len(sound) > self._heard
                for start, (name, sound) in zip(self._starts, self._chunks, strict=True)
            )
        ]
        kept = bisect_right(self._starts, self._heard - 1)
        del self._starts[kept:], self._chunks[kept:]
        if self._chunks:
            item, sound = self._chunks[-1]
            self._chunks[-1] = (item, sound[: self._heard - self._starts[-1]])
        self._position = self._end = self._heard
        self._response = None
        self._paused = False
        return cut

    def repeat(self) -> bool:
        """Play the answer again from its start, as far as it came or was heard.

        Returns:
            Whether there is one.
        """
        self._position = 0
        self._paused = False
        return self._end > 0

    def heard_ms(self, item: str) -> int:
        """Whole milliseconds of ``item`` that were read for the speaker; each counts once."""
        samples = sum(
            min(max(self._heard - start, 0), len(sound))
            for start, (name, sound) in zip(self._starts, self._chunks, strict=True)
            if name == item
        )
        return samples * 1_000 // WIRE_RATE

    def _clear(self) -> None:
        self._starts, self._chunks = [], []
        self._end = self._position = self._heard = 0
