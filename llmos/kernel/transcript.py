"""What is said in a process: kept in the journal, shown in its window, and room made for it there.

The one owner of a process's history. A record is on the disk before the model sees it. Where a
prompt would leave too little room for a reply, turns leave the window (``memory/window.py`` says
which), and that is kept too: after a restart the same bytes are shown.

Knows records, windows and prompts; not calls, not how replies are generated.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

from llmos import limits
from llmos.config import AgentConfig
from llmos.engine.backend import Backend, Priority, Prompt, SamplingParams
from llmos.errors import KernelError, LlmosError, NotStored
from llmos.events import Event, Message, Recalled, ReplyHeard, StoredMessage, WindowChanged
from llmos.kernel.history import TOO_LONG, before, heard_of
from llmos.kernel.memory import Memory
from llmos.kernel.process import Process, State
from llmos.labels import Label, Origin, join
from llmos.memory.facts import Facts
from llmos.memory.journal import Journal, new_id
from llmos.memory.pages import Kind, page_id, pages_of
from llmos.memory.recall import Recalled as Brought
from llmos.memory.records import Record
from llmos.memory.whole import whole
from llmos.memory.window import Change, Window, digest

__all__ = ["SYSTEM", "Shape", "Shaped", "Transcript", "never_said"]

log = logging.getLogger(__name__)

#: What is shown with a message, and begun anew with it.
_SHOWN_WITH = (Kind.NOTE, Kind.RECALLED, Kind.EXPERT)
_NEXT = "What now?"  # words that stand for whatever a person says next

SYSTEM = "You are a helpful assistant. Answer briefly and truthfully."

#: What is rendered: messages, and the tools offered with them.
Shaped: TypeAlias = tuple[Sequence[Message], Sequence[dict[str, Any]]]
Shape: TypeAlias = Callable[[Sequence[Message]], Shaped]
#: The same, where nobody says how: by the process.
ShapeOf: TypeAlias = Callable[[Process, Sequence[Message]], Shaped]


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
        self._open: dict[int, Process] = {}  # whose windows are open, those used last at the end
        self._shut = 0  # times windows were shut because of an erasure
        self._erasing = 0  # erasures under way: nothing is computed ahead
        #: What is rendered before a reply, where nobody says otherwise; the agent knows.
        self.shape: ShapeOf = lambda _process, messages: (messages, ())

    # --- what is said -----------------------------------------------------------------------

    async def open(self, process: Process, turn: int) -> Window:
        """The process's window as it stands before ``turn``: made from the journal, once.

        Where the front was erased, it is built anew, and that is kept: what had left stays out.
        """
        while process.window is None:
            shut = self._shut
            window = await asyncio.to_thread(self._read, process, turn)
            if window.stale and process.window is None and shut == self._shut:
                change = window.rebuilt(**self._core())
                await self._journal_change(process, process.turn_number, change, ())
                window.apply(change)
            if process.window is None and shut == self._shut:  # nothing was erased meanwhile
                process.window = window
        self._used(process)
        return process.window

    def _read(self, process: Process, turn: int) -> Window:
        window = Window(
            process.system or self._config.system or SYSTEM,
            summary_bytes=int(self._backend.info.window * limits.SUMMARY_SHARE),
        )
        records = self._journal.records(process.pid)
        unseen = self._journal.turns_ended(process.pid, TOO_LONG)
        for record in before(records, process.pid, turn, unseen):
            window.add(record)
        if self._memory is not None:
            for id, summary in self._memory.derived.summaries().items():
                window.summarise(id, summary)
        return window

    def shut(self, processes: Iterable[Process]) -> None:
        """Have windows made from the journal anew: what stands in it has changed."""
        self._shut += 1
        for process in processes:
            process.window = None

    @contextmanager
    def erasing(self) -> Iterator[None]:
        """Nothing is computed ahead meanwhile: what is may be gone when it is done."""
        self._erasing += 1
        try:
            yield
        finally:
            self._erasing -= 1

    def _used(self, process: Process) -> None:
        """Shut the windows of idle processes that were used longest ago, where all hold too much.

        They are made from the journal again when they are needed.
        """
        self._open.pop(process.pid, None)
        self._open[process.pid] = process
        total = sum(_records(other) for other in self._open.values())
        for pid, other in list(self._open.items()):
            over = total > limits.WINDOW_RECORDS or other.state is State.ENDED
            if over and other is not process and other.task is None:
                total -= _records(other)
                other.window = None
            if other.window is None:
                del self._open[pid]

    async def begin(self, process: Process, message: StoredMessage) -> None:
        """Show the model a message that is in the journal already."""
        await self._begin_anew(process, message)
        if self._memory is not None:
            await self._tell_core(process, message.turn, self._memory.facts)
        record = await asyncio.to_thread(self._journal.record, message.seq)
        label = record.label if record is not None else Label()
        await self._show(process, Record(process.pid, message, label))

    async def expect(self, process: Process) -> None:
        """Have the engine bring back what it computed of what is in view, meanwhile."""
        try:
            shaped = self.shape(process, self._window(process).messages())
            self._backend.expect(await self._rendered(shaped, generate=False))
        except LlmosError as error:  # the turn will meet it, too, and tell of it
            log.info("nothing is made ready in process %d: %s", process.pid, error)

    async def bring_back(self, process: Process, message: StoredMessage) -> None:
        """Show the model what belongs to a message that it was shown, of what is out of view."""
        if self._memory is None:
            return
        await self._fit(process, message.message.content)  # first: only what left can come back
        found = await self._belonging(process, message.message.content)
        if found is not None:
            self._memory.recall.counts.prefetch(process.pid, found.pages)
            kept = await self.keep(process, message.turn, found.message, label=found.label)
            self._publish(
                Recalled(
                    pid=process.pid,
                    seq=kept.seq,
                    turn=message.turn,
                    pages=found.pages,
                    places=found.places,
                )
            )

    async def _begin_anew(self, process: Process, message: StoredMessage) -> None:
        """Of a turn that a kill came into, what was shown with its message is shown no more."""

        def read() -> list[str]:
            ids: list[str] = []
            found = self._journal.following(message.seq, _SHOWN_WITH)
            while found is not None:
                if found.stored.turn == message.turn:
                    ids += (page.id for page in pages_of(found))
                found = self._journal.following(found.stored.seq, _SHOWN_WITH)
            return ids

        left = await asyncio.to_thread(read)
        if left:
            await self._change(process, message.turn, self._window(process).without(left), ())

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
        known = process.context_tokens or self._room  # nobody has counted what was imported
        if known + self._spare + len(text.encode()) > self._room:  # no token is without a byte
            await self.prompt(process, partial(self.shape, process), spare=self._spare)

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
        if window.told == now:
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
            label = Label(Origin.PLUGIN)
            if message.role == "assistant":  # it says what it was brought back, in other words
                brought = self._window(process).brought_from((process.pid, turn))
                label = Label(Origin.MODEL, brought)
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
        change = window.trim(held, self._backend.count, room)
        if change is not None:
            await self._change(process, held.turn[1], change, ())

    async def cut(self, process: Process, turn: int, heard: str, writing: str = "") -> str:
        """Of a turn's replies, keep only that their beginning was ``heard``; calls stay.

        The journal keeps what was written, and a record of how much of it is the conversation's.

        Args:
            process: Whose turn it is, the last one.
            turn: Its number.
            heard: A beginning of the turn's replies, as ``heard_of`` has it; it may be empty.
            writing: What is written of a reply that is not journalled yet.

        Returns:
            What was heard of ``writing``.

        Raises:
            KernelError: The replies do not begin so.
        """
        said = await self.replies(process, turn)
        lengths = heard_of([*(r.stored.message.content for r in said), writing], heard)
        if lengths is None:
            raise never_said(turn)
        shorter = [
            (record, length)
            for record, length in zip(said, lengths, strict=False)
            if length < len(record.stored.message.content)
        ]
        for record, length in reversed(shorter):  # a kill in between leaves a beginning, too
            stored = record.stored
            note = Message(Kind.HEARD, str(length), name=page_id(stored.seq))
            label = Label(Origin.USER, (stored.id,))
            kept = await self._journal.append(
                process.pid, note, turn=turn, label=label, id=new_id()
            )
            self._publish(
                ReplyHeard(
                    pid=process.pid,
                    seq=kept.seq,
                    turn=turn,
                    message_id=stored.id,
                    text=stored.message.content[:length],
                )
            )
        if shorter:  # what the model is shown from now on ends there
            process.window = await asyncio.to_thread(self._read, process, turn + 1)
        return writing[: lengths[-1]]

    async def replies(self, process: Process, turn: int) -> list[Record]:
        """The records of a turn in which the model said something, as far as it was heard."""
        records = await asyncio.to_thread(self._journal.records, process.pid, role=Kind.ASSISTANT)
        return [
            record
            for record in records
            if record.pid == process.pid and record.stored.turn == turn and not record.erased
        ]

    async def recount(self, process: Process) -> None:
        """What is in view has changed between two turns: measure it, and have it computed."""
        process.context_tokens = 0
        await self._compute_front(process)

    async def pin(self, process: Process, written: str, pinned: bool = True) -> None:
        """Have a page stay in view when room is made, with its turn, or no longer.

        One that is out of view comes back at once, in its place; the front is built anew without
        its handle. No turn may be under way.

        Args:
            process: In whose window.
            written: A page's id, or that of a record, which means all its pages.
            pinned: False lets it go again.

        Raises:
            NotStored: Nothing that was said in this conversation is called so.
            KernelError: Pinned pages would fill too much of the window.
        """
        window = await self.open(process, process.first_open_turn or process.turns + 1)
        ids = window.named(written)
        if not ids:
            name = written.strip()[:40]
            raise NotStored(f"Nothing that was said in process {process.pid} is called {name!r}.")
        change = None
        if pinned:
            room = int(self._backend.info.window * limits.PINNED_SHARE)
            change = await asyncio.to_thread(
                lambda: window.brought(ids, self._backend.count, room, **self._core())
            )
            if change is None:
                raise KernelError(
                    f"Pinned pages, with the turns they stand in, may hold {room:,} tokens of this "
                    f"window, and with {written.strip()} they would hold more.",
                    remedy="Unpin others, or pin a part of it; llmos memory add keeps a sentence.",
                )
        message = Message(Kind.PIN, "pin" if pinned else "unpin", name=" ".join(ids))
        turn, label = process.turn_number, Label(Origin.USER)
        await self._journal.append(process.pid, message, turn=turn, label=label, id=new_id())
        window.pin(ids, pinned)
        if change is not None and (change.evicted or change.returned):
            await self._change(process, turn, change, ())
            process.context_tokens = 0  # nobody has counted it
            await self._compute_front(process)

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
            if used + spare <= self._room:
                return prompt
            if not await self._make_room(process, prompt, used, squeeze=True):
                return prompt

    @property
    def _room(self) -> int:
        """Tokens of a prompt that leave room for a reply."""
        size = self._backend.info.window
        return size - min(self._config.reply_tokens, int(size * limits.REPLY_SHARE))

    @property
    def _spare(self) -> int:
        """Tokens that may be brought back for a turn."""
        return int(self._backend.info.window * limits.PREFETCH_SHARE)

    async def rest(self, process: Process) -> None:
        """Between two turns: make room while nobody waits, and have the new front computed.

        Where there is room, what frames the next message, whatever it says; not of a child, whose
        next message comes at once or never.
        """
        if process.window is None:  # it could not be read
            return
        size = self._backend.info.window
        next_turn = self._spare + int(size * limits.NEXT_SHARE)  # or that would have to make room
        if process.context_tokens <= min(size * limits.REST_SHARE, self._room - next_turn):
            info = self._backend.info
            if process.employer is None and info.computes_here and info.can_rewind:
                said = self._window(process).messages()
                self._begin_ahead(process, self._compute_frame(process, said))
            return
        window = self._window(process)
        try:
            prompt = await self._rendered(self.shape(process, window.messages()), generate=False)
            used = self._backend.size(prompt)
            if not await self._make_room(process, prompt, used):
                process.context_tokens = used  # not all that the turn wrote was kept
                return
        except LlmosError as error:  # the next turn makes room for itself
            log.warning("no room was made in process %d: %s", process.pid, error)
            return
        await self._compute_front(process)

    async def _compute_front(self, process: Process) -> None:
        """Have what changed at the front computed before the next turn needs it."""
        try:
            messages = self._window(process).messages()
            prompt = await self._rendered(self.shape(process, messages), generate=False)
        except LlmosError as error:
            log.warning("nothing is computed ahead in process %d: %s", process.pid, error)
            return
        process.context_tokens = self._backend.size(prompt)
        self.ahead(process, prompt)

    async def _compute_frame(self, process: Process, said: Sequence[Message]) -> None:
        """Have computed what will stand before the person's next words, behind what was ``said``.

        Only where it can be dropped again, should something else come first.
        """
        try:
            shaped = self.shape(process, [*said, Message("user", _NEXT)])
            # Whole: who cancels the renderer in the midst of a prompt ends it.
            prompt = await whole(self._rendered(shaped, generate=False))
            *sizes, _ = self._backend.sizes(prompt, [m.content for m in shaped[0]])
        except LlmosError as error:
            log.warning("nothing is computed ahead in process %d: %s", process.pid, error)
            return
        if sum(sizes) > limits.SHARE_MIN:
            await self._compute(prompt.beginning(sum(sizes)))

    async def draft(self, process: Process, text: str) -> None:
        """Have what is being typed computed ahead, as far as it will stay as it is."""
        window = await self.open(process, process.turns + 1)
        found = await self._belonging(process, text)
        said = [*([found.message.content] if found else []), text.rstrip()]
        shaped = self.shape(process, [*window.messages(), Message("user", "\n\n".join(said))])
        try:
            prompt = await self._rendered(shaped, generate=False)
        except LlmosError:
            return
        # The end of the message, and the word being typed, will come out as other tokens.
        *tokens, _ = self._backend.sizes(prompt, [*(m.content for m in shaped[0]), ""])
        kept = prompt.beginning(sum(tokens) - limits.DRAFT_TAIL)
        size = self._backend.info.window
        idle = process.task is None and process.window is window
        if idle and limits.SHARE_MIN < len(kept.tokens) < size * limits.REST_SHARE:
            self.ahead(process, kept)

    async def compute(self, shaped: Shaped) -> None:
        """Have the front of conversations that are still to come computed, at idle priority.

        What was computed is kept like any sequence at rest: in memory, then on disk.
        """
        await self._compute(await self._rendered(shaped, generate=False))

    def ahead(self, process: Process, prompt: Prompt) -> None:
        """Have ``prompt`` computed while nothing else is to be done; what was begun so ends."""
        self._begin_ahead(process, self._compute(prompt))

    def _begin_ahead(self, process: Process, work: Coroutine[Any, Any, None]) -> None:
        process.stop_ahead()
        if self._erasing:  # it may be of what is being erased
            work.close()
        else:
            process.ahead = asyncio.create_task(work)
            process.ahead.add_done_callback(_told)

    async def _compute(self, prompt: Prompt) -> None:
        if not self._backend.info.computes_here:
            return
        try:
            # One token must be decoded, for its logits; it is not kept.
            params = SamplingParams(max_tokens=1)
            [generation] = self._backend.generate(prompt, params, priority=Priority.IDLE)
        except LlmosError as error:
            log.info("nothing is computed ahead: %s", error)
            return
        try:
            async for _ in generation:
                pass
        finally:
            generation.cancel()

    async def _rendered(self, shaped: Shaped, *, generate: bool = True) -> Prompt:
        messages, tools = shaped
        return await self._backend.prompt(messages, tools=tools, generate=generate)

    async def _make_room(
        self, process: Process, prompt: Prompt, used: int, *, squeeze: bool = False
    ) -> bool:
        """Have turns leave down to ``limits.LOW_SHARE`` of the window; False where nothing can.

        Args:
            process: Whose window.
            prompt: What is in view of it, rendered.
            used: Tokens of that.
            squeeze: Where no turn can leave, show less of the newest one.
        """
        window, size = self._window(process), self._backend.info.window
        relevance = await self._memory.relevance(window) if self._memory is not None else {}
        window.measure(lambda texts: self._backend.sizes(prompt, texts))
        excess = used - int(size * limits.LOW_SHARE)
        change = window.evict(excess, size, relevance=relevance, **self._core())
        if change is None and squeeze:
            change = window.squeeze(excess, self._backend.count)
        if change is None:
            return False
        leaving = set(change.evicted)
        labels = [h.record.label for h in window.held if any(p.id in leaving for p in h.pages)]
        await self._change(process, process.turn_number, change, labels)
        return True

    async def _change(
        self, process: Process, turn: int, change: Change, labels: Sequence[Label]
    ) -> None:
        """Keep a change of the window, then make it."""
        kept = await self._journal_change(process, turn, change, labels)
        self._window(process).apply(change)
        self._publish(
            WindowChanged(pid=process.pid, seq=kept.seq, turn=turn, evicted=change.evicted)
        )

    async def _journal_change(
        self, process: Process, turn: int, change: Change, labels: Sequence[Label]
    ) -> StoredMessage:
        label = Label(join(*labels).origin if labels else Origin.SYSTEM, change.sources)
        message = change.message()
        return await self._journal.append(process.pid, message, turn=turn, label=label, id=new_id())

    def _window(self, process: Process) -> Window:
        assert process.window is not None, "the window is opened before it is used"
        return process.window


def never_said(turn: int) -> KernelError:
    """What a person is told who heard what was not said."""
    return KernelError(
        f"What was heard is not the beginning of the reply of turn {turn}.",
        remedy="Give the reply's own text, letter by letter, up to where it was cut.",
    )


def _told(ahead: asyncio.Task[None]) -> None:
    """Nobody waits for what is computed ahead: what went wrong is in the log."""
    if not ahead.cancelled() and (error := ahead.exception()) is not None:
        log.error("nothing is computed ahead", exc_info=error)


def _records(process: Process) -> int:
    """What a process's window holds in memory, in records; an empty window counts as one."""
    return len(process.window.held) + 1 if process.window is not None else 0
