"""How long one speaker rests inside a turn, learned while listening.

Some people stop for a second between two phrases, some never do. Kept are the last pauses that
turned out to lie inside a turn; who is speaking is not known, so a new voice is learned over the
old one within some sentences.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

__all__ = ["Rhythm"]

#: Pauses that are remembered: some minutes of one person's speech.
REMEMBERED: Final = 40
#: Seconds. What people rest inside turns before anything is known of this one: half of the pauses
#: within turns are shorter than 0.5 s, few longer than 1 s (Heldner and Edlund 2010,
#: doi:10.1016/j.wocn.2010.08.002). They weigh as much as so many heard ones, then fade.
PRIOR: Final = (0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8)
#: Seconds below which a gap lies between two sounds, not two phrases, and above which it was no
#: pause but somebody who began anew.
SHORTEST_S: Final = 0.15
LONGEST_S: Final = 2.5


class Rhythm:
    """Running quantiles of one speaker's pauses."""

    def __init__(self) -> None:
        self._pauses: deque[float] = deque(PRIOR, maxlen=REMEMBERED)
        self._heard = 0

    @property
    def heard(self) -> int:
        """Pauses learned from."""
        return self._heard

    def pause(self, seconds: float) -> None:
        """The speaker rested for ``seconds`` and then went on with the same turn."""
        if SHORTEST_S <= seconds <= LONGEST_S:
            self._pauses.append(seconds)
            self._heard += 1

    def quantile(self, q: float) -> float:
        """Seconds that the share ``q`` of the pauses does not exceed.

        Raises:
            ValueError: ``q`` lies outside [0, 1].
        """
        if not 0 <= q <= 1:
            raise ValueError(f"{q} is no share")
        return float(np.quantile(np.fromiter(self._pauses, float), q))
