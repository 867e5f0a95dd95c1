"""Pictures that calls made, as pixels, over HTTP; decoded in a jail of this machine."""

from __future__ import annotations

import hashlib
import io

import pytest
from PIL import Image

from llmos import limits
from llmos.client import Client
from llmos.errors import CallFailed, LlmosError, SandboxMissing
from llmos.sandbox import pictures
from llmos.server.thumbnails import Thumbnails


def picture(size: tuple[int, int], colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def keep(kernel, data: bytes) -> str:
    id = hashlib.sha256(data).hexdigest()
    kernel.artifacts.kept[id] = data
    return id


async def test_a_picture_comes_as_pixels_that_fit(http, kernel):
    id = keep(kernel, picture((400, 100)))
    path = f"/kernel/v1/artifacts/{id}/thumbnail"
    answer = await http.get(path, params={"width": 60, "height": 40})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    assert (answer.headers["x-picture-width"], answer.headers["x-picture-height"]) == ("60", "15")
    assert answer.content == b"\xff\x00\x00" * 60 * 15
    for width in (0, limits.THUMBNAIL_SIDE + 1, "wide"):
        refused = await http.get(path, params={"width": width, "height": 40})
        assert refused.status_code == 400
    other = path.replace(id, "0" * 64)
    assert (await http.get(other, params={"width": 9, "height": 9})).status_code == 404


async def test_what_lies_about_being_a_picture_is_one_sentence(served, kernel):
    id = keep(kernel, b"<script>no picture</script>")
    async with Client(served.socket) as client:
        for ask in (client.artifact_preview(id, 60, 40), client.artifact_picture(id)):
            with pytest.raises(LlmosError, match="It is no picture of a kind that llmos knows."):
                await ask


async def test_the_client_has_a_picture_as_pixels_and_as_a_png_made_anew(served, kernel):
    id = keep(kernel, picture((30, 20)) + b"and what else was in the file")
    async with Client(served.socket) as client:
        assert await client.artifact_preview(id, 60, 40) == (30, 20, b"\xff\x00\x00" * 600)
        made = await client.artifact_picture(id)
    assert b"what else" not in made
    with Image.open(io.BytesIO(made)) as image:
        assert (image.format, image.size) == ("PNG", (30, 20))


async def test_a_picture_is_decoded_once_and_what_is_kept_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
):
    decoded = []

    async def thumbnail(data: bytes, width: int, height: int) -> tuple[int, int, bytes]:
        decoded.append((data, width, height))
        return width, height, bytes(3 * width * height)

    monkeypatch.setattr(pictures, "thumbnail", thumbnail)
    monkeypatch.setattr(limits, "THUMBNAILS_BYTES", 900)
    kept = Thumbnails(str.encode)
    for _ in range(2):
        assert await kept.get("a", 10, 20) == (10, 20, bytes(600))
    assert len(decoded) == 1
    await kept.get("b", 10, 20)
    await kept.get("a", 10, 20)
    assert len(decoded) == 3


@pytest.mark.parametrize("error", [CallFailed("It is damaged."), SandboxMissing("No jail.")])
async def test_why_there_is_no_picture_is_said(http, kernel, monkeypatch, error: LlmosError):
    async def thumbnail(data: bytes, width: int, height: int) -> tuple[int, int, bytes]:
        raise error

    monkeypatch.setattr(pictures, "thumbnail", thumbnail)
    id = keep(kernel, picture((3, 3)))
    answer = await http.get(f"/kernel/v1/artifacts/{id}/thumbnail?width=9&height=9")
    assert answer.json()["error"]["message"] == str(error)
    assert answer.status_code == (400 if isinstance(error, CallFailed) else 503)
