"""The boot order.

1. settings          config: typed, checked
2. lock              one kernel a state directory
3. journal           memory: the truth; refuses a full disk or a damaged file
4. model             models: find it, check its header, see whether it fits this machine
5. processor         engine: load it on its own thread, or reach a remote server
6. calls             experts: the tools, bundled and installed; a broken one is listed, not fatal
7. kernel            the process table, the agent, the monitor
8. processes         what the journal says was alive
9. server            the socket opens; terminals may come
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmos import limits, paths
from llmos.config import Config
from llmos.engine.backend import Backend
from llmos.errors import ConfigError, KernelRunning, StoreError
from llmos.experts import tools as tool_loader
from llmos.kernel.kernel import Kernel
from llmos.kernel.process import Process
from llmos.kernel.syscalls import Example, Outcome, Syscall, SyscallTable, process_calls
from llmos.memory.journal import Journal

__all__ = ["boot", "lock", "processor", "syscall_table"]

log = logging.getLogger(__name__)

#: Models with fewer weights than this are helped to choose their calls.
GUIDED_BELOW = 3_000_000_000


@contextlib.contextmanager
def lock(state: Path) -> Iterator[None]:
    """Hold the state directory.

    Raises:
        KernelRunning: Another kernel holds it.
        StoreError: The directory cannot be used.
    """
    try:
        paths.private_dir(state)
        handle = os.open(state / "kernel.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        sentence = f"The state directory {state} cannot be used: {error.strerror or error}."
        raise StoreError(sentence, remedy="Free some space or set LLMOS_HOME.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KernelRunning(
                f"A kernel is already running on {state}.", remedy="Stop it with: llmos stop"
            ) from None
        yield
    finally:
        os.close(handle)


def processor(config: Config) -> tuple[Backend, Any]:
    """The backend the settings ask for, not yet started, and what is known of the model file.

    Raises:
        ModelError: There is no such model, it is damaged, or it does not fit.
    """
    wanted = config.engine.model
    if wanted.startswith(("http://", "https://")):
        from llmos.engine.remote import RemoteBackend

        return RemoteBackend(wanted, api_key=config.engine.api_key), None
    from llmos.engine.local import LocalBackend

    engine = {"resident": config.engine.resident, "swap_bytes": config.engine.swap_bytes}
    if wanted.startswith("scripted:"):
        from llmos.engine.scripted import Script, ScriptedRuntime

        script = Script.from_file(Path(wanted.removeprefix("scripted:")).expanduser())
        window = config.engine.window or 8192
        return LocalBackend(lambda: ScriptedRuntime(script, window=window), **engine), None
    return _llama(config, engine)


def _llama(config: Config, engine: dict[str, Any]) -> tuple[Backend, Any]:
    import psutil

    from llmos.engine.local import LocalBackend
    from llmos.engine.threads import ThreadGovernor
    from llmos.models import catalog, gguf, hardware

    model = catalog.find(config.engine.model)
    header = gguf.verify(model.path)
    machine = hardware.probe()
    hardware.require_fit(header, machine, config.engine)

    def load() -> Any:
        from llmos.engine.llama import LlamaRuntime

        return LlamaRuntime(model.path, config.engine, name=model.name, threads=threads)

    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    threads = config.engine.threads or min(cores, len(os.sched_getaffinity(0)) if hasattr(
        os, "sched_getaffinity"
    ) else cores)
    governor = None if config.engine.threads else ThreadGovernor.for_cores(threads)
    return LocalBackend(load, governor=governor, **engine), header


def syscall_table(kernel: Any) -> tuple[SyscallTable, list[Any]]:
    """All calls: the tools' through the loader, and the kernel's own.

    Args:
        kernel: Returns the kernel, once it is built.

    Returns:
        The table, and the tools that are broken.
    """
    loaded = tool_loader.load_all([paths.bundled("tools"), paths.models_dir().parent / "tools"])
    for broken in loaded.broken:
        log.warning("tool %s is broken: %s", broken.name, broken.sentence)
    rows = [_row(call) for call in loaded.calls.values()]
    return SyscallTable([*rows, *process_calls(kernel)]), list(loaded.broken)


def _row(call: tool_loader.Call) -> Syscall:
    async def run(_process: Process, arguments: Mapping[str, Any]) -> Outcome:
        result = await call.run(arguments)
        return Outcome(result.text, call.state(arguments, result))

    return Syscall(
        name=call.name,
        description=call.description,
        schema=call.schema,
        effect=call.effect,
        run=run,
        examples=call.examples,
        worked=tuple(Example(w.question, w.arguments, w.result) for w in call.worked),
        timeout=min(call.timeout, limits.CALL_SECONDS) + 1,
        verbatim=call.verbatim,
    )


@contextlib.asynccontextmanager
async def boot(config: Config) -> AsyncIterator[Kernel]:
    """A running kernel, without a server; closed at the end.

    Raises:
        LlmosError: It cannot start; the sentence says why.
    """
    with lock(config.state):
        journal = Journal(config.state / "journal.db")
        try:
            backend, header = processor(config)
            await backend.start()
        except BaseException:
            await journal.close()
            raise
        kernels: list[Kernel] = []
        calls, _ = syscall_table(lambda: kernels[0])
        guide = _guide(config, backend)
        kernel = Kernel(config, backend, journal, calls, guide=guide, hint=_hint(header))
        kernels.append(kernel)
        try:
            await kernel.restore()
            yield kernel
        finally:
            await kernel.close()


def _guide(config: Config, backend: Backend) -> Any:
    """Help with choosing calls, for models that need it."""
    asked, weights = config.engine.tool_help, backend.info.parameters
    if asked == "native" or (asked == "auto" and (not weights or weights >= GUIDED_BELOW)):
        return None
    from llmos.kernel.guide import Guide
    from llmos.memory.embed import starter_embedder

    try:
        return Guide(starter_embedder())
    except ConfigError:
        return None


def _hint(header: Any) -> str:
    """A sentence that a better model exists for this machine, or nothing."""
    if header is None:
        return ""
    from llmos.models import hardware

    return hardware.hint(header, hardware.probe())
