"""What a person allowed for longer than once: kept in the journal, and taken back there.

A grant is a record, chained like all others; to take one back is another. It says which call may
be made and with which arguments, or which folder may be read or changed, in one conversation or in
all. Decides nothing: the monitor reads them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import NotStored, StoreError
from llmos.events import Message
from llmos.labels import Label, Origin
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind
from llmos.memory.records import Record, new_id

__all__ = ["Grant", "Grants"]


@dataclass(frozen=True, slots=True)
class Grant:
    """One thing that is allowed.

    Args:
        id: ``g12``.
        time: Since when, in seconds since the epoch.
        call: Name of a call, or a pattern of names (``files.*``); empty for a folder.
        arguments: The very values that arguments must have.
        patterns: Patterns that text arguments must match: ``*`` is anything but a slash, ``**``
            anything.
        folder: An absolute path; empty for a call.
        write: Whether the folder may be changed.
        pid: The conversation it holds in, with its forks; 0 for all.
        until: When it ends, in seconds since the epoch; 0 never.
        why: Where it comes from, in words for a person.
        owner: Whose call it is, as the table has it: one of the same name by somebody else, or by
            a later version of its code, is another call.
    """

    id: str = ""
    time: float = 0.0
    call: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    write: bool = False
    pid: int = 0
    until: float = 0.0
    why: str = ""
    owner: str = ""

    def to_json(self) -> str:
        """As it is kept."""
        kept = {
            "call": self.call,
            "arguments": dict(self.arguments),
            "patterns": dict(self.patterns),
            "folder": self.folder,
            "write": self.write,
            "pid": self.pid,
            "until": self.until,
            "why": self.why,
            "owner": self.owner,
        }
        return json.dumps({name: value for name, value in kept.items() if value})


class Grants:
    """All grants of one journal.

    Args:
        journal: Where they are kept.
        home: Gives the process that keeps what belongs to no conversation.
        clock: Gives seconds since the epoch.
    """

    def __init__(
        self,
        journal: Journal,
        home: Callable[[], Awaitable[int]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._journal = journal
        self._home = home
        self._clock = clock
        self._grants: dict[str, Grant] = {}
        self._loaded = False

    def load(self) -> None:
        """Read them from the journal; blocks."""
        self._grants = {}
        for record in self._journal.records_of(Kind.GRANT):
            self._take(record)
        self._loaded = True

    def all(self) -> list[Grant]:
        """What is allowed now, newest first."""
        if not self._loaded:
            self.load()
        now = self._clock()
        lasting = (each for each in self._grants.values() if not each.until or now < each.until)
        return sorted(lasting, key=lambda grant: -grant.time)

    def of(self, pids: Iterable[int]) -> list[Grant]:
        """What is allowed in a conversation.

        Args:
            pids: The process, and those it was forked from.
        """
        where = {0, *pids}
        return [grant for grant in self.all() if grant.pid in where]

    async def give(self, grant: Grant) -> Grant:
        """Keep a grant; the same one twice is one.

        Raises:
            StoreError: It cannot be kept, or there are too many.
        """
        for known in self.all():
            if known.to_json() == grant.to_json():
                return known
        if len(self._grants) >= limits.GRANTS_MAX:
            raise StoreError(
                f"There are {limits.GRANTS_MAX} grants already.",
                remedy="Take some back: llmos grants revoke.",
            )
        record = await self._keep(Message(Kind.GRANT, grant.to_json()))
        self._take(record)
        return self._grants[f"g{record.stored.seq}"]

    async def revoke(self, id: str) -> Grant:
        """Take a grant back.

        Raises:
            NotStored: There is none of that id.
        """
        known = {grant.id: grant for grant in self.all()}
        if id not in known:
            raise NotStored(f"There is no grant {id[:40]!r}.", remedy="llmos grants lists them.")
        self._take(await self._keep(Message(Kind.GRANT, "{}", name=id)))
        return known[id]

    async def _keep(self, message: Message) -> Record:
        home = await self._home()
        label = Label(Origin.USER)
        stored = await self._journal.append(home, message, label=label, id=new_id())
        return Record(home, stored, label)

    def _take(self, record: Record) -> None:
        message = record.stored.message
        if message.name:  # this one is taken back
            self._grants.pop(message.name, None)
            return
        try:
            kept = json.loads(message.content)
            grant = Grant(**kept, id=f"g{record.stored.seq}", time=record.stored.time)
            narrow = isinstance(grant.call, str) and isinstance(grant.folder, str)
            if not narrow or not (grant.call or Path(grant.folder).is_absolute()):
                return
        except (ValueError, TypeError):  # a newer llmos wrote it, or it was erased: nothing
            return
        self._grants[grant.id] = grant
