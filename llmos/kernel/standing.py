"""Where a caller stands: all that the monitor's rules need to know of it.

Gathered anew for every call, from the journal's labels, what was granted, and what the person's own
words settled for the turn; nothing is remembered here but what the process itself carries. Decides
nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from llmos import limits
from llmos.kernel.capabilities import Capabilities, Capability
from llmos.kernel.monitor import Seen
from llmos.kernel.process import Process
from llmos.kernel.syscalls import SyscallTable
from llmos.kernel.trust import Trust, trust
from llmos.kernel.turn import Turn
from llmos.labels import Origin
from llmos.memory.grants import Grants
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind

__all__ = ["Settle", "Standing", "Standings"]

#: Gives the calls that a person's words ask for, and how often; None where nobody can tell.
Settle = Callable[[Process, SyscallTable, str], Awaitable[Capabilities | None]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a caller.

    Args:
        seen: As the rules need it, without the texts by strangers.
        trust: What stands in its conversation, by how far it is trusted.
    """

    seen: Seen
    trust: Trust

    async def explained(self) -> Seen:
        """The same with the texts, so that a question can say where a value comes from."""
        shown = await asyncio.to_thread(self.trust.shown)
        return replace(self.seen, shown=shown, read=await asyncio.to_thread(self.trust.extracted))


class Standings:
    """Tells where callers stand.

    Args:
        journal: Knows what was said.
        grants: What was allowed for longer.
        settle: Tells what a person's own words ask for.
        told: Texts of the system's own that stand in every conversation, the prompt first.
    """

    def __init__(
        self,
        journal: Journal,
        grants: Grants,
        settle: Settle,
        told: Callable[[Process], list[str]],
    ) -> None:
        self._journal = journal
        self._grants = grants
        self._settle = settle
        self._told = told

    async def of(self, turn: Turn, owner: str = "") -> Standing:
        """Where the process of a turn stands now.

        Args:
            owner: Whose the call is that it is about; grants for others' calls do not count.
        """
        person = turn.process.spokesman
        known = await asyncio.to_thread(self._known, turn=turn, person=person)
        granted = await asyncio.to_thread(self._granted, person, owner)
        seen = Seen(
            said=known.said,
            trusted=known.trusted,
            foreign=known.foreign,
            private=known.private,
            settled=await self._settled(turn=turn, person=person) if known.foreign else None,
            granted=granted,
            missing=sorted(turn.missing),
            doubted=turn.doubted,
        )
        return Standing(seen, known)

    def _known(self, *, turn: Turn, person: Process) -> Trust:
        process, tainted = turn.process, turn.tainted  # by what its code was shown
        told = self._told(person)
        private = any(text.strip() for text in told[1:])  # what is remembered of the person
        if self._journal.records(person.pid, role=Kind.ROLE):
            told = told[1:]  # the prompt is an expert's: nobody vouches for what a plugin says
        known = trust(
            self._journal, person.pid, turn=person.turn_number, told=told, private=private
        )
        known = replace(
            known,
            foreign=known.foreign or tainted.origin is Origin.UNTRUSTED,
            private=known.private or tainted.private,
        )
        turns, each = dict[int, int](), process
        while each is not person and each.employer is not None:
            turns[each.pid], each = each.turn_number, each.employer
        # Of a child, and of all between it and the person, only what taints it counts: its task may
        # say what they were shown. So may that of a fork of a child, whose person is another.
        for pid in dict.fromkeys((*turns, *self._journal.employers(process.pid))):
            if pid == person.pid:
                continue
            own = trust(self._journal, pid, turn=turns.get(pid, 0))
            known = replace(
                known,
                foreign=known.foreign or own.foreign,
                private=known.private or own.private,
                strangers=(*known.strangers, *own.strangers),
                read=(*known.read, *own.read),
            )
        return known

    def _granted(self, person: Process, owner: str) -> Capabilities:
        """What was allowed for longer."""
        return Capabilities(
            Capability(
                grant.call,
                arguments=grant.arguments,
                patterns=grant.patterns,
                until=grant.until or None,
                grant=grant.id,
            )
            for grant in self._grants.of(self._journal.lineage(person.pid))
            if grant.call and grant.owner == owner
        )

    async def _settled(self, *, turn: Turn, person: Process) -> Capabilities:
        """What is left of the calls that the person's words ask for in this turn."""
        process = turn.process
        if process.employer is not None:  # it may make what is left of its employer's, and no more
            if process.settled is None:
                names = [row.name for row in turn.calls]
                left = process.employer.settled
                process.settled = left.handed(names, time.time()) if left else Capabilities()
            return process.settled
        words = ""
        if person.window is not None:
            words = person.window.words((person.pid, turn.number))
        if not words:  # a reminder, or a task that a model gave: neither asks for an effect
            return Capabilities()
        if process.settled is None:
            process.settled = await self._settle(process, turn.calls, words) or Capabilities()
            _lead_on(process.settled, turn)
            for name, arguments in turn.made:  # before a stranger was heard
                slot = process.settled.find(name, arguments, time.time())
                if slot is not None:
                    process.settled.spend(slot)
        return process.settled


def _lead_on(settled: Capabilities, turn: Turn) -> None:
    """Who asks for a search asks for what it finds to be read: settle what declared calls lead to.

    A few times only, and no more than once it is settled: nothing that a page says adds to it. Of
    the arguments none is free by that: one that must be trusted has to be what a trusted call gave.
    """
    asked = {each.call for each in settled} | {name for name, _ in turn.made}
    names = (name for row in turn.calls if row.name in asked for name in row.leads_to)
    for name in dict.fromkeys(names):
        settled.give(Capability(name, uses=limits.LED_TO, whole=True))
