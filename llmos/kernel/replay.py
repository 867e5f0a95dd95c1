"""Re-runs a conversation from the journal, without effects, and shows where the replies differ.

Works on a copy of the journal that is thrown away. Each turn is run again by the agent itself on
the window as it stood then: what was brought back and what had left is taken from the record.
Every call is answered with the result that stands there, in its order, and a call that differs is
refused, so nothing is done twice. Only a call that merely computes is made again, for the wording
of its result; where the result differs, the recorded one counts.

What a turn is compared with is the record; the next turn stands on the record again. Replies are
written greedily. The journal keeps neither seeds nor models: where the settings sample, or another
model is loaded now, a difference says nothing about either. What left the window in the middle of a
turn leaves by today's settings.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sqlite3
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmos import limits, paths
from llmos.config import AgentConfig
from llmos.engine.backend import Backend, Priority
from llmos.errors import CallDenied, KernelError, LlmosError, StoreError
from llmos.events import Event, StoredMessage, ToolCall
from llmos.kernel.agent import Agent
from llmos.kernel.artifacts import Artifacts
from llmos.kernel.calling import Caller
from llmos.kernel.evidence import Exhibits
from llmos.kernel.gate import Gate
from llmos.kernel.guide import Guide
from llmos.kernel.process import Budget, Process
from llmos.kernel.questions import Questions
from llmos.kernel.results import Results
from llmos.kernel.standing import Standings
from llmos.kernel.syscalls import CODE_RAISED, Invocation, Outcome, Syscall, SyscallTable
from llmos.kernel.transcript import Transcript
from llmos.memory.grants import Grants
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind
from llmos.memory.records import Record
from llmos.memory.view import Change
from llmos.memory.writer import connect, free_bytes, full, translate
from llmos.threads import in_thread

__all__ = ["Replay", "Replayed", "Turned"]

log = logging.getLogger(__name__)

_REFUSED = "In a replay only the recorded calls are answered, in their order."


@dataclass(frozen=True, slots=True)
class Turned:
    """One turn, as it was and as it is now.

    Args:
        turn: Its number.
        same: Whether replies and calls are the same; of a reply that was cut short, its beginning.
        recorded / replayed: The last reply.
        recorded_calls / replayed_calls: What was called, in order: name and arguments.
        error: Why the replay of this turn ended early; empty where it did not.
    """

    turn: int
    same: bool
    recorded: str
    replayed: str
    recorded_calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    replayed_calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A conversation that was run again.

    Args:
        pid: Whose.
        model: By which model.
        turns: Those that had a reply.
        notes: What a difference may come from, a sentence each.
    """

    pid: int
    model: str
    turns: tuple[Turned, ...]
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return all(turned.same for turned in self.turns)


