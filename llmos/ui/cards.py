"""Which card stands in the conversation for a file that a call made."""

from __future__ import annotations

from llmos.events import ArtifactInfo, ArtifactsMade
from llmos.ui.files import FileCard
from llmos.ui.pictures import PictureCard
from llmos.ui.tables import TableCard, is_table

__all__ = ["cards"]

#: What the kernel can decode.
_PICTURES = {f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "bmp")}


def cards(made: ArtifactsMade) -> list[FileCard]:
    """A card for each file of a call, by what the call said that it is."""
    return [_kind(info)(info, f"{made.type} {made.seq}") for info in made.artifacts]


def _kind(info: ArtifactInfo) -> type[FileCard]:
    if info.media in _PICTURES:
        return PictureCard
    return TableCard if is_table(info) else FileCard
