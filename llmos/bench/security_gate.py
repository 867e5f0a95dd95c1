"""The gate of a running kernel, for a bench: its journal, its standings, its questions; no model.

What a call meets here is what it meets in the kernel (``llmos.kernel.gate``): what was said is read
from a journal by its labels, the rules judge, a person is asked, and what was settled is used up.
Only what a model and a tool would write is put into the journal by whoever plays.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from llmos.bench.security_declared import UNKNOWN, Entry
from llmos.errors import CallDenied, KernelError
from llmos.events import CallAsked, Event, Message, ToolCall
from llmos.kernel.capabilities import Capabilities
from llmos.kernel.gate import Gate
from llmos.kernel.monitor import Seen
from llmos.kernel.process import Process
from llmos.kernel.questions import Answered, Questions
from llmos.kernel.standing import Standings
from llmos.kernel.syscalls import Syscall, SyscallTable
from llmos.kernel.trust import vouched
from llmos.kernel.turn import Turn
from llmos.labels import Label, Origin, named
from llmos.memory.grants import Grants
from llmos.memory.journal import Journal, new_id
from llmos.memory.pages import Kind
from llmos.memory.records import Record
from llmos.memory.window import Window

__all__ = ["Gates", "Talk", "gates"]

_TURN = 1  # every conversation of a bench is one message of a person and what follows

#: Whether the person allows a call, as they are asked.
Allows = Callable[[str, Mapping[str, Any]], bool]


@asynccontextmanager
async def gates() -> AsyncIterator[Gates]:
    """A gate with a journal that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as folder:
        journal = Journal(Path(folder) / "journal.db")
        try:
            yield Gates(journal)
        finally:
            await journal.close()


class Gates:
    """Conversations before one gate.

    Args:
        journal: Keeps what is said in them.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._talks: dict[int, Talk] = {}
        self._questions = Questions(self._ask, lambda pid: self._talks[pid].allows is not None)
        grants = Grants(journal, _nowhere)
        self.standings = Standings(journal, grants, self._settle, lambda process: [process.system])
        self.gate = Gate(journal, grants, self._questions, self.standings)

    async def talk(
        self,
        said: str,
        declared: Mapping[str, Entry],
        planned: Capabilities,
        allows: Allows | None,
    ) -> Talk:
        """Begin a conversation.

        Args:
            said: The person's words.
            declared: By name, what calls say of themselves.
            planned: What the words ask for: it is settled once a stranger was heard.
            allows: The person who is asked; None where nobody is there.

        Raises:
            StoreError: It cannot be kept.
        """
        process = Process.restored(await self.journal.create_process())
        message, label = Message(Kind.USER, said), Label(Origin.USER)
        kept = await self.journal.append(process.pid, message, turn=_TURN, label=label)
        process.window = Window("")
        process.window.add(Record(process.pid, kept, label))
        talk = self._talks[process.pid] = Talk(self, process, declared, planned, allows)
        return talk

    def over(self, talk: Talk) -> None:
        """A conversation is over."""
        del self._talks[talk.process.pid]

    async def _settle(self, process: Process, _calls: SyscallTable, _words: str) -> Capabilities:
        return self._talks[process.pid].planned

    def _ask(self, event: Event) -> None:
        """The person answers at once."""
        if isinstance(event, CallAsked):
            talk = self._talks[event.pid]
            talk.asked += 1
            assert talk.allows is not None
            yes = talk.allows(event.call.name, event.call.arguments)
            self._questions.answer(event.pid, event.call.id, Answered.ONCE if yes else Answered.NO)


class Talk:
    """One conversation, in its first turn.

    Args:
        gates: What its calls pass.
        process: Whose turn it is.
        declared / planned / allows: See ``Gates.talk``.
    """

    def __init__(
        self,
        gates: Gates,
        process: Process,
        declared: Mapping[str, Entry],
        planned: Capabilities,
        allows: Allows | None,
    ) -> None:
        self.process = process
        self.planned = planned
        self.allows = allows
        self.asked = 0  # questions to the person, so far
        self._gates = gates
        self._declared = declared
        rows = (_row(name, entry) for name, entry in declared.items())
        self._turn = Turn(process, _TURN, SyscallTable(rows))

    async def may(self, name: str, arguments: Mapping[str, Any]) -> ToolCall | None:
        """The call, once it has passed the gate; None where it was denied.

        Raises:
            StoreError: It cannot be kept.
        """
        call = ToolCall(new_id(), name, dict(arguments))
        message = Message(Kind.ASSISTANT, "", (call,))
        await self._keep(message, Label(Origin.MODEL))
        row = self._turn.calls.get(name) if name in self._turn.calls else _row(name, UNKNOWN)
        try:
            await self._gates.gate.admit(self._turn, row, call)
        except CallDenied:
            return None
        return call

    async def answered(self, call: ToolCall, text: str, data: object) -> None:
        """Keep what a call gave, labelled and vouched for as it is declared.

        Raises:
            StoreError: It cannot be kept.
        """
        entry = self._declared.get(call.name, UNKNOWN)
        message = Message(Kind.TOOL, text, call_id=call.id, name=call.name)
        await self._keep(message, _label(entry))
        if values := vouched(entry.trusted, data):
            content = json.dumps({"vouched": values}, ensure_ascii=False)
            beside = Message(Kind.VOUCHED, content, call_id=call.id, name=call.name)
            await self._keep(beside, Label(Origin.SYSTEM))

    async def seen(self) -> Seen:
        """What the rules know of the conversation now."""
        return (await self._gates.standings.of(self._turn)).seen

    async def _keep(self, message: Message, label: Label) -> None:
        await self._gates.journal.append(self.process.pid, message, turn=_TURN, label=label)


def _row(name: str, entry: Entry) -> Syscall:
    """A call as the kernel has it in its table; what it does is up to whoever plays."""
    declared = entry.declared
    return Syscall(
        name=name,
        description="",
        schema={},
        effect=declared.effect,
        run=_unmade,
        sources=declared.arguments,
        among=declared.among,
        defaults=declared.defaults,
        label=_label(entry),
    )


def _label(entry: Entry) -> Label:
    label = Label(named(entry.origin))
    return label.kept_private() if entry.private else label


async def _unmade(*_: Any) -> NoReturn:
    raise KernelError("A bench makes its calls itself.")


async def _nowhere() -> int:
    raise KernelError("Nothing is granted in a bench.")
