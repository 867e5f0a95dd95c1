"""``/kernel/v1/artifacts``: files that calls made, pictures as a terminal shows them, too."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from llmos import limits
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import responses
from llmos.server.thumbnails import Thumbnails

__all__ = ["router"]

Side = Annotated[int, Query(ge=1, le=limits.THUMBNAIL_SIDE, description="Pixels at most.")]
FileId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The file's SHA-256.")]


def router(kernel: ServedKernel) -> APIRouter:
    """The routes over ``kernel``."""
    routes = APIRouter(prefix="/kernel/v1", tags=["artifacts"], route_class=JsonRoute)
    thumbnails = Thumbnails(lambda id: kernel.artifacts.read(id))

    @routes.get(
        "/artifacts/{id}",
        response_class=Response,
        responses={
            **responses(400, 404),
            200: {"content": {"application/octet-stream": {}}, "description": "The file's bytes."},
        },
    )
    async def artifact(id: FileId) -> Response:
        """The bytes of a file that a call made. Its type and name stand in its event."""
        data = await asyncio.to_thread(kernel.artifacts.read, id)
        # Whoever opens it must not have it run as a page of this server.
        headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    @routes.get(
        "/artifacts/{id}/thumbnail",
        response_class=Response,
        responses={
            **responses(400, 404, 503),
            200: {
                "content": {"application/octet-stream": {}},
                "description": "Red, green and blue of every pixel, row by row; the headers"
                " `x-picture-width` and `x-picture-height` say how many there are.",
            },
        },
    )
    async def thumbnail(id: FileId, width: Side, height: Side) -> Response:
        """A picture that a call made, as pixels that fit; decoded in a jail."""
        wide, high, pixels = await thumbnails.get(id, width, height)
        headers = {
            "x-picture-width": str(wide),
            "x-picture-height": str(high),
            "x-content-type-options": "nosniff",
        }
        return Response(pixels, media_type="application/octet-stream", headers=headers)

    @routes.get(
        "/artifacts/{id}/picture",
        response_class=Response,
        responses={
            **responses(400, 404, 503),
            200: {"content": {"image/png": {}}, "description": "The picture as PNG."},
        },
    )
    async def picture(id: FileId) -> Response:
        """A picture that a call made, decoded in a jail and written anew: safe to open."""
        headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
        return Response(await thumbnails.png(id), media_type="image/png", headers=headers)

    return routes
