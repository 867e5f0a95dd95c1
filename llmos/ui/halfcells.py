"""Pixels as characters: a half block has two of them, one in each of its colours.

Shows the pixels it is given, two rows of them in a row of cells, and decodes nothing. A terminal
with fewer colours gets the nearest ones from Rich.
"""

from __future__ import annotations

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

__all__ = ["Pixels", "strips"]


class Pixels(Widget):
    """A picture, as large as it is; nothing until it is given."""

    def __init__(self) -> None:
        super().__init__()
        self._strips: list[Strip] = []
        self._width = 0

    def show(self, width: int, height: int, pixels: bytes) -> None:
        """Show a picture.

        Args:
            width / height: In pixels; it takes half as many cells in height.
            pixels: A byte each of red, green and blue, row by row.
        """
        self._strips, self._width = strips(width, height, pixels), width
        self.refresh(layout=True)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return self._width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._strips)

    def render_line(self, y: int) -> Strip:
        if y >= len(self._strips):
            return Strip.blank(self.size.width, self.rich_style)
        strip = self._strips[y].apply_style(self.rich_style)
        return strip.adjust_cell_length(self.size.width, self.rich_style)


def strips(width: int, height: int, pixels: bytes) -> list[Strip]:
    """Rows of cells for a picture; below an odd last row the background stays."""
    if width <= 0 or height <= 0 or len(pixels) != 3 * width * height:
        return []
    rows = [pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width)]
    lines = []
    for y in range(0, height, 2):
        upper, lower = rows[y], rows[y + 1] if y + 1 < height else b""
        cells: list[tuple[bytes, bytes, int]] = []  # colours, and how many cells have them
        for x in range(0, 3 * width, 3):
            above, below = upper[x : x + 3], lower[x : x + 3]
            if cells and cells[-1][:2] == (above, below):
                cells[-1] = (above, below, cells[-1][2] + 1)
            else:
                cells.append((above, below, 1))
        lines.append(Strip([Segment("▀" * n, _style(a, b)) for a, b, n in cells], width))
    return lines


def _style(above: bytes, below: bytes) -> Style:
    return Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below) if below else None)
