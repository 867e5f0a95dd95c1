"""Who speaks in a turn: the assistant itself, or an expert with its own words, calls and knowledge.

An expert that a message addresses speaks for that turn: what it is told stands with the message,
at the tail, so that nothing before it changes. One that a conversation was begun with speaks in
all of it, from the front. Either way a turn may call what its speaker may, and nothing else.
"""

from __future__ import annotations

import asyncio

from llmos.events import Message, StoredMessage
from llmos.kernel.evidence import Exhibit, Exhibits
from llmos.kernel.process import Process
from llmos.kernel.specialist import Specialist, Staff
from llmos.kernel.transcript import Transcript
from llmos.labels import Label, Origin
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind

__all__ = ["Speakers"]


class Speakers:
    """Finds who speaks.

    Args:
        staff: The experts there are.
        journal: Knows whom a conversation was begun with.
        transcript: Shows what an expert is told and knows.
        exhibits: Numbers what it knows, so that it can be cited.
    """

    def __init__(
        self, staff: Staff, journal: Journal, transcript: Transcript, exhibits: Exhibits
    ) -> None:
        self._staff = staff
        self._journal = journal
        self._transcript = transcript
        self._exhibits = exhibits

    async def of(self, process: Process, message: StoredMessage) -> Specialist | None:
        """Who answers a message; None for the assistant itself.

        What the expert is told, and what of its knowledge belongs to the message, is in view when
        this returns.

        Raises:
            ExpertError: The conversation's expert is gone or broken.
        """
        if process.expert is None:
            process.expert = await asyncio.to_thread(self._begun_with, process.pid)
        text = message.message.content
        addressed = await self._staff.addressed(text)
        if addressed is None and not process.expert:
            return None
        speaker = addressed or await self._staff.named(process.expert)
        if speaker.name == process.expert:
            process.calls_of = speaker.calls
        told = [speaker.prompt] if addressed and addressed.name != process.expert else []
        await self._tell(process, message.turn, speaker, told, text)
        return speaker

    def _begun_with(self, pid: int) -> str:
        roles = self._journal.records(pid, role=Kind.ROLE)
        return roles[-1].stored.message.name if roles else ""

    async def _tell(
        self, process: Process, turn: int, speaker: Specialist, told: list[str], text: str
    ) -> None:
        """Show with the message what its expert is told, and what it knows of it."""
        known = await self._staff.knows(speaker, text)
        given: list[Exhibit] = []
        if known:
            given = await self._exhibits.number(process.pid, turn, "", known)
            told = [*told, *(f"[{e.number}] {e.title}\n{e.text.strip()}" for e in given)]
        if not told:
            return
        label = Label(Origin.PLUGIN)
        said = Message(Kind.EXPERT, "\n\n".join(told), name=speaker.name)
        stored = await self._transcript.keep(process, turn, said, label=label)
        if given:
            await self._exhibits.keep(process.pid, turn, "", given, label, stored.id)
