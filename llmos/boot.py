"""The boot order.

1. settings          config: typed, checked
2. lock              one kernel a state directory
3. journal           memory: the truth; refuses a full disk or a damaged file
4. model             models: find it, check its header, see whether it fits this machine
5. processor         engine: load it on its own thread, or reach a remote server
6. calls             experts: the tools, bundled and installed; a broken one is listed, not fatal
7. memory            the index opens; what the journal has beyond it is read in the background
8. kernel            the process table, the agent, the monitor
9. processes         what the journal says was alive
10. server           the socket opens; terminals may come
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from llmos import limits, paths
from llmos.config import Config, EngineConfig
from llmos.door import tools as tool_loader
from llmos.door.rows import Lend, nothing, row
from llmos.door.tools import Call
from llmos.engine.backend import Backend, ModelInfo
from llmos.engine.swapfile import SwapFiles
from llmos.errors import ConfigError, ModelError, ModelMissing, NoSuchProcess, RemoteDown
from llmos.experts.catalogue import Experts
from llmos.experts.knowledge import Library
from llmos.experts.staff import Crew
from llmos.kernel.directory import opening
from llmos.kernel.kernel import Kernel
from llmos.kernel.lending import Lender
from llmos.kernel.memory import Memory
from llmos.kernel.memory_calls import memory_calls
from llmos.kernel.reader import reading
from llmos.kernel.syscalls import Syscall, SyscallTable, process_calls
from llmos.memory import embedders
from llmos.memory.embed import CachedEmbedder, ModelEmbedder
from llmos.memory.embed_onnx import MiniLM
from llmos.memory.grants import Grants
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.lock import lock
from llmos.sandbox import tiers
from llmos.sdk import Context

__all__ = ["boot", "lock", "processor", "syscall_table"]

log = logging.getLogger(__name__)


def processor(config: Config) -> tuple[Backend, str]:
    """The backend the settings ask for, not yet started, and a hint for the person or nothing.

    Raises:
        ModelError: There is no such model, it is damaged, or it does not fit.
    """
    wanted = config.engine.model
    if wanted.startswith(("http://", "https://")):
        from llmos.engine.remote import RemoteBackend

        return RemoteBackend(wanted, api_key=config.engine.api_key), ""
    from llmos.engine.local import LocalBackend

    engine: dict[str, Any] = {
        "resident": config.engine.resident,
        "swap_bytes": config.engine.swap_bytes,
    }
    if config.engine.swap_disk_bytes:
        engine["files"] = _swap_files(config)
        engine["known"] = config.state / "swap" / "texts.json"
    if wanted.startswith("scripted:"):
        from llmos.engine.scripted import Script, ScriptedRuntime

        script = Script.from_file(Path(wanted.removeprefix("scripted:")).expanduser())
        window = config.engine.window or 8192
        return LocalBackend(lambda: ScriptedRuntime(script, window=window), **engine), ""
    return _llama(config, engine)


def _swap_files(config: Config) -> Callable[[ModelInfo], SwapFiles | None]:
    """Opens the snapshots on disk, once the model they must belong to is loaded."""

    def opened(info: ModelInfo) -> SwapFiles | None:
        folder, budget = config.state / "swap", config.engine.swap_disk_bytes
        try:
            return SwapFiles(folder, budget, info.fingerprint, rewinds=info.can_rewind)
        except OSError as error:
            log.warning("no snapshots are kept on disk: %s", error)
            return None

    return opened


def _llama(config: Config, engine: dict[str, Any]) -> tuple[Backend, str]:
    from llmos.engine.local import LocalBackend
    from llmos.engine.threads import ThreadGovernor
    from llmos.models import catalog, gguf, hardware

    model = catalog.find(config.engine.model)
    header = gguf.verify(model.path)
    machine = hardware.probe()
    sized, note = _sized(config.engine, header, machine)
    threads = config.engine.threads or machine.cores

    def load() -> Any:
        from llmos.engine.llama import LlamaRuntime

        return LlamaRuntime(model.path, sized, name=model.name, threads=threads)

    governor = None if config.engine.threads else ThreadGovernor.for_cores(threads)
    suggestion = hardware.suggest(machine, model.name)
    hint = f"{note} {suggestion.reason if suggestion else ''}".strip()
    engine = {**engine, "swap_bytes": sized.swap_bytes}
    return LocalBackend(load, governor=governor, **engine), hint


def _sized(engine: EngineConfig, header: Any, machine: Any) -> tuple[EngineConfig, str]:
    """The settings with all sizes filled in, and what is otherwise than asked, in a sentence.

    Raises:
        ModelTooLarge: Not even the smallest window fits.
    """
    from llmos.models import hardware

    plan = hardware.plan(header, machine, engine)
    if plan.verdict.fits == "no":
        cells, kv_type = plan.engine.cells, engine.kv_type
        hardware.require_fit(header, machine, cells, kv_type, gpu_layers=engine.gpu_layers)
    return plan.engine, plan.note


@dataclass(frozen=True, slots=True)
class _Calls:
    """All calls, and what they were made of.

    Args:
        table: The kernel's own and the tools'.
        broken: A sentence for each tool that is broken.
        own: The kernel's own rows.
        known: The tools' calls, by name.
        surroundings: What they are told of the world.
    """

    table: SyscallTable
    broken: list[str]
    own: list[Syscall]
    known: dict[str, Call]
    surroundings: Context


def syscall_table(kernel: Callable[[], Kernel]) -> tuple[SyscallTable, list[str]]:
    """The calls there are, without a memory and with nothing lent: what they take.

    Args:
        kernel: Returns the kernel, once it is built.

    Returns:
        The table, and a sentence for each tool that is broken.
    """
    calls = _calls(kernel)
    return calls.table, calls.broken


def _calls(
    kernel: Callable[[], Kernel],
    memory: Memory | None = None,
    lend: Lend = nothing,
) -> _Calls:
    """All calls: the kernel's own, and the tools' through the loader.

    Args:
        kernel: Returns the kernel, once it is built.
        memory: What the calls on memory work on; None leaves them out.
        lend: What tools may use of the world outside.
    """
    loaded = tool_loader.load_all([paths.bundled("tools"), paths.tools_dir()])
    broken = [f"The tool {b.name} is broken: {b.sentence}" for b in loaded.broken]
    surroundings = _surroundings()
    tables: list[SyscallTable] = []
    own = [*process_calls(kernel), *(memory_calls(memory) if memory else ())]
    own += [reading(lambda: kernel().reader), opening(lambda: tables[0])]
    rows = {row.name: row for row in own}
    known: dict[str, Call] = {}
    for call in loaded.calls.values():
        if call.name in rows:
            broken.append(f"The call {call.name} is left out: there is one of that name already.")
        else:
            known[call.name] = call
            rows[call.name] = row(call, surroundings, lend)
    for sentence in broken:
        log.warning("%s", sentence)
    tables.append(SyscallTable(rows.values()))
    return _Calls(tables[0], broken, own, known, surroundings)


def _surroundings() -> Context:
    """What calls are told of the world: the machine's own, but for a clock that stands still.

    ``LLMOS_CLOCK`` (a moment as ISO 8601 writes it) is for benchmarks, whose answers must not
    depend on the day they are run.

    Raises:
        ConfigError: It is not a moment.
    """
    written = os.environ.get("LLMOS_CLOCK", "")
    if not written:
        return Context()
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ConfigError(f"LLMOS_CLOCK is {written!r}; it must be an ISO 8601 moment.") from None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return Context(clock=lambda: aware)


@contextlib.asynccontextmanager
async def boot(
    config: Config, *, loading: Callable[[], None] = lambda: None
) -> AsyncIterator[Kernel]:
    """A running kernel, without a server; closed at the end.

    Args:
        config: The settings.
        loading: Called once the state directory is ours, before what takes long.

    Raises:
        LlmosError: It cannot start; the sentence says why.
    """
    async with contextlib.AsyncExitStack() as opened:  # closes what is open when a step fails
        opened.enter_context(lock(config.state))
        loading()
        journal = Journal(config.state / "journal.db")
        opened.push_async_callback(journal.close)
        backend, hint = processor(config)
        opened.push_async_callback(backend.close)
        await backend.start()
        embedder, ready = await _embedder(config)
        if embedder is not None:
            opened.push_async_callback(asyncio.to_thread, embedder.close)
        cached = embedders.for_memory(embedder) if embedder is not None else None
        memory = _memory(config, backend, journal, cached if ready else None)
        opened.push_async_callback(memory.close)
        await memory.start()
        if embedder is not None and cached is not None and not ready:
            memory.index.lacks(f"The embedder {embedder.name} cannot be reached.")
            late = embedders.load_when_back(embedder, partial(memory.index.use, cached))
            opened.callback(asyncio.create_task(late, name="embedder").cancel)
        kernels: list[Kernel] = []
        grants = Grants(journal, memory.facts.home)
        lender = Lender(
            config,
            journal,
            grants,
            lambda pid, timer: kernels[0].remind(pid, timer),
            lambda pid: _title(kernels[0], pid),
        )
        await lender.open()
        opened.push_async_callback(lender.close)
        calls = _calls(lambda: kernels[0], memory, lender.lend_own)
        crew = Crew(
            Experts(tiers.best),
            Library(cached if ready else None),
            known=calls.known,
            kernel=calls.own,
            surroundings=calls.surroundings,
            lend=lender.lend,
        )
        crew.start()
        opened.push_async_callback(crew.close)
        guide = _guide(config, backend, cached if isinstance(embedder, MiniLM) else None)
        kernel = Kernel(
            config,
            backend,
            journal,
            calls.table,
            guide=guide,
            memory=memory,
            embedder=embedder,
            grants=grants,
            lender=lender,
            staff=crew,
            hint=hint,
            broken=calls.broken,
        )
        kernels.append(kernel)
        opened.push_async_callback(kernel.close)
        if guide is not None:
            opened.callback(guide.prepare(calls.table.rows()).cancel)
        await kernel.restore()
        await lender.remind()
        yield kernel


def _title(kernel: Kernel, pid: int) -> str:
    """Of a process; empty where it has none, or is gone."""
    try:
        return kernel.process(pid).title
    except NoSuchProcess:
        return ""


async def _embedder(config: Config) -> tuple[ModelEmbedder | None, bool]:
    """What turns texts to vectors, and whether it can be used yet: a server may be down.

    None where the settings want none, and where the starter's files are missing.

    Raises:
        ConfigError: The setting is wrong.
        LlmosError: The embedder that was asked for cannot be used.
    """
    try:
        embedder = embedders.choose(config.memory)
    except ModelMissing:
        if config.memory.embedder != "starter":
            raise
        log.warning("the starter embedder is missing: search knows words only")
        return None, False
    if embedder is None or isinstance(embedder, MiniLM):
        return embedder, True  # the starter is known to be sound and is read with its first text
    try:
        await asyncio.to_thread(embedder.load)
    except RemoteDown as error:
        log.warning("searches go by words until the embedder answers: %s", error)
        return embedder, False
    except BaseException:
        await asyncio.to_thread(embedder.close)
        raise
    return embedder, True


def _memory(
    config: Config, backend: Backend, journal: Journal, embedder: CachedEmbedder | None
) -> Memory:
    """What is remembered beyond the windows, not started."""
    index = Index(config.state / "index", embedder, chroma=config.memory.chroma)
    pages = 1 if backend.info.small else limits.PREFETCH_PAGES
    return Memory(journal, index, mounts=config.state / "mounts.json", pages=pages)


def _guide(config: Config, backend: Backend, starter: CachedEmbedder | None) -> Any:
    """Help with choosing calls, for models that need it.

    It goes by the starter embedder whatever memory uses: what it takes for near was measured with
    that one, and what a person says is not sent to a server for it.
    """
    asked = config.engine.tool_help
    if asked == "native" or (asked == "auto" and not backend.info.small):
        return None
    try:
        starter = starter or CachedEmbedder(embedders.starter())
    except ModelError as error:
        log.warning("without the starter embedder calls are left to the model: %s", error)
        return None
    from llmos.kernel.guide import Guide

    return Guide(starter.embed, paths.cache_dir() / "chooser.npz", backend.prompt)
