"""Whether a mark of Markdown is open within a line: code, a link, a tag, a formula.

Follows a text character by character, to say where it must not be cut; what the marks mean is
``markup.py``'s. A mark that is opened and not closed within a bound is none.
"""

from __future__ import annotations

__all__ = ["ADDRESS", "OPEN", "OpenMark"]

#: Characters of an address that is kept whole.
ADDRESS = 2_000
#: Characters after which any other mark that was opened is none.
OPEN = 200

#: Stands between the text of a link and what follows, which may be its address.
_LINK = "]("


class OpenMark:
    """The mark that is open, if one is. They do not nest."""

    def __init__(self) -> None:
        self._close = ""  # what closes it; empty where none is open
        self._length = 0  # characters since it was opened
        self._ticks = 0  # backticks just read

    @property
    def open(self) -> bool:
        """A mark is open, or may be: the next character decides."""
        return self._close != "" or self._ticks > 0

    @property
    def unseen(self) -> bool:
        """What is read now is not seen: an address, a tag."""
        return self._close in (")", ">")

    def settle(self, char: str) -> None:
        """Decide, now that ``char`` comes, what the characters before it opened or closed."""
        if self._ticks and char != "`":
            mark, self._ticks = "`" * self._ticks, 0
            if self._close == mark:
                self._close = ""
            elif not self._close:
                self._begin(mark)
        if self._close == _LINK:
            self._begin({"(": ")", "[": "]"}.get(char, ""))

    def read(self, char: str, before: str) -> None:
        """Note what ``char`` opens or closes; ``before`` is the character before it."""
        if char == "`" and before != "\\":
            self._ticks += 1
        elif self._close:
            self._length += 1
            if self._close == "]" and char == "]":
                self._close = _LINK
            elif (
                self._close in (char, before + char)
                or (self._close != ")" and self._length > OPEN)
                or self._length > ADDRESS
            ):
                self._close = ""
        elif char == "[" and before != "\\":
            self._begin("]")
        elif before == "<" and (char.isalpha() or char in "/!"):
            self._begin(">")
        elif before == "$" and not char.isdigit() and char not in "$.,;:)":
            self._begin("$")
        elif before == "\\" and char == "(":
            self._begin(r"\)")

    def end_line(self) -> None:
        """Tags and formulas do not go on in the next line."""
        if self._close in (">", "$", r"\)"):
            self._close = ""

    def abandon(self) -> None:
        """A block ends, and with it what was open."""
        self._close, self._ticks = "", 0

    def _begin(self, close: str) -> None:
        self._close, self._length = close, 0
