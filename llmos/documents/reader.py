"""What sections a file has: text, Markdown, tables, HTML, PDF, Word and spreadsheets.

Text is read here, in slices, whatever its length. Bytes that need a decoder go to a worker process
(``decoder.py``): a crash there is one sentence about one file. Of a file that is too long, or
damaged further on, the sections up to there come out before the error. Knows open files and their
names; which files to read is up to the caller.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import AsyncGenerator, Iterator
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from llmos import limits
from llmos.documents import sections as texts
from llmos.documents.decoder import Decoder
from llmos.documents.sections import Block, Cutter, Section
from llmos.errors import FileNotRead
from llmos.threads import aside, in_thread

__all__ = ["Format", "Reader", "Section", "sniff"]


class Format(StrEnum):
    """How a file is read."""

    TEXT = "text"
    MARKDOWN = "markdown"
    TABLE = "table"
    HTML = "html"
    PDF = "pdf"
    WORD = "word"
    SHEETS = "sheets"


_FORMATS = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".qmd", ".rmd"), Format.MARKDOWN),
    **dict.fromkeys((".csv", ".tsv"), Format.TABLE),
    **dict.fromkeys((".html", ".htm", ".xhtml"), Format.HTML),
    ".pdf": Format.PDF,
    ".docx": Format.WORD,
    **dict.fromkeys((".xlsx", ".xlsm"), Format.SHEETS),
}
_DECODED = frozenset({Format.HTML, Format.PDF, Format.WORD, Format.SHEETS})
_HEAD = 64 * 1024  # bytes looked at to tell a file's format
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # old Office files, and new ones with a password
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\b\x1b"))
_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")  # UTF-16 and UTF-32 hold zero bytes


def sniff(name: str, head: bytes) -> Format:
    """How to read a file.

    Args:
        name: Its name; the ending counts.
        head: Its first bytes.

    Raises:
        FileNotRead: It is binary, in no format that is known.
    """
    ending = PurePath(name).suffix.lower()
    form = _FORMATS.get(ending, Format.TEXT)
    if form is Format.TEXT and head.startswith(b"%PDF-"):
        return Format.PDF
    if form in (Format.WORD, Format.SHEETS) and not head.startswith(b"PK"):
        if head.startswith(_OLE):
            raise FileNotRead("It is encrypted with a password, or of an older Office.")
        raise FileNotRead(f"It is damaged, or no {ending} file.")
    if form is Format.PDF and b"%PDF-" not in head[:1024]:
        raise FileNotRead("It is damaged, or no PDF.")
    if form not in _DECODED and not head.startswith(_MARKS):
        strange = len(head) - len(head.translate(None, _CONTROL))
        if b"\0" in head or strange > len(head) // 10:
            kind = f"{ending} files are" if 1 < len(ending) <= 9 else "it is"
            raise FileNotRead(f"Not read: {kind} binary, in a format that llmos does not know.")
    return form


class Reader:
    """Reads files; of those that need a decoder, one at a time. Close it in the end."""

    def __init__(self) -> None:
        self._decoder = Decoder()

    async def read(self, file: io.FileIO, name: str) -> AsyncGenerator[Section, None]:
        """The sections of a file, in order.

        No more is read than the file is long at this moment. Where the iterator is left early,
        close it (``contextlib.aclosing``).

        Args:
            file: Open; it stays the caller's, and where it stands is no matter.
            name: Its name, whose ending tells the format.

        Raises:
            FileNotRead: Why it is not read, or, after some sections, not to its end.
        """
        cutter, count = Cutter(), 0
        why: FileNotRead | None = None
        try:
            size = os.fstat(file.fileno()).st_size
            head = await in_thread(os.pread, file.fileno(), min(size, _HEAD), 0)
            if not head:
                return
            form = sniff(name, head)
            if form in _DECODED:
                blocks = self._decoder.blocks(file, form, size)
            else:
                blocks = aside(_text(file, form, name, head, size))
            async with contextlib.aclosing(blocks):
                async for block in blocks:
                    for section in cutter.feed(block):
                        yield section
                        count += 1
                    if count > limits.FILE_SECTIONS:
                        raise FileNotRead(f"Only its first {count:,} passages were read.")
        except FileNotRead as error:
            why = error
        except OSError as error:
            why = FileNotRead(f"It can't be read: {error.strerror or error}.")
        for section in cutter.end():
            yield section
        if why is not None:
            raise why

    async def close(self) -> None:
        """End what it started. It can be used again."""
        await self._decoder.close()


# --- text ---------------------------------------------------------------------------------------


class _Slice(io.RawIOBase):
    """The first bytes of a file, wherever the file stands, however it grows."""

    def __init__(self, file: io.FileIO, length: int) -> None:
        super().__init__()
        self._fd = file.fileno()
        self._at, self._end = 0, length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        chunk = os.pread(self._fd, min(len(buffer), self._end - self._at), self._at)
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)


def _text(file: io.FileIO, form: Format, name: str, head: bytes, size: int) -> Iterator[Block]:
    most = limits.FILE_TEXT_BYTES
    text = texts.opened(io.BufferedReader(_Slice(file, min(size, most)), 1 << 18), head)
    if form is Format.MARKDOWN:
        yield from texts.markdown(text)
    elif form is Format.TABLE:
        yield from texts.table(text, "\t" if name.lower().endswith(".tsv") else "")
    else:
        yield from texts.lines(text)
    if size > most:
        raise FileNotRead(f"Only the first {most >> 20} MB of its {size >> 20} MB were read.")
