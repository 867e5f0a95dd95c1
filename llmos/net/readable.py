"""From what a server sent to a page a model can read.

HTML, PDF and Office files are decoded in jails (``documents/decoder.py``, ``outline.py``); text
and JSON are only decoded here. Everything is made harmless for a terminal. It fetches nothing.
"""

from __future__ import annotations

import io
import logging
import tempfile

from llmos import limits
from llmos.documents.decoder import Decoder
from llmos.errors import FileNotRead, NetError
from llmos.net import sniff
from llmos.net.egress import Answer
from llmos.net.outline import SILENT, Field, Outline, Outliner
from llmos.services import Page
from llmos.visible import visible

__all__ = ["page"]

_log = logging.getLogger(__name__)
_KINDS = {
    sniff.HTML: "html",
    sniff.PDF: "pdf",
    sniff.WORD: "word",
    sniff.WORKBOOK: "sheets",
}


async def page(answer: Answer, decoder: Decoder, outliner: Outliner) -> Page:
    """Make an answer readable.

    Raises:
        NetError: It is nothing that can be read, or damaged.
        SandboxMissing: There is no jail on this machine to decode it in.
    """
    media = sniff.media(answer.body, answer.media)
    address = str(answer.address)
    if media not in _KINDS:
        text = sniff.decoded(answer.body, answer.charset)
        return Page(address, "", _shown(text), (), media)
    body = answer.body
    # What the server says counts more than the page; of a mark, the parsers know UTF-8's alone.
    if media == sniff.HTML and (answer.charset or body[:2] in (b"\xff\xfe", b"\xfe\xff")):
        body = sniff.decoded(body, answer.charset).encode("utf-8", "replace")
    text, why, remedy = await _text(body, _KINDS[media], decoder)
    outline = Outline()
    if media in (sniff.HTML, sniff.PDF):
        try:
            kind = "pdf" if media == sniff.PDF else "page"
            outline = await outliner.page(body, address, kind)
        except NetError as error:  # the text is there, and worth more than its links
            _log.info("%s without its outline: %s", address, error)
            why = " ".join(filter(None, (why, "Its title and links cannot be read.")))
    if not text.strip() and not outline.fields:
        raise NetError(why or "The page holds no text.", remedy=remedy)
    parts = [text.strip(), _form(outline.fields), f"[{why}]" if why else ""]
    shown = _shown("\n\n".join(filter(None, parts)))
    return Page(address, outline.title, shown, outline.links, media, outline.more)


async def _text(body: bytes, kind: str, decoder: Decoder) -> tuple[str, str, str]:
    """The text; why it is not all of it, and what to do, where it is not."""
    blocks, why, remedy = [], "", ""
    with tempfile.TemporaryFile(buffering=0) as file:
        assert isinstance(file, io.FileIO)
        file.write(body)
        try:
            async for block in decoder.blocks(file, kind, len(body)):
                blocks.append(block.text)
        except FileNotRead as error:
            why, remedy = error.sentence, error.remedy
    text = "".join(text if text.endswith("\n") else f"{text}\n" for text in blocks)
    return text, why, remedy


def _form(fields: tuple[Field, ...]) -> str:
    if not fields:
        return ""
    lines = [f"- {f.name} ({f.kind})" + (f": {f.value}" if f.value else "") for f in fields]
    return "\n".join(["Form fields:", *lines])


def _shown(text: str) -> str:
    """A text made harmless; of a very long one the beginning, and how much there is beyond it."""
    most = limits.NET_TEXT_CHARS
    beyond = f"\n\n[The page goes on: {len(text) - most:,} more characters were left out.]"
    return visible(text[:most].translate(SILENT)) + (beyond if len(text) > most else "")
