"""Where a value came from.

A label travels with every message and result, into the journal and back. This first form names
the origin only; joins are the most restrictive reading. What may be done with a label is decided
by the monitor, never here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Label", "Origin", "join"]


class Origin(IntEnum):
    """Who a value came from, from most to least trusted."""

    SYSTEM = 0
    USER = 1
    MODEL = 2
    PLUGIN = 3
    UNTRUSTED = 4


@dataclass(frozen=True, slots=True)
class Label:
    """Origin of a value and the ids of the journal records it was made from."""

    origin: Origin = Origin.UNTRUSTED
    sources: tuple[str, ...] = ()


def join(*labels: Label) -> Label:
    """The label of something made from all of these: the least trusted origin, all sources."""
    if not labels:
        return Label()
    sources = dict.fromkeys(source for label in labels for source in label.sources)
    return Label(max(label.origin for label in labels), tuple(sources))
