"""Pictures that calls made, as a terminal can show them: decoded in a jail, and kept for a while.

A file is named by the hash of its bytes, so what was made of it once holds for ever; the latest are
kept in memory. One picture is decoded at a time, and whoever asks for one that is being decoded
waits for that. Knows files and pixels, no calls and no screens.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from llmos import limits
from llmos.sandbox import pictures

__all__ = ["Thumbnails"]


class Thumbnails:
    """Pixels of pictures.

    Args:
        read: The bytes of a file, by its id; it blocks.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._kept: OrderedDict[tuple[str, int, int], tuple[int, int, bytes]] = OrderedDict()
        self._bytes = 0
        self._decoding = asyncio.Lock()

    async def get(self, id: str, width: int, height: int) -> tuple[int, int, bytes]:
        """A picture that fits into ``width`` by ``height`` pixels.

        Returns:
            Its width and height, and red, green and blue of every pixel, row by row.

        Raises:
            NotStored: There is no such file.
            CallFailed: It is no picture, damaged, or too large.
            SandboxMissing: This machine has no jail to decode it in.
        """
        key = (id, width, height)
        async with self._decoding:
            if key not in self._kept:
                data = await asyncio.to_thread(self._read, id)
                self._keep(key, await pictures.thumbnail(data, width, height))
            self._kept.move_to_end(key)
            return self._kept[key]

    def _keep(self, key: tuple[str, int, int], made: tuple[int, int, bytes]) -> None:
        self._kept[key] = made
        self._bytes += len(made[2])
        while self._bytes > limits.THUMBNAILS_BYTES and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._bytes -= len(old[2])

    async def png(self, id: str) -> bytes:
        """A picture as a PNG of llmos's own making, for a program that decodes without a jail.

        Raises:
            NotStored: There is no such file.
            CallFailed: It is no picture, damaged, or too large.
            SandboxMissing: This machine has no jail to decode it in.
        """
        async with self._decoding:
            return await pictures.reencoded(await asyncio.to_thread(self._read, id))
