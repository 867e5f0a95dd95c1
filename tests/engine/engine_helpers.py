"""What the engine's tests share: a listener that collects, and an engine over the double."""

from __future__ import annotations

import threading
from collections.abc import Callable

from llmos.engine.backend import Chunk, Priority, Runtime, SamplingParams
from llmos.engine.engine import Engine
from llmos.engine.scripted import ScriptedRuntime
from llmos.engine.sequence import Sequence

WAIT_S = 60.0


class Listener:
    """Collects one stream's chunks; ``done`` and ``spoke`` are events to wait on."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.done = threading.Event()
        self.spoke = threading.Event()

    def __call__(self, sequence: Sequence, chunk: Chunk) -> None:
        assert not self.done.is_set(), "a chunk after the last one"
        self.chunks.append(chunk)
        if chunk.tokens:
            self.spoke.set()
        if chunk.finish:
            self.done.set()

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def last(self) -> Chunk:
        assert self.done.wait(WAIT_S), "the stream never ended"
        return self.chunks[-1]

    @property
    def finish(self) -> str:
        return self.last.finish


class Group:
    """The listeners of one submission, told apart by their sequence."""

    def __init__(self, n: int) -> None:
        self.listeners = [Listener() for _ in range(n)]
        self.sequences: list[Sequence] = []
        self._assigned: dict[Sequence, Listener] = {}

    def __call__(self, sequence: Sequence, chunk: Chunk) -> None:
        if sequence not in self._assigned:
            self._assigned[sequence] = self.listeners[len(self._assigned)]
        self._assigned[sequence](sequence, chunk)


class Rig:
    """A started engine over a runtime, stopped and checked at the end of the test."""

    def __init__(self, load: Callable[[], Runtime], **options: object) -> None:
        self.engine = Engine(load, **options)  # type: ignore[arg-type]
        self.engine.start()

    @property
    def runtime(self) -> Runtime:
        return self.engine.runtime

    def ask(
        self,
        prompt: str | list[int],
        *,
        priority: Priority = Priority.INTERACTIVE,
        **params: object,
    ) -> tuple[Sequence, Listener]:
        listener = Listener()
        tokens = self.tokens(prompt)
        made = self.engine.submit(
            tokens,
            SamplingParams(**params),  # type: ignore[arg-type]
            listener,
            priority=priority,
        )
        return made[0], listener

    def ask_many(self, prompt: str | list[int], n: int, **params: object) -> Group:
        group = Group(n)
        group.sequences = self.engine.submit(
            self.tokens(prompt),
            SamplingParams(**params),  # type: ignore[arg-type]
            group,
            n=n,
        )
        return group

    def tokens(self, prompt: str | list[int]) -> list[int]:
        return self.runtime.tokenize(prompt, special=True) if isinstance(prompt, str) else prompt

    def between_steps(self, function: Callable[[], object]) -> object:
        """What ``function`` returns on the engine's thread."""
        results: list[object] = []
        done = threading.Event()

        def call() -> None:
            try:
                results.append(function())
            finally:
                done.set()

        self.engine.call(call)
        assert done.wait(WAIT_S)
        assert results, "the call failed; the log says why"
        return results[0]

    def check(self) -> None:
        self.between_steps(self.engine.admission.cells.check_integrity)


class Gate:
    """Holds the double's steps until they are let through, one by one or all."""

    def __init__(self) -> None:
        self._steps = threading.Semaphore(0)
        self._open = threading.Event()
        self.reached = threading.Semaphore(0)

    def __call__(self, runs: object) -> None:
        self.reached.release()
        while not self._open.is_set() and not self._steps.acquire(timeout=0.02):
            pass

    def step(self, count: int = 1) -> None:
        """Let ``count`` steps through, and wait until the next one stands at the gate."""
        for _ in range(count):
            assert self.reached.acquire(timeout=WAIT_S)
            self._steps.release()
        assert self.reached.acquire(timeout=WAIT_S)
        self.reached.release()

    def open(self) -> None:
        self._open.set()


def scripted(reply: Callable[[str], str] | str, **options: object) -> Callable[[], ScriptedRuntime]:
    script = reply if callable(reply) else lambda _prompt: reply
    return lambda: ScriptedRuntime(script, **options)  # type: ignore[arg-type]
