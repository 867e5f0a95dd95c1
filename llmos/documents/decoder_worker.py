"""The process in which PDF, Word, spreadsheet and HTML files are decoded. Started by
``decoder.py``, in a jail.

It knows the decoders and nothing of llmos: the file is run by its path, isolated from the
environment, and gets a file's bytes, never its name. The decoders load once; for every file a
child is forked that has limits on memory, processor time, files and what it may write, decodes
that one file and ends. The parent here reads no bytes of a file, only passes on what the child
says, so one file can spoil neither the next nor what is said of it.

In: a line of JSON (``kind``, ``bytes``), then so many bytes. Out: the child's lines, each chunk of
them behind its length on a line, then a 0 and the child's exit status. A child's line is JSON: a
block (``text``, ``title``, ``unit``, ``number``, ``head``) or an ``error``, a sentence.

Not read: headers, footers, notes and text boxes of Word files, formulas without a kept value,
pictures.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import re
import resource
import sys
import zipfile
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

__all__: list[str] = []

Block = dict[str, Any]

#: A page up to this long, and its text, are looked at twice.
SHORT_BYTES, SHORT_CHARS = 1 << 20, 1 << 16


class Refused(Exception):
    """The sentence why a file, or the rest of it, is not read."""


def limit(kind: int, value: int) -> None:
    """Set a limit where the system allows it (macOS refuses RLIMIT_AS)."""
    try:
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(kind, (value, value))
    except (ValueError, OSError):
        pass


def said(error: BaseException) -> str:
    """A decoder's own words, short."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


# --- formats ----------------------------------------------------------------------------------


def pdf(data: bytes, setup: dict[str, Any]) -> Iterator[Block]:
    """The text of each page; a broken page is passed over, and that is said at the end."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        try:
            opened = reader.decrypt("")  # most need no password to be read
        except Exception as error:
            raise Refused("It is encrypted.") from error
        if not opened:
            raise Refused("It is encrypted with a password.")
    count, found, broken = len(reader.pages), False, list[int]()
    for number in range(1, count + 1):
        try:
            text = reader.pages[number - 1].extract_text()
        except MemoryError:
            raise
        except Exception:
            broken.append(number)
            continue
        if text.strip():
            found = True
            yield {"title": f"page {number}", "text": text}
    if broken:
        which = ", ".join(map(str, broken[:10])) + (" and others" if len(broken) > 10 else "")
        raise Refused(f"Its page {which} can't be read." if found else "Its pages are damaged.")
    if not found:
        raise Refused("It holds no text, only pictures." if count else "It has no pages.")


def word(data: bytes, setup: dict[str, Any]) -> Iterator[Block]:
    """Paragraphs and rows of tables, under the heading they stand under."""
    from docx import Document

    check_archive(data, setup)
    title, part = "", 0
    for number, (style, text) in enumerate(word_texts(Document(io.BytesIO(data))), 1):
        if style == "Title" or style.startswith("Heading "):
            title, part = f"heading {short(text, setup)}", part + 1
        block = {"title": title, "unit": "paragraph", "number": number, "part": part}
        yield block | {"text": f"{text}\n"}


def word_texts(container: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Style and text of each paragraph that is not blank; a row of a table is one."""
    for piece in container.iter_inner_content():
        if hasattr(piece, "rows"):
            for row in piece.rows:
                cells = [cell_text(cell, depth) for cell in unmerged(row)]
                if any(cells):
                    yield "", " | ".join(cells)
        elif piece.text.strip():
            style = piece.style
            yield (style.name or "" if style is not None else ""), piece.text.strip()


def unmerged(row: Any) -> Iterator[Any]:
    """The cells of a row, each once: python-docx repeats a merged one."""
    last = None
    for cell in row.cells:
        if cell._tc is not last:
            yield cell
        last = cell._tc


def cell_text(cell: Any, depth: int) -> str:
    if depth >= 4:  # tables within tables
        return " ".join(cell.text.split())
    return " ".join(" ".join(text.split()) for _, text in word_texts(cell, depth + 1))


