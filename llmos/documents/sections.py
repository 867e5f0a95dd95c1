"""Texts cut into sections: a stretch of a file, and where in the file it stands, exactly.

What a format has (lines, paragraphs, rows, pages) comes in as numbered blocks; sections come out,
as they fill up, so that a file of any length needs the memory of a few pages. Also knows how to
number the lines of text, Markdown and tables with separators. Opens no files.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from llmos import limits
from llmos.documents.marks import marked
from llmos.documents.stretches import split
from llmos.errors import FileNotRead

__all__ = ["Block", "Cutter", "Section", "lines", "markdown", "opened", "table"]

_SLICE = 16 * limits.PAGE_BYTES  # text gathered before it is cut; any length gives the same cuts
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*\n?")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*\n?")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NO_PARAGRAPH = re.compile(r"\s*$| {0,3}(?:>|[-+*] |\d+[.)] |#|\|)| {4}|\t")  # nothing to underline


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a file.

    Args:
        text: At most ``limits.PAGE_BYTES`` bytes of UTF-8.
        where: For people: ``lines 10-42``, ``page 3``, ``sheet Budget, rows 2-40``.
    """

    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Block:
    """The smallest piece of a file that has a number.

    Args:
        text: Its text, with what separates it from the next.
        title: What it stands under, such as ``heading Installation``; may be empty.
        unit: What the number counts: ``line``, ``row``; empty where the title says it all.
        number: Its number, from 1.
        head: Repeated before every section of this title, such as the header of a table.
        part: Tells two neighbours of one title apart.
    """

    text: str
    title: str = ""
    unit: str = ""
    number: int = 0
    head: str = ""
    part: int = 0


