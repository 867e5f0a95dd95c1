"""Every error a client sees, in OpenAI's form: ``{"error": {message, type, param, code}}``.

Knows how llmos's exceptions, validation errors and HTTP errors become a status and that body.
Tracebacks go to the log; a client reads one sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.routing import Match

from llmos import errors
from llmos.errors import LlmosError
from llmos.seldom import Seldom

__all__ = [
    "ApiError",
    "ErrorBody",
    "ErrorResponse",
    "error_json",
    "error_of",
    "error_response",
    "install",
    "responses",
]

_log = logging.getLogger(__name__)
_log.addFilter(Seldom())

#: The status of a class holds for its subclasses; the first that fits wins.
_STATUS: tuple[tuple[type[LlmosError], int], ...] = (
    (errors.PromptTooLong, 400),
    (errors.TextTooLong, 400),
    (errors.GrammarError, 400),
    (errors.TemplateError, 400),
    (errors.EngineStopped, 503),
    (errors.SandboxMissing, 503),
    (errors.BadFile, 400),
    (errors.DeviceError, 503),
    (errors.RemoteError, 502),
    (errors.ModelMissing, 404),
    (errors.ModelError, 503),
    (errors.NoSuchProcess, 404),
    (errors.NoSuchReminder, 404),
    (errors.BudgetExceeded, 429),
    (errors.KernelError, 409),
    (errors.StoreFull, 507),
    (errors.NotStored, 404),
    (errors.NotRemembered, 400),
    (errors.MountError, 409),
    (errors.ExpertError, 404),
    (errors.CallDenied, 403),
    (errors.SyscallError, 400),
)

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")

_MEANING = {
    400: "The request is malformed or asks for something unsupported.",
    401: "The bearer token is missing or wrong (TCP only).",
    403: "The request comes from a browser page of another origin (TCP only).",
    404: "There is no such thing.",
    409: "The process's state does not allow it.",
    413: "The body is too large.",
    429: "The process's budget is used up.",
    500: "A defect in llmos; the log has the traceback.",
    502: "The remote model server failed.",
    503: "The engine is stopped, or the model or a sandbox cannot be used.",
    507: "The disk is nearly full.",
}


class ErrorBody(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(extra="forbid")

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """The body of every answer that is not a success."""

    model_config = ConfigDict(extra="forbid")

    error: ErrorBody


class ApiError(Exception):
    """A request the server itself refuses.

    Args:
        sentence: What is wrong, for a person.
        param: Path of the offending field, such as ``messages[0].content``.
        code: A stable word for programs.
        status: The HTTP status.
    """

    def __init__(
        self, sentence: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(sentence)
        self.param = param
        self.code = code
        self.status = status


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI descriptions of the errors a route answers with, beside those every route has."""
    return {
        status: {"model": ErrorResponse, "description": _MEANING[status]}
        for status in sorted({401, 403, 500, *statuses})
    }


