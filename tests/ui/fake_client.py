"""A kernel in memory with the client's methods, for tests of the terminal.

The test plays the kernel: it takes what was sent and emits the events it wants. A journal, a
process table and a way to die are all there is; no model.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fake_memory import FakeMemory

from llmos.errors import KernelStopped, KernelUnreachable, LlmosError, NoSuchProcess
from llmos.events import (
    CallFinished,
    CallStarted,
    Event,
    Message,
    ProcessChanged,
    ProcessInfo,
    Recalled,
    ReplyDelta,
    ReplyFinished,
    StoredMessage,
    ToolCall,
    TurnFinished,
    TurnStarted,
    TurnState,
    Usage,
    WindowChanged,
)

WINDOW = 8192


class FakeKernel:
    """The journal and the process table; outlives its clients."""

    def __init__(self) -> None:
        self.infos: dict[int, ProcessInfo] = {}
        self.journal: list[tuple[int, StoredMessage]] = []
        self.notes: list[Recalled | WindowChanged] = []
        self.signals: list[tuple[int, str]] = []
        self.connections = 0
        self.up = True
        self.stopped = False  # on purpose
        self.trouble: LlmosError | None = None  # raised when a terminal connects
        self.refusal: LlmosError | None = None  # raised by the next send
        self.status: dict[str, Any] = {"model": {"name": "SmolLM2 135M", "window": WINDOW}}
        self.subscribers: list[tuple[int, asyncio.Queue[Event | None]]] = []
        self.live: dict[int, TurnState] = {}
        self.arrived = asyncio.Condition()
        self.memory = FakeMemory()
        self.answers: list[tuple[int, str, str]] = []
        self.experts: list[dict[str, Any]] | LlmosError = []
        self.grants: list[dict[str, Any]] = []
        self.reminders: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.pictures: dict[str, bytes | LlmosError] = {}  # a pixel, or why there is none
        self.previews: list[tuple[str, int, int]] = []  # asked for

    async def connect(self) -> FakeClient:
        self.connections += 1
        if self.trouble:
            raise self.trouble
        if not self.up:
            raise KernelUnreachable("No kernel could be started.", remedy="Run llmos doctor.")
        return FakeClient(self)

    def add(self, title: str = "", **values: Any) -> ProcessInfo:
        pid = len(self.infos) + 1
        now = time.time()
        info = ProcessInfo(
            pid, title, "ready", "interactive", created=now, active=now, window_tokens=WINDOW
        )
        self.infos[pid] = dataclasses.replace(info, **values)
        return self.infos[pid]

    def store(self, pid: int, message: Message, turn: int = 1, **values: Any) -> StoredMessage:
        seq = len(self.journal) + len(self.notes) + 1
        stored = StoredMessage(seq, f"m{seq}", turn, time.time(), message, **values)
        self.journal.append((pid, stored))
        return stored

    def note(self, kind: type[Recalled | WindowChanged], **values: Any) -> Recalled | WindowChanged:
        """Something that happened to the window, in the journal."""
        made = kind(seq=len(self.journal) + len(self.notes) + 1, **values)
        self.notes.append(made)
        return made

    def emit(self, event: Event) -> None:
        for pid, queue in self.subscribers:
            if pid in (0, event.pid):
                queue.put_nowait(event)

    def die(self) -> None:
        """As kill -9: connections break, the journal stays."""
        self.up = self.stopped = False
        self._gone()

    def stop(self) -> None:
        """As ``llmos stop``: whoever connects next starts it again."""
        self.stopped = True
        self._gone()

    def _gone(self) -> None:
        self.live.clear()
        for _, queue in self.subscribers:
            queue.put_nowait(None)
        self.subscribers.clear()
        for pid, info in self.infos.items():
            self.infos[pid] = dataclasses.replace(info, state="ready")

    # --- a turn, as the kernel would play it ------------------------------------------------

    async def sent(self, number: int = 1) -> StoredMessage:
        """The ``number``-th message a person sent, when it is there."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.said) >= number)
        return self.said[number - 1]

    @property
    def said(self) -> list[StoredMessage]:
        return [stored for _, stored in self.journal if stored.message.role == "user"]

    def start(self, pid: int, stored: StoredMessage) -> None:
        self.infos[pid] = dataclasses.replace(self.infos[pid], state="running")
        text = stored.message.content
        by, id = stored.message.name, stored.id
        self.emit(TurnStarted(pid=pid, seq=stored.seq, turn=1, message_id=id, text=text, by=by))

    def delta(self, pid: int, text: str, tokens: int = 1) -> None:
        self.emit(ReplyDelta(pid=pid, turn=1, text=text, tokens=tokens))

    def call(self, pid: int, call: ToolCall, result: str | None = None, error: str = "") -> None:
        if result is None:
            self.emit(CallStarted(pid=pid, turn=1, call=call))
        else:
            event = CallFinished(
                pid=pid, turn=1, call=call, result=result, seconds=0.123, error=error
            )
            self.emit(event)

    def reply(self, pid: int, text: str, calls: tuple[ToolCall, ...] = ()) -> None:
        stored = self.store(pid, Message("assistant", text, calls))
        self.emit(
            ReplyFinished(
                pid=pid, seq=stored.seq, turn=1, message_id=stored.id, text=text, calls=calls
            )
        )

    def finish(self, pid: int, reason: str = "stop", **values: Any) -> None:
        self.infos[pid] = dataclasses.replace(self.infos[pid], state="ready")
        usage = Usage(
            prompt_tokens=1180,
            cached_tokens=1020,
            completion_tokens=85,
            prefill_s=0.31,
            decode_s=2.0,
        )
        event = TurnFinished(
            pid=pid,
            turn=1,
            reason=reason,
            usage=usage,
            context_tokens=1265,
            window_tokens=WINDOW,
            **values,
        )
        self.emit(event)


