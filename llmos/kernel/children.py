"""Child processes: a part of the work, given to another assistant by a system call.

Bounded in number and in depth; whoever employs a child pays for it. Starts and ends processes
through the kernel, and knows no models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

from llmos import limits
from llmos.errors import CallFailed
from llmos.events import ProcessInfo
from llmos.kernel.history import in_turns
from llmos.kernel.process import Process, State, priority_named, titled
from llmos.kernel.table import Table
from llmos.labels import PRIVATE, Label, join
from llmos.memory.journal import Journal
from llmos.memory.whole import whole

__all__ = ["Children"]


class _Create(Protocol):
    """Makes a process."""

    def __call__(
        self,
        title: str,
        system: str,
        priority: str,
        parent: int,
        budget: Mapping[str, float] | None,
        employer: Process | None = None,
    ) -> Coroutine[Any, Any, Process]: ...


class Children:
    """The children of all processes.

    Args:
        table: The processes.
        journal: Holds the answers.
        create / send / end / wait: The kernel's own.
    """

    def __init__(
        self,
        table: Table,
        journal: Journal,
        create: _Create,
        send: Callable[[int, str], Awaitable[str]],
        end: Callable[[Process, str], Coroutine[Any, Any, ProcessInfo]],
        wait: Callable[[int], Awaitable[ProcessInfo]],
    ) -> None:
        self._table = table
        self._journal = journal
        self._create = create
        self._send = send
        self._end = end
        self._wait = wait

    async def spawn(self, caller: Process, task: str) -> int:
        """A child of ``caller`` that works on ``task``; returns its pid.

        Raises:
            CallFailed: The caller has too many children or is itself too deep a child.
        """
        children = [p for p in self._table.employed(caller) if p.employer is caller]
        if len(children) >= limits.CHILDREN_MAX:
            pids = ", ".join(str(p.pid) for p in children)
            raise CallFailed(f"There are too many assistants already: wait for one of {pids}.")
        depth, above = 0, caller.employer
        while above is not None:
            depth, above = depth + 1, above.employer
        if depth >= limits.DEPTH_MAX:
            raise CallFailed("An assistant this far down cannot start another.")
        priority = max(caller.priority, priority_named("normal")).name.lower()
        work = self._create(titled(task), caller.system, priority, caller.pid, None, caller)
        made = asyncio.ensure_future(work)
        try:
            child = await asyncio.shield(made)
            await self._send(child.pid, task)
        except BaseException:  # nobody is going to wait for it
            await whole(self._abandon(made))
            raise
        return child.pid

    async def _abandon(self, made: asyncio.Future[Process]) -> None:
        await asyncio.wait({made})
        if made.exception() is None and made.result().state is not State.ENDED:
            await self._end(made.result(), "abandoned")

    async def answer(self, caller: Process, pid: int) -> tuple[str, Label]:
        """The last answer of a child of ``caller``, once it has nothing more to do.

        It is trusted no more than the least trusted of what the child was shown.

        The child ends with that: its work is done. Its answer can be read again.

        Raises:
            NoSuchProcess: There is no such process.
            CallFailed: It is not the caller's.
        """
        process = self._table.find(pid)
        if process.parent != caller.pid:
            raise CallFailed(f"Process {pid} is not yours to wait for.")
        await self._wait(pid)
        records = [r for r in in_turns(self._journal.records(pid)) if r.pid == pid]
        said = [r.stored.message for r in records]
        answer = next((m.content for m in reversed(said) if m.role == "assistant"), "")
        joined = join(*(r.label for r in records))
        elsewhere = process.employer is not caller  # a fork: another talk of the person's own
        label = Label(joined.origin, (PRIVATE,) if joined.private or elsewhere else ())
        if process.employer is caller and process.state is State.READY:
            await whole(self._end(process, "done"))
        return answer, label
