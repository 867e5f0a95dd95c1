"""Small windows of the memory screen: writing something down, naming a file or a folder.

A window closes when what was typed has been kept, or when the person says to drop it: a refusal is
shown in it, and the text stays.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, RadioButton, RadioSet, Static, TextArea

from llmos.errors import LlmosError
from llmos.ui.dialogs import Confirm
from llmos.ui.memory_items import BLOCKS
from llmos.ui.text import visible

__all__ = ["AskPath", "FolderSuggester", "Writing"]

#: What is to be kept: the text and the block. It raises what the kernel says.
Keep = Callable[[str, str], Awaitable[object]]

_ABOUT = {
    "fact": "comes back when it matters",
    "user": "every chat begins with it",
    "assistant": "every chat begins with it",
}


class _Text(TextArea):
    """A few sentences; Enter is done."""

    class Done(Message):
        pass

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Done())
        else:
            await super()._on_key(event)


class Writing(ModalScreen[bool]):
    """Something to remember, new or changed; True when it was kept.

    Args:
        keep: Keeps it.
        title: What is being done.
        text: What is there already.
        block: Where that stands; None lets the person choose.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "close", "Cancel"),
        Binding("ctrl+s", "keep", "Keep", show=False),
    ]

    def __init__(self, keep: Keep, title: str, text: str = "", block: str | None = None) -> None:
        super().__init__()
        self._keep, self._title, self._text, self._block = keep, title, text, block
        self._keeping = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog writing"):
            yield Static(Content(self._title), classes="dialog-title")
            if self._block is None:
                with RadioSet(compact=True, id="block"):
                    for block, name in BLOCKS.items():
                        label = Content.assemble(name, (f"  {_ABOUT[block]}", "$foreground 60%"))
                        yield RadioButton(label, value=block == "fact", compact=True)
            yield _Text(
                self._text,
                id="text",
                compact=True,
                soft_wrap=True,
                show_line_numbers=False,
                highlight_cursor_line=False,
                tab_behavior="focus",
                placeholder="One or a few sentences",
            )
            yield Static("", id="trouble")
            told = "Enter keeps it, Esc cancels" + (
                "" if self._block else ", Tab chooses what it is"
            )
            yield Static(told, classes="dialog-detail")

    def on_mount(self) -> None:
        area = self.query_one(_Text)
        area.focus()
        area.move_cursor(area.document.end)

    @property
    def unsaved(self) -> bool:
        """Whether closing would lose something typed."""
        return self.query_one(_Text).text.strip() not in ("", self._text.strip())

    @on(_Text.Done)
    def action_keep(self) -> None:
        if self._keeping:
            return
        text = self.query_one(_Text).text.strip()
        if text == self._text.strip():
            self.dismiss(False)
        elif text:
            self._keeping = True
            self._tell("Keeping it…")
            self._save(text)
        else:
            self._tell("There is nothing to remember. Forgetting is another key: f in the list.")

    @work
    async def _save(self, text: str) -> None:
        block = self._block
        if block is None:
            block = list(BLOCKS)[max(self.query_one(RadioSet).pressed_index, 0)]
        try:
            await self._keep(text, block)
        except LlmosError as error:
            self._tell(str(error))
            self._keeping = False
        else:
            self.dismiss(True)

    def _tell(self, sentence: str) -> None:
        trouble = self.query_one("#trouble", Static)
        trouble.update(Content(visible(sentence)))
        trouble.display = bool(sentence)

    @work(exclusive=True, group="close")
    async def action_close(self) -> None:
        question = Confirm("Drop what you typed?", yes="Drop it")
        if not self.unsaved or await self.app.push_screen_wait(question):
            self.dismiss(False)


class FolderSuggester(Suggester):
    """Completes the name of a folder."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(_completed, value) if value else None


def _completed(value: str) -> str | None:
    """``value`` with the rest of the first folder's name that begins so."""
    head, tail = os.path.split(value)
    try:
        with os.scandir(os.path.expanduser(head) or ".") as entries:
            names = [e.name for e in entries if e.name.startswith(tail) and e.is_dir()]
    except OSError:
        return None
    shown = sorted(name for name in names if tail.startswith(".") or not name.startswith("."))
    return os.path.join(head, shown[0]) + os.sep if shown and tail else None


class AskPath(ModalScreen[Path | None]):
    """The path of a file or a folder; None when cancelled.

    Args:
        title: What it is for.
        detail: A sentence more.
        path: What is preset.
        folder: Whether it is a folder that is there already.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, detail: str, path: str, *, folder: bool = False) -> None:
        super().__init__()
        self._title, self._detail, self._path, self._folder = title, detail, path, folder

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._title), classes="dialog-title")
            yield Static(Content(self._detail), classes="dialog-detail")
            suggester = FolderSuggester() if self._folder else None
            yield Input(
                self._path,
                compact=True,
                select_on_focus=False,
                suggester=suggester,
                placeholder="Such as ~/notes" if self._folder else "",
            )
            yield Static("", id="trouble")
            told = "Enter goes on, Esc cancels" + (", → completes" if self._folder else "")
            yield Static(told, classes="dialog-detail")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self._take(event.value.strip())

    @work(exclusive=True)
    async def _take(self, written: str) -> None:
        """Close with the path, or say why not. A disk that answers late holds nobody up."""
        path, wrong = await asyncio.to_thread(_looked_at, written, folder=self._folder)
        if wrong:
            trouble = self.query_one("#trouble", Static)
            trouble.update(Content(visible(wrong)))
            trouble.display = True
        else:
            self.dismiss(path)


def _looked_at(written: str, *, folder: bool) -> tuple[Path, str]:
    """The path that was written, and why it cannot be used; empty where it can."""
    try:
        path = Path(written).expanduser().absolute()
    except RuntimeError:  # of ~somebody, or of nobody
        return Path(written), f"There is no home folder for {written.split('/')[0]}."
    return path, _no_folder(path) if folder else _no_file(path)


def _no_folder(path: Path) -> str:
    return "" if path.is_dir() else f"There is no folder {path}."


def _no_file(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder."
    return "" if path.parent.is_dir() else f"There is no folder {path.parent}."