class Replay:
    """Replays conversations of one kernel, one at a time.

    Args:
        backend: The processor; what waits for a person goes first.
        calls: The syscall table; of it only what merely computes is used.
        journal: What is replayed; nothing is written to it.
        config: How replies are written.
        folder: For the copy; whatever lies in it is removed.
        guide: Helps a small model to its calls, as in the kernel.
    """

    def __init__(
        self,
        backend: Backend,
        calls: SyscallTable,
        journal: Journal,
        config: AgentConfig,
        folder: Path,
        guide: Guide | None = None,
    ) -> None:
        self._backend = backend
        self._calls = calls
        self._journal = journal
        self._config = config
        self._folder = folder
        self._guide = guide
        self._one = asyncio.Lock()
        shutil.rmtree(folder, ignore_errors=True)  # a kill may have left a copy

    @property
    def running(self) -> bool:
        """Whether one is under way, with a copy of what it replays."""
        return self._one.locked()

    async def run(self, pid: int) -> Replayed:
        """Run the turns of a process again, oldest first, up to ``limits.REPLAY_TURNS``.

        Raises:
            NoSuchProcess: There is no ``pid``.
            KernelError: Another replay is under way.
            StoreError: The journal cannot be copied.
        """
        if self._one.locked():
            raise KernelError("Another conversation is being replayed; try again later.")
        async with self._one, self._copied(pid) as past:
            records = await asyncio.to_thread(past.whole)
            turns = _turns(records)
            replayed = [await self._turn(past, pid, turn) for turn in turns[: limits.REPLAY_TURNS]]
        notes = [
            f"The model loaded now is {self._backend.info.name}.",
            "A reply is computed beside what else is in the cache now; on a processor that rounds"
            " by the place of its cells, a word can differ for that alone.",
        ]
        if self._config.temperature:
            notes.append(
                f"Replies are sampled (temperature {self._config.temperature:g}) and no seed is"
                " kept: they are replayed greedily, and may differ by chance."
            )
        if len(turns) > limits.REPLAY_TURNS:
            notes.append(f"Only the first {limits.REPLAY_TURNS} turns were replayed.")
        return Replayed(pid, self._backend.info.name, tuple(replayed), tuple(notes))

    @asynccontextmanager
    async def _copied(self, pid: int) -> AsyncIterator[_Past]:
        self._journal.process(pid)  # raises where there is none
        try:
            folder = await in_thread(_copy, self._journal.path, self._folder)
        except asyncio.CancelledError:  # it was made all the same
            await in_thread(_emptied, self._folder)
            raise
        try:
            past = await in_thread(_Past, folder / "journal.db", pid)
            try:
                yield past
            finally:
                await past.close()
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _turn(self, past: _Past, pid: int, records: Sequence[Record]) -> Turned:
        asked = records[0].stored
        past.turn = asked.turn
        said = [r for r in records if r.stored.message.role == Kind.ASSISTANT and not r.erased]
        called = [call for record in said for call in record.stored.message.calls]
        answers = _Answers(called, records)
        process = Process.restored(past.process(pid))
        process.budget, process.priority = Budget(), Priority.IDLE
        ended: list[str] = []
        agent = self._agent(past, answers, records)
        try:
            await agent.turn(process, asked)
        except LlmosError as error:
            ended.append(str(error))
        except asyncio.CancelledError:
            process.interrupt()
            raise
        made = await asyncio.to_thread(past.made, asked.turn)
        replayed = [record.stored for record in made]
        return _compared(asked.turn, [record.stored for record in said], replayed, ended)

    def _agent(self, past: _Past, answers: _Answers, records: Sequence[Record]) -> Agent:
        def untold(_event: Event) -> None:
            """Nobody listens."""

        config = replace(self._config, temperature=0.0)
        table = SyscallTable(answers.row(row) for row in self._calls)
        transcript = _Retold(self._backend, past, untold, config)
        transcript.records = records
        questions = Questions(untold, lambda _pid: False)
        grants = Grants(past, _nowhere)
        standings = Standings(past, grants, _nothing_settled, lambda process: [process.system])
        gate = Gate(past, grants, questions, standings)
        exhibits = Exhibits(past)
        artifacts = Artifacts(past.path.parent / "artifacts")
        results = Results(past, transcript, artifacts, exhibits, untold)
        caller = Caller(gate, past, exhibits, untold)
        return Agent(
            self._backend, table, caller, past, transcript, results, untold, config, self._guide
        )


class _Past(Journal):
    """A copy of a journal, of which a process is seen as it was before one of its turns."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(path)
        self.turn = 0  # the one that is run again
        self._pid = pid
        with closing(connect(path)) as db:
            (self._last,) = db.execute("SELECT coalesce(max(seq), 0) FROM messages").fetchone()

    def whole(self) -> list[Record]:
        """What the record has of the process itself, in its order."""
        return [record for record in super().records(self._pid) if record.pid == self._pid]

    def made(self, turn: int) -> list[Record]:
        """What the model wrote when the turn was run again."""
        found = super().records(self._pid, self._last, role=Kind.ASSISTANT)
        return [record for record in found if record.stored.turn == turn]

    def records(
        self, pid: int = 0, after: int = 0, limit: int = -1, *, role: str = ""
    ) -> list[Record]:
        return [
            record
            for record in super().records(pid, after, limit, role=role)
            if record.pid != self._pid or record.stored.turn < self.turn
            if record.stored.seq <= self._last
        ]

    async def finish_turn(self, pid: int, turn: int, reason: str, **used: Any) -> None:
        """It has ended once; no later turn may take this one's end for that."""


class _Retold(Transcript):
    """Shows what the record says was shown with a message, instead of looking for it."""

    records: Sequence[Record] = ()  # of the turn, the message first

    async def begin(self, process: Process, message: StoredMessage) -> None:
        await self._show(process, self.records[0])  # by a person, a reminder, or what was piped in

    async def bring_back(self, process: Process, message: StoredMessage) -> None:
        for record in self.records[1:]:
            said = record.stored.message
            if said.role in (Kind.ASSISTANT, Kind.TOOL):
                return  # what follows was done in the midst of the turn
            if said.role == Kind.WINDOW and not record.erased:
                await self._change(process, message.turn, Change.of(record), ())
            elif said.role in (Kind.NOTE, Kind.RECALLED) and not record.erased:
                await self.keep(process, message.turn, said, label=record.label)


def _said(record: Record) -> tuple[str, ...]:
    """The ways to say a result that were kept with it; none where they were erased."""
    try:
        said = json.loads(record.stored.message.content or "{}").get("said", ())
    except (ValueError, AttributeError):
        return ()
    return tuple(sentence for sentence in said if isinstance(sentence, str))