class Cutter:
    """Blocks in, sections out.

    A section never spans two titles. What is in a section is the file's text to the letter, but
    for blank lines before it and white space behind it.

    Args:
        size: Of a section, in bytes of UTF-8.
    """

    def __init__(self, size: int = limits.PAGE_BYTES) -> None:
        self._size = size
        self._first: Block | None = None  # of the blocks under one title
        self._text = ""
        self._starts: list[int] = []  # where in the text each block begins
        self._numbers: list[int] = []

    def feed(self, block: Block) -> list[Section]:
        """Take the next block; give the sections that are complete."""
        out = []
        if self._first is not None and _group(block) != _group(self._first):
            out = self.end()
        self._first = self._first or block
        self._starts.append(len(self._text))
        self._numbers.append(block.number)
        self._text += block.text
        if len(self._text) > _SLICE:
            out += self._cut(self._first, whole=False)
        return out

    def end(self) -> list[Section]:
        """The sections of what is left."""
        out = self._cut(self._first, whole=True) if self._first is not None else []
        self._first, self._text = None, ""
        self._starts, self._numbers = [], []
        return out

    def _cut(self, first: Block, *, whole: bool) -> list[Section]:
        head = _fitting(first.head, self._size // 2)
        stretches = list(split(self._text, self._size - len(head.encode())))
        rest = "" if whole else stretches.pop()
        out, at = [], 0
        for stretch in stretches:
            if section := self._section(first, head, stretch, at):
                out.append(section)
            at += len(stretch)
        behind = max(bisect_right(self._starts, at) - 1, 0)
        self._starts = [start - at for start in self._starts[behind:]]
        self._numbers = self._numbers[behind:]
        self._text = rest
        return out

    def _section(self, first: Block, head: str, stretch: str, at: int) -> Section | None:
        blank = _BLANK_LINES.match(stretch)
        lead = blank.end() if blank else 0
        text = stretch[lead:].rstrip()
        if not text:
            return None
        begin, end = self._number(at + lead), self._number(at + lead + len(text) - 1)
        where = [first.title] if first.title else []
        if first.unit:
            where.append(
                f"{first.unit} {begin}" if begin == end else f"{first.unit}s {begin}-{end}"
            )
        return Section(head + text, ", ".join(where))

    def _number(self, at: int) -> int:
        return self._numbers[bisect_right(self._starts, at) - 1]


def _fitting(head: str, size: int) -> str:
    """The head, or as much of it as has ``size`` bytes, on one line."""
    raw = head.encode()
    return head if len(raw) <= size else f"{raw[: size - 4].decode('utf-8', 'ignore')}…\n"


def _group(block: Block) -> tuple[str, str, str, int]:
    return block.title, block.unit, block.head, block.part


# --- text -------------------------------------------------------------------------------------


def _as_western(error: UnicodeError) -> tuple[str, int]:
    """Bytes that are no UTF-8 are Windows-1252, which web standards mean by Latin-1."""
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    if not error.encoding.startswith("utf-8"):
        return "\ufffd", error.end
    return "".join(_western(byte) for byte in wrong), error.end


def _western(byte: int) -> str:
    try:
        return bytes((byte,)).decode("cp1252")
    except UnicodeDecodeError:  # one of five that it leaves free
        return chr(byte)


codecs.register_error("llmos-western", _as_western)


def opened(file: io.BufferedIOBase, head: bytes) -> io.TextIOWrapper:
    """The text in ``file``: UTF-8, UTF-16 or UTF-32 with a mark, else Windows-1252.

    Args:
        file: Stands at its beginning.
        head: Its first bytes.
    """
    mark, encoding = marked(head)
    file.read(len(mark))
    return io.TextIOWrapper(file, encoding, errors="llmos-western")  # type: ignore[arg-type]


def _read(file: io.TextIOBase) -> Iterator[tuple[int, str]]:
    """Number and text of each line; a very long one comes in pieces."""
    number = 1
    while line := file.readline(limits.FILE_LINE_CHARS):
        if "\0" in line:
            raise FileNotRead(f"It is no text from line {number} on; what is before was read.")
        yield number, line
        number += line.endswith("\n")


def lines(file: io.TextIOBase) -> Iterator[Block]:
    """The lines of text or code.

    Raises:
        FileNotRead: It turns out to be binary.
    """
    for number, line in _read(file):
        yield Block(line, unit="line", number=number)


def markdown(file: io.TextIOBase) -> Iterator[Block]:
    """The lines of Markdown, each under the heading it stands under.

    A heading that another one follows at once goes with that one.

    Raises:
        FileNotRead: It turns out to be binary.
    """
    title, part = "", 0
    waiting: list[tuple[int, str]] = []  # headings, until it is known what they head
    for number, line, heading in _marked(file):
        if heading is not None:
            part += not waiting
            title = f"heading {_short(heading)}" if heading.strip() else ""
        if heading is not None or (waiting and not line.strip()):
            waiting.append((number, line))
            if len(waiting) < limits.FILE_HEADINGS:
                continue
        else:
            waiting.append((number, line))
        for place, text in waiting:
            yield Block(text, title, "line", place, part=part)
        waiting = []
    for place, text in waiting:
        yield Block(text, title, "line", place, part=part)


def _marked(file: io.TextIOBase) -> Iterator[tuple[int, str, str | None]]:
    """Each line with its number, and of a heading (both lines, where underlined) the words."""
    fence = ""
    settings = False  # that some files begin with
    held: tuple[int, str] | None = None  # a line that the next one may underline
    for number, line in _read(file):
        underlined = held is not None and _UNDERLINE.fullmatch(line)
        if held is not None:
            yield *held, held[1] if underlined else None
        if held is not None and underlined:
            yield number, line, held[1]
            held = None
            continue
        held = None
        mark = _FENCE.match(line)
        if settings or (number == 1 and line.rstrip() == "---"):
            settings = number == 1 or line.rstrip() not in ("---", "...")
        elif mark and not fence:
            fence = mark[1]
        elif fence:
            if mark and mark[1].startswith(fence):
                fence = ""
        elif heading := _HEADING.fullmatch(line):
            yield number, line, heading[1] or ""
            continue
        elif not _NO_PARAGRAPH.match(line):
            held = (number, line)
            continue
        yield number, line, None
    if held is not None:
        yield *held, None


def _short(title: str) -> str:
    """A heading's words as a title, on one line and not too long."""
    words = " ".join(title.split())
    most = limits.FILE_TITLE_CHARS
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"


# --- tables -----------------------------------------------------------------------------------


def table(file: io.TextIOBase, delimiter: str = "") -> Iterator[Block]:
    """The rows of a table with separators; the first is repeated with every section.

    Args:
        file: Its text.
        delimiter: Found out from the first line where not given.

    Raises:
        FileNotRead: A row is malformed.
    """
    head, count = "", 0
    first = file.readline(limits.FILE_ROW_CHARS)
    if not delimiter:
        delimiter = max(",;\t|", key=first.count)  # a comma where there is none of them
    rows = csv.reader(_whole_lines(first, file), delimiter=delimiter)
    try:
        for number, cells in enumerate(rows, 1):
            text = " | ".join(" ".join(cell.split()) for cell in cells).strip(" |")
            if not text:
                continue
            count += 1
            if count == 1:
                head, alone = f"{text}\n", Block(f"{text}\n", unit="row", number=number)
            else:
                yield Block(f"{text}\n", unit="row", number=number, head=head)
    except csv.Error as error:
        raise FileNotRead(f"Its row {rows.line_num} is malformed ({error}).") from error
    if count == 1:
        yield alone


def _whole_lines(first: str, file: io.TextIOBase) -> Iterator[str]:
    line = first
    while line:
        if "\0" in line:
            raise csv.Error("it is no text")
        if len(line) == limits.FILE_ROW_CHARS and not line.endswith("\n"):
            raise csv.Error("it is too long")
        yield line
        line = file.readline(limits.FILE_ROW_CHARS)
