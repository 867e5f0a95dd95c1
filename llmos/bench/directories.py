"""What a model has to read of many calls before it is asked anything: tokens, exactly counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmos.bench.harness import Bench
from llmos.boot import processor
from llmos.config import Config, EngineConfig
from llmos.kernel.directory import Directory, opening
from llmos.kernel.syscalls import Invocation, Outcome, Syscall, SyscallTable

__all__ = ["measure"]

TOOLS = 200
_VERBS = ("list", "read", "search", "create", "update", "send", "cancel", "convert")
_NOUNS = (
    *("mail", "invoice", "photo", "train", "recipe", "contact", "ticket", "playlist", "sensor"),
    *("budget", "contract", "flight", "garden", "lecture", "meeting", "parcel", "podcast"),
    *("rental", "report", "route", "shift", "song", "survey", "visa", "wallet"),
)


async def _nothing(_made: Invocation, _arguments: Mapping[str, Any]) -> Outcome:
    return Outcome("")


def rows() -> list[Syscall]:
    """200 tools of one call each, described and specified as tools usually are."""
    table: list[SyscallTable] = []
    made = []
    for number in range(TOOLS):
        noun, verb = _NOUNS[number % len(_NOUNS)], _VERBS[number // len(_NOUNS)]
        text = {"type": "string", "description": f"Which {noun} it concerns, by name or number."}
        count = {"type": "integer", "minimum": 1, "description": "The most results to return."}
        made.append(
            Syscall(
                name=f"{noun}s{number // len(_NOUNS)}.{verb}",
                description=f"{verb.capitalize()} one {noun} or several, and say what was done.",
                schema={
                    "type": "object",
                    "properties": {noun: text, "limit": count},
                    "required": [noun],
                    "additionalProperties": False,
                },
                effect="read",
                run=_nothing,
            )
        )
    made.append(opening(lambda: table[0]))
    table.append(SyscallTable(made))
    return made


async def measure(bench: Bench) -> None:
    """Count what stands in the front of a window for 200 tools, with the model's tokenizer.

    Raises:
        ModelError: The model cannot be read.
    """
    engine = EngineConfig(model=bench.model or "starter", swap_disk_bytes=0)
    backend, _ = processor(Config(engine=engine, state=bench.home / "directory"))
    await backend.start()
    try:
        calls = rows()
        schemas = Directory(calls, backend.count).schemas()
        whole = [row.function_schema for row in calls[:-1]]
        bench.found("directory_tokens_200_tools", backend.count(json.dumps(schemas)))
        bench.samples["directory"] = {
            "tools": TOOLS,
            "tokens_of_all_schemas": backend.count(json.dumps(whole)),
        }
    finally:
        await backend.close()
