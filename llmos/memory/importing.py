"""What a file that somebody wants to import says: as conversations, checked, one after the other.

Reads our own JSON lines; ``foreign`` and ``markdown`` read the others. Nothing is trusted: types
and sizes are checked, and hashes verified, which find accidents and no forger. Only the word of
the person who imports (``mine``) has labels kept; they are never raised. A file of any size is
read in pieces; a conversation's items must be taken before the next conversation is.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

from llmos import limits
from llmos.errors import BadFile, LlmosError
from llmos.events import Message, ToolCall
from llmos.labels import Label, Origin
from llmos.memory import foreign, markdown
from llmos.memory.append import Draft, body_text
from llmos.memory.bulk import Conversation, PastCall, PastTurn
from llmos.memory.fields import NO_SYSTEM, Fields
from llmos.memory.pages import CONVERSATION, Kind
from llmos.memory.schema import GENESIS, content_hash, record_hash, to_json
from llmos.memory.values import Value, Values

__all__ = ["FORMAT", "read"]

#: Raised when a reader of the older one would misread the newer.
FORMAT = 1

#: The most that a text is trusted, whatever its file says: nobody else speaks for the kernel.
_AT_MOST = {
    Kind.USER: Origin.USER,
    Kind.ASSISTANT: Origin.MODEL,
    Kind.TOOL: Origin.PLUGIN,
}


class _Priority(StrEnum):
    """What the kernel can take up again: the engine's priorities by their names."""

    REALTIME = "realtime"
    INTERACTIVE = "interactive"
    NORMAL = "normal"
    IDLE = "idle"


#: What a budget may bound.
_BUDGETS = frozenset({"tokens", "seconds", "calls"})


def _budget(row: Fields) -> dict[str, float]:
    if unknown := row.data.keys() - _BUDGETS:
        row.wrong(f"there is no budget of {sorted(unknown)[0][:40]!r}")
    return {name: row.amount(name) for name in row.data}


def read(path: Path, *, mine: bool = False, title: str = "") -> Iterator[Conversation]:
    """The conversations in a file.

    Understood are our own export (JSON lines and Markdown), ChatGPT's ``conversations.json``, and
    messages of the form ``{"role": …, "content": …}``, alone, in a list, or in ``messages``.

    Args:
        path: The file.
        mine: What stands under the person's name is the word of the person who imports it, an
            assistant's is a model's, and system prompts are taken over. In our own export, what
            was trusted less stays so. Otherwise nothing in the file is trusted.
        title: Given to the conversations in place of their own.

    Raises:
        BadFile: It is none of these; the sentence names the line of the first mistake.
    """
    try:
        for conversation in _read(path, mine):
            yield dataclasses.replace(conversation, title=title) if title else conversation
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error


def _read(path: Path, mine: bool) -> Iterator[Conversation]:
    if path.exists() and not path.is_file():  # it is read twice, and may have no end
        raise BadFile(f"{path} is no file.", remedy="Write what it gives to a file first.")
    with path.open("rb") as raw:
        head = raw.read(4096)
    if head.startswith(b"PK\x03\x04"):
        raise BadFile(f"{path} is an archive.", remedy="Unpack it and import conversations.json.")
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip():
        raise BadFile(f"{path} is empty.")
    modified = path.stat().st_mtime  # for what does not say when it was said
    modified = modified if modified > 0 else time.time()
    if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] not in (b"{", b"["):
        yield from markdown.conversations(path, mine=mine, time=modified)
        return
    with path.open(encoding="utf-8-sig") as file:
        yield from _json(file, path, mine, modified)


def _json(file: TextIO, path: Path, mine: bool, modified: float) -> Iterator[Conversation]:
    values = Values(file, str(path))
    stream = iter(values)
    first = next(stream, None)
    if first is None:
        raise BadFile(f"{path} holds no conversation.")
    if first.data.get("type") == "journal":
        yield from _Ours(values, stream, first, mine).conversations()
    else:
        yield from foreign.conversations(values, stream, first, mine=mine, time=modified)


