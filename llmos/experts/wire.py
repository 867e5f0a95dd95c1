"""What passes between the kernel and a jailed tool: JSON lines, and values in them.

Both sides use it, so it stands on ``services`` alone. Values are JSON, bytes, and the dataclasses
of ``services``; whatever else a line holds is refused, for one of the sides is a stranger's code.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from llmos import services

__all__ = ["line", "pack", "parse", "unpack"]

#: The dataclasses that may pass, by name.
_KINDS: dict[str, type] = {
    name: kind
    for name in services.__all__
    if dataclasses.is_dataclass(kind := getattr(services, name)) and isinstance(kind, type)
}
_HINTS = {name: typing.get_type_hints(kind) for name, kind in _KINDS.items()}


def line(message: Mapping[str, Any]) -> bytes:
    """A message as a line.

    Raises:
        ValueError, TypeError, RecursionError: It holds what JSON cannot.
    """
    return json.dumps(message, ensure_ascii=True, allow_nan=False).encode() + b"\n"


def parse(raw: bytes) -> dict[str, Any]:
    """A line as a message.

    Raises:
        ValueError: It is none.
    """
    try:
        message = json.loads(raw)
    except RecursionError:
        raise ValueError("too deep") from None
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ValueError("no message")
    return message


def pack(value: Any) -> Any:
    """A value as JSON can hold it.

    Raises:
        TypeError: It can't.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes | bytearray):
        return {"bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, list | tuple):
        return [pack(item) for item in value]
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("keys must be text")
        return {"map": {key: pack(item) for key, item in value.items()}}
    if _KINDS.get(type(value).__name__) is type(value):
        fields = {name: pack(getattr(value, name)) for name in _HINTS[type(value).__name__]}
        return {"is": type(value).__name__, "of": fields}
    raise TypeError(f"{type(value).__name__} cannot be passed")


def unpack(packed: Any) -> Any:
    """The value again; sequences come as lists, but as tuples inside dataclasses.

    Raises:
        ValueError: It is none that ``pack`` makes.
    """
    match packed:
        case None | bool() | int() | float() | str():
            return packed
        case list():
            return [unpack(item) for item in packed]
        case {"bytes": str(text), **rest} if not rest:
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise ValueError("no bytes") from error
        case {"map": dict(items), **rest} if not rest:
            return {key: unpack(item) for key, item in items.items()}
        case {"is": str(name), "of": dict(fields), **rest} if not rest and name in _KINDS:
            hints = _HINTS[name]
            values = {key: _frozen(unpack(item)) for key, item in fields.items()}
            wrong = [key for key in values if not _fits(values[key], hints.get(key))]
            if wrong:
                raise ValueError(f"{name} with a wrong {wrong[0]}")
            try:
                return _KINDS[name](**values)
            except TypeError as error:
                raise ValueError(f"{name} is not whole") from error
    raise ValueError("no value")


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _fits(value: Any, hint: Any) -> bool:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if len(inside) == 2 and inside[1] is Ellipsis:
            return all(_fits(item, inside[0]) for item in value)
        return len(value) == len(inside) and all(map(_fits, value, inside))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inside)
    if hint is float:
        return type(value) in (int, float)
    return isinstance(hint, type) and type(value) is hint
