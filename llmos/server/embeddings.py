"""``POST /v1/embeddings``: texts in, vectors out, in OpenAI's form.

The vectors are the model's own, of length 1. Nothing is cut: a text that is too long is refused
with both counts. Computes in threads, a few texts at a time, so that the kernel goes on and that
requests share the embedder by turns; it stops when the client goes.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence

from fastapi import APIRouter, Request
from starlette.responses import Response

from llmos import limits
from llmos.errors import TextTooLong
from llmos.memory.embed import Embedded, ModelEmbedder, Vectors
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import ApiError, responses
from llmos.server.openai_answers import EmbeddingList
from llmos.server.openai_schema import EmbeddingRequest

__all__ = ["router"]


def router(kernel: ServedKernel) -> APIRouter:
    """The route over ``kernel.embedder``."""
    routes = APIRouter(prefix="/v1", tags=["openai"], route_class=JsonRoute)
    turn = asyncio.Lock()  # one piece at a time: the cores belong to the language model

    @routes.post(
        "/embeddings",
        response_model=EmbeddingList,
        responses=responses(400, 404, 413, 502, 503),
    )
    async def create_embedding(body: EmbeddingRequest, request: Request) -> Response:
        """The vectors of texts."""
        embedder = _named(kernel.embedder, body.model)
        texts = _texts(body)
        if not embedder.dimension:
            await asyncio.to_thread(embedder.load)
        if body.dimensions not in (None, embedder.dimension):
            raise _dimensions(embedder)
        rows: list[bytes] = []
        used = 0
        for start in range(0, len(texts), limits.EMBED_PIECE):
            if start and await request.is_disconnected():
                return Response(status_code=204)  # nobody reads it
            async with turn:
                made, written = await asyncio.to_thread(
                    _some, embedder, texts, start, body.encoding_format == "base64"
                )
            rows += written
            used += made.used
        usage = {"prompt_tokens": used, "total_tokens": used}
        tail = json.dumps({"model": embedder.model, "usage": usage})[1:].encode()
        whole = b'{"object":"list","data":[' + b",".join(rows) + b"]," + tail
        return Response(whole, media_type="application/json")

    return routes


def _named(embedder: ModelEmbedder | None, model: str) -> ModelEmbedder:
    """The embedder, where it is the one that was asked for."""
    if embedder is None:
        sentence = "This kernel has no embedder."
    elif model != embedder.model:
        sentence = f"The embedder '{model}' is not loaded; this kernel has '{embedder.model}'."
    else:
        return embedder
    raise ApiError(sentence, param="model", code="model_not_found", status=404)


def _texts(body: EmbeddingRequest) -> list[str]:
    given = [body.input] if isinstance(body.input, str) else body.input
    texts = [item for item in given if isinstance(item, str)]
    if len(texts) != len(given):
        sentence = (
            "The input must be text: what a token's number means depends on the model, and "
            "yours is another one's. (LangChain sends text with check_embedding_ctx_length=False.)"
        )
        raise ApiError(sentence, param="input", code="unsupported_parameter")
    return texts


def _some(
    embedder: ModelEmbedder, texts: Sequence[str], start: int, packed: bool
) -> tuple[Embedded, list[bytes]]:
    """A few texts' vectors, and how the answer writes them. Runs in a thread."""
    try:
        made = embedder.embed_counted(texts[start : start + limits.EMBED_PIECE], cut=False)
    except TextTooLong as error:
        at = f"input[{start + error.at}]" if len(texts) > 1 else "input"
        raise ApiError(str(error), param=at, code=error.code) from error
    return made, _written(made.vectors, start, packed)


def _written(vectors: Vectors, start: int, packed: bool) -> list[bytes]:
    """The entries of the answer; written by hand, since half a million numbers take long enough."""
    rows = []
    for index, vector in enumerate(vectors, start):
        if packed:
            body = b'"' + base64.b64encode(vector.astype("<f4").tobytes()) + b'"'
        else:
            body = json.dumps(vector.tolist(), separators=(",", ":")).encode()
        rows.append(b'{"object":"embedding","index":%d,"embedding":%b}' % (index, body))
    return rows


def _dimensions(embedder: ModelEmbedder) -> ApiError:
    sentence = (
        f"The vectors of '{embedder.model}' have {embedder.dimension} dimensions; "
        "they cannot have others."
    )
    return ApiError(sentence, param="dimensions", code="invalid_value")
