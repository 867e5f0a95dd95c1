"""Evidence: texts that an answer may cite, numbered for each conversation and never renumbered.

A number is given out once: that it was stands in the journal before the model sees it, so that
after a kill it never means something else. Numbers go on over restarts, and a fork goes on from
where it left its parent. The text is kept as a record of its own, made of the result it came with:
who forgets the result forgets it too. None of these records is ever shown in a window; there a
number stands in the result's text, which is only appended.

The same text of the same address keeps its number. Doesn't judge whether an answer says what is
written there (``citations.py``).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llmos import limits
from llmos.events import Message
from llmos.labels import Label, Origin
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind
from llmos.memory.records import Record, new_id
from llmos.services import Evidence
from llmos.visible import encodable, visible

__all__ = ["Exhibit", "Exhibits", "numbered"]

_KNOWN = 64  # conversations of which the numbers are remembered


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A piece of evidence with its number.

    Args:
        number: 1, 2, 3 … in its conversation.
        title / address: One line each.
        text: What may be quoted; at most ``limits.EVIDENCE_CHARS``.
        seq: The record that keeps it; 0 until it is kept.
    """

    number: int
    title: str
    address: str
    text: str
    seq: int = 0


@dataclass(slots=True)
class _Numbers:
    """What is remembered of a conversation: its last number, and where each text is kept."""

    last: int = 0
    places: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # number and record


class Exhibits:
    """The evidence of all conversations of one journal.

    Args:
        journal: Where it is kept.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._numbers: OrderedDict[int, _Numbers] = OrderedDict()
        self._numbering = asyncio.Lock()

    async def number(
        self, pid: int, turn: int, call_id: str, found: Sequence[Evidence]
    ) -> list[Exhibit]:
        """Give out numbers for what a call found; they are on the disk when this returns.

        Args:
            pid: The conversation.
            turn: In which of its turns.
            call_id: Of the call.
            found: What its result names; what is beyond the limits gets no number.

        Returns:
            An exhibit for each text that is not empty, the first ``limits.EVIDENCE_A_CALL``.

        Raises:
            StoreError: The numbers cannot be kept.
        """
        clean = [_clean(each) for each in found if each.text.strip()][: limits.EVIDENCE_A_CALL]
        async with self._numbering:
            numbers = await self._known(pid)
            given, last = [], numbers.last
            fresh: dict[bytes, Exhibit] = {}
            for exhibit in clean:
                key = _key(exhibit)
                if (old := await self._kept(numbers, key)) is not None:
                    given.append(replace(exhibit, number=old[0], seq=old[1]))
                elif key in fresh:
                    given.append(fresh[key])
                elif last < limits.EVIDENCE_MAX:
                    last += 1
                    fresh[key] = replace(exhibit, number=last)
                    given.append(fresh[key])
            if last > numbers.last:
                message = Message(Kind.EVIDENCE, "", call_id=call_id, name=str(last))
                label = Label(Origin.SYSTEM)
                await self._journal.append(pid, message, turn=turn, label=label, id=new_id())
                numbers.last = last
        return list(dict.fromkeys(given))

    async def keep(
        self,
        pid: int,
        turn: int,
        call_id: str,
        exhibits: Sequence[Exhibit],
        label: Label,
        result: str,
    ) -> None:
        """Keep the texts, once the result they came with is in the journal.

        Args:
            pid / turn / call_id / exhibits: As ``number`` was given and gave them.
            label: Of the result.
            result: Id of its record, which these texts are made of.

        Raises:
            StoreError: They cannot be kept; then nothing cites them.
        """
        made = Label(label.origin, tuple(dict.fromkeys((*label.sources, result))))
        for exhibit in exhibits:
            if exhibit.seq:
                continue
            text = f"{exhibit.title}\n{exhibit.address}\n{exhibit.text}"
            message = Message(Kind.EVIDENCE, text, call_id=call_id, name=str(exhibit.number))
            stored = await self._journal.append(pid, message, turn=turn, label=made, id=new_id())
            numbers = self._numbers.get(pid)
            if numbers is not None:
                numbers.places[_key(exhibit)] = (exhibit.number, stored.seq)

    async def of(self, pid: int) -> list[Exhibit]:
        """What a conversation may cite, by number; what was erased is not among it.

        Raises:
            NoSuchProcess: There is no ``pid``.
        """
        records = await asyncio.to_thread(self._records, pid)
        found = [exhibit for record in records if (exhibit := _exhibit(record)) is not None]
        return sorted(found, key=lambda exhibit: exhibit.number)

    def _records(self, pid: int) -> list[Record]:
        return self._journal.records(pid, role=Kind.EVIDENCE)

    async def _known(self, pid: int) -> _Numbers:
        numbers = self._numbers.get(pid)
        if numbers is None:
            numbers = _Numbers()
            for record in await asyncio.to_thread(self._records, pid):
                numbers.last = max(numbers.last, _number(record))
                if (exhibit := _exhibit(record)) is not None:
                    numbers.places[_key(exhibit)] = (exhibit.number, exhibit.seq)
            self._numbers[pid] = numbers
        self._numbers.move_to_end(pid)
        while len(self._numbers) > _KNOWN:
            self._numbers.popitem(last=False)
        return numbers

    async def _kept(self, numbers: _Numbers, key: bytes) -> tuple[int, int] | None:
        """Number and record of a text that is kept; None where it is new, or was erased."""
        place = numbers.places.get(key)
        if place is None:
            return None
        record = await asyncio.to_thread(self._journal.record, place[1])
        return place if record is not None and not record.erased else None


def numbered(text: str, exhibits: Sequence[Exhibit]) -> str:
    """A result's text as the model reads it: with the numbers of what it may cite.

    Where one line names the title or the address of a piece of evidence, its number stands in
    front of that line; what no line names is listed before the text.
    """
    lines, heads, at = text.split("\n"), [], 0
    for exhibit in exhibits:
        names = [name for name in (exhibit.title, exhibit.address) if name]
        for place in range(at, len(lines)) if len(exhibits) > 1 else ():
            if any(name in lines[place] for name in names):
                lines[place] = f"[{exhibit.number}] {lines[place]}"
                at = place + 1
                break
        else:
            heads.append(f"[{exhibit.number}] {' — '.join(names)}".rstrip())
    return "\n".join([*heads, *lines])


def _clean(found: Evidence) -> Exhibit:
    """Evidence without a number, such as can be kept and shown."""
    return Exhibit(
        0,
        _line(found.title, limits.EVIDENCE_TITLE_CHARS),
        _line(found.address, limits.EVIDENCE_ADDRESS_CHARS),
        encodable(found.text[: limits.EVIDENCE_CHARS]),
    )


def _line(text: str, most: int) -> str:
    return " ".join(visible(text[: 2 * most]).split())[:most]


def _key(exhibit: Exhibit) -> bytes:
    whole = f"{exhibit.address}\n{exhibit.text}"
    return hashlib.sha256(whole.encode("utf-8", "replace")).digest()


def _number(record: Record) -> int:
    name = record.stored.message.name
    return int(name) if name.isascii() and name.isdecimal() and len(name) < 10 else 0


def _exhibit(record: Record) -> Exhibit | None:
    """The text that a record keeps; None for one that only gave out numbers, or was erased."""
    parts = record.stored.message.content.split("\n", 2)
    number = _number(record)
    if record.erased or not number or len(parts) < 3:
        return None
    return Exhibit(number, parts[0], parts[1], parts[2], record.stored.seq)
