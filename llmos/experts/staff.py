"""Experts at work: loaded, given their calls, and asked what they know.

Joins what is installed (``catalogue.py``) with the kernel's calls and services. An expert's own
tools run in the jail; of llmos's calls it gets those that it declared, with the services it
declared behind a guard.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.door.rows import Lend, row
from llmos.door.tools import Call
from llmos.errors import ExpertError, LlmosError
from llmos.experts import address
from llmos.experts.catalogue import Expert, Experts
from llmos.experts.knowledge import Library
from llmos.kernel.directory import OPEN, opening
from llmos.kernel.process import Process
from llmos.kernel.specialist import Specialist
from llmos.kernel.syscalls import Syscall, SyscallTable
from llmos.sdk import Context
from llmos.services import Evidence

__all__ = ["Crew"]

log = logging.getLogger(__name__)

#: The way out where no expert was meant.
_PLAIN = "If it is for no expert, begin it with something else than @."
#: Calls of the kernel's own that every expert has: they concern nothing but its conversation.
_OWN = frozenset({"memory.recall", "memory.search"})


class Crew:
    """``specialist.Staff`` over the experts of this machine.

    Args:
        experts: Those that are there.
        library: What they know.
        known: The calls of llmos's tools, by name.
        kernel: The kernel's own rows.
        surroundings: What calls are told of the world.
        lend: What calls may use of it.
    """

    def __init__(
        self,
        experts: Experts,
        library: Library,
        *,
        known: Mapping[str, Call],
        kernel: Sequence[Syscall],
        surroundings: Context,
        lend: Lend,
    ) -> None:
        self._experts = experts
        self._library = library
        self._known = known
        self._kernel = kernel
        self._surroundings = surroundings
        self._lend = lend
        self._tables: dict[str, tuple[tuple[Path, str], Specialist]] = {}
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Load them in the background: what a new one's calls take is asked in the jail."""
        self._loading = asyncio.create_task(self._load(), name="experts")

    async def _load(self) -> None:
        try:
            await self._experts.load()
        except LlmosError as error:
            log.warning("experts are not loaded: %s", error)

    async def close(self) -> None:
        """End what is under way."""
        if self._loading is not None:  # a program that is just starting is not left half started
            await asyncio.wait([self._loading], timeout=limits.EXPERTS_CLOSE_S)
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await self._library.close()

    async def listed(self) -> Sequence[dict[str, Any]]:
        """See ``specialist.Staff``."""
        await self._ready()
        rows = [
            {
                "name": expert.name,
                "summary": expert.summary,
                "version": expert.version,
                "starters": list(expert.starters),
                "broken": "",
            }
            for expert in self._experts.all()
        ]
        broken = ((each.name, each.sentence) for each in self._experts.broken)
        empty = {"summary": "", "version": "", "starters": []}
        return [*rows, *({"name": name, **empty, "broken": why} for name, why in broken)]

    async def named(self, name: str) -> Specialist:
        """See ``specialist.Staff``."""
        await self._ready()
        return self._specialist(self._experts.get(name))

    async def addressed(self, text: str) -> Specialist | None:
        """See ``specialist.Staff``."""
        name = address.addressed(text)
        if not name:
            return None
        await self._ready()
        if not self._experts.known(name) and not address.meant(text):
            return None
        try:
            return self._specialist(self._experts.get(name))
        except ExpertError as error:
            remedy = f"{error.remedy.rstrip('.')}. {_PLAIN}"
            raise ExpertError(error.sentence, remedy=remedy) from error

    async def knows(self, specialist: Specialist, text: str) -> Sequence[Evidence]:
        """See ``specialist.Staff``."""
        try:
            expert = self._experts.get(specialist.name)
            hits = await self._library.search(expert, text, k=limits.EXPERT_SHOWN)
        except LlmosError as error:  # it answers without
            log.warning("the knowledge of %s cannot be searched: %s", specialist.name, error)
            return []
        return [Evidence(hit.passage.place, hit.passage.place, hit.passage.text) for hit in hits]

    async def _ready(self) -> None:
        """Everything is loaded, as it is on the disk now."""
        if self._loading is not None:
            await asyncio.shield(self._loading)
        await self._experts.refresh()

    def _specialist(self, expert: Expert) -> Specialist:
        made_of, made = self._tables.get(expert.name, (None, None))
        this = (expert.folder, expert.digest)  # installed again, the same lies somewhere else
        if made is None or made_of != this:
            tables: list[SyscallTable] = []
            opener = opening(lambda: tables[0])
            tables.append(SyscallTable([opener, *self._rows(expert)]))
            made = Specialist(expert.name, expert.prompt, tables[0], ours=expert.bundled)
            self._tables[expert.name] = (this, made)
        return made

    def _rows(self, expert: Expert) -> list[Syscall]:
        rows = [
            each
            for each in self._kernel
            if each.name != OPEN and (each.name in _OWN or expert.may_call(each.name))
        ]
        for call in expert.calls(self._known).values():
            own = call.name not in self._known
            if not own and call.uses and not any(map(expert.permissions.lends, call.uses)):
                continue  # it could do nothing but open what else hangs on its name
            made = row(call, self._surroundings, _guarded(expert, call, self._lend, own=own))
            rows.append(replace(made, owner=f"{expert.name} {expert.digest}"))
        return rows


def _guarded(expert: Expert, made: Call, lend: Lend, *, own: bool) -> Lend:
    """The services that a call gets while an expert makes it, on the hosts that it declared.

    Args:
        own: It is one of its own, and guarded where it runs.
    """
    anywhere = "*" in expert.permissions.web

    def guarded(
        process: Process, call: str, hosts: Sequence[str] | None = None, role: str = ""
    ) -> Mapping[str, Any]:
        within = hosts if anywhere else expert.permissions.web
        lent = lend(process, call, within, role or expert.name)
        return lent if own else expert.lend(made, lent)

    return guarded
