"""Conversations of other programs: ChatGPT's export, and messages with a role and a content.

Nothing in them is trusted but, where the person who imports says that they are theirs, a person's
own words, and what a model answered as such. A system prompt is taken over only then, too. What
calls gave back is trusted by nobody: no tool of ours gave it. Pictures, sounds and other
attachments are not imported; what is left out is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from llmos import limits
from llmos.events import Message, ToolCall
from llmos.labels import Label
from llmos.memory.append import Draft
from llmos.memory.bulk import Conversation, spoken
from llmos.memory.fields import LATEST, NO_SYSTEM, UNTOLD, Fields
from llmos.memory.values import Value, Values

__all__ = ["conversations"]

_PERSON, _MODEL, _TOOL = "user", "assistant", "tool"
_SYSTEM = ("system", "developer")


def conversations(
    values: Values, stream: Iterator[Value], first: Value, *, mine: bool, time: float
) -> Iterator[Conversation]:
    """The conversations of a file.

    Args:
        values: Knows the file's name, for sentences.
        stream: Its objects behind ``first``.
        first: Its first object.
        mine: A person's words and the system prompt are the importing person's own, and what an
            assistant said is a model's.
        time: Seconds since the epoch, where a message does not say when it was said.

    Raises:
        BadFile: It is something else.
    """
    if "role" in first.data:
        yield _Talk(mine, time).conversation("", chain([first], stream), values)
        return
    for value in chain([first], stream):
        row = _fields(value, values)
        if "mapping" in value.data:
            yield _chatgpt(row, mine, time)
        elif "messages" in value.data:
            title = value.data.get("title")
            messages = value.data["messages"]
            if not isinstance(messages, list):
                row.wrong("“messages” is no list")
            inner = (Value(value.line, m if isinstance(m, dict) else {}) for m in messages)
            talk = _Talk(mine, _seconds(value.data.get("create_time")) or time)
            yield talk.conversation(title if isinstance(title, str) else "", inner, values)
        else:
            row.wrong(
                "this is neither an export of llmos nor of ChatGPT, nor messages with a role and"
                " a content"
            )


def _fields(value: Value, values: Values) -> Fields:
    return Fields(value.data, lambda what: values.wrong(what, value.line))


class _Talk:
    """Makes records of messages, one after the other, turn by turn."""

    def __init__(self, mine: bool, time: float) -> None:
        self.left_out: list[str] = []
        self._mine = mine
        self._created = time
        self._last = time  # when what was read last was said, as far as is known
        self._turn = 0
        self._open: dict[str, str] = {}  # calls of this turn without a result: id to name
        self._made = 0

    def conversation(self, title: str, messages: Iterator[Value], values: Values) -> Conversation:
        """One conversation of messages; its system prompt has to come first to be taken over."""
        first = next(messages, None)
        system = ""
        rest = messages if first is None else chain([first], messages)
        if first is not None and first.data.get("role") in _SYSTEM:
            rest = messages
            if self._mine:
                system = _content(_fields(first, values))
            else:
                self.left_out.append(NO_SYSTEM)
        items = (draft for value in rest for draft in self._message(value, values))
        return Conversation(
            title=title.strip()[: limits.TITLE_CHARS],
            system=system,
            created=self._created,
            items=items,
            left_out=self.left_out,
        )

    def _message(self, value: Value, values: Values) -> Iterator[Draft]:
        row = _fields(value, values)
        role = row.text("role", limits.TITLE_CHARS)
        if role in _SYSTEM:
            return
        if role not in (_PERSON, _MODEL, _TOOL, "function"):
            row.wrong(f"a message cannot have the role {role[:40]!r}")
        time = self.when(value.data.get("create_time"))
        if role in (_TOOL, "function"):
            call_id = value.data.get("tool_call_id")
            name = value.data.get("name")
            yield from self.result(
                _content(row),
                time,
                call_id if isinstance(call_id, str) else "",
                name if isinstance(name, str) else "",
            )
        else:
            yield from self.said(role, _content(row), time, _calls(row))

    def when(self, value: Any) -> float:
        """When a message was said; one that does not tell, when the one before it was."""
        told = _seconds(value)
        if not told and UNTOLD not in self.left_out:
            self.left_out.append(UNTOLD)
        self._last = told or self._last
        return self._last

    def said(
        self, role: str, text: str, time: float, calls: tuple[ToolCall, ...] = ()
    ) -> Iterator[Draft]:
        """What a person or a model said."""
        if not text and not calls:
            return
        if role == _PERSON or self._turn == 0:
            self._turn += 1
            self._open.clear()
        self._open |= {call.id: call.name for call in calls}
        yield self._draft(Message(role, text, calls), time)

    def result(self, text: str, time: float, call_id: str = "", name: str = "") -> Iterator[Draft]:
        """What a call answered; where the call itself is not told, one is put before it."""
        if call_id not in self._open:
            call_id = next(iter(self._open), "") if not call_id else ""
        if not call_id:
            self._made += 1
            call = ToolCall(f"imported_{self._made}", name or "tool", {})
            yield from self.said(_MODEL, "", time, (call,))
            call_id = call.id
        name = self._open.pop(call_id)
        yield self._draft(Message(_TOOL, text, call_id=call_id, name=name), time)

    def _draft(self, message: Message, time: float) -> Draft:
        return Draft(message, self._turn, time, Label(spoken(message.role, mine=self._mine)))


def _seconds(value: Any) -> float:
    """A time, in seconds since the epoch; 0 for none, and for one before anybody wrote here."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LATEST
    return float(value) if usable else 0.0


