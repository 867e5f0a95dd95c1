"""An expert as the kernel sees it: what it tells the model, which calls it may make, what it knows.

A contract: whoever loads experts fulfils it. An expert speaks for one turn, where the person
addresses it, or for a whole conversation that was begun with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmos.kernel.syscalls import SyscallTable
from llmos.services import Evidence

__all__ = ["Specialist", "Staff"]


@dataclass(frozen=True, slots=True)
class Specialist:
    """One expert.

    Args:
        name: How it is addressed.
        prompt: What the model is told while it speaks.
        calls: Every call it may make, and no other.
        ours: Whether it comes with llmos.
    """

    name: str
    prompt: str
    calls: SyscallTable
    ours: bool = False


class Staff(Protocol):
    """All experts that work."""

    async def named(self, name: str) -> Specialist:
        """The expert of that name.

        Raises:
            ExpertError: There is none, or it is broken; the sentence says why.
        """
        ...

    async def addressed(self, text: str) -> Specialist | None:
        """The expert that a message begins with (``@name …``); None where it names none.

        Raises:
            ExpertError: It names one that is not there, or is broken; the sentence says which.
        """
        ...

    async def listed(self) -> Sequence[dict[str, Any]]:
        """All of them: ``name``, ``summary``, ``version``, ``starters``, ``broken``."""
        ...

    async def knows(self, specialist: Specialist, text: str) -> Sequence[Evidence]:
        """What of an expert's knowledge belongs to a person's words, the nearest first."""
        ...
