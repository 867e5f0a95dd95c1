"""Vectors seen from the middle of ordinary texts, so that a cosine means the same for any model.

Recall goes by thresholds that were measured with the starter embedder, where texts that have
nothing in common have a cosine about 0. Most models put all texts into a narrow cone: without the
middle taken away, 97 of 100 unrelated pairs passed for related with SmolLM2 as the embedder, with
it 1 of 100, and the right one of 15 texts came first 10 times instead of 8. The starter embedder's
own figures hardly change (measured on 15 pairs, x86-64). After the mean removal of Mu and
Viswanath (ICLR 2018, arXiv:1702.01417); the middle is that of a fixed set of sentences, since that
of what is remembered would move.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from llmos.memory.embed import Embedder, Vectors, unit

__all__ = ["Centred"]

#: Of many subjects and forms. Change one, and ``_VERSION``: the space is another one then.
_ORDINARY: Final = (
    "What time is it?",
    "Thank you, that is all for today.",
    "The train to the coast leaves at noon.",
    "I would like a table for two near the window.",
    "She has worked as a nurse for eleven years.",
    "Please send me the invoice by Friday.",
    "The function returns a list of integers.",
    "It rained all night and the cellar is wet.",
    "My brother lives in a small town by the sea.",
    "How many calories does a banana have?",
    "The meeting was moved to next Tuesday.",
    "Fold the dough twice and let it rest.",
    "He could not remember where he had parked the car.",
    "The population of the city doubled within a decade.",
    "Can you explain how a magnet works?",
    "The new phone has a better camera.",
    "We watched an old film about the moon landing.",
    "Open the settings and choose another language.",
    "I feel tired and my head hurts.",
    "The contract ends after twelve months.",
    "Our team lost the game in the last minute.",
    "Plants need light, water and air.",
    "What should I cook tonight?",
    "The museum is closed on Mondays.",
    "An error occurred while the file was read.",
    "They painted the kitchen yellow.",
    "The price of bread has gone up again.",
    "I am learning to play the guitar.",
    "The king signed the treaty in the spring.",
    "Remind me to call the dentist.",
    "The river is wide and slow here.",
    "Yes, I agree with you.",
)
_VERSION: Final = 1


class Centred:
    """An embedder whose vectors are taken from the middle of its model's.

    The middle is computed with the first text: as many short texts more, once.

    Args:
        embedder: The one that does the work.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._middle: Vectors | None = None

    @property
    def name(self) -> str:
        return f"{self._embedder.name}, centred {_VERSION}"

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of ``texts``; see ``Embedder.embed``."""
        with self._lock:
            if self._middle is None:
                self._middle = self._embedder.embed(_ORDINARY).mean(axis=0, keepdims=True)
        return unit(self._embedder.embed(texts) - self._middle)
