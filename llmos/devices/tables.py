"""The cells of a Markdown table, and what a small one says row by row.

Knows where each cell stands; marks within cells are ``markup.py``'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmos.devices.markup import masked, visible

__all__ = ["Row", "Table", "read_table"]

#: What can be followed by ear.
ROWS, COLUMNS = 5, 4

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_CELL = re.compile(r"(?:\\.|[^|\\])*+")
_DELIMITER = re.compile(r"[\s|:-]*-[\s|:-]*")


@dataclass(frozen=True, slots=True)
class Row:
    """What one row says.

    Args:
        end: Where its line ends, from the beginning of the table.
        text / ends: As in ``Clause``.
    """

    end: int
    text: str
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Args:
        count: Of its rows, the head not counted.
        rows: What they say; empty where there are too many to be said.
    """

    count: int
    rows: tuple[Row, ...]


def read_table(lines: str, start: int) -> Table:
    """Read the lines of a table.

    Args:
        lines: Whole lines, each beginning with a pipe.
        start: Their place in the answer.
    """
    heads: list[str] = []
    rows: list[tuple[int, list[tuple[int, int]]]] = []
    place = 0
    for number, line in enumerate(_LINE.findall(lines)):
        if number == 1 and _DELIMITER.fullmatch(line) and rows:
            heads = [visible(masked(lines[a:b]), 0)[0].strip(" :") for a, b in rows.pop()[1]]
        else:
            rows.append((place + len(line), _cells(line, place)))
        place += len(line)
    if len(rows) > ROWS or max((len(cells) for _, cells in rows), default=0) > COLUMNS:
        return Table(len(rows), ())
    return Table(len(rows), tuple(_row(lines, end, cells, heads, start) for end, cells in rows))


def _cells(line: str, place: int) -> list[tuple[int, int]]:
    """Where the cells of ``line`` begin and end, blanks taken off."""
    cells: list[tuple[int, int]] = []
    at = line.index("|") + 1 if "|" in line else 0
    while at < len(line):
        found = _CELL.match(line, at)
        end = found.end() if found else at
        cell = line[at:end]
        inner = cell.strip()
        if end < len(line) or inner:  # nothing behind the last pipe is no cell
            begin = at + len(cell) - len(cell.lstrip()) if inner else at
            cells.append((place + begin, place + begin + len(inner)))
        at = end + 1
    return cells


def _row(lines: str, end: int, cells: list[tuple[int, int]], heads: list[str], start: int) -> Row:
    text: list[str] = []
    ends: list[int] = []
    for column, (begin, stop) in enumerate(cells):
        seen, places = visible(masked(lines[begin:stop]), start + begin)
        if not seen.strip():
            continue
        if text:
            text.append(", ")
            ends += [ends[-1]] * 2
        if head := heads[column] if column < len(heads) else "":
            # said before the cell, so it stands for what leads up to the cell
            text.append(f"{head}: ")
            ends += [start + begin] * (len(head) + 2)
        text.append(seen)
        ends += places
    return Row(end, "".join(text), tuple(ends))
