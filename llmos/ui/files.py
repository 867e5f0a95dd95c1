"""A file that a call made, in the conversation: its name and size; Enter saves it somewhere.

The base of what shows more of a file (``pictures.py``, ``tables.py``). A card says what the person
wants and what it needs itself; fetching and saving is the screen's business (``file_actions.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from llmos.events import ArtifactInfo
from llmos.ui.text import MUTED, visible

__all__ = ["FileCard", "size"]


class FileCard(Vertical, can_focus=True):
    """One file.

    Args:
        info: As it is kept.
        message_id: Tells the remark of the journal that it stands in from all others.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter,space", "enter", "Open or save it"),
        ("s", "save", "Save it"),
    ]
    KEYS: ClassVar[str] = "Enter saves it"

    @dataclass
    class Saved(Message):
        """The person wants to have it."""

        info: ArtifactInfo

    @dataclass
    class Opened(Message):
        """The person wants to see it whole."""

        card: FileCard

    @dataclass
    class Outside(Message):
        """The person wants to see it in another program."""

        info: ArtifactInfo

    @dataclass
    class Needed(Message):
        """The card cannot be drawn without what is in the file."""

        card: FileCard

    def __init__(self, info: ArtifactInfo, message_id: str) -> None:
        super().__init__()
        self.info = info
        self.message_id = message_id
        self.away = False  # the kernel was, when the file was needed
        self._line = Static("", classes="file-line")

    def compose(self) -> ComposeResult:
        yield self._line

    def on_mount(self) -> None:
        self._tell_line(self.KEYS)

    def _tell_line(self, keys: str) -> None:
        told = f"  {size(self.info.size)} · {keys}"
        self._line.update(
            Content.assemble(("▣ ", "$accent"), (visible(self.info.name), "bold"), (told, MUTED))
        )

    def need(self) -> None:
        """Ask for what is in the file, again where that failed."""

    def tell(self, sentence: str, *, away: bool = False) -> None:
        """Say why what is in the file cannot be shown."""
        self.away = away

    def action_enter(self) -> None:
        self.action_save()

    def action_save(self) -> None:
        self.post_message(self.Saved(self.info))

    def on_click(self, event: events.Click) -> None:
        if self.screen.get_selected_text() is None:
            self.action_enter()


def size(count: int) -> str:
    """A number of bytes as a person reads it."""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
