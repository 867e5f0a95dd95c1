"""What the calls of a suite say of themselves, read from our declarations of them.

In the terms of any ``tool.toml``. Knows no suite: a file under ``data`` is a list of calls.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from llmos.door.toolfile import EFFECTS, ORIGINS, SOURCES
from llmos.errors import CallFailed
from llmos.kernel.monitor import Declared, From

__all__ = ["UNKNOWN", "Entry", "declarations"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a call says of itself, as in a manifest."""

    declared: Declared
    origin: str = "untrusted"
    private: bool = False
    trusted: tuple[str, ...] = ()


#: Of a call without a declaration: the strictest reading.
UNKNOWN = Entry(Declared(), private=True)


def declarations(name: str) -> dict[str, Entry]:
    """The declarations of ``data/NAME.toml``, by the calls' names.

    Raises:
        CallFailed: Something in it is no declaration.
    """
    read = tomllib.loads(files("llmos.bench").joinpath(f"data/{name}.toml").read_text("utf-8"))
    return dict(map(_entry, read["call"]))


def _entry(said: dict[str, Any]) -> tuple[str, Entry]:
    name, effect = said.pop("function"), said.pop("effect")
    origin = said.pop("result", "untrusted")
    private, trusted = said.pop("private", False), tuple(said.pop("trusted", ()))
    arguments = said.pop("arguments", {})
    if said or effect not in EFFECTS or origin not in ORIGINS or private not in (True, False):
        raise CallFailed(f"{name} is declared in words that a manifest does not have.")
    if any(isinstance(each, str) and each not in SOURCES for each in arguments.values()):
        raise CallFailed(f"An argument of {name} comes from nowhere that there is.")
    sources = {key: From(each) for key, each in arguments.items() if isinstance(each, str)}
    among = {key: tuple(each) for key, each in arguments.items() if isinstance(each, list)}
    return name, Entry(Declared(effect, sources, among), origin, private, trusted)
