"""Columns of delimited text: what kind they are, what is missing, how their values are spread.

A column is of numbers where every value that is there reads as one, with a point or, throughout
the column, a comma for the decimals. Dates and everything else are text here, and so are numbers
too large to be added up.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from llmos.sdk import ToolError

__all__ = ["Column", "read"]

_COLUMNS = 200
_ROWS = 500_000
_SHOWN = 40  # characters of a name or a value
_OFTEN = 3
_LARGEST = 1e150  # false also for infinity and for what is no number
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})


@dataclass
class Column:
    """One column."""

    name: str
    numbers: list[float] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)
    missing: int = 0

    def sentence(self) -> str:
        """The column on one line."""
        missing = f", {self.missing:,} missing" if self.missing else ""
        about = self.data()
        if about["kind"] == "number":
            low, high = (f"{about[key]:.6g}" for key in ("least", "most"))
            spread = f"; {low} to {high}, median {about['median']:.6g}"
            if "quartiles" in about:
                first, third = about["quartiles"]
                spread += f", quartiles {first:.6g} and {third:.6g}"
            return f"{self.name}: number{missing}{spread}, mean {about['mean']:.6g}"
        if about["kind"] == "empty":
            return f"{self.name}: empty"
        often = ", ".join(f"{_short(text)} ({count:,})" for text, count in about["often"])
        same = "all different" if self._all_different() else f"most often {often}"
        return f"{self.name}: text{missing}, {len(self.texts):,} different; {same}"

    def _all_different(self) -> bool:
        return len(self.texts) > 1 and max(self.texts.values()) == 1

    def data(self) -> dict[str, Any]:
        """The column for programs."""
        about: dict[str, Any] = {"name": self.name, "missing": self.missing}
        if self.numbers:
            about |= {"kind": "number", "least": min(self.numbers), "most": max(self.numbers)}
            about |= {
                "median": statistics.median(self.numbers),
                "mean": statistics.fmean(self.numbers),
            }
            if len(self.numbers) > 3:
                first, _, third = statistics.quantiles(self.numbers, n=4, method="inclusive")
                about["quartiles"] = [first, third]
        elif self.texts:
            about |= {"kind": "text", "different": len(self.texts)}
            about["often"] = [list(pair) for pair in self.texts.most_common(_OFTEN)]
        else:
            about["kind"] = "empty"
        return about


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def read(text: str) -> tuple[list[Column], int]:
    """The columns of a text, and its rows below the header.

    Raises:
        ToolError: It is no table.
    """
    try:
        dialect: Any = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel  # one column, or too regular to tell
    try:
        table = csv.reader(io.StringIO(text, newline=""), dialect)
        names = next(table, [])
        if not any(name.strip() for name in names):
            raise ToolError("The file has no header.", "Its first line must name the columns.")
        if len(names) > _COLUMNS:
            raise ToolError(f"The file has more than {_COLUMNS} columns.")
        values: list[list[str]] = [[] for _ in names]
        rows = 0
        for row in table:
            if not row:
                continue
            rows += 1
            if rows > _ROWS:
                raise ToolError(f"The file has more than {_ROWS:,} rows.", "Use python for it.")
            if len(row) > len(names):
                raise ToolError(f"Row {rows} has {len(row)} values, the header {len(names)}.")
            for place, kept in enumerate(values):
                kept.append(row[place] if place < len(row) else "")
    except csv.Error as error:
        raise ToolError(f"The file cannot be read as a table: {error}.") from error
    named = [_short(name) or f"column {n}" for n, name in enumerate(names, 1)]
    return [_column(name, kept) for name, kept in zip(named, values, strict=True)], rows


def _column(name: str, values: list[str]) -> Column:
    there = [value.strip() for value in values if value.strip().lower() not in _MISSING]
    column = Column(name, missing=len(values) - len(there))
    numbers = _numbers(there)
    if numbers is None:
        column.texts = Counter(there)
    else:
        column.numbers = numbers
    return column


def _numbers(values: list[str]) -> list[float] | None:
    """All of them as numbers, or None."""
    if not values:
        return None
    comma = any("," in value for value in values) and not any("." in value for value in values)
    try:
        numbers = [float(value.replace(",", ".") if comma else value) for value in values]
    except ValueError:
        return None
    return numbers if all(abs(number) < _LARGEST for number in numbers) else None
