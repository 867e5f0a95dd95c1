"""What the model sees of the chat in view: its window, page by page, and what is only stored.

Shows the page table and the counters as the kernel tells them. How full the window is, is the exact
count of the status line; the tokens of a page are the model's own count of its text. What lies
between the two is what frames the messages: the template, and the descriptions of tools.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from llmos.ui.text import MUTED, count, one_line, plural, visible

__all__ = ["ROWS", "Older", "PageRow", "WindowView", "counters", "older_pages", "page_rows"]

ROWS = 1000  # of the newest pages, besides what is in view; older ones are found by searching
BAR = 72  # cells at most
FRONT = "front"  # the id of what is no page: the system prompt and what it holds
_WHO = {
    "user": "you",
    "assistant": "the model",
    "tool": "a call's result",
    "recalled": "from memory",
    "note": "a note",
    "window": "",
}
_STATES = {
    "view": ("●", "$text-success", "in view"),
    "recalled": ("↩", "$text-accent", "brought back"),
    "stored": ("○", MUTED, "stored"),
}
_PARTS = {
    "front": ("system prompt", "$secondary"),
    "view": ("the chat", "$primary"),
    "recalled": ("brought back", "$accent"),
    "frame": ("framing", "$warning"),
}


@dataclass(frozen=True, slots=True)
class PageRow:
    """A page of the chat; the first stands for what the model is told before it.

    Args:
        state: ``front``, ``view``, ``recalled`` (in view again), or ``stored`` (not in view).
        origin: Who it came from, in the kernel's word.
        tokens: 0 for one that is not in view.
        pinned: It stays in view when room is made.
    """

    id: str
    kind: str
    turn: int
    state: str
    origin: str
    tokens: int
    characters: int
    beginning: str
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Older:
    """Pages that are only stored and not listed, and their characters."""

    pages: int = 0
    characters: int = 0


def older_pages(window: Mapping[str, Any]) -> Older:
    """What ``Client.window`` counts of the chat but does not list."""
    return Older(window.get("unlisted", 0), window.get("unlisted_characters", 0))


def page_rows(window: Mapping[str, Any]) -> list[PageRow]:
    """The rows of what ``Client.window`` tells."""
    front = str(window["front"])
    size = int(window["front_tokens"])
    rows = [PageRow(FRONT, "system prompt", 0, "front", "system", size, len(front), front)]
    for page in window["pages"]:
        state = "stored"
        if page["resident"]:
            state = "recalled" if page["kind"] == "recalled" else "view"
        rows.append(
            PageRow(
                page["id"],
                page["kind"],
                page["turn"],
                state,
                page["origin"],
                page["tokens"],
                page["characters"],
                page["beginning"],
                bool(page.get("pinned")),
            )
        )
    return rows


def counters(memory: Mapping[str, Any]) -> str:
    """The kernel's counters of memory in words; empty where it counts nothing."""
    if "faults" not in memory:
        return ""
    parts = [
        plural(memory["faults"], "page fault"),
        f"{plural(memory['prefetched'], 'page')} brought back ahead,"
        f" in {plural(memory['prefetches'], 'turn')}",
    ]
    parts += [
        f"{count(memory['returned'])} brought back again",
        plural(memory["searches"], "search", "searches"),
    ]
    left = memory["passages"] - memory["embedded"]
    if left > 0:
        parts.append(
            f"{count(left)} of {plural(memory['passages'], 'passage')} not read by meaning yet"
        )
    return "Since the kernel started: " + " · ".join(parts)


class _Pages(OptionList):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select", "open")]


