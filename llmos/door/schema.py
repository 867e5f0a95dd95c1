"""From the type hints and docstring of a function to a JSON schema, and back for its arguments.

Covers what a tool's function may take: ``str int float bool list dict Literal Optional`` enums,
and ``Annotated`` with the constraints of ``llmos.sdk``. It knows nothing of manifests or models.
The schema stays small on purpose: a small model reads every word of it.
"""

from __future__ import annotations

import enum
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

from llmos import sdk
from llmos.errors import InvalidArguments

__all__ = ["Parameter", "Signature", "read"]

_SCALARS: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
}
_A = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_A |= {"array": "a list", "object": "an object"}
_SHOWN = 60  # characters of a wrong value that a sentence repeats


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: its name, hint (without ``Annotated``), constraints, schema and default."""

    name: str
    hint: Any
    constraints: tuple[Any, ...]
    schema: dict[str, Any]
    required: bool
    default: Any = None


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes.

    Args:
        schema: JSON schema of its arguments, an object without additional properties.
        parameters: The arguments, in order.
        verbatim: Those copied from the person's words, and how.
        context: Name of the parameter that takes the ``Context``, or empty.
        summary: The docstring's first paragraph, on one line.
    """

    schema: dict[str, Any]
    parameters: tuple[Parameter, ...]
    verbatim: dict[str, sdk.Verbatim]
    context: str
    summary: str

    @property
    def defaults(self) -> dict[str, Any]:
        """By name, what an argument is where it is not given."""
        return {each.name: _plain(each.default) for each in self.parameters if not each.required}

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Check arguments against the schema and turn enum values into their members.

        Raises:
            InvalidArguments: The sentence names the argument.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in arguments:
            if name not in known:
                takes = ", ".join(known) or "no arguments"
                raise InvalidArguments(
                    f"There is no argument {_show(name)}.", remedy=f"The call takes {takes}."
                )
        checked = {}
        for name, parameter in known.items():
            if name in arguments:
                checked[name] = _check(name, parameter.hint, parameter.constraints, arguments[name])
            elif parameter.required:
                raise InvalidArguments(f"The argument {name} is missing.")
        return checked


def read(function: Callable[..., Any]) -> Signature:
    """Read a function's type hints and docstring.

    Raises:
        TypeError: A hint is missing or not supported; the message is a sentence.
    """
    name = function.__name__
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:
        raise TypeError(f"The type hints of {name} cannot be read: {error}.") from error
    summary, about = _docstring(function)
    parameters: list[Parameter] = []
    verbatim: dict[str, sdk.Verbatim] = {}
    context = ""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{name} takes *{parameter.name}; every argument needs a name.")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{name} takes {parameter.name} by position only.")
        if parameter.name not in hints:
            raise TypeError(f"The argument {parameter.name} of {name} has no type hint.")
        hint, constraints = _unwrap(hints[parameter.name])
        if hint is sdk.Context:
            context = parameter.name
            continue
        for constraint in constraints:
            if isinstance(constraint, sdk.Verbatim):
                verbatim[parameter.name] = constraint
        try:
            schema = _schema(hint, constraints)
        except TypeError as error:
            raise TypeError(f"The argument {parameter.name} of {name}: {error}") from error
        if parameter.name in about:
            schema = {**schema, "description": about[parameter.name]}
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        parameters.append(Parameter(parameter.name, hint, constraints, schema, required, default))
    stray = set(about) - {parameter.name for parameter in parameters} - {context}
    if stray:
        raise TypeError(f"The docstring of {name} describes {sorted(stray)[0]}, which it lacks.")
    schema = {
        "type": "object",
        "properties": {parameter.name: parameter.schema for parameter in parameters},
        "required": [parameter.name for parameter in parameters if parameter.required],
        "additionalProperties": False,
    }
    return Signature(schema, tuple(parameters), verbatim, context, summary)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value


