"""What cells that serve nobody cost, and when it pays to move them.

Without flash attention a step computes over every cell up to the last one in use, whoever owns it,
so idle and empty cells below it slow every step (with it less, but still); moving them away takes
time once. How long a conversation goes on is not known, so this is ski rental: pay when the steps
have lost as much as moving takes, which costs at most twice what foresight would (Karlin, Manasse,
Rudolph and Sleator, "Competitive snoopy caching", 1988).
"""

from __future__ import annotations

from llmos import limits

__all__ = ["Rent"]

_SMOOTHING = 0.25  # weight of the newest save in the moving average


class Rent:
    """What steps have lost and no move has paid for yet, against what a move costs, in seconds."""

    def __init__(self) -> None:
        self._lost_s = 0.0
        self._save_s = limits.SAVE_S  # a token, as measured

    def step(self, seconds: float, wasted: int) -> None:
        """A step took ``seconds`` with ``wasted`` cells that served nobody in it."""
        self._lost_s += seconds * wasted * limits.WASTED_CELL_COST

    def saved(self, seconds: float, tokens: int) -> None:
        """Moving ``tokens`` took ``seconds``."""
        self._save_s += _SMOOTHING * (seconds / max(tokens, 1) - self._save_s)

    def due(self, tokens: int) -> bool:
        """Whether moving ``tokens`` pays by now; if so, it is paid for."""
        price = self._save_s * tokens
        if self._lost_s < price:
            return False
        self._lost_s -= price
        return True

    def settle(self) -> None:
        """Nothing is wasted any more."""
        self._lost_s = 0.0
