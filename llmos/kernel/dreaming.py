"""What the steps of a dream share: where what they make is kept, and how far they are."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from llmos import limits
from llmos.events import Message
from llmos.labels import Label
from llmos.memory.derived import Derived, Made, MadeKind, derived_id
from llmos.memory.facts import Facts
from llmos.memory.journal import Journal, new_id
from llmos.memory.pages import Kind
from llmos.memory.records import Record
from llmos.memory.whole import whole

__all__ = ["DreamState", "Notebook"]


@dataclass(frozen=True, slots=True)
class DreamState:
    """How far a dream is, for a person.

    Args:
        step: ``memories``, ``turns``, ``pages``; empty where none is under way.
        done / of: Within the step; ``of`` is 0 where it is not known.
        made: What was made, in its order.
        refused: Summaries that the model wrote and that were not kept: they said what their source
            does not.
        left: Something could not be done yet, and is worth another dream.
    """

    step: str = ""
    done: int = 0
    of: int = 0
    made: tuple[Made, ...] = ()
    refused: int = 0
    left: bool = False


class Notebook:
    """Keeps what is derived, and tells what is.

    Args:
        journal: Where it is kept.
        facts: Know the process that is no conversation.
        derived: What is known of all that is derived.
    """

    def __init__(self, journal: Journal, facts: Facts, derived: Derived) -> None:
        self.state = DreamState()
        self.derived = derived
        self._journal = journal
        self._facts = facts

    async def keep(self, kind: Kind, content: str, label: Label) -> Record:
        """Journal something derived.

        Raises:
            StoreError: It cannot be kept.
        """
        return await whole(self._keep(kind, content, label))

    async def _keep(self, kind: Kind, content: str, label: Label) -> Record:
        home = await self._facts.home()
        message = Message(kind, content)
        stored = await self._journal.append(home, message, turn=0, label=label, id=new_id())
        self.derived.changed()
        return Record(home, stored, label)

    async def at(self, step: str, done: int, of: int) -> None:
        """Tell how far it is, and let whoever waits go first."""
        self.state = replace(self.state, step=step, done=done, of=of)
        await asyncio.sleep(0)

    def made(self, seq: int, kind: MadeKind, text: str, pid: int = 0) -> None:
        """Tell that something was made."""
        made = Made(derived_id(seq), kind, text, time.time(), pid)
        self.state = replace(self.state, made=(*self.state.made, made)[-limits.DREAM_MADE :])

    def refused(self) -> None:
        """Tell that a summary was not kept."""
        self.state = replace(self.state, refused=self.state.refused + 1)

    def left(self) -> None:
        """Tell that something is left to do."""
        self.state = replace(self.state, left=True)
