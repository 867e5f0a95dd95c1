"""The pieces of a conversation: what the person wrote, replies, remarks, the wait between.

Each knows how it looks and which journal record it shows; their order is the conversation's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import Static

from llmos.events import REMINDER, ArtifactsMade, Cited, Recalled, WindowChanged
from llmos.ui.call_card import SPINNER, SPINNER_S
from llmos.ui.markdown import StreamedMarkdown
from llmos.ui.text import MUTED, duration, visible

__all__ = [
    "Notice",
    "PipedBlock",
    "RecallNotice",
    "ReminderBlock",
    "ReplyBlock",
    "Thinking",
    "UserBlock",
    "left",
    "note_id",
]

PIPED_LINES = 6  # of a piped text, while it is folded
PIPED_CHARS = 600


class UserBlock(Static):
    """A message of the person.

    Args:
        pending: It waits to be taken up: for the kernel, or for the turn before it.
    """

    def __init__(self, text: str, *, message_id: str = "", pending: bool = False) -> None:
        super().__init__(Content(visible(text).strip("\n")))
        self.text = text
        self.message_id = message_id
        self.set_class(pending, "-pending")

    @property
    def pending(self) -> bool:
        return self.has_class("-pending")

    def confirm(self, message_id: str) -> None:
        """The kernel has journalled it and taken it up."""
        self.message_id = message_id
        self.remove_class("-pending")


class ReminderBlock(UserBlock):
    """A reminder that came due: it begins a turn as a person's message does, and is none.

    Args:
        text: The message that woke the process.
    """

    def __init__(self, text: str, *, message_id: str = "") -> None:
        super().__init__(text, message_id=message_id)
        said = visible(text.removeprefix(REMINDER)).strip()
        self.update(Content.assemble(("⏰ Reminder", "bold $accent"), "\n", said))


class PipedBlock(UserBlock, can_focus=True):
    """A message with a text that was piped in beside it: nobody's word, folded where it is long.

    Args:
        text: The whole message.
        own: How many of its characters are the person's own words; they stand first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("enter,space", "fold", "Show more or less")]

    folded: reactive[bool] = reactive(True, init=False)

    def __init__(self, text: str, *, own: int, message_id: str = "") -> None:
        super().__init__(text, message_id=message_id)
        self._own, self._given = text[:own], text[own:].strip("\n")
        self.watch_folded()

    def action_fold(self) -> None:
        """Show all of it, or only how it begins."""
        self.folded = not self.folded

    def on_click(self) -> None:
        self.action_fold()

    def watch_folded(self) -> None:
        lines = visible(self._given).splitlines()
        shown = "\n".join(lines[:PIPED_LINES])[:PIPED_CHARS] if self.folded else "\n".join(lines)
        more = self.folded and len(shown) < len("\n".join(lines))
        about = f"Piped in · {len(self._given):,} characters"
        rows = [
            Content(visible(self._own).strip("\n")),
            Content.styled(about, "bold $accent"),
            Content(f"{shown} …" if more else shown),
            Content.styled("Enter shows all of it" if more else "", MUTED),
        ]
        self.update(Content("\n").join(row for row in rows if row.plain))


class ReplyBlock(Vertical):
    """One message of the assistant, perhaps still being written, and a line below it."""

    def __init__(self, text: str = "", *, message_id: str = "", turn: int = 0) -> None:
        super().__init__()
        self.document = StreamedMarkdown(text)
        self.text = text
        self.message_id = message_id
        self.turn = turn
        self._footer = Static("", classes="footer")

    def compose(self) -> ComposeResult:
        yield self.document
        yield self._footer

    def write(self, text: str) -> None:
        """More text has come."""
        self.text += text
        self.document.write(text)

    async def finish(self, text: str | None = None, message_id: str = "") -> None:
        """All text has come; ``text`` is the whole as the journal has it."""
        if text is not None and text != self.text:
            self.text = text
            await self.document.replace(text)
        else:
            await self.document.finish()
        self.message_id = message_id or self.message_id

    def tell(self, line: str, *, alert: bool = False) -> None:
        """Put ``line`` below the reply."""
        self._footer.update(Content(visible(line)))
        self._footer.set_class(alert, "-alert")
        self._footer.display = bool(line)


class Notice(Static):
    """A remark of llmos itself, such as an error with its remedy."""

    def __init__(
        self,
        line: str,
        kind: Literal["error", "warning", "info"] = "info",
        *,
        message_id: str = "",
    ) -> None:
        super().__init__(Content(visible(line)), classes=f"-{kind}")
        self.message_id = message_id


class RecallNotice(Static, can_focus=True):
    """What was brought back from memory for a turn, with its places; Enter or a click opens it."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter,space", "open", "Show it")]

    @dataclass
    class Opened(Message):
        """The person wants to see it."""

        recalled: Recalled

    def __init__(self, recalled: Recalled) -> None:
        self.recalled = recalled
        self.message_id = note_id(recalled)
        each = dict.fromkeys(recalled.places or recalled.pages)  # two pages may share a place
        places = ", ".join(visible(place) for place in each)
        super().__init__(Content.assemble(("↩ ", "$accent"), f"Brought back from memory: {places}"))

    def action_open(self) -> None:
        self.post_message(self.Opened(self.recalled))

    def on_click(self, event: events.Click) -> None:
        if self.screen.get_selected_text() is None:
            self.action_open()


def note_id(note: Recalled | WindowChanged | ArtifactsMade | Cited) -> str:
    """What tells one remark of the journal from all others."""
    return f"{note.type} {note.seq}"


def left(note: WindowChanged) -> Notice:
    """What is told of pages that left the window."""
    pages = note.evicted
    ids = pages[0] if len(pages) == 1 else f"{pages[0]} to {pages[-1]}"
    told = f"{ids} left the window."
    if len({page.partition(".")[0] for page in pages}) == 1 and "." in pages[0]:
        told = f"A part of a long text is out of view: {ids}."
    told += " Nothing is lost; it comes back when it is needed."
    return Notice(told, message_id=note_id(note))


class Thinking(Static):
    """Shown from the moment a message is taken up until something comes back."""

    def __init__(self) -> None:
        super().__init__()
        self._since = time.monotonic()

    def on_mount(self) -> None:
        self.set_interval(SPINNER_S, self._draw)
        self._draw()

    def _draw(self) -> None:
        elapsed = time.monotonic() - self._since
        sign = SPINNER[int(elapsed / SPINNER_S) % len(SPINNER)]
        told = f" reading, {duration(elapsed)}" if elapsed >= 1 else ""
        self.update(Content.assemble((sign, "$accent"), (told, MUTED)))
