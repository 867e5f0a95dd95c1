"""``tool.toml``: what a tool says of itself.

Reads and checks the file; never imports the tool. Every error is one sentence with the key.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import CallFailed

__all__ = ["EFFECTS", "CallEntry", "Manifest", "Worked", "read"]

#: What a call does to the world, from least to most.
EFFECTS = ("pure", "read", "write", "execute", "egress")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_VERSION = re.compile(r"\d+(\.\d+){0,3}([-+.]?[0-9A-Za-z.-]+)?")


@dataclass(frozen=True, slots=True)
class Worked:
    """One worked example: a question, the arguments that answer it, and the result's text.

    The result is empty where it depends on the day.
    """

    question: str
    arguments: dict[str, Any]
    result: str


@dataclass(frozen=True, slots=True)
class CallEntry:
    """One ``[[call]]``."""

    function: str
    description: str
    examples: tuple[str, ...]
    worked: tuple[Worked, ...]
    effect: str
    timeout: float
    say: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole ``tool.toml``."""

    name: str
    version: str
    summary: str
    calls: tuple[CallEntry, ...]


class _Table:
    """A TOML table that is read key by key; what is left over is a mistake."""

    def __init__(self, where: str, table: Any) -> None:
        if not isinstance(table, Mapping):
            raise CallFailed(f"{where} in tool.toml must be a table.")
        self.where = where
        self.left = dict(table)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.left.pop(key, default)
        if value is None:
            raise CallFailed(f"{self.where} in tool.toml lacks “{key}”.")
        if not isinstance(value, str) or len(value) > limits.TOOL_TEXT_CHARS:
            raise CallFailed(f"“{key}” of {self.where} in tool.toml must be a short text.")
        if default is None and not value.strip():
            raise CallFailed(f"“{key}” of {self.where} in tool.toml is empty.")
        return value.strip()

    def items(self, key: str) -> list[Any]:
        value = self.left.pop(key, [])
        if isinstance(value, Mapping):
            value = [value]
        if not isinstance(value, list) or len(value) > limits.TOOL_EXAMPLES:
            raise CallFailed(
                f"“{key}” of {self.where} in tool.toml must be a list of at most "
                f"{limits.TOOL_EXAMPLES}."
            )
        return value

    def end(self) -> None:
        if self.left:
            raise CallFailed(
                f"{self.where} in tool.toml has an unknown key “{next(iter(self.left))}”."
            )


def read(path: Path) -> Manifest:
    """Read ``path/tool.toml``.

    Raises:
        CallFailed: It is missing, unreadable or wrong; the sentence says where.
    """
    try:
        raw = (path / "tool.toml").read_bytes()
        if len(raw) > limits.TOOL_MANIFEST_BYTES:
            raise CallFailed("tool.toml is too large.")
        data = tomllib.loads(raw.decode())
    except FileNotFoundError:
        raise CallFailed(f"{path.name} has no tool.toml.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise CallFailed(f"tool.toml cannot be read: {error}.") from error
    table = _Table("The top", data)
    name = table.text("name")
    if not _NAME.fullmatch(name):
        raise CallFailed(f"The name “{name}” must be of a-z, 0-9 and _, at most 32 long.")
    if name != path.name:
        raise CallFailed(f"The tool is named “{name}”, but its folder “{path.name}”.")
    version = table.text("version")
    if not _VERSION.fullmatch(version):
        raise CallFailed(f"The version “{version}” is none.")
    summary = table.text("summary")
    calls = tuple(_call(entry) for entry in table.items("call"))
    table.end()
    if not calls:
        raise CallFailed("tool.toml has no [[call]].")
    functions = [call.function for call in calls]
    for function in functions:
        if functions.count(function) > 1:
            raise CallFailed(f"tool.toml names the call {function} twice.")
    return Manifest(name, version, summary, calls)


def _call(entry: Any) -> CallEntry:
    table = _Table("A [[call]]", entry)
    function = table.text("function")
    table.where = f"[[call]] {function}"
    if not _NAME.fullmatch(function):
        raise CallFailed(f"The function “{function}” must be of a-z, 0-9 and _.")
    effect = table.text("effect")
    if effect not in EFFECTS:
        raise CallFailed(
            f"The effect “{effect}” of {function} must be one of {', '.join(EFFECTS)}."
        )
    timeout = table.left.pop("timeout", limits.CALL_SECONDS)
    if (
        type(timeout) not in (int, float)
        or not math.isfinite(timeout)
        or not (0 < timeout <= limits.TOOL_SECONDS_MAX)
    ):
        raise CallFailed(
            f"The timeout of {function} must be above 0 and at most {limits.TOOL_SECONDS_MAX:g} s."
        )
    examples = table.items("examples")
    if not all(isinstance(example, str) and example.strip() for example in examples):
        raise CallFailed(f"The examples of {function} must be questions.")
    say = table.left.pop("say", [])
    say = [say] if isinstance(say, str) else say
    if not isinstance(say, list) or not all(isinstance(s, str) and s.strip() for s in say):
        raise CallFailed(f"“say” of {function} must be sentences.")
    if any(re.search(r"[{}]", re.sub(r"{\w+}", "", s)) for s in say):
        raise CallFailed(f"“say” of {function} may hold only names in braces.")
    worked = tuple(_worked(function, item) for item in table.items("worked"))
    description = table.text("description", "")
    table.end()
    return CallEntry(
        function, description, tuple(examples), worked, effect, float(timeout), tuple(say)
    )


def _worked(function: str, item: Any) -> Worked:
    table = _Table(f"The worked example of {function}", item)
    question, result = table.text("question"), table.text("result", "")
    arguments = table.left.pop("arguments", {})
    if not isinstance(arguments, dict):
        raise CallFailed(f"The arguments of the worked example of {function} must be a table.")
    table.end()
    return Worked(question, arguments, result)
