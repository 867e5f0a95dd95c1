"""Markdown from a model, written while it streams.

Tokens are buffered and written a few times a second, so rarely that drawing stays a small part
of one core: the model needs the cores. An open code fence is plain text; it is highlighted once,
when it closes. The text is untrusted: HTML is shown as text, pictures are not fetched, links are
not opened here, and what a terminal might act on is made visible.
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import Any, ClassVar

from markdown_it import MarkdownIt
from markdown_it.token import Token as MarkdownToken
from pygments.token import Token  # type: ignore[import-untyped]
from textual.content import Content
from textual.highlight import HighlightTheme, highlight
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownBlock, MarkdownFence

from llmos.ui.lists import BulletList, OrderedList
from llmos.ui.text import visible

__all__ = ["Fence", "StreamedMarkdown"]

FLUSH_S = 0.125  # text is written at most this often
FLUSH_MAX_S = 1.0
CPU_SHARE = 0.25  # of one core, what writing may take
HIGHLIGHT_CHARS = 40_000  # a longer fence stays plain


def _parser() -> MarkdownIt:
    return MarkdownIt("gfm-like", {"html": False}).disable("image")


class CodeColours(HighlightTheme):
    """Four colours, of the theme; no underlines, which read as links."""

    STYLES: ClassVar[dict[tuple[str, ...], str]] = {  # type: ignore[misc]
        Token.Comment: "$foreground 50% italic",
        Token.Keyword: "$accent",
        Token.Keyword.Constant: "$warning",
        Token.Literal.Number: "$warning",
        Token.Literal.String: "$success",
        Token.Literal.String.Doc: "$success 80% italic",
        Token.Name.Builtin: "$primary",
        Token.Name.Class: "$primary bold",
        Token.Name.Decorator: "$accent",
        Token.Name.Function: "$primary",
        Token.Name.Function.Magic: "$primary",
        Token.Name.Tag: "$primary",
        Token.Operator.Word: "$accent",
        Token.Generic.Inserted: "$success",
        Token.Generic.Deleted: "$error",
        Token.Generic.Heading: "bold",
        Token.Generic.Strong: "bold",
        Token.Generic.Emph: "italic",
    }


@lru_cache(maxsize=64)
def _highlighted(code: str, language: str, ansi: bool, dark: bool) -> Content:
    # Without a language the highlighter would guess by trying them all.
    if ansi:
        return MarkdownFence.highlight(code, language or "text", ansi=True, dark=dark)
    return highlight(code, language=language or "text", theme=CodeColours)


class Fence(MarkdownFence):
    """A code fence that is plain until its closing line has come."""

    def __init__(self, markdown: Markdown, token: MarkdownToken, code: str) -> None:
        MarkdownBlock.__init__(self, markdown, token)
        self.code = code
        self.lexer = token.info.split()[0] if token.info.split() else ""
        self.is_open = _is_open(token)
        self.auto_links = False
        self._highlighted_code = self._content_of_code()
        self.border_title = Content(self.lexer)

    def _content_of_code(self) -> Content:
        if self.is_open or len(self.code) > HIGHLIGHT_CHARS:
            return Content(self.code)
        app = self.app
        return _highlighted(self.code, self.lexer, app.native_ansi_color, app.current_theme.dark)

    def notify_style_update(self) -> None:
        self._highlighted_code = self._content_of_code()
        self.set_content(self._highlighted_code)
        MarkdownBlock.notify_style_update(self)

    def _copy_context(self, block: MarkdownBlock) -> None:
        super()._copy_context(block)
        if isinstance(block, Fence):
            self.is_open = block.is_open
            self.border_title = Content(self.lexer)


def _is_open(token: MarkdownToken) -> bool:
    """Whether a fence's closing line is missing: its map then ends with its last line of code."""
    if token.type != "fence" or token.map is None:
        return False
    code = token.content
    lines = code.count("\n") + bool(code and not code.endswith("\n"))
    return token.map[1] - token.map[0] <= 1 + lines


class StreamedMarkdown(Markdown):
    """A Markdown document that grows.

    Args:
        text: What is there already.
    """

    BLOCKS: ClassVar[dict[str, type[MarkdownBlock]]] = {  # type: ignore[misc]
        **Markdown.BLOCKS,
        "fence": Fence,
        "code_block": Fence,
        "bullet_list_open": BulletList,
        "ordered_list_open": OrderedList,
    }

    def __init__(self, text: str = "", **kwargs: Any) -> None:
        super().__init__(visible(text), parser_factory=_parser, open_links=False, **kwargs)
        self._pending = ""
        self._writer: asyncio.Task[None] | None = None
        self._finishing = asyncio.Event()

    def write(self, text: str) -> None:
        """Add ``text``, soon. Call it from the moment the widget is mounted."""
        self._pending += text
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_pending())

    async def replace(self, text: str) -> None:
        """Show ``text`` instead of all there is."""
        await self.finish()
        self._finishing.clear()
        await self.update(visible(text))

    async def finish(self) -> None:
        """Wait until everything is written."""
        self._finishing.set()
        if self._writer is not None:
            await self._writer

    async def _write_pending(self) -> None:
        while self._pending and self.is_attached:
            text, self._pending = self._pending, ""
            if text.endswith("\r"):  # perhaps the first half of a line end
                text, self._pending = text[:-1], "\r"
            spent = time.process_time()
            if text:
                await self._append(visible(text))
            if self._pending == "\r" and self._finishing.is_set():
                await self._append(visible("\r"))
                self._pending = ""
            await self._wait(FLUSH_S)
            # Layout and painting happened meanwhile: now it is known what this write cost.
            await self._wait(self._pause(time.process_time() - spent) - FLUSH_S)

    async def _append(self, text: str) -> None:
        try:
            await self.append(text)
        except Exception as error:  # a reply must not end because a piece of it could not be drawn
            self.log.error(error)
            await self.update(self.source)

    async def _wait(self, seconds: float) -> None:
        """Wait, but not once everything has come."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._finishing.wait()
        except TimeoutError:
            pass

    @staticmethod
    def _pause(spent: float) -> float:
        """Seconds until the next write after one that took ``spent`` seconds of CPU time."""
        return min(max(FLUSH_S, spent / CPU_SHARE), FLUSH_MAX_S)

    @property
    def code_blocks(self) -> list[tuple[str, str]]:
        """Language and code of every fence, in order."""
        return [(fence.lexer, fence.code) for fence in self.query(Fence)]
