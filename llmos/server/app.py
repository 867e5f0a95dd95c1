"""The application: every route over one kernel, its errors and its published description."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path
from fastapi.openapi.utils import get_openapi

from llmos import __version__
from llmos.devices.speech import Speech
from llmos.server import (
    artifact_routes,
    audio_routes,
    chat,
    completions,
    dream_routes,
    embeddings,
    errors,
    expert_routes,
    fact_routes,
    forget_routes,
    kernel_routes,
    mount_routes,
    page_routes,
    permission_routes,
    realtime_routes,
    reminder_routes,
    trace_routes,
)
from llmos.server.auth import BodyLimit
from llmos.server.body import JsonRoute
from llmos.server.contract import ServedKernel
from llmos.server.errors import ApiError, responses
from llmos.server.openai_answers import Model, ModelList
from llmos.server.presence import Presence

__all__ = ["create_app"]

_DESCRIPTION = (
    "OpenAI-compatible routes under /v1 and the kernel's own under /kernel/v1. On the Unix socket "
    "no token is needed; over TCP every request needs one. "
    "WebSocket /kernel/v1/events?pid=N (0: all processes) sends events as JSON text frames, "
    'after a first frame {"type": "hello"}. WebSocket /v1/realtime takes and sends the events of '
    "OpenAI's Realtime API."
)


def _models(kernel: ServedKernel) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["openai"], route_class=JsonRoute)
    started = int(time.time())

    def loaded() -> list[Model]:
        """The language model first: a client without a preference takes the first."""
        served = [(kernel.backend.info.name, kernel.backend.info.window)]
        if kernel.embedder is not None:
            served.append((kernel.embedder.model, kernel.embedder.window))
        return [
            Model(id=name, created=started, owned_by="llmos", context_window=window)
            for name, window in served
        ]

    @routes.get("/models", responses=responses())
    async def list_models() -> ModelList:
        """The language model that is loaded, and the embedder."""
        return ModelList(data=loaded())

    @routes.get("/models/{model:path}", responses=responses(404))
    async def retrieve_model(model: Annotated[str, Path(min_length=1)]) -> Model:
        """One model by its name, which may hold slashes."""
        models = {info.id: info for info in reversed(loaded())}
        if model not in models:
            known = " and ".join(f"'{info.id}'" for info in loaded())
            sentence = f"The model '{model}' is not loaded; this kernel serves {known}."
            raise ApiError(sentence, param="model", code="model_not_found", status=404)
        return models[model]

    return routes


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, without the 422 that FastAPI assumes: here that is a 400."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
            operation["security"] = [{}, {"token": []}]
    components = document["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return document


def create_app(kernel: ServedKernel, speech: Speech | None = None) -> FastAPI:
    """The HTTP application of one kernel, to be given to ``serve``.

    Args:
        kernel: What the routes call; ``kernel.backend`` answers the OpenAI routes directly.
        speech: What hears and speaks; None where nothing does.
    """
    app = FastAPI(
        title="llmos",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # the pages load their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.add_middleware(Presence, kernel=kernel)
    app.add_middleware(BodyLimit)
    errors.install(app)
    app.include_router(_models(kernel))
    app.include_router(completions.router(kernel))
    app.include_router(embeddings.router(kernel))
    app.include_router(chat.router(kernel))
    app.include_router(audio_routes.router(speech))
    app.include_router(realtime_routes.router(kernel, speech))
    app.include_router(kernel_routes.router(kernel))
    app.include_router(permission_routes.router(kernel))
    app.include_router(reminder_routes.router(kernel))
    app.include_router(artifact_routes.router(kernel))
    app.include_router(expert_routes.router(kernel))
    app.include_router(page_routes.router(kernel))
    app.include_router(fact_routes.router(kernel))
    app.include_router(forget_routes.router(kernel))
    app.include_router(mount_routes.router(kernel))
    app.include_router(dream_routes.router(kernel))
    app.include_router(trace_routes.router(kernel))
    described: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not described:
            described.append(_describe(app))
        return described[0]

    app.openapi = openapi  # type: ignore[method-assign]
    return app
