"""Who gets a slot and cells, and what makes room.

A sequence is admitted with the longest prefix anybody has: cells of a resident sequence (shared),
an idle slot that it continues (taken over), or a snapshot (restored). Room is made in this order:
idle slots, least recently used first, then weaker sequences, youngest first; what they held goes
to the swap store, or is recomputed where the store is full. The strongest and oldest sequence can
always make enough room for one window, so admission never deadlocks.

What idle and empty cells cost the steps is weighed against what moving them costs (``rent.py``):
after a step one slot is swapped out where that pays (``tidy``), at rest all but the last are, and
the last gets a copy (``settle``).

Owns the cells' slots: which are idle, which belong to a running sequence.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from llmos import limits
from llmos.engine.backend import Runtime
from llmos.engine.cells import Cells, common_prefix
from llmos.engine.rent import Rent
from llmos.engine.sequence import Sequence, State
from llmos.engine.swap import Snapshot, SwapStore
from llmos.engine.swapfile import SwapFiles

__all__ = ["Admission"]

log = logging.getLogger(__name__)


class Admission:
    """Moves sequences between waiting and running.

    Args:
        runtime: The model.
        resident: Idle cells to keep, in tokens; as many as there are cells keeps all where they
            are.
        swap_bytes: Budget of the swap store.
        files: Snapshots on disk, if any are kept.
        post: Has something done on the engine's thread.
    """

    def __init__(
        self,
        runtime: Runtime,
        resident: int,
        swap_bytes: int,
        files: SwapFiles | None = None,
        post: Callable[[Callable[[], None]], None] = lambda work: work(),
    ) -> None:
        self.cells = Cells(runtime)
        self.files = files

        def spill(snapshot: Snapshot) -> None:
            if files is not None:
                files.put(snapshot)

        self.swap = SwapStore(swap_bytes, rewinds=runtime.info.can_rewind, spill=spill)
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.preemptions = 0
        self.swapped_out = 0
        self.swapped_in = 0
        self.forked = 0
        self.idle_cells = 0  # as of the last step
        self._post = post
        self._runtime = runtime
        self._resident = resident
        self._keeps_all = resident >= runtime.cells
        self._rent = Rent()
        self._idle: OrderedDict[int, int] = OrderedDict()  # slot → tokens; least recent first
        self._whole = not runtime.info.can_rewind
        self._forgotten = 0  # times all was to be dropped
        self._reading: dict[tuple[int, ...], list[Callable[[Snapshot | None], None]]] = {}

    # --- in ---------------------------------------------------------------------------------

    def enqueue(self, sequence: Sequence) -> None:
        sequence.state = State.WAITING
        self.waiting.append(sequence)
        self._fetch(sequence)

    def expect(self, tokens: list[int]) -> None:
        """Bring back what is known of a prompt that is about to come, while it is being made.

        Nothing is computed, and nobody leaves for it but who is idle: what is in memory goes into
        cells, what is on disk is read and then does.
        """
        _, shared = self.cells.match(tokens, whole=self._whole)
        snapshot, kept = self.swap.match(tokens, whole=self._whole)

        def arrived(read: Snapshot | None) -> None:
            if read is not None:
                self.swap.put(read)
                self._bring_back(read, tokens)

        if not self._read(tokens, max(shared, kept), arrived) and snapshot is not None:
            self._bring_back(snapshot, tokens)

    def _bring_back(self, snapshot: Snapshot, tokens: list[int]) -> None:
        """Into cells that nobody holds, if ``snapshot`` is the longest beginning of ``tokens``."""
        slot, shared = self.cells.match(tokens, whole=self._whole)
        kept = common_prefix(snapshot.tokens, tuple(tokens))
        if kept < shared + limits.SHARE_MIN:
            return
        self._drop_clean(keep=slot)  # first, as in ``admit``
        while len(snapshot.tokens) > self._available() or not self.cells.slots_free:
            if not self._evict_idle():
                return
        slot = self._restored(snapshot, kept)
        if slot >= 0:
            self._idle[slot] = kept

    def admit(self, now: float) -> list[tuple[Sequence, Exception]]:
        """Admit whoever can be, strongest and oldest first.

        Returns:
            Whoever could not be for an error; they are neither waiting nor running.
        """
        broken: list[tuple[Sequence, Exception]] = []
        for sequence in self.running:
            sequence.boost = sequence.priority  # lent anew below while somebody waits on it
        able = [s for s in self.waiting if not (s.suspended or s.fetching or s.leader)]
        able.sort(key=lambda s: (s.boost, s.submitted))
        for sequence in able[: self._runtime.slots]:  # no more could be placed
            try:
                if self._prefix_in_flight(sequence):
                    continue
                if not self._make_room(sequence):
                    break
                # First, so that what is restored takes their cells, and its tail follows it: cells
                # in another order than the tokens' are summed in another order, too.
                self._drop_clean(keep=self._match(sequence)[0])
                self._place(sequence)
            except Exception as error:  # it must not take those beside it with it
                log.exception("a sequence cannot be admitted")
                self.drop(sequence)
                broken.append((sequence, error))
                continue
            self.waiting.remove(sequence)
            sequence.admitted = sequence.admitted or now
            sequence.last_step = now
            sequence.state = State.RUNNING
            self.running.append(sequence)
            self._drop_clean()
        return broken

    def fork(self, parent: Sequence, child: Sequence, now: float) -> bool:
        """Let ``child`` run on the cells ``parent`` has for their common tokens. No prefill.

        Returns:
            False where there is no slot or no room; ``child`` then waits like any other.
        """
        if not self.cells.slots_free and not self._evict_idle():
            return False
        if self._available() < child.todo - parent.filled + self._reserve(child):
            return False
        child.slot = self.cells.take_slot()
        child.filled = child.cached_tokens = parent.filled
        self.cells.share(parent.slot, child.slot, parent.filled)
        child.admitted = child.admitted or now
        child.last_step = now
        child.state = State.RUNNING
        if child in self.waiting:
            self.waiting.remove(child)
        self.running.append(child)
        self.forked += 1
        return True

    def grow(self, planned: dict[Sequence, int]) -> list[Sequence]:
        """Make room for a step, preempting where there is none.

        Args:
            planned: Tokens each sequence adds.

        Returns:
            The sequences that had to leave; they are not in the step.
        """
        left: list[Sequence] = []
        while sum(planned.values()) - sum(planned[s] for s in left) > self.cells.free:
            if self._evict_idle():
                continue
            victim = max(
                (s for s in self.running if s not in left),
                key=lambda s: (s.suspended, s.boost, s.submitted),
            )
            self.preempt(victim)
            if victim in planned:
                left.append(victim)
        return left

    # --- out --------------------------------------------------------------------------------

    def retire(self, sequence: Sequence) -> None:
        """A sequence is done: its cells stay as an idle prefix while there is room."""
        if sequence in self.running:
            self.running.remove(sequence)
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        if sequence.slot >= 0:
            if self.cells.length(sequence.slot) and not sequence.transient:
                self._idle[sequence.slot] = self.cells.length(sequence.slot)
            else:
                self.cells.release(sequence.slot)
            sequence.slot = -1

    def drop(self, sequence: Sequence) -> None:
        """A sequence is over and its cells are worth nothing."""
        if sequence.slot >= 0:
            self.cells.release(sequence.slot)
            sequence.slot = -1
        self.retire(sequence)

    def preempt(self, sequence: Sequence) -> None:
        """Take slot and cells from a running sequence; it waits to come back."""
        self.running.remove(sequence)
        if sequence.filled and not sequence.transient and self._save(sequence.slot):
            self.swapped_out += 1
        self.cells.release(sequence.slot)
        sequence.slot = -1
        sequence.filled = 0
        sequence.preemptions += 1
        self.preemptions += 1
        self.enqueue(sequence)

    def tidy(self, step_s: float) -> None:
        """After a step of ``step_s`` seconds: move what slows it, one slot, once that pays."""
        idle = self.idle_cells = self._count_idle()
        wasted, slot = self.cells.reach - self.cells.used, -1
        if self._idle and idle > self._resident:
            wasted, slot = wasted + idle, next(iter(self._idle))
        elif self.running and len(self.cells.slots) == 1:
            slot = self.running[0].slot
        if slot < 0 or wasted < limits.GAP_CELLS:
            self._rent.settle()
            return
        self._rent.step(step_s, wasted)
        if not self._rent.due(self.cells.length(slot)):
            return
        if slot in self._idle:
            self._swap_out(slot)
        else:
            self._compact()

    def settle(self) -> bool:
        """At rest, one thing at a time: swap out idle slots, but keep a copy of the last one only.

        Whoever comes next goes on from it at once, or has it dropped at no cost.

        Returns:
            Whether anything was done, and there may be more to do.
        """
        done = False
        self._rent.settle()  # nobody runs, so nobody pays
        if self._idle and not self.running:
            last = next(reversed(self._idle))
            if len(self._idle) > 1 and self._count_idle() > self._resident:
                done = self._evict_idle()
            elif not self._keeps_all and not self._clean(last) and self._worth_saving(last):
                done = self._save(last)
            elif self.cells.reach - self.cells.used >= limits.GAP_CELLS:
                done = self._compact()
        self.idle_cells = self._count_idle()
        return done

    def _compact(self) -> bool:
        """Move the only slot to the front: a step computes up to the last cell in use.

        Behind 4,000 cells that others have left, a step of a sequence of 256 tokens takes twice as
        long (21 against 9 ms, one thread); saving and restoring it takes half a step.

        Returns:
            Whether it was moved.
        """
        cells = self.cells
        if len(cells.slots) != 1:
            return False
        slot = cells.slots[0]
        began, tokens = time.monotonic(), cells.length(slot)
        try:
            moved = cells.reload(slot)
        except Exception:
            log.exception("slot %d cannot be moved", slot)
            cells.reach = cells.used
            return False
        self._rent.saved(time.monotonic() - began, tokens)
        if moved:
            return True
        if self._idle.pop(slot, None) is not None:
            cells.release(slot)
        for sequence in self.running:
            sequence.filled = 0  # all are computed again
        return False

    def forget(self) -> None:
        """Drop every idle slot and snapshot; what runs goes on, and nothing of it is kept then."""
        self._forgotten += 1
        for sequence in [*self.running, *self.waiting]:
            sequence.transient, sequence.fetched = True, None
        for slot in list(self._idle):
            del self._idle[slot]
            self.cells.release(slot)
        self.idle_cells = 0
        self.swap.clear()

    def rebuild(self) -> None:
        """Begin with empty cells: what is known of them is wrong. Who ran is computed again."""
        for slot in range(self._runtime.slots):
            self._runtime.free(slot)
        self._idle.clear()
        self.idle_cells = 0
        self.cells = Cells(self._runtime)
        for sequence in self.running:
            sequence.slot, sequence.filled = -1, 0
            self.enqueue(sequence)
        self.running.clear()

    def _count_idle(self) -> int:
        """Cells that nobody running holds."""
        return self.cells.used - self.cells.held(s.slot for s in self.running)

    # --- room -------------------------------------------------------------------------------

    def _reserve(self, sequence: Sequence) -> int:
        """Cells to keep ahead of a sequence beyond its present tokens."""
        left = sequence.max_tokens - sequence.generated
        return min(left, limits.RESERVE_TOKENS[sequence.boost])

    def _available(self) -> int:
        """Free cells that no running sequence has a claim to."""
        claimed = sum(s.todo + self._reserve(s) for s in self.running)
        return self.cells.free - claimed

    def _make_room(self, sequence: Sequence) -> bool:
        """Free a slot and enough cells for ``sequence``, at the cost of idle and weaker ones."""
        stays = [s for s in self.running if s.boost <= sequence.boost and not s.suspended]
        if stays and not self._fits_beside(sequence, stays):
            return False
        while True:
            slot, shared = self._match(sequence)
            taken_over = slot in self._idle and shared == self._idle[slot]
            need = len(sequence.tokens) - shared + self._reserve(sequence)
            has_slot = self.cells.slots_free or taken_over
            if has_slot and need <= self._available():
                return True
            if self._evict_idle(keep=slot) or self._evict_idle():
                continue
            weaker = [s for s in self.running if s.boost > sequence.boost or s.suspended]
            if not weaker:
                # Nothing else runs: what claims there are do not count against one window.
                return not self.running and bool(self.cells.slots_free)
            self.preempt(max(weaker, key=lambda s: (s.suspended, s.boost, s.submitted)))

    def _fits_beside(self, sequence: Sequence, stays: list[Sequence]) -> bool:
        """Whether all others' leaving would make room; if not, they are left in peace."""
        slot, shared = self._match(sequence)
        slots = [s.slot for s in stays]
        left = self.cells.total - sum(s.todo + self._reserve(s) for s in stays)
        left -= len(sequence.tokens) + self._reserve(sequence)
        if len(stays) >= self._runtime.slots:
            return False
        if left >= self.cells.held(slots):
            return True
        return slot >= 0 and left + shared >= self.cells.held([*slots, slot])

    def _evict_idle(self, keep: int = -1) -> bool:
        slot = next((s for s in self._idle if s != keep), None)
        if slot is None:
            return False
        self._swap_out(slot)
        return True

    def _swap_out(self, slot: int) -> None:
        if self._clean(slot) or (self._worth_saving(slot) and self._save(slot)):
            self.swapped_out += 1
        del self._idle[slot]
        self.cells.release(slot)

    def _drop_clean(self, keep: int = -1) -> None:
        """Let idle slots go that have a copy: they would slow the steps of who runs."""
        if not self._keeps_all:
            for slot in [s for s in self._idle if s != keep and self._clean(s)]:
                if self._count_idle() > self._resident:
                    self._swap_out(slot)

    def _clean(self, slot: int) -> bool:
        """Whether there is a copy of just this slot: in memory, or on disk if it must be there."""
        tokens = tuple(self.cells.tokens(slot))
        if self.swap.holds(tokens):
            return True
        return self.files is not None and not self.swap.budget and self.files.holds(tokens)

    def _worth_saving(self, slot: int) -> bool:
        long = self.cells.exclusive(slot) >= limits.SHARE_MIN
        return long and (self.files is not None or self.swap.has_room_for(self.cells.length(slot)))

    def _save(self, slot: int) -> bool:
        """Put a snapshot of ``slot`` into the swap store; False where it has no room."""
        snapshot = self._snapshot(slot)
        return snapshot is not None and self.swap.put(snapshot)

    def _snapshot(self, slot: int) -> Snapshot | None:
        """What ``slot`` holds; None where the runtime cannot save it."""
        began = time.monotonic()
        try:
            state = self._runtime.save(slot)
        except Exception:
            log.exception("slot %d cannot be swapped out and will be computed again", slot)
            return None
        tokens = tuple(self.cells.tokens(slot))
        self._rent.saved(time.monotonic() - began, len(tokens))
        return Snapshot(tokens, state, self._runtime.info.fingerprint)

    # --- disk -------------------------------------------------------------------------------

    def persist(self, seconds: float = 0.0) -> bool:
        """Have all that is worth it written to disk: snapshots, and idle slots without a copy.

        Args:
            seconds: To wait, in all, where too much waits to be written already.

        Returns:
            False where some of it was not taken for that reason.
        """
        files, until = self.files, time.monotonic() + seconds
        if files is None:
            return True

        def taken(snapshot: Snapshot) -> bool:
            return files.put(snapshot, seconds=max(until - time.monotonic(), 0.0))

        # What is in memory goes first: a slot that is saved may push it out, and ``spill`` does
        # not wait. A slot whose snapshot is refused still has its cells, so nothing is lost.
        refused = [snapshot for snapshot in self.swap if not taken(snapshot)]
        if refused:
            return False
        for slot in list(self._idle):
            if self._clean(slot) or not self._worth_saving(slot):
                continue
            snapshot = self._snapshot(slot)
            if snapshot is None:
                continue
            self.swap.put(snapshot)
            if not taken(snapshot):
                return False
        return True

    def _fetch(self, sequence: Sequence) -> None:
        """If the longest known beginning of ``sequence`` is on disk, have it read; it waits."""
        if not self.files:
            return

        def arrived(snapshot: Snapshot | None) -> None:
            sequence.fetching = False
            if snapshot is not None and not self.swap.put(snapshot):
                sequence.fetched = snapshot  # no room for it: it goes straight into cells

        known = max(self._match(sequence)[1], self._kept(sequence)[1])
        sequence.fetching = True
        if not self._read(sequence.tokens[:-1], known, arrived):
            sequence.fetching = False

    def _read(
        self, tokens: list[int], known: int, arrived: Callable[[Snapshot | None], None]
    ) -> bool:
        """Have the longest beginning of ``tokens`` read from disk, where it is worth it.

        Args:
            tokens: Of a prompt.
            known: How many of them are in memory.
            arrived: Gets it on the engine's thread, or None. What is being read already is read
                once, for all who asked.

        Returns:
            Whether it is being read.
        """
        if not self.files:  # none is kept, or there is none yet
            return False
        wanted, length = self.files.match(tokens, whole=self._whole)
        if length < known + limits.SWAP_FILE_TOKENS:
            return False
        asking = self._reading.setdefault(wanted, [])
        asking.append(arrived)
        if len(asking) > 1:
            return True

        forgotten = self._forgotten

        def take(snapshot: Snapshot | None) -> None:
            if forgotten != self._forgotten:
                snapshot = None  # it may hold what is to be gone
            for each in self._reading.pop(wanted, ()):
                try:
                    each(snapshot)
                except Exception:  # it must not take those beside it with it
                    log.exception("a snapshot that was read is not used")

        self.files.fetch(wanted, lambda snapshot: self._post(lambda: take(snapshot)))
        return True

    # --- prefixes ---------------------------------------------------------------------------

    def _match(self, sequence: Sequence) -> tuple[int, int]:
        """The resident slot with the longest usable prefix: one token must remain to decode."""
        return self.cells.match(sequence.tokens[:-1], whole=self._whole)

    def _kept(self, sequence: Sequence) -> tuple[Snapshot | None, int]:
        """The snapshot with the longest usable prefix."""
        snapshot, kept = self.swap.match(sequence.tokens[:-1], whole=self._whole)
        if sequence.fetched is not None:
            length = len(sequence.fetched.tokens)
            shared = common_prefix(sequence.fetched.tokens, tuple(sequence.tokens[:-1]))
            if shared > kept and (not self._whole or shared == length):
                return sequence.fetched, shared
        return snapshot, kept

    def _prefix_in_flight(self, sequence: Sequence) -> bool:
        """Whether a running prefill will soon hold more of our prompt than anybody does now."""
        shared = 0
        prefilling = [s for s in self.running if s.prefilling and not s.suspended]
        if prefilling:
            _, shared = self._match(sequence)
        if prefilling and sequence.preemptions:  # its own snapshot is worth more than a prefix
            shared = max(shared, self._kept(sequence)[1])
        for other in prefilling:
            common = common_prefix(other.tokens[: other.prompt_tokens], sequence.tokens[:-1])
            coming = 0 if self._whole and common < other.prompt_tokens else common
            if coming >= shared + limits.SHARE_MIN and other.filled < coming:
                other.boost = min(other.boost, sequence.boost)
                return True
        return False

    def _place(self, sequence: Sequence) -> None:
        """Give ``sequence`` a slot with the longest prefix there is."""
        slot, shared = self._match(sequence)
        snapshot, kept = self._kept(sequence)
        if snapshot and kept >= shared + limits.SHARE_MIN:
            if self._swap_in(sequence, snapshot, kept):
                return
            slot, shared = self._match(sequence)
        if slot in self._idle and shared == self._idle[slot]:
            del self._idle[slot]
            sequence.slot = slot
        else:
            sequence.slot = self.cells.take_slot()
            if shared:
                self.cells.share(slot, sequence.slot, shared)
                if slot in self._idle:
                    self._idle.move_to_end(slot)
        self._filled(sequence, shared)

    def _swap_in(self, sequence: Sequence, snapshot: Snapshot, kept: int) -> bool:
        if len(snapshot.tokens) > self.cells.free or not self.cells.slots_free:
            return False
        slot = self._restored(snapshot, kept)
        if slot < 0:
            return False
        sequence.slot = slot
        self._filled(sequence, kept)
        return True

    def _restored(self, snapshot: Snapshot, kept: int) -> int:
        """A slot with the first ``kept`` tokens of ``snapshot``; -1 where it cannot be had."""
        if snapshot.fingerprint != self._runtime.info.fingerprint:
            self.swap.discard(snapshot)
            return -1
        slot = self.cells.take_slot()
        try:
            restored = self._runtime.restore(slot, snapshot.state)
        except Exception:
            log.exception("a snapshot cannot be restored and will be computed again")
            restored = False
        if not restored:
            self.cells.release(slot)
            self.swap.discard(snapshot)
            return -1
        self.cells.adopt(slot, list(snapshot.tokens))
        if kept < len(snapshot.tokens) and not self.cells.truncate(slot, kept):
            self.cells.release(slot)
            return -1
        self.swapped_in += 1
        return slot

    def _filled(self, sequence: Sequence, length: int) -> None:
        sequence.filled = length
        sequence.fetched = None
        if not sequence.admitted:
            sequence.cached_tokens = min(length, sequence.prompt_tokens)