# --- hints ----------------------------------------------------------------------------------


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Split ``Annotated[hint, …]``."""
    if typing.get_origin(hint) is Annotated:
        inner, *constraints = typing.get_args(hint)
        return inner, tuple(constraints)
    return hint, ()


def _optional(hint: Any) -> Any:
    """The other side of ``X | None``, or None where the hint is no union."""
    if typing.get_origin(hint) not in (Union, types.UnionType):
        return None
    others = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    if len(others) != 1 or len(typing.get_args(hint)) != 2:
        raise TypeError("only unions with None are supported.")
    return others[0]


def _schema(hint: Any, constraints: tuple[Any, ...] = ()) -> dict[str, Any]:
    inner, more = _unwrap(hint)
    if more:
        return _schema(inner, constraints + more)
    if (other := _optional(hint)) is not None:
        return _schema(other, constraints)
    choices = _choices(hint)
    schema: dict[str, Any]
    if choices:
        kinds = {_SCALARS.get(type(choice), "") for choice in choices}
        if len(kinds) != 1 or not kinds <= {"string", "integer"}:
            raise TypeError("choices must be all text or all whole numbers.")
        schema = {"type": kinds.pop(), "enum": list(choices)}
    else:
        origin = typing.get_origin(hint) or hint
        if origin not in _SCALARS:
            named = getattr(hint, "__name__", str(hint))
            raise TypeError(f"the type {named} is not supported.")
        schema = {"type": _SCALARS[origin]}
        inside = typing.get_args(hint)
        if origin is list and inside:
            schema["items"] = _schema(inside[0])
        if origin is dict and inside:
            if inside[0] is not str:
                raise TypeError("the keys of an object must be text.")
            schema["additionalProperties"] = True if inside[1] is Any else _schema(inside[1])
    for constraint in constraints:
        schema |= _constraint(constraint, schema["type"])
    return schema


def _choices(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return tuple(member.value for member in hint)
    return ()


def _constraint(constraint: Any, kind: str) -> dict[str, Any]:
    match constraint:
        case sdk.Range(minimum, maximum):
            if kind not in ("integer", "number"):
                raise TypeError("a Range bounds numbers only.")
            bounds = {"minimum": minimum, "maximum": maximum}
            return {key: value for key, value in bounds.items() if value is not None}
        case sdk.Length(least, most):
            if kind not in ("string", "array"):
                raise TypeError("a Length bounds text and lists only.")
            least_key, most_key = (
                ("minLength", "maxLength") if kind == "string" else ("minItems", "maxItems")
            )
            wanted = {least_key: least or None, most_key: most}
            return {key: value for key, value in wanted.items() if value is not None}
        case sdk.Pattern(regex):
            if kind != "string":
                raise TypeError("a Pattern bounds text only.")
            try:
                re.compile(regex)
            except re.error as error:
                raise TypeError(f"the pattern {regex!r} cannot be read: {error}.") from error
            return {"pattern": f"^(?:{regex})$"}
    return {}  # other people's annotations mean nothing here


# --- arguments ------------------------------------------------------------------------------


def _show(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f"“{value}”"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _check(name: str, hint: Any, constraints: tuple[Any, ...], value: Any) -> Any:
    """The value as the function wants it."""
    inner, more = _unwrap(hint)
    if more:
        return _check(name, inner, constraints + more, value)
    if (other := _optional(hint)) is not None:
        return None if value is None else _check(name, other, constraints, value)
    choices = _choices(hint)
    if choices:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            allowed = ", ".join(str(choice) for choice in choices)
            raise InvalidArguments(f"{name} is {_show(value)}; it must be one of {allowed}.")
        return value if typing.get_origin(hint) is Literal else hint(value)
    origin = typing.get_origin(hint) or hint
    value = _of_kind(name, origin, value)
    inside = typing.get_args(hint)
    if origin is list and inside:
        value = [_check(f"{name}[{i}]", inside[0], (), item) for i, item in enumerate(value)]
    if origin is dict:
        if not all(isinstance(key, str) for key in value):
            raise InvalidArguments(f"{name} has a key that is not text.")
        if inside and inside[1] is not Any:
            value = {k: _check(f"{name}.{k}", inside[1], (), item) for k, item in value.items()}
    for constraint in constraints:
        _hold(name, constraint, value)
    return value


def _of_kind(name: str, kind: type, value: Any) -> Any:
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise InvalidArguments(f"{name} is too large.") from None
    if kind is int and type(value) is float and value.is_integer():
        return int(value)  # JSON does not tell 5.0 from 5
    if type(value) is not kind:
        raise InvalidArguments(f"{name} is {_show(value)}; it must be {_A[_SCALARS[kind]]}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidArguments(f"{name} must be a finite number.")
    return value


def _hold(name: str, constraint: Any, value: Any) -> None:
    match constraint:
        case sdk.Range(minimum, maximum):
            if minimum is not None and value < minimum:
                raise InvalidArguments(f"{name} is {_show(value)}; it must be {minimum} or more.")
            if maximum is not None and value > maximum:
                raise InvalidArguments(f"{name} is {_show(value)}; it must be {maximum} or less.")
        case sdk.Length(least, most):
            what = "characters" if isinstance(value, str) else "items"
            if not value and least == 1:
                raise InvalidArguments(f"{name} is empty.")
            if len(value) < least:
                raise InvalidArguments(f"{name} must have at least {least} {what}.")
            if most is not None and len(value) > most:
                raise InvalidArguments(f"{name} must have at most {most} {what}.")
        case sdk.Pattern(regex):
            if not re.fullmatch(regex, value):
                raise InvalidArguments(f"{name} is {_show(value)}; it must match {regex}.")


# --- docstrings -----------------------------------------------------------------------------

_SECTION = re.compile(r"^(Args|Arguments|Returns|Raises|Yields|Examples?|Notes?|Attributes):\s*$")
_ARGUMENT = re.compile(r"^(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The first paragraph, and what ``Args`` says of each argument (Google style)."""
    lines = (inspect.getdoc(function) or "").splitlines()
    summary: list[str] = []
    for line in lines:
        if not line.strip() or _SECTION.match(line):
            break
        summary.append(line.strip())
    about: dict[str, str] = {}
    section, current, indent = "", "", 0
    for line in lines:
        heading = _SECTION.match(line)
        if heading:
            section, current, indent = heading[1], "", 0
        elif section in ("Args", "Arguments") and line.strip():
            depth = len(line) - len(line.lstrip())
            if not depth:
                section = ""
                continue
            indent = indent or depth
            argument = _ARGUMENT.match(line.strip()) if depth == indent else None
            if argument:
                current = argument[1]
                about[current] = argument[2]
            elif current:
                about[current] = f"{about[current]} {line.strip()}".strip()
    return " ".join(summary), about
