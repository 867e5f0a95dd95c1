"""The memory screen: what is remembered, what the model sees of this chat, the mounted folders.

Joins the parts and loads what they show; what a key does is in ``memory_actions``. It lies over the
chat, which goes on below. Searches by words at once, over what is remembered, and by meaning as
soon as the kernel answers; a newer search ends an older one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import ClassVar

from textual import events as ui_events
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Footer, Input, OptionList, Static, TabbedContent, TabPane, Tabs

from llmos.errors import LlmosError
from llmos.events import CallFinished, Event, ProcessInfo, Recalled, TurnFinished, WindowChanged
from llmos.ui.dialogs import Help
from llmos.ui.link import KernelLink
from llmos.ui.memory_actions import MemoryActions
from llmos.ui.memory_detail import Detail
from llmos.ui.memory_folders import FolderList
from llmos.ui.memory_items import Item, fact, groups, hit, near
from llmos.ui.memory_list import MemoryList
from llmos.ui.memory_window import ROWS, WindowView, counters, older_pages, page_rows
from llmos.ui.text import MUTED, count, one_line, visible

__all__ = ["MemoryScreen"]

FOUND = 40  # passages asked for
PAUSE_S = 0.15  # without a key until the kernel is asked
READING_S = 0.5  # between two looks at the folders while one is being read
RESTING_S = 3.0
QUERY_CHARS = 400  # as many as the kernel takes
_TABS = ("remembered", "window", "folders")
_NOTHING = (
    "Nothing is remembered yet.\n\nCtrl+N writes something down; so does “remember that …” in a"
    " chat. Here you can also find anything that was ever said."
)


class _Find(Input):
    """What is looked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "screen.to_list", "to the list"),
        Binding("enter", "submit", "open"),
    ]


