"""What a person does about permissions: answers questions, allows for longer, takes it back."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmos import paths
from llmos.errors import HostError, KernelError
from llmos.events import CallAsked
from llmos.host import places
from llmos.kernel.capabilities import called
from llmos.kernel.questions import Questions
from llmos.kernel.syscalls import SyscallTable
from llmos.kernel.table import Table
from llmos.memory.grants import Grant, Grants

__all__ = ["Permissions"]

_NAME_CHARS = 80  # of a call's name that a sentence repeats


class Permissions:
    """Questions and grants, for terminals.

    Args:
        questions: Those that wait.
        grants: What is allowed for longer.
        calls: The syscall table: what can be allowed.
        table: The processes: where it can be.
    """

    def __init__(
        self, questions: Questions, grants: Grants, calls: SyscallTable, table: Table
    ) -> None:
        self._questions = questions
        self._grants = grants
        self._calls = calls
        self._table = table

    def waiting(self, pid: int = 0) -> Iterable[CallAsked]:
        """Questions that wait, of one process or (0) of all."""
        return self._questions.waiting(pid)

    def answer(self, pid: int, call_id: str, said: str) -> None:
        """Answer a question: ``once``, ``conversation``, ``always`` or ``no``.

        Raises:
            NoSuchProcess: There is no process of that number.
            KernelError: Nothing of that name waits, or that is no answer to it.
        """
        self._table.find(pid)
        self._questions.answer(pid, call_id, said)

    async def grants(self) -> Sequence[Grant]:
        """What is allowed, newest first."""
        return await asyncio.to_thread(self._grants.all)

    async def grant(
        self,
        *,
        call: str = "",
        arguments: Mapping[str, Any] | None = None,
        patterns: Mapping[str, str] | None = None,
        folder: str = "",
        write: bool = False,
        pid: int = 0,
        days: float = 0,
    ) -> Grant:
        """Allow a call or a folder.

        Args:
            call: A call's name, or a pattern of names (``files.*``) as a capability reads it.
            arguments: The values that its arguments must have.
            patterns: Patterns that texts among them must match.
            folder: A folder that exists.
            write: Whether it may be changed.
            pid: The conversation it holds in; 0 for all.
            days: How long it holds; 0 until it is taken back.

        Raises:
            KernelError: It is neither or both, or there is no such call or folder.
            NoSuchProcess: There is no process of that number.
        """
        if bool(call) == bool(folder):
            raise KernelError("Allow either a call or a folder.")
        if pid:
            self._table.find(pid)
        if folder:
            grant = await asyncio.to_thread(self._folder, folder, write, pid)
        else:
            grant = self._call(call, dict(arguments or {}), dict(patterns or {}), pid)
        if days:
            grant = replace(grant, until=time.time() + days * 86400)
        return await self._grants.give(grant)

    async def revoke(self, id: str) -> Grant:
        """Take a grant back.

        Raises:
            NotStored: There is none of that id.
        """
        return await self._grants.revoke(id)

    def _folder(self, written: str, write: bool, pid: int) -> Grant:
        if not Path(written).is_absolute() and not written.startswith("~"):
            raise KernelError(
                "A folder is named by its whole path.", remedy="Begin it with / or with ~."
            )
        try:
            folder = places.Grant.of(written).path
        except HostError as error:
            raise KernelError(error.sentence, remedy=error.remedy) from error
        if not folder.is_dir():
            raise KernelError(
                f"{places.told(str(folder))} is no folder.", remedy="Name the folder it lies in."
            )
        if any(folder.is_relative_to(place) for place in paths.own_places()):
            whose = f"{places.told(str(folder))} belongs to llmos itself"
            raise KernelError(
                f"{whose} and is not granted.", remedy="Name a folder of your own files."
            )
        return Grant(folder=str(folder), write=write, pid=pid, why="you granted it")

    def _call(
        self, call: str, arguments: dict[str, Any], patterns: dict[str, str], pid: int
    ) -> Grant:
        # By the monitor's own matcher: what is shown as granted must be what it lets pass.
        rows = [row for row in self._calls if called(row.name, call)]
        if not rows:
            raise self._no_such(call)
        known = dict.fromkeys(name for row in rows for name in row.schema.get("properties", {}))
        for name in (*arguments, *patterns):
            if name not in known:
                has = f"It has: {', '.join(known)}." if known else "It has none."
                raise KernelError(f"{call} has no argument {name!r}.", remedy=has)
        return Grant(
            call=call, arguments=arguments, patterns=patterns, pid=pid, why="you granted it"
        )

    def _no_such(self, call: str) -> KernelError:
        """That no call has this name or is like this pattern, and which one is nearest to it."""
        names = [row.name for row in self._calls]
        near = difflib.get_close_matches(call[:_NAME_CHARS], names, n=1, cutoff=0.0)
        told = f"The nearest is {near[0]}. " if near else ""
        told += "In a pattern of names * is the only mark: files.*."
        return KernelError(f"There is no call {call[:_NAME_CHARS]!r}.", remedy=told)
