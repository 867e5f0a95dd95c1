"""The JSON objects of a file, one after the other, however large the file is.

They stand one below the other (JSON lines), side by side, or in one list: it is all the same. Of
the file only the object being read is in memory. What an object means is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn, TextIO

from llmos import limits
from llmos.errors import BadFile

__all__ = ["Value", "Values"]

#: A cut-off text is found to be wrong within so many characters of its end (``-Infinity``).
_NEAR_END = 16


class Value(NamedTuple):
    """An object and the line it begins in."""

    line: int
    data: dict[str, Any]


class Values:
    """Reads objects from ``file``.

    Args:
        file: A text file, at its beginning.
        name: What it is called in sentences.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._text = ""  # what was read and not yet parsed
        self._at = 0  # how far it is parsed
        self._line = 1  # of the place reached
        self._ended = False
        self._decoder = json.JSONDecoder(parse_constant=_no_number)

    def __iter__(self) -> Iterator[Value]:
        """The objects.

        Raises:
            BadFile: What stands there is something else; the sentence names the line.
        """
        listed = self._next() == "["
        if listed:
            self._skip(1)
        while True:
            found = self._next()
            if listed and found == "]":
                self._skip(1)
                if self._next():
                    self.wrong("there is something behind the end of the list")
                return
            if not found:
                if listed:
                    self.wrong("the file ends in the middle of a list")
                return
            if found != "{":
                self.wrong("here should be an object in braces")
            line = self._line
            yield Value(line, self._object())
            if listed and self._next() == ",":
                self._skip(1)

    def wrong(self, what: str, line: int = 0) -> NoReturn:
        """Raise the error that names file and line."""
        raise BadFile(f"{self._name}, line {line or self._line}: {what}.")

    def _object(self) -> dict[str, Any]:
        while True:
            try:
                data, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos >= len(self._text) - _NEAR_END or "Unterminated" in error.msg
                if self._ended or not cut:
                    before = self._text.count("\n", self._at, error.pos)
                    self.wrong(f"this is not JSON ({error.msg})", self._line + before)
            except (ValueError, RecursionError) as error:
                why = "too deep" if isinstance(error, RecursionError) else str(error)
                self.wrong(f"this cannot be read as JSON ({why})")
            else:
                self._skip(end - self._at)
                return data
            held = len(self._text) - self._at
            if held > limits.IMPORT_VALUE_CHARS:
                self.wrong(f"one value is longer than {limits.IMPORT_VALUE_CHARS:,} characters")
            # As much again: what is parsed in vain stays in proportion to what there is.
            self._more(max(held, limits.IMPORT_CHUNK_CHARS))

    def _next(self) -> str:
        """The next character that is no space, without taking it; empty at the end."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._skip(1)
            if self._ended:
                return ""
            self._more(limits.IMPORT_CHUNK_CHARS)

    def _skip(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def _more(self, count: int) -> None:
        try:
            piece = self._file.read(count)
        except UnicodeDecodeError:
            self.wrong("this is not text in UTF-8")
        self._text = self._text[self._at :] + piece
        self._at = 0
        self._ended = not piece


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
