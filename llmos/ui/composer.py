"""The input at the bottom: several lines, a history, large pastes whole.

Holds the draft and the history of this terminal; what becomes of a sent text is the screen's
business. A draft is never lost: it leaves the input only when ``take`` is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.binding import Binding, BindingType
from textual.keys import Keys
from textual.message import Message
from textual.widgets import TextArea

from llmos.ui.experts import Completion

__all__ = ["Composer"]

# A terminal without the kitty keyboard protocol sends Alt+Enter as escape and return; Textual
# would read it as Enter.
cast(dict[str, Any], ANSI_SEQUENCES_KEYS).setdefault("\x1b\r", (Keys.ControlJ,))

HISTORY_MAX = 200
#: Also the name that xterm's modifyOtherKeys form of Shift+Enter gets.
_NEWLINE_KEYS = {"ctrl+j", "shift+enter", "alt+enter", "ctrl+enter", "shift+\r", "alt+\r"}


class Composer(TextArea):
    """Where a person writes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+shift+z,super+shift+z", "redo", "Redo", show=False),
        Binding("pageup", "screen.scroll_page(-1)", "Scroll up", show=False),
        Binding("pagedown", "screen.scroll_page(1)", "Scroll down", show=False),
        Binding("ctrl+home", "screen.scroll_far(-1)", "To the first message", show=False),
        Binding("ctrl+end", "screen.scroll_far(1)", "To the last message", show=False),
    ]

    @dataclass
    class Submitted(Message):
        """The person pressed Enter on a text that is not blank."""

        composer: Composer
        text: str

    class Blank(Message):
        """The person pressed Enter without a text."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(
            id=id,
            compact=True,
            highlight_cursor_line=False,
            show_line_numbers=False,
            soft_wrap=True,
            tab_behavior="focus",
            placeholder="Ask anything",
        )
        self._history: list[str] = []
        self._place = 0  # in the history; its length means the draft
        self._draft = ""
        self.completion: Completion | None = None

    def take(self) -> str:
        """Remove and return the draft, and remember it in the history."""
        text = self.text
        if text.strip() and (not self._history or self._history[-1] != text):
            self._history = [*self._history, text][-HISTORY_MAX:]
        self._place = len(self._history)
        self._draft = ""
        self.text = ""
        return text

    def give_back(self, text: str) -> None:
        """Put a text that could not be sent before whatever was written since."""
        rest = self.text
        self.text = f"{text}\n{rest}" if rest.strip() else text
        self.move_cursor(self.document.end)

    def remember(self, texts: list[str]) -> None:
        """Make ``texts`` (oldest first) the history, as when a conversation is opened."""
        self._history = texts[-HISTORY_MAX:]
        self._place = len(self._history)

    async def _on_key(self, event: events.Key) -> None:
        offered = self.completion is not None and self.completion.offers(self.text)
        if offered and self._complete(event.key):
            event.stop()
            event.prevent_default()
        elif event.key == "enter":
            event.stop()
            event.prevent_default()
            if self.text.strip():
                self.post_message(self.Submitted(self, self.text))
            else:
                self.post_message(self.Blank())
        elif event.key in _NEWLINE_KEYS:
            event.stop()
            event.prevent_default()
            self._replace_via_keyboard("\n", *self.selection)
        else:
            await super()._on_key(event)

    def _complete(self, key: str) -> bool:
        """Whether a key was for the names that are offered."""
        assert self.completion is not None
        if key in ("up", "down"):
            self.completion.move(-1 if key == "up" else 1)
        elif key in ("tab", "enter"):
            self.text = self.completion.chosen
            self.move_cursor(self.document.end)
        elif key == "escape":
            self.completion.close()
        else:
            return False
        return True

    async def _on_paste(self, event: events.Paste) -> None:
        # Some terminals send a pasted line end as a return.
        text = event.text.replace("\r\n", "\n").replace("\r", "\n")
        event.stop()
        event.prevent_default()
        if result := self._replace_via_keyboard(text, *self.selection):
            self.move_cursor(result.end_location)
        self.focus()

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and self.cursor_at_first_line and self._show(self._place - 1):
            return
        super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        if not select and self.cursor_at_last_line and self._show(self._place + 1):
            return
        super().action_cursor_down(select)

    def _show(self, place: int) -> bool:
        """Show entry ``place`` of the history, or the draft after the last."""
        if not 0 <= place <= len(self._history) or place == self._place:
            return False
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        self.text = self._draft if place == len(self._history) else self._history[place]
        self.move_cursor(self.document.end)
        return True