class FakeClient:
    """The methods of ``llmos.client.Client`` that a terminal uses."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel

    def _check(self, pid: int = 0) -> None:
        if not self.kernel.up:
            raise KernelUnreachable("The kernel does not answer.")
        if pid and pid not in self.kernel.infos:
            raise NoSuchProcess(f"There is no process {pid}.")

    async def close(self) -> None:
        pass

    async def status(self) -> dict[str, Any]:
        self._check()
        return self.kernel.status

    async def processes(self, *, ended: bool = False) -> list[ProcessInfo]:
        self._check()
        infos = [info for info in self.kernel.infos.values() if ended or info.state != "ended"]
        return sorted(infos, key=lambda info: -info.pid)

    async def create(self, *, title: str = "", **values: Any) -> ProcessInfo:
        self._check()
        return self.kernel.add(title)

    async def process(self, pid: int) -> ProcessInfo:
        self._check(pid)
        return self.kernel.infos[pid]

    async def rename(self, pid: int, title: str) -> ProcessInfo:
        self._check(pid)
        return self._set(pid, title=title)

    async def fork(self, pid: int) -> ProcessInfo:
        self._check(pid)
        info = self.kernel.add(self.kernel.infos[pid].title, parent=pid)
        for owner, stored in list(self.kernel.journal):
            if owner == pid:
                self.kernel.store(info.pid, stored.message, stored.turn)
        return info

    async def signal(self, pid: int, signal: str) -> ProcessInfo:
        self._check(pid)
        self.kernel.signals.append((pid, signal))
        return self.kernel.infos[pid]

    async def reminders(self) -> list[dict[str, Any]]:
        self._check(0)
        return self.kernel.reminders

    async def kill(self, pid: int) -> ProcessInfo:
        self._check(pid)
        return self._set(pid, state="ended")

    async def send(self, pid: int, text: str) -> str:
        self._check(pid)
        if self.kernel.refusal:
            refusal, self.kernel.refusal = self.kernel.refusal, None
            raise refusal
        stored = self.kernel.store(pid, Message("user", text))
        async with self.kernel.arrived:
            self.kernel.arrived.notify_all()
        return stored.id

    async def messages(self, pid: int, *, after: int = 0) -> list[StoredMessage]:
        self._check(pid)
        return [m for owner, m in self.kernel.journal if owner == pid and m.seq > after]

    async def history(
        self, pid: int, *, after: int = 0
    ) -> list[StoredMessage | Recalled | WindowChanged]:
        notes = [note for note in self.kernel.notes if note.pid == pid and note.seq > after]
        told = [*(await self.messages(pid, after=after)), *notes]
        return sorted(told, key=lambda entry: entry.seq)

    async def answer(self, pid: int, call_id: str, answer: str) -> None:
        self._check(pid)
        self.kernel.answers.append((pid, call_id, answer))

    async def experts(self) -> list[dict[str, Any]]:
        self._check()
        if isinstance(self.kernel.experts, LlmosError):
            raise self.kernel.experts
        return self.kernel.experts

    async def grants(self) -> list[dict[str, Any]]:
        self._check()
        return list(reversed(self.kernel.grants))

    async def grant(self, **about: Any) -> dict[str, Any]:
        self._check()
        if self.kernel.refusal:
            raise self.kernel.refusal
        bare = {"call": "", "arguments": {}, "patterns": {}, "folder": "", "write": False}
        made = {"id": f"g{len(self.kernel.grants) + 1}", "time": time.time(), **bare, "pid": 0}
        self.kernel.grants.append({**made, "why": "", **about})
        return self.kernel.grants[-1]

    async def revoke(self, id: str) -> dict[str, Any]:
        self._check()
        [taken] = [grant for grant in self.kernel.grants if grant["id"] == id]
        self.kernel.grants.remove(taken)
        return taken

    async def artifact(self, id: str) -> bytes:
        self._check()
        return self.kernel.files[id]

    async def artifact_preview(self, id: str, width: int, height: int) -> tuple[int, int, bytes]:
        """A picture of one colour that fills half of the room, or the error that is there."""
        self._check()
        self.kernel.previews.append((id, width, height))
        made = self.kernel.pictures[id]
        if isinstance(made, LlmosError):
            raise made
        return width, height // 2, made * (width * (height // 2))

    async def artifact_picture(self, id: str) -> bytes:
        self._check()
        return b"made anew: " + self.kernel.files[id]

    # --- memory -----------------------------------------------------------------------------

    async def stats(self) -> dict[str, Any]:
        self._check()
        return {"memory": self.kernel.memory.counters}

    async def window(self, pid: int, *, last: int = 0) -> dict[str, Any]:
        self._check(pid)
        table = self.kernel.memory.table
        old = [row for row in table[:-last] if not row["resident"]] if last else []
        return {
            "pages": [row for row in table if row not in old],
            "unlisted": len(old),
            "unlisted_characters": sum(row["characters"] for row in old),
            "front": "Be kind.",
            "front_tokens": 120,
        }

    async def page_table(self, pid: int) -> list[dict[str, Any]]:
        return (await self.window(pid))["pages"]

    def __getattr__(self, name: str) -> Any:
        """What else concerns memory, where the kernel is there."""
        asked = getattr(self.kernel.memory, name)

        async def ask(*values: Any, **named: Any) -> Any:
            self._check()
            return await asked(*values, **named)

        return ask

    @asynccontextmanager
    async def subscribe(
        self, pid: int = 0, *, answers: bool = False
    ) -> AsyncIterator[AsyncIterator[Event]]:
        self._check()
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        entry = (pid, queue)
        self.kernel.subscribers.append(entry)
        if pid in self.kernel.live:
            queue.put_nowait(self.kernel.live[pid])

        async def read() -> AsyncIterator[Event]:
            while (event := await queue.get()) is not None:
                yield event
            if self.kernel.stopped:
                raise KernelStopped("The kernel was stopped.")
            raise KernelUnreachable("The kernel went away.")

        try:
            yield read()
        finally:
            if entry in self.kernel.subscribers:
                self.kernel.subscribers.remove(entry)

    def _set(self, pid: int, **values: Any) -> ProcessInfo:
        self.kernel.infos[pid] = dataclasses.replace(self.kernel.infos[pid], **values)
        info = self.kernel.infos[pid]
        self.kernel.emit(ProcessChanged(pid=pid, state=info.state, title=info.title))
        return info
