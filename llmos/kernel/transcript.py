"""What is said in a process: kept in the journal, shown in its window, and room made for it there.

The one owner of a process's history. A record is on the disk before the model sees it. Where a
prompt would leave too little room for a reply, turns leave the window (``memory/window.py`` says
which), and that is kept too: after a restart the same bytes are shown.

Knows records, windows and prompts; not calls, not how replies are generated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from llmos import limits
from llmos.config import AgentConfig
from llmos.engine.backend import Backend, Priority, Prompt, SamplingParams
from llmos.errors import LlmosError
from llmos.events import Event, Message, Recalled, StoredMessage, WindowChanged
from llmos.kernel.history import TOO_LONG, before
from llmos.kernel.memory import Memory
from llmos.kernel.process import Process
from llmos.kernel.whole import whole
from llmos.labels import Label, Origin, join
from llmos.memory.facts import Facts
from llmos.memory.journal import Journal, new_id
from llmos.memory.pages import Kind
from llmos.memory.recall import Recalled as Brought
from llmos.memory.records import Record
from llmos.memory.window import Change, Window, digest

__all__ = ["SYSTEM", "Shape", "Shaped", "Transcript"]

log = logging.getLogger(__name__)

SYSTEM = "You are a helpful assistant. Answer briefly and truthfully."

#: What is rendered: messages, and the tools offered with them.
Shaped: TypeAlias = tuple[Sequence[Message], Sequence[dict[str, Any]]]
Shape: TypeAlias = Callable[[Sequence[Message]], Shaped]


class Transcript:
    """The histories of all processes.

    Args:
        backend: Counts tokens.
        journal: Where everything is kept.
        publish: Takes events.
        config: The system prompt, and how long a reply may be.
        memory: Brings back what belongs to a turn; None leaves what is out of view there.
    """

    def __init__(
        self,
        backend: Backend,
        journal: Journal,
        publish: Callable[[Event], None],
        config: AgentConfig,
        memory: Memory | None = None,
    ) -> None:
        self._backend = backend
        self._journal = journal
        self._publish = publish
        self._config = config
        self._memory = memory
        #: What is rendered before a reply, where nobody says otherwise; the agent knows.
        self.shape: Shape = lambda messages: (messages, ())

    # --- what is said -----------------------------------------------------------------------

    async def open(self, process: Process, turn: int) -> Window:
        """The process's window as it stands before ``turn``: made from the journal, once."""
        if process.window is None:
            window = Window(process.system or self._config.system or SYSTEM)

            def read() -> None:
                records = self._journal.records(process.pid)
                unseen = self._journal.turns_ended(process.pid, TOO_LONG)
                for record in before(records, process.pid, turn, unseen):
                    window.add(record)

            await asyncio.to_thread(read)
            process.window = window
        return process.window

    async def begin(self, process: Process, message: StoredMessage) -> None:
        """Show the model a message that is in the journal already, and what belongs to it."""
        if self._memory is not None:
            await self._tell_core(process, message.turn, self._memory.facts)
        await self._show(process, Record(process.pid, message, Label(Origin.USER)))
        if self._memory is None:
            return
        await self._fit(process, message.message.content)  # first: only what left can come back
        found = await self._belonging(process, message.message.content)
        if found is not None:
            self._memory.recall.counts.prefetch(process.pid, found.pages)
            await self.keep(process, message.turn, found.message, label=found.label)
            self._publish(
                Recalled(pid=process.pid, turn=message.turn, pages=found.pages, places=found.places)
            )

    def _core(self) -> dict[str, Any]:
        """What is folded into a front, for ``Window.evict`` and ``Window.rebuilt``."""
        if self._memory is None:
            return {}
        facts = self._memory.facts
        return {"core": facts.core(), "core_sources": facts.core_sources()}

    async def _fit(self, process: Process, text: str) -> None:
        """Make room for a new message and what may be brought back for it, if there is too little.

        Now, since what is in view is not brought back; it must not leave later in this turn.
        """
        size = self._backend.info.window
        spare = int(size * limits.PREFETCH_SHARE)
        known = process.context_tokens or size  # nobody has counted what was imported
        if known + spare + len(text.encode()) > self._room:  # there is no token without a byte
            await self.prompt(process, self.shape, spare=spare)

    async def _belonging(self, process: Process, text: str) -> Brought | None:
        """What of everything out of view belongs to a person's words."""
        if self._memory is None:
            return None
        window, count = self._backend.info.window, self._backend.count
        return await self._memory.prefetch(process, text, window=window, count=count)

    async def _tell_core(self, process: Process, turn: int, facts: Facts) -> None:
        """See that the model knows what every conversation begins with.

        It stands in the front of a conversation that begins; in one under way a change is told at
        the tail, and folded into the front when that is next built.
        """
        window, core = self._window(process), facts.core()
        now = digest(facts.core_sources())
        if window.core == now:
            return
        if window.held:
            text = f"(From now on this holds.)\n{core or 'What was noted before holds no more.'}"
            note = Message(Kind.NOTE, text, name=now)
            label = Label(Origin.USER, facts.core_sources())
            await self.keep(process, turn, note, label=label)
        else:
            await self._change(process, turn, window.rebuilt(**self._core()), ())

    async def keep(
        self,
        process: Process,
        turn: int,
        message: Message,
        *,
        label: Label | None = None,
        partial: bool = False,
        error: str = "",
        seconds: float = 0.0,
    ) -> StoredMessage:
        """Journal a message, then show it to the model from now on.

        Raises:
            StoreError: It cannot be kept.
        """
        work = self._keep(process, turn, message, label, partial, error, seconds)
        return await whole(work)

    async def _keep(
        self,
        process: Process,
        turn: int,
        message: Message,
        label: Label | None,
        partial: bool,
        error: str,
        seconds: float,
    ) -> StoredMessage:
        if label is None:
            label = Label(Origin.PLUGIN if message.role == "tool" else Origin.MODEL)
        stored = await self._journal.append(
            process.pid,
            message,
            turn=turn,
            label=label,
            error=error,
            seconds=seconds,
            partial=partial,
            id=new_id(),
        )
        process.active = stored.time
        await self._show(process, Record(process.pid, stored, label))
        return stored

    async def _show(self, process: Process, record: Record) -> None:
        """Put a record into view: of a long one, its beginning and its end."""
        window = self._window(process)
        if len(record.stored.message.content) > limits.ASIDE_CHARS:  # cutting it takes long
            held = await asyncio.to_thread(window.add, record)
        else:
            held = window.add(record)
        if held is None:
            return
        room = int(self._backend.info.window * limits.MESSAGE_SHARE)
        evicted = window.trim(held, self._backend.count, room)
        if evicted:
            change = Change(evicted, window.front, window.core, window.sources)
            await self._change(process, held.turn[1], change, ())

    # --- room -------------------------------------------------------------------------------

    async def prompt(self, process: Process, shape: Shape, *, spare: int = 0) -> Prompt:
        """What the model is shown of ``process``, with room for a reply.

        Args:
            process: Whose.
            shape: Makes what is rendered of the messages in view.
            spare: Tokens of room that must be left besides.
        """
        while True:
            prompt = await self._rendered(shape(self._window(process).messages()))
            used = self._backend.size(prompt)
            if used + spare <= self._room or not await self._make_room(process, prompt, used):
                return prompt

    @property
    def _room(self) -> int:
        """Tokens of a prompt that leave room for a reply."""
        size = self._backend.info.window
        return size - min(self._config.reply_tokens, int(size * limits.REPLY_SHARE))

    async def rest(self, process: Process) -> None:
        """Between two turns: make room while nobody waits, and have the new front computed."""
        size = self._backend.info.window
        if process.context_tokens <= size * limits.REST_SHARE:
            return
        window = self._window(process)
        try:
            prompt = await self._rendered(self.shape(window.messages()), generate=False)
            if not await self._make_room(process, prompt, self._backend.size(prompt)):
                return
            prompt = await self._rendered(self.shape(window.messages()), generate=False)
        except LlmosError as error:  # the next turn makes room for itself
            log.warning("no room was made in process %d: %s", process.pid, error)
            return
        process.context_tokens = self._backend.size(prompt)
        self.ahead(process, prompt)

    async def draft(self, process: Process, text: str) -> None:
        """Have what is being typed computed ahead, as far as it will stay as it is."""
        window = await self.open(process, process.turns + 1)
        found = await self._belonging(process, text)
        said = [*([found.message.content] if found else []), text.rstrip()]
        shaped = self.shape([*window.messages(), Message("user", "\n\n".join(said))])
        try:
            prompt = await self._rendered(shaped, generate=False)
        except LlmosError:
            return
        # The end of the message, and the word being typed, will come out as other tokens.
        *tokens, _ = self._backend.sizes(prompt, [*(m.content for m in shaped[0]), ""])
        kept = replace(prompt, tokens=prompt.tokens[: sum(tokens) - limits.DRAFT_TAIL])
        size = self._backend.info.window
        idle = process.task is None and process.window is window
        if idle and limits.SHARE_MIN < len(kept.tokens) < size * limits.REST_SHARE:
            self.ahead(process, kept)

    def ahead(self, process: Process, prompt: Prompt) -> None:
        """Have ``prompt`` computed while nothing else is to be done; what was begun so ends."""
        process.stop_ahead()
        process.ahead = asyncio.create_task(self._compute(prompt, process))

    async def _compute(self, prompt: Prompt, process: Process) -> None:
        try:
            # One token must be decoded, for its logits; it is not kept.
            params = SamplingParams(max_tokens=1)
            [generation] = self._backend.generate(prompt, params, priority=Priority.IDLE)
        except LlmosError as error:
            log.info("nothing is computed ahead in process %d: %s", process.pid, error)
            return
        try:
            async for _ in generation:
                pass
        finally:
            generation.cancel()

    async def _rendered(self, shaped: Shaped, *, generate: bool = True) -> Prompt:
        messages, tools = shaped
        return await self._backend.prompt(messages, tools=tools, generate=generate)

    async def _make_room(self, process: Process, prompt: Prompt, used: int) -> bool:
        """Have turns leave down to ``limits.LOW_SHARE`` of the window; False where nothing can."""
        window, size = self._window(process), self._backend.info.window
        window.measure(lambda texts: self._backend.sizes(prompt, texts))
        change = window.evict(used - int(size * limits.LOW_SHARE), size, **self._core())
        if change is None:
            return False
        leaving = set(change.evicted)
        labels = [h.record.label for h in window.held if any(p.id in leaving for p in h.pages)]
        await self._change(process, process.turn_number, change, labels)
        return True

    async def _change(
        self, process: Process, turn: int, change: Change, labels: Sequence[Label]
    ) -> None:
        label = Label(join(*labels).origin if labels else Origin.SYSTEM, change.sources)
        message = Message(Kind.WINDOW, change.to_json())
        await self._journal.append(process.pid, message, turn=turn, label=label, id=new_id())
        self._window(process).apply(change)
        self._publish(WindowChanged(pid=process.pid, turn=turn, evicted=change.evicted))

    def _window(self, process: Process) -> Window:
        assert process.window is not None, "the window is opened before it is used"
        return process.window
