"""The side panel: every process, to switch to, rename, fork or end.

Shows the list it is given and posts what the person wants; the screen does it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmos.events import ProcessInfo
from llmos.ui.text import MUTED, age, one_line

__all__ = ["ProcessPanel", "by_use"]

WIDTH = 33  # cells inside the panel, before it was laid out for the first time
Wish = Literal["open", "rename", "fork", "kill", "close"]
_SIGNS = {
    "ready": ("●", "$text-success"),
    "running": ("◐", "$text-accent"),
    "waiting": ("◌", "$text-warning"),
    "stopped": ("■", "$text-warning"),
    "ended": ("○", MUTED),
}


def by_use(processes: Iterable[ProcessInfo]) -> list[ProcessInfo]:
    """The one used last first."""
    return sorted(processes, key=lambda info: (-(info.active or info.created), -info.pid))


class ProcessPanel(Vertical):
    """The list of processes, last used first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("r", "wish('rename')", "Rename"),
        ("f", "wish('fork')", "Fork"),
        ("k,delete", "wish('kill')", "End"),
        ("escape", "wish('close')", "Close"),
    ]

    @dataclass
    class Wanted(Message):
        """The person wants ``wish`` for process ``pid`` (0 where the list is empty)."""

        wish: Wish
        pid: int

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._known: list[ProcessInfo] = []
        self._current = 0

    def compose(self) -> ComposeResult:
        yield Static("Chats", id="panel-title")
        yield OptionList(id="panel-list")
        yield Static("No chats yet. Your first message starts one.", id="panel-empty")
        keys = [("r", "rename"), ("f", "fork"), ("k", "end"), ("Esc", "hide")]
        parts = [Content.assemble((key, "bold"), f" {does}") for key, does in keys]
        yield Static(Content("  ").join(parts), id="panel-keys")

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.show(self._known, self._current))

    def show(self, processes: list[ProcessInfo], current: int) -> None:
        """Show ``processes``; the chosen row stays on its process until another one is opened."""
        rows = self.query_one("#panel-list", OptionList)
        chosen = self.pid if current == self._current and self.pid else current
        self._current = current
        processes = by_use(processes)
        self._known = processes
        now = time.time()
        rows.clear_options()
        rows.add_options([Option(self._row(info, current, now)) for info in processes])
        pids = [info.pid for info in processes]
        if pids:
            rows.highlighted = pids.index(chosen) if chosen in pids else 0
        self.set_class(not processes, "-empty")

    @property
    def pid(self) -> int:
        """The process of the chosen row, or 0."""
        row = self.query_one("#panel-list", OptionList).highlighted
        return self._known[row].pid if row is not None and row < len(self._known) else 0

    def _row(self, info: ProcessInfo, current: int, now: float) -> Content:
        sign, colour = _SIGNS.get(info.state, ("·", MUTED))
        width = (self.content_size.width or WIDTH) - 4
        title = one_line(info.title or f"Process {info.pid}", width)
        told = f"{info.state} · {age(now - (info.active or info.created))}"
        if info.parent:
            told += f" · from {info.parent}"
        return Content.assemble(
            (sign, colour),
            " ",
            (title, "bold" if info.pid == current else ""),
            "\n  ",
            (one_line(told, width), MUTED),
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Wanted("open", self.pid))

    def action_wish(self, wish: Wish) -> None:
        self.post_message(self.Wanted(wish, self.pid))
