"""A table that a call made: its first rows in the conversation, more on a screen of its own.

Reads comma-, semicolon- and tab-separated text. What is in a file is a stranger's text: every cell
is made harmless for a terminal, and only so many are shown; saving the file gives all of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import DataTable, Static

from llmos.events import ArtifactInfo
from llmos.ui.files import FileCard
from llmos.ui.text import MUTED, count, one_line, plural, visible

__all__ = ["TABLE_BYTES", "Table", "TableCard", "TableView", "is_table", "parse"]

TABLE_BYTES = 4_000_000  # of a file that is read to be shown
TABLE_CELLS = 20_000  # that are shown
COLUMNS = 64
CELL_CHARS = 200  # that are kept of one
WIDTH = 24  # cells of a column in the conversation
WIDE = 48  # and on a screen of its own
ROWS = 6  # in the conversation
_MEDIA = ("text/csv", "text/tab-separated-values")


@dataclass(frozen=True, slots=True)
class Table:
    """What is shown of a table.

    Args:
        head: Names of the columns.
        rows: As wide as the head.
        all_rows / all_columns: As many as there are, shown or not.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    all_rows: int
    all_columns: int

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers, which stand right."""
        found = [row[column] for row in self.rows[:100] if row[column]]
        return bool(found) and all(_is_number(cell) for cell in found)


def is_table(info: ArtifactInfo) -> bool:
    """Whether a file says that it is a table, and is not too large to be shown as one."""
    return info.media in _MEDIA and info.size <= TABLE_BYTES


def parse(data: bytes) -> Table:
    """The table in a file; blocks for what is large.

    Raises:
        ValueError: It is none; the sentence says why.
    """
    text = data.decode("utf-8-sig", "replace")
    if "\0" in text:
        raise ValueError("This is no table: there are bytes in it that no text has.")
    first = text[: text.find("\n") + 1 or len(text)]
    delimiter = max(",;\t", key=first.count)
    try:
        read = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row
        ]
    except csv.Error as error:
        raise ValueError("This is no table that can be read: a cell in it has no end.") from error
    if not read:
        raise ValueError("The table is empty.")
    columns = max(map(len, read))
    shown = min(columns, COLUMNS)
    rows = read[: 1 + max(TABLE_CELLS // shown, 1)]
    clean = [tuple(one_line(cell, CELL_CHARS) for cell in _wide(row, shown)) for row in rows]
    return Table(clean[0], tuple(clean[1:]), len(read) - 1, columns)


def _wide(row: Sequence[str], columns: int) -> list[str]:
    return [*row[:columns], *[""] * (columns - len(row))]


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "").rstrip("%"))
    except ValueError:
        return False
    return True


class TableCard(FileCard):
    """A table in the conversation."""

    BINDINGS: ClassVar[list[BindingType]] = [("enter,space", "enter", "Show all of it")]
    KEYS = "Enter shows all of it · s saves"

    def __init__(self, info: ArtifactInfo, message_id: str) -> None:
        super().__init__(info, message_id)
        self.table: Table | None = None
        self._body = Static("", classes="file-table")

    def compose(self) -> ComposeResult:
        yield self._line
        yield self._body

    def on_mount(self) -> None:
        super().on_mount()
        self.need()

    def need(self) -> None:
        self.post_message(self.Needed(self))

    def show(self, table: Table) -> None:
        """Show the first rows."""
        self.away, self.table = False, table
        self._draw()

    def tell(self, sentence: str, *, away: bool = False) -> None:
        super().tell(sentence, away=away)
        self._body.update(Content.styled(visible(sentence), "$text-warning"))
        self._tell_line("s saves")

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self.table is not None:
            self._body.update(Content("\n").join(_lines(self.table, self.content_size.width)))
            self._tell_line(self.KEYS)

    def action_enter(self) -> None:
        if self.table is not None:
            self.post_message(self.Opened(self))
        else:
            self.action_save()


def _lines(table: Table, width: int) -> list[Content]:
    """The head and the first rows, as many columns as fit."""
    rows = table.rows[:ROWS]
    widths: list[int] = []
    for column, name in enumerate(table.head):
        cells = [name, *(row[column] for row in rows)]
        needed = min(max(map(cell_len, cells)), WIDTH)
        if widths and sum(widths) + 2 * len(widths) + needed > width:
            break
        widths.append(needed)
    right = [table.numeric(column) for column in range(len(widths))]

    def line(row: Sequence[str]) -> str:
        parts = zip(row, widths, right, strict=False)
        return "  ".join(_padded(cell, wide, to_right) for cell, wide, to_right in parts).rstrip()

    lines = [Content.styled(line(table.head), "bold"), *(Content(line(row)) for row in rows)]
    more = []
    if table.all_rows > len(rows):
        more.append(plural(table.all_rows - len(rows), "more row"))
    if table.all_columns > len(widths):
        more.append(plural(table.all_columns - len(widths), "more column"))
    return [*lines, Content.styled("… " + " and ".join(more), MUTED)] if more else lines


def _padded(cell: str, width: int, to_right: bool) -> str:
    if cell_len(cell) > width:
        return set_cell_size(cell, width - 1) + "…"
    return " " * (width - cell_len(cell)) + cell if to_right else set_cell_size(cell, width)


class TableView(ModalScreen[Literal["save"] | None]):
    """A table with its rows and columns; returns what is to be done with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Close"),
        Binding("s", "dismiss('save')", "Save"),
    ]

    def __init__(self, info: ArtifactInfo, table: Table) -> None:
        super().__init__()
        self._info, self._table = info, table

    def compose(self) -> ComposeResult:
        yield DataTable[Text](cursor_type="row", zebra_stripes=True, cell_padding=1)
        shown, table = len(self._table.rows), self._table
        told = plural(table.all_rows, "row") + ", " + plural(table.all_columns, "column")
        if shown < table.all_rows or len(table.head) < table.all_columns:
            told = f"{count(shown)} of {told}, as far as is shown"
        keys = f"  {told} · Esc closes · s saves"
        name = one_line(self._info.name, 40)
        yield Static(Content.assemble((name, "bold"), (keys, MUTED)), classes="view-line")

    def on_mount(self) -> None:
        shown, table = self.query_one(DataTable), self._table
        widths, right = [], []
        for column, name in enumerate(table.head):
            cells = [name, *(row[column] for row in table.rows[:1000])]
            widths.append(min(max(max(map(cell_len, cells)), 1), WIDE))
            right.append(table.numeric(column))
            shown.add_column(Text(_padded(name, widths[-1], right[-1])), width=widths[-1])
        for row in table.rows:
            # Text, not str: what a stranger wrote must not be read as markup.
            cells = [_padded(*cell) for cell in zip(row, widths, right, strict=True)]
            shown.add_row(*map(Text, cells))
        shown.focus()
