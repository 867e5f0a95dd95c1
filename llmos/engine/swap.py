"""Sequences swapped out of the KV cache into host memory.

A snapshot is the runtime's own state of one slot with the tokens it stands for. Restoring it
gives the same cells back bit for bit, which recomputing them would not (a prompt decoded token by
token and the same tokens prefilled as one batch round differently). The store is bounded in
bytes; the least recently used snapshot goes first (to disk, where there is a place for it). It
never touches the runtime.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llmos.engine.backend import State
from llmos.engine.cells import common_prefix

__all__ = ["Snapshot", "SwapStore"]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The state of one slot. ``fingerprint`` names the model and context it belongs to."""

    tokens: tuple[int, ...]
    state: State
    fingerprint: str


class SwapStore:
    """Snapshots under a byte budget.

    Args:
        budget: Bytes that may be held.
        rewinds: Whether a restored sequence can be cut, so that a longer one stands in for a
            shorter.
        spill: Gets each snapshot that has to go for want of room.
    """

    def __init__(
        self,
        budget: int,
        *,
        rewinds: bool = True,
        spill: Callable[[Snapshot], None] = lambda snapshot: None,
    ) -> None:
        self.budget = budget
        self._rewinds = rewinds
        self._spill = spill
        self.bytes = 0
        self.dropped = 0
        self._bytes_per_token = 0.0  # of the newest
        self._kept: OrderedDict[tuple[int, ...], Snapshot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(list(self._kept.values()))

    def put(self, snapshot: Snapshot) -> bool:
        """Keep ``snapshot``, dropping what it supersedes and then the least recently used.

        A snapshot that is a prefix of the new one is superseded: the longer can stand in for it.

        Returns:
            False where it alone is larger than the budget.
        """
        size = len(snapshot.state)
        self._bytes_per_token = size / len(snapshot.tokens)
        if size > self.budget:
            self.dropped += 1
            self._spill(snapshot)
            return False
        self._remove(snapshot.tokens)
        if self._rewinds:
            for tokens in [t for t in self._kept if snapshot.tokens[: len(t)] == t]:
                self._remove(tokens)
        self._kept[snapshot.tokens] = snapshot
        self.bytes += size
        while self.bytes > self.budget:
            oldest = next(iter(self._kept))
            self._spill(self._kept[oldest])
            self._remove(oldest)
            self.dropped += 1
        return True

    def has_room_for(self, tokens: int) -> bool:
        """Whether a snapshot of so many tokens would fit, by the size of those before it."""
        return self._bytes_per_token * tokens <= self.budget > 0

    def holds(self, tokens: tuple[int, ...]) -> bool:
        """Whether there is a snapshot of exactly ``tokens``."""
        return tokens in self._kept

    def match(self, tokens: Sequence[int], *, whole: bool = False) -> tuple[Snapshot | None, int]:
        """The snapshot that shares the longest prefix with ``tokens``, and its length.

        Args:
            whole: Only consider snapshots that are a prefix in full.
        """
        wanted = tuple(tokens)
        best: Snapshot | None = None
        length = 0
        for kept in self._kept.values():
            shared = common_prefix(kept.tokens, wanted)
            if shared > length and (not whole or shared == len(kept.tokens)):
                best, length = kept, shared
        if best is not None:
            self._kept.move_to_end(best.tokens)
        return best, length

    def discard(self, snapshot: Snapshot) -> None:
        """Forget ``snapshot`` if it is still kept."""
        if self._kept.get(snapshot.tokens) is snapshot:
            self._remove(snapshot.tokens)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.bytes = 0

    def _remove(self, tokens: tuple[int, ...]) -> None:
        snapshot = self._kept.pop(tokens, None)
        if snapshot is not None:
            self.bytes -= len(snapshot.state)
