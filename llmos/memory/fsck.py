"""``llmos fsck``: is what is on the disk whole, and can what is not be made anew.

Of two kinds of things, two kinds of care. The journal is the truth: it is only read, and where it
is damaged, ``salvage`` may copy what still verifies. Everything else is derived from it or from
mounted folders (the index, notes on files, snapshots) and is rebuilt or dropped where it is
unsound. One thing is in between: which folders are mounted is nobody's to make again but the
person's; a list that cannot be read is put aside.

Whoever calls this holds the state directory's lock: beside a running kernel a rebuild would race.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llmos import limits
from llmos.errors import LlmosError, MountError
from llmos.memory.check import Progress, check, silent
from llmos.memory.consistency import consistent
from llmos.memory.files.mtab import NewerList, load

__all__ = ["MountFiles", "Problem", "Rebuildable", "Report", "fsck"]

log = logging.getLogger(__name__)


class Rebuildable(Protocol):
    """Something that can be deleted at any time and comes back from the journal.

    ``problems`` reads only and may take long: it is called in a thread. After ``rebuild`` it finds
    none; where that takes the kernel (embedding everything again), it is enough that nothing
    unsound is left and the kernel will do the rest.
    """

    def problems(self) -> list[str]: ...

    async def rebuild(self) -> None: ...


class MountFiles:
    """The list of mounted folders, and the notes on what was read of them.

    Without the notes everything is read again. Without the list nobody knows what was mounted, so
    that the notes go, too. Either way what the index holds of files goes: the notes alone tell
    what of it is still so.

    Args:
        file: The list; need not exist. The notes lie beside it, ending in ``.db``.
        forget_files: Takes everything that was read of files out of the index; blocks.
    """

    def __init__(self, file: Path, forget_files: Callable[[], None]) -> None:
        self._list = file
        self._notes = file.with_suffix(".db")
        self._forget_files = forget_files

    def problems(self) -> list[str]:
        """A sentence for the list where it cannot be read, and for each damage of the notes."""
        return [*self._of_list(), *self._of_notes()]

    async def rebuild(self) -> None:
        """Put a damaged list aside (``.damaged-…``), remove the notes.

        Raises:
            MountError: The list is of a newer llmos, or may not be read: then it stays.
        """
        await asyncio.to_thread(self._rebuild)

    def _rebuild(self) -> None:
        try:
            load(self._list)
            spoilt = False
        except MountError as error:
            if isinstance(error, NewerList) or isinstance(error.__cause__, OSError):
                raise  # nothing is wrong with what stands in it
            spoilt = True
        self._forget_files()
        for ending in ("", "-wal", "-shm"):  # names of files: not to lie about for ever
            Path(f"{self._notes}{ending}").unlink(missing_ok=True)
        if spoilt:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            os.replace(self._list, f"{self._list}.damaged-{stamp}")

    def _of_list(self) -> list[str]:
        try:
            load(self._list)
        except MountError as error:
            return [error.sentence]
        return []

    def _of_notes(self) -> list[str]:
        if not self._notes.exists():
            return []  # they are made when they are needed
        name = f"The notes on mounted files {self._notes}"
        try:
            with closing(
                sqlite3.connect(f"{self._notes.absolute().as_uri()}?mode=ro", uri=True)
            ) as db:
                said = db.execute(f"PRAGMA quick_check({limits.STORE_PROBLEMS})").fetchall()
                for table in ("meta", "readings", "unread"):
                    db.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
        except sqlite3.Error as error:
            return [f"{name} cannot be read ({error})."]
        return [f"{name} are damaged: {what}." for (what,) in said if what != "ok"]


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
        What was found, before repairs; each problem once.
    """
    problems: list[Problem] = []
    if journal.exists() and not journal.is_file():  # to open a pipe would wait for ever
        problems.append(Problem("journal", f"{journal} is no file."))
    elif journal.exists():
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
    return Report(tuple(dict.fromkeys(problems)), ("journal", *derived))


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
