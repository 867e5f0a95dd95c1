"""What a person had remembered: facts, and the core blocks every conversation begins with.

Each change is a record of the journal, with its time, its label and the process it was made in;
what is known is what they add up to. A changed fact keeps its older texts as its history. Only what
a person says, or a call makes on their word, becomes one: never what was recalled, the system's
text or the model's own words.

Knows records; the index and the windows are told by the caller.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from llmos import limits
from llmos.errors import NotRemembered, NotStored, StoreError
from llmos.events import Message
from llmos.labels import Label, Origin
from llmos.memory.bulk import Conversation
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind
from llmos.memory.passages import Passage
from llmos.memory.records import Record
from llmos.memory.whole import whole

__all__ = ["BLOCKS", "HOME", "Block", "Fact", "Facts", "core_of", "passage_of"]

Block: TypeAlias = Literal["fact", "user", "assistant"]

#: A fact comes back when it is needed; the other two stand in the front of every conversation.
BLOCKS: tuple[Block, ...] = ("fact", "user", "assistant")
HOME = "memory"  #: why the process ended that keeps what is said in none
_HEADINGS = {"user": "About the person you talk with:", "assistant": "What you are for:"}
_ID = re.compile(r"m[1-9]\d{0,17}")
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and a sign that show nothing


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is remembered.

    Args:
        id: ``m12``.
        text: What is remembered.
        block: Where it stands.
        time: When it was said last, in seconds since the epoch.
        label: Where it came from.
        pinned: Shown in every conversation, whatever its block.
        history: Older texts with their times, oldest first.
        merged: Texts that say no more than this one and were kept apart before, oldest first.
        records: What made it: places in the journal, and the ids of the records there.
        said: In which process and turn each of its texts was said that was said in a conversation,
            oldest first.
    """

    id: str
    text: str
    block: Block
    time: float
    label: Label
    pinned: bool = False
    history: tuple[tuple[float, str], ...] = ()
    merged: tuple[str, ...] = ()
    records: Mapping[int, str] = field(default_factory=dict)
    said: tuple[tuple[int, int], ...] = ()


