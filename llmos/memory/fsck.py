"""``llmos fsck``: is what is on the disk whole, and can what is not be made anew.

Of two kinds of things, two kinds of care. The journal is the truth: it is only read, and where it
is damaged, ``salvage`` may copy what still verifies. Everything else is derived from it (the
index, snapshots) and is rebuilt or dropped where it is unsound.

Whoever calls this holds the state directory's lock: beside a running kernel a rebuild would race.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmos.errors import LlmosError
from llmos.memory.check import Progress, check, silent
from llmos.memory.consistency import consistent

__all__ = ["Problem", "Rebuildable", "Report", "fsck"]

log = logging.getLogger(__name__)


class Rebuildable(Protocol):
    """Something that can be deleted at any time and comes back from the journal.

    ``problems`` reads only and may take long: it is called in a thread. After ``rebuild`` it finds
    none; where that takes the kernel (embedding everything again), it is enough that nothing
    unsound is left and the kernel will do the rest.
    """

    def problems(self) -> list[str]: ...

    async def rebuild(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be.

    Args:
        where: ``journal`` (it is damaged), ``records`` (they contradict each other), or the name
            of what is derived from it.
        repaired: It was, just now.
    """

    where: str
    sentence: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Args:
        problems: None where everything is sound.
        checked: What was looked at.
    """

    problems: tuple[Problem, ...]
    checked: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was found."""
        return not self.problems

    @property
    def repairable(self) -> bool:
        """Whether something is unsound that can be made anew."""
        kept = ("journal", "records")
        return any(p.where not in kept and not p.repaired for p in self.problems)

    @property
    def journal_damaged(self) -> bool:
        """Whether the truth itself is no longer what was written."""
        return any(problem.where == "journal" for problem in self.problems)


async def fsck(
    journal: Path,
    derived: Mapping[str, Rebuildable],
    *,
    repair: bool = False,
    progress: Progress = silent,
) -> Report:
    """Check everything; rebuild what is derived and unsound, where asked.

    Args:
        journal: The journal's file; it need not exist.
        derived: What is made from it, by name.
        repair: Rebuild what can be.
        progress: Told how far it is; called in threads.

    Returns:
        What was found, before repairs.
    """
    problems: list[Problem] = []
    if journal.exists():
        for where, look in (("journal", check), ("records", consistent)):
            found = await asyncio.to_thread(look, journal, progress)
            problems += [Problem(where, sentence) for sentence in found]
            if found:
                break  # whether a damaged journal makes sense says nothing more
    for name, each in derived.items():
        progress(name, 0, 0)
        sentences = await _problems(name, each)
        mended = bool(sentences) and repair and await _rebuilt(name, each)
        problems += [Problem(name, sentence, mended) for sentence in sentences]
    return Report(tuple(problems), ("journal", *derived))


async def _problems(name: str, derived: Rebuildable) -> list[str]:
    try:
        return await asyncio.to_thread(derived.problems)
    except LlmosError as error:
        return [str(error)]
    except Exception as error:  # whatever a damaged file makes a library do
        log.exception("checking %s", name)
        return [f"It cannot be checked ({type(error).__name__}: {error})."]


async def _rebuilt(name: str, derived: Rebuildable) -> bool:
    """Whether rebuilding left nothing unsound."""
    try:
        await derived.rebuild()
    except Exception:  # it stays reported as it was found
        log.exception("rebuilding %s", name)
        return False
    return not await _problems(name, derived)
