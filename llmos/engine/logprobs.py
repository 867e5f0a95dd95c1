"""Log probabilities of a sampled token, from the raw logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from llmos.engine.backend import Logits, TokenLogprob

__all__ = ["logprob"]


def logprob(logits: Logits, token: int, top: int, piece: Callable[[int], bytes]) -> TokenLogprob:
    """The natural-log softmax of ``token`` and of the ``top`` likeliest tokens.

    Args:
        logits: One row, shape (vocab,), before any sampler touched it.
        top: How many alternatives; 0 for none.
        piece: Bytes a token spells.
    """
    row = logits.astype(np.float64)
    row -= row.max()
    row -= np.log(np.exp(row).sum())
    likeliest: tuple[tuple[int, bytes, float], ...] = ()
    if top:
        best = np.argpartition(row, -top)[-top:]
        best = best[np.argsort(-row[best], kind="stable")]
        likeliest = tuple((int(t), piece(int(t)), float(row[t])) for t in best)
    return TokenLogprob(token, piece(token), float(row[token]), likeliest)
