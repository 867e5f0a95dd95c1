"""The experts that are there: those that come with llmos, and those a person installed.

Both come through this one door. An installed one is loaded only while its files are what its lock
says; a broken one is listed with a sentence and is never fatal. Its own tools run in the jail
(``jailed.py``); what their calls take is asked once for each version and kept in the cache. It
knows nothing of processes, of the monitor, or of who is speaking to whom.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos import limits, paths
from llmos.door.toolfile import EFFECTS
from llmos.door.tools import Broken, Call, Tool
from llmos.errors import ExpertError, LlmosError
from llmos.experts import address, expertfile, lending, locked
from llmos.experts.jailed import FindJail, Runner, sweep, version
from llmos.experts.permissions import Permissions

__all__ = ["Expert", "Experts"]

_log = logging.getLogger(__name__)
_CACHE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Expert:
    """An expert that works.

    Args:
        name: How a person addresses it: ``@name``.
        prompt: What the model is told while it speaks.
        starters: Questions to begin with.
        allows: Calls of llmos it may make: ``tool.function``, or ``tool`` for all of them.
        tools: Its own, which run in the jail.
        permissions: What it declared; bounds its own calls, and llmos's while it speaks.
        knowledge: Files, relative to ``folder``; see ``knowledge.Library``.
        folder: Its files.
        bundled: Whether it comes with llmos.
        digest: Of all its files: another version has another one.
    """

    name: str
    version: str
    licence: str
    summary: str
    prompt: str
    starters: tuple[str, ...]
    allows: tuple[str, ...]
    tools: tuple[Tool, ...]
    permissions: Permissions
    knowledge: tuple[str, ...]
    folder: Path
    bundled: bool
    digest: str

    @property
    def own(self) -> dict[str, Call]:
        """Its own calls, by name."""
        return {call.name: call for tool in self.tools for call in tool.calls}

    def calls(self, known: Mapping[str, Call]) -> dict[str, Call]:
        """Every call it may make.

        Args:
            known: The calls of llmos, by name; one of the same name wins over its own.
        """
        allowed = {name: call for name, call in known.items() if self.may_call(name)}
        return {**{n: call for n, call in self.own.items() if n not in known}, **allowed}

    def may_call(self, name: str) -> bool:
        """Whether it may make a call of llmos."""
        return name in self.allows or name.partition(".")[0] in self.allows

    def lend(self, call: Call, services: Mapping[str, Any]) -> dict[str, Any]:
        """The services of the kernel as it may use them in a call of llmos.

        llmos's own code keeps to its effect by itself; the expert's permissions bound it here.
        Its own calls are bounded in ``jailed.py``.
        """
        return lending.lend(self.permissions, EFFECTS[-1], call.uses, services)


class Experts:
    """All experts of this machine.

    Args:
        jail: Finds the jail in which their tools run, such as ``sandbox.tiers.best``.
        bundled: Where those that come with llmos are.
        installed: Where the installed ones are.
    """

    def __init__(
        self, jail: FindJail, *, bundled: Path | None = None, installed: Path | None = None
    ) -> None:
        self._jail = jail
        self._bundled = bundled or paths.bundled("plugins")
        self._installed = installed or paths.plugins_dir()
        self._found: dict[str, Expert] = {}
        self._stamp: Any = None
        #: Those that cannot be used, and why.
        self.broken: tuple[Broken, ...] = ()

    def all(self) -> tuple[Expert, ...]:
        """Those that work, by name."""
        return tuple(self._found[name] for name in sorted(self._found))

    def get(self, name: str) -> Expert:
        """The expert of that name.

        Raises:
            ExpertError: There is none, or it is broken; the sentence says how.
        """
        if name in self._found:
            return self._found[name]
        for broken in self.broken:
            if broken.name == name:
                raise ExpertError(
                    f"The expert @{name} is broken: {broken.sentence}",
                    remedy=f"See: llmos plugin info {name}",
                )
        raise address.unknown(name, self._found)

    def known(self, name: str) -> bool:
        """Whether something of that name is there, even if it is broken."""
        return name in self._found or any(broken.name == name for broken in self.broken)

    async def load(self) -> None:
        """Read what is there; whatever was loaded before is forgotten."""
        self._stamp = await asyncio.to_thread(self._looked)
        await asyncio.to_thread(sweep)
        found: dict[str, Expert] = {}
        broken: list[Broken] = []
        for name, folder, lock in self._places(broken):
            try:
                if name in found:
                    raise ExpertError(f"An expert named {name} comes with llmos already.")
                found[name] = await self._expert(name, folder, lock)
            except LlmosError as error:
                _log.warning("the expert %s is broken: %s", name, error, exc_info=error.__cause__)
                broken.append(Broken(name, folder, str(error)))
            except Exception as error:  # one expert is never fatal
                _log.error("the expert %s cannot be loaded", name, exc_info=error)
                broken.append(Broken(name, folder, "It cannot be loaded; the log says why."))
        self._found, self.broken = found, tuple(broken)

    async def refresh(self) -> bool:
        """Load anew where something was installed, removed or edited since; whether that was so."""
        looked = await asyncio.to_thread(self._looked)
        if looked is not None and looked == self._stamp:
            return False
        await self.load()
        return True

    def _looked(self) -> Any:
        """What changes with every installation and removal, and with every file of an expert."""
        try:
            locks = [(path.name, path.stat().st_mtime_ns) for path in locked.locks(self._installed)]
            folders = [path for path in self._installed.iterdir() if path.is_dir()] if locks else []
        except OSError:  # it is being changed: loaded again now, and once that is over
            return None
        return locks, {path.name: locked.stamp(path) for path in folders if path.name[0] != "."}

    def _places(self, broken: list[Broken]) -> Iterable[tuple[str, Path, locked.Lock | None]]:
        """Name, folder and lock of each; those that come with llmos have none."""
        try:
            shipped = sorted(p for p in self._bundled.iterdir() if (p / expertfile.FILE).exists())
        except OSError:
            shipped = []
        for folder in shipped:
            yield folder.name, folder, None
        for path in locked.locks(self._installed):
            try:
                lock = locked.read(path)
            except ExpertError as error:
                broken.append(Broken(path.name.removesuffix(locked.ENDING), path, str(error)))
                continue
            yield lock.name, self._installed / lock.folder, lock

    async def _expert(self, name: str, folder: Path, lock: locked.Lock | None) -> Expert:
        about, digest = await asyncio.to_thread(_checked, name, folder, lock)
        runner = Runner(folder, about.permissions, self._jail)
        described = await self._described(runner, about, digest) if about.tools else {}
        tools = tuple(
            runner.tool(tool, described.get(tool.about.name) or {}) for tool in about.tools
        )
        return Expert(
            name=name,
            version=about.version,
            licence=about.licence,
            summary=about.summary,
            prompt=about.prompt,
            starters=about.starters,
            allows=about.calls,
            tools=tools,
            permissions=about.permissions,
            knowledge=about.knowledge,
            folder=folder,
            bundled=lock is None,
            digest=digest,
        )

    async def _described(
        self, runner: Runner, about: expertfile.Manifest, digest: str
    ) -> dict[str, Any]:
        """What the calls of its tools take: from the cache, or from the tools in the jail."""
        key = hashlib.sha256(f"{version()} {digest}".encode()).hexdigest()
        path = paths.cache_dir() / "experts" / f"{key}.json"
        try:
            with path.open("rb") as file:
                kept = json.loads(file.read(_CACHE_BYTES))
            if isinstance(kept, dict):
                return kept
        except (OSError, ValueError, RecursionError):
            pass  # it is made anew
        said = {tool.about.name: await runner.describe(tool) for tool in about.tools}
        try:
            paths.private_dir(path.parent)
            paths.atomic_write(path, json.dumps(said))
            kept_files = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)
            for old in kept_files[: -limits.EXPERT_DESCRIBED]:
                old.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("what the tools of %s take cannot be kept: %s", about.name, error)
        return said


def _checked(name: str, folder: Path, lock: locked.Lock | None) -> tuple[expertfile.Manifest, str]:
    """The manifest of an expert whose files are what they should be, and their digest."""
    if lock is None:
        digest = locked.digest_of(locked.fingerprints(folder, compiled=False))
    else:
        locked.verify(folder, lock)
        digest = lock.digest
    about = expertfile.read(folder)
    if about.name != name:
        raise ExpertError(f"The expert in the folder {name} calls itself {about.name}.")
    return about, digest