class _Answers:
    """The results of a turn's recorded calls, handed out in their order.

    Args:
        calls: As the model wrote them.
        records: The turn's records.
    """

    def __init__(self, calls: Sequence[ToolCall], records: Sequence[Record]) -> None:
        self._left = deque(calls)
        results = [r for r in records if r.stored.message.role == Kind.TOOL]
        self._said = {
            r.stored.message.call_id: _said(r)
            for r in records
            if r.stored.message.role == Kind.VOUCHED
        }
        self._results: dict[str, deque[Record]] = {}
        for record in results:
            self._results.setdefault(record.stored.message.call_id, deque()).append(record)

    def row(self, row: Syscall) -> Syscall:
        """The row as it is answered here; it has no effect, whatever the call would have."""

        async def run(by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
            return await self._answer(row, by, arguments)

        harmless = row.effect if row.effect in ("pure", "read", "process", "memory") else "read"
        return replace(row, run=run, effect=harmless, preview=None)

    async def _answer(self, row: Syscall, by: Invocation, arguments: Mapping[str, Any]) -> Outcome:
        expected = self._left[0] if self._left else None
        if expected is None or (expected.name, expected.arguments) != (row.name, dict(arguments)):
            raise CallDenied(_REFUSED)
        self._left.popleft()
        found = self._results.get(expected.id)
        if not found:
            raise CallDenied("In the record this call has no result.")
        record = found.popleft()
        text, error = record.stored.message.content, record.stored.error
        if error and error != CODE_RAISED:
            failed = KernelError(text.removeprefix("Error: "))
            failed.code = error
            raise failed
        if row.effect == "pure" and not record.erased:
            outcome = await self._again(row, by, arguments)
            if outcome is not None and outcome.text == text:
                return replace(outcome, label=record.label)
        said = self._said.get(expected.id, ())
        return Outcome(text, said, label=record.label, failed=error == CODE_RAISED)

    async def _again(
        self, row: Syscall, by: Invocation, arguments: Mapping[str, Any]
    ) -> Outcome | None:
        try:
            return await row.run(by, arguments)
        except Exception as error:
            log.info("%s is answered from the record: %s", row.name, error)
            return None


def _turns(records: Sequence[Record]) -> list[list[Record]]:
    """The turns that had a reply, each beginning with the person's message."""
    turns: dict[int, list[Record]] = {}
    for record in records:
        if record.stored.message.role == Kind.USER:
            turns.setdefault(record.stored.turn, []).insert(0, record)
        elif record.stored.turn in turns:
            turns[record.stored.turn].append(record)
    return [
        turn
        for _, turn in sorted(turns.items())
        if not turn[0].erased
        and any(r.stored.message.role == Kind.ASSISTANT and not r.erased for r in turn)
    ]


def _compared(
    turn: int,
    recorded: Sequence[StoredMessage],
    replayed: Sequence[StoredMessage],
    ended: Sequence[str],
) -> Turned:
    def calls(said: Sequence[StoredMessage]) -> tuple[tuple[str, dict[str, Any]], ...]:
        return tuple((call.name, call.arguments) for m in said for call in m.message.calls)

    def texts(said: Sequence[StoredMessage]) -> list[str]:
        return [m.message.content for m in said]

    def alike(was: StoredMessage, now: str) -> bool:
        text = was.message.content
        return now.startswith(text) if was.partial else now == text

    was, now = texts(recorded), texts(replayed)
    same = calls(recorded) == calls(replayed)
    if recorded and recorded[-1].partial and now:
        kept = [*now[: len(was) - 1], now[-1]]
        same = same and len(kept) == len(was) and all(map(alike, recorded, kept))
    else:
        same = same and was == now
    return Turned(
        turn=turn,
        same=same and not ended,
        recorded=was[-1] if was else "",
        replayed=now[-1] if now else "",
        recorded_calls=calls(recorded),
        replayed_calls=calls(replayed),
        error=" ".join(ended),
    )


def _emptied(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left, ignore_errors=True)


def _copy(journal: Path, folder: Path) -> Path:
    """A private folder with a copy of the journal as it is in one moment.

    Raises:
        StoreError: There is no room for it, or it cannot be written.
    """
    try:
        paths.private_dir(folder)
        size = journal.stat().st_size
        if (free := free_bytes(journal)) < size + 2 * limits.STORE_FREE_BYTES:
            raise full(journal, free)
        into = Path(tempfile.mkdtemp(dir=folder))  # readable by this user alone
        copy = into / "journal.db"
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(connect(journal)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return into
    except OSError as error:
        why = error.strerror or str(error)
        raise StoreError(f"The journal cannot be copied to be replayed: {why}.") from error
    except sqlite3.Error as error:
        raise translate(error, journal) from error


async def _nowhere() -> int:
    raise StoreError("A replay keeps nothing.")


async def _nothing_settled(_process: Process, _calls: SyscallTable, _words: str) -> None:
    return None