def error_json(
    message: str, status: int, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of an error answer, also sent as the last event of a broken stream."""
    kind = "authentication_error" if status == 401 else "invalid_request_error"
    if status == 429:
        kind = "rate_limit_error"
    elif status >= 500:
        kind = "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body for an exception that a route or a generation raised."""
    if isinstance(error, ApiError):
        return error.status, error_json(str(error), error.status, error.param, error.code)
    if isinstance(error, LlmosError):
        status = next((status for cls, status in _STATUS if isinstance(error, cls)), 500)
        return status, error_json(str(error), status, code=error.code)
    return 500, error_json("Something went wrong inside llmos; its log says what.", 500)


def error_response(
    message: str,
    status: int,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error as a whole HTTP answer."""
    return JSONResponse(error_json(message, status, param, code), status, dict(headers or {}))


def _param(loc: Sequence[int | str], body: Any) -> str:
    """A validation error's place as ``messages[0].content``.

    pydantic's location also names the branches of unions it tried; following the body itself
    tells these from fields.
    """
    where, path = body, ""
    if loc and loc[0] in ("body", "query", "path", "header"):
        if loc[0] != "body":
            return ".".join(str(part) for part in loc[1:2])
        loc = loc[1:]
        if isinstance(body, FormData):  # whose fields are texts, and no unions
            return str(loc[0]) if loc else ""
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(part, int):
            if isinstance(where, list) and part < len(where):
                where = where[part]
                path += f"[{part}]"
            continue
        if isinstance(where, dict) and (part in where or (last and "-" not in part)):
            where = where.get(part)
            path += f".{part}" if path else part
    return path


def _description(request: Request, loc: Sequence[int | str]) -> str:
    """What the route says of the field at ``loc``; empty where it says nothing."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute) or len(loc) < 2:
        return ""
    if loc[0] != "body":
        given = route.dependant.path_params + route.dependant.query_params
        return next((f.field_info.description or "" for f in given if f.alias == loc[1]), "")
    model = route.body_field.field_info.annotation if route.body_field else None
    fields = getattr(model, "model_fields", {})
    field = fields.get(str(loc[1])) if len(loc) == 2 else None
    return (field.description or "") if field is not None else ""


def _mismatch(param: str, pattern: str, description: str) -> str:
    """What is wrong with a text that does not match, in words where the field has some."""
    name = f"'{param}'" if param else "A text"
    if pattern == r"\S":
        return f"{name} is empty."
    if not description:  # deep in a request that a program made
        return f"{name} must match the pattern {pattern}."
    return f"{name} has not the right form. {description}"


def _validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    """The deepest of pydantic's complaints: of a union's branches, the one that got furthest."""
    found: Iterable[dict[str, Any]] = error.errors()
    first = max(found, key=lambda item: len(item["loc"]))
    kind, param = first["type"], _param(first["loc"], error.body)
    if kind == "extra_forbidden":
        sentence = f"Unrecognized request argument supplied: {param}"
        return error_response(sentence, 400, param=param, code="unrecognized_request_argument")
    if kind == "string_pattern_mismatch":
        pattern = str(first["ctx"]["pattern"])
        sentence = _mismatch(param, pattern, _description(request, first["loc"]))
        return error_response(sentence, 400, param=param or None, code="invalid_value")
    message = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    where = f"Invalid value for '{param}'" if param else "Invalid request"
    code = "missing_required_parameter" if kind == "missing" else "invalid_value"
    return error_response(f"{where}: {message}.", 400, param=param or None, code=code)


def _allowed_methods(request: Request) -> str:
    """What the path does answer to, over all of its routes."""
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    allowed = [
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
    ]
    return ", ".join(allowed)


def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    headers = dict(error.headers or {})
    if error.status_code == 404:
        sentence = f"There is no {request.method} {request.url.path}."
        return error_response(sentence, 404, code="unknown_url")
    if error.status_code == 405:
        allowed = headers["Allow"] = _allowed_methods(request)
        sentence = f"{request.url.path} does not take {request.method}, only {allowed}."
        return error_response(sentence, 405, code="method_not_allowed", headers=headers)
    if error.status_code == 400:
        return error_response(str(error.detail), 400, code="invalid_json")
    return error_response(str(error.detail), error.status_code, headers=headers)


def install(app: FastAPI) -> None:
    """Register the handlers on ``app``."""

    async def on_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _validation_error(request, error)

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _http_error(request, error)

    async def on_known(_: Request, error: Exception) -> JSONResponse:
        status, body = error_of(error)
        if isinstance(error, errors.RemoteError):  # somebody else's: no line of ours says why
            _log.warning("a request failed: %s", error)
        elif status >= 500 and isinstance(error, LlmosError):  # the others are logged by uvicorn
            _log.error("a request failed: %s", error, exc_info=error)
        return JSONResponse(body, status)

    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(ApiError, on_known)
    app.add_exception_handler(LlmosError, on_known)
    app.add_exception_handler(Exception, on_known)
