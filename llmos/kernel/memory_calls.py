"""The system calls on memory: a page back by its id, a search, and what a person owns.

What changes a person's memory is done on their word only: the text to remember, or the name of what
is to be changed, must stand in what they said in this very turn. An instruction on a page that
somebody else wrote changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmos import limits
from llmos.errors import CallDenied, CallFailed
from llmos.kernel.memory import Memory
from llmos.kernel.process import Process
from llmos.kernel.syscalls import Outcome, Syscall
from llmos.labels import Label, Origin

__all__ = ["memory_calls"]

_PLEASE = r"(?:please,? |can you |could you |i want you to )?"
_KEEP = (
    r"(?:remember|memori[sz]e|note(?: down)?|write down|make a note|keep in mind|don[’']?t forget)"
)
_REMEMBER = (
    _PLEASE + _KEEP + r"(?:,? please)?(?: that|[:,])\s+(?P<text>.+)",
    _PLEASE + _KEEP + r"\s+"
    r"(?P<text>(?:my|i|i[’']m|we|our|the)\b.+)",
)
_UPDATE = (_PLEASE + r"(?:change|update|correct) (?P<id>m\d+) to:?\s+(?P<text>.+)",)
_FORGET = (_PLEASE + r"(?:forget|delete) (?P<id>m\d+)",)


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
        sources = await memory.record_ids(hit.passage.id for hit in hits)
        return Outcome("\n".join(lines), label=Label(Origin.UNTRUSTED, sources))

    async def remember(caller: Process, arguments: Mapping[str, Any]) -> Outcome:
        text = _said(caller, str(arguments["text"]))
        label = Label(Origin.USER, _turn_records(caller))
        fact = await memory.remember(
            text[0].upper() + text[1:], label=label, pid=caller.pid, turn=caller.turn_number
        )
        return Outcome(f"Remembered as {fact.id}.", ("I will remember that",))

    async def update(caller: Process, arguments: Mapping[str, Any]) -> Outcome:
        id, text = _named(caller, str(arguments["id"])), _said(caller, str(arguments["text"]))
        label = Label(Origin.USER, _turn_records(caller))
        fact = await memory.update(id, text, label=label, pid=caller.pid, turn=caller.turn_number)
        return Outcome(f"{fact.id} is changed.", (f"I have changed {fact.id}",))

    async def forget(caller: Process, arguments: Mapping[str, Any]) -> Outcome:
        id = _named(caller, str(arguments["id"]))
        memory.facts.get(id)
        await memory.forgetting.later(id)
        return Outcome(f"{id} is forgotten as soon as this turn is over.", (f"I will forget {id}",))

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
        Syscall(
            name="memory.remember",
            description="Keep something the person asked you to remember, in their own words.",
            schema=_schema(text={"maxLength": limits.FACT_CHARS, "description": "Their words."}),
            effect="memory",
            run=remember,
            asked=_REMEMBER,
        ),
        Syscall(
            name="memory.update",
            description="Give something remembered another text, in the person's own words.",
            schema=_schema(
                id={"maxLength": 32, "description": "Its id, such as m12."},
                text={"maxLength": limits.FACT_CHARS, "description": "Their words."},
            ),
            effect="memory",
            run=update,
            asked=_UPDATE,
        ),
        Syscall(
            name="memory.forget",
            description="Forget something remembered for good, which the person named by its id.",
            schema=_schema(id={"maxLength": 32, "description": "Its id, such as m12."}),
            effect="memory",
            run=forget,
            asked=_FORGET,
        ),
    ]


def _schema(**properties: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "properties": {name: {**text, **about} for name, about in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


def _turn_records(caller: Process) -> tuple[str, ...]:
    """Ids of the records in which the person said what is remembered."""
    assert caller.window is not None
    return caller.window.said_in((caller.pid, caller.turn_number))


def _named(caller: Process, id: str) -> str:
    """An id that the person wrote, whole, in the turn under way.

    Raises:
        CallDenied: They did not.
    """
    assert caller.window is not None
    words = caller.window.words((caller.pid, caller.turn_number))
    if not re.search(rf"(?<!\w){re.escape(id.strip())}(?!\w)", words, re.IGNORECASE):
        raise CallDenied("Only what the person named themselves, in this turn, can be changed.")
    return id


def _said(caller: Process, text: str) -> str:
    """``text``, if the person said it in the turn under way.

    Raises:
        CallDenied: They did not.
    """
    assert caller.window is not None
    wanted = " ".join(text.split()).casefold()
    words = caller.window.words((caller.pid, caller.turn_number))
    if wanted not in " ".join(words.split()).casefold():
        raise CallDenied("Only what the person said themselves, in this turn, can change memory.")
    return text


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limits.SEARCH_LINE else f"{line[: limits.SEARCH_LINE - 1]}…"