def _content(row: Fields) -> str:
    """The text of a message, which may come in parts."""
    value = row.data.get("content")
    if value is None:
        return ""
    if isinstance(value, list):
        parts = (part.get("text") if isinstance(part, dict) else part for part in value)
        value = "\n".join(part for part in parts if isinstance(part, str))
    return Fields({"content": value}, row.wrong).text("content")


def _calls(row: Fields) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message, as OpenAI writes them."""
    made = row.data.get("tool_calls") or []
    if not isinstance(made, list) or len(made) > limits.IMPORT_CALLS:
        row.wrong("“tool_calls” is no list of calls")
    calls = []
    for call in made:
        match call:
            case {"id": str(id), "function": {"name": str(name), "arguments": written}}:
                calls.append(ToolCall(id, name, _arguments(written)))
            case _:
                row.wrong("“tool_calls” holds something that is no call")
    return tuple(calls)


def _arguments(written: Any) -> dict[str, Any]:
    """The arguments of a call; what is no JSON object stands in one as it is."""
    if isinstance(written, str):
        try:
            written = json.loads(written)
        except (ValueError, RecursionError):
            pass
    return written if isinstance(written, dict) else {"input": written}


# --- ChatGPT ----------------------------------------------------------------------------------


def _chatgpt(row: Fields, mine: bool, time: float) -> Conversation:
    """One conversation of ``conversations.json``: a tree, of which the branch in use counts."""
    nodes = row.inside("mapping").data
    created = _seconds(row.data.get("create_time")) or time
    talk = _Talk(mine, created)
    title = row.data.get("title")
    branch = [message for node in _branch(row, nodes) if (message := _shown(node)) is not None]
    lost = any(_parts(message, str, invert=True) for message in branch)

    def items() -> Iterator[Draft]:
        for message in branch:
            author = message.get("author")
            author = author if isinstance(author, dict) else {}
            role, name = author.get("role"), author.get("name")
            if role not in (_PERSON, _MODEL, _TOOL):
                continue
            text = Fields({"text": _text(message)}, row.wrong).text("text")
            when = talk.when(message.get("create_time"))
            recipient = message.get("recipient") or "all"
            if role == _TOOL:
                yield from talk.result(text, when, name=name if isinstance(name, str) else "")
            elif role == _MODEL and recipient != "all":
                id = str(message.get("id", ""))[: limits.TITLE_CHARS]
                call = ToolCall(id, str(recipient)[: limits.CALL_NAME_CHARS], {"input": text})
                yield from talk.said(_MODEL, "", when, (call,))
            else:
                yield from talk.said(role, text, when)

    if lost:
        talk.left_out.append("Pictures, sounds and files in it were left out.")
    return Conversation(
        title=title.strip()[: limits.TITLE_CHARS] if isinstance(title, str) else "",
        created=created,
        items=items(),
        left_out=talk.left_out,
    )


def _branch(row: Fields, nodes: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes from the root to the newest one, each once, whatever the tree looks like."""
    at = row.data.get("current_node")
    if not isinstance(at, str) or at not in nodes:
        at = next(reversed(nodes), None)
    found: dict[str, dict[str, Any]] = {}
    while isinstance(at, str) and at in nodes and at not in found:
        node = nodes[at]
        if not isinstance(node, dict):
            row.wrong("“mapping” holds something that is no node")
        found[at] = node
        at = node.get("parent")
    return list(reversed(found.values()))


def _shown(node: dict[str, Any]) -> dict[str, Any] | None:
    """The node's message, where a person saw it."""
    message = node.get("message")
    if not isinstance(message, dict):
        return None
    about = message.get("metadata")
    hidden = isinstance(about, dict) and about.get("is_visually_hidden_from_conversation")
    return None if hidden else message


def _parts(message: dict[str, Any], kind: type, *, invert: bool = False) -> list[Any]:
    content = message.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [p for p in parts if isinstance(p, kind) != invert] if isinstance(parts, list) else []


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if not isinstance(content, dict):
        return ""
    text = content.get("text")
    if isinstance(text, str):
        return text
    return "\n".join(_parts(message, str))
