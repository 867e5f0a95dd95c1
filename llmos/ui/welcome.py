"""What stands in an empty conversation: a greeting and things to try.

The starters are questions that a small local model and its tools answer rightly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from llmos.events import ProcessInfo
from llmos.ui.text import age, one_line, visible

__all__ = ["STARTERS", "Starter", "Welcome"]

STARTERS = (
    "What is 17 × 24, and what day is it in Tokyo?",
    "Explain a context window to a child, in three sentences.",
    "Write a Python function that reverses the words of a line.",
)


class Starter(Static, can_focus=True):
    """A question that is asked when it is clicked."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter,space", "choose", "Ask this")]

    @dataclass
    class Chosen(Message):
        """Ask ``text``, or open process ``pid`` where that is not 0."""

        text: str
        pid: int = 0

    def __init__(
        self, text: str, *, pid: int = 0, id: str | None = None, classes: str = ""
    ) -> None:
        super().__init__(Content(visible(text)), id=id, classes=classes)
        self.text = text
        self.pid = pid

    def action_choose(self) -> None:
        self.post_message(self.Chosen(self.text, self.pid))

    def on_click(self, event: events.Click) -> None:
        self.action_choose()


class Welcome(Vertical):
    """The greeting, the starters and the keys that matter first."""

    hint: reactive[str] = reactive("")

    def compose(self) -> ComposeResult:
        yield Static("llmos", id="welcome-name")
        yield Static("Everything stays on this machine. Ask something, or try:", id="welcome-line")
        for text in STARTERS:
            yield Starter(text)
        yield Starter("", id="welcome-resume")
        keys = [("Enter", "send"), ("Ctrl+J", "new line"), ("Ctrl+O", "chats"), ("F1", "help")]
        parts = [Content.assemble((key, "bold"), f" {does}") for key, does in keys]
        yield Static(Content("   ").join(parts), id="welcome-keys")
        yield Static("", id="welcome-hint")

    def on_mount(self) -> None:
        self.offer(None)

    def watch_hint(self, hint: str) -> None:
        for line in self.query("#welcome-hint").results(Static):
            line.update(Content(visible(hint)))
            line.display = bool(hint)

    async def offer_experts(self, questions: Sequence[str]) -> None:
        """Offer a question to each of some experts."""
        shown = list(self.query(".-expert").results(Starter))
        if [starter.text for starter in shown] != list(questions):
            await self.remove_children(shown)
            fresh = [Starter(question, classes="-expert") for question in questions]
            await self.mount_all(fresh, before="#welcome-resume")

    def offer(self, last: ProcessInfo | None) -> None:
        """Offer to go on with the process that was used last."""
        starter = self.query_one("#welcome-resume", Starter)
        starter.display = last is not None
        if last is not None:
            title = one_line(last.title or f"Process {last.pid}", 40)
            told = age(time.time() - (last.active or last.created))
            starter.pid = last.pid
            starter.update(Content.assemble("Go on with: ", (title, "bold"), f"  {told}"))
