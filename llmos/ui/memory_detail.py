"""One thing that is remembered or was found, whole: beside the list, or in a window of its own.

Shows it with its older texts and where it came from. The window returns what the person wants to
be done with it; the screen does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from llmos.ui.memory_items import BLOCKS, Item, moment, who
from llmos.ui.memory_list import chat_name
from llmos.ui.text import MUTED, count, visible

__all__ = ["Detail", "Reader", "Wish"]

Wish: TypeAlias = Literal["edit", "pin", "forget", "jump", "whole"]

SHOWN_CHARS = 20_000  # drawn of one text; copying gives it whole


class Detail(VerticalScroll, can_focus=True):
    """An item beside the list."""

    def compose(self) -> ComposeResult:
        yield Static(id="detail-text")

    def show(self, item: Item | None, titles: Mapping[int, str]) -> None:
        """Show ``item``, or nothing."""
        text = described(item, titles) if item is not None else Content("")
        self.query_one("#detail-text", Static).update(text)
        self.scroll_home(animate=False)


class Reader(ModalScreen[Wish | None]):
    """An item in a window of its own.

    Args:
        item: What is shown.
        titles: Of chats, by process.
        title: What it is, where that is neither a fact nor a page.
        note: A line below the text.
        pins: Whether a page can be pinned into a window, or let go again.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,enter", "dismiss(None)", "Close"),
        ("e", "wish('edit')", "edit"),
        ("p", "wish('pin')", "pin"),
        ("f,delete", "wish('forget')", "forget"),
        ("o", "wish('jump')", "its chat"),
        ("w", "wish('whole')", "the whole message"),
        ("y", "copy", "copy"),
    ]

    def __init__(
        self,
        item: Item,
        titles: Mapping[int, str],
        title: str = "",
        note: str = "",
        *,
        pins: bool = False,
    ) -> None:
        super().__init__()
        self.item, self._titles, self._title, self._note = item, titles, title, note
        self._pins = pins or item.kind == "fact"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide reader"):
            with VerticalScroll():
                yield Static(described(self.item, self._titles, self._title))
            if self._note:
                yield Static(Content(visible(self._note)), classes="dialog-detail")
            keys = [("Esc", "closes"), *((key, does) for key, does, _ in self._wishes()), _COPY]
            parts = [Content.assemble((key, "bold"), f" {does}") for key, does in keys]
            yield Static(Content("   ").join(parts), classes="dialog-detail")

    def _wishes(self) -> list[tuple[str, str, Wish]]:
        """What can be done with this item: the key, the words, and the wish."""
        item = self.item
        wishes: list[tuple[str, str, Wish]] = []
        if item.kind == "fact":
            wishes.append(("e", "edit", "edit"))
        if self._pins:
            wishes.append(("p", "unpin" if item.pinned else "pin", "pin"))
        if item.kind != "file" and item.id:
            wishes.append(("f", "forget", "forget"))
        if item.said:
            wishes.append(("o", "its chat", "jump"))
        if item.part:
            wishes.append(("w", "whole message", "whole"))
        return wishes

    def action_wish(self, wish: Wish) -> None:
        if wish in [possible for _, _, possible in self._wishes()]:
            self.dismiss(wish)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(visible(self.item.text))
        self.notify("Copied it.", timeout=2)


_COPY = ("y", "copy")


def described(item: Item, titles: Mapping[int, str], title: str = "") -> Content:
    """Everything there is to tell of an item."""
    kinds = {"fact": BLOCKS.get(item.block, item.block), "page": "Page", "file": "From a file"}
    heading = [(title or kinds[item.kind], "bold $primary"), (f"  {visible(item.id)}", MUTED)]
    parts = [Content.assemble(*heading, ("   ◆ pinned", "$text-accent") if item.pinned else "")]
    parts += [Content(""), _cut(item.text), Content(""), _origin(item, titles)]
    if item.kind == "fact":
        parts.append(Content.styled(_use(item), MUTED))
    if item.related:
        told = f"about the same, in other chats: {', '.join(map(visible, item.related))}"
        parts.append(Content.styled(told, MUTED))
    if item.history:
        parts += [Content(""), Content.styled("What it said before", "bold")]
        ends = [*(time for time, _ in item.history[1:]), item.time]
        for (since, text), until in reversed(list(zip(item.history, ends, strict=True))):
            told = f"{moment(since)} to {moment(until)}"
            parts += [Content(""), Content.styled(told, MUTED), _cut(text)]
    return Content("\n").join(parts)


def _origin(item: Item, titles: Mapping[int, str]) -> Content:
    """When and where it came from, a line for each place."""
    if item.kind == "file":
        return Content.styled(f"{visible(item.place)}\nas of {moment(item.time)}", MUTED)
    lines = [f"from {who(item)}, {moment(item.time)}" if item.time else f"from {who(item)}"]
    for pid, turn in item.said:
        lines.append(f"said in {chat_name(pid, titles)}" + (f", turn {turn}" if turn else ""))
    if item.kind == "fact" and not item.said:
        lines.append("said in no chat")
    return Content.styled("\n".join(lines), MUTED)


def _use(item: Item) -> str:
    if item.block != "fact" or item.pinned:
        return "stands at the beginning of every chat"
    return "comes back when it matters"


def _cut(text: str) -> Content:
    shown = visible(text[:SHOWN_CHARS]).expandtabs(4).strip("\n")
    rest = len(text) - SHOWN_CHARS
    if rest <= 0:
        return Content(shown)
    return Content.assemble(shown, (f"\n… and {count(rest)} more characters; y copies all", MUTED))
