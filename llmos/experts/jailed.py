"""An expert's tool, run in the jail: one worker process for each call.

The worker (``jailed_worker.py``) sees the Python interpreter, ``llmos.sdk`` with what that stands
on, the expert's folder, and an empty folder to write in that is gone after the call. What it wants
of the kernel's services it asks for over its standard output, and gets it through the guards of
``lending.py``. Whatever it does, hang, crash, flood or lie, ends as one sentence for the model;
its own words go to the log. What one call leaves in memory, the next one does not find.

What it declares is read as a stranger's word: see ``tightened``. It does not judge whether a call
may be made; that is the monitor's.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llmos import limits, paths, sdk
from llmos.door.toolfile import EFFECTS, CallEntry
from llmos.door.tools import Call, Tool, check_entry
from llmos.errors import CallFailed, ExpertError, LlmosError
from llmos.experts import described, lending, wire
from llmos.experts.expertfile import OwnTool
from llmos.experts.permissions import Permissions
from llmos.experts.talk import Talk
from llmos.sandbox.jail import Bounds, Jail, Task
from llmos.visible import visible

__all__ = ["FindJail", "Runner", "sweep", "tightened"]

_log = logging.getLogger(__name__)

FindJail = Callable[[], Awaitable[Jail]]

_PACKAGE = Path(__file__).resolve().parents[1]
_ABANDONED = 24 * 3600.0  # seconds; no call takes as long
_WORKER = _PACKAGE / "experts" / "jailed_worker.py"
#: All of llmos that a worker sees, below the package's folder.
_SEEN = (
    *("__init__.py", "errors.py", "sdk.py", "services.py"),
    *("door/__init__.py", "door/schema.py", "door/streamed.py"),
    *("experts/__init__.py", "experts/wire.py", "experts/jailed_worker.py"),
)
#: Services that give what is the person's own.
_PRIVATE = frozenset({"folders", "interpreter", "shell", "timers", "clipboard"})


def version() -> str:
    """Identifies the code that a worker runs: a digest of all of llmos that it sees."""
    return hashlib.sha256(b"".join((_PACKAGE / name).read_bytes() for name in _SEEN)).hexdigest()


def _workspaces() -> Path:
    return paths.cache_dir() / "jailed"


def sweep() -> None:
    """Throw away what calls wrote that ended with a kernel that was killed."""
    try:
        for left in _workspaces().iterdir():
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
    except OSError:
        pass  # there is nothing, or another kernel was quicker


def tightened(entry: CallEntry, uses: tuple[str, ...]) -> CallEntry:
    """What a call of an expert's tool declares, as far as a stranger is believed.

    Its result is never the system's, and untrusted where it can hold what others wrote; none of
    its fields is trusted, and it leads to no other call; what it was given of the person's own
    stays private. Where it changes something or goes out, only lists of values may widen what its
    arguments can be: where the rest may come from is the monitor's strictest reading.
    """
    origin = "plugin" if entry.origin != "untrusted" and not uses else "untrusted"
    sources = entry.sources
    if EFFECTS.index(entry.effect) >= EFFECTS.index("write"):
        sources = {
            name: source for name, source in sources.items() if source not in ("any", "trusted")
        }
    private = entry.private or not _PRIVATE.isdisjoint(uses)
    # What it says in the assistant's place where nothing was done is a stranger's word, too.
    return replace(
        entry,
        origin=origin,
        sources=sources,
        private=private,
        trusted=(),
        leads_to=(),
        wished=(),
        undone="",
        asked=(),
        literal={},
    )


@dataclass(frozen=True)
class Runner:
    """Runs the tools of one expert.

    Args:
        folder: The expert's.
        permissions: What it declared.
        jail: Finds the jail, when one is needed.
    """

    folder: Path
    permissions: Permissions
    jail: FindJail

    async def describe(self, tool: OwnTool) -> dict[str, Any]:
        """What the calls of a tool take, as its worker says: JSON-able, and not yet checked.

        Raises:
            ExpertError: Its code cannot be imported, or is not what the manifest says.
            SandboxMissing: There is no jail on this machine.
        """
        functions = {entry.function: entry.preview for entry in tool.about.calls}
        request = {"kind": "describe", "tool": str(self.folder / tool.folder)}
        told = f"The tool {tool.about.name}"
        try:
            async with asyncio.timeout(limits.TOOL_LOAD_SECONDS):
                answer = await self._ask(
                    tool.about.name,
                    {**request, "functions": functions},
                    {},
                    sdk.Context(),
                    limits.TOOL_LOAD_SECONDS,
                )
        except TimeoutError:
            raise ExpertError(f"{told} takes too long to import.") from None
        except sdk.ToolError as error:
            raise ExpertError(f"{told} does not work: {error.sentence}") from error
        calls = answer.get("calls")
        if answer["kind"] != "described" or not isinstance(calls, dict):
            raise ExpertError(f"{told} does not say what it takes.")
        return calls

    def tool(self, tool: OwnTool, calls: Mapping[str, Any]) -> Tool:
        """A tool whose calls run in the jail.

        Args:
            tool: Of the expert's manifest.
            calls: As ``describe`` gave them.

        Raises:
            ExpertError: They are not what a tool can be.
        """
        about = tool.about
        path = self.folder / tool.folder
        made = tuple(self._call(tool, entry, calls.get(entry.function)) for entry in about.calls)
        return Tool(about.name, about.version, about.summary, path, made)

    def _call(self, tool: OwnTool, entry: CallEntry, said: Any) -> Call:
        name = f"{tool.about.name}.{entry.function}"
        try:
            signature = described.signature(said)
        except ExpertError as error:
            raise ExpertError(f"The call {name}: {error.sentence}") from error
        try:
            check_entry(name, entry, signature)
        except CallFailed as error:
            raise ExpertError(error.sentence) from error
        own = tightened(entry, tool.about.uses)
        function = self._function(tool, own, own.function, own.effect)
        # What shows a change must not make it.
        preview = self._function(tool, own, own.preview, "read") if own.preview else None
        return Call.of(name, own, signature, tool.about.uses, function, preview)

    def _function(
        self, tool: OwnTool, entry: CallEntry, function: str, effect: str
    ) -> Callable[..., Any]:
        """The function that stands for the one in the jail."""
        name = f"{tool.about.name}.{entry.function}"
        effect = min(effect, entry.effect, key=EFFECTS.index)

        async def jailed(**arguments: Any) -> sdk.Result | sdk.Preview:
            context: sdk.Context = arguments.pop(described.CONTEXT)
            held = {s: getattr(context, s) for s in tool.about.uses if _has(context, s)}
            lent = lending.lend(self.permissions, effect, tool.about.uses, held)
            request = {
                "kind": "call",
                "tool": str(self.folder / tool.folder),
                "function": function,
                "arguments": arguments,
                "uses": sorted(lent),
                "zone": context.zone,
                "locale": context.locale,
                "seen": context.seen,
                "most": limits.CALL_RESULT_CHARS,
                "reports": limits.EXPERT_PROGRESS,
            }
            try:
                answer = await self._ask(name, request, lent, context, entry.timeout)
            except LlmosError as error:
                raise sdk.ToolError(error.sentence, error.remedy) from error
            return _read(name, answer)

        return jailed

    async def _ask(
        self,
        name: str,
        request: Mapping[str, Any],
        lent: Mapping[str, Any],
        context: sdk.Context,
        seconds: float,
    ) -> dict[str, Any]:
        """One worker, one request, one answer."""
        jail = await self.jail()
        try:
            base = await asyncio.to_thread(lambda: paths.private_dir(_workspaces()))
            space = tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True)
        except OSError as error:
            raise ExpertError(
                f"{name} has no folder to work in: {error.strerror or error}.",
                remedy="Make room on the disk, and the state directory yours: llmos doctor.",
            ) from error
        with space as workspace:
            jailed = await jail.start(self._task(Path(workspace), seconds))
            talk = Talk(name, jailed, lent, context)
            try:
                return await talk.about(request)
            except asyncio.CancelledError:
                await talk.stop()
                raise
            finally:
                await talk.close()

    def _task(self, workspace: Path, seconds: float) -> Task:
        bounds = Bounds(
            memory_bytes=self.permissions.memory_mb << 20,
            cpu_seconds=int(seconds) + 1,
            processes=limits.EXPERT_PROCESSES,
            open_files=limits.EXPERT_OPEN_FILES,
            file_bytes=limits.EXPERT_DISK_BYTES,
            disk_bytes=limits.EXPERT_DISK_BYTES,
        )
        return Task(
            argv=(sys.executable, "-I", "-B", str(_WORKER)),
            readable=(*(_PACKAGE / part for part in _SEEN), self.folder),
            workspace=workspace,
            bounds=bounds,
        )


def _has(context: sdk.Context, service: str) -> bool:
    try:
        getattr(context, service)
    except sdk.ToolError:
        return False
    return True


def _read(name: str, answer: dict[str, Any]) -> sdk.Result | sdk.Preview:
    """A result as a worker told it.

    Raises:
        ToolError: It is none, or more than a call may give.
    """
    try:
        if answer["kind"] == "preview":
            return sdk.Preview(_str(answer["text"]), _str(answer["seen"])[: limits.PREVIEW_CHARS])
        artifacts, evidence = wire.unpack(answer["artifacts"]), wire.unpack(answer["evidence"])
        for each, kind in ((artifacts, sdk.Artifact), (evidence, sdk.Evidence)):
            if not isinstance(each, list) or not all(type(item) is kind for item in each):
                raise ValueError(kind.__name__)
        data = wire.unpack(answer["data"])
        text, failed = _str(answer["text"]), answer["failed"] is True
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        _log.error("%s answered with no result", name, exc_info=error)
        raise sdk.ToolError(f"{name} gave no result that can be read.") from error
    if len(artifacts) > limits.EXPERT_ARTIFACTS or len(evidence) > limits.EXPERT_EVIDENCE:
        raise sdk.ToolError(f"{name} gave more files or sources than a call may.")
    if len(text) > limits.CALL_RESULT_CHARS:
        raise sdk.ToolError(f"The result of {name} is too long.")
    for artifact in artifacts:
        plain = visible(artifact.name) == artifact.name and artifact.name.isprintable()
        if not plain or "/" in artifact.name or artifact.name in ("", ".", ".."):
            raise sdk.ToolError(f"{name} gave a file whose name is not a plain one.")
    return sdk.Result(text, data, tuple(artifacts), tuple(evidence), failed)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value
