"""Which records make up a conversation, and in which order the model is shown them.

The journal keeps messages in the order they came; a message sent while a turn runs stands before
that turn's reply. The model is shown turn after turn. Of what the kernel did to the window, a
person is told the same afterwards as when it happened. Knows records, decides nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence, Set

from llmos.errors import StoreCorrupt
from llmos.events import ArtifactsMade, Cited, Recalled, Source, WindowChanged
from llmos.kernel.artifacts import infos
from llmos.memory.pages import Kind
from llmos.memory.recall import places_of
from llmos.memory.records import Record
from llmos.memory.view import Change

__all__ = ["TOO_LONG", "before", "heard_of", "in_turns", "note", "settled"]

#: The reason of turns that did not fit the window: the model is not shown them again.
TOO_LONG = "too_long"


def in_turns(records: Sequence[Record]) -> list[Record]:
    """Turn after turn, ancestors' turns first (a fork's number is above its parent's)."""
    return sorted(records, key=lambda r: (r.pid, r.stored.turn, r.stored.seq))


def settled(records: Sequence[Record], pid: int, running: int | None) -> list[Record]:
    """What a fork of ``pid`` shares: the longest beginning in which every turn is over.

    Args:
        running: The first of the process's turns that is not over; None where all are.
    """
    first = math.inf if running is None else running
    while True:
        own = [r.stored for r in records if r.pid == pid and r.stored.message.role != Kind.MEMORY]
        cut = min((m.seq for m in own if m.turn >= first), default=math.inf)
        late = [m.turn for m in own if m.turn < first and m.seq > cut]
        if not late:
            return in_turns([r for r in records if r.stored.seq < cut])
        first = min(late)


def heard_of(texts: Sequence[str], heard: str) -> list[int] | None:
    """How many characters of each of a turn's replies were heard.

    Args:
        texts: What the replies say, in their order; between two a person is shown a blank line.
        heard: What was heard of all of them: a beginning of the texts, joined so or without it.

    Returns:
        One length for each; None where they do not begin so.
    """
    kept: list[int] = []
    for text in texts:
        if any(kept) and not text.startswith("\n"):
            heard = heard.removeprefix("\n\n")
        if not text.startswith(heard) and not heard.startswith(text):
            return None
        kept.append(min(len(text), len(heard)))
        heard = heard[len(text) :]
    return None if heard.strip() else kept


def before(
    records: Sequence[Record], pid: int, turn: int, unseen: Set[tuple[int, int]]
) -> list[Record]:
    """What belongs to the window of ``pid`` when its turn number ``turn`` begins.

    Args:
        unseen: Pid and number of turns that are left out; what left the window in them has left,
            and what was pinned then is pinned.

    Returns:
        What was said, turn after turn; then what was done to the window, in the order it was done:
        between two turns, that order is not theirs.
    """
    said, done = [], []
    for record in in_turns(records):
        if record.stored.message.role in (Kind.WINDOW, Kind.PIN):
            done.append(record)
        elif (record.pid != pid or record.stored.turn < turn) and (
            (record.pid, record.stored.turn) not in unseen
        ):
            said.append(record)
    return [*said, *sorted(done, key=lambda record: record.stored.seq)]


def note(record: Record) -> Recalled | WindowChanged | ArtifactsMade | Cited | None:
    """What terminals were told when ``record`` was kept; None where they were told nothing."""
    stored = record.stored
    if stored.message.role == Kind.ARTIFACT:
        made = infos(record)
        if not made:
            return None
        call_id, turn = stored.message.call_id, stored.turn
        return ArtifactsMade(
            pid=record.pid, seq=stored.seq, turn=turn, call_id=call_id, artifacts=made
        )
    if stored.message.role == Kind.CITED:
        return _cited(record)
    if stored.message.role == Kind.WINDOW:
        try:
            evicted = Change.of(record).evicted
        except StoreCorrupt:  # what was said can be read all the same
            return None
        if not evicted:
            return None
        return WindowChanged(pid=record.pid, seq=stored.seq, turn=stored.turn, evicted=evicted)
    if stored.message.role != Kind.RECALLED:
        return None
    return Recalled(
        pid=record.pid,
        seq=stored.seq,
        turn=stored.turn,
        pages=tuple(stored.message.name.split()),
        places=places_of(record),
    )


def _cited(record: Record) -> Cited | None:
    """The sources of an answer; None where they were erased."""
    stored = record.stored
    try:
        kept = json.loads(stored.message.content)
        sources = tuple(Source(**each) for each in kept["sources"])
        dropped = tuple(int(number) for number in kept["dropped"])
    except (ValueError, TypeError, KeyError):
        return None
    return Cited(
        pid=record.pid,
        seq=stored.seq,
        turn=stored.turn,
        message_id=stored.message.name,
        sources=sources,
        dropped=dropped,
    )
