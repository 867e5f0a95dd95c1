"""The list on the memory screen: what is remembered and what was found, under headings.

Shows the groups it is given and keeps the chosen item across changes. What is done with an item is
the screen's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from llmos.ui.memory_items import Group, Item, day, excerpt, who, words_of
from llmos.ui.text import MUTED, count, one_line, plural, visible

__all__ = ["MemoryList", "chat_name", "marked"]

SHOWN = 200  # of one group; more are found by typing
WIDTH = 76  # cells of the list, before it was laid out for the first time
TITLE_CHARS = 24


class MemoryList(OptionList):
    """Items under headings, two lines each."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "open"),
        Binding("a", "screen.add", "add", show=False),
        Binding("e", "screen.edit", "edit"),
        Binding("p", "screen.pin", "pin"),
        Binding("f,delete", "screen.forget", "forget"),
        Binding("o", "screen.jump", "chat"),
        Binding("y", "screen.copy", "copy", show=False),
        Binding("x", "screen.export", "export"),
        Binding("slash", "screen.find", "find", show=False),
    ]

    class Left(Message):
        """The person went up beyond the first item."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._groups: list[Group] = []
        self._query = ""
        self._titles: Mapping[int, str] = {}
        self._items: list[Item | None] = []  # by the place of their option; None for a heading

    @property
    def item(self) -> Item | None:
        """The chosen item."""
        at = self.highlighted
        return self._items[at] if at is not None and at < len(self._items) else None

    def show(self, groups: Sequence[Group], query: str, titles: Mapping[int, str]) -> None:
        """Show ``groups``; the chosen item stays chosen while it is among them.

        Args:
            query: What the person looks for; its words are marked.
            titles: Of chats, by process.
        """
        chosen = self.item.id if self.item else ""
        self._groups, self._query, self._titles = list(groups), query, titles
        words = words_of(query)
        options: list[Option] = []
        self._items = []
        for heading, items in groups:
            number = f"  {count(len(items))}"
            if len(items) > SHOWN:
                number += f", the first {SHOWN} are listed; type to find others"
            told = Content.assemble((heading, "bold $primary"), (number, MUTED))
            options.append(Option(Content("\n") + told if options else told, disabled=True))
            self._items.append(None)
            for item in items[:SHOWN]:
                options.append(Option(self._row(item, words)))
                self._items.append(item)
        self.set_options(options)
        ids = [item.id if item else "" for item in self._items]
        if options:
            self.highlighted = ids.index(chosen) if chosen and chosen in ids else 1
            if self.highlighted == 1:
                self.scroll_home(animate=False)  # the heading above it is to be seen, too

    def on_resize(self, event: events.Resize) -> None:
        self.show(self._groups, self._query, self._titles)

    def action_cursor_up(self) -> None:
        if self.highlighted is None or not any(self._items[: self.highlighted]):
            self.post_message(self.Left())
        else:
            super().action_cursor_up()

    def action_cursor_down(self) -> None:
        if self.highlighted is None or self.highlighted < len(self._items) - 1:
            super().action_cursor_down()

    def _row(self, item: Item, words: Iterable[str]) -> Content:
        width = (self.content_size.width or WIDTH) - 4
        text = marked(excerpt(item.text, words, width), words)
        about = [item.id, who(item), day(item.time)]
        if item.kind == "file":
            about = [visible(item.place), day(item.time)]
        elif item.said:
            about.insert(2, chat_name(item.said[-1][0], self._titles))
        if item.history:
            about.append(plural(len(item.history), "older text"))
        told = one_line(" · ".join(part for part in about if part), width - 9 * item.pinned)
        pin = ("  ◆ pinned", "$text-accent") if item.pinned else ""
        return Content.assemble(text, "\n", (told, MUTED), pin)


def chat_name(pid: int, titles: Mapping[int, str]) -> str:
    """A chat by its title."""
    title = titles.get(pid, "")
    return f"“{one_line(title, TITLE_CHARS)}”" if title else f"chat {pid}"


def marked(text: str, words: Iterable[str]) -> Content:
    """``text`` with the words that were looked for in another colour."""
    content = Content(text)
    for word in words:
        for found in re.finditer(re.escape(word), text, re.IGNORECASE):
            content = content.stylize("bold $text-accent", found.start(), found.end())
    return content
