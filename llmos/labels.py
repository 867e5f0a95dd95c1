"""Where a value came from, and who may read it.

A label travels with every message and result, into the journal and back; joins are the most
restrictive reading. What may be done with a label is decided by the monitor, never here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["PRIVATE", "Label", "Origin", "join", "named"]

#: Among a label's sources: it is the person's own, and not to be told to anybody else. A mark
#: among them goes wherever they go: into joins, onto the disk, into what was derived.
PRIVATE = "private"


class Origin(IntEnum):
    """Who a value came from, from most to least trusted."""

    SYSTEM = 0
    USER = 1
    MODEL = 2
    PLUGIN = 3
    UNTRUSTED = 4


def named(name: str) -> Origin:
    """The origin that a manifest names; the strictest for a name that is none."""
    try:
        return Origin[name.upper()]
    except KeyError:
        return Origin.UNTRUSTED


@dataclass(frozen=True, slots=True)
class Label:
    """Origin of a value and the ids of the journal records it was made from."""

    origin: Origin = Origin.UNTRUSTED
    sources: tuple[str, ...] = ()

    @property
    def private(self) -> bool:
        """Whether it is the person's own, and not to be told to anybody else."""
        return PRIVATE in self.sources

    def kept_private(self) -> Label:
        """The same, and private."""
        return self if self.private else Label(self.origin, (*self.sources, PRIVATE))


def join(*labels: Label) -> Label:
    """The label of something made from all of these: the least trusted origin, all sources."""
    if not labels:
        return Label()
    sources = dict.fromkeys(source for label in labels for source in label.sources)
    return Label(max(label.origin for label in labels), tuple(sources))
