"""What the keys of the memory screen do to what is remembered, to pages, and to mounted folders.

A base class of the screen. The kernel is spoken to in workers; nothing is lost without a question
that says exactly what.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from textual import on, work
from textual.app import SystemCommand
from textual.widgets import OptionList

from llmos.errors import LlmosError
from llmos.ui import memory_export
from llmos.ui.asking import AskingScreen
from llmos.ui.dialogs import Confirm
from llmos.ui.memory_detail import Reader
from llmos.ui.memory_dialogs import AskPath, Writing
from llmos.ui.memory_folders import FolderList, not_read
from llmos.ui.memory_items import SAID, Item, doomed_lines, page
from llmos.ui.memory_list import MemoryList, chat_name
from llmos.ui.memory_window import FRONT, PageRow, WindowView
from llmos.ui.text import plural, visible

__all__ = ["MemoryActions"]


class MemoryActions(AskingScreen[tuple[int, int] | None]):
    """Actions on one item, page or folder; the subclass shows them.

    Closed with a process and a turn, it wants the chat to go there.
    """

    pid: int
    titles: dict[int, str]
    front: str
    forgot: bool = False  # something was: what chats show may be gone

    def refresh_facts(self) -> object:
        """Read again what is remembered."""
        raise NotImplementedError

    def refresh_window(self) -> object:
        """Read the page table again."""
        raise NotImplementedError

    def refresh_folders(self) -> object:
        """Read the list of mounts again."""
        raise NotImplementedError

    def commands(self) -> Iterable[SystemCommand]:
        """What can be done here whatever is chosen, for the command palette."""
        yield SystemCommand("Remember something", "Ctrl+N", self.action_add)
        yield SystemCommand("Export", "Everything remembered, to a file", self.action_export)
        yield SystemCommand("Mount a folder", "Your files as memory", self.action_mount_folder)
        yield SystemCommand("Back to the chat", "Esc", lambda: self.dismiss(None))

    @property
    def _item(self) -> Item | None:
        return self.query_one(MemoryList).item

    # --- reading ----------------------------------------------------------------------------

    @on(OptionList.OptionSelected, "#memory-list")
    def _selected(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        if self._item is not None:
            self.read(self._item)

    @work(group="dialog")
    async def read(
        self, item: Item, *, title: str = "", note: str = "", pins: bool = False
    ) -> None:
        """Show an item whole, and do what the person then wants with it.

        Args:
            pins: Whether it is a page that can be pinned into the window of this chat.
        """
        reader = Reader(item, self.titles, title, note, pins=pins)
        match await self.app.push_screen_wait(reader):
            case "edit":
                self._edit(item)
            case "pin" if item.kind == "page":
                self._pin_page(item.id, not item.pinned)
            case "pin":
                self._pin(item)
            case "forget":
                self._forget(item.id)
            case "jump":
                self.jump(item)
            case "whole":
                self.read_page(item.id.partition(".")[0])

    @work(group="dialog")
    async def read_page(self, id: str, row: PageRow | None = None) -> None:
        """Show a page, or all pages of a message, whole.

        Args:
            row: Where it was chosen in the page table: there it can be pinned.
        """
        rows = await self._ask(lambda client: client.pages(id))
        if rows:
            item = replace(page(rows, id), pinned=row is not None and row.pinned)
            self.read(item, pins=row is not None and row.kind in SAID)

    @on(WindowView.Opened)
    def _page_opened(self, event: WindowView.Opened) -> None:
        if event.page != FRONT:
            self.read_page(event.page, self.query_one(WindowView).row)
            return
        self.read(
            Item("", "page", self.front, 0.0, origin="system"),
            title="What the model is told first",
            note="It stands before all that was said, and changes only when pages leave.",
        )

    @work(exclusive=True, group="jump")
    async def jump(self, item: Item) -> None:
        """Go to the chat in which ``item`` was said."""
        if not item.said:
            self.notify("It was said in no chat.")
            return
        pid, turn = item.said[-1]
        if item.kind == "page" and not turn:  # a search does not tell it
            rows = await self._ask(lambda client: client.pages(item.id))
            turn = rows[0]["turn"] if rows else 0
        self.dismiss((pid, turn))

    def action_jump(self) -> None:
        if self._item is not None:
            self.jump(self._item)

    def action_copy(self) -> None:
        if self._item is not None:
            self.app.copy_to_clipboard(visible(self._item.text))
            self.notify("Copied it.", timeout=2)

    # --- writing ----------------------------------------------------------------------------

    @work(exclusive=True, group="dialog")
    async def action_add(self) -> None:
        async def keep(text: str, block: str) -> None:
            await self.link.client.remember(text, block=block)

        if await self.app.push_screen_wait(Writing(keep, "Remember")):
            self.refresh_facts()

    def action_edit(self) -> None:
        if (item := self._a_fact("edited")) is not None:
            self._edit(item)

    @work(group="dialog")
    async def _edit(self, item: Item) -> None:
        async def keep(text: str, block: str) -> None:
            await self.link.client.change_fact(item.id, text=text)

        if await self.app.push_screen_wait(Writing(keep, f"Edit {item.id}", item.text, item.block)):
            self.notify("Changed. The old text stays as its history.", timeout=3)
            self.refresh_facts()

    def action_pin(self) -> None:
        if (item := self._a_fact("pinned")) is not None:
            self._pin(item)

    @work(group="dialog")
    async def _pin(self, item: Item) -> None:
        if item.block != "fact":
            self.notify("It stands at the beginning of every chat anyway.")
            return
        pinned = not item.pinned
        if await self._ask(lambda client: client.change_fact(item.id, pinned=pinned)):
            told = "Pinned: every chat begins with it." if pinned else "Unpinned."
            self.notify(told, timeout=3)
            self.refresh_facts()

    def action_pin_page(self) -> None:
        """Have the chosen page stay in view when room is made, or no longer."""
        row = self.query_one(WindowView).row
        if row is None or row.id == FRONT:
            return
        self._pin_page(row.id, not row.pinned)

    @work(group="dialog")
    async def _pin_page(self, id: str, pinned: bool) -> None:
        try:
            await self.link.client.pin_page(self.pid, id, pinned)
        except LlmosError as error:
            self.notify(visible(str(error)), severity="error", markup=False)
            return
        told = "Pinned: it stays in view, with its turn." if pinned else "Unpinned."
        self.notify(told, timeout=3)
        self.refresh_window()

    def _a_fact(self, done: str) -> Item | None:
        item = self._item
        if item is not None and item.kind != "fact":
            self.notify(f"Only what is remembered can be {done}; this was found elsewhere.")
            return None
        return item

    # --- forgetting -------------------------------------------------------------------------

    def action_forget(self) -> None:
        item = self._item
        if item is not None and item.kind == "file":
            self.notify("Files are yours: change the file, or umount its folder.")
        elif item is not None:
            self._forget(item.id)

    def action_forget_page(self) -> None:
        row = self.query_one(WindowView).row
        if row is not None and row.id != FRONT:
            self._forget(row.id)

    @work(group="forget")
    async def _forget(self, id: str) -> None:
        doomed = await self._ask(lambda client: client.would_forget(id))
        if doomed is None:
            return
        detail = doomed_lines(doomed, lambda pid: chat_name(pid, self.titles))
        question = Confirm(f"Forget {id} for good?", yes="Forget", detail=detail)
        if not await self.app.push_screen_wait(question):
            return
        self.notify(f"Forgetting {id}…", timeout=3)
        erased = await self._ask(lambda client: client.forget(id))
        if erased is not None:
            self.forgot = True
            self.notify(f"Forgotten: {plural(erased, 'text')} gone from the disk.")
        self.refresh_facts()
        self.refresh_window()

    # --- export -----------------------------------------------------------------------------

    @work(exclusive=True, group="dialog")
    async def action_export(self) -> None:
        preset = f"~/llmos-memory-{time.strftime('%Y-%m-%d')}.json"
        asked = AskPath("Export", "Everything remembered, with its history, as JSON.", preset)
        path = await self.app.push_screen_wait(asked)
        if path is None:
            return
        if await asyncio.to_thread(path.exists):
            question = Confirm("Replace this file?", yes="Replace", detail=str(path))
            if not await self.app.push_screen_wait(question):
                return
        known = await self._ask(lambda client: client.facts())
        if known is not None:
            await self._write(path, known)

    async def _write(self, path: Path, known: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(memory_export.write, path, known)
        except LlmosError as error:
            self.notify(visible(str(error)), severity="error", markup=False)
        else:
            told = f"{plural(len(known['facts']), 'memory', 'memories')} written to {path}"
            self.notify(visible(told), markup=False)

    # --- folders ----------------------------------------------------------------------------

    @work(exclusive=True, group="dialog")
    async def action_mount_folder(self) -> None:
        asked = AskPath(
            "Mount a folder",
            "Its files are read in the background; you can leave this screen meanwhile.",
            "",
            folder=True,
        )
        folder = await self.app.push_screen_wait(asked)
        if folder is None:
            return
        if await self._ask(lambda client: client.mount(folder)) is not None:
            self.refresh_folders()

    @work(exclusive=True, group="dialog")
    async def action_umount_folder(self) -> None:
        mount = self.query_one(FolderList).mount_row
        if mount is None:
            return
        reading = "Its reading is stopped. " if mount["state"] == "reading" else ""
        detail = (
            f"{mount['folder']}\n\n{reading}{plural(mount['passages'], 'passage')} of"
            f" {plural(mount['files'], 'file')} are taken out of memory. The files themselves stay"
            " as they are, and what was brought back from them into a chat stays in that chat."
        )
        question = Confirm("Umount this folder?", yes="Umount", detail=detail)
        if not await self.app.push_screen_wait(question):
            return
        gone = await self._ask(lambda client: client.umount(mount["number"]))
        if gone is not None:
            self.notify(f"Umounted; {plural(gone, 'passage')} are gone from the index.")
        self.refresh_folders()

    @on(FolderList.Opened)
    def _folder_opened(self) -> None:
        mount = self.query_one(FolderList).mount_row
        if mount is not None:
            item = Item("", "file", not_read(mount), mount["synced"], place=mount["folder"])
            self.read(item, title="Not read, or not to the end")