class _Ours:
    """Reads our own JSON lines."""

    def __init__(self, values: Values, stream: Iterator[Value], first: Value, mine: bool) -> None:
        self._mine = mine
        self._values = values
        self._stream = stream
        self._held: Value | None = None  # the process line that ended the one before
        self._records = 0
        head = self._fields(first)
        if head.integer("format") != FORMAT:
            values.wrong("a newer llmos wrote this file; update llmos", first.line)

    def conversations(self) -> Iterator[Conversation]:
        count = 0
        self._held = next(self._stream, None)
        while self._held is not None and self._held.data.get("type") == "process":
            count += 1
            items = self._items()
            yield self._process(self._held, items)
            for _ in items:  # what nobody wanted
                pass
        self._end(count)

    def _end(self, count: int) -> None:
        end = self._held
        if end is None:
            self._values.wrong("the file is cut short: its last line is missing")
        if end.data.get("type") != "end":
            self._values.wrong(f"a line of the type {end.data.get('type')!r} is unknown", end.line)
        fields = self._fields(end)
        if (fields.integer("processes"), fields.integer("records")) != (count, self._records):
            self._values.wrong("the file does not hold what its last line says", end.line)

    def _fields(self, value: Value) -> Fields:
        return Fields(value.data, lambda what: self._values.wrong(what, value.line))

    def _process(self, value: Value, items: Iterator[Any]) -> Conversation:
        row = self._fields(value)
        fork = value.data.get("fork_seq")
        ended = value.data.get("ended")
        system = row.text("system")
        return Conversation(
            title=row.text("title", limits.MESSAGE_CHARS)[: limits.TITLE_CHARS],
            system=system if self._mine else "",
            priority=str(row.choice("priority", _Priority)),
            budget=_budget(row.inside("budget")),
            pid=row.integer("pid"),
            parent=row.integer("parent"),
            fork_seq=None if fork is None else row.integer("fork_seq"),
            employed=row.flag("employed"),
            created=row.moment("created"),
            ended=None if ended is None else row.moment("ended"),
            reason=row.text("reason"),
            items=items,
            left_out=[NO_SYSTEM] if system and not self._mine else [],
        )

    def _items(self) -> Iterator[Draft | PastCall | PastTurn]:
        """What belongs to one process; ``_held`` is what follows it."""
        self._held = None
        for value in self._stream:
            kind = value.data.get("type")
            if kind == "record":
                self._records += 1
                if (draft := self._record(value)) is not None:
                    yield draft
            elif kind == "call":
                yield self._call(value)
            elif kind == "turn":
                yield self._turn(value)
            else:
                self._held = value
                return

    def _record(self, value: Value) -> Draft | None:
        """A record, verified; None for what the kernel wrote for itself.

        What left a window and what was recalled name places in another journal, notes speak for
        the kernel, and what is remembered is a person's own: no file that somebody wrote makes it.
        What a call called is kept: no message names it.
        """
        row = self._fields(value)
        kind = row.choice("role", Kind)
        known = {int(origin) for origin in Origin}
        written = row.integer("origin")
        origin = Origin.UNTRUSTED
        if self._mine and written in known:
            origin = max(Origin(written), _AT_MOST.get(kind, origin))
        sources = row.strings("sources", limits.IMPORT_SOURCES)
        calls = () if "erased" in value.data else self._calls(row)
        message = Message(
            role=str(kind),
            content="" if "erased" in value.data else row.text("content"),
            calls=calls,
            call_id=row.text("call_id"),
            name=row.text("name"),
        )
        kept, cut = message, kind is Kind.ASSISTANT and "heard" in value.data
        if cut:  # what of a spoken reply was not heard is no part of the conversation
            kept = dataclasses.replace(message, content=message.content[: row.integer("heard")])
        erased = None
        if "erased" in value.data:
            gone = row.inside("erased")
            erased = (gone.moment("time"), gone.text("reason"))
        # Else it could say whose words they are.
        named = self._mine or kind in (Kind.TOOL, Kind.NESTED)
        draft = Draft(
            message=kept if named else dataclasses.replace(kept, name=""),
            turn=row.integer("turn"),
            time=row.moment("time"),
            label=Label(origin, sources),
            error=row.text("error"),
            seconds=row.amount("seconds"),
            partial=row.flag("partial") or cut,
            id=row.text("id"),
            seq=row.integer("seq"),
            erased=erased,
        )
        self._verify(value, row, message)
        return draft if kind in CONVERSATION or kind is Kind.NESTED else None

    def _calls(self, row: Fields) -> tuple[ToolCall, ...]:
        made = row.data.get("calls")
        if not isinstance(made, list) or len(made) > limits.IMPORT_CALLS:
            row.wrong("“calls” is no list of calls")
        calls = []
        for call in made:
            match call:
                case [str(id), str(name), dict(arguments)]:
                    calls.append(ToolCall(id, name, arguments))
                case _:
                    row.wrong("“calls” is no list of calls")
        return tuple(calls)

    def _verify(self, value: Value, row: Fields, message: Message) -> None:
        """See that the record is what was exported, as far as hashes tell."""
        try:
            body = body_text(message)
        except LlmosError as error:
            row.wrong(str(error).rstrip("."))
        sealed = row.hexadecimal("content_hash")
        if "erased" not in value.data and content_hash(row.hexadecimal("salt"), body) != sealed:
            row.wrong(f"the content of message {row.integer('seq')} was changed")
        previous = row.hexadecimal("previous")
        if not previous and row.integer("seq") > 1:
            return  # the one before it was lost
        fields: Mapping[str, Any] = {
            **value.data,
            "partial": int(row.flag("partial")),
            "sources": to_json(value.data["sources"]),
            "content_hash": sealed,
        }
        row.integer("pid")
        try:
            digest = record_hash(previous or GENESIS, fields)
        except (KeyError, ValueError, RecursionError):
            row.wrong("a field of the record is missing")
        if digest != row.hexadecimal("hash"):
            row.wrong(f"the record of message {row.integer('seq')} was changed")

    def _call(self, value: Value) -> PastCall:
        """A call; one that was under way is over: it is never made again."""
        row = self._fields(value)
        over = value.data.get("finished") is not None
        arguments = value.data.get("arguments")
        if not isinstance(arguments, dict):
            row.wrong("“arguments” is no object")
        return PastCall(
            turn=row.integer("turn"),
            call=ToolCall(row.text("call_id"), row.text("name"), arguments),
            started=row.moment("started"),
            finished=row.moment("finished" if over else "started"),
            seconds=row.amount("seconds") if over else 0.0,
            error=row.text("error") if over else "interrupted",
            result_hash=row.hexadecimal("result_hash"),
            result_bytes=row.integer("result_bytes") if value.data.get("result_bytes") else 0,
        )

    def _turn(self, value: Value) -> PastTurn:
        row = self._fields(value)
        return PastTurn(
            turn=row.integer("turn"),
            time=row.moment("time"),
            reason=row.text("reason"),
            tokens=row.integer("tokens"),
            seconds=row.amount("seconds"),
        )
