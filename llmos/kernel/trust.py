"""What the monitor has to know of a process: what was said in it, by whom, and what was shown.

Read from the journal, where every record has its label; nothing is remembered here, so that a
conversation that is taken up a week later is judged as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmos import limits
from llmos.events import ToolCall
from llmos.kernel.kinds import NONE
from llmos.kernel.monitor import Shown
from llmos.kernel.provenance import Words, leaves
from llmos.labels import Origin
from llmos.memory.journal import Journal
from llmos.memory.pages import CONVERSATION, Kind
from llmos.memory.records import Record, own_words, unsaid

__all__ = ["EXTRACT", "Trust", "trust", "vouched"]

#: The call by which a value is read from a text that nobody is shown (``reader.py``).
EXTRACT = "reader.extract"


@dataclass(frozen=True, slots=True)
class Trust:
    """What stands in a conversation, by how far it is trusted.

    Args:
        said: What the person said.
        trusted: That, what the system told, and the values its results vouch for.
        foreign: Whether anything in it is by strangers.
        private: Whether anything in it is the person's own, not to be told to others.
        strangers: Name and text of what strangers wrote.
        read: What values were read from, and the values; no text by strangers, nor trusted.
    """

    said: Words
    trusted: Words
    foreign: bool
    private: bool
    strangers: tuple[tuple[str, str], ...] = ()
    read: tuple[tuple[str, str], ...] = ()

    def shown(self) -> tuple[Shown, ...]:
        """What strangers wrote, so that a value can be looked up in it; takes a while."""
        return tuple(Shown(name, Words([text])) for name, text in self.strangers)

    def extracted(self) -> tuple[Shown, ...]:
        """The values that were read, so that it can be told where one comes from."""
        return tuple(Shown(name, Words([value])) for name, value in self.read)


def trust(
    journal: Journal,
    pid: int,
    *,
    turn: int = 0,
    told: Iterable[str] = (),
    private: bool = False,
) -> Trust:
    """Read it; blocks.

    An expert may do what was declared for it while it speaks. What it was told stays in view when
    it speaks no more, and is a stranger's then.

    Args:
        pid: The process in which a person speaks: of a child, the one that it works for.
        turn: The one under way; 0 where no expert speaks.
        told: Texts of the system's own, such as the system prompt.
        private: Whether something private stands in every conversation.
    """
    said: list[str] = []
    trusted = list(told)
    strangers: list[tuple[str, str]] = []
    read: list[tuple[str, str]] = []
    calls: dict[str, ToolCall] = {}
    records = journal.records(pid)
    speaker = _speaker(records, turn)
    for record in records:
        label, message = record.label, record.stored.message
        calls.update((call.id, call) for call in message.calls)
        if message.role == Kind.TOOL and message.name == EXTRACT and _found(record):
            read.append((_place(calls.get(message.call_id), record), message.content))
        if message.role == Kind.USER and (own := own_words(record)):
            said.append(own)
        elif message.role == Kind.VOUCHED:
            trusted += _values(record)
        elif label.origin <= Origin.USER and message.role in (Kind.TOOL, Kind.RECALLED, Kind.NOTE):
            trusted.append(message.content)
        gone = message.role == Kind.EXPERT and message.name != speaker
        if gone and label.origin is not Origin.SYSTEM:  # those that come with llmos are its own
            strangers.append((f"the expert {message.name}", message.content))
        private |= message.role == Kind.NOTE  # what is remembered of the person, or was
        if message.role in CONVERSATION or message.role == Kind.RECALLED:
            if label.origin is Origin.UNTRUSTED:
                strangers.append((_named(record), _unsaid(record)))
            private |= label.private or (
                message.role == Kind.RECALLED and _remembered(message.name)
            )
    words = Words(said)
    return Trust(
        words, words.and_also(trusted), bool(strangers), private, tuple(strangers), tuple(read)
    )


def _speaker(records: Sequence[Record], turn: int) -> str:
    """The expert that speaks in a turn; empty where none does."""
    told = [r for r in records if r.stored.message.role == Kind.EXPERT and r.stored.turn == turn]
    begun = [record for record in records if record.stored.message.role == Kind.ROLE]
    return next((record.stored.message.name for record in (told or begun)[-1:]), "")


def _remembered(names: str) -> bool:
    """Whether what was brought back is in part what the person had remembered, from anywhere."""
    return any(name.startswith("m") for name in names.split())


def _named(record: Record) -> str:
    """What a person calls a text that a stranger wrote."""
    name = record.stored.message.name or "a page"
    if record.stored.message.role == Kind.USER and unsaid(record):
        name = "what was piped in"
    return f"{name}, turn {record.stored.turn}"


def _unsaid(record: Record) -> str:
    """What of a stranger's text is not the person's own words before it."""
    said = own_words(record) if record.stored.message.role == Kind.USER else ""
    return record.stored.message.content[len(said) :]


def _found(record: Record) -> bool:
    """Whether the reader found a value."""
    return not record.stored.error and not record.stored.message.content.startswith(f"{NONE}:")


def _place(call: ToolCall | None, record: Record) -> str:
    """What a person calls that which a value was read from: the call that gave it."""
    about = call.arguments if call is not None else {}
    given = (
        json.dumps(value, ensure_ascii=False) for value in leaves(about.get("arguments") or {})
    )
    place = " ".join([str(about.get("call") or "a text"), *given])[: limits.READER_PLACE]
    return f"{place}, turn {record.stored.turn}"


def vouched(fields: Iterable[str], data: object) -> list[str]:
    """The values of the fields of a result that its declaration vouches for, as texts.

    Args:
        fields: Their names; they may stand at any depth.
        data: The result's data.
    """
    wanted, found, left = set(fields), list[str](), limits.VOUCHED_CHARS
    waiting: list[tuple[bool, object]] = [(False, data)]
    while waiting and left > 0:
        named, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(key in wanted, part) for key, part in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(named, part) for part in value]
        elif named and value is not None and not isinstance(value, bool):
            found.append(str(value))
            left -= len(found[-1])
    return found


def _values(record: Record) -> list[str]:
    try:
        values = json.loads(record.stored.message.content or "{}").get("vouched", ())
    except (ValueError, AttributeError):
        return []
    return [value for value in values if isinstance(value, str)]
