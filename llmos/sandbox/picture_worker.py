"""The process in which one picture is decoded. Started by ``pictures.py``, in a jail.

In: a line of JSON (``path``, ``pixels``, and ``side`` or ``fit``), then the picture. Out: a PNG
whose sides are at most ``side``; or, for ``fit``, a line ``rgb WIDTH HEIGHT`` and the pixels; or a
line that begins with ``!`` and says why there is none. What a picture says of its size is looked at
before anything is decoded; of an animation the first frame is taken, and of what came with it
(places, names, colour profiles, comments) nothing.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

__all__: list[str] = []


class Refused(Exception):
    """The sentence why a picture is not decoded."""


def decode(data: bytes, pixels: int) -> Any:
    """A picture in RGBA, as large as it is.

    Raises:
        Refused: It is no picture, or has more than ``pixels``.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # looked at here, with a sentence
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP", "BMP")) as image:
            width, height = image.size
            if width * height > pixels:
                raise Refused(f"The picture is too large ({width} × {height} pixels).")
            image.seek(0)
            return ImageOps.exif_transpose(image).convert("RGBA")
    except UnidentifiedImageError as error:
        raise Refused("It is no picture of a kind that llmos knows.") from error


def png(image: Any, side: int) -> bytes:
    """An RGBA picture as PNG, no side longer than ``side``."""
    image.thumbnail((side, side))
    if image.getchannel("A").getextrema() == (255, 255):
        image = image.convert("RGB")
    image.info.clear()
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def rgb(image: Any, width: int, height: int) -> bytes:
    """The pixels of an RGBA picture that fits, on white, behind a line with its size."""
    from PIL import Image

    image.thumbnail((width, height))
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    return b"rgb %d %d\n" % image.size + ground.convert("RGB").tobytes()


def main() -> None:
    asked = json.loads(sys.stdin.buffer.readline())
    sys.path[:0] = asked["path"]
    try:
        image = decode(sys.stdin.buffer.read(), asked["pixels"])
        answer = rgb(image, *asked["fit"]) if "fit" in asked else png(image, asked["side"])
    except Refused as refused:
        answer = f"!{refused}".encode()
    except MemoryError:
        answer = b"!The picture needs too much memory."
    except Exception:  # a decoder may raise anything on a damaged picture
        answer = b"!The picture is damaged."
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main()
