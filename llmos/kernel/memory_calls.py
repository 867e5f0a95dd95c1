"""The system calls on memory: a page back by its id, a search, and what a person owns.

What changes a person's memory is done on their word only: the text to remember, or the name of what
is to be changed, must stand in what they said in this very turn, and that must ask for it. Once a
conversation holds what somebody else wrote, it must ask for just that, and nothing else: then no
instruction that a model obeys changes anything. What is forgotten without its id is chosen from
these words by ``likeness.py``, never by the model; which words ask for what is told by
``wishes.py``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from llmos import limits
from llmos.errors import CallDenied, CallFailed, LlmosError
from llmos.kernel.likeness import beside, like, meant, quoted, standing
from llmos.kernel.memory import Memory
from llmos.kernel.process import Process
from llmos.kernel.syscalls import Invocation, Outcome, Syscall
from llmos.kernel.wishes import (
    FORGET,
    REMEMBER,
    SEEMS_FORGET,
    SEEMS_REMEMBER,
    SEEMS_UPDATE,
    UPDATE,
)
from llmos.labels import Label, Origin
from llmos.memory.facts import Fact
from llmos.memory.sayings import say_the_same

__all__ = ["memory_calls"]

log = logging.getLogger(__name__)


def memory_calls(memory: Memory) -> list[Syscall]:
    """The rows over ``memory``."""

    async def recall(by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        caller = by.process
        pages, label = await memory.page(caller, str(arguments["id"]))
        # A long record comes back whole all the same: what is too long for the window is shown
        # with its beginning and its end, and names its parts.
        return Outcome("".join(page.text for page in pages), label=label)

    async def search(by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        caller = by.process
        hits = await memory.search(str(arguments["query"]), k=limits.SEARCH_SHOWN, pid=caller.pid)
        if not hits:
            raise CallFailed("Nothing like that is stored.")
        lines = [f"[{hit.passage.id}] {_line(hit.passage.text)}" for hit in hits]
        sources = await memory.record_ids(hit.passage.id for hit in hits)
        return Outcome("\n".join(lines), label=Label(Origin.UNTRUSTED, sources))

    async def remember(by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        caller = by.process
        await _require_wish(memory, caller, remembering, arguments)
        text = _said(caller, str(arguments["text"]))
        label = Label(Origin.USER, _turn_records(caller))
        fact = await memory.remember(
            text[:1].upper() + text[1:], label=label, pid=caller.pid, turn=caller.turn_number
        )
        older = await beside(memory, fact)
        if older is None:
            return Outcome(f"Remembered as {fact.id}.", ("I will remember that",))
        near = f"It is near {quoted(older)}; to replace that, say: Update {older.id}: {fact.text}"
        if len(fact.text) > limits.FACT_SAID:
            near = f"It is near {quoted(older)}; to replace that, say: Update {older.id}: …"
        return Outcome(
            f"Remembered as {fact.id}. {near}", (f"Remembered as {fact.id}. {near.rstrip('.')}",)
        )

    async def update(by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        caller = by.process
        await _require_wish(memory, caller, updating, arguments)
        id, text = _named(caller, str(arguments["id"])), _said(caller, str(arguments["text"]))
        label = Label(Origin.USER, _turn_records(caller))
        fact = await memory.update(id, text, label=label, pid=caller.pid, turn=caller.turn_number)
        await _merge_twins(memory, fact)
        return Outcome(f"{fact.id} is changed.", (f"I have changed {fact.id}",))

    async def forget(by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        caller = by.process
        about = str(arguments.get("about") or "")
        await _require_wish(memory, caller, forgetting, arguments, literally=bool(about))
        if about:
            fact = await _chosen(memory, about)
        else:
            fact = memory.facts.get(_named(caller, str(arguments.get("id") or "")))
        await memory.forgetting.later(fact.id)
        return Outcome(
            f"{quoted(fact)} is forgotten as soon as this turn is over.",
            (f"I will forget {quoted(fact)}",),
        )

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
        remembering := Syscall(
            name="memory.remember",
            description="Keep something the person asked you to remember, in their own words.",
            schema=_schema(text={"maxLength": limits.FACT_CHARS, "description": "Their words."}),
            effect="memory",
            run=remember,
            asked=REMEMBER,
            wished=SEEMS_REMEMBER,
            undone="Nothing was kept. Say it in a message of its own: Remember that …",
        ),
        updating := Syscall(
            name="memory.update",
            description="Give something remembered another text, in the person's own words.",
            schema=_schema(
                id={"maxLength": 32, "description": "Its id, such as m12."},
                text={"maxLength": limits.FACT_CHARS, "description": "Their words."},
            ),
            effect="memory",
            run=update,
            asked=UPDATE,
            wished=SEEMS_UPDATE,
            undone="Nothing was changed. Say: Update m12: … with its id and what it is to say.",
        ),
        forgetting := Syscall(
            name="memory.forget",
            description="Forget a memory for good: by its id, or in the words they asked with.",
            schema={
                "type": "object",
                "properties": {
                    "id": {"type": "string", "maxLength": 32, "description": "Such as m12."},
                    "about": {
                        "type": "string",
                        "maxLength": limits.FACT_CHARS,
                        "description": "Without an id: what they asked to have forgotten, whole.",
                    },
                },
                "additionalProperties": False,
            },
            effect="memory",
            run=forget,
            asked=FORGET,
            wished=SEEMS_FORGET,
            undone=(
                "Nothing was forgotten. Say: Forget m12, with its id. "
                "`llmos memory ls` lists what is remembered; `llmos memory forget p12` forgets a "
                "page."
            ),
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


def _words(caller: Process) -> str:
    """What the person said in the turn under way.

    Raises:
        CallDenied: Nobody did: what an assistant is told that another started is a model's text.
    """
    assert caller.window is not None
    if caller.employer is not None:
        raise CallDenied("Only what a person says can change memory, not another assistant's task.")
    return caller.window.words((caller.pid, caller.turn_number))


async def _require_wish(
    memory: Memory,
    caller: Process,
    row: Syscall,
    arguments: Mapping[str, Any],
    *,
    literally: bool = False,
) -> None:
    """See that the person's message asks for this call.

    Where anything in the conversation is by somebody nobody vouches for, a model may do what it
    read there; so may it in a fork of one that worked for another, whose task says who knows what.
    The message must then ask for just this, in so many words and for nothing else; so it must
    where ``literally`` says so.

    Raises:
        CallDenied: It does not.
    """
    words = _words(caller)
    asked = row.literally(words)
    if asked is not None and all(
        _bare(value) == _bare(str(arguments.get(name) or "")) for name, value in asked.items()
    ):
        return
    assert caller.window is not None
    if caller.window.foreign or await memory.serves(caller.pid):
        raise CallDenied(
            "Not everything in this conversation is vouched for, so memory changes only where a "
            f"message asks for that alone. {row.undone}"
        )
    if literally or not row.left_undone(words):
        raise CallDenied("Only where the person asks for it, in this turn, is memory changed.")


def _bare(text: str) -> str:
    return " ".join(text.split()).casefold().rstrip(".!? ")


def _named(caller: Process, id: str) -> str:
    """An id that the person wrote, whole, in the turn under way.

    Raises:
        CallDenied: They did not.
    """
    id = id.strip()
    if not id or not re.search(rf"(?<!\w){re.escape(id)}(?!\w)", _words(caller), re.IGNORECASE):
        raise CallDenied("Only what the person named themselves, in this turn, can be changed.")
    return id


def _said(caller: Process, text: str) -> str:
    """``text``, if the person said it in the turn under way.

    Raises:
        CallDenied: They did not.
    """
    wanted = " ".join(text.split()).casefold()
    if wanted not in " ".join(_words(caller).split()).casefold():
        raise CallDenied("Only what the person said themselves, in this turn, can change memory.")
    return text


async def _chosen(memory: Memory, about: str) -> Fact:
    """The one fact that ``about`` means.

    Raises:
        CallFailed: None or several do; the sentence shows what may be meant.
    """
    found = meant(standing(memory), about)
    if len(found) == 1:
        return found[0]
    shown = (found or await like(memory, about))[: limits.SEARCH_SHOWN]
    if not shown:
        raise CallFailed("Nothing was forgotten: nothing like that is remembered.")
    listed = "; ".join(quoted(fact) for fact in shown)
    raise CallFailed(
        f"Nothing was forgotten yet. You may mean: {listed}. Say which: Forget {shown[0].id}."
    )


async def _merge_twins(memory: Memory, fact: Fact) -> None:
    """Merge what was said as a new memory first, and now of the one that it was to replace."""
    for other in standing(memory):
        twins = other.block == fact.block and say_the_same(other.text, fact.text)
        if twins and other.id != fact.id and other.label.origin <= Origin.USER:
            try:
                await memory.merge(other.id, fact.id)
            except LlmosError as error:  # the change is kept; a dream merges them
                log.warning("%s is not merged into %s: %s", other.id, fact.id, error)


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limits.SEARCH_LINE else f"{line[: limits.SEARCH_LINE - 1]}…"
