"""Whether a jail holds on this machine: by trying to get out of it, not by its version.

Every attempt in ``attempts/`` is made inside the jail; ``probe_world.py`` looks from outside. An
attempt that could not even be made counts as not held: a jail in which nothing runs proves
nothing. What is found is true for this machine, this user and this moment.

Not tried: holes in the operating system's kernel, side channels of the processor, and whether a
file whose name is known exists, which Landlock tells everybody.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.sandbox.attempts.registry import ATTEMPTS
from llmos.sandbox.jail import Bounds, Finished, Jail, Task, run
from llmos.sandbox.probe_world import World

for _group in ("files", "network", "processes", "privileges", "limits"):
    importlib.import_module(f"llmos.sandbox.attempts.{_group}")

__all__ = ["ALL", "QUICK", "Probed", "probe"]

_FOLDER = Path(__file__).parent
_WORKER = _FOLDER / "probe_worker.py"

#: The names of all attempts.
ALL: tuple[str, ...] = tuple(ATTEMPTS)
#: Those that a kernel makes when it first needs a jail: all but what takes a jail of its own, and
#: of those the two without which no jail can be ended.
QUICK: tuple[str, ...] = tuple(
    name
    for name, attempt in ATTEMPTS.items()
    if not attempt.alone or name in ("daemon", "fork_bomb")
)

_BOUNDS = Bounds(
    memory_bytes=limits.PROBE_MEMORY_BYTES,
    cpu_seconds=limits.PROBE_CPU_SECONDS,
    processes=limits.PROBE_PROCESSES,
    open_files=limits.PROBE_OPEN_FILES,
    file_bytes=limits.PROBE_FILE_BYTES,
    disk_bytes=limits.PROBE_DISK_BYTES,
)


#: Ends by whoever watches what a jail uses: it may get a little beyond before it is seen.
_STOPPED = ("memory", "disk", "processes")


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of one attempt.

    Args:
        name: The attempt's.
        held: It was denied.
        told: By what, or what it got.
    """

    name: str
    held: bool
    told: str

    @property
    def about(self) -> str:
        """What was tried, in a few words."""
        return ATTEMPTS[self.name].about


async def probe(jail: Jail, which: Iterable[str] | None = None) -> list[Probed]:
    """Try to get out of a jail.

    Args:
        which: Names of attempts; all where not given.

    Returns:
        What came of each, in the order asked for.

    Raises:
        ValueError: There is no attempt of that name.
        CallFailed: The jail cannot be started at all.
        SandboxMissing: This machine has no such jail.
    """
    names = list(ALL if which is None else dict.fromkeys(which))
    if unknown := [name for name in names if name not in ATTEMPTS]:
        raise ValueError(f"There is no attempt to escape called {unknown[0]}.")
    found: dict[str, Probed] = {}
    async with World(_BOUNDS) as world:
        together = [name for name in names if not ATTEMPTS[name].alone]
        if together:
            done = await _run(jail, world, together, Path(world.scene.workspace), alone=False)
            said, traces = _said(done), await world.traces()
            found |= {name: _judged(name, said, traces.get(name, ""), done) for name in together}
        turns = asyncio.Semaphore(limits.PROBE_AT_ONCE)

        async def alone(name: str) -> None:
            async with turns:
                space = world.workspace()
                done = await _run(jail, world, [name], space, alone=True)
                trace = await world.outlived(space) or _overfull(space)
                found[name] = _judged(name, _said(done), trace, done)

        async with asyncio.TaskGroup() as group:
            for name in names:
                if ATTEMPTS[name].alone:
                    group.create_task(alone(name))
    return [found[name] for name in names]


async def _run(jail: Jail, world: World, names: list[str], space: Path, *, alone: bool) -> Finished:
    asked = {
        "scene": world.scene._replace(workspace=str(space))._asdict(),
        "names": names,
        "alone": alone,
    }
    task = Task(
        argv=(sys.executable, "-I", "-S", "-X", "utf8", str(_WORKER)),
        readable=(_FOLDER, Path(world.scene.readable)),
        workspace=space,
        bounds=_BOUNDS,
    )
    seconds = limits.PROBE_ALONE_S if alone else limits.PROBE_TOGETHER_S
    line = json.dumps(asked).encode() + b"\n"
    return await run(jail, task, line, seconds=seconds, output_bytes=limits.PROBE_OUTPUT_BYTES)


def _said(done: Finished) -> dict[str, Any]:
    """The worker's lines by the name of the attempt: None for one that only began."""
    said: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # an attempt's own words
        if isinstance(value, dict) and "begun" in value:
            said.setdefault(value["begun"], None)
        elif isinstance(value, dict) and "name" in value:
            said[value["name"]] = value
    return said


def _judged(name: str, said: dict[str, Any], trace: str, done: Finished) -> Probed:
    if name not in said:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = done.ended or (lines[-1][:200] if lines else f"status {done.status}")
        return Probed(name, False, f"It could not be tried: {why}.")
    if trace:
        return Probed(name, False, trace)
    end = said[name]
    if end is None:
        if not ATTEMPTS[name].alone:
            return Probed(name, False, "It was not tried to its end.")
        return Probed(name, True, f"ended by its limit ({done.ended or f'status {done.status}'})")
    if end["out"] and done.ended not in _STOPPED:
        return Probed(name, False, str(end["told"]))
    return Probed(name, True, str(end["told"]) or "denied")


def _overfull(space: Path) -> str:
    """What an attempt left that is larger than it may be."""
    sizes = [(path.stat().st_size, path.name) for path in space.iterdir() if path.is_file()]
    for size, name in sizes:
        if size > _BOUNDS.file_bytes:
            return f"{name} has {size >> 20} MB"
    return ""
