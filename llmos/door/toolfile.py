"""``tool.toml``: what a tool says of itself.

Reads and checks the file; never imports the tool. Every error is one sentence with the key.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import CallFailed
from llmos.services import SERVICES

__all__ = ["EFFECTS", "ORIGINS", "SOURCES", "CallEntry", "Manifest", "Worked", "read"]

#: What a call does to the world, from least to most.
EFFECTS = ("pure", "read", "write", "execute", "egress")
#: Where the value of an argument may come from: from anywhere; from the person, the system or a
#: trusted result; from the person's own words only.
SOURCES = ("any", "trusted", "named")
#: Who a result is by: the machine itself, the tool, or strangers.
ORIGINS = ("system", "plugin", "untrusted")
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
    """One ``[[call]]``.

    Args:
        sources: By argument one of ``SOURCES``, or the only values it may have; what is not named
            here gets the strictest reading.
        origin: Who the result is by, one of ``ORIGINS``.
        private: Whether the result is the person's own, and not to be told to anybody else.
        trusted: Fields of the result's data that are as trustworthy as the system's, whoever wrote
            the rest.
        leads_to: Calls that go on with what this one found: who asks for this one asks for them.
        preview: The function that shows what the call would change, or empty.
        wished: How a message begins that wants this call, whether or not it can be made.
        undone: What is said where such a message led to no change; empty where ``wished`` is.
        asked: Whole messages that ask for this call, with arguments in braces.
        literal: By argument the phrases after which the rest of a message is its value, as it is.
    """

    function: str
    description: str
    examples: tuple[str, ...]
    worked: tuple[Worked, ...]
    effect: str
    timeout: float
    say: tuple[str, ...]
    sources: Mapping[str, str | tuple[Any, ...]]
    origin: str
    private: bool
    trusted: tuple[str, ...]
    leads_to: tuple[str, ...]
    preview: str
    wished: tuple[str, ...] = ()
    undone: str = ""
    asked: tuple[str, ...] = ()
    literal: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole ``tool.toml``."""

    name: str
    version: str
    summary: str
    calls: tuple[CallEntry, ...]
    uses: tuple[str, ...] = ()


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

    def names(self, key: str, known: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of names; each one of ``known`` where that is given."""
        items = self.items(key)
        for item in items:
            if not isinstance(item, str) or not item.strip() or (known and item not in known):
                what = f"one of {', '.join(known)}" if known else "a name"
                raise CallFailed(f"“{key}” of {self.where} has {item!r}, which is not {what}.")
        return tuple(items)

    def flag(self, key: str) -> bool:
        value = self.left.pop(key, False)
        if not isinstance(value, bool):
            raise CallFailed(f"“{key}” of {self.where} in tool.toml must be true or false.")
        return value

    def one_of(self, key: str, known: Sequence[str], default: str) -> str:
        value = self.text(key, default)
        if value not in known:
            raise CallFailed(f"“{key}” of {self.where} must be one of {', '.join(known)}.")
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
    except (OSError, ValueError, RecursionError) as error:  # ValueError: a number too long, too
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
    uses = table.names("uses", SERVICES)
    calls = tuple(_call(entry) for entry in table.items("call"))
    table.end()
    if not calls:
        raise CallFailed("tool.toml has no [[call]].")
    functions = [call.function for call in calls]
    for function in functions:
        if functions.count(function) > 1:
            raise CallFailed(f"tool.toml names the call {function} twice.")
    return Manifest(name, version, summary, calls, uses)


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
    sources = _sources(function, table.left.pop("arguments", {}))
    origin = table.one_of("result", ORIGINS, "plugin" if effect == "pure" else "untrusted")
    private, trusted = table.flag("private"), table.names("trusted")
    leads_to = table.names("leads_to")
    preview = table.text("preview", "")
    wished, undone = table.names("wished"), table.text("undone", "")
    if bool(wished) is not bool(undone):
        raise CallFailed(f"“wished” and “undone” of {function} go together.")
    asked = table.names("asked")
    if any(re.search(r"[{}]", re.sub(r"{\w+}", "", s)) or s.startswith("{") for s in asked):
        raise CallFailed(f"“asked” of {function} must be messages, with arguments in braces.")
    literal = _literal(function, table.left.pop("literal", {}))
    table.end()
    return CallEntry(
        function=function,
        description=description,
        examples=tuple(examples),
        worked=worked,
        effect=effect,
        timeout=float(timeout),
        say=tuple(say),
        sources=sources,
        origin=origin,
        private=private,
        trusted=trusted,
        leads_to=leads_to,
        preview=preview,
        wished=wished,
        undone=undone,
        asked=asked,
        literal=literal,
    )


def _literal(function: str, said: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(said, Mapping):
        raise CallFailed(f"“literal” of {function} in tool.toml must be a table.")
    for name, phrases in said.items():
        if not isinstance(phrases, list) or not all(isinstance(p, str) and p for p in phrases):
            raise CallFailed(f"“literal” of {function}: {name} must be a list of phrases.")
    return {name: tuple(phrases) for name, phrases in said.items()}


def _sources(function: str, said: Any) -> dict[str, str | tuple[Any, ...]]:
    if not isinstance(said, Mapping):
        raise CallFailed(f"“arguments” of {function} in tool.toml must be a table.")
    sources: dict[str, str | tuple[Any, ...]] = {}
    for name, source in said.items():
        if isinstance(source, list) and source:
            sources[name] = tuple(source)
        elif source in SOURCES:
            sources[name] = source
        else:
            raise CallFailed(
                f"The argument {name} of {function} must come from one of {', '.join(SOURCES)}, "
                "or be one of a list of values."
            )
    return sources


def _worked(function: str, item: Any) -> Worked:
    table = _Table(f"The worked example of {function}", item)
    question, result = table.text("question"), table.text("result", "")
    arguments = table.left.pop("arguments", {})
    if not isinstance(arguments, dict):
        raise CallFailed(f"The arguments of the worked example of {function} must be a table.")
    table.end()
    return Worked(question, arguments, result)
