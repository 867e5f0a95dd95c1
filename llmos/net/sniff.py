"""What bytes are, whatever their server calls them.

Looks at the bytes first and at the claimed media type only where text could be several things.
Decodes text; parses nothing.
"""

from __future__ import annotations

import codecs
import re

from llmos.documents.marks import marked
from llmos.errors import NetError

__all__ = ["HTML", "JSON", "PDF", "TEXT", "WORD", "WORKBOOK", "decoded", "media"]

HTML = "text/html"
JSON = "application/json"
PDF = "application/pdf"
TEXT = "text/plain"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
WORKBOOK = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"BM", "a picture (BMP)"),
    (b"RIFF", "a picture, sound or film"),
    (b"ID3", "sound"),
    (b"OggS", "sound or film"),
    (b"fLaC", "sound"),
    (b"\x1aE\xdf\xa3", "a film"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"PK\x03\x04", "an archive"),
    (b"\x1f\x8b", "an archive"),
    (b"BZh", "an archive"),
    (b"\xfd7zXZ", "an archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"\x28\xb5\x2f\xfd", "an archive"),
    (b"SQLite format 3\0", "a database"),
    (b"\xd0\xcf\x11\xe0", "an old Office file"),
    (b"GGUF", "a model"),
)
_HTML = re.compile(rb"<(!doctype\s+html|html|head|body|title|meta|base)[\s>]", re.IGNORECASE)
_TAG = re.compile(rb"<[a-z!/]", re.IGNORECASE)
_XML = re.compile(rb"<\?xml\s", re.IGNORECASE)
_LOOKED_AT = 4096


def media(body: bytes, claimed: str) -> str:
    """What can be read here as: ``HTML``, ``JSON``, ``PDF``, ``TEXT``, ``WORD``, ``WORKBOOK``.

    Args:
        body: All of it.
        claimed: The media type its server names; may be empty.

    Raises:
        NetError: It is nothing that can be read.
    """
    if not body.strip():
        raise NetError("The page is empty.")
    head = body[:_LOOKED_AT]
    if b"%PDF-" in head[:1024]:  # where readers look for it
        return PDF
    if not marked(head)[0]:
        if body.startswith(b"PK\x03\x04"):
            for member, office in ((b"word/document.xml", WORD), (b"xl/workbook.xml", WORKBOOK)):
                if member in body:
                    return office
        binary = b"\0" in head or _controls(head) > len(head) // 20
        for beginning, what in _BEGINNINGS:
            # Two letters begin many a text: they count where the rest is no text either.
            if head.startswith(beginning) and (binary or len(beginning) > 2):
                raise NetError(f"It is {what}{_instead(claimed)}, which cannot be read here.")
        if binary:
            raise NetError(f"It is no text{_instead(claimed)}, and nothing that can be read here.")
    return _text(body, head, claimed)


def _text(body: bytes, head: bytes, claimed: str) -> str:
    start = head.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n").replace(b"\0", b"")
    if start[:1] in (b"{", b"[") and claimed != HTML:
        end = body.rstrip(b"\0 \t\r\n")[-1:]
        return JSON if end in (b"}", b"]") else TEXT
    if _XML.match(start) and not _HTML.search(start):
        return TEXT
    if claimed in (HTML, "application/xhtml+xml"):
        return HTML if _TAG.search(start) else TEXT
    begins = _HTML.search(start[:512])
    return HTML if begins and start.startswith(b"<") else TEXT


def decoded(body: bytes, charset: str = "") -> str:
    """Text from bytes: by their mark, by what the server says, as UTF-8, or somehow."""
    mark, encoding = marked(body)
    if mark:
        return body[len(mark) :].decode(encoding, "replace")
    for name in filter(None, (charset, "utf-8")):
        try:
            # Only what Python counts among text encodings: "zip" and "idna" are names as well.
            return body.decode(codecs.lookup(name).name) if _is_text(name) else body.decode()
        except (LookupError, ValueError):
            continue
    return body.decode("cp1252", "replace")


def _is_text(name: str) -> bool:
    info = codecs.lookup(name)
    return info._is_text_encoding and info.name not in ("idna", "punycode", "unicode_escape")


def _controls(head: bytes) -> int:
    return sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)


def _instead(claimed: str) -> str:
    return f", not what its server says ({claimed})" if claimed.startswith("text/") else ""
