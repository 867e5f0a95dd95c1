"""``plugin.toml``: what an expert says of itself.

Reads and checks the file, the prompt, the names of knowledge files and the manifests of the
expert's own tools; never imports anything. Every error is one sentence with the key. Paths in it
are relative, stay inside the expert's folder and follow no link. It does not know where an expert
comes from, nor whether anybody said yes to it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llmos import __version__, limits
from llmos.door import toolfile
from llmos.errors import CallFailed, ExpertError
from llmos.experts.address import NAME
from llmos.experts.permissions import Permissions, host_pattern
from llmos.experts.table import FILE, Table

__all__ = ["FILE", "FORMAT", "Manifest", "OwnTool", "read"]

#: The version of the format that is read here. A larger one adds keys that nobody here knows.
FORMAT = 1
_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}([-+.]?[0-9A-Za-z.-]{1,40})?")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .+()-]{0,59}")
_CALL = re.compile(r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31})?")
#: Keys that have a meaning already and are not read yet: better no expert than half of one.
_LATER = ("signature", "mcp", "adapters")


@dataclass(frozen=True, slots=True)
class OwnTool:
    """A tool inside an expert's folder.

    Args:
        folder: Relative to the expert's.
        about: Its manifest.
    """

    folder: str
    about: toolfile.Manifest


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole ``plugin.toml``.

    Args:
        name: Of ``a-z``, ``0-9`` and ``-``; how a person addresses it: ``@name``.
        prompt: What the model is told, the text itself.
        starters: Questions to begin with.
        knowledge: Files, relative to the expert's folder, sorted.
        tools: Its own tools.
        calls: Calls of llmos it may make: ``tool.function``, or ``tool`` for all of them.
        source: Where it is published, or empty.
    """

    name: str
    version: str
    licence: str
    summary: str
    prompt: str
    starters: tuple[str, ...]
    knowledge: tuple[str, ...]
    tools: tuple[OwnTool, ...]
    calls: tuple[str, ...]
    permissions: Permissions
    source: str = ""


def read(folder: Path) -> Manifest:
    """Read ``folder/plugin.toml`` and what it names.

    Raises:
        ExpertError: Something is missing, unreadable or wrong; the sentence says what.
    """
    table = Table("The top", _toml(folder))
    form = table.left.pop("format", None)
    if type(form) is not int or form < 1:
        raise ExpertError(f"{FILE} must begin with “format = {FORMAT}”.")
    if form > FORMAT:
        raise ExpertError(
            f"This expert is written in format {form} of {FILE}; this llmos reads format {FORMAT}.",
            remedy="Update llmos, or get an older version of the expert.",
        )
    for key in _LATER:
        if key in table.left:
            raise ExpertError(f"{FILE} uses “{key}”, which this version of llmos cannot do yet.")
    name = table.text("name")
    if not NAME.fullmatch(name) or "--" in name:
        raise ExpertError(
            f"The name {name[:60]!r} must be 2 to 32 long, of a-z, 0-9 and single hyphens."
        )
    version = table.text("version")
    if not _VERSION.fullmatch(version):
        raise ExpertError(f"The version {version[:60]!r} is none.")
    licence = table.text("licence")
    if not _LICENCE.fullmatch(licence):
        raise ExpertError(f"The licence {licence[:60]!r} must be a short name: Apache-2.0.")
    _requires(table.left.pop("requires", {}))
    permissions = _permissions(table.left.pop("permissions", {}))
    calls = table.texts("calls")
    for call in calls:
        if not _CALL.fullmatch(call):
            raise ExpertError(f"“calls” of {FILE} has {call[:60]!r}, which is no name of a call.")
    manifest = Manifest(
        name=name,
        version=version,
        licence=licence,
        summary=table.text("summary"),
        prompt=_prompt(folder, table.left.pop("prompt", None)),
        starters=table.texts("starters"),
        knowledge=_knowledge(folder, table.texts("knowledge")),
        tools=_tools(folder, table.texts("tools"), permissions),
        calls=tuple(dict.fromkeys(calls)),
        permissions=permissions,
        source=table.text("source", ""),
    )
    table.end()
    return manifest


def _toml(folder: Path) -> Any:
    path = folder / FILE
    try:
        raw = b"" if path.is_symlink() else _bounded(path, limits.EXPERT_MANIFEST_BYTES)
        return tomllib.loads(raw.decode())
    except FileNotFoundError:
        raise ExpertError(f"There is no {FILE} here; so this is no expert.") from None
    except (ValueError, RecursionError) as error:  # ValueError: a number too long, too
        raise ExpertError(f"{FILE} cannot be read: {error}.") from error


def _bounded(path: Path, most: int) -> bytes:
    """The bytes of a file that may have so many."""
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ExpertError(f"{path.name} cannot be read: {error.strerror}.") from error
    if len(raw) > most:
        raise ExpertError(f"{path.name} is larger than {most // 1024:,} kB.")
    return raw


