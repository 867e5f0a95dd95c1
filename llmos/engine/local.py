"""The engine as a backend: from messages to tokens, from tokens to an asyncio stream.

Joins the step loop (tokens, its own thread) to the kernel's asyncio loop (messages, text). Also
remembers which tokens spelled a reply: text tokenized anew may come out as other tokens than the
model wrote, and then its cells could not be reused; a client that sends its whole history back
gets the very tokens that are in the cache.
"""

from __future__ import annotations

import asyncio
import json
import logging
from array import array
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from llmos import limits, paths
from llmos.engine.backend import (
    Chunk,
    Generation,
    ModelInfo,
    Priority,
    Prompt,
    Runtime,
    SamplingParams,
)
from llmos.engine.engine import Engine
from llmos.engine.neutral import Neutralizer
from llmos.engine.sequence import Sequence as EngineSequence
from llmos.engine.template import TemplateWorker
from llmos.errors import EngineStopped
from llmos.events import Message

__all__ = ["LocalBackend"]

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class LocalBackend:
    """A model on this machine.

    Args:
        load: Builds the runtime, on the engine's thread.
        known: A file that keeps the tokens of known texts from one start to the next, so that
            snapshots on disk are found; None keeps them in memory only.
        engine: Keyword arguments of ``Engine``.
    """

    def __init__(
        self, load: Callable[[], Runtime], *, known: Path | None = None, **engine: Any
    ) -> None:
        self.engine = Engine(load, **engine)
        self._known_file = known
        self.info: ModelInfo
        self._known: OrderedDict[str, array[int]] = OrderedDict()
        self._known_tokens = 0
        self._forgets = 0
        self._aside = ThreadPoolExecutor(thread_name_prefix="tokenize")  # for long texts
        self._closed = False
        self._template: TemplateWorker
        self._neutral: Neutralizer

    async def start(self) -> None:
        """Load the model.

        Raises:
            ModelError: It cannot be loaded.
        """
        await asyncio.to_thread(self.engine.start)
        self.info = self.engine.runtime.info
        await asyncio.to_thread(self._read_known)
        self._neutral = Neutralizer(self.engine.runtime.controls())
        self._template = TemplateWorker(self.info.template, bos=self.info.bos, eos=self.info.eos)

    async def prompt(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[dict[str, Any]] = (),
        generate: bool = True,
    ) -> Prompt:
        size = sum(len(message.content) for message in messages)
        safe, schemas = await self._worked(
            size, lambda: (self._neutral.messages(messages), self._neutral.value(tools))
        )
        text = self._opened(await self._template.render(safe, schemas, generate))
        return Prompt(tuple(messages), text, await self._tokens(text), tuple(tools))

    async def text_prompt(self, text: str) -> Prompt:
        text = self._opened(text)
        return Prompt((), text, await self._tokens(text))

    async def token_prompt(self, tokens: Sequence[int]) -> Prompt:
        """A prompt of token ids. Ids outside the vocabulary are refused by the caller."""
        self._require_open()
        text = self._spelled(tokens).decode("utf-8", "replace")
        return Prompt((), text, tuple(tokens), read=False)

    def expect(self, prompt: Prompt) -> None:
        if not self._closed:
            self.engine.expect(list(prompt.tokens))

    def generate(
        self,
        prompt: Prompt,
        params: SamplingParams,
        *,
        priority: Priority = Priority.INTERACTIVE,
        n: int = 1,
    ) -> list[Generation]:
        loop = asyncio.get_running_loop()
        streams: dict[EngineSequence, _Stream] = {}
        begun = self._forgets

        def deliver(sequence: EngineSequence, chunk: Chunk) -> None:
            loop.call_soon_threadsafe(arrive, sequence, chunk)

        def arrive(sequence: EngineSequence, chunk: Chunk) -> None:
            stream = streams[sequence]
            stream.arrive(chunk)
            kept = prompt.read and not sequence.transient and begun == self._forgets
            if chunk.finish and not self._closed and kept:
                self._learn(prompt.text, stream.text, sequence)

        tokens = list(prompt.tokens)
        for sequence in self.engine.submit(tokens, params, deliver, priority=priority, n=n):
            streams[sequence] = _Stream(self.engine, sequence)
        return list(streams.values())

    def count(self, text: str) -> int:
        self._require_open()
        return len(self.engine.runtime.tokenize(text, special=True))

    def size(self, prompt: Prompt) -> int:
        return len(prompt.tokens)

    def sizes(self, prompt: Prompt, texts: Sequence[str]) -> list[int]:
        self._require_open()
        piece = self.engine.runtime.piece
        spelled = np.cumsum([len(piece(token, special=True)) for token in prompt.tokens])
        starts: list[int] = []
        at, read = 0, 0
        for text in texts:
            wanted = self._neutral.text(text).strip()  # templates strip, too
            found = prompt.text.find(wanted, at)
            if found < 0:  # left out by the template
                wanted, found = "", at
            read += len(prompt.text[at:found].encode("utf-8", "replace"))
            starts.append(int(np.searchsorted(spelled, read, side="right")) if starts else 0)
            read += len(wanted.encode("utf-8", "replace"))
            at = found + len(wanted)
        ends = [*starts[1:], len(prompt.tokens)]
        return [end - start for start, end in zip(starts, ends, strict=True)]

    async def forget(self) -> None:
        self._forgets += 1  # what is under way teaches nothing, however soon it ends
        self._known.clear()
        self._known_tokens = 0
        await asyncio.to_thread(self.engine.forget)
        if self._known_file is not None and not self._known_file.is_dir():  # a folder is not ours
            self._known_file.unlink(missing_ok=True)

    def stats(self) -> dict[str, Any]:
        return self.engine.stats()

    @property
    def alive(self) -> bool:
        return self.engine.alive

    async def close(self) -> None:
        await asyncio.to_thread(self.engine.stop)  # the last chunks are with this loop now
        if hasattr(self, "info"):
            await asyncio.to_thread(self._write_known)
        self._closed = True  # from here on nobody begins to use the vocabulary
        await asyncio.to_thread(self._aside.shutdown)
        await asyncio.to_thread(self.engine.close)
        if hasattr(self, "_template"):
            await self._template.close()

    # --- tokens of known text ---------------------------------------------------------------

    def tokenize(self, text: str) -> list[int]:
        """Tokens of ``text``, beginning with the very tokens of a text seen before.

        Raises:
            EngineStopped: The model is gone.
        """
        self._require_open()
        return self._continued(text, *self._recall(text))

    async def _tokens(self, text: str) -> tuple[int, ...]:
        """``tokenize``, without holding up the loop where much is new."""
        self._require_open()
        known, tokens = self._recall(text)
        new = len(text) - len(known)
        return await self._worked(new, lambda: tuple(self._continued(text, known, tokens)))

    async def _worked(self, size: int, work: Callable[[], _T]) -> _T:
        """What ``work`` on a text of ``size`` characters returns; in a thread where it is long."""
        if size <= limits.ASIDE_CHARS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._aside, work)

    def _require_open(self) -> None:
        if self._closed:
            raise EngineStopped("The engine has stopped.")

    def _recall(self, text: str) -> tuple[str, Sequence[int]]:
        """The longest known text that ``text`` begins with, and its tokens."""
        known = max((t for t in self._known if text.startswith(t)), key=len, default="")
        if not known:
            return "", ()
        self._known.move_to_end(known)
        return known, self._known[known]

    def _continued(self, text: str, known: str, tokens: Sequence[int]) -> list[int]:
        """Tokens of ``text``, of which ``known`` is the beginning. Runs on any thread."""
        runtime = self.engine.runtime
        if known:
            rest = runtime.tokenize(text[len(known) :], special=True)
            # Only a control token keeps the border from merging with what precedes it.
            if not rest or not runtime.piece(rest[0]):
                return [*tokens, *rest]
        return runtime.tokenize(text, special=True)

    def _learn(self, prompt: str, reply: str, sequence: EngineSequence) -> None:
        """Remember which tokens spelled ``prompt`` and ``reply``, if they did so exactly."""
        written = sequence.tokens[sequence.prompt_tokens :]
        if not written or self._spelled(written) != reply.encode("utf-8", "replace"):
            return
        self._keep(prompt + reply, array("i", sequence.tokens))

    def _keep(self, text: str, tokens: array[int]) -> None:
        self._forget(text)
        self._known[text] = tokens
        self._known_tokens += len(tokens)
        while len(self._known) > limits.KNOWN_TEXTS or self._known_tokens > limits.KNOWN_TOKENS:
            self._forget(next(iter(self._known)))

    def _forget(self, text: str) -> None:
        self._known_tokens -= len(self._known.pop(text, ()))

    def _read_known(self) -> None:
        """Take up what the kernel before this one knew, if it ran the same model."""
        if self._known_file is None or not self._known_file.is_file():
            return
        try:
            kept = json.loads(self._known_file.read_bytes())
            if kept["fingerprint"] != self.info.fingerprint:
                return
            for tokens in kept["tokens"]:
                self._keep(self._spelled(tokens).decode("utf-8"), array("i", tokens))
        except Exception as error:  # whatever is in it: a text is then tokenized anew
            log.warning("the tokens of known texts cannot be read: %s", error)

    def _write_known(self) -> None:
        if self._known_file is None:
            return
        kept = {"fingerprint": self.info.fingerprint, "tokens": [*map(list, self._known.values())]}
        try:
            paths.atomic_write(self._known_file, json.dumps(kept).encode())
        except OSError as error:
            log.warning("the tokens of known texts cannot be kept: %s", error)

    def _spelled(self, tokens: Sequence[int]) -> bytes:
        piece = self.engine.runtime.piece
        return b"".join(piece(token, special=True) for token in tokens)

    def _opened(self, text: str) -> str:
        """``text`` behind the token every prompt of this model begins with."""
        missing = self.info.adds_bos and not text.startswith(self.info.bos)
        return self.info.bos + text if missing else text


class _Stream:
    """One running reply, seen from the asyncio loop."""

    def __init__(self, engine: Engine, sequence: EngineSequence) -> None:
        self.text = ""
        self.sequence = sequence
        self._engine = engine
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue()

    def arrive(self, chunk: Chunk) -> None:
        self.text += chunk.text
        self._chunks.put_nowait(chunk)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        while True:
            chunk = await self._chunks.get()
            yield chunk
            if chunk.finish:
                return

    def cancel(self) -> None:
        self._engine.cancel(self.sequence)

    def suspend(self) -> None:
        self._engine.suspend(self.sequence)

    def resume(self) -> None:
        self._engine.resume(self.sequence)
