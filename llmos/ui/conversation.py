"""The conversation on the screen: journal records and live events, in their right order.

Takes messages from the journal and events from the kernel and shows each record once, whichever
way it came first. Follows the end until the person scrolls away. Only the last turns are kept on
the screen; earlier ones come back from the journal when they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, TypeAlias

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from llmos.events import (
    BY_REMINDER,
    ArtifactsMade,
    CallFinished,
    CallProgress,
    CallStarted,
    Cited,
    Recalled,
    ReplyDelta,
    ReplyFinished,
    ReplyHeard,
    StoredMessage,
    ToolCall,
    TurnFinished,
    TurnStarted,
    TurnState,
    WindowChanged,
)
from llmos.ui.blocks import (
    Notice,
    PipedBlock,
    RecallNotice,
    ReminderBlock,
    ReplyBlock,
    Thinking,
    UserBlock,
    left,
    note_id,
)
from llmos.ui.call_card import CallCard
from llmos.ui.cards import cards
from llmos.ui.sources import Sources
from llmos.ui.status import usage_line

__all__ = ["Conversation"]

PAGE = 60  # messages shown at once from the journal
TURNS_KEPT = 60  # turns on the screen, after which ...
TURNS_LEFT = 30  # ... only so many stay
FAR_PAGES = 20  # fetched at most to come to a turn far back
POINT_S = 2.0  # for which a turn that was gone to is marked
_REASONS = {
    "length": "The reply reached its length limit. Say “go on” for the rest.",
    "interrupted": "Stopped.",
    "budget": "This chat has used up its budget.",
    "loop": "Stopped, because it kept making the same call.",
}


#: What the journal has of a conversation: what was said, and what is told of memory between it.
Told: TypeAlias = StoredMessage | Recalled | WindowChanged | ArtifactsMade | Cited


class Conversation(VerticalScroll, can_focus=True):
    """Everything said in one process."""

    BINDINGS: ClassVar[list[BindingType]] = [("end", "screen.scroll_far(1)", "To the end")]

    class Earlier(Message):
        """The person wants to see what came before."""

    class Moved(Message):
        """The place or the length of the conversation changed."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        # At least as high as the screen, so that a short conversation stands at the top.
        self.turns = Vertical(id="turns")
        self._known: set[str] = set()  # ids of the journal records that are or were shown
        self._cards: dict[str, CallCard] = {}
        self._reply: ReplyBlock | None = None  # the one being written
        self._last: ReplyBlock | None = None
        self._thinking: Thinking | None = None

    def compose(self) -> ComposeResult:
        yield self.turns

    def on_mount(self) -> None:
        self.anchor()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self.post_message(self.Moved())

    @property
    def is_empty(self) -> bool:
        return not self.turns.children

    @property
    def at_end(self) -> bool:
        return self.scroll_y >= self.max_scroll_y - 1

    # --- what the person does ---------------------------------------------------------------

    async def reset(self) -> None:
        """Show nothing, as for another process."""
        self._known.clear()
        self._cards.clear()
        self._reply = self._last = self._thinking = None
        await self.turns.remove_children()
        self.anchor()

    async def add_user(self, text: str) -> UserBlock:
        """Show a message that is being sent."""
        block = UserBlock(text, pending=True)
        await self.turns.mount(block)
        self.anchor()
        return block

    async def tell(self, line: str, kind: Literal["error", "warning", "info"] = "info") -> None:
        """Show a remark."""
        await self._add(Notice(line, kind))

    async def noted(self, event: Recalled | WindowChanged | ArtifactsMade | Cited) -> None:
        """Show what was brought back, left the window, was made by a call, or is a source."""
        id = note_id(event)
        if not event.seq or id not in self._known:
            self._known.add(id)
            cited = event.message_id if isinstance(event, Cited) else ""
            answer = next((b for b in self.answers if cited and b.message_id == cited), None)
            if answer is None:
                await self._add(*_noted(event))
            else:
                await self.turns.mount_all(_noted(event), after=answer)
                self.post_message(self.Moved())

    @property
    def pending(self) -> list[UserBlock]:
        """Messages not taken up yet, oldest first."""
        return [block for block in self.turns.query_children(UserBlock) if block.pending]

    @property
    def answers(self) -> list[ReplyBlock]:
        return list(self.turns.query_children(ReplyBlock))

    # --- what the journal has ---------------------------------------------------------------

    async def catch_up(self, stored: Sequence[Told], *, running: bool) -> None:
        """Show the records of ``stored`` that are not shown yet.

        Args:
            stored: In the journal's order.
            running: Whether a turn is going on. If not, what was live here is closed.
        """
        fresh = [record for record in _in_turns(stored) if _id(record) not in self._known]
        if len(fresh) > PAGE:
            skipped, fresh = fresh[:-PAGE], fresh[-PAGE:]
            self._known.update(map(_id, skipped))
            await self._offer_earlier()
        await self._add(*await self._build(fresh))
        if not running:
            cut = self._reply is not None
            await self._settle()
            if cut and self._last is not None:
                self._last.tell("Cut off when the kernel went away.", alert=True)

    async def show_earlier(self, stored: Sequence[Told]) -> None:
        """Show one more page before the first record on the screen; ``stored`` is all there is."""
        stored = _in_turns(stored)
        shown = (getattr(block, "message_id", "") for block in self.turns.children)
        first = next(filter(None, shown), "")
        place = next((i for i, record in enumerate(stored) if _id(record) == first), len(stored))
        page = stored[max(place - PAGE, 0) : place]
        for marker in self.query(".earlier"):
            await marker.remove()
        live = self._reply, self._last
        self._reply = None
        widgets = await self._build(page)
        self._reply, self._last = live
        height = self.virtual_size.height
        if widgets:
            await self.turns.mount_all(widgets, before=0 if self.turns.children else None)
        if place > PAGE:
            await self._offer_earlier()
        self.call_after_refresh(
            lambda: self.scroll_relative(
                y=self.virtual_size.height - height, animate=False, immediate=True
            )
        )

    async def show_turn(self, stored: Sequence[Told], turn: int) -> bool:
        """Bring a turn into view, from the journal where it is not on the screen.

        Args:
            stored: All there is.
            turn: Its number; 0 leaves the place as it is.

        Returns:
            Whether it is in view now.
        """
        ordered = _in_turns(stored)
        wanted = next((_id(record) for record in ordered if turn and record.turn == turn), "")
        for _ in range(FAR_PAGES if wanted else 0):
            for block in self.turns.children:
                if getattr(block, "message_id", "") == wanted:
                    self.call_after_refresh(self._point_at, block)
                    return True
            shown = len(self.turns.children)
            await self.show_earlier(stored)
            if len(self.turns.children) == shown:
                break
        return False

    def _point_at(self, block: Widget) -> None:
        self.release_anchor()
        self.scroll_to_widget(block, animate=False, top=True, force=True)
        block.add_class("-pointed-at")
        block.set_timer(POINT_S, lambda: block.remove_class("-pointed-at"))

    async def _build(self, stored: Iterable[Told]) -> list[Widget]:
        """Widgets for records; records of a live block go to that block."""
        fresh: list[Widget] = []
        waiting = self.pending
        for record in stored:
            self._known.add(_id(record))
            if not isinstance(record, StoredMessage):
                fresh += _noted(record)
                continue
            message = record.message
            if message.role == "user":
                sent = _same(waiting, record.id, message.content, message.name)
                if sent is not None:
                    waiting.remove(sent)
                    sent.confirm(record.id)
                elif message.content.strip():
                    fresh.append(_said(message.content, record.id, message.name))
                else:
                    fresh.append(Notice("What you said here was forgotten."))
            elif message.role == "assistant":
                if message.content.strip():
                    fresh += await self._stored_reply(record)
                fresh += [self._card(call) for call in message.calls if call.id not in self._cards]
            elif message.role == "tool" and (card := self._cards.get(message.call_id)):
                card.finish(message.content, seconds=record.seconds, error=record.error)
        return fresh

    async def _stored_reply(self, record: StoredMessage) -> list[Widget]:
        if self._reply is not None and self._reply.turn == record.turn:
            reply, fresh = self._reply, []
            self._reply = None
            await reply.finish(record.message.content, record.id)
        else:
            reply = ReplyBlock(record.message.content, message_id=record.id, turn=record.turn)
            fresh = [reply]
        if record.partial:
            reply.tell("Stopped before the end.", alert=True)
        self._last = reply
        return list(fresh)

    async def _offer_earlier(self) -> None:
        if not self.query(".earlier"):
            marker = _EarlierMarker("Show earlier messages", classes="earlier")
            await self.turns.mount(marker, before=0 if self.turns.children else None)

    # --- what happens now -------------------------------------------------------------------

    async def turn_started(self, event: TurnStarted) -> None:
        if event.message_id not in self._known:
            self._known.add(event.message_id)
            sent = _same(self.pending, event.message_id, event.text, event.by)
            if sent is not None:
                sent.confirm(event.message_id)
            else:
                await self._add(_said(event.text, event.message_id, event.by))
        await self._think()

    async def turn_state(self, event: TurnState) -> None:
        """A turn was going on when this terminal came: show it so far."""
        for call in event.calls:
            if call.id not in self._cards:
                await self._add(self._card(call))
        if event.text.strip():
            if self._reply is None:
                await self._begin_reply(event.turn)
            assert self._reply is not None
            await self._reply.finish(event.text)
        elif not event.calls:
            await self._think()

    async def reply_delta(self, event: ReplyDelta) -> None:
        if self._reply is None:
            if not event.text.strip():
                return
            await self._begin_reply(event.turn)
        assert self._reply is not None
        self._reply.write(event.text)

    async def call_started(self, event: CallStarted) -> None:
        await self.stop_thinking()
        if event.call.id not in self._cards:
            await self._add(self._card(event.call))

    def call_progress(self, event: CallProgress) -> None:
        if (card := self._cards.get(event.call_id)) is not None:
            card.tell(event.text, event.done)

    async def call_finished(self, event: CallFinished) -> None:
        if event.call.id not in self._cards:
            await self._add(self._card(event.call))
        card = self._cards[event.call.id]
        card.finish(event.result, seconds=event.seconds, error=event.error)
        if not any(other.running for other in self._cards.values()):
            await self._think()

    async def reply_finished(self, event: ReplyFinished) -> None:
        if event.message_id in self._known:  # the journal brought it already
            if self._reply is not None:
                await self._reply.remove()
                self._reply = None
            return
        self._known.add(event.message_id)
        if self._reply is None and event.text.strip():
            await self._begin_reply(event.turn)
        if self._reply is not None:
            await self._reply.finish(event.text, event.message_id)
            self._last, self._reply = self._reply, None

    async def reply_heard(self, event: ReplyHeard) -> None:
        """Of a reply that was read out, only what was heard stays."""
        reply = next((b for b in self.answers if b.message_id == event.message_id), None)
        if reply is None:
            return
        if event.text.strip():
            await reply.finish(event.text)
            reply.tell("Stopped before the end.", alert=True)
            return
        self._last = None if self._last is reply else self._last
        await reply.remove()

    async def turn_finished(self, event: TurnFinished) -> None:
        await self._settle()
        reply = self._last if self._last and self._last.turn == event.turn else None
        reason = _REASONS.get(event.reason, "")
        if event.reason == "error" or event.error:
            sentence = event.error or "The reply failed; the kernel's log says why."
            await self._add(Notice(sentence, "error"))
        elif reason and reply is None:
            await self._add(Notice(reason, "warning"))
        if reply is not None:
            parts = [reason] if reason and not event.error else []
            if event.usage.completion_tokens:
                parts.append(usage_line(event.usage))
            reply.tell(" · ".join(parts), alert=bool(reason))
        await self._prune()

    # --- inside -----------------------------------------------------------------------------

    def _card(self, call: ToolCall) -> CallCard:
        card = self._cards[call.id] = CallCard(call)
        return card

    async def _add(self, *widgets: Widget) -> None:
        """Mount before the messages that still wait their turn."""
        if widgets:
            await self.turns.mount_all(widgets, before=next(iter(self.pending), None))
            self.post_message(self.Moved())

    async def _begin_reply(self, turn: int) -> None:
        await self.stop_thinking()
        self._reply = self._last = ReplyBlock(turn=turn)
        await self._add(self._reply)

    async def _think(self) -> None:
        if self._thinking is None:
            self._thinking = Thinking()
            await self._add(self._thinking)

    async def stop_thinking(self) -> None:
        """Show no longer that something is waited for."""
        thinking, self._thinking = self._thinking, None
        if thinking is not None:
            await thinking.remove()

    async def _settle(self) -> None:
        """Nothing is live any longer."""
        await self.stop_thinking()
        if self._reply is not None:
            await self._reply.finish()
            self._reply = None
        for card in self._cards.values():
            if card.running:
                card.finish("", error="interrupted")

    async def _prune(self) -> None:
        turns = [block for block in self.turns.query_children(UserBlock) if not block.pending]
        if len(turns) <= TURNS_KEPT or not self.at_end:
            return
        keep = self.turns.children.index(turns[-TURNS_LEFT])
        await self.turns.remove_children(list(self.turns.children)[:keep])
        self._cards = {id: card for id, card in self._cards.items() if card.is_attached}
        await self._offer_earlier()


