"""The chat screen: joins the conversation, the input, the panel and the kernel's link.

Owns which process is shown and what is being sent. What events look like is the conversation's
business, what a key does is here. Nothing that can wait for the kernel runs outside a worker.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from textual import events as ui_events
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from llmos.errors import KernelUnreachable, LlmosError
from llmos.events import (
    ArtifactsMade,
    CallAnswered,
    CallAsked,
    CallFinished,
    CallProgress,
    CallStarted,
    Cited,
    Event,
    ProcessChanged,
    Recalled,
    ReplyDelta,
    ReplyFinished,
    ReplyHeard,
    StoredMessage,
    TurnFinished,
    TurnStarted,
    TurnState,
    WindowChanged,
)
from llmos.ui.actions import TITLE_CHARS, ChatActions
from llmos.ui.blocks import UserBlock
from llmos.ui.call_card import SPINNER
from llmos.ui.composer import Composer
from llmos.ui.conversation import Conversation
from llmos.ui.experts import Completion, addressed, starters
from llmos.ui.link import ClientFactory, KernelLink, LinkState
from llmos.ui.memory import MemoryScreen
from llmos.ui.permit import Permit
from llmos.ui.processes import ProcessPanel, by_use
from llmos.ui.status import RateMeter, StatusLine
from llmos.ui.text import one_line, visible
from llmos.ui.welcome import Starter, Welcome

if TYPE_CHECKING:
    from llmos.client import Client

__all__ = ["ChatScreen"]

PANEL_REFRESH_S = 2.0
BUSY = ("running", "waiting")
DRAFT_CHARS = 40  # of a message being typed, from which on it is worth computing ahead
DRAFT_PAUSE_S = 0.5  # without a key until that is done


class ChatScreen(ChatActions):
    """One conversation at a time.

    Args:
        factory: Finds or starts a kernel.
        pid: The process to open; 0 starts afresh.
        resume: With no ``pid``, open the process that was used last.
    """

    def __init__(self, factory: ClientFactory, pid: int = 0, *, resume: bool = False) -> None:
        super().__init__()
        self.pid = pid
        self.process_title = ""
        self._resume = resume
        self.link = KernelLink(factory, self._link_changed)
        self._sending = asyncio.Lock()
        self._asking = asyncio.Lock()  # one question about a call at a time
        self._expert = ""  # whom this chat was begun with
        self._asked: list[CallAsked] = []  # those that wait
        self._seen = 0  # the last place in the journal that is shown
        self._drafts: dict[int, str] = {}
        self._rate = RateMeter()
        self._since = time.monotonic()  # of the link's state
        self._trouble = ""
        self._sent = ""  # the last message
        self._given_back = ""  # a text whose sending was cut off: it may have arrived after all

    def compose(self) -> ComposeResult:
        with Horizontal(id="body"):
            yield ProcessPanel(id="panel")
            with Vertical(id="main"):
                yield Welcome(id="welcome")
                yield Conversation(id="conversation")
                yield Static("", id="banner")
                yield Completion(id="completion")
                with Vertical(id="composer-box"):
                    yield Composer(id="composer")
        yield StatusLine(id="status")

    def on_mount(self) -> None:
        self.conversation = self.query_one(Conversation)
        self.composer = self.query_one(Composer)
        self.completion = self.composer.completion = self.query_one(Completion)
        self.status = self.query_one(StatusLine)
        self.panel = self.query_one(ProcessPanel)
        self.show_panel(False)
        self._show_welcome(self.pid == 0)
        self.composer.focus()
        self.set_interval(0.125, self._draw_banner)
        self.set_interval(PANEL_REFRESH_S, self.refresh_panel)
        self.call_after_refresh(self._follow)

    async def on_unmount(self) -> None:
        await self.link.close()
        self.drop_copies()

    # --- the link ---------------------------------------------------------------------------

    @work(exclusive=True, group="follow")
    async def _follow(self, *, reset: bool = False) -> None:
        if reset:
            await self.conversation.reset()
        try:
            await self.link.follow(self.pid, self._catch_up, self._handle)
        except LlmosError as error:
            self.notify(visible(str(error)), severity="error", markup=False)
            if self.pid:
                self.open(0)

    async def _catch_up(self, client: Client) -> None:
        """Bring the screen up to the journal; runs after every (re)connection."""
        status = await client.status()
        self.status.model, window, hint = _describe(status)
        self.query_one(Welcome).hint = hint
        await self.completion.learn(client)
        await self.query_one(Welcome).offer_experts(starters(self.completion.experts, 3))
        if not self.pid:
            processes = by_use(await client.processes())
            self.query_one(Welcome).offer(processes[0] if processes else None)
            if self._resume and processes:
                self.call_later(self.open, processes[0].pid)
            self._resume = False
        else:
            info = await client.process(self.pid)
            self.process_title, self._expert = info.title, info.expert
            self._name_expert()
            self.status.context_tokens = info.context_tokens
            window = info.window_tokens or window
            self.status.running = info.state in BUSY
            told = await client.history(self.pid, after=self._seen)
            await self.conversation.catch_up(told, running=self.status.running)
            if told:
                self._seen = max(self._seen, told[-1].seq)
            stored = (entry.message for entry in told if isinstance(entry, StoredMessage))
            said = [message.content for message in stored if message.role == "user"]
            if self._given_back in said and self.composer.text == self._given_back:
                self.composer.text = ""  # it had arrived
            self._given_back = ""
        self.status.window_tokens = window
        self.refresh_panel()
        self.refill()
        for memory in self._memories:
            memory.refresh_all()

    @property
    def _memories(self) -> list[MemoryScreen]:
        """The memory screen, where it lies over this one."""
        return [screen for screen in self.app.screen_stack if isinstance(screen, MemoryScreen)]

    def _link_changed(self, state: LinkState, sentence: str) -> None:
        if state != self.status.link:
            self._since = time.monotonic()
        self._trouble = sentence
        self.status.link = state
        if state in ("lost", "stopped"):
            self.status.running = False
            self._show_rate(0.0)
        if state == "stopped":
            self.call_later(self.conversation.stop_thinking)
        self._draw_banner()

    def _draw_banner(self) -> None:
        banner = self.query_one("#banner", Static)
        state = self.status.link
        banner.display = state != "ready"
        if state == "ready":
            return
        elapsed = time.monotonic() - self._since
        sign = SPINNER[int(elapsed * 8) % len(SPINNER)]
        if state == "stopped":
            sign = "○"
            told = "The kernel was stopped. Press Enter to start it again."
        elif state == "starting":
            told = f"Starting the kernel… {elapsed:.0f} s"
        elif not self._trouble:
            told = f"The kernel went away; reconnecting… {elapsed:.0f} s"
        else:
            told = f"{visible(self._trouble)} Trying again… {elapsed:.0f} s"
        banner.set_class(state in ("lost", "stopped"), "-lost")
        banner.update(Content.assemble((sign, "$accent"), " ", told))

    # --- events -----------------------------------------------------------------------------

    async def _handle(self, event: Event) -> None:
        if isinstance(event, ProcessChanged):
            self.refresh_panel()
        if event.pid != self.pid:
            return
        for memory in self._memories:
            memory.heard(event)
        self._seen = max(self._seen, event.seq)
        show = self.conversation
        match event:
            case ProcessChanged():
                self.process_title = event.title or self.process_title
                self.status.running = event.state in BUSY
                if event.state == "ended":
                    await show.tell("This process has ended. Ctrl+N starts a new chat.")
            case TurnStarted():
                self.status.running = True
                self._rate.clear()
                await show.turn_started(event)
            case TurnState():
                self.status.running = True
                await show.turn_state(event)
            case ReplyDelta():
                self._rate.add(event.tokens)
                self._show_rate(self._rate.rate)
                await show.reply_delta(event)
            case CallStarted():
                self._rate.clear()
                await show.call_started(event)
            case CallProgress():
                show.call_progress(event)
            case CallAsked():
                self._permit(event)
            case CallAnswered():
                self._permitted(event)
            case CallFinished():
                await show.call_finished(event)
            case ReplyFinished():
                await show.reply_finished(event)
            case ReplyHeard():
                await show.reply_heard(event)
            case TurnFinished():
                self.status.running = False
                self._show_rate(0.0)
                if event.window_tokens:
                    self.status.window_tokens = event.window_tokens
                    self.status.context_tokens = event.context_tokens
                await show.turn_finished(event)
                self._name_expert()
            case WindowChanged() if event.evicted:
                await show.noted(event)
            case Recalled() | ArtifactsMade() | Cited():
                await show.noted(event)

    @work(group="permit")
    async def _permit(self, asked: CallAsked) -> None:
        """Ask the person about a call; several wait for each other."""
        if any(asked.call.id == other.call.id for other in self._asked):
            return  # told again after the connection was lost
        self._asked.append(asked)
        async with self._asking:
            if asked not in self._asked:
                return  # answered elsewhere meanwhile
            answer = await self.app.push_screen_wait(Permit(asked))
        if asked in self._asked:
            self._asked.remove(asked)
        if not answer:
            return
        try:
            await self.link.client.answer(asked.pid, asked.call.id, answer)
        except LlmosError as error:
            self.notify(visible(str(error)), severity="warning", markup=False)

    def _permitted(self, event: CallAnswered) -> None:
        """A question is settled: here, in another terminal, or by the end of its turn."""
        self._asked = [asked for asked in self._asked if asked.call.id != event.call_id]
        for screen in self.app.screen_stack:
            if isinstance(screen, Permit) and screen.asked.call.id == event.call_id:
                screen.dismiss("")

    def _show_rate(self, rate: float) -> None:
        self.status.rate = float(round(rate))

    # --- sending ----------------------------------------------------------------------------

    @on(Composer.Submitted)
    def _submitted(self) -> None:
        if self.link.state == "lost":
            self.link.retry_now()
            self.notify("The kernel is away. Your message stays here until it is back.")
            return
        self._start_again()
        self._send(self.composer.take())

    @on(Composer.Blank)
    def _start_again(self) -> None:
        """Start a kernel that was stopped: the person wants it."""
        if self.link.state == "stopped":
            self.link.retry_now()

    @on(Composer.Changed)
    def _typed(self) -> None:
        self.completion.type(self.composer.text)
        self._name_expert()

    def _name_expert(self) -> None:
        """Say in the title of the input whom the message being typed, or answered, is for."""
        text = self.composer.text
        if not text and self.status.running:
            text = self._sent
        name = addressed(text, self.completion.experts) or self._expert
        self.query_one("#composer-box").border_title = f"@{name}" if name else ""

    @on(Composer.Changed)
    @work(group="draft", exclusive=True)
    async def _drafting(self) -> None:
        """Have what is being typed computed ahead, whenever the person pauses."""
        text = self.composer.text
        if not self.pid or self.status.running or len(text) < DRAFT_CHARS:
            return
        await asyncio.sleep(DRAFT_PAUSE_S)
        try:
            client = await self.link.wait_for(self.pid)
            await client.draft(self.pid, text)
        except LlmosError:
            pass  # it is computed when the message is sent

    @on(Starter.Chosen)
    def _starter_chosen(self, event: Starter.Chosen) -> None:
        if event.pid:
            self.open(event.pid)
        else:
            self._start_again()
            self._send(event.text)
        self.composer.focus()

    @work(group="send")
    async def _send(self, text: str) -> None:
        """Send ``text``; give it back to the input when that fails."""
        self._show_welcome(False)
        block = await self.conversation.add_user(text)
        async with self._sending:
            try:
                await self._deliver(text, block)
            except LlmosError as error:
                await block.remove()
                self.composer.give_back(text)
                if isinstance(error, KernelUnreachable):
                    self._given_back = text
                else:
                    await self.conversation.tell(str(error), "error")
                self._show_welcome(self.conversation.is_empty)

    async def _deliver(self, text: str, block: UserBlock) -> None:
        client = await self.link.wait_for(self.pid)
        if not self.pid:
            info = await client.create(title=one_line(text, TITLE_CHARS))
            self.pid, self.process_title = info.pid, info.title
            self._follow()
            client = await self.link.wait_for(self.pid)
        was_running, self.status.running = self.status.running, True
        self._sent = text
        self._name_expert()
        try:
            message_id = await client.send(self.pid, text)
        except LlmosError:  # no turn of its own will end what it seemed to begin
            if not was_running:  # else the turn under way tells of its end, or has told of it
                self.status.running = False
            raise
        if block.pending:
            block.message_id = message_id

    # --- processes --------------------------------------------------------------------------

    def open(self, pid: int) -> None:
        """Show process ``pid``, or an empty chat for 0. Each keeps its own draft."""
        if any(not block.message_id for block in self.conversation.pending):
            self.notify("Your message is still on its way.", severity="warning")
            return
        self._drafts[self.pid] = self.composer.text
        self.pid = pid
        self._expert = ""
        self._asked.clear()
        self.process_title = ""
        self._seen = 0
        self.status.running = False
        self.status.context_tokens = 0
        self._show_rate(0.0)
        self.composer.text = self._drafts.pop(pid, "")
        self.composer.move_cursor(self.composer.document.end)
        self.composer.focus()
        self._show_welcome(pid == 0)
        self._follow(reset=True)

    def reload(self) -> None:
        if self.pid and not self.conversation.pending:
            self._seen = 0
            self.link.leave()
            self._follow(reset=True)

    def _show_welcome(self, empty: bool) -> None:
        self.query_one(Welcome).display = empty
        self.conversation.display = not empty

    @on(Conversation.Moved)
    def _moved(self) -> None:
        self.call_after_refresh(self._tell_what_is_below)  # when the new length is known

    def _tell_what_is_below(self) -> None:
        box = self.query_one("#composer-box")
        box.border_subtitle = "" if self.conversation.at_end else "more below · Ctrl+End"

    def on_paste(self, event: ui_events.Paste) -> None:
        """A paste that no input took goes to the composer."""
        self.composer.post_message(ui_events.Paste(event.text))


def _describe(status: dict[str, Any]) -> tuple[str, int, str]:
    """The model's name, its window in tokens and the kernel's hint, as far as it told."""
    model = status.get("model")
    if isinstance(model, dict):
        name, window = str(model.get("name") or ""), model.get("window") or 0
    else:
        name, window = str(model or ""), status.get("window") or 0
    hint = status.get("hint") or next(iter(status.get("hints") or ()), "")
    return name, int(window), str(hint)
