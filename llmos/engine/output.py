"""From sampled tokens to text that may be shown.

Bytes are held back until they form whole UTF-8 characters, and text is held back while it could
be the beginning of a stop string, so that what leaves here is never taken back. Knows bytes and
strings, not tokens.
"""

from __future__ import annotations

import codecs

__all__ = ["Output"]


class Output:
    """The text of one generation.

    Args:
        stop: Strings that end it; the first to be complete wins (the longest, of several), and
            neither it nor what follows is ever emitted.
    """

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = stop
        self._held = ""
        self.stopped = False

    def feed(self, piece: bytes) -> str:
        """Add the bytes of one token; returns the text that is now certain."""
        return self._emit(self._decoder.decode(piece))

    def finish(self) -> str:
        """The rest, when no more tokens come. Bytes that became no character show as U+FFFD."""
        text = self._emit(self._decoder.decode(b"", final=True))
        if not self.stopped:
            text += self._held
        self._held = ""
        return text

    def _emit(self, text: str) -> str:
        if self.stopped:
            return ""
        if not self._stop:
            return text
        text = self._held + text
        ends = [(text.index(s) + len(s), text.index(s)) for s in self._stop if s in text]
        if ends:
            self.stopped = True
            self._held = ""
            return text[: min(ends)[1]]
        hold = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that begins ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0
