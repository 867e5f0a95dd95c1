"""Many calls in little room: a short directory stays in view, a full schema comes when needed.

Where all schemas together are small they simply stand there. Beyond that the model is shown one
call, which lists the others by name with a few words each, and which it makes to read how one of
them is used; from then on it can be called. What stands in the front never changes by that, so
its cells stay; what was opened stands in the conversation like any result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from llmos import limits
from llmos.errors import CallFailed
from llmos.kernel.syscalls import Invocation, Outcome, Syscall, SyscallTable
from llmos.labels import Label, Origin

__all__ = ["OPEN", "Directory", "opened", "opening"]

#: The call by which a model reads how another one is used.
OPEN = "calls.open"

_WORDS = (24, 12, 8, 5, 3, 0)  # of a description; the most that leave the directory small enough


class Directory:
    """What a model is offered of a table of calls.

    Args:
        rows: All calls.
        count: Counts the tokens of a text.
    """

    def __init__(self, rows: Iterable[Syscall], count: Callable[[str], int]) -> None:
        known = {row.name: row for row in rows}
        self._opener = known.pop(OPEN, None)
        self._rows = known
        schemas = json.dumps([row.function_schema for row in known.values()])
        self.whole = self._opener is None or count(schemas) <= limits.SCHEMAS_TOKENS
        self.text = "" if self.whole else self._listed(count)

    def _listed(self, count: Callable[[str], int]) -> str:
        """The directory, with as many words of each description as leave it small."""
        text = ""
        for words in _WORDS:
            text = "\n".join(self._lines(words))
            if count(text) <= limits.DIRECTORY_TOKENS:
                break
        return text

    def _lines(self, words: int) -> Iterable[str]:
        """A line for each tool, its calls behind it: a name that many share is told once."""
        tools: dict[str, list[Syscall]] = {}
        for row in self._rows.values():
            tools.setdefault(row.name.partition(".")[0], []).append(row)
        for tool, rows in sorted(tools.items()):
            told = [_short(row, words) for row in rows]
            yield f"{tool}: {'; '.join(told)}"

    def schemas(self) -> list[dict[str, Any]]:
        """What stands in the front: all schemas, or the one that opens the others."""
        if self.whole or self._opener is None:
            return [row.function_schema for row in self._rows.values()]
        schema = self._opener.function_schema
        about = schema["function"]
        listed = f"{about['description']} There are:\n{self.text}"
        return [{**schema, "function": {**about, "description": listed}}]

    def callable(self, opened: Iterable[str]) -> list[Syscall]:
        """What can be called: all, or the opener and what was opened."""
        if self.whole or self._opener is None:
            return list(self._rows.values())
        return [self._opener, *(self._rows[n] for n in dict.fromkeys(opened) if n in self._rows)]


def opening(table: Callable[[], SyscallTable]) -> Syscall:
    """The row that opens others.

    Args:
        table: Returns the table, once it is built.
    """

    async def run(_made: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        names = [str(name) for name in arguments["names"]]
        known = {row.name: row for row in table()}
        unknown = [name for name in names if name not in known]
        if unknown:
            like = [n for n in known if n.partition(".")[0] == unknown[0].partition(".")[0]]
            hint = f" There are: {', '.join(like)}." if like else ""
            raise CallFailed(f"There is no call {unknown[0]!r}.{hint}")
        shown = "\n\n".join(map(_manual, (known[name] for name in names)))
        return Outcome(shown, label=Label(Origin.PLUGIN))

    return Syscall(
        name=OPEN,
        description="Read how calls are used before you make them for the first time.",
        schema={
            "type": "object",
            "properties": {
                "names": {
                    "type": "array",
                    "items": {"type": "string", "maxLength": limits.CALL_NAME_CHARS},
                    "minItems": 1,
                    "maxItems": limits.OPENED_AT_ONCE,
                    "description": "Their names, such as files.read.",
                }
            },
            "required": ["names"],
            "additionalProperties": False,
        },
        effect="pure",
        run=run,
    )


def opened(calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Names of the calls that were opened, of all that were made."""
    return [str(name) for call, about in calls if call == OPEN for name in about.get("names", ())]


def _short(row: Syscall, words: int) -> str:
    """A call in its tool's line."""
    name = row.name.partition(".")[2] or row.name
    said = row.description.split()
    if not words or not said:
        return name
    told = " ".join(said[:words]).rstrip(".,;:")
    return f"{name} ({told}{'…' if len(said) > words else ''})"


def _manual(row: Syscall) -> str:
    """All there is to know of how a call is used."""
    write = partial(json.dumps, ensure_ascii=False)
    lines = [write(row.function_schema["function"])]
    for example in row.worked[:1]:
        lines.append(f"Example: {example.question}")
        lines.append(write({"name": row.name, "arguments": dict(example.arguments)}))
    return "\n".join(lines)
