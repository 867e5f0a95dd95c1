"""Pictures from outside, made harmless: decoded in a jail and written anew as PNG or as pixels.

Nothing of an untrusted picture is decoded in this process: what comes back is a PNG or bare pixels
whose size is checked, without whatever else was in the file. Knows PNG, JPEG, GIF, WebP and BMP. It
promises nothing about what a picture shows.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import struct
import sys
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import CallFailed
from llmos.sandbox import tiers
from llmos.sandbox.jail import Bounds, Task, run

__all__ = ["reencoded", "thumbnail"]

_WORKER = Path(__file__).with_name("picture_worker.py")
_HEAD = b"\x89PNG\r\n\x1a\n"
_SIZE = re.compile(rb"rgb (\d{1,5}) (\d{1,5})")
_SENTENCE_BYTES = 200


async def reencoded(data: bytes, *, side: int = limits.PICTURE_SIDE) -> bytes:
    """An untrusted picture as a PNG of our own making.

    Args:
        data: The picture's bytes.
        side: Pixels of its longer side; a larger one is made smaller.

    Returns:
        PNG bytes.

    Raises:
        CallFailed: It is no picture, damaged, or too large.
        SandboxMissing: This machine has no jail to decode it in.
    """
    png = await _decoded(data, {"side": side}, limits.PICTURE_BYTES)
    if not _is_png(png, side):
        raise _crashed()
    return png


async def thumbnail(data: bytes, width: int, height: int) -> tuple[int, int, bytes]:
    """An untrusted picture as pixels, made smaller to fit; never made larger.

    Args:
        data: The picture's bytes.
        width / height: Pixels it may have at most, each up to ``limits.PICTURE_SIDE``.

    Returns:
        Its width and height, and a byte each of red, green and blue for every pixel, row by row.
        What is transparent is white.

    Raises:
        CallFailed: It is no picture, damaged, or too large.
        SandboxMissing: This machine has no jail to decode it in.
    """
    width, height = (min(max(most, 1), limits.PICTURE_SIDE) for most in (width, height))
    answer = await _decoded(data, {"fit": [width, height]}, 32 + 3 * width * height)
    head, _, pixels = answer.partition(b"\n")
    found = _SIZE.fullmatch(head)
    if found is None:
        raise _crashed()
    wide, high = int(found[1]), int(found[2])
    if not (0 < wide <= width and 0 < high <= height and len(pixels) == 3 * wide * high):
        raise _crashed()
    return wide, high, pixels


async def _decoded(data: bytes, form: dict[str, Any], most: int) -> bytes:
    """What the worker makes of a picture, at most ``most`` bytes; the form is not looked at."""
    if len(data) > limits.PICTURE_BYTES:
        raise CallFailed(f"The picture is larger than {limits.PICTURE_BYTES >> 20} MB.")
    spec = importlib.util.find_spec("PIL")
    if spec is None or spec.origin is None:
        raise CallFailed(
            "Pictures cannot be decoded: the Python package pillow is missing.",
            remedy="Install it: pip install pillow",
        )
    library = os.path.dirname(os.path.dirname(spec.origin))
    asked = {"path": [library], "pixels": limits.PICTURE_PIXELS, **form}
    task = Task(
        argv=(sys.executable, "-I", "-S", "-X", "utf8", str(_WORKER)),
        readable=(_WORKER, Path(library)),
        bounds=Bounds(
            memory_bytes=limits.PICTURE_MEMORY_BYTES,
            cpu_seconds=limits.PICTURE_CPU_SECONDS,
            processes=4,
            file_bytes=1,
            disk_bytes=1,
        ),
    )
    done = await run(
        await tiers.best(),
        task,
        json.dumps(asked).encode() + b"\n" + data,
        seconds=limits.PICTURE_SECONDS,
        output_bytes=max(most, _SENTENCE_BYTES),
    )
    if done.ended == "time":
        raise CallFailed("The picture takes too long to decode.")
    if done.stdout.startswith(b"!"):  # from the jail: shown, never believed
        raise CallFailed(done.stdout[1:_SENTENCE_BYTES].decode("utf-8", "replace"))
    if done.status or done.ended:
        raise _crashed()
    return done.stdout


def _crashed() -> CallFailed:
    return CallFailed("The picture is damaged: its decoder crashed.")


def _is_png(data: bytes, side: int) -> bool:
    """Whether a PNG's head says what it must; the worker may have been taken over."""
    if not data.startswith(_HEAD) or len(data) < 33 or data[12:16] != b"IHDR":
        return False
    width, height = struct.unpack(">II", data[16:24])
    return 0 < width <= side and 0 < height <= side