class Facts:
    """All facts of one journal.

    Args:
        journal: Where they are kept.
    """

    def __init__(self, journal: Journal) -> None:
        #: Held by whoever changes what is known, from looking at it until it is changed.
        self.changing = asyncio.Lock()
        self._journal = journal
        self._facts: dict[str, Fact] = {}
        self._into: dict[str, str] = {}  # what was merged, and into which
        self._home = 0

    def load(self) -> None:
        """Read them from the journal; call it in a thread, and again after an erasure."""
        fresh = Facts(self._journal)  # whoever reads meanwhile sees the old ones, all of them
        for record in self._journal.records_of(Kind.MEMORY):
            fresh._take(record)
        self._facts, self._into = fresh._facts, fresh._into

    def all(self) -> list[Fact]:
        """What is remembered now, newest first."""
        return sorted(self._facts.values(), key=lambda fact: -fact.time)

    def get(self, id: str) -> Fact:
        """The fact called ``id``.

        Raises:
            NotStored: There is none.
        """
        try:
            return self._facts[self._now(id.strip().lower())]
        except KeyError:
            raise NotStored(f"There is no memory {id.strip()[:40]!r}.") from None

    def core(self) -> str:
        """What stands in the front of every conversation; empty where nothing does."""
        return core_of(self._facts.values())

    def core_sources(self) -> tuple[str, ...]:
        """Ids of the records that ``core`` is made of."""
        return tuple(id for f in self.all() if _stands_in(f) for id in f.records.values())

    async def remember(
        self,
        text: str,
        *,
        block: Block = "fact",
        label: Label | None = None,
        pid: int = 0,
        turn: int = 0,
    ) -> Fact:
        """Keep something new; what is known already to the letter is only renewed.

        Args:
            text: One or a few sentences.
            block: Where it stands.
            label: Where it came from; a person's own words where not given.
            pid / turn: Where it was said; 0 for nowhere.

        Raises:
            NotRemembered: It is empty or too long, or the front of every conversation would be.
            StoreError: It cannot be kept.
        """
        text = _checked(text)
        if block not in BLOCKS:
            raise NotRemembered(f"There is no block {block!r}; there are {', '.join(BLOCKS)}.")
        async with self.changing:
            same = [f for f in self._facts.values() if f.text == text and f.block == block]
            if same:
                return await self._change("update", same[0].id, (pid, turn), label, text=text)
            if block != "fact":
                self._require_core(len(text))
            return await self._change("remember", "", (pid, turn), label, text=text, block=block)

    async def update(
        self, id: str, text: str, *, label: Label | None = None, pid: int = 0, turn: int = 0
    ) -> Fact:
        """Give a fact another text; the old one stays as its history.

        Raises:
            NotStored: There is no such fact.
            NotRemembered: The text is empty or too long, or the front would be.
            StoreError: It cannot be kept.
        """
        return await self.change(id, text=text, label=label, pid=pid, turn=turn)

    async def pin(self, id: str, pinned: bool = True) -> Fact:
        """Have a fact stand in the front of every conversation, or no longer.

        Raises:
            NotStored: There is no such fact.
            NotRemembered: The front would be too long.
        """
        return await self.change(id, pinned=pinned)

    async def change(
        self,
        id: str,
        *,
        text: str | None = None,
        pinned: bool | None = None,
        label: Label | None = None,
        pid: int = 0,
        turn: int = 0,
    ) -> Fact:
        """Give a fact another text, pin or unpin it, or both. What is refused changes nothing.

        Args:
            id: Which.
            text: The new text; None leaves it.
            pinned: Whether it stands in the front of every conversation; None leaves that.
            label / pid / turn: Of the new text, as in ``remember``.

        Raises:
            NotStored: There is no such fact.
            NotRemembered: The text is empty or too long, or the front would be.
            StoreError: It cannot be kept.
        """
        text = None if text is None else _checked(text)
        async with self.changing:
            fact = self.get(id)
            self._require_room(fact, text, pinned)
            if text is not None:
                fact = await self._change("update", fact.id, (pid, turn), label, text=text)
            if pinned is not None:
                fact = await self._change("pin" if pinned else "unpin", fact.id, (0, 0), None)
            return fact

    async def merge(self, id: str, into: str) -> int:
        """Have a fact stand no longer beside another that says the same.

        Erasing the record of it undoes that; forgetting the one forgets both.

        Returns:
            The place of that record.

        Raises:
            NotStored: There is no such fact.
            StoreError: They are the same one, or it cannot be kept.
        """
        async with self.changing:
            less, more = self.get(id), self.get(into)
            if less is more:
                raise StoreError("A memory cannot be merged into itself.")
            sources = (*less.records.values(), *more.records.values())
            label = Label(max(less.label.origin, more.label.origin), sources)
            record, _ = await self._write("merge", less.id, (0, 0), label, into=more.id)
            return record.stored.seq

    async def home(self) -> int:
        """The process that keeps what was said in none. It has ended as soon as it began."""
        if not self._home:
            ended = [p.pid for p in self._journal.processes(ended=True) if p.reason == HOME]
            if ended:
                self._home = ended[0]
            else:  # made and ended in one write: a kill leaves none that lives
                now = time.time()
                made = Conversation(title="Memory", created=now, ended=now, reason=HOME)
                self._home = (await self._journal.import_process(made)).pid
        return self._home

    def _now(self, id: str) -> str:
        """What a fact is called now: the name of the one it was merged into, or its own."""
        while id in self._into:
            id = self._into[id]
        return id

    def _require_room(self, fact: Fact, text: str | None, pinned: bool | None) -> None:
        """See that the front stays short enough with ``fact`` as it will be."""
        new = replace(
            fact,
            text=fact.text if text is None else text,
            pinned=fact.pinned if pinned is None else pinned,
        )
        now, then = (len(each.text) if _stands_in(each) else 0 for each in (fact, new))
        if then > now:
            self._require_core(then - now)

    def _require_core(self, more: int) -> None:
        """See that what every conversation begins with stays short enough for any window."""
        if len(self.core()) + more > limits.CORE_CHARS:
            raise NotRemembered(
                f"What every conversation begins with would be longer than {limits.CORE_CHARS} "
                "characters.",
                remedy="Forget some of it, or remember this as a fact.",
            )

    async def _change(
        self, op: str, id: str, place: tuple[int, int], label: Label | None, **given: str
    ) -> Fact:
        return (await self._write(op, id, place, label, **given))[1]

    async def _write(
        self, op: str, id: str, place: tuple[int, int], label: Label | None, **given: str
    ) -> tuple[Record, Fact]:
        """Journal a change; returns the record of it, and the fact as it is now."""
        content = json.dumps({"op": op, "id": id, **given}, ensure_ascii=False)
        label = label or Label(Origin.USER)
        pid, turn = place
        where = pid or await self.home()
        # What is in the journal is known, even if nobody waits for it any more.
        return await whole(self._keep(where, Message(Kind.MEMORY, content), turn, label))

    async def _keep(
        self, pid: int, message: Message, turn: int, label: Label
    ) -> tuple[Record, Fact]:
        record = Record(
            pid, await self._journal.append(pid, message, turn=turn, label=label), label
        )
        made = self._take(record)
        assert made is not None
        return record, made

    def _take(self, record: Record) -> Fact | None:
        """Add a change up; None for one that makes no sense (it was erased, or names what was)."""
        stored = record.stored
        try:
            data = json.loads(stored.message.content)
            op, id = data["op"], data["id"] or f"m{stored.seq}"
            if not _ID.fullmatch(id) or not isinstance(data.get("text", ""), str):
                return None
            id = self._now(id)
            old = self._facts.get(id)
            made = {**(old.records if old else {}), stored.seq: stored.id}
            said = ((record.pid, stored.turn),) if stored.turn else ()
            if op == "remember":
                block: Block = data["block"] if data["block"] in BLOCKS else "fact"
                fact = Fact(
                    id, data["text"], block, stored.time, record.label, records=made, said=said
                )
            elif old is None:
                return None
            elif op == "update":
                history = (*old.history, (old.time, old.text))
                if old.text == data["text"]:
                    history = old.history
                fact = replace(
                    old,
                    text=data["text"],
                    time=stored.time,
                    label=record.label,
                    history=history,
                    records=made,
                    said=tuple(dict.fromkeys((*old.said, *said))),
                )
            elif op == "merge":
                return self._merge(old, str(data["into"]))
            else:
                fact = replace(old, pinned=op == "pin", records=made)
        except (ValueError, KeyError, TypeError):
            return None
        self._facts[id] = fact
        return fact

    def _merge(self, less: Fact, into: str) -> Fact | None:
        more = self._facts.get(self._now(into))
        if more is None or more is less:
            return None
        del self._facts[less.id]
        self._into[less.id] = more.id
        fact = replace(
            more,
            pinned=more.pinned or less.pinned,
            history=tuple(sorted((*more.history, *less.history))),
            merged=(*more.merged, *less.merged, less.text),
            # Not the record of the merging: what was made of the fact since outlives its undoing.
            records={**more.records, **less.records},
            said=(*more.said, *less.said),
        )
        self._facts[fact.id] = fact
        return fact


