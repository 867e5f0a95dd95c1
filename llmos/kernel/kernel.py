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
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from llmos import __version__, limits
from llmos.config import Config
from llmos.engine.backend import Backend
from llmos.errors import CallFailed, KernelError, LlmosError, ProcessEnded
from llmos.events import Event, Message, ProcessChanged, ProcessInfo, StoredMessage, TurnState
from llmos.kernel.agent import Agent
from llmos.kernel.dream import Dream
from llmos.kernel.folders import Folders
from llmos.kernel.guide import Guide
from llmos.kernel.history import in_turns, settled
from llmos.kernel.hub import Hub
from llmos.kernel.idle import Idle
from llmos.kernel.memory import Memory
from llmos.kernel.monitor import Monitor
from llmos.kernel.process import Budget, Process, State, priority_named
from llmos.kernel.syscalls import SyscallTable
from llmos.kernel.transcript import Transcript
from llmos.kernel.whole import whole
from llmos.labels import Label, Origin
from llmos.memory.append import Draft
from llmos.memory.bulk import Conversation
from llmos.memory.derived import DreamState, Made
from llmos.memory.embed import ModelEmbedder
from llmos.memory.facts import Block, Fact
from llmos.memory.files.mounts import Mount, Progress
from llmos.memory.journal import Journal
from llmos.memory.pages import CONVERSATION, Page
from llmos.memory.passages import Hit
from llmos.memory.records import Record
from llmos.memory.window import Window

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
        hint: str = "",
        broken: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.backend = backend
        self.journal = journal
        self.calls = calls
        self.embedder = embedder
        self.hub = Hub(self._turn_states)
        self.stopping = asyncio.Event()
        self.last_active = time.monotonic()
        self._hint = hint
        self._broken = list(broken)
        self._closing = False
        self._started = time.monotonic()
        self._processes: dict[int, Process] = {}
        self._forgetting: asyncio.Task[int] | None = None  # no turn begins meanwhile
        publish = self.hub.publish
        self.memory = memory
        self._transcript = Transcript(backend, journal, publish, config.agent, memory)
        self._agent = Agent(
            backend, calls, Monitor(), journal, self._transcript, publish, config.agent, guide
        )

        self.idle: Idle | None = None
        if memory is not None:
            dream = Dream(
                backend,
                journal,
                memory,
                self._transcript,
                self._by_use,
                writes=not backend.info.small,
            )
            self.idle = Idle(
                dream,
                config.memory.dream_minutes,
                busy=lambda: self._working,
                news=lambda: journal.commits,
                write=not backend.info.native_calls,
            )

    async def restore(self) -> None:
        """Take up the living processes of the journal, and the messages nobody answered.

        A message is taken up again once, and only where its turn had made no call: a second run
        could repeat an effect, or the crash. What was said in a process is read at its first turn.
        """
        for call in self.journal.open_calls():
            await self.journal.finish_call(call.number, error="interrupted")
        paid = await asyncio.to_thread(self.journal.paid)
        for stored in reversed(self.journal.processes()):  # parents first
            process = Process.restored(stored)
            process.paid_tokens, process.paid_calls = paid.get(process.pid, (0, 0))
            if stored.employed:
                process.employer = self._processes.get(stored.parent)
            self._processes[process.pid] = process
        for record in await asyncio.to_thread(self.journal.unanswered):
            await self.journal.finish_turn(record.pid, record.stored.turn, "taken up")
            self._processes[record.pid].mailbox.append(record.stored)
        self._forget_at_rest()  # what a kill came before; turns wait for it
        for process in self._living_ones():
            self._wake(process)
        if self.idle is not None:
            self.idle.start()

    # --- processes --------------------------------------------------------------------------

    def processes(self, ended: bool = False) -> list[ProcessInfo]:
        """All processes, newest first; also those that ended, where asked."""
        living = {p.pid: p for p in self._living_ones()}
        if not ended:
            return [self._info(p) for _, p in sorted(living.items(), reverse=True)]
        stored = self.journal.processes(ended=True)
        return [self._info(living.get(s.pid) or Process.restored(s)) for s in stored]

    def process(self, pid: int) -> ProcessInfo:
        """One process, living or ended.

        Raises:
            NoSuchProcess: There never was one.
        """
        return self._info(self._find(pid))

    async def create(
        self,
        *,
        title: str = "",
        system: str = "",
        priority: str = "interactive",
        parent: int = 0,
        budget: Mapping[str, float] | None = None,
    ) -> ProcessInfo:
        """A new process.

        Raises:
            KernelError: The priority or the budget is not one.
            NoSuchProcess: There is no ``parent``.
        """
        return self._info(await whole(self._create(title, system, priority, parent, budget)))

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
            allowed = allowed.within(self._living(parent).remaining())
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
        process = self._living(pid)
        await self.journal.rename(pid, title[: limits.TITLE_CHARS])
        process.title = title[: limits.TITLE_CHARS]
        self._changed(process)
        return self._info(process)

    async def fork(self, pid: int) -> ProcessInfo:
        """A new process with the same history; its first turn prefills nothing of it again.

        Shared are the turns that are over; one under way, and messages that wait, are not.
        """
        return self._info(await whole(self._fork(pid)))

    async def _fork(self, pid: int) -> Process:
        self._require_open()
        parent = self._living(pid)
        records = await asyncio.to_thread(self.journal.records, pid)
        shared = settled(records, pid, parent.first_open_turn)
        stored = await self.journal.fork_process(
            pid,
            budget=parent.remaining().to_json(),
            upto=max((r.stored.seq for r in shared), default=0),
        )
        child = Process.restored(stored)
        child.context_tokens = parent.context_tokens
        return self._add(child)

    async def signal(self, pid: int, signal: str) -> ProcessInfo:
        """Send one of ``SIGNALS``.

        Raises:
            KernelError: There is no such signal.
        """
        if signal not in SIGNALS:
            raise KernelError(f"There is no signal {signal!r}; there are {', '.join(SIGNALS)}.")
        process = self._living(pid)
        if signal == "terminate":
            return await self.kill(pid)
        if signal == "interrupt":
            for each in [process, *self._employed(process)]:
                if each.task is not None:
                    each.interrupt()
        elif signal == "stop" and process.state is not State.STOPPED:
            process.stop()
            self._changed(process)
        elif signal == "continue" and process.state is State.STOPPED:
            process.go_on()
            self._changed(process)
            self._wake(process)
        return self._info(process)

    async def kill(self, pid: int) -> ProcessInfo:
        """End a process at once; what it wrote so far is kept, its children end too."""
        return await whole(self._end(self._living(pid), "killed"))

    async def _end(self, process: Process, reason: str) -> ProcessInfo:
        process.mailbox.clear()
        process.state, process.reason = State.ENDED, reason
        process.stop_ahead()
        process.interrupt()
        for child in self._employed(process):
            if child.employer is process and child.state is not State.ENDED:
                await self._end(child, reason)
        if process.task is not None:
            await asyncio.wait([process.task])
        try:
            await self.journal.end_process(process.pid, reason)
        finally:
            self._processes.pop(process.pid, None)
            process.idle.set()
            self._changed(process)
        return self._info(process)

    async def wait(self, pid: int, seconds: float | None = None) -> ProcessInfo:
        """Return when the process has nothing to do or has ended, or after ``seconds``."""
        process = self._find(pid)
        if process.state is not State.ENDED:
            try:
                await asyncio.wait_for(process.idle.wait(), seconds)
            except TimeoutError:
                pass
        return self._info(process)

    # --- messages ---------------------------------------------------------------------------

    async def send(self, pid: int, text: str) -> str:
        """Journal a message and have it answered in turn.

        Returns:
            Its id, once it is on the disk.

        Raises:
            KernelError: It is empty, too long, or the mailbox is full.
            ProcessEnded: The process has ended.
        """
        self._require_open()
        process = self._living(pid)
        if not text.strip():
            raise KernelError("The message is empty.")
        if len(text) > limits.MESSAGE_CHARS:
            raise KernelError(f"The message is longer than {limits.MESSAGE_CHARS} characters.")
        if len(process.mailbox) >= limits.MAILBOX_MAX:
            raise KernelError(f"Process {pid} has too many unanswered messages.")
        return await whole(self._send(process, text))

    async def _send(self, process: Process, text: str) -> str:
        pid = process.pid
        process.turns += 1
        turn = process.turns
        stored = await self.journal.append(
            pid, Message("user", text), turn=turn, label=Label(Origin.USER)
        )
        if process.state is State.ENDED:
            raise ProcessEnded(f"Process {pid} has ended.")
        process.active = stored.time
        process.mailbox.append(stored)
        self._wake(process)
        if not process.title:
            try:
                await self.rename(pid, _title(text))
            except LlmosError as error:  # the message is kept, and that is what was asked for
                log.warning("process %d has no title: %s", pid, error)
        return stored.id

    async def messages(self, pid: int, after: int = 0) -> list[StoredMessage]:
        """The conversation from the journal, oldest first."""
        stored = await asyncio.to_thread(self.journal.messages, pid, after)
        return [message for message in stored if message.message.role in CONVERSATION]

    def subscribe(self, pid: int = 0) -> AbstractContextManager[AsyncIterator[Event]]:
        """Events of one process or (0) of all, from the moment this is entered."""
        if pid:
            self._find(pid)
        return self.hub.subscribe(pid)

    # --- memory -----------------------------------------------------------------------------

    async def search(self, query: str, *, k: int = 5, pid: int = 0) -> list[Hit]:
        """Passages by meaning and by words, best first; of one conversation, or (0) of all."""
        return await self._memory().search(query, k=k, pid=pid)

    async def pages(self, written: str) -> Sequence[Page]:
        """The page of that id, or all pages of the record.

        Raises:
            NotStored: There is none.
        """
        return await self._memory().recall.pages(written)

    async def page_table(self, pid: int) -> list[tuple[Page, bool]]:
        """Every page of a conversation, and whether it is in view."""
        return (await self._window(pid)).pages()

    async def front(self, pid: int) -> str:
        """What the model is told before all that was said: the system prompt with what it holds."""
        return (await self._window(pid)).messages()[0].content

    async def pinned(self, pid: int) -> set[str]:
        """Ids of the pages that stay in view of a process when room is made."""
        return (await self._window(pid)).pinned()

    async def pin_page(self, pid: int, page: str, pinned: bool = True) -> None:
        """Have a page stay in view of a process, with its turn, or no longer.

        Raises:
            NotStored: Nothing that was said in it is called so.
            KernelError: It is answering; or pinned pages would fill too much of the window.
        """
        process = self._living(pid)
        await self._forgotten()
        if process.task is not None:
            raise KernelError(f"Process {pid} is answering.", remedy="Pin it when that is done.")
        process.stop_ahead()
        # In the place of a turn, so that none begins and nothing is forgotten meanwhile.
        process.task = asyncio.create_task(self._pin(process, page, pinned), name=f"pin {page}")
        await asyncio.shield(process.task)

    async def _pin(self, process: Process, page: str, pinned: bool) -> None:
        try:
            await self._transcript.pin(process, page, pinned)
        finally:
            process.task = None
            self._forget_at_rest()
            self._wake(process)

    async def _window(self, pid: int) -> Window:
        process = self._living(pid)
        await self._forgotten()
        return await self._transcript.open(process, process.first_open_turn or process.turns + 1)

    async def facts(self) -> list[Fact]:
        """What is remembered, newest first."""
        return self._memory().facts.all()

    async def remember(self, text: str, *, block: Block = "fact") -> Fact:
        """Keep something a person says outside of any conversation."""
        return await self._memory().remember(text, block=block)

    async def change_fact(
        self, id: str, *, text: str | None = None, pinned: bool | None = None
    ) -> Fact:
        """Give a fact another text, or pin or unpin it.

        Raises:
            NotStored: There is none.
        """
        memory = self._memory()
        if text is not None:
            await memory.update(id, text)
        if pinned is not None:
            await memory.facts.pin(id, pinned)
        return memory.facts.get(id)

    async def would_forget(self, written: str) -> list[Record]:
        """The records that ``forget`` would empty, in the journal's order.

        Raises:
            NotStored: There is nothing of that name.
        """
        await self._forgotten()
        return await self._memory().would_forget(written)

    async def forget(self, written: str) -> int:
        """Remove a fact (``m12``) or a page (``p12``) for good, and everything made of it.

        Returns:
            How many records were erased.

        Raises:
            NotStored: There is nothing of that name.
            KernelError: A turn is under way, which may be reading it.
        """
        await self._forgotten()
        self._require_rest("Forget it when that is done.")
        self._forgetting = asyncio.create_task(self._forget(written))
        return await asyncio.shield(self._forgetting)

    async def dream(self) -> None:
        """Consolidate memory now; see ``kernel/dream.py``. Returns at once."""
        self._require_open()
        await self._idle().begin()

    async def wake(self) -> None:
        """Stop dreaming, and return when it has stopped."""
        await self._idle().wake()

    def dreaming(self) -> tuple[DreamState, bool, str]:
        """How far the dream is, whether it goes on, and why it ended early."""
        idle = self._idle()
        return idle.state, idle.dreaming, idle.error

    async def derived(self) -> list[Made]:
        """What dreams have made, newest first."""
        return await asyncio.to_thread(self._memory().derived.made)

    async def links(self) -> dict[str, list[str]]:
        """For each page those of other conversations that are about the same."""
        return await asyncio.to_thread(self._memory().derived.links)

    async def undo(self, written: str) -> int:
        """Undo something that a dream made (``d12``); it is not made again.

        Returns:
            How many records were erased.

        Raises:
            NotStored: Nothing derived is called so.
            KernelError: A turn is under way, which may be reading it.
        """
        await self._idle().wake()
        await self._forgotten()
        self._require_rest("Undo it when that is done.")
        self._forgetting = asyncio.create_task(self._undo(written))
        return await asyncio.shield(self._forgetting)

    async def _undo(self, written: str) -> int:
        try:
            return await self._memory().undo(written)
        finally:
            self._transcript.shut(self._processes.values())

    def _require_rest(self, remedy: str) -> None:
        """See that no turn is under way: it may have in view what is to go."""
        if any(process.task is not None for process in self._processes.values()):
            raise KernelError("Something is being answered.", remedy=remedy)

    def _forget_at_rest(self) -> None:
        """Forget what a process was told to forget, once nothing is being answered."""
        if self.memory is None or not self.memory.doomed or self._closing:
            return
        if not any(process.task is not None for process in self._processes.values()):
            doomed, self.memory.doomed = self.memory.doomed, set()
            self._forgetting = asyncio.create_task(self._forget_all(doomed))

    async def _forget_all(self, doomed: Iterable[str]) -> int:
        count = 0
        for id in doomed:
            try:
                count += await self._forget(id)
            except Exception as error:
                log.warning("%s is not forgotten: %s", id, error)
        return count

    async def _forget(self, written: str) -> int:
        aheads = [p.ahead for p in self._processes.values() if p.ahead is not None]
        for process in self._processes.values():
            process.stop_ahead()
        if aheads:
            await asyncio.wait(aheads)  # or it would be kept after all
        try:
            count = await self._memory().forget(written)
        finally:
            self._transcript.shut(self._processes.values())
            for process in self._processes.values():
                process.context_tokens = 0  # counted anew
                process.title = self.journal.process(process.pid).title
            await self.backend.forget()
        await self._memory().forgotten(written)
        return count

    async def _forgotten(self) -> None:
        """Wait until what is being forgotten is."""
        while self._forgetting is not None and not self._forgetting.done():
            await asyncio.wait({self._forgetting})

    def mounts(self) -> list[tuple[Mount, Progress | None]]:
        """Mounted folders, and how far those are that are being read."""
        return self._folders().list()

    async def mount(self, folder: str) -> Mount:
        """Mount a folder; it is read in the background.

        Raises:
            MountError: It is no folder that can be mounted.
        """
        return await self._folders().mount(folder)

    async def umount(self, which: int | str) -> int:
        """Take a mounted folder out; returns how many passages that were.

        Raises:
            MountError: It is not mounted.
        """
        return await self._folders().umount(which)

    def _folders(self) -> Folders:
        folders = self._memory().folders
        if folders is None:
            raise KernelError("This kernel mounts no folders.")
        return folders

    async def import_messages(
        self, said: Sequence[tuple[str, str, float]], *, title: str = "", mine: bool = False
    ) -> ProcessInfo:
        """A conversation that happened elsewhere, as a new process.

        Args:
            said: Role (``user`` or ``assistant``), text and time of each message, oldest first; of
                one without a time (0) it is that of the one before, or now.
            title: Its title; made of the first message where empty.
            mine: Whether ``user`` is the person here; what others said is trusted by nobody.
        """
        self._require_open()
        drafts, turn, last = [], 0, time.time()
        for role, text, moment in said:
            last = moment or last
            turn += role == "user" or not turn
            trusted = Origin.USER if mine and role == "user" else Origin.UNTRUSTED
            drafts.append(Draft(Message(role, text), turn, last, Label(trusted)))
        title = (title or _title(said[0][1] if said else ""))[: limits.TITLE_CHARS]
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
        process = self._living(pid)
        self.touch()
        await self._forgotten()
        idle = process.task is None and not process.mailbox and process.state is State.READY
        if idle and text.strip() and not self._closing:
            await self._transcript.draft(process, text)

    # --- children, for system calls ---------------------------------------------------------

    async def spawn(self, caller: Process, task: str) -> int:
        """A child of ``caller`` that works on ``task``; returns its pid.

        Raises:
            CallFailed: The caller has too many children or is itself too deep a child.
        """
        children = [p for p in self._employed(caller) if p.employer is caller]
        if len(children) >= limits.CHILDREN_MAX:
            pids = ", ".join(str(p.pid) for p in children)
            raise CallFailed(f"There are too many assistants already: wait for one of {pids}.")
        depth, above = 0, caller.employer
        while above is not None:
            depth, above = depth + 1, above.employer
        if depth >= limits.DEPTH_MAX:
            raise CallFailed("An assistant this far down cannot start another.")
        priority = max(caller.priority, priority_named("normal")).name.lower()
        work = self._create(_title(task), caller.system, priority, caller.pid, None, caller)
        made = asyncio.ensure_future(work)
        try:
            child = await asyncio.shield(made)
            await self.send(child.pid, task)
        except BaseException:  # nobody is going to wait for it
            await whole(self._abandon(made))
            raise
        return child.pid

    async def _abandon(self, made: asyncio.Future[Process]) -> None:
        await asyncio.wait({made})
        if made.exception() is None and made.result().state is not State.ENDED:
            await self._end(made.result(), "abandoned")

    async def await_child(self, caller: Process, pid: int) -> str:
        """The last answer of a child of ``caller``, once it has nothing more to do.

        The child ends with that: its work is done. Its answer can be read again.

        Raises:
            NoSuchProcess: There is no such process.
            CallFailed: It is not the caller's.
        """
        process = self._find(pid)
        if process.parent != caller.pid:
            raise CallFailed(f"Process {pid} is not yours to wait for.")
        await self.wait(pid)
        answers = [r.stored.message for r in in_turns(self.journal.records(pid)) if r.pid == pid]
        answer = next((m.content for m in reversed(answers) if m.role == "assistant"), "")
        if process.employer is caller and process.state is State.READY:
            await whole(self._end(process, "done"))
        return answer

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
            "hint": self._hint,
            "broken": self._broken,
        }

    def stats(self) -> dict[str, Any]:
        """Counters and gauges, JSON-ready."""
        states = [p.state.value for p in self._processes.values()]
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
        return generating or any(p.task for p in self._processes.values())

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
        if self.idle is not None:
            await self.idle.close()
        await self._forgotten()
        for process in self._processes.values():
            process.mailbox.clear()
            process.stop_ahead()
            process.interrupt()
        tasks = [p.task for p in self._processes.values() if p.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=limits.CLOSE_SECONDS)
            for task in late:
                log.error("%s does not end; what it wrote last is lost", task.get_name())
                task.cancel()
        self.hub.close()
        try:
            await self.journal.close()
        finally:
            await self.backend.close()

    # --- inside -----------------------------------------------------------------------------

    def _add(self, process: Process) -> Process:
        self._processes[process.pid] = process
        self._changed(process)
        return process

    def _memory(self) -> Memory:
        if self.memory is None:
            raise KernelError("This kernel has no memory.")
        return self.memory

    def _idle(self) -> Idle:
        if self.idle is None:
            raise KernelError("This kernel has no memory.")
        return self.idle

    def _require_open(self) -> None:
        if self._closing:
            raise KernelError("The kernel is stopping.")

    def _by_use(self) -> list[Process]:
        """The living processes, those used last first."""
        return sorted(self._living_ones(), key=lambda p: -p.active)

    def _living_ones(self) -> list[Process]:
        return [p for p in self._processes.values() if p.state is not State.ENDED]

    def _employed(self, process: Process) -> list[Process]:
        """The living processes that ``process`` started by calls, and those that they started."""
        own = [p for p in self._living_ones() if p.employer is process]
        return own + [p for child in own for p in self._employed(child)]

    def _find(self, pid: int) -> Process:
        process = self._processes.get(pid)
        return process if process is not None else Process.restored(self.journal.process(pid))

    def _living(self, pid: int) -> Process:
        process = self._processes.get(pid)
        if process is None:
            self.journal.process(pid)  # raises NoSuchProcess where there never was one
            raise ProcessEnded(f"Process {pid} has ended.")
        if process.state is State.ENDED:
            raise ProcessEnded(f"Process {pid} has ended.")
        return process

    def _info(self, process: Process) -> ProcessInfo:
        return process.info(self.backend.info.window)

    def _changed(self, process: Process) -> None:
        self.last_active = time.monotonic()
        self.hub.publish(
            ProcessChanged(
                pid=process.pid,
                state=process.state.value,
                title=process.title,
                parent=process.parent,
                priority=process.priority.name.lower(),
                reason=process.reason,
            )
        )

    def _turn_states(self, pid: int) -> list[Event]:
        """What the turns under way have written, of one process or (0) of all."""
        return [
            TurnState(pid=p.pid, turn=p.live.number, text=p.live.text, calls=p.live.calls)
            for p in self._processes.values()
            if p.live is not None and pid in (0, p.pid)
        ]

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
                self._changed(process)
                process.stop_ahead()
                await self._forgotten()
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
            self._forget_at_rest()
            process.idle.set()
            if process.state in (State.RUNNING, State.WAITING):
                process.state = State.READY
            self._changed(process)


def _title(text: str) -> str:
    """A title from the first line of a message."""
    line = " ".join(text.split())
    return line if len(line) <= 48 else f"{line[:47].rstrip()}…"
