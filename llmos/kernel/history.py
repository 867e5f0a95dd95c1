"""A conversation as the model is shown it, made from what the journal holds.

The journal keeps messages in the order they came; a message sent while a turn runs stands before
that turn's reply. The model is shown turn after turn. Knows records and messages, decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set

from llmos.events import Message
from llmos.memory.records import Record

__all__ = ["TOO_LONG", "before", "closed", "in_turns", "settled"]

#: The reason of turns that did not fit the window: the model is not shown them again.
TOO_LONG = "too_long"

_NO_RESULT = "Error: this call was cut off before it had a result."


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
        own = [r.stored for r in records if r.pid == pid]
        cut = min((m.seq for m in own if m.turn >= first), default=math.inf)
        late = [m.turn for m in own if m.turn < first and m.seq > cut]
        if not late:
            return in_turns([r for r in records if r.stored.seq < cut])
        first = min(late)


def before(
    records: Sequence[Record], pid: int, turn: int, unseen: Set[tuple[int, int]]
) -> list[Message]:
    """What the model is shown of ``pid`` when its turn number ``turn`` begins.

    Args:
        unseen: Pid and number of turns that are left out.
    """
    return [
        r.stored.message
        for r in in_turns(records)
        if (r.pid, r.stored.turn) not in unseen and (r.pid != pid or r.stored.turn < turn)
    ]


def closed(history: Sequence[Message]) -> list[Message]:
    """The history with a result for every call: templates refuse calls without one.

    A call is left without a result where the kernel was killed, or the disk was full, before the
    result was kept.
    """
    out: list[Message] = []
    waiting: dict[str, Message] = {}
    for message in history:
        if message.role != "tool":
            out += waiting.values()
            waiting = {
                call.id: Message("tool", _NO_RESULT, call_id=call.id, name=call.name)
                for call in message.calls
            }
        else:
            waiting.pop(message.call_id, None)
        out.append(message)
    return [*out, *waiting.values()]