def sheets(data: bytes, setup: dict[str, Any]) -> Iterator[Block]:
    """The rows of each sheet; its first is the head of every section."""
    from openpyxl import load_workbook

    check_archive(data, setup)
    book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # what the file says of its size is not believed
        title, head, alone = f"sheet {short(sheet.title, setup)}", "", None
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
            cells = ["" if value is None else " ".join(str(value).split()) for value in row]
            text = " | ".join(cells).strip(" |")
            if not text:
                continue
            block: Block = {"title": title, "unit": "row", "number": number, "text": f"{text}\n"}
            if not head:
                head, alone = block["text"], block
            else:
                alone = None
                yield block | {"head": head}
        if alone:
            yield alone


def html(data: bytes, setup: dict[str, Any]) -> Iterator[Block]:
    """The paragraphs of what is meant to be read, under their headings."""
    from trafilatura import extract

    text = None
    with contextlib.suppress(Exception):  # then the stripper reads it
        text = extract(data, output_format="markdown", include_formatting=True, favor_recall=True)
    if not text or not text.strip():
        text = stripped(data)
    lines = [line for line in text.splitlines() if line.strip()]
    if len(text) <= SHORT_CHARS and len(data) <= SHORT_BYTES:
        with contextlib.suppress(Exception):  # then they stay as they are
            lines = joined(lines, stripped(data))
    title, part, number = "", 0, 0
    for line in lines:
        number += 1
        if heading := re.match(r"#{1,6} +(.+)", line):
            title, part = f"heading {short(heading[1], setup)}", part + 1
        block = {"title": title, "unit": "paragraph", "number": number, "part": part}
        yield block | {"text": f"{line}\n"}
    if not number:
        raise Refused("It holds no text.")


def joined(lines: list[str], whole: str) -> list[str]:
    """Lines that the extractor broke around links and emphasis, as it does on short pages.

    Args:
        lines: What it found.
        whole: All of the page, a line for each block: what stands on one of them belongs together.
    """
    blocks = "\n".join(" ".join(line.split()) for line in whole.splitlines())
    letters = "\n".join(map(unmarked, whole.splitlines()))
    out: list[str] = []
    last = ""
    for line in lines:
        key = unmarked(line)  # empty for a fence of code
        if not (last and key and last + key in letters):
            out.append(line)
            last = key
            continue
        before, behind = out[-1].rstrip(), line.strip()
        close = f"{before}{behind}" in blocks and (before, behind) == (out[-1], line)
        out[-1] = f"{before}{'' if close else ' '}{behind}"
        last += key
    return out


def unmarked(line: str) -> str:
    """A line without white space and the marks of emphasis."""
    return re.sub(r"[\s*_`~]", "", line)


def stripped(data: bytes) -> str:
    """All of a page's text, a line for each block."""
    stripper = Stripper()
    stripper.feed(data.decode(charset(data), "replace"))
    stripper.close()
    return stripper.text()


def charset(data: bytes) -> str:
    """The character set that a page names, or UTF-8."""
    named = re.search(rb"charset=[\"']?([\w-]{1,40})", data[:4096])
    name = named[1].decode("ascii", "replace") if named else "utf-8"
    try:
        "".encode(name)
    except LookupError:
        return "utf-8"
    return name