def _requires(said: Any) -> None:
    table = Table("[requires]", said)
    least = table.text("llmos", "")
    table.end()
    if least and not re.fullmatch(r"\d{1,9}(\.\d{1,9}){0,2}", least):
        raise ExpertError(f"“llmos” of [requires] must be a version such as 0.1, not {least!r}.")
    if least and _numbers(least) > _numbers(__version__):
        raise ExpertError(
            f"This expert needs llmos {least}; this one is {__version__}.", remedy="Update llmos."
        )


def _numbers(version: str) -> tuple[int, ...]:
    found = [int(part) for part in re.findall(r"\d+", version.partition("-")[0])][:3]
    return tuple(found + [0] * (3 - len(found)))


def _permissions(said: Any) -> Permissions:
    table = Table("[permissions]", said)
    memory = table.left.pop("memory_mb", limits.EXPERT_MEMORY_MB)
    if type(memory) is not int or not 64 <= memory <= limits.EXPERT_MEMORY_MB_MAX:
        raise ExpertError(
            f"“memory_mb” of [permissions] must be 64 to {limits.EXPERT_MEMORY_MB_MAX}."
        )
    permissions = Permissions(
        web=tuple(dict.fromkeys(host_pattern(host) for host in table.texts("web"))),
        search=table.flag("search"),
        folders=table.level("folders"),
        python=table.flag("python"),
        shell=table.flag("shell"),
        timers=table.flag("timers"),
        clipboard=table.level("clipboard"),
        machine=table.flag("machine"),
        memory_mb=memory,
    )
    table.end()
    return permissions


def _prompt(folder: Path, said: Any) -> str:
    if isinstance(said, Mapping) and set(said) == {"file"} and isinstance(said["file"], str):
        path = _inside(folder, said["file"])
        try:
            said = _bounded(path, 4 * limits.EXPERT_PROMPT_CHARS).decode()
        except FileNotFoundError:
            raise ExpertError(f"The prompt {path.name} is not there.") from None
        except UnicodeDecodeError:
            raise ExpertError(f"The prompt {path.name} is no UTF-8 text.") from None
    if not isinstance(said, str) or not said.strip():
        raise ExpertError(f'“prompt” of {FILE} must be text, or {{ file = "prompt.md" }}.')
    if len(said) > limits.EXPERT_PROMPT_CHARS:
        raise ExpertError(f"The prompt is longer than {limits.EXPERT_PROMPT_CHARS:,} characters.")
    return said.strip()


def _inside(folder: Path, said: str) -> Path:
    """The path of a name in the manifest.

    Raises:
        ExpertError: It leads out of the folder.
    """
    parts = PurePosixPath(said).parts
    if said.startswith("/") or ".." in parts or "\\" in said or "\0" in said or not parts:
        raise ExpertError(f"{said[:80]!r} in {FILE} leads out of the expert's folder.")
    path = folder.joinpath(*parts)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ExpertError(f"{said[:80]!r} in {FILE} leads out of the expert's folder.")
    return path


def _knowledge(folder: Path, patterns: tuple[str, ...]) -> tuple[str, ...]:
    files: set[str] = set()
    for pattern in patterns:
        _inside(folder, pattern)
        try:
            found = [path for path in folder.glob(pattern) if path.is_file()]
        except (ValueError, NotImplementedError, IndexError):
            raise ExpertError(f"“knowledge” of {FILE} has {pattern!r}, no pattern.") from None
        if not found:
            raise ExpertError(f"“knowledge” of {FILE} names {pattern!r}, and no file is like that.")
        for path in found:
            files.add(
                _inside(folder, path.relative_to(folder).as_posix()).relative_to(folder).as_posix()
            )
        if len(files) > limits.EXPERT_FILES:
            raise ExpertError("The expert's knowledge has too many files.")
    return tuple(sorted(files))


def _tools(folder: Path, said: tuple[str, ...], permissions: Permissions) -> tuple[OwnTool, ...]:
    if len(said) > limits.EXPERT_TOOLS:
        raise ExpertError(f"An expert has at most {limits.EXPERT_TOOLS} tools.")
    tools: dict[str, OwnTool] = {}
    for name in said:
        path = _inside(folder, name)
        try:
            about = toolfile.read(path)
        except CallFailed as error:
            raise ExpertError(f"The tool {name}: {error}") from error
        if about.name in tools:
            raise ExpertError(f"{FILE} names the tool {about.name} twice.")
        for service in about.uses:
            if not permissions.lends(service):
                raise ExpertError(
                    f"The tool {about.name} uses “{service}”, which [permissions] does not declare."
                )
        tools[about.name] = OwnTool(name, about)
    return tuple(tools.values())
