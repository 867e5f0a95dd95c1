"""The sentences of a text that say most of what the whole is about, word for word.

For models too small to summarise: what they write of a conversation is often not what was said in
it, and a sentence that was said is. By the centroid of the sentences' vectors, each next one as far
as it adds to those chosen (Carbonell and Goldstein, "The use of MMR", SIGIR 1998).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["central"]

_NEWNESS = 0.5  # weight of what a sentence repeats of those chosen


def central(sentences: Sequence[str], vectors: npt.NDArray[np.float32], room: int) -> list[str]:
    """The most central sentences that fit, in the order they were said.

    Args:
        sentences: What was said.
        vectors: One L2-normalised row a sentence, shape (n, dimension).
        room: Characters.
    """
    if not sentences:
        return []
    centroid = vectors.mean(axis=0)
    near = vectors @ (centroid / max(float(np.linalg.norm(centroid)), 1e-12))
    alike = vectors @ vectors.T
    chosen: list[int] = []
    left = room
    while True:
        fits = [
            at for at in range(len(sentences)) if at not in chosen and len(sentences[at]) <= left
        ]
        if not fits:
            break
        repeated = alike[:, chosen].max(axis=1) if chosen else np.zeros(len(sentences), np.float32)
        best = max(fits, key=lambda at: float(near[at] - _NEWNESS * repeated[at]))
        chosen.append(best)
        left -= len(sentences[best]) + 1
    return [sentences[at] for at in sorted(chosen)]
