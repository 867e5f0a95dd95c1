"""Makes the vectors of passages in the background, and stands still when it is told to.

Two vectors a passage: of its text, and of its text with its speaker and its neighbours. In the
order in which passages were put, a few at a time; what was not reached is taken up next time. An
embedder that fails is tried again after a while, and whenever there is something new.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from llmos import limits
from llmos.errors import LlmosError, RemoteDown, StoreError
from llmos.memory.embed import Embedder
from llmos.memory.passages import Passage
from llmos.memory.words import Words
from llmos.seldom import Seldom

__all__ = ["Vectorizer", "pairs"]

log = logging.getLogger(__name__)
log.addFilter(Seldom())


class Vectorizer:
    """The background task of one index.

    Args:
        words: The index's file, open.
        embedder: What makes vectors.
        write: Runs a function that writes to the file.
        idle: Returns once nobody needs the processor.
        made: Called after vectors were kept.
    """

    def __init__(
        self,
        words: Words,
        embedder: Embedder,
        write: Callable[[Callable[[], None]], Awaitable[None]],
        idle: Callable[[], Awaitable[Any]],
        made: Callable[[], None],
    ) -> None:
        self.still = asyncio.Lock()  #: whoever holds it, no vectors are made
        self._words = words
        self._embedder = embedder
        self._write = write
        self._idle = idle
        self._made = made
        self._wake = asyncio.Event()
        self._settled = asyncio.Condition()
        self._failed: LlmosError | None = None  # why the embedder does not work
        self._told = ""  # the same, as the log has it
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        # One thread of its own, so that searches never wait for a place in the common pool.
        self._thread = ThreadPoolExecutor(1, "index-embed")

    def start(self) -> None:
        """Begin, with what was left the last time."""
        self._wake.set()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop after the batch under way; whoever waits in ``settled`` goes on."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await asyncio.to_thread(self._thread.shutdown)
        async with self._settled:
            self._settled.notify_all()

    def changed(self) -> None:
        """There are new passages. An embedder that failed is tried again."""
        self._failed = None
        self._wake.set()

    async def settled(self) -> None:
        """Returns once every passage has its vectors, or at the end.

        Raises:
            LlmosError: The embedder does not work.
        """
        async with self._settled:
            await self._settled.wait_for(self._done)
        if self._failed is not None:
            raise self._failed

    @property
    def failing(self) -> str:
        """Why the embedder did not work when it was last tried; empty where it did."""
        return self._told

    def _done(self) -> bool:
        words = self._words
        return self._closed or self._failed is not None or words.embedded >= words.total

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                seconds = limits.INDEX_RETRY_S if self._failed is not None else None
                await asyncio.wait_for(self._wake.wait(), seconds)
            self._wake.clear()
            try:
                while await self._some():
                    self._made()
                    self._works()
                self._failed, self._told = None, ""  # or there is nothing left that it refuses
            except LlmosError as error:
                if str(error) != self._told:
                    log.warning("no vectors for now, searches go by words: %s", error)
                self._failed, self._told = error, str(error)
            except Exception as error:  # or nobody would ever make a vector again, nor say why
                log.exception("no vectors for now, searches go by words")
                self._failed = StoreError(f"Vectors cannot be made ({type(error).__name__}).")
                self._told = str(self._failed)
            async with self._settled:
                self._settled.notify_all()

    def _works(self) -> None:
        if self._told:
            log.info("the embedder works again: vectors follow")
            self._told = ""

    async def _some(self) -> bool:
        """Make the vectors of a few passages; whether there were any to make."""
        # No low priority for the thread: it would be stopped while it holds the interpreter's
        # lock, and everybody with it. It works in small steps and stands still when it is told.
        await self._idle()
        async with self.still:
            waiting = await asyncio.to_thread(self._words.pending, limits.INDEX_EMBED)
            if waiting:
                loop = asyncio.get_running_loop()
                passages = [one for _, one in waiting]
                made = await loop.run_in_executor(self._thread, pairs, self._embedder, passages)
                numbered = [(n, pair) for (n, _), pair in zip(waiting, made, strict=True)]
                await self._write(lambda: self._words.add_vectors(numbered))
        return bool(waiting)


def pairs(embedder: Embedder, passages: Sequence[Passage]) -> list[bytes]:
    """Two vectors of each passage as float16; empty for one that the embedder refuses.

    Raises:
        LlmosError: It refuses all.
    """
    try:
        return _made(embedder, passages)
    except RemoteDown:  # it says nothing about the passages
        raise
    except Exception as error:
        made: list[bytes] = []
        for one in passages if len(passages) > 1 else ():
            try:
                made += _made(embedder, [one])
            except RemoteDown:
                raise
            except Exception:  # looked at below: one that is refused, or all
                made.append(b"")
        if any(made):
            log.warning("%d passages have no vectors: %s", made.count(b""), error)
            return made
        if isinstance(error, LlmosError):
            raise
        raise StoreError(f"The embedder fails ({type(error).__name__}: {error}).") from error


def _made(embedder: Embedder, passages: Sequence[Passage]) -> list[bytes]:
    texts = [one.text for one in passages]
    wholes = [_whole(one) for one in passages]
    other = [at for at, whole in enumerate(wholes) if whole != texts[at]]
    vectors = np.asarray(embedder.embed([*texts, *(wholes[at] for at in other)]), np.float32)
    if vectors.shape != (len(texts) + len(other), embedder.dimension):
        raise ValueError(f"vectors of shape {vectors.shape}")
    second = dict(zip(other, vectors[len(texts) :], strict=True))
    out = []
    for at, vector in enumerate(vectors[: len(texts)]):
        pair = np.stack([vector, second.get(at, vector)])
        out.append(pair.astype(np.float16).tobytes() if np.isfinite(pair).all() else b"")
    return out


def _whole(one: Passage) -> str:
    """The text with speaker and context; the text first, since a model reads only so far."""
    said = f"{one.speaker}: {one.text}" if one.speaker else one.text
    return f"{said}\n{one.context}" if one.context else said
