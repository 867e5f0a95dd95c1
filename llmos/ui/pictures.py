"""A picture that a call made: small in the conversation, large on a screen of its own.

Its pixels come from the kernel, which decodes it in a jail, as many as there is room for; nothing
is decoded here. A picture that cannot be shown is a sentence in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ClassVar, Literal, TypeAlias

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Middle
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from llmos.errors import LlmosError
from llmos.events import ArtifactInfo
from llmos.ui.files import FileCard
from llmos.ui.halfcells import Pixels
from llmos.ui.text import MUTED, one_line, visible

__all__ = ["PAUSE_S", "PictureCard", "PictureView"]

CELLS = 60  # width of a picture in the conversation, and ...
ROWS = 20  # ... its height
PAUSE_S = 0.2  # without another change of size until a picture is asked for anew
SIDE = 1024  # pixels that the kernel makes at most

#: What the kernel makes of a picture: width, height, pixels; for a width and a height at most.
Fetch: TypeAlias = Callable[[int, int], Awaitable[tuple[int, int, bytes]]]


class PictureCard(FileCard):
    """A picture in the conversation."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter,space", "enter", "Show it large"),
        ("o", "outside", "Open it in another program"),
    ]
    KEYS = "Enter shows it large · s saves · o opens"

    def __init__(self, info: ArtifactInfo, message_id: str) -> None:
        super().__init__(info, message_id)
        self._pixels = Pixels()
        self._trouble = Static("", classes="file-trouble")
        self._fits = 0
        self.shown = False  # once, perhaps for another size

    def compose(self) -> ComposeResult:
        yield self._line
        yield self._trouble
        yield self._pixels

    @property
    def room(self) -> tuple[int, int]:
        """How many pixels it may have at most, in width and height."""
        return self._fits, 2 * ROWS

    def on_resize(self) -> None:
        cells = min(CELLS, self.content_size.width)
        if cells > 0 and cells != self._fits:
            self._fits = cells
            self.need()

    def need(self) -> None:
        self.post_message(self.Needed(self))

    def show(self, width: int, height: int, pixels: bytes) -> None:
        """Show the pixels that came."""
        self.away, self.shown = False, True
        self._trouble.display = False
        self._pixels.display = True
        self._pixels.show(width, height, pixels)

    def tell(self, sentence: str, *, away: bool = False) -> None:
        super().tell(sentence, away=away)
        self._trouble.update(Content(visible(sentence)))
        self._trouble.display = True
        self._pixels.display = False

    def action_enter(self) -> None:
        self.post_message(self.Opened(self))

    def action_outside(self) -> None:
        self.post_message(self.Outside(self.info))


class PictureView(ModalScreen[Literal["save", "outside"] | None]):
    """A picture as large as the terminal allows; returns what is to be done with it.

    Args:
        info: Of the picture.
        fetch: Has it made for a size.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,space", "dismiss(None)", "Close"),
        Binding("s", "dismiss('save')", "Save"),
        Binding("o", "dismiss('outside')", "Open"),
    ]

    def __init__(self, info: ArtifactInfo, fetch: Fetch) -> None:
        super().__init__()
        self._info, self._fetch = info, fetch
        self._pixels = Pixels()
        self._told = Static("", classes="view-told")
        self._asked = (0, 0)

    def compose(self) -> ComposeResult:
        with Middle(classes="view-body"):
            yield self._pixels
            yield self._told
        yield Static("", classes="view-line")

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size.width, event.size.height - 1
        name = one_line(self._info.name, max(width - 42, 8))
        keys = "  Esc closes · s saves · o opens"
        self.query_one(".view-line", Static).update(Content.assemble((name, "bold"), (keys, MUTED)))
        self._fill(min(width, SIDE), min(2 * height, SIDE))

    @work(exclusive=True)
    async def _fill(self, width: int, height: int) -> None:
        again, self._asked = self._asked != (0, 0), (width, height)
        if again:
            await asyncio.sleep(PAUSE_S)
        try:
            self._pixels.show(*await self._fetch(width, height))
        except LlmosError as error:
            self._told.update(Content(visible(str(error))))
        self._pixels.display = bool(self._pixels.get_content_height(self.size, self.size, 0))
        self._told.display = not self._pixels.display
