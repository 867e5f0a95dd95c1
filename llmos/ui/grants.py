"""What is allowed for longer than once: a screen to see it, to take it back, to allow a folder.

Shows the kernel's list and asks it to change that; whatever is taken back is asked about again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Footer, OptionList, Static
from textual.widgets.option_list import Option

from llmos.errors import LlmosError
from llmos.ui.asking import AskingScreen
from llmos.ui.link import KernelLink
from llmos.ui.memory_dialogs import AskPath
from llmos.ui.text import MUTED, one_line, value, visible

__all__ = ["GrantsScreen", "HowMuch", "told"]

REFRESH_S = 2.0
_EMPTY = (
    "Nothing is allowed beyond what you ask for each time.\n\nWhere a call needs your yes, you can"
    " give it for a chat or for always; then it stands here. n lets tools read a folder, or also"
    " change what is in it."
)


class GrantsScreen(AskingScreen[None]):
    """The list of what is allowed, newest first.

    Args:
        link: The terminal's connection to the kernel.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f5", "dismiss", "back"),
        Binding("x,delete", "take_back", "take back"),
        Binding("n", "grant_folder", "allow a folder"),
    ]

    def __init__(self, link: KernelLink) -> None:
        super().__init__()
        self.link = link
        self._known: list[dict[str, Any]] = []

    def compose(self) -> ComposeResult:
        yield Static("What is allowed", id="grants-title")
        yield OptionList(id="grants-list")
        yield Static(_EMPTY, id="grants-empty")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        rows = self.query_one("#grants-list", OptionList)
        rows.display = self.query_one("#grants-empty").display = False  # until it is known
        self.set_interval(REFRESH_S, self.refresh_grants)
        self.refresh_grants()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    @work(exclusive=True, group="grants")
    async def refresh_grants(self) -> None:
        """Read the list again; it may change elsewhere."""
        try:
            known = await self.link.client.grants()
        except LlmosError:
            return  # the link reports what is wrong, and the list is read again soon
        if known != self._known or not known:
            self._known = known
            self._draw()

    def _draw(self) -> None:
        rows = self.query_one("#grants-list", OptionList)
        at = rows.highlighted or 0
        width = max(self.size.width - 6, 20)
        rows.set_options([Option(_row(grant, width)) for grant in self._known])
        rows.display = bool(self._known)
        self.query_one("#grants-empty").display = not self._known
        if self._known:
            rows.highlighted = min(at, len(self._known) - 1)
            rows.focus()

    @work(exclusive=True, group="change")
    async def action_take_back(self) -> None:
        at = self.query_one("#grants-list", OptionList).highlighted
        if at is None or at >= len(self._known):
            return
        taken = await self._ask(lambda client: client.revoke(self._known[at]["id"]))
        if taken is not None:
            self.notify(f"Taken back: {told(taken)}", markup=False, timeout=4)
        self.refresh_grants()

    @work(exclusive=True, group="change")
    async def action_grant_folder(self) -> None:
        detail = "Its files and folders, for every chat, until you take it back."
        path = await self.app.push_screen_wait(
            AskPath("Which folder may tools use?", detail, "", folder=True)
        )
        if path is None:
            return
        write = await self.app.push_screen_wait(HowMuch(str(path)))
        if write is None:
            return
        given = await self._ask(lambda client: client.grant(folder=str(path), write=write))
        if given is not None:
            self.notify(f"Allowed: {told(given)}", markup=False, timeout=4)
        self.refresh_grants()


class HowMuch(ModalScreen[bool | None]):
    """Whether a folder may also be changed; None when cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel"),
        Binding("r", "dismiss(False)", "Read"),
        Binding("w", "dismiss(True)", "Change"),
        Binding("left,right", "app.focus_next", "Other"),
    ]

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("How much may tools do there?", classes="dialog-title")
            yield Static(Content(visible(self._folder)), classes="dialog-detail")
            with Horizontal(classes="dialog-buttons"):
                yield Button("Only read (r)", id="read", compact=True)
                yield Button("Read and change (w)", id="write", variant="error", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "write")


def told(grant: Mapping[str, Any]) -> str:
    """What a grant allows, in words, harmless for a terminal."""
    if grant["folder"]:
        what = "Read and change" if grant["write"] else "Read"
        return f"{what} {visible(grant['folder'])}"
    named = {**grant["arguments"], **grant["patterns"]}
    values = ", ".join(f"{visible(name)} = {value(each)}" for name, each in named.items())
    return f"{visible(grant['call'])}" + (f" with {values}" if values else " with any values")


def _row(grant: Mapping[str, Any], width: int) -> Content:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(grant["time"]))
    where = f"in chat {grant['pid']}" if grant["pid"] else "in every chat"
    parts = [where, f"since {since}", visible(grant["why"])]
    about = " · ".join(filter(None, parts))
    sign = ("✎ ", "$text-warning") if grant["write"] else ("● ", "$text-success")
    return Content.assemble(
        sign,
        (one_line(told(grant), width - 2), "bold"),
        "\n  ",
        (one_line(about, width - 2), MUTED),
    )
