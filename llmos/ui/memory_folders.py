"""The mounted folders on the memory screen, with how far those are that are being read.

Shows the list it is given; mounting and umounting is the screen's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmos.ui.memory_items import moment
from llmos.ui.status import gauge
from llmos.ui.text import MUTED, count, one_line, plural, visible

__all__ = ["FolderList", "not_read"]

WIDTH = 76
BAR = 16  # cells
_SIGNS = {
    "ready": ("●", "$text-success"),
    "reading": ("◐", "$text-accent"),
    "unread": ("◌", "$text-warning"),
    "gone": ("○", "$text-warning"),
    "leaving": ("○", MUTED),
}
_EMPTY = (
    "No folder is mounted.\n\nPress a and name one, such as ~/notes: its texts, code, PDF, Word and"
    " spreadsheet files become part of what is searched and brought back, and follow every change."
    " Nothing is copied elsewhere."
)


class _Mounts(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "what was not read")]


class FolderList(Vertical, can_focus=True):
    """The mounted folders."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "screen.mount_folder", "mount a folder"),
        Binding("u,delete", "screen.umount_folder", "umount"),
    ]

    class Opened(Message):
        """The person wants to know what was not read of the chosen folder."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._mounts: list[dict[str, Any]] = []

    def compose(self) -> ComposeResult:
        yield _Mounts(id="folder-list")
        yield Static(Content(_EMPTY), id="folder-empty")

    @property
    def mount_row(self) -> dict[str, Any] | None:
        """The chosen mount."""
        at = self.query_one("#folder-list", OptionList).highlighted
        return self._mounts[at] if at is not None and at < len(self._mounts) else None

    @property
    def reading(self) -> bool:
        """Whether one of them is being read."""
        return any(mount["state"] in ("reading", "unread", "leaving") for mount in self._mounts)

    def show(self, mounts: Sequence[dict[str, Any]]) -> None:
        """Show ``mounts``; the chosen one stays chosen."""
        if list(mounts) != self._mounts or not mounts:
            self._draw(mounts)

    def _draw(self, mounts: Sequence[dict[str, Any]]) -> None:
        rows = self.query_one("#folder-list", OptionList)
        chosen = self.mount_row["number"] if self.mount_row else 0
        self._mounts = list(mounts)
        width = (rows.content_size.width or WIDTH) - 3  # padding, and a scrollbar
        rows.set_options([Option(_row(mount, width)) for mount in mounts])
        numbers = [mount["number"] for mount in mounts]
        if numbers:
            rows.highlighted = numbers.index(chosen) if chosen in numbers else 0
        rows.display = bool(mounts)
        if mounts and self.has_focus:  # it had nothing to choose from before
            rows.focus()
        self.query_one("#folder-empty").display = not mounts

    def on_resize(self, event: events.Resize) -> None:
        self._draw(self._mounts)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Opened())


def _row(mount: Mapping[str, Any], width: int) -> Content:
    sign, colour = _SIGNS.get(mount["state"], ("·", MUTED))
    name = one_line(mount["folder"], width - 2)
    parts = [plural(mount["files"], "file"), plural(mount["passages"], "passage")]
    if mount["skips"]:
        parts.append(f"{count(mount['skips'])} not read")
    parts.append(_state(mount))
    lines = [Content.assemble((sign, colour), " ", (name, "bold"))]
    lines.append(Content.styled(f"  {one_line(' · '.join(filter(None, parts)), width)}", MUTED))
    if mount["of"] and mount["state"] == "reading":
        bar = (gauge(mount["done"] / mount["of"], BAR), "$primary on $panel")
        told = f"{count(mount['done'])} of {count(mount['of'])} · {visible(mount['reading'])}"
        lines.append(Content.assemble("  ", bar, "  ", (one_line(told, width - BAR - 4), MUTED)))
    return Content("\n").join(lines)


def _state(mount: Mapping[str, Any]) -> str:
    match mount["state"]:
        case "ready":
            following = mount["following"]
            return (
                f"followed: {visible(following)}"
                if following
                else f"read {moment(mount['synced'])}"
            )
        case "reading":
            return "being read" if mount["of"] else "looking what is there"
        case "unread":
            return "waits to be read"
        case "gone":
            return "the folder is away; what was read of it is kept"
        case "leaving":
            return "leaving"
        case other:
            return visible(str(other))


def not_read(mount: Mapping[str, Any]) -> str:
    """Which files of a mount were not read, and why."""
    if not mount["skips"]:
        return "Everything was read."
    lines = [
        f"{visible(each['place'])}\n    {visible(each['reason'])}" for each in mount["skipped"]
    ]
    left = mount["skips"] - len(mount["skipped"])
    return "\n".join([*lines, *([f"and {count(left)} more"] if left > 0 else [])])
