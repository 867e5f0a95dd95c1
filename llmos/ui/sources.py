"""The sources under an answer: number, title, address and the words that say so.

Shows what the kernel checked. A quotation is a stranger's text: it is made harmless and looks like
a quotation, never like a sentence of llmos. Nothing is opened from here; Enter copies an address.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from llmos.events import Cited, Source
from llmos.ui.text import MUTED, one_line, plural, visible

__all__ = ["SourceLine", "Sources"]

QUOTES = 3  # shown of one source
QUOTE_CHARS = 240
TITLE_CHARS = 80


class Sources(Vertical):
    """What an answer rests on, each source once.

    Args:
        cited: As the kernel tells it.
        message_id: Tells the remark of the journal that it stands in from all others.
    """

    def __init__(self, cited: Cited, message_id: str) -> None:
        super().__init__()
        self.cited = cited
        self.message_id = message_id

    def compose(self) -> ComposeResult:
        found: dict[int, list[Source]] = {}
        for source in self.cited.sources:
            found.setdefault(source.number, []).append(source)
        for number in sorted(found):
            yield SourceLine(found[number])
        dropped = len(set(self.cited.dropped) - set(found))
        if dropped:
            was = "was" if dropped == 1 else "were"
            told = f"{plural(dropped, 'citation')} did not hold and {was} taken out."
            yield Static(Content(told), classes="sources-dropped")


class SourceLine(Static, can_focus=True):
    """One source; Enter or a click copies its address.

    Args:
        cited: What the answer took from it, at least once.
    """

    BINDINGS: ClassVar[list[BindingType]] = [("enter,space,c,y", "copy", "Copy the address")]

    def __init__(self, cited: list[Source]) -> None:
        self.source = source = cited[0]
        title = one_line(source.title or source.address or "untitled", TITLE_CHARS)
        lines = [Content.assemble((f"[{source.number}] ", "$accent"), (title, "bold"))]
        if source.address and source.address != source.title:
            lines.append(Content.styled(f"    {visible(source.address)}", MUTED))
        for quote in list(dict.fromkeys(each.quote for each in cited))[:QUOTES]:
            if quote.strip():
                lines.append(Content.styled(f"    “{one_line(quote, QUOTE_CHARS)}”", "italic"))
        super().__init__(Content("\n").join(lines))

    def action_copy(self) -> None:
        address = visible(self.source.address or self.source.title)
        self.app.copy_to_clipboard(address)
        self.notify(f"Copied {one_line(address, 60)}", timeout=2, markup=False)

    def on_click(self, event: events.Click) -> None:
        if self.screen.get_selected_text() is None:
            self.action_copy()
