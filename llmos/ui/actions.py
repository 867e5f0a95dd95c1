"""What the keys and the command palette do on the chat screen.

A base class of the screen, apart from it because each action is a few lines that touch one thing.
The kernel is spoken to in workers; a refusal becomes a notification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from textual import on, work
from textual.actions import SkipAction
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.widgets import Markdown

from llmos.errors import LlmosError
from llmos.events import BY_REMINDER, Message, ProcessInfo, Recalled
from llmos.ui.blocks import RecallNotice
from llmos.ui.composer import Composer
from llmos.ui.conversation import Conversation
from llmos.ui.dialogs import Choose, Confirm, Help, Prompt
from llmos.ui.file_actions import FileActions
from llmos.ui.grants import GrantsScreen
from llmos.ui.memory import MemoryScreen
from llmos.ui.processes import ProcessPanel, by_use
from llmos.ui.status import StatusLine
from llmos.ui.text import one_line, plural, visible

__all__ = ["ChatActions"]

TITLE_CHARS = 40


class ChatActions(FileActions):
    """Actions on one chat. The subclass composes the widgets and opens processes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "new_chat", "New chat", priority=True),
        Binding("ctrl+o,f2", "toggle_panel", "Chats", priority=True),
        Binding("ctrl+t", "fork", "Fork", priority=True),
        Binding("ctrl+r,f3", "memory", "Memory", priority=True),
        Binding("f5", "grants", "What is allowed", priority=True),
        Binding("f4", "rename", "Rename", priority=True),
        Binding("f6", "voice", "Talk", priority=True),
        Binding("ctrl+y", "copy_answer", "Copy the answer", priority=True),
        Binding("ctrl+g", "copy_code", "Copy code", priority=True),
        Binding("escape", "stop", "Stop"),
        Binding("ctrl+c,super+c", "copy_or_stop", "Copy or stop", show=False),
        Binding("f1,question_mark", "help", "Help"),
    ]

    pid: int
    process_title: str
    conversation: Conversation
    composer: Composer
    status: StatusLine
    panel: ProcessPanel

    def open(self, pid: int) -> None:
        """Show process ``pid``, or an empty chat for 0."""
        raise NotImplementedError

    def reload(self) -> None:
        """Show the process anew, as the journal has it now."""
        raise NotImplementedError

    def commands(self) -> Iterable[SystemCommand]:
        """Everything the keys do, for the command palette."""
        yield SystemCommand("New chat", "Ctrl+N", self.action_new_chat)
        yield SystemCommand("Chats", "Show or hide the list (Ctrl+O)", self.action_toggle_panel)
        yield SystemCommand("Memory", "What is remembered (Ctrl+R)", self.action_memory)
        yield SystemCommand("What is allowed", "Grants, and folders (F5)", self.action_grants)
        yield SystemCommand("Talk", "This chat by voice (F6)", self.action_voice)
        yield SystemCommand("Continue the last chat", "", self.action_resume)
        yield SystemCommand("Stop the reply", "Esc", self.action_stop)
        yield SystemCommand("Fork this chat", "Ctrl+T", self.action_fork)
        yield SystemCommand("Rename this chat", "F4", self.action_rename)
        yield SystemCommand("End this chat", "Its journal stays", self.action_kill)
        yield SystemCommand("Copy the last answer", "Ctrl+Y", self.action_copy_answer)
        yield SystemCommand("Copy a code block", "Ctrl+G", self.action_copy_code)
        yield SystemCommand("Copy the whole chat", "As Markdown", self.action_copy_chat)
        yield SystemCommand("Keys", "F1", self.action_help)

    # --- the conversation -------------------------------------------------------------------

    def action_new_chat(self) -> None:
        self.open(0)

    def action_stop(self) -> None:
        if self.status.running:
            self._interrupt()
        elif self.panel.display:
            self.show_panel(False)
        else:
            self.composer.focus()

    @work(group="signal")
    async def _interrupt(self) -> None:
        await self._ask(lambda client: client.signal(self.pid, "interrupt"))

    def action_copy_or_stop(self) -> None:
        text = self.get_selected_text()
        if text:
            self._copy(text, "the selection")
        elif self.status.running:
            self.action_stop()
        else:
            raise SkipAction

    def action_scroll_page(self, direction: int) -> None:
        if direction < 0:
            self.conversation.scroll_page_up(animate=False)
        else:
            self.conversation.scroll_page_down(animate=False)

    def action_scroll_far(self, direction: int) -> None:
        if direction < 0:
            self.conversation.scroll_home(animate=False)
        else:
            self.conversation.anchor()

    @on(Conversation.Earlier)
    def _earlier(self) -> None:
        self._show_earlier()

    @work(exclusive=True, group="earlier")
    async def _show_earlier(self) -> None:
        stored = await self._ask(lambda client: client.history(self.pid))
        if stored is not None:
            await self.conversation.show_earlier(stored)

    @on(Markdown.LinkClicked)
    @work(exclusive=True, group="dialog")
    async def _link_clicked(self, event: Markdown.LinkClicked) -> None:
        """A link's text may say another address than the link has: show the real one, ask."""
        address = event.href
        if not address.lower().startswith(("http://", "https://", "mailto:")):
            self._copy(address, "the link")
            return
        question = Confirm("Open this link?", yes="Open", detail=address, danger=False)
        if await self.app.push_screen_wait(question):
            self.app.open_url(address)

    # --- processes --------------------------------------------------------------------------

    def action_toggle_panel(self) -> None:
        self.show_panel(not self.panel.display)

    def show_panel(self, shown: bool) -> None:
        self.panel.display = shown
        self.set_class(shown, "-panel")
        if shown:
            self.refresh_panel()
            self.panel.query_one("#panel-list").focus()
        else:
            self.composer.focus()

    def refresh_panel(self) -> None:
        if self.panel.display and self.link.state == "ready":
            self._list_processes()

    @work(exclusive=True, group="panel")
    async def _list_processes(self) -> None:
        try:
            self.panel.show(await self.link.client.processes(), self.pid)
        except LlmosError:
            pass  # the link reports what is wrong, and the list is read again soon

    @on(ProcessPanel.Wanted)
    def _wanted(self, event: ProcessPanel.Wanted) -> None:
        match event.wish:
            case "close":
                self.show_panel(False)
            case "open" if event.pid:
                if self.has_class("-narrow"):
                    self.show_panel(False)
                self.open(event.pid)
            case "fork" if event.pid:
                self._fork(event.pid)
            case "rename" if event.pid:
                self._rename(event.pid)
            case "kill" if event.pid:
                self._kill(event.pid)

    @work(exclusive=True, group="dialog")
    async def action_resume(self) -> None:
        processes = await self._ask(lambda client: client.processes())
        if processes:
            self.open(by_use(processes)[0].pid)
        elif processes is not None:
            self.notify("There is no chat yet.")

    def action_fork(self) -> None:
        self._with_chat(self._fork)

    def action_rename(self) -> None:
        self._with_chat(self._rename)

    def action_kill(self) -> None:
        self._with_chat(self._kill)

    def _with_chat(self, action: Callable[[int], object]) -> None:
        if self.pid:
            action(self.pid)
        else:
            self.notify("This chat begins with your first message.")

    @work(exclusive=True, group="dialog")
    async def _fork(self, pid: int) -> None:
        info = await self._ask(lambda client: client.fork(pid))
        if info is not None:
            self.notify("This is the fork. The other one is in the list of chats.")
            self.open(info.pid)

    @work(exclusive=True, group="dialog")
    async def _rename(self, pid: int) -> None:
        info = await self._ask(lambda client: client.process(pid))
        if info is None:
            return
        prompt = Prompt("Name of the chat", info.title)
        title: str | None = await self.app.push_screen_wait(prompt)
        if not title:
            return
        if await self._ask(lambda client: client.rename(pid, title)):
            if pid == self.pid:
                self.process_title = title
            self.refresh_panel()

    @work(exclusive=True, group="dialog")
    async def _kill(self, pid: int) -> None:
        info = await self._ask(lambda client: client.process(pid))
        if info is None:
            return
        title = one_line(info.title or f"Process {pid}", TITLE_CHARS)
        reminders = await self._ask(lambda client: client.reminders()) or []
        detail = "A running reply is cut off. What was said stays in the journal."
        if count := sum(row["pid"] == pid for row in reminders):
            detail += f" Cancels {plural(count, 'reminder')}."
        question = Confirm(f"End “{title}”?", yes="End it", detail=detail)
        if not await self.app.push_screen_wait(question):
            return
        if await self._ask(lambda client: client.kill(pid)):
            if pid == self.pid:
                self.open(0)
            self.refresh_panel()

    def action_grants(self) -> None:
        self.app.push_screen(GrantsScreen(self.link))

    @work(exclusive=True, group="dialog")
    async def action_voice(self) -> None:
        """Go on with this chat by voice; what was said stands in it afterwards."""
        from llmos.voice.opening import open_terminal  # late: numpy, and what sound needs
        from llmos.voice.screen import VoiceScreen

        pid = self.pid
        try:
            client = self.link.client
        except LlmosError as error:  # there is no kernel
            self.notify(visible(str(error)), severity="error", markup=False)
            return
        screen = VoiceScreen(partial(open_terminal, pid=pid, client=client))
        failed = await self.app.push_screen_wait(screen)
        if failed is not None:
            self.notify(visible(str(failed)), severity="error", markup=False)
        if screen.pid and screen.pid != pid:
            self.open(screen.pid)
        elif self.pid:
            self.reload()  # an answer may have been cut to what was heard of it

    # --- memory -----------------------------------------------------------------------------

    def action_memory(self) -> None:
        self._remember(None)

    @on(RecallNotice.Opened)
    def _recall_opened(self, event: RecallNotice.Opened) -> None:
        self._remember(event.recalled)

    def _counted(self, info: ProcessInfo) -> None:
        """Have the status line show what the memory screen does."""
        if info.pid == self.pid:
            self.status.context_tokens = info.context_tokens

    @work(exclusive=True, group="memory")
    async def _remember(self, recalled: Recalled | None) -> None:
        """Show the memory screen; go where the person wants to from there."""
        memory = MemoryScreen(self.link, self.pid, recalled, counted=self._counted)
        place = await self.app.push_screen_wait(memory)
        if memory.forgot:
            self.reload()
        if place is not None:
            self._go(*place)

    @work(exclusive=True, group="go")
    async def _go(self, pid: int, turn: int) -> None:
        if pid != self.pid:
            self.open(pid)
        if pid != self.pid:
            return  # a message is still on its way
        try:
            client = await self.link.wait_for(pid)
            stored = await client.history(pid)
        except LlmosError as error:
            self.notify(visible(str(error)), severity="error", markup=False)
            return
        if not await self.conversation.show_turn(stored, turn) and turn:
            self.notify(f"Turn {turn} is too far back to be shown here.")

    # --- copying and help -------------------------------------------------------------------

    def _copy(self, text: str, what: str) -> None:
        """To the clipboard, without what a terminal would act on when it is pasted there."""
        self.app.copy_to_clipboard(visible(text))
        self.notify(f"Copied {what}.", timeout=2)

    def action_copy_answer(self) -> None:
        answers = self.conversation.answers
        if answers:
            self._copy(answers[-1].text, "the last answer")
        else:
            self.notify("There is no answer to copy yet.")

    @work(exclusive=True, group="dialog")
    async def action_copy_code(self) -> None:
        blocks = [b for answer in self.conversation.answers for b in answer.document.code_blocks]
        if not blocks:
            self.notify("There is no code block in this chat.")
            return
        blocks.reverse()  # the newest is the likeliest
        chosen = 0
        if len(blocks) > 1:
            answer = await self.app.push_screen_wait(Choose("Copy which code block?", blocks))
            if answer is None:
                return
            chosen = answer
        self._copy(blocks[chosen][1], "the code block")

    @work(exclusive=True, group="dialog")
    async def action_copy_chat(self) -> None:
        if not self.pid:
            self.notify("This chat begins with your first message.")
            return
        stored = await self._ask(lambda client: client.messages(self.pid))
        if stored is not None:
            said = [
                f"**{_speaker(record.message)}**\n\n{record.message.content}"
                for record in stored
                if record.message.role in ("user", "assistant") and record.message.content.strip()
            ]
            self._copy("\n\n".join(said), "the whole chat")

    def action_help(self) -> None:
        self.app.push_screen(Help())


def _speaker(message: Message) -> str:
    """Who wrote a message, as a heading of the copied chat."""
    if message.role == "user":
        return "Reminder" if message.name == BY_REMINDER else "You"
    return "llmos"
