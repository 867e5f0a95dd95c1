"""Kernels for tests: on the scripted double, with the calls a test names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from llmos.config import AgentConfig, Config, PolicyConfig
from llmos.engine.local import LocalBackend
from llmos.engine.scripted import Script, ScriptedRuntime
from llmos.engine.swapfile import SwapFiles
from llmos.events import Event, Message, TurnFinished
from llmos.kernel.kernel import Kernel
from llmos.kernel.memory import Memory
from llmos.kernel.memory_calls import memory_calls
from llmos.kernel.syscalls import Outcome, Syscall, SyscallTable, process_calls
from llmos.memory.embed import Embedder
from llmos.memory.index import Index
from llmos.memory.journal import Journal

Rules = Sequence[tuple[str, str]]


def call(name: str, **arguments: Any) -> str:
    """A call as the model writes it."""
    body = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{body}\n</tool_call>"


def row(
    name: str, run: Callable[..., Awaitable[Outcome]], *, effect: str = "pure", timeout: float = 0
) -> Syscall:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "additionalProperties": False,
    }
    return Syscall(name, f"Test {name}.", schema, effect, run, timeout=timeout)


def slowly(_runs: Any) -> None:
    """Give the test time to act in the middle of a reply."""
    time.sleep(0.002)


@contextlib.asynccontextmanager
async def kernel_on(
    home: Path,
    rules: Rules | Callable[[str], str] = (),
    *,
    calls: Sequence[Syscall] = (),
    agent: AgentConfig | None = None,
    policy: PolicyConfig | None = None,
    slow: bool = False,
    on_decode: Callable[[Any], None] | None = None,
    **runtime: Any,
) -> AsyncIterator[Kernel]:
    """A kernel on the state of ``home``, closed at the end."""
    script = rules if callable(rules) else Script(rules)
    pace = slowly if slow else on_decode
    backend = LocalBackend(lambda: ScriptedRuntime(script, on_decode=pace, **runtime))
    config = Config(
        agent=agent or AgentConfig(), policy=policy or PolicyConfig(), state=home / "state"
    )
    journal = Journal(config.state / "journal.db")
    await backend.start()
    kernels: list[Kernel] = []
    table = SyscallTable([*calls, *process_calls(lambda: kernels[0])])
    kernels.append(Kernel(config, backend, journal, table))
    try:
        await kernels[0].restore()
        yield kernels[0]
    finally:
        await kernels[0].close()


@contextlib.asynccontextmanager
async def remembering(
    home: Path,
    rules: Rules | Callable[[str], str] = (),
    *,
    window: int = 4000,
    embedder: Embedder | None = None,
    **runtime: Any,
) -> AsyncIterator[Kernel]:
    """A kernel with a memory and with snapshots on disk, on the state of ``home``."""
    state = home / "state"
    script = rules if callable(rules) else Script(rules)
    backend = LocalBackend(
        lambda: ScriptedRuntime(script, window=window, **runtime),
        files=lambda info: SwapFiles(state / "swap", 1 << 30, info.fingerprint),
        known=state / "swap" / "texts.json",
    )
    journal = Journal(state / "journal.db")
    await backend.start()
    index = Index(state / "index", embedder, chroma="off")
    memory = Memory(journal, index, mounts=state / "mounts.json")
    await memory.start()
    table = SyscallTable(memory_calls(memory))
    agent = AgentConfig(system="Be kind.", reply_tokens=200)
    kernel = Kernel(Config(agent=agent, state=state), backend, journal, table, memory=memory)
    try:
        await kernel.restore()
        yield kernel
    finally:
        await memory.close()
        await kernel.close()


async def until(events: AsyncIterator[Event], kind: type[Event]) -> Any:
    """The next event of ``kind``."""
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} came")


async def turn(kernel: Kernel, pid: int, text: str) -> tuple[list[Event], TurnFinished]:
    """Send ``text`` and take the events of its turn."""
    seen: list[Event] = []
    with kernel.subscribe(pid) as events:
        await kernel.send(pid, text)
        async with asyncio.timeout(30):
            async for event in events:
                seen.append(event)
                if isinstance(event, TurnFinished):
                    return seen, event
    raise AssertionError("the turn did not end")


async def mounted(kernel: Kernel) -> None:
    """Wait until every mounted folder is read."""
    assert kernel.memory is not None and kernel.memory.folders is not None
    for mount, _ in kernel.keeper.mounts():
        await kernel.memory.folders._open().sync(mount.number)


def said(kernel: Kernel, pid: int) -> list[tuple[str, str]]:
    """Role and text of what the journal holds of a process."""
    return [(m.message.role, m.message.content) for m in kernel.journal.messages(pid)]


async def shown(kernel: Kernel, pid: int) -> list[Message]:
    """What the model will be shown of a process before its next message."""
    process = kernel.table[pid]
    window = await kernel._transcript.open(process, process.turns + 1)
    return window.conversation()
