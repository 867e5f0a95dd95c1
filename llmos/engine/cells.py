"""The KV cache: who holds which cells.

A cell holds one token at one position and may be shared by several slots (sequence ids of the
runtime). The slots' tokens form a prefix tree whose nodes are runs of cells, so sharing is a
reference, the longest known prefix of a prompt is one walk down, and the cells in use are the sum
of the nodes. Two branches may spell the same tokens: they were computed apart and are apart.

``Cells`` makes every change in the tree and in the runtime together; nobody else frees or shares
a slot. It knows tokens and slots, not sequences or priorities, and never decides what to evict.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from llmos.engine.backend import Runtime
from llmos.errors import EngineError

__all__ = ["Cells", "common_prefix"]

log = logging.getLogger(__name__)
_Tokens = TypeVar("_Tokens", list[int], tuple[int, ...])


def common_prefix(a: _Tokens, b: _Tokens, start: int = 0) -> int:
    """Length of the longest common prefix of ``a`` and ``b[start:]``.

    Both must be lists or both tuples. Slices compare at C speed, so a bisection over them beats
    a loop.
    """
    low, high = 0, min(len(a), len(b) - start)
    if high <= 0 or a[0] != b[start]:
        return 0
    if a[:high] == b[start : start + high]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        if a[low:middle] == b[start + low : start + middle]:
            low = middle
        else:
            high = middle
    return low


class _Run:
    """A run of cells: a node of the tree. ``ends`` are the slots whose last cell is its last."""

    __slots__ = ("children", "ends", "parent", "tokens")

    def __init__(self, tokens: list[int], parent: _Run | None) -> None:
        self.tokens = tokens
        self.parent = parent
        self.children: list[_Run] = []
        self.ends: set[int] = set()

    def path(self) -> Iterator[_Run]:
        """From this run up to, and without, the root."""
        run = self
        while run.parent is not None:
            yield run
            run = run.parent


class Cells:
    """The cells of one runtime.

    Args:
        runtime: Whose memory this is. Every slot must be empty.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._root = _Run([], None)
        self._end: dict[int, _Run] = {}  # slot → the run its path ends with
        self._free_slots = list(range(runtime.slots - 1, -1, -1))
        self.total = runtime.cells
        self.used = 0
        self.reach = 0  # cells that may lie below the last one in use, as far as we can know

    @property
    def free(self) -> int:
        """Cells that hold nothing."""
        return self.total - self.used

    @property
    def slots_free(self) -> int:
        return len(self._free_slots)

    @property
    def slots(self) -> list[int]:
        """The slots that are taken."""
        return list(self._end)

    def take_slot(self) -> int:
        """An empty slot.

        Raises:
            EngineError: All are taken.
        """
        if not self._free_slots:
            raise EngineError("Every sequence slot is taken.")
        slot = self._free_slots.pop()
        self._end[slot] = self._root
        self._root.ends.add(slot)
        return slot

    def length(self, slot: int) -> int:
        """Tokens that ``slot`` holds."""
        return sum(len(run.tokens) for run in self._end[slot].path())

    def tokens(self, slot: int) -> list[int]:
        """The tokens that ``slot`` holds, in order."""
        runs = list(self._end[slot].path())
        return [token for run in reversed(runs) for token in run.tokens]

    def exclusive(self, slot: int) -> int:
        """Cells that freeing ``slot`` would free."""
        total, below = 0, None
        for run in self._end[slot].path():
            if run.ends - {slot} or any(child is not below for child in run.children):
                break
            total += len(run.tokens)
            below = run
        return total

    def held(self, slots: Iterable[int]) -> int:
        """Cells that ``slots`` hold together, each counted once."""
        runs = {run for slot in slots for run in self._end[slot].path()}
        return sum(len(run.tokens) for run in runs)

    def match(self, tokens: list[int], *, whole: bool = False) -> tuple[int, int]:
        """The slot that shares the longest prefix with ``tokens``.

        Args:
            whole: Only consider slots that are a prefix in full (for memory that cannot rewind).

        Returns:
            Slot and length of the shared prefix; ``(-1, 0)`` where there is none.
        """
        best_slot, best = -1, 0
        pending = [(self._root, 0)]
        while pending:
            run, depth = pending.pop()
            if whole and run.ends and depth > best:
                best_slot, best = next(iter(run.ends)), depth
            for child in run.children:
                shared = common_prefix(child.tokens, tokens, depth)
                if shared == len(child.tokens):
                    pending.append((child, depth + shared))
                if not whole and shared and depth + shared > best:
                    best_slot, best = self._any_slot(child), depth + shared
        return best_slot, best

    def append(self, slot: int, tokens: Sequence[int]) -> None:
        """``tokens`` were decoded at the end of ``slot``."""
        run = self._end[slot]
        if run.parent is None or run.children or run.ends != {slot}:
            child = _Run([], run)
            run.children.append(child)
            self._move_end(slot, child)
            run = child
        run.tokens.extend(tokens)
        self.used += len(tokens)
        self.reach = max(self.reach, self.used)

    def share(self, source: int, target: int, length: int) -> None:
        """Let the empty ``target`` hold the first ``length`` tokens of ``source``."""
        self._runtime.share(source, target, length)
        self._move_end(target, self._cut(source, length))

    def truncate(self, slot: int, length: int) -> bool:
        """Drop what follows the first ``length`` tokens; False where the memory cannot."""
        if not self._runtime.truncate(slot, length):
            return False
        old = self._end[slot]
        self._move_end(slot, self._cut(slot, length))
        self._prune(old)
        return True

    def adopt(self, slot: int, tokens: Sequence[int]) -> None:
        """The runtime restored ``tokens`` into the empty ``slot``."""
        self.append(slot, tokens)

    def reload(self, slot: int) -> bool:
        """Save and restore the only slot, so that its cells lie in front again.

        Returns:
            False where it could not be restored; it is empty then.

        Raises:
            EngineError: It could not be saved; it is as it was.
        """
        tokens, state = self.tokens(slot), self._runtime.save(slot)
        self._runtime.free(slot)
        old = self._end[slot]
        self._move_end(slot, self._root)
        self._prune(old)
        self.reach = self.used
        try:
            restored = self._runtime.restore(slot, state)
        except Exception:
            log.exception("slot %d cannot be restored", slot)
            restored = False
        if not restored:
            self._runtime.free(slot)
            return False
        self.append(slot, tokens)
        return True

    def release(self, slot: int) -> None:
        """Free ``slot`` and the cells nobody else holds."""
        self._runtime.free(slot)
        run = self._end.pop(slot)
        run.ends.discard(slot)
        self._prune(run)
        self._free_slots.append(slot)

    def check_integrity(self) -> None:
        """Compare the tree with itself and with the runtime.

        Raises:
            EngineError: They differ; the sentence says where.
        """
        counted, pending = 0, [self._root]
        while pending:
            run = pending.pop()
            counted += len(run.tokens)
            pending.extend(run.children)
            if run.parent is not None and not run.ends and len(run.children) < 2:
                raise EngineError("A run of cells belongs to no sequence, or ends for no reason.")
            if any(child.parent is not run for child in run.children):
                raise EngineError("A run of cells has lost its parent.")
        if counted != self.used or not 0 <= self.used <= self.total:
            raise EngineError(f"{counted} cells are held but {self.used} are counted.")
        if len(self._end) + len(self._free_slots) != self._runtime.slots:
            raise EngineError("A sequence slot is lost.")
        for slot, run in self._end.items():
            if slot not in run.ends:
                raise EngineError(f"Slot {slot} has lost its end.")
            held = self._runtime.length(slot)
            if held != self.length(slot):
                raise EngineError(f"Slot {slot} holds {held} tokens, not {self.length(slot)}.")

    # --- the tree ---------------------------------------------------------------------------

    def _any_slot(self, run: _Run) -> int:
        while not run.ends:
            run = run.children[0]
        return next(iter(run.ends))

    def _move_end(self, slot: int, run: _Run) -> None:
        self._end[slot].ends.discard(slot)
        run.ends.add(slot)
        self._end[slot] = run

    def _cut(self, slot: int, length: int) -> _Run:
        """The run on ``slot``'s path that ends at ``length``, split off if need be."""
        depth = self.length(slot)
        if length > depth:
            raise EngineError(f"Slot {slot} holds {depth} tokens, not {length}.")
        run = self._end[slot]
        while run.parent is not None and depth - len(run.tokens) >= length:
            depth -= len(run.tokens)
            run = run.parent
        if depth == length:
            return run
        keep = len(run.tokens) - (depth - length)
        assert run.parent is not None
        head = _Run(run.tokens[:keep], run.parent)
        siblings = run.parent.children
        siblings[siblings.index(run)] = head
        head.children.append(run)
        run.tokens = run.tokens[keep:]
        run.parent = head
        return head

    def _prune(self, run: _Run) -> None:
        while run.parent is not None and not run.ends and not run.children:
            run.parent.children.remove(run)
            self.used -= len(run.tokens)
            run = run.parent
        if not self.used:
            self.reach = 0
        if run.parent is not None and not run.ends and len(run.children) == 1:
            self._join(run, run.children[0])

    def _join(self, run: _Run, only: _Run) -> None:
        """Make one run of two: where nothing ends or branches there is no border."""
        run.tokens += only.tokens
        run.children, run.ends = only.children, only.ends
        for child in run.children:
            child.parent = run
        for slot in run.ends:
            self._end[slot] = run
