"""What a program printed: its beginning and its end, however much there was between them."""

from __future__ import annotations

from llmos import limits

__all__ = ["Printed"]


class Printed:
    """Takes bytes as they come and keeps a bounded part of them.

    Args:
        head: Bytes kept of the beginning.
        tail: Bytes kept of the end.
    """

    def __init__(
        self, head: int = limits.PYTHON_SHOWN_HEAD, tail: int = limits.PYTHON_SHOWN_TAIL
    ) -> None:
        self.total = 0  #: bytes that came
        self._most_head, self._most_tail = head, tail
        self._head, self._tail = bytearray(), bytearray()

    def feed(self, data: bytes) -> None:
        """Take what was printed next."""
        self.total += len(data)
        room = self._most_head - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room else data
        if len(self._tail) > 2 * self._most_tail:  # not at every line
            del self._tail[: -self._most_tail]

    def text(self) -> str:
        """What is shown, with a line that says what is not."""
        tail = self._tail[-self._most_tail :]
        left_out = self.total - len(self._head) - len(tail)
        if not left_out:
            return (self._head + tail).decode(errors="replace")
        said = f"\n… {left_out:,} bytes of what was printed are left out here …\n"
        return self._head.decode(errors="replace") + said + tail.decode(errors="replace")