class WindowView(Vertical):
    """The page table of one chat."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "only_view", "only what is in view"),
        Binding("p", "screen.pin_page", "pin"),
        Binding("f,delete", "screen.forget_page", "forget"),
    ]

    @dataclass
    class Opened(Message):
        """The person wants to see a page whole; ``FRONT`` for what precedes the chat."""

        page: str

    class Filtered(Message):
        """Other pages of the table are listed than before."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: list[PageRow] = []
        self._shown: list[PageRow] = []
        self._older = Older()
        self._only_view = False
        self._capacity = 0
        self._filled = 0

    def compose(self) -> ComposeResult:
        yield Static("", id="window-bar")
        yield Static("", id="window-counters")
        yield Static("", id="window-head")
        yield _Pages(id="window-pages")
        yield Static("", id="window-empty")

    @property
    def row(self) -> PageRow | None:
        """The chosen page."""
        at = self.query_one("#window-pages", OptionList).highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    @property
    def counted(self) -> str:
        """How many pages there are, and how many of them are listed where not all may be."""
        stored = sum(row.state == "stored" for row in self._rows)
        listed = max(len(self._rows) - 1 - stored, 0)
        if self._only_view:
            return f"{count(listed)} of {count(listed + stored + self._older.pages)}, in view only"
        return count(listed + stored + self._older.pages)

    def show(
        self, rows: Sequence[PageRow], older: Older, window: int, context: int, told: str
    ) -> None:
        """Show a page table.

        Args:
            rows: What stands first, what is in view, and the newest pages.
            older: What else is stored.
            window: The model's window, in tokens.
            context: How much of it is filled, with all that frames messages, as the status line
                shows it; 0 where nobody has counted it.
            told: The counters.
        """
        self._rows, self._older = list(rows), older
        self._capacity, self._filled = window, context
        self.query_one("#window-counters", Static).update(Content(told))
        self._draw()

    def explain(self, sentence: str) -> None:
        """Say why there is no page table."""
        self._rows = []
        self._draw()
        self.query_one("#window-empty", Static).update(Content(visible(sentence)))

    def on_resize(self, event: events.Resize) -> None:
        self._draw()

    def action_only_view(self) -> None:
        self._only_view = not self._only_view
        self._draw()
        self.post_message(self.Filtered())

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Opened(self._shown[event.option_index].id))

    def _draw(self) -> None:
        pages = self.query_one("#window-pages", OptionList)
        chosen = self.row.id if self.row else ""
        hidden = self._only_view
        self._shown = [row for row in self._rows if row.state != "stored" or not hidden]
        width = self.content_size.width or BAR
        self.query_one("#window-bar", Static).update(self._bar(width - 4))
        self.query_one("#window-head", Static).update(self._head())
        line = (pages.content_size.width or BAR) - 3  # padding, and a scrollbar
        pages.set_options([Option(_line(row, line)) for row in self._shown])
        ids = [row.id for row in self._shown]
        if ids:
            pages.highlighted = ids.index(chosen) if chosen in ids else len(ids) - 1
        for name in ("#window-bar", "#window-counters", "#window-head", "#window-pages"):
            self.query_one(name).display = bool(self._rows)
        self.query_one("#window-empty").display = not self._rows

    def _bar(self, width: int) -> Content:
        """The window as a bar: what fills it, and how much is free."""
        sums = {part: sum(r.tokens for r in self._rows if r.state == part) for part in _PARTS}
        texts = sum(sums.values())
        used = self._filled or texts
        sums["frame"] = max(used - texts, 0)
        size, cells = max(self._capacity, used, 1), min(width, BAR)
        filled = min(max(round(used / size * cells), bool(used)), cells)
        bar, legend, left = Content(""), [], filled
        for part, (name, colour) in _PARTS.items():
            if not sums[part]:
                continue
            share = min(max(round(sums[part] / size * cells), 1), left)
            left -= share
            bar += Content.styled("█" * share, colour)
            legend.append(Content.assemble(("█ ", colour), (f"{name} {count(sums[part])}", MUTED)))
        bar += Content.styled("░" * (cells - filled + left), MUTED)
        about = "" if self._filled else "at least "
        total = f"{about}{count(used)} of {plural(self._capacity, 'token')} in the model's window"
        total += f", {count(max(self._capacity - used, 0))} free"
        if texts > used:  # it came into view since it was counted
            total += f"; {count(texts)} and what frames them in the next turn"
        return Content("\n").join([Content(total), bar, Content("   ").join(legend)])

    def _head(self) -> Content:
        sizes = [row.characters for row in self._rows if row.state == "stored"]
        stored = len(sizes) + self._older.pages
        told = f"{plural(len(self._rows) - 1 - len(sizes), 'page')} in view"
        if stored:
            size = sum(sizes) + self._older.characters
            told += f", {count(stored)} only stored ({plural(size, 'character')})"
        if self._only_view:
            told += "; v lists these, too" if stored else ""
        elif self._older.pages:
            told += f"; {count(self._older.pages)} older ones are found by searching"
        return Content.styled(told, MUTED)


def _line(row: PageRow, width: int) -> Content:
    if row.state == "front":
        sign, name, said = ("■", "$secondary"), "told first", ""
    else:
        mark, colour, name = _STATES[row.state]
        sign = ("◆", "$text-accent") if row.pinned else (mark, colour)
        name = "pinned" if row.pinned and row.state == "view" else name
        said = _WHO.get(row.kind, row.kind)
        if row.origin == "untrusted":
            said = f"{said}, not trusted" if said else "not trusted"
    size = f"{count(row.tokens)} tok" if row.state != "stored" else f"{count(row.characters)} chr"
    id = "" if row.id == FRONT else row.id
    head = f" {name:<12} {id:<7} {size:>8}  "
    told = f"{said}: " if said else ""
    rest = width - len(head) - 1 - len(told)
    style = "" if row.state != "stored" else MUTED
    text = one_line(row.beginning, max(rest, 8))
    return Content.assemble(sign, (head, MUTED), (told, MUTED), (text, style))