def core_of(facts: Iterable[Fact]) -> str:
    """What stands in the front of every conversation of these facts."""
    parts = []
    ordered = sorted(facts, key=lambda fact: int(fact.id[1:]))
    for block, heading in _HEADINGS.items():
        lines = [f"- {fact.text}" for fact in ordered if _stands_in(fact) == block]
        if lines:
            parts.append("\n".join([heading, *lines]))
    return "\n\n".join(parts)


def passage_of(fact: Fact) -> Passage:
    """What is indexed of a fact."""
    return Passage(
        id=fact.id,
        source="fact",
        pid=0,
        place="memory",
        time=fact.time,
        text=fact.text,
        speaker="user" if fact.label.origin <= Origin.USER else "",
    )


def _stands_in(fact: Fact) -> str:
    if fact.block != "fact":
        return fact.block
    return "user" if fact.pinned else ""


def _seen(character: str) -> bool:
    """Whether a person sees something where this character stands alone."""
    return unicodedata.category(character)[0] in "LNPS" and character not in _BLANK


def _checked(text: str) -> str:
    text = " ".join(text.split())
    if not any(_seen(character) for character in text):
        raise NotRemembered(
            "There is nothing to remember." if not text else "This has no character to be seen."
        )
    if len(text) > limits.FACT_CHARS:
        raise NotRemembered(f"A memory has at most {limits.FACT_CHARS} characters.")
    return text
