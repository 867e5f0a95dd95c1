"""A body as it comes: unpacked while it streams, and never larger than agreed.

Knows gzip and deflate (RFC 9110, 8.4.1; deflate also without its wrapper, as many servers send
it). Other packings are not asked for, and refused.
"""

from __future__ import annotations

import zlib

from llmos import limits
from llmos.errors import NetError

__all__ = ["Body"]

_FREE = 1 << 20  # unpacked so far without a look at the ratio
_STEP = 1 << 16


class Body:
    """Takes what comes over the wire, gives back the bytes that are meant.

    Args:
        packing: The ``Content-Encoding``; empty for none.
        most: Bytes it may have, unpacked.

    Raises:
        NetError: The packing is unknown.
    """

    def __init__(self, packing: str, most: int) -> None:
        packing = packing.strip().lower()
        if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise NetError(f"It is packed in a way that was not asked for ({packing[:40]}).")
        self._packing = packing.removeprefix("x-").replace("identity", "")
        self._most = most
        self._unpacker: zlib._Decompress | None = None
        self._held = b""  # of a stream or member, until its first two bytes are there
        self._ended = False
        self._out = bytearray()
        self._wire = 0

    def feed(self, data: bytes) -> None:
        """The next bytes of the wire.

        Raises:
            NetError: It is too large, a bomb, or damaged.
        """
        self._wire += len(data)
        if not self._packing:
            self._take(data)
            return
        try:
            self._unpack(data)
        except zlib.error as error:
            raise NetError("What was sent is damaged: it cannot be unpacked.") from error

    def whole(self) -> bytes:
        """All of it, at the end.

        Raises:
            NetError: The packed stream has no end.
        """
        if self._held and self._unpacker is None:  # one byte is no stream
            raise NetError("What was sent is damaged: it cannot be unpacked.")
        if self._unpacker is not None and not self._unpacker.eof:
            raise NetError("What was sent ends early.")
        return bytes(self._out)

    def _unpack(self, data: bytes) -> None:
        while data and not self._ended:
            if self._unpacker is None or self._unpacker.eof:
                data, self._held = self._held + data, b""
                if len(data) < 2:
                    self._held = data
                    return
                if self._unpacker is not None and not self._again(data):
                    self._ended = True  # what follows means nothing: servers pad with zeros
                    return
                self._unpacker = zlib.decompressobj(self._window(data))
            self._take(self._unpacker.decompress(data, _STEP))
            data = self._unpacker.unconsumed_tail or self._unpacker.unused_data

    def _again(self, data: bytes) -> bool:
        """Whether another member follows (RFC 1952, 2.2)."""
        return self._packing == "gzip" and data.startswith(b"\x1f\x8b")

    def _window(self, data: bytes) -> int:
        if self._packing == "gzip":
            return 16 + zlib.MAX_WBITS
        wrapped = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
        return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS

    def _take(self, data: bytes) -> None:
        self._out += data
        size = len(self._out)
        if size > self._most:
            raise NetError(f"It is larger than {_amount(self._most)}; nothing of it was kept.")
        if self._packing and size > _FREE and size > limits.NET_RATIO * self._wire:
            raise NetError("It unpacks to far more than was sent: that is no ordinary page.")


def _amount(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count} bytes"
