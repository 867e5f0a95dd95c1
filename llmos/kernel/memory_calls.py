"""The system calls on memory: a page back by its id, and a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmos import limits
from llmos.errors import CallFailed
from llmos.kernel.memory import Memory
from llmos.kernel.process import Process
from llmos.kernel.syscalls import Outcome, Syscall
from llmos.labels import Label, Origin

__all__ = ["memory_calls"]


def memory_calls(memory: Memory) -> list[Syscall]:
    """The rows over ``memory``."""

    async def recall(caller: Process, arguments: Mapping[str, Any]) -> Outcome:
        pages, label = await memory.page(caller, str(arguments["id"]))
        # A long record comes back whole all the same: what is too long for the window is shown
        # with its beginning and its end, and names its parts.
        return Outcome("".join(page.text for page in pages), label=label)

    async def search(caller: Process, arguments: Mapping[str, Any]) -> Outcome:
        hits = await memory.search(str(arguments["query"]), k=limits.SEARCH_SHOWN, pid=caller.pid)
        if not hits:
            raise CallFailed("Nothing like that is stored.")
        lines = [f"[{hit.passage.id}] {_line(hit.passage.text)}" for hit in hits]
        return Outcome("\n".join(lines), label=Label(Origin.UNTRUSTED))

    text = {"type": "string", "minLength": 1, "maxLength": limits.QUERY_CHARS}
    return [
        Syscall(
            name="memory.recall",
            description="Bring back a stored page of this conversation by its id, such as p12.",
            schema={
                "type": "object",
                "properties": {"id": {**text, "maxLength": 32, "description": "The page's id."}},
                "required": ["id"],
                "additionalProperties": False,
            },
            effect="read",
            run=recall,
        ),
        Syscall(
            name="memory.search",
            description="Find stored pages of this conversation by meaning and by words.",
            schema={
                "type": "object",
                "properties": {"query": {**text, "description": "What to look for."}},
                "required": ["query"],
                "additionalProperties": False,
            },
            effect="read",
            run=search,
        ),
    ]


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limits.SEARCH_LINE else f"{line[: limits.SEARCH_LINE - 1]}…"