class Stripper(HTMLParser):
    """All of a page's text but scripts and styles, a line for each block."""

    _SILENT = frozenset({"script", "style", "template", "noscript", "svg"})
    _INLINE = frozenset(("a", "abbr", "b", "cite", "code", "em", "i", "kbd", "mark", "q", "s"))
    _INLINE |= {"small", "span", "strong", "sub", "sup", "u"}

    def __init__(self) -> None:
        super().__init__()
        self._out: list[str] = []
        self._silent = 0
        self._as_is = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in self._SILENT
        self._as_is += tag == "pre"
        if tag not in self._INLINE:
            self._out.append("\n")
        if re.fullmatch(r"h[1-6]", tag):
            self._out.append("#" * int(tag[1]) + " ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._SILENT:
            self._silent = max(self._silent - 1, 0)
        if tag == "pre":
            self._as_is = max(self._as_is - 1, 0)
        if tag not in self._INLINE:
            self._out.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._out.append(data if self._as_is else re.sub(r"\s+", " ", data))

    def text(self) -> str:
        return "".join(self._out)


def check_archive(data: bytes, setup: dict[str, Any]) -> None:
    """Refuse an archive that would unpack to too much. It can't unpack to more than it says."""
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except zipfile.BadZipFile as error:
        raise Refused("It is damaged, or not what its name says.") from error
    if len(members) > setup["members"]:
        raise Refused("It is made of too many parts.")
    if sum(member.file_size for member in members) > setup["unpacked_bytes"]:
        raise Refused(f"It would unpack to more than {setup['unpacked_bytes'] >> 20} MB.")
    if any(member.flag_bits & 1 for member in members):
        raise Refused("It is encrypted with a password.")


def short(title: str, setup: dict[str, Any]) -> str:
    words = " ".join(title.split())
    most = setup["title_chars"]
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"


FORMATS: dict[str, Callable[[bytes, dict[str, Any]], Iterator[Block]]] = {
    "html": html,
    "pdf": pdf,
    "sheets": sheets,
    "word": word,
}


# --- one file, in a child ---------------------------------------------------------------------


def decode(data: bytes, kind: str, setup: dict[str, Any], out: Callable[[Block], None]) -> None:
    """Say the blocks of a file, and in the end why that is not all, where it is not."""
    most = setup["block_chars"]
    try:
        for block in FORMATS[kind](data, setup):
            text = block["text"]
            for at in range(0, len(text), most):
                out(block | {"text": text[at : at + most]})
        return
    except Refused as refused:
        sentence = str(refused)
    except MemoryError:
        sentence = f"It needs more than {setup['memory_bytes'] >> 20} MB to be read."
    except RecursionError:
        sentence = "It is damaged (it is nested too deeply, or within itself)."
    except Exception as error:  # a decoder may raise anything on a damaged file
        sentence = f"It is damaged ({said(error)})."
    out({"error": sentence})


def child(pipe: int, data: bytes, kind: str, setup: dict[str, Any]) -> None:
    """The life of the process that decodes one file; never returns."""
    status = 1
    try:
        os.close(0)
        os.close(1)
        with contextlib.suppress(OSError):  # a jail may forbid it
            os.nice(10)  # a person who waits for an answer comes first
        limit(resource.RLIMIT_CORE, 0)
        limit(resource.RLIMIT_FSIZE, 0)
        limit(resource.RLIMIT_NOFILE, 32)
        limit(resource.RLIMIT_NPROC, 0)
        limit(resource.RLIMIT_CPU, setup["cpu_seconds"])
        limit(resource.RLIMIT_AS, setup["memory_bytes"])
        with os.fdopen(pipe, "wb") as file:
            decode(
                data, kind, setup, lambda block: _write(file, json.dumps(block).encode() + b"\n")
            )
        status = 0
    finally:
        os._exit(status)


def _write(file: io.BufferedWriter, line: bytes) -> None:
    file.write(line)


def serve(data: bytes, kind: str, setup: dict[str, Any]) -> None:
    """Fork a child for one file and pass on what it says."""
    out = sys.stdout.buffer
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        child(writing, data, kind, setup)
    os.close(writing)
    while chunk := os.read(reading, 65536):
        out.write(b"%d\n" % len(chunk) + chunk)
        out.flush()
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    out.write(b"0\n%d\n" % status)
    out.flush()


def keep_apart() -> None:
    """Bar a child, which may be taken over by its file, from this process's memory (Linux)."""
    set_dumpable = 4
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(set_dumpable, 0, 0, 0, 0)


def main() -> None:
    setup = json.loads(sys.stdin.buffer.readline())
    keep_apart()
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)  # nobody reads what a decoder grumbles
    sys.path[:0] = setup["path"]
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # openpyxl loads numpy; a fork copies no threads
    import docx
    import openpyxl
    import pypdf
    import trafilatura  # noqa: F401 - loaded once, for all children

    del docx, openpyxl, pypdf
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        data = sys.stdin.buffer.read(asked["bytes"])
        if len(data) < asked["bytes"]:
            return
        serve(data, asked["kind"], setup)
        del data


if __name__ == "__main__":
    main()
