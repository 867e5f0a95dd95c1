"""What a jailed tool says that its calls take, read back with suspicion.

A stranger's module is never imported here, so its signatures come as JSON schemas out of the jail.
Only what ``schema.read`` itself makes is understood, and the schema is written anew from that; any
other key ends it. Patterns and the tool's own tests of a value are not tried on this side: a
pattern can take for ever, and the jail checks them anyway.
"""

from __future__ import annotations

import keyword
from typing import Annotated, Any, Literal

from llmos import limits, sdk
from llmos.door.schema import Parameter, Signature
from llmos.errors import ExpertError
from llmos.experts import wire
from llmos.visible import visible

__all__ = ["CONTEXT", "signature"]

#: How the caller's context reaches the function that stands for the jailed one: no argument of
#: Python source can have this name.
CONTEXT = "the context"
_SCALARS: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool}
_DEPTH = 8


def signature(said: Any) -> Signature:
    """The signature of a call as its worker described it.

    Raises:
        ExpertError: It is nothing that ``schema.read`` would have made.
    """
    try:
        if len(wire.line({"": said})) > limits.EXPERT_SCHEMA_BYTES:
            raise ExpertError("It takes too much to say.")
        return _signature(said)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ExpertError("What it takes cannot be read.") from error


def _signature(said: dict[str, Any]) -> Signature:
    schema = said["schema"]
    required = schema["required"]
    _only(schema, "type", "properties", "required", "additionalProperties")
    if not isinstance(required, list) or not set(required) <= set(schema["properties"]):
        raise ValueError("required")
    parameters = []
    for name, about in schema["properties"].items():
        if not name.isascii() or not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(name)
        hint, own = _hint(about, 0)
        if "description" in about:
            own["description"] = _text(about["description"])
        default = said["defaults"].get(name)
        parameters.append(Parameter(name, hint, (), own, name in required, default))
    verbatim = {}
    for name, how in said["verbatim"].items():
        if name not in schema["properties"]:
            raise ValueError(name)
        verbatim[name] = sdk.Verbatim(
            also=_texts(how["also"]), joins=_texts(how["joins"]), after=_texts(how["after"])
        )
    clean = {
        "type": "object",
        "properties": {parameter.name: parameter.schema for parameter in parameters},
        "required": [parameter.name for parameter in parameters if parameter.required],
        "additionalProperties": False,
    }
    return Signature(clean, tuple(parameters), verbatim, CONTEXT, _text(said["summary"]))


def _only(schema: dict[str, Any], *known: str) -> None:
    if set(schema) - set(known):
        raise ValueError(f"unknown {sorted(set(schema) - set(known))[0]}")


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > limits.TOOL_TEXT_CHARS:
        raise ValueError("text")
    return visible(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > limits.TOOL_EXAMPLES:
        raise ValueError("texts")
    return tuple(map(_text, value))


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("length")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError("number")
    result: float = value
    return result


def _hint(about: dict[str, Any], depth: int) -> tuple[Any, dict[str, Any]]:
    """The type that a schema stands for, with what bounds it; and the schema written anew."""
    if depth > _DEPTH:
        raise ValueError("too deep")
    kind = about["type"]
    own: dict[str, Any] = {"type": kind}
    if "enum" in about:
        _only(about, "type", "enum", "description")
        choices = about["enum"]
        wanted = {"string": str, "integer": int}[kind]
        if not isinstance(choices, list) or not choices or len(choices) > limits.TOOL_EXAMPLES:
            raise ValueError("enum")
        if any(type(choice) is not wanted for choice in choices):
            raise ValueError("enum")
        return Literal[tuple(choices)], {**own, "enum": choices}
    lengths = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}
    bounds: list[Any] = []
    if kind in lengths:
        least, most = lengths[kind]
        known = [least, most, "pattern"] if kind == "string" else [least, most, "items"]
        _only(about, "type", "description", *known)
        own |= {key: _whole(about[key]) for key in (least, most) if key in about}
        if least in about or most in about:
            bounds.append(sdk.Length(own.get(least, 0), own.get(most)))
        if "pattern" in about:
            own["pattern"] = _text(about["pattern"])
    elif kind in ("integer", "number"):
        _only(about, "type", "description", "minimum", "maximum")
        own |= {key: _number(about[key]) for key in ("minimum", "maximum") if key in about}
        if len(own) > 1:
            bounds.append(sdk.Range(own.get("minimum"), own.get("maximum")))
    elif kind == "object":
        _only(about, "type", "description", "additionalProperties")
    else:
        _only(about, "type", "description")
    hint: Any
    if kind == "array":
        hint = list
        if "items" in about:
            inside, own["items"] = _hint(about["items"], depth + 1)
            hint = list[inside]  # type: ignore[valid-type]
    elif kind == "object":
        hint, more = dict, about.get("additionalProperties")
        if more is True:
            own["additionalProperties"] = True
        elif more is not None:
            inside, own["additionalProperties"] = _hint(more, depth + 1)
            hint = dict[str, inside]  # type: ignore[valid-type]
    else:
        hint = _SCALARS[kind]
    return (Annotated[(hint, *bounds)] if bounds else hint), own