class MemoryScreen(MemoryActions):
    """Everything ``llmos memory`` can do, and the page table of the chat below.

    Args:
        link: The terminal's connection to the kernel.
        pid: The chat whose window is shown; 0 for none.
        recalled: Show first what was brought back for a turn.
        counted: Told how full the chat's window is, each time that is asked.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back"),
        Binding("f3,ctrl+r", "next_tab", "tab", priority=True),
        Binding("ctrl+n", "add", "new"),
        Binding("f1", "help", "help", show=False),
    ]
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [  # type: ignore[misc]
        (0, "-narrow"),
        (64, "-wide"),
        (110, "-broad"),
    ]

    def __init__(
        self,
        link: KernelLink,
        pid: int,
        recalled: Recalled | None = None,
        *,
        counted: Callable[[ProcessInfo], None] = lambda info: None,
    ) -> None:
        super().__init__()
        self._counted = counted
        self.link, self.pid, self._recalled = link, pid, recalled
        self.titles: dict[int, str] = {}
        self.front = ""
        self._facts: list[Item] = []
        self._hits: list[Item] = []
        self._hits_of = ""  # the query that they answer
        self._known = False  # what is remembered has been read
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        with TabbedContent(initial=_TABS[0]):
            with TabPane("Memory", id=_TABS[0]):
                with Vertical(id="memory-find-box"):
                    yield _Find(
                        id="memory-find",
                        compact=True,
                        max_length=QUERY_CHARS,
                        placeholder="Find by words or by meaning: memories, chats, files",
                    )
                with Horizontal(id="memory-body"):
                    yield MemoryList(id="memory-list")
                    yield Static("", id="memory-empty")
                    yield Detail(id="memory-detail")
            with TabPane("This chat's window", id=_TABS[1]):
                yield WindowView(id="memory-window")
            with TabPane("Folders", id=_TABS[2]):
                yield FolderList(id="memory-folders")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(Tabs).can_focus = False  # F3 and the mouse reach them
        self.query_one(_Find).focus()
        self._draw()
        self.refresh_all()

    # --- loading ----------------------------------------------------------------------------

    def refresh_all(self) -> None:
        """Read everything again, as after the kernel came back."""
        self.refresh_facts()
        self.refresh_window()
        self.refresh_folders()

    def heard(self, event: Event) -> None:
        """Something happened in the chat below."""
        match event:
            case CallFinished() if event.call.name.startswith("memory."):
                self.refresh_facts()
            case TurnFinished():
                self.refresh_facts()
                self.refresh_window()
            case WindowChanged() | Recalled():
                self.refresh_window()

    @work(exclusive=True, group="facts")
    async def refresh_facts(self) -> None:
        known = await self._ask(lambda client: client.facts())
        chats = await self._ask(lambda client: client.processes(ended=True)) if known else None
        if known is None:
            return
        self.titles = {info.pid: info.title for info in chats or ()}
        self._facts = [fact(row) for row in known["facts"]]
        self._known = True
        self._label(_TABS[0], "Memory", count(len(self._facts)))
        self._draw()
        self._search()
        recalled, self._recalled = self._recalled, None
        if recalled is not None:
            self._show_recalled(recalled)

    @work(exclusive=True, group="window")
    async def refresh_window(self) -> None:
        view = self.query_one(WindowView)
        if not self.pid:
            view.explain(
                "This chat begins with your first message. Until then the window is empty."
            )
            return
        try:
            client = self.link.client
            window = await client.window(self.pid, last=ROWS)
            info = await client.process(self.pid)
            stats = await client.stats()
        except LlmosError as error:
            view.explain(str(error))
            return
        self.front = str(window["front"])
        rows, older = page_rows(window), older_pages(window)
        told = counters(stats.get("memory", {}))
        view.show(rows, older, info.window_tokens, info.context_tokens, told)
        self._counted(info)
        self._label_window()

    @on(WindowView.Filtered)
    def _label_window(self) -> None:
        self._label(_TABS[1], "This chat's window", self.query_one(WindowView).counted)

    @work(exclusive=True, group="folders")
    async def refresh_folders(self) -> None:
        with contextlib.suppress(LlmosError):  # what was seen last stays, and it is asked again
            mounts = await self.link.client.mounts()
            self.query_one(FolderList).show(mounts)
            self._label(_TABS[2], "Folders", count(len(mounts)))
        if self._timer is not None:
            self._timer.stop()
        pause = READING_S if self.query_one(FolderList).reading else RESTING_S
        self._timer = self.set_timer(pause, self.refresh_folders)

    def _label(self, tab: str, name: str, number: str) -> None:
        told = Content.assemble(name, (f" {number}", MUTED) if number != "0" else "")
        self.query_one(TabbedContent).get_tab(tab).label = told

    # --- finding ----------------------------------------------------------------------------

    @property
    def query_text(self) -> str:
        return self.query_one(_Find).value.strip()

    @on(Input.Changed, "#memory-find")
    def _changed(self) -> None:
        if not self.query_text:
            self._hits, self._hits_of = [], ""
        self._draw()
        self._search()

    @work(exclusive=True, group="search")
    async def _search(self) -> None:
        """Ask the kernel for what is typed, once the person pauses."""
        query = self.query_text
        box = self.query_one("#memory-find-box")
        box.border_subtitle = "searching…" if query else ""
        if query:
            await asyncio.sleep(PAUSE_S)
            try:
                found = await self.link.client.search(query, k=FOUND)
            except LlmosError as error:
                box.border_subtitle = one_line(visible(str(error)), 60)
                return
            self._hits, self._hits_of = [hit(row) for row in found if near(row)], query
        box.border_subtitle = ""
        self._draw()

    def _draw(self) -> None:
        if not self.query(MemoryList):  # an answer that came while the screen was being closed
            return
        query = self.query_text
        # What was found for the words before stays until the new answer is there.
        shown = groups(self._facts, self._hits if self._hits_of else [], query)
        memories, empty = self.query_one(MemoryList), self.query_one("#memory-empty", Static)
        memories.show(shown, query, self.titles)
        if memories.has_focus and not shown:
            self.query_one(_Find).focus()
        memories.display = bool(shown)
        empty.display = not shown
        if query:
            empty.update("" if self._hits_of != query else "Nothing like that is stored.")
        else:
            empty.update(_NOTHING if self._known else "")
        self._show_detail()

    @on(OptionList.OptionHighlighted, "#memory-list")
    def _show_detail(self) -> None:
        self.query_one(Detail).show(self._item, self.titles)

    @on(Input.Submitted, "#memory-find")
    def _submitted(self) -> None:
        self.action_open()

    @work(exclusive=True, group="dialog")
    async def _show_recalled(self, event: Recalled) -> None:
        """Show what was brought back for a turn: the thing itself, or all of it as it was shown."""
        if len(event.pages) == 1:
            [id] = event.pages
            if id.startswith("p"):
                self.read_page(id)
                return
            if id.startswith("m"):
                kept = [item for item in self._facts if item.id == id]
                if kept:
                    self.read(kept[0])
                    return
        table = await self._ask(lambda client: client.page_table(self.pid)) or []
        brought = [p for p in table if p["kind"] == "recalled" and p["turn"] == event.turn]
        if brought:
            self.read_page(brought[0]["id"].partition(".")[0])
        else:
            self.notify("It is no longer stored: it was forgotten.")

    # --- moving about -----------------------------------------------------------------------

    @on(TabbedContent.TabActivated)
    def _tab_shown(self, event: TabbedContent.TabActivated) -> None:
        first = {_TABS[0]: "#memory-find", _TABS[1]: "#window-pages", _TABS[2]: "#folder-list"}
        if event.pane.id in first:
            self.query_one(first[event.pane.id]).focus()
        if event.pane.id == _TABS[2] and not self.query_one("#folder-list").display:
            self.query_one(FolderList).focus()

    def action_next_tab(self) -> None:
        tabs = self.query_one(TabbedContent)
        tabs.active = _TABS[(_TABS.index(tabs.active) + 1) % len(_TABS)]

    def action_to_list(self) -> None:
        self.query_one(MemoryList).focus()

    @on(MemoryList.Left)
    def action_find(self) -> None:
        self.query_one(_Find).focus()

    def action_back(self) -> None:
        find = self.query_one(_Find)
        if find.value and find.has_focus:
            find.value = ""
        else:
            self.dismiss(None)

    def action_help(self) -> None:
        self.app.push_screen(Help())

    def on_paste(self, event: ui_events.Paste) -> None:
        """A paste that no input took is looked for."""
        find = self.query_one(_Find)
        find.value = event.text.strip()[:QUERY_CHARS]
        find.focus()
