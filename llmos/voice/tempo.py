"""Speech slower or faster at its own pitch, for sound that is there already.

WSOLA (Verhelst and Roelands 1993, doi:10.1109/ICASSP.1993.319366): frames are laid half over each
other as before, but taken from the source at another pace, each from where it goes on best with
the one before it. An answer that is begun after "slower" is made slower by its voice, which sounds
better; this is for what was made before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from llmos.devices.audio import WIRE_RATE, Samples

__all__ = ["HOP", "Stretch"]

#: Samples that one step gives: 20 ms. A frame is two of them, several periods of any voice.
HOP: Final = WIRE_RATE // 50
_FRAME: Final = 2 * HOP
#: Samples by which a frame may be moved to go on well: half a period of the lowest voice, each way.
_SEARCH: Final = WIRE_RATE // 150
#: Their sum, half over each other, is 1 everywhere.
_WINDOW: Final = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FRAME) / _FRAME)).astype(np.float32)


class Stretch:
    """One stretch of sound, from where it was last ``reset``.

    Args:
        source: Gives the samples ``[start, start + count)``; silence outside of what there is.
    """

    def __init__(self, source: Callable[[int, int], Samples]) -> None:
        self._source = source
        self.reset()

    def reset(self) -> None:
        """What comes next does not go on from what came last."""
        self._tail: Samples | None = None
        self._next = 0  # where the frame after the last one would begin at its own pace

    def step(self, position: int) -> Samples:
        """The next ``HOP`` samples, from about ``position``. The caller moves on by its pace."""
        if self._tail is None:
            best = position
            self._tail = self._source(position, HOP)  # as it is: nothing to fade from
            self._tail = self._tail * _WINDOW[HOP:]
        else:
            best = self._best(position)
        frame = self._source(best, _FRAME)
        out = self._tail + frame[:HOP] * _WINDOW[:HOP]
        self._tail = frame[HOP:] * _WINDOW[HOP:]
        self._next = best + HOP
        return np.asarray(out, dtype=np.float32)

    def _best(self, position: int) -> int:
        """Where near ``position`` the source goes on most like the last frame would have."""
        wanted = self._source(self._next, HOP)
        near = self._source(position - _SEARCH, HOP + 2 * _SEARCH).astype(np.float64)
        alike = np.correlate(near, wanted.astype(np.float64), "valid")
        squares = np.concatenate([[0.0], np.cumsum(near**2)])
        power = squares[HOP:] - squares[: len(alike)]
        return position - _SEARCH + int(np.argmax(alike / np.sqrt(power + 1e-6)))
