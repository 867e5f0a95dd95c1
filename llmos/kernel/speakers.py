"""Who speaks in a turn: the assistant itself, or an expert with its own words, calls and knowledge.

An expert that a person's message addresses speaks for that turn: what it is told stands with the
message, at the tail, so that nothing before it changes. One that a conversation was begun with
speaks in all of it, from the front. Either way a turn may call what its speaker may, and nothing
else; and so may a child, which is whoever gave it its task. What a model wrote, such as that task
or a reminder, addresses nobody: it may say what a page told it to.
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
from llmos.memory.records import own_words

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
            ExpertError: The expert of the message, or of the conversation, is gone or broken.
        """
        if process.expert is None:
            process.expert = await asyncio.to_thread(self._begun_with, process.pid)
            if not process.expert and process.employer is not None:
                process.expert = await self._inherited(process, process.employer, message.seq)
        spoken = await asyncio.to_thread(self._journal.record, message.seq)
        words = own_words(spoken) if spoken is not None else ""
        text = words or message.message.content
        addressed = await self._staff.addressed(words) if words else None
        if addressed is None and not process.expert:
            return None
        speaker = addressed or await self._staff.named(process.expert)
        if speaker.name == process.expert:
            process.calls_of = speaker.calls
        told = [speaker.prompt] if addressed and addressed.name != process.expert else []
        if process.employer is not None and process.system != speaker.prompt:
            told = [speaker.prompt]  # a child has the front of whoever gave it its task
        await self._tell(process, message.turn, speaker, told, text)
        return speaker

    def _begun_with(self, pid: int) -> str:
        roles = self._journal.records(pid, role=Kind.ROLE)
        return roles[-1].stored.message.name if roles else ""

    async def _inherited(self, child: Process, employer: Process, task: int) -> str:
        """Who gave a child its task, and so speaks in it: it may call no more than that one may.

        Args:
            task: Where its task stands in the journal.
        """

        def read() -> str:
            before = [r for r in self._journal.records(employer.pid) if r.stored.seq < task]
            turn = next(
                (r.stored.turn for r in reversed(before) if r.stored.message.role == "assistant"), 0
            )
            for record in before:
                if record.stored.message.role == Kind.EXPERT and record.stored.turn == turn:
                    return record.stored.message.name
            return employer.expert or self._begun_with(employer.pid)

        name = await asyncio.to_thread(read)
        if name:
            role = Message(Kind.ROLE, "", name=name)
            await self._journal.append(child.pid, role, label=Label(Origin.MODEL))
        return name

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
        label = Label(Origin.SYSTEM if speaker.ours else Origin.PLUGIN)
        said = Message(Kind.EXPERT, "\n\n".join(told), name=speaker.name)
        stored = await self._transcript.keep(process, turn, said, label=label)
        if given:
            await self._exhibits.keep(process.pid, turn, "", given, label, stored.id)
