"""The step loop: one thread, the only one on which the model computes.

``Engine.step`` is the whole of it: take commands, admit, plan, decode, sample, publish, tidy. Other
threads talk to it through ``submit``, ``fork``, ``cancel``, ``suspend`` and ``resume``, which
queue a command and return at once; text comes back through each sequence's ``deliver``, called on
the engine's thread. It knows tokens and sequences, not conversations.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from llmos import limits
from llmos.engine.admission import Admission
from llmos.engine.backend import (
    Chunk,
    Logits,
    ModelInfo,
    Priority,
    Run,
    Runtime,
    SamplingParams,
    TokenLogprob,
)
from llmos.engine.logprobs import logprob
from llmos.engine.scheduler import Planned, Scheduler, prefill_tokens
from llmos.engine.sequence import Sequence, State
from llmos.engine.swapfile import SwapFiles
from llmos.engine.threads import ThreadGovernor
from llmos.errors import EngineError, EngineStopped, LlmosError, PromptTooLong

__all__ = ["Engine"]

log = logging.getLogger(__name__)
Deliver = Callable[[Sequence, Chunk], None]


class Engine:
    """Runs any number of sequences on one runtime.

    Args:
        load: Builds the runtime; called on the engine's thread, which then owns it.
        resident: Idle cells to keep beside the running ones, in tokens; 0 keeps all on a GPU and
            on a CPU, where each slows every step, those that cost less than moving them.
        swap_bytes: Host memory for swapped-out sequences.
        governor: Chooses thread counts; None leaves them as loaded.
        files: Opens the snapshots on disk for the loaded model; None keeps none there.
    """

    def __init__(
        self,
        load: Callable[[], Runtime],
        *,
        resident: int = 0,
        swap_bytes: int = 1 << 30,
        governor: ThreadGovernor | None = None,
        files: Callable[[ModelInfo], SwapFiles | None] | None = None,
    ) -> None:
        self._load = load
        self._resident = resident
        self._swap_bytes = swap_bytes
        self._governor = governor
        self._open_files = files
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        self._closed = False  # guarded by _gate: no command is taken any more
        self._gate = threading.Lock()
        self._step_s = 0.0  # what the last step took
        self._dirty = False  # something happened since cells were last checked
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)
        self.runtime: Runtime
        self.admission: Admission
        self.scheduler: Scheduler
        self.steps = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.prefilled_tokens = 0
        self.sampled_tokens = 0
        self.finished = 0
        self.busy_s = 0.0

    # --- from other threads -----------------------------------------------------------------

    def start(self) -> None:
        """Load the model and run. Blocks until it is loaded.

        Raises:
            ModelError: It cannot be loaded.
        """
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def submit(
        self,
        tokens: list[int],
        params: SamplingParams,
        deliver: Deliver,
        *,
        priority: Priority = Priority.INTERACTIVE,
        n: int = 1,
    ) -> list[Sequence]:
        """Queue ``n`` generations of one prompt; the prompt is prefilled once.

        Raises:
            PromptTooLong: Prompt and reply do not fit the window.
            EngineStopped: The engine is not running.
        """
        self._require_running()
        window = min(self.runtime.info.window, self.runtime.cells)
        wanted = params.max_tokens if params.max_tokens is not None else 1
        if not tokens:
            raise EngineError("The prompt is empty.")
        if n < 1:
            raise EngineError("n must be at least 1.")
        if not 0 <= min(tokens) <= max(tokens) < self.runtime.info.vocab:
            raise EngineError("The prompt has a token that is not in the vocabulary.")
        if len(tokens) + wanted > window:
            raise PromptTooLong(len(tokens), window, wanted)
        group = [
            Sequence(list(tokens), _reseeded(params, i), priority, window, deliver)
            for i in range(n)
        ]
        for follower in group[1:]:
            follower.leader = group[0]
        group[0].followers = group[1:]
        self._send(self._guarded(lambda: self._enqueue(group), group))
        return group

    def fork(self, parent: Sequence, params: SamplingParams, deliver: Deliver) -> Sequence:
        """A second sequence that goes on from where ``parent`` is now; nothing is prefilled.

        Raises:
            EngineStopped: The engine is not running.
        """
        self._require_running()
        window = min(self.runtime.info.window, self.runtime.cells)
        child = Sequence(list(parent.tokens), params, parent.priority, window, deliver)
        self._send(self._guarded(lambda: self._fork(parent, child), [child]))
        return child

    def expect(self, tokens: list[int]) -> None:
        """Bring back what is known of a prompt that is about to come; a hint, no promise."""
        self._commands.put(self._guarded(lambda: self._expect(tokens), []))

    def cancel(self, sequence: Sequence) -> None:
        """End ``sequence`` before the next step; its last chunk says ``cancelled``."""
        self._commands.put(self._guarded(lambda: self._cancel(sequence), [sequence]))

    def suspend(self, sequence: Sequence) -> None:
        """Stop stepping ``sequence``; its cells may be swapped out."""
        self._commands.put(self._guarded(lambda: self._suspend(sequence, True), [sequence]))

    def resume(self, sequence: Sequence) -> None:
        """Go on with a suspended sequence from the very same cells."""
        self._commands.put(self._guarded(lambda: self._suspend(sequence, False), [sequence]))

    def call(self, function: Callable[[], None]) -> None:
        """Run ``function`` on the engine's thread, between two steps. What it raises is logged."""
        self._send(self._guarded(function, []))

    def forget(self) -> None:
        """Drop idle cells and snapshots, also those on disk. Blocks until it is done.

        Raises:
            EngineError: Not all of it could be dropped.
        """
        done = threading.Event()
        failed: list[Exception] = []

        def forget() -> None:
            try:
                self.admission.forget()
            except Exception as error:
                log.exception("what was computed cannot be dropped")
                failed.append(error)
            finally:
                done.set()

        self._send(self._guarded(forget, []))
        while not done.wait(1.0):
            if not self.alive:
                return
        if self.admission.files is not None:
            self.admission.files.forget()
        if failed:
            raise EngineError(
                "What was computed of earlier texts could not be dropped from memory.",
                remedy="Restart the kernel: llmos stop.",
            ) from failed[0]

    def close(self) -> None:
        """Stop, and free the model: nobody may use its vocabulary any more. Safe to call twice."""
        self.stop()
        if hasattr(self, "runtime"):
            self.runtime.close()

    def stop(self) -> None:
        """End every sequence and the thread. Safe to call twice.

        The model stays loaded: texts on their way to whoever asked may still need its vocabulary.
        """

        def stop() -> None:
            self._stopping = True

        self._commands.put(stop)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def stats(self) -> dict[str, Any]:
        """Counters since the start and gauges of now."""
        admission, files = self.admission, self.admission.files
        return {
            "steps": self.steps,
            "busy_s": round(self.busy_s, 3),
            "threads": self.runtime.threads,
            "running": len(admission.running),
            "waiting": len(admission.waiting),
            "cells": admission.cells.total,
            "cells_used": admission.cells.used,
            "cells_idle": admission.idle_cells,
            "snapshots": len(admission.swap),
            "snapshot_bytes": admission.swap.bytes,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "prefilled_tokens": self.prefilled_tokens,
            "sampled_tokens": self.sampled_tokens,
            "finished": self.finished,
            "forked": admission.forked,
            "preemptions": admission.preemptions,
            "swapped_out": admission.swapped_out,
            "swapped_in": admission.swapped_in,
            "snapshot_files": len(files) if files is not None else 0,
            "snapshot_file_bytes": files.bytes if files is not None else 0,
            "snapshots_read": files.read if files is not None else 0,
        }

    @property
    def alive(self) -> bool:
        """Whether it runs: started, not stopped and not ended by an error."""
        return not (self._closed or self._stopping) and self._thread.is_alive()

    def _require_running(self) -> None:
        if not self.alive:
            raise EngineStopped("The engine has stopped.")

    def _send(self, command: Callable[[], None]) -> None:
        """Queue a command that will surely be taken: by the loop, or by its end."""
        with self._gate:
            if self._closed:
                raise EngineStopped("The engine has stopped.")
            self._commands.put(command)

    # --- the loop ---------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self.runtime = self._load()
            on_gpu = self.runtime.info.device == "gpu"
            resident = self._resident or (self.runtime.cells if on_gpu else 0)
            files = self._open_files(self.runtime.info) if self._open_files else None
            self.admission = Admission(
                self.runtime, resident, self._swap_bytes, files, self._commands.put
            )
            self.scheduler = Scheduler(self.runtime.batch)
        except BaseException as error:
            self._failure = error
            if hasattr(self, "runtime"):
                self.runtime.close()
            self._started.set()
            return
        self._started.set()
        try:
            while not self._stopping:
                if not self.step() and not self._stopping:
                    self._rest()
        except BaseException as error:
            self._failure = error
            log.exception("the engine ended")
        finally:
            self._end_all()
            self._put_away()

    def step(self) -> bool:
        """One step: schedule, decode, sample, publish, tidy. False when there was nothing to do."""
        self._take_commands()
        now = time.monotonic()
        for sequence, error in self.admission.admit(now):
            self._fail([sequence], error, "The reply could not be begun.")
        planned = self._plan(now)
        if not planned:
            return False
        rows = self._decode(planned)
        self._sample(planned, rows)
        self._publish()
        self.admission.tidy(self._step_s)
        return True

    def _take_commands(self) -> None:
        while not self._commands.empty():
            self._commands.get()()

    def _rest(self) -> None:
        """Nothing to do: sleep until a command comes; if none soon does, tidy up meanwhile."""
        self._publish(0.0)
        self._check()
        try:
            command = self._commands.get(timeout=limits.REST_S)
        except queue.Empty:
            while self._commands.empty() and self.admission.settle():
                self._dirty = True
            self._check()
            command = self._wait_long()
        command()

    def _wait_long(self) -> Callable[[], None]:
        """The next command; when it is long in coming, snapshots are written to disk meanwhile."""
        written = self.admission.files is None
        while not written:
            try:
                return self._commands.get(timeout=limits.SWAP_FILE_REST_S)
            except queue.Empty:
                written = self.admission.persist()
        return self._commands.get()

    def _put_away(self) -> None:
        """Nothing runs any more: write to disk what is worth it. May take a few seconds."""
        if self.admission.files is None:
            return
        until = time.monotonic() + limits.SWAP_FILE_CLOSE_S
        try:
            self.admission.persist(limits.SWAP_FILE_CLOSE_S)
            self.admission.files.close(max(until - time.monotonic(), 0.0))
        except Exception:
            log.exception("snapshots could not be written and will be computed again")

    def _check(self) -> None:
        """Compare the books with the runtime's, if anything happened since."""
        if not self._dirty:
            return
        self._dirty = False
        try:
            self.admission.cells.check_integrity()
        except Exception:
            log.exception("the cells are not what they should be and are emptied")
            self.admission.rebuild()

    def _plan(self, now: float) -> list[Planned]:
        admission = self.admission
        planned = self.scheduler.plan(admission.running, bool(admission.waiting), now)
        if not planned:
            return []
        left = admission.grow({p.sequence: p.count for p in planned})
        return [p for p in planned if p.sequence not in left]

    def _decode(self, planned: list[Planned]) -> list[int]:
        """Compute the step; returns the logits row of each sequence, -1 for none."""
        runs = []
        for p in planned:
            s = p.sequence
            tokens = s.tokens[s.filled : s.filled + p.count]
            runs.append(Run(s.slot, s.filled, tokens, s.filled + p.count == len(s.tokens)))
        if self._governor is not None:
            threads = self._governor.threads_for(0 if prefill_tokens(planned) else len(planned))
            if threads != self.runtime.threads:
                self.runtime.set_threads(threads)
        began, worked = time.monotonic(), time.process_time()
        try:
            rows = self.runtime.decode(runs)
        except Exception as error:  # whatever it is, it must not end the sequences beside it
            log.exception("a step of %d sequences failed", len(planned))
            self._fail([p.sequence for p in planned], error)
            return [-1] * len(planned)
        ended = time.monotonic()
        self._govern(planned, ended, ended - began, time.process_time() - worked)
        self._account(planned, ended, ended - began)
        return rows

    def _govern(self, planned: list[Planned], now: float, seconds: float, worked: float) -> None:
        """Tell the governor what a step cost, in time and in processor time."""
        if self._governor is None:
            return
        lost = self.runtime.threads - worked / max(seconds, 1e-6)
        prefilled = prefill_tokens(planned)
        if not prefilled:
            self._governor.learn(len(planned), seconds, now, lost=lost)
        elif prefilled >= limits.PREFILL_CHUNK_MIN:
            self._governor.learn(0, seconds / prefilled, now, lost=lost)

    def _account(self, planned: list[Planned], now: float, seconds: float) -> None:
        self.steps += 1
        self.busy_s += seconds
        self._step_s = seconds
        self._dirty = True
        self.scheduler.learn(planned, seconds)
        for p in planned:
            s = p.sequence
            self.admission.cells.append(s.slot, s.tokens[s.filled : s.filled + p.count])
            if s.prefilling:
                s.prefilled_tokens += p.count
                self.prefilled_tokens += p.count
            s.filled += p.count
            s.last_step = now

    def _sample(self, planned: list[Planned], rows: list[int]) -> None:
        now = time.monotonic()
        for p, row in zip(planned, rows, strict=True):
            s = p.sequence
            if row < 0 or s.state is State.DONE:
                continue
            followers, s.followers = s.followers, []
            for follower in followers:
                follower.leader = None
                self._alone(follower, partial(self._branch, s, follower, row, now))
            self._alone(s, partial(self._take_token, s, row, now))

    def _alone(self, s: Sequence, work: Callable[[], None]) -> None:
        """Do what concerns ``s``; its failure must not end those beside it."""
        try:
            work()
        except Exception as error:
            log.exception("a sequence failed between two steps")
            self._fail([s], error)

    def _branch(self, leader: Sequence, follower: Sequence, row: int, now: float) -> None:
        if self.admission.fork(leader, follower, now):
            self._take_token(follower, row, now)

    def _take_token(self, s: Sequence, row: int, now: float) -> None:
        """Sample one token for ``s`` from ``row`` and decide whether it goes on."""
        if s.generated >= s.max_tokens:
            self._finish(s, "length")
            return
        if s.sampler is None:
            s.sampler = self.runtime.sampler(s.params, s.tokens)
        token = s.sampler.sample(self.runtime, row)
        if not s.generated:
            s.first_token = now
            self.prompt_tokens += s.prompt_tokens
            self.cached_tokens += s.cached_tokens
        self.sampled_tokens += 1
        if self.runtime.is_end(token) and not s.params.ignore_end:
            self._finish(s, "stop")
            return
        s.sampled(token, self._visible(s, token), self._logprob(s, token, row))
        if s.output.stopped:
            self._finish(s, "stop")
        elif s.generated >= s.max_tokens:
            self._finish(s, "length")

    def _visible(self, s: Sequence, token: int) -> bytes:
        """The bytes a token adds to the reply; a control token only where it opens a call."""
        piece = self.runtime.piece(token)
        if not piece and s.params.trigger:
            name = self.runtime.piece(token, special=True)
            return name if name and name.decode("utf-8", "replace") in s.params.trigger else b""
        return piece

    def _logprob(self, s: Sequence, token: int, row: int) -> TokenLogprob | None:
        if s.params.logprobs is None:
            return None
        logits: Logits = self.runtime.logits(row)
        return logprob(logits, token, s.params.logprobs, self.runtime.piece)

    def _publish(self, most_s: float = limits.FLUSH_MAX_MS / 1000) -> None:
        """Let text out, at a rate that does not take the cores the model needs."""
        now = time.monotonic()
        everybody = [*self.admission.running, *self.admission.waiting]
        interval = min(limits.FLUSH_MS * len(self.admission.running) / 1000, most_s)
        for s in everybody:
            s.flush(now, interval)

    # --- commands, on the engine's thread ---------------------------------------------------

    def _enqueue(self, group: list[Sequence]) -> None:
        for sequence in group:
            if sequence.max_tokens > 0:
                self.admission.enqueue(sequence)
            else:
                self._finish(sequence, "length")

    def _expect(self, tokens: list[int]) -> None:
        self._dirty = True
        self.admission.expect(tokens)

    def _fork(self, parent: Sequence, child: Sequence) -> None:
        child.start_from(list(parent.tokens))
        child.transient = parent.transient
        self._enqueue([child])
        decoding = parent.state is State.RUNNING and not parent.prefilling
        if decoding and child.state is State.WAITING:  # a prefill would be awaited, not repeated
            self.admission.fork(parent, child, time.monotonic())

    def _cancel(self, s: Sequence) -> None:
        if s.state is State.DONE:
            return
        self._orphan(s)
        self._finish(s, "cancelled")

    def _suspend(self, s: Sequence, suspended: bool) -> None:
        s.suspended = suspended
        if suspended:
            self._orphan(s)  # nobody waits for one that does not move

    def _finish(self, s: Sequence, reason: str) -> None:
        self.finished += 1
        self.admission.retire(s)
        s.finish(reason)

    def _fail(
        self,
        sequences: list[Sequence],
        error: Exception,
        failure: str = "The model failed to compute a step.",
    ) -> None:
        sentence = failure
        if isinstance(error, LlmosError):
            sentence = error.sentence
        for s in sequences:
            self._orphan(s)
            self.admission.drop(s)
            self.finished += 1
            s.finish("error", EngineError(sentence))

    def _guarded(
        self, command: Callable[[], None], concerned: list[Sequence]
    ) -> Callable[[], None]:
        """``command``, whose failure ends the sequences it concerns and nothing else."""

        def run() -> None:
            try:
                command()
            except Exception as error:
                log.exception("a command on the engine's thread failed")
                left = [s for s in concerned if s.state is not State.DONE]
                self._fail(left, error, "The engine failed at this reply.")

        return run

    def _orphan(self, s: Sequence) -> None:
        """``s`` leaves its group before the prefill is done; another one leads the rest."""
        if s.leader is not None:
            s.leader.followers.remove(s)
            s.leader = None
        if s.followers:
            first, *rest = s.followers
            first.leader, first.followers, s.followers = None, rest, []
            for follower in rest:
                follower.leader = first

    def _end_all(self) -> None:
        """End every stream, those too whose command nobody has taken yet."""
        with self._gate:
            self._closed = True
        self._stopping = True
        while not self._commands.empty():
            self._commands.get()()
        stopped = EngineStopped("The engine has stopped.")
        for s in [*self.admission.running, *self.admission.waiting]:
            if self._failure is None:
                self.admission.retire(s)  # what was computed of it can be written to disk
            s.finish("error", stopped)
        self.admission.running.clear()
        self.admission.waiting.clear()


def _reseeded(params: SamplingParams, index: int) -> SamplingParams:
    """The parameters of the ``index``-th of several replies: a given seed gives each its own."""
    return (
        replace(params, seed=params.seed + index) if index and params.seed is not None else params
    )
