"""How a JSON body is read: strictly, and with bounds; and what an integer is in it.

Python's own reader takes ``NaN``, half surrogate pairs (text that cannot be encoded again) and
nesting up to the stack's end; pydantic's takes none of these, and is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import from_json
from starlette.exceptions import HTTPException

__all__ = ["Body", "Integer", "JsonRoute"]


def _whole(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


#: JSON knows one kind of number: 3.0 is an integer there, as in JSON Schema. 3.5 and "3" are not.
Integer: TypeAlias = Annotated[int, BeforeValidator(_whole)]


class Body(BaseModel):
    """The base of the kernel's own bodies: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _JsonRequest(Request):
    async def json(self) -> Any:
        try:
            return from_json(await self.body(), allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"The body is not valid JSON: {error}.") from error


class JsonRoute(APIRoute):
    """A route that reads its body this way."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read
