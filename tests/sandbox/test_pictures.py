"""Pictures from outside are decoded in a jail and come back small, plain and bare."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from llmos import limits
from llmos.errors import CallFailed, SandboxMissing
from llmos.sandbox import tiers
from llmos.sandbox.pictures import reencoded, thumbnail
from tests.sandbox.bare import Bare


def picture(kind: str, size: tuple[int, int] = (40, 30), **more) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, kind, **more)
    return out.getvalue()


def header(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and holds nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        whole = name + body
        return struct.pack(">I", len(body)) + whole + struct.pack(">I", zlib.crc32(whole))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
async def test_a_picture_comes_back_as_png(kind: str) -> None:
    with Image.open(io.BytesIO(await reencoded(picture(kind)))) as image:
        assert (image.format, image.size) == ("PNG", (40, 30))


async def test_nothing_but_what_is_seen_comes_back() -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    data = picture("JPEG", exif=exif)
    assert b"where I live" in data
    assert b"where I live" not in await reencoded(data)


async def test_a_large_picture_comes_back_smaller() -> None:
    with Image.open(io.BytesIO(await reencoded(picture("PNG", (400, 100)), side=100))) as image:
        assert image.size == (100, 25)


async def test_a_picture_of_20000_by_20000_pixels_is_not_decoded() -> None:
    with pytest.raises(CallFailed, match="20000 × 20000"):
        await reencoded(header(20_000, 20_000))


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x89PNG\r\n\x1a\n", b"%PDF-1.4", b"\0" * 999])
async def test_what_is_no_picture_is_one_sentence(data: bytes) -> None:
    with pytest.raises(CallFailed, match=r"^(It is no|The) picture.*\.$"):
        await reencoded(data)


async def test_a_cut_picture_is_one_sentence() -> None:
    whole = picture("PNG", (400, 400))
    with pytest.raises(CallFailed, match=r"^The picture is damaged"):
        await reencoded(whole[: len(whole) // 2])


async def test_too_many_bytes_are_refused_before_a_jail_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PICTURE_BYTES", 10)
    monkeypatch.setattr(tiers, "best", Bare())
    with pytest.raises(CallFailed, match="larger than"):
        await reencoded(picture("PNG"))


async def test_without_a_jail_no_picture_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none() -> None:
        raise SandboxMissing("Nothing here holds.")

    monkeypatch.setattr(tiers, "best", none)
    with pytest.raises(SandboxMissing):
        await reencoded(picture("PNG"))


async def test_a_thumbnail_is_pixels_that_fit_with_what_is_transparent_white() -> None:
    out = io.BytesIO()
    image = Image.new("RGBA", (40, 20), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (20, 0, 40, 20))
    image.save(out, "PNG")
    row = b"\xff\x00\x00" * 20 + b"\xff\xff\xff" * 20
    assert await thumbnail(out.getvalue(), 60, 60) == (40, 20, row * 20)
    width, height, pixels = await thumbnail(out.getvalue(), 10, 10)
    assert (width, height, len(pixels)) == (10, 5, 150)