class _EarlierMarker(Static):
    def on_click(self) -> None:
        self.post_message(Conversation.Earlier())


def _said(text: str, message_id: str, by: str) -> UserBlock:
    """A message that begins a turn, as who wrote it."""
    kind, _, own = by.partition(":")
    if kind == "piped" and own.isdecimal():
        return PipedBlock(text, own=int(own), message_id=message_id)
    block = ReminderBlock if by == BY_REMINDER else UserBlock
    return block(text, message_id=message_id)


def _same(waiting: list[UserBlock], message_id: str, text: str, by: str) -> UserBlock | None:
    """The waiting message that became ``message_id``: by id, else the first of the same text."""
    if by == BY_REMINDER:
        return None  # no person wrote it, so that nobody's waits for it
    for block in waiting:
        if block.message_id == message_id:
            return block
    return next((b for b in waiting if not b.message_id and b.text == text), None)


def _id(record: Told) -> str:
    return record.id if isinstance(record, StoredMessage) else note_id(record)


def _noted(note: Recalled | WindowChanged | ArtifactsMade | Cited) -> list[Widget]:
    if isinstance(note, ArtifactsMade):
        return list(cards(note))
    if isinstance(note, Cited):
        return [Sources(note, note_id(note))] if note.sources or note.dropped else []
    return [RecallNotice(note) if isinstance(note, Recalled) else left(note)]


def _in_turns(stored: Iterable[Told]) -> list[Told]:
    """Turn after turn: in the journal a message sent during a turn stands before its reply."""
    return sorted(stored, key=lambda record: (record.turn, record.seq))
