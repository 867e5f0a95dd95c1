"""The process table and the entry points; nothing else.

Every terminal and every client comes in here, through the server. Lives on one asyncio loop.
Whatever it acknowledges is in the journal first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from llmos import __version__, limits
from llmos.config import Config
from llmos.engine.backend import Backend
from llmos.errors import ExpertError, KernelError, LlmosError, NoSuchReminder, ProcessEnded
from llmos.events import (
    BY_REMINDER,
    REMINDER,
    ArtifactsMade,
    Cited,
    Event,
    Message,
    ProcessInfo,
    Recalled,
    StoredMessage,
    WindowChanged,
)
from llmos.kernel.agent import Agent
from llmos.kernel.artifacts import Artifacts
from llmos.kernel.calling import Caller
from llmos.kernel.children import Children
from llmos.kernel.dream import Dream
from llmos.kernel.evidence import Exhibits
from llmos.kernel.gate import Gate
from llmos.kernel.guide import Guide
from llmos.kernel.history import heard_of, note, settled
from llmos.kernel.hub import Hub
from llmos.kernel.idle import Idle
from llmos.kernel.keeper import Keeper
from llmos.kernel.lending import Lender
from llmos.kernel.memory import Memory
from llmos.kernel.permissions import Permissions
from llmos.kernel.policy import Policy
from llmos.kernel.process import Budget, LiveTurn, Process, State, priority_named, titled
from llmos.kernel.questions import Questions
from llmos.kernel.reader import Reader
from llmos.kernel.replay import Replay
from llmos.kernel.results import Results
from llmos.kernel.settling import Settler
from llmos.kernel.speakers import Speakers
from llmos.kernel.specialist import Staff
from llmos.kernel.standing import Standings
from llmos.kernel.syscalls import SyscallTable
from llmos.kernel.table import Table
from llmos.kernel.tracer import Tracer
from llmos.kernel.transcript import Transcript, never_said
from llmos.labels import Label, Origin
from llmos.memory.append import Draft
from llmos.memory.bulk import Conversation, spoken
from llmos.memory.embed import ModelEmbedder
from llmos.memory.facts import Facts
from llmos.memory.grants import Grants
from llmos.memory.journal import Journal
from llmos.memory.pages import CONVERSATION, Kind
from llmos.memory.records import piped, unheard
from llmos.memory.whole import whole
from llmos.services import Timer

__all__ = ["SIGNALS", "Kernel"]

log = logging.getLogger(__name__)

SIGNALS = ("interrupt", "stop", "continue", "terminate")


class Kernel:
    """All processes on one processor.

    Args:
        config: Settings.
        backend: The processor, started.
        journal: The truth.
        calls: The syscall table.
        guide: Helps small models to their calls.
        memory: What is remembered beyond the windows, started; None for none.
        embedder: What clients may have their texts embedded by; None for nothing.
        grants: What is allowed for longer; those of the journal where not given.
        lender: What calls are lent of the world outside, opened; None for nothing.
        staff: The experts there are; None for none.
        hint: A sentence for the person, such as that a better model fits this machine.
        broken: A sentence for each tool that could not be loaded.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        journal: Journal,
        calls: SyscallTable,
        *,
        guide: Guide | None = None,
        memory: Memory | None = None,
        embedder: ModelEmbedder | None = None,
        grants: Grants | None = None,
        lender: Lender | None = None,
        staff: Staff | None = None,
        hint: str = "",
        broken: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.backend = backend
        self.journal = journal
        self.calls = calls
        self.embedder = embedder
        self.hub = Hub(lambda pid: [*self.table.turn_states(pid), *self.permissions.waiting(pid)])
        self.table = Table(journal, self._tell)
        self.stopping = asyncio.Event()
        self.last_active = time.monotonic()
        self._hint = hint
        self._broken = list(broken)
        self._closing = False
        self._started = time.monotonic()
        publish = self.hub.publish
        self.memory = memory
        self._transcript = Transcript(backend, journal, publish, config.agent, memory)
        facts = memory.facts if memory is not None else Facts(journal)
        grants = grants or Grants(journal, facts.home)
        questions = Questions(publish, self.hub.answered)
        self.permissions = Permissions(questions, grants, calls, self.table)
        self.artifacts = Artifacts(config.state / "artifacts")
        standings = Standings(journal, grants, Settler(backend).settle, self._told)
        gate = Gate(journal, grants, questions, standings, Policy(config.policy))
        exhibits = Exhibits(journal)
        results = Results(journal, self._transcript, self.artifacts, exhibits, publish)
        self._agent = Agent(
            backend,
            calls,
            Caller(gate, journal, exhibits, publish),
            journal,
            self._transcript,
            results,
            publish,
            config.agent,
            guide,
            Speakers(staff, journal, self._transcript, exhibits) if staff is not None else None,
        )
        self.reader = Reader(backend, self._agent.caller)
        self.staff = staff
        self._lender = lender
        if lender is not None:
            lender.nested = self._agent.caller.nested
            self._agent.caller.for_code = SyscallTable([lender.content()])
            if memory is not None:
                memory.forgetting.elsewhere.append(lender.forget)
        replay = Replay(backend, calls, journal, config.agent, config.state / "replay", guide)
        self.idle: Idle | None = None
        if memory is not None:
            dream = Dream(
                backend,
                journal,
                memory,
                self._transcript,
                self.table.by_use,
                writes=not backend.info.small,
            )
            self.idle = Idle(
                dream,
                config.memory.dream_minutes,
                busy=lambda: self._working or self.keeper.taking,
                news=lambda: journal.commits,
                write=backend.info.computes_here,
            )
        self.keeper = Keeper(
            memory,
            self.idle,
            self.table,
            self._transcript,
            journal,
            backend,
            self._wake,
            replay,
            config.state / "swap",
            partial(self.artifacts.sweep, journal),
        )
        self.tracer = Tracer(journal, calls, replay, self.keeper)
        hand = partial(self.send, origin=Origin.MODEL)  # a task in a model's words
        self.children = Children(self.table, journal, self._create, hand, self._end, self.wait)

    async def restore(self) -> None:
        """Take up the living processes of the journal, and the messages nobody answered.

        A message is taken up again once, and only where its turn had made no call: a second run
        could repeat an effect, or the crash. What was said in a process is read at its first turn.
        """
        for call in self.journal.open_calls():
            await self.journal.finish_call(call.number, error="interrupted")
        paid = await asyncio.to_thread(self.journal.paid)
        roles = await asyncio.to_thread(self.journal.records_of, Kind.ROLE)
        experts = {record.pid: record.stored.message.name for record in roles}
        for stored in reversed(self.journal.processes()):  # parents first
            process = Process.restored(stored)
            process.paid_tokens, process.paid_calls = paid.get(process.pid, (0, 0))
            process.expert = experts.get(process.pid)  # of a fork it is read at its first turn
            if stored.employed:
                process.employer = self.table.get(stored.parent)
            self.table.add(process)
        for record in await asyncio.to_thread(self.journal.unanswered):
            await self.journal.finish_turn(record.pid, record.stored.turn, "taken up")
            self.table[record.pid].mailbox.append(record.stored)
        await asyncio.to_thread(self.artifacts.sweep, self.journal)  # of what a kill came before
        self.keeper.forget_at_rest()  # what a kill came before; turns wait for it
        for process in self.table.all_living():
            self._wake(process)
        if self.idle is not None:
            self.idle.start()

    # --- processes --------------------------------------------------------------------------

    def processes(self, ended: bool = False) -> list[ProcessInfo]:
        """All processes, newest first; also those that ended, where asked."""
        living = {p.pid: p for p in self.table.all_living()}
        if not ended:
            return [self._info(p) for _, p in sorted(living.items(), reverse=True)]
        stored = self.journal.processes(ended=True)
        return [self._info(living.get(s.pid) or Process.restored(s)) for s in stored]

    def process(self, pid: int) -> ProcessInfo:
        """One process, living or ended.

        Raises:
            NoSuchProcess: There never was one.
        """
        return self._info(self.table.find(pid))

    async def create(
        self,
        *,
        title: str = "",
        system: str = "",
        priority: str = "interactive",
        parent: int = 0,
        budget: Mapping[str, float] | None = None,
        expert: str = "",
    ) -> ProcessInfo:
        """A new process.

        Args:
            expert: Who speaks in it; its prompt stands in the place of ``system``.

        Raises:
            ExpertError: There is no such expert, or it is broken.
            KernelError: The priority or the budget is not one.
            NoSuchProcess: There is no ``parent``.
        """
        if expert:
            if self.staff is None:
                raise ExpertError("There are no experts here.")
            system = (await self.staff.named(expert)).prompt
        made = await whole(self._create(title, system, priority, parent, budget))
        if expert:
            made.expert = expert
            role = Message(Kind.ROLE, "", name=expert)
            await whole(self.journal.append(made.pid, role, label=Label(Origin.USER)))
        return self._info(made)

    async def _create(
        self,
        title: str,
        system: str,
        priority: str,
        parent: int,
        budget: Mapping[str, float] | None,
        employer: Process | None = None,
    ) -> Process:
        self._require_open()
        priority_named(priority)
        allowed = Budget.of(budget)
        if parent:
            allowed = allowed.within(self.table.living(parent).remaining())
        stored = await self.journal.create_process(
            title=title[: limits.TITLE_CHARS],
            system=system,
            priority=priority,
            parent=parent,
            budget=allowed.to_json(),
            employed=employer is not None,
        )
        process = Process.restored(stored)
        process.employer = employer
        return self._add(process)

    async def rename(self, pid: int, title: str) -> ProcessInfo:
        """Give a process another title."""
        process = self.table.living(pid)
        await self.journal.rename(pid, title[: limits.TITLE_CHARS])
        process.title = title[: limits.TITLE_CHARS]
        self.table.changed(process)
        return self._info(process)

    async def fork(self, pid: int) -> ProcessInfo:
        """A new process with the same history; its first turn prefills nothing of it again.

        Shared are the turns that are over; one under way, and messages that wait, are not.
        """
        return self._info(await whole(self._fork(pid)))

    async def _fork(self, pid: int) -> Process:
        self._require_open()
        parent = self.table.living(pid)
        records = await asyncio.to_thread(self.journal.records, pid)
        shared = settled(records, pid, parent.first_open_turn)
        stored = await self.journal.fork_process(
            pid,
            budget=parent.remaining().to_json(),
            upto=max((r.stored.seq for r in shared), default=0),
        )
        child = Process.restored(stored)
        child.context_tokens, child.expert = parent.context_tokens, parent.expert
        return self._add(child)

    async def signal(self, pid: int, signal: str) -> ProcessInfo:
        """Send one of ``SIGNALS``.

        Raises:
            KernelError: There is no such signal.
        """
        if signal not in SIGNALS:
            raise KernelError(f"There is no signal {signal!r}; there are {', '.join(SIGNALS)}.")
        process = self.table.living(pid)
        if signal == "terminate":
            return await self.kill(pid)
        if signal == "interrupt":
            for each in [process, *self.table.employed(process)]:
                if each.task is not None:
                    each.interrupt()
        elif signal == "stop" and process.state is not State.STOPPED:
            process.stop()
            self.table.changed(process)
        elif signal == "continue" and process.state is State.STOPPED:
            process.go_on()
            self.table.changed(process)
            self._wake(process)
        return self._info(process)

    async def heard(self, pid: int, turn: int, text: str) -> ProcessInfo:
        """Of the reply of a process's last turn, only the beginning ``text`` was heard.

        One still being written is interrupted. From now on the conversation has only what was
        heard of it; calls stay. Twice, the second time something shorter, is no mistake.

        Args:
            text: A beginning of what the reply says, letter by letter; empty where nothing was
                heard. Where the turn said something before its calls, too: of all that, one after
                the other, with a blank line between them or nothing.

        Raises:
            KernelError: It is no beginning of the reply; or it is not the last turn's.
            ProcessEnded: The process has ended.
        """
        self._require_open()
        while True:
            process = self.table.living(pid)
            waiting = any(message.turn == turn for message in process.mailbox)
            if turn != process.turns or waiting:
                raise KernelError(
                    f"Turn {turn} of process {pid} is not the last one that was answered.",
                    remedy="Only the last reply can be cut to what was heard.",
                )
            if process.live is not None:
                if await self._heard_live(process, process.live, text):
                    return self._info(process)
            elif process.task is not None:
                await asyncio.wait([process.task])
            elif self.keeper.taking:
                await self.keeper.at_rest()
            else:
                break
        process.stop_ahead()
        # In the place of a turn, so that none begins and nothing is forgotten meanwhile.
        process.task = asyncio.create_task(self._heard(process, turn, text), name=f"heard {pid}")
        await asyncio.shield(process.task)
        return self._info(process)

    async def _heard_live(self, process: Process, live: LiveTurn, text: str) -> bool:
        """End a turn that is being answered, and have only what was heard of it kept.

        Returns:
            False where it was ending already, and is over now: it kept more.
        """
        said = await self._transcript.replies(process, live.number)
        if live.ending:
            await live.over.wait()
            return False
        texts = [*(record.stored.message.content for record in said), live.written]
        longer = live.heard is not None and not live.heard.startswith(text)
        if longer or heard_of(texts, text) is None:
            raise never_said(live.number)
        live.heard = text
        for each in [process, *self.table.employed(process)]:
            if each.task is not None:
                each.interrupt()
        await live.over.wait()
        if live.lost is not None:
            raise live.lost
        return True

    async def _heard(self, process: Process, turn: int, text: str) -> None:
        try:
            if not await self._transcript.replies(process, turn):
                raise KernelError(
                    f"Nothing was said in turn {turn} of process {process.pid}.",
                    remedy="What a fork shares with its parent is cut in the parent.",
                )
            await self._transcript.open(process, turn + 1)
            await self._transcript.cut(process, turn, text)
            await self._transcript.recount(process)
        finally:
            process.task = None
            self.keeper.forget_at_rest()
            if self.memory is not None:
                self.memory.feed.news()
            self._wake(process)

    async def kill(self, pid: int) -> ProcessInfo:
        """End a process at once; what it wrote so far is kept, its children end too."""
        return await whole(self._end(self.table.living(pid), "killed"))

    async def _end(self, process: Process, reason: str) -> ProcessInfo:
        process.mailbox.clear()
        process.state, process.reason = State.ENDED, reason
        process.stop_ahead()
        process.interrupt()
        for child in self.table.employed(process):
            if child.employer is process and child.state is not State.ENDED:
                await self._end(child, reason)
        if process.task is not None:
            await asyncio.wait([process.task])
        if self._lender is not None:
            try:
                await self._lender.ended(process.pid)
            except (LlmosError, OSError) as error:  # it ends all the same
                log.warning("what process %d was lent is not taken back: %s", process.pid, error)
        try:
            await self.journal.end_process(process.pid, reason)
        finally:
            self.table.remove(process)
            process.idle.set()
            self.table.changed(process)
        return self._info(process)

    async def wait(self, pid: int, seconds: float | None = None) -> ProcessInfo:
        """Return when the process has nothing to do or has ended, or after ``seconds``."""
        process = self.table.find(pid)
        if process.state is not State.ENDED:
            try:
                await asyncio.wait_for(process.idle.wait(), seconds)
            except TimeoutError:
                pass
        return self._info(process)

    # --- messages ---------------------------------------------------------------------------

    async def send(
        self,
        pid: int,
        text: str,
        *,
        given: str = "",
        origin: Origin = Origin.USER,
        by: str = "",
    ) -> str:
        """Journal a message and have it answered in turn.

        Args:
            given: A text that goes with a person's words and need not be theirs, such as one that
                was piped in: the model reads it, and it counts as a stranger's. Without any words
                beside it it is what the model answers, and asks for no effect.
            origin: Whose words they are; only a person's own can ask for an effect.
            by: What wrote it, where no person did; shown to people, not to the model.

        Returns:
            Its id, once it is on the disk.

        Raises:
            ExpertError: It begins with the name of an expert that is not there, or is broken.
            KernelError: It is empty, too long, or the mailbox is full.
            ProcessEnded: The process has ended.
        """
        self._require_open()
        self.table.living(pid)
        text = text if text.strip() else ""
        if not text and not given.strip():
            raise KernelError("The message is empty.")
        if len(text) + len(given) > limits.MESSAGE_CHARS:
            raise KernelError(
                f"The message is longer than {limits.MESSAGE_CHARS} characters.",
                remedy="Put it into a file, and name the file.",
            )
        if (
            self.staff is not None and text and origin is Origin.USER
        ):  # who else writes addresses nobody
            await self.staff.addressed(text)
            self._require_open()
        process = self.table.living(pid)
        if len(process.mailbox) >= limits.MAILBOX_MAX:
            raise KernelError(
                f"Process {pid} has too many unanswered messages.",
                remedy="Wait for an answer, or interrupt it.",
            )
        message, label = Message("user", text, name=by), Label(origin)
        if given.strip():
            message = piped(text, given)
            label = Label(Origin.UNTRUSTED).kept_private()
        return await whole(self._send(process, message, label, titled(text or given)))

    async def experts(self) -> Sequence[dict[str, Any]]:
        """The experts there are, and why one is broken."""
        return await self.staff.listed() if self.staff is not None else []

    async def prepare(self, expert: str) -> None:
        """Have the front of an expert's conversations computed, so that its first one begins warm.

        Raises:
            ExpertError: There is no such expert, or it is broken.
        """
        if self.staff is None:
            raise ExpertError("There are no experts here.")
        speaker = await self.staff.named(expert)
        front = self._agent.shaped([Message("system", speaker.prompt)], speaker.calls)
        await self._transcript.compute(front)

    async def remind(self, pid: int, timer: Timer) -> None:
        """Wake a process with a reminder.

        Raises:
            NoSuchProcess: There is none any more.
            ProcessEnded: It has ended.
        """
        text = f"{REMINDER} {timer.text}"
        await self.send(pid, text, origin=Origin.MODEL, by=BY_REMINDER)

    def reminders(self) -> Sequence[Timer]:
        """Reminders of all processes that are still to come, the next one first."""
        return self._lender.timers.all() if self._lender is not None else []

    async def cancel_reminder(self, id: str) -> Timer:
        """Take a reminder back.

        Raises:
            NoSuchReminder: There is none of that id.
        """
        if self._lender is None:
            raise NoSuchReminder("There are no reminders.")
        return await asyncio.to_thread(self._lender.timers.take, id)

    async def _send(self, process: Process, message: Message, label: Label, title: str) -> str:
        pid = process.pid
        process.turns += 1
        turn = process.turns
        stored = await self.journal.append(pid, message, turn=turn, label=label)
        if process.state is State.ENDED:
            raise ProcessEnded(f"Process {pid} has ended.")
        process.active = stored.time
        process.mailbox.append(stored)
        self._wake(process)
        if not process.title:
            try:
                await self.rename(pid, title)
            except LlmosError as error:  # the message is kept, and that is what was asked for
                log.warning("process %d has no title: %s", pid, error)
        return stored.id

    async def messages(self, pid: int, after: int = 0) -> list[StoredMessage]:
        """The conversation from the journal, oldest first."""
        return [
            entry for entry in await self.history(pid, after) if isinstance(entry, StoredMessage)
        ]

    async def history(
        self, pid: int, after: int = 0
    ) -> list[StoredMessage | Recalled | WindowChanged | ArtifactsMade | Cited]:
        """As ``messages``, with what was brought back and what left the window between them."""
        records = await asyncio.to_thread(self.journal.records, pid, after)
        told = (
            r.stored if r.stored.message.role in CONVERSATION else note(r)
            for r in records
            if not unheard(r)
        )
        return [entry for entry in told if entry is not None]

    def subscribe(
        self, pid: int = 0, *, answers: bool = False
    ) -> AbstractContextManager[AsyncIterator[Event]]:
        """Events of one process or (0) of all, from the moment this is entered.

        Args:
            answers: Whether a person is there who can answer questions about calls.
        """
        if pid:
            self.table.find(pid)
        return self.hub.subscribe(pid, answers=answers)

    def _told(self, process: Process) -> list[str]:
        """What the system itself says in a process: its prompt, and what is remembered."""
        core = self.memory.facts.core() if self.memory is not None else ""
        return [process.system or self.config.agent.system, core]

    async def import_messages(
        self, said: Sequence[tuple[str, str, float]], *, title: str = "", mine: bool = False
    ) -> ProcessInfo:
        """A conversation that happened elsewhere, as a new process.

        Args:
            said: Role (``user`` or ``assistant``), text and time of each message, oldest first; of
                one without a time (0) it is that of the one before, or now.
            title: Its title; made of the first message where empty.
            mine: Whether ``user`` is the person here, and the assistant a model of theirs; without
                that, nothing of it is trusted.
        """
        self._require_open()
        drafts, turn, last = [], 0, time.time()
        for role, text, moment in said:
            last = moment or last
            turn += role == "user" or not turn
            label = Label(spoken(role, mine=mine))
            drafts.append(Draft(Message(role, text), turn, last, label))
        title = (title or titled(said[0][1] if said else ""))[: limits.TITLE_CHARS]
        past = Conversation(title=title, created=time.time(), items=drafts)
        made = await self.journal.import_process(past)
        if self.memory is not None:
            self.memory.feed.news()
        return self._info(self._add(Process.restored(self.journal.process(made.pid))))

    async def draft(self, pid: int, text: str) -> None:
        """Have what is being typed to an idle process computed ahead; wrong guesses cost idle time.

        Raises:
            ProcessEnded: The process has ended.
        """
        process = self.table.living(pid)
        self.touch()
        await self.keeper.at_rest()
        idle = process.task is None and not process.mailbox and process.state is State.READY
        if idle and text.strip() and not self._closing:
            await self._transcript.draft(process, text)

    # --- the kernel -------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What a terminal shows of the kernel."""
        info = self.backend.info
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "state": str(self.config.state),
            "engine": "running" if self.backend.alive else "stopped",
            "model": {
                "name": info.name,
                "window": info.window,
                "parameters": info.parameters,
                "device": info.device,
                "path": info.path,
            },
            "hint": f"{self._words_alone()} {self._hint}".strip(),
            "broken": self._broken,
        }

    def _words_alone(self) -> str:
        """Why nothing is searched by its meaning now; empty where it is, or nobody wants it."""
        why = self.memory.index.failing if self.memory is not None else ""
        return f"Searches go by words for now: {why}" if why else ""

    def stats(self) -> dict[str, Any]:
        """Counters and gauges, JSON-ready."""
        states = [p.state.value for p in self.table]
        return {
            "uptime_s": round(time.monotonic() - self._started, 3),
            "listeners": len(self.hub),
            "processes": {state.value: states.count(state.value) for state in State},
            "engine": self.backend.stats(),
            "memory": self.memory.stats() if self.memory is not None else {},
        }

    @property
    def busy(self) -> bool:
        """Whether anybody listens or anything runs, requests of other programs included."""
        return bool(len(self.hub)) or self._working

    @property
    def _working(self) -> bool:
        generating = any(self.backend.stats().get(name) for name in ("running", "waiting"))
        return generating or self.table.working

    def touch(self) -> None:
        """Somebody does something: what is done while nobody is there stops at once."""
        self.last_active = time.monotonic()
        if self.idle is not None:
            self.idle.touch()

    async def shutdown(self) -> None:
        """Ask whoever serves the kernel to stop; returns at once."""
        self.stopping.set()

    async def close(self) -> None:
        """Cut running turns, keep what they wrote, close journal and processor.

        Messages that wait are answered when a kernel starts again.
        """
        self._closing = True
        await self.keeper.close()
        tasks = [p.ahead for p in self.table if p.ahead is not None]
        for process in self.table:
            process.mailbox.clear()
            process.stop_ahead()
            process.interrupt()
        tasks += [p.task for p in self.table if p.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=limits.CLOSE_SECONDS)
            for task in late:
                log.error("%s does not end; what it wrote last is lost", task.get_name())
                task.cancel()
        self.hub.close()
        try:
            if self.memory is not None:
                await self.memory.close()  # it reads the journal
        finally:
            try:
                await self.journal.close()
            finally:
                await self.backend.close()

    # --- inside -----------------------------------------------------------------------------

    def _add(self, process: Process) -> Process:
        self.table.changed(self.table.add(process))
        return process

    def _tell(self, event: Event) -> None:
        """Publish what has become of a process."""
        self.last_active = time.monotonic()
        self.hub.publish(event)

    def _require_open(self) -> None:
        if self._closing:
            raise KernelError("The kernel is stopping.")

    def _info(self, process: Process) -> ProcessInfo:
        return process.info(self.backend.info.window)

    def _wake(self, process: Process) -> None:
        """Have the process's messages answered, one turn after the other."""
        if process.task is not None or not process.mailbox:
            return
        if self._closing or not self.backend.alive:
            return  # the next kernel answers
        if process.state is not State.STOPPED:
            self.touch()
            process.idle.clear()
            process.task = asyncio.create_task(self._run(process), name=f"process {process.pid}")

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Nothing is embedded in the background meanwhile; afterwards the index is fed."""
        if self.memory is None:
            yield
            return
        self.memory.index.pause()
        try:
            yield
        finally:
            self.memory.index.resume()
            self.memory.feed.news()

    async def _run(self, process: Process) -> None:
        try:
            while process.mailbox and process.state not in (State.STOPPED, State.ENDED):
                process.state = State.RUNNING
                self.table.changed(process)
                process.stop_ahead()
                await self.keeper.at_rest()
                with self._undisturbed():
                    await self._agent.turn(process, process.mailbox.popleft())
                if not self.backend.alive and not self._closing:
                    log.error("the engine has died: the kernel stops, the next one starts anew")
                    self.stopping.set()
                    break  # what waits is answered by the next kernel
                if not (process.mailbox or self._closing or process.state is State.ENDED):
                    await self._transcript.rest(process)
        except Exception:
            log.exception("process %d", process.pid)
        finally:
            process.task = None
            self.keeper.forget_at_rest()
            process.idle.set()
            if process.state in (State.RUNNING, State.WAITING):
                process.state = State.READY
            self.table.changed(process)
            if process.state is State.READY:
                self._wake(process)  # for what came while it failed
