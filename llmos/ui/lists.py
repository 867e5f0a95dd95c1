"""Markdown lists that grow in place.

Textual's lists are taken off and mounted anew whenever they change, which costs half a second of
CPU time a write for a hundred items. While a text streams only the last item of a list changes and
new ones follow it: so here the earlier items stay as they are.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets._markdown import (  # Textual is pinned exactly; these are not exported
    MarkdownBlock,
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownFence,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownParagraph,
)

__all__ = ["BulletList", "OrderedList"]


class _GrowingList(MarkdownBlock):
    """What both kinds of list share; each row is a bullet beside a column of blocks."""

    def _items(self) -> list[MarkdownListItem]:
        return [block for block in self._blocks if isinstance(block, MarkdownListItem)]

    @staticmethod
    def _symbols(items: list[MarkdownListItem]) -> list[str]:
        return [item.bullet for item in items]

    def compose(self) -> ComposeResult:
        items = self._items()
        for symbol, item in zip(self._symbols(items), items, strict=True):
            yield _row(symbol, item._blocks)
        self._blocks.clear()

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        rows = list(self.query_children(Horizontal))
        items = block._items() if isinstance(block, _GrowingList) else []
        if type(block) is not type(self) or not rows or len(items) < len(rows):
            await super()._update_from_block(block)
            return
        self._copy_context(block)
        symbols = self._symbols(items)
        for row, symbol in zip(rows, symbols, strict=False):
            bullet = row.children[0]
            if (
                isinstance(bullet, MarkdownBullet) and bullet.symbol != symbol
            ):  # 9 became 10: all numbers are one cell wider
                bullet.symbol = symbol
                bullet.refresh(layout=True)
        last = len(rows) - 1
        await _update_column(rows[-1].children[1], items[last]._blocks)
        added = zip(symbols[last + 1 :], items[last + 1 :], strict=True)
        await self.mount_all([_row(symbol, item._blocks) for symbol, item in added])


# Textual takes style from the first base class only, so that has to be its own list.


class BulletList(MarkdownBulletList, _GrowingList):
    """A list with bullets."""

    compose = _GrowingList.compose


class OrderedList(MarkdownOrderedList, _GrowingList):
    """A list with numbers, counted from the first one's."""

    compose = _GrowingList.compose

    @staticmethod
    def _symbols(items: list[MarkdownListItem]) -> list[str]:
        first = int(items[0].bullet) if items and items[0].bullet.isdecimal() else 1
        numbers = [f"{number}. " for number in range(first, first + len(items))]
        width = max(map(len, numbers), default=0)
        return [number.rjust(width + 1) for number in numbers]


def _row(symbol: str, blocks: list[MarkdownBlock]) -> Horizontal:
    bullet = MarkdownBullet()
    bullet.symbol = symbol
    return Horizontal(bullet, Vertical(*blocks))


async def _update_column(column: Widget, blocks: list[MarkdownBlock]) -> None:
    """Bring the blocks of one item up to date, in place where that is possible."""
    shown = [child for child in column.children if isinstance(child, MarkdownBlock)]
    last = len(shown) - 1
    in_place = (MarkdownParagraph, MarkdownFence, _GrowingList)
    if (
        0 <= last < len(blocks)
        and type(shown[last]) is type(blocks[last])
        and isinstance(shown[last], in_place)
    ):
        await shown[last]._update_from_block(blocks[last])
        await column.mount_all(blocks[last + 1 :])
    else:
        await column.remove_children()
        await column.mount_all(blocks)
