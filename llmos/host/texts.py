"""A text file's bytes as text and back, such that an edit changes what it names and nothing else.

UTF-8, UTF-16 and UTF-32 with a mark; anything else is read as Latin-1, in which every byte stands
for itself and comes back as it was. Lines that all end in CR LF are given with LF and get it back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmos.documents.marks import marked
from llmos.errors import HostError

__all__ = ["Text", "decoded"]


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and how it is written in a file."""

    text: str
    encoding: str = "utf-8"
    mark: bytes = b""
    crlf: bool = False

    def encoded(self) -> bytes:
        """Its bytes.

        Raises:
            HostError: It holds a character that the file's encoding lacks.
        """
        text = self.text.replace("\n", "\r\n") if self.crlf else self.text
        try:
            return self.mark + text.encode(self.encoding)
        except UnicodeEncodeError as error:
            wrong = error.object[error.start]
            named = wrong if wrong.isprintable() else f"U+{ord(wrong):04X}"
            raise HostError(f"The file's encoding has no “{named}”.") from error

    def with_text(self, text: str) -> Text:
        """Another text, written in the same way."""
        return replace(self, text=text.replace("\r\n", "\n") if self.crlf else text)


def decoded(raw: bytes) -> Text:
    """The text of a file.

    Raises:
        HostError: It is binary.
    """
    mark, encoding = marked(raw)
    try:
        text = raw[len(mark) :].decode(encoding)
    except UnicodeDecodeError:
        mark, encoding = b"", "latin-1"
        text = raw.decode(encoding)
    if "\0" in text:
        raise HostError("It is binary, not text.")
    crlf = "\r\n" in text and text.count("\r\n") == text.count("\n") == text.count("\r")
    return Text(text.replace("\r\n", "\n") if crlf else text, encoding, mark, crlf)
