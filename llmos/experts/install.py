"""Installing and removing experts: first what they may do, then the yes, then one step.

``stage`` brings an expert's files into a private folder, checks everything about them, and says
in plain words what the expert may do and what an update changes; the sentences are made from its
declarations. ``Staged.commit`` makes it count, by writing its lock (``locked.py``); until then,
and wherever something fails, nothing is left behind. Nothing of the expert runs here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos import paths
from llmos.errors import ExpertError
from llmos.experts import archive, expertfile, knowledge, locked
from llmos.experts.expertfile import FILE, Manifest
from llmos.visible import visible

__all__ = ["Staged", "removable", "remove", "stage", "told"]

_NEW = ".new-"
_ABANDONED = 24 * 3600.0  # seconds until a staged folder that nobody came back for goes
_DOES = {
    "pure": "computes only",
    "read": "reads",
    "write": "changes something",
    "execute": "runs code",
    "egress": "goes to the web",
}

#: What the names of the kernel's own calls begin with.
_KERNELS = frozenset(("calls", "memory", "process", "reader"))


def told(manifest: Manifest, folder: Path) -> tuple[str, ...]:
    """What an expert may do, in plain words: a line each, from its declarations alone."""
    may = manifest.permissions
    lines = [f"It may {line}." for line in may.told()]
    if manifest.calls:
        lines.append(f"Within that, it may use these tools of llmos: {', '.join(manifest.calls)}.")
    own = [(tool.about, call) for tool in manifest.tools for call in tool.about.calls]
    if own:
        told = ", ".join(f"{a.name}.{call.function} ({_DOES[call.effect]})" for a, call in own)
        lines.append(
            f"It brings tools of its own: {told}. They run in a jail, with at most "
            f"{may.memory_mb:,} MB of memory, and reach nothing but what is said here."
        )
    if manifest.knowledge:
        size = sum((folder / name).stat().st_size for name in manifest.knowledge)
        files = "a file" if len(manifest.knowledge) == 1 else f"{len(manifest.knowledge):,} files"
        lines.append(f"It brings {files} that it quotes from ({max(size // 1024, 1):,} kB).")
    if not may.told():
        lines.append("It may not use the web, your files, or anything else of your machine.")
    elif not (manifest.calls or own):
        lines.append("But it brings no tools and names none of llmos's, so it only talks.")
    return tuple(visible(line) for line in lines)


@dataclass(frozen=True)
class Staged:
    """An expert that is ready to be installed. ``discard`` it where it is not.

    Args:
        manifest: What it says of itself.
        folder: Its files, private and checked.
        files: Path to sha256.
        told: What it may do, a plain line each.
        before: What is installed under its name now; None where nothing is.
        changes: What an update changes, a plain line each.
    """

    manifest: Manifest
    folder: Path
    files: dict[str, str]
    told: tuple[str, ...]
    before: str | None
    changes: tuple[str, ...]

    def commit(self) -> None:
        """Install it, in place of another version.

        Raises:
            ExpertError: It changed since it was staged, or cannot be kept.
        """
        name, experts = self.manifest.name, paths.plugins_dir()
        target = experts / f"{name}-{locked.digest_of(self.files)[:12]}-{secrets.token_hex(3)}"
        try:
            with _alone(experts):
                if locked.fingerprints(self.folder) != self.files:
                    raise ExpertError("Its files changed since you were shown what it may do.")
                os.rename(self.folder, target)
                lock = locked.Lock(name, self.manifest.version, target.name, self.files)
                try:
                    locked.write(experts, lock)
                except BaseException:
                    shutil.rmtree(target, ignore_errors=True)
                    raise
                _sweep(experts)
        except OSError as error:
            raise ExpertError(
                f"{name} can't be installed: {error.strerror or error}.",
                remedy="Nothing was changed.",
            ) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Throw the files away; harmless once they are installed."""
        shutil.rmtree(self.folder, ignore_errors=True)


def stage(source: Path) -> Staged:
    """Bring in an expert and check it; nothing of it is installed yet.

    Args:
        source: A folder, a zip file, or a tar file.

    Raises:
        ExpertError: It cannot be installed, in one sentence; nothing is left behind.
    """
    experts = paths.plugins_dir()
    try:
        folder = Path(tempfile.mkdtemp(prefix=_NEW, dir=paths.private_dir(experts)))
    except OSError as error:
        raise ExpertError(f"Nothing can be written to {experts}: {error.strerror}.") from error
    try:
        archive.gather(source, folder)
        manifest = expertfile.read(folder)
        if (paths.bundled("plugins") / manifest.name / FILE).exists():
            raise ExpertError(f"An expert named {manifest.name} comes with llmos already.")
        for tool in manifest.tools:
            if tool.about.name in _KERNELS:
                raise ExpertError(f"Its tool {tool.about.name} has the name of the kernel's calls.")
            for builtin in (paths.bundled("tools"), paths.tools_dir()):
                if (builtin / tool.about.name).is_dir():
                    raise ExpertError(
                        f"Its tool {tool.about.name} has the name of a tool that is there already."
                    )
        files = locked.fingerprints(folder)
        before, changes = _compared(manifest, folder, files)
        lines = told(manifest, folder)
        return Staged(manifest, folder, files, lines, before, changes)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise ExpertError(f"It can't be read: {error.strerror or error}.") from error
        raise


def _compared(
    manifest: Manifest, folder: Path, files: dict[str, str]
) -> tuple[str | None, tuple[str, ...]]:
    """The version that is installed, and what this one changes."""
    experts = paths.plugins_dir()
    path = experts / f"{manifest.name}{locked.ENDING}"
    if not path.exists():
        return None, ()
    try:
        lock = locked.read(path)
        old_folder = experts / lock.folder
        old = expertfile.read(old_folder)
        locked.verify(old_folder, lock)
    except ExpertError:
        return "?", ("What is installed now is broken, and is replaced.",)
    was, now = told(old, old_folder), told(manifest, folder)
    changes = [f"New: {line}" for line in now if line not in was]
    changes += [f"No longer: {line}" for line in was if line not in now]
    if old.prompt != manifest.prompt:
        changes.append("Its prompt changes.")
    count = sum(files.get(name) != lock.files.get(name) for name in {*files, *lock.files})
    if count:
        changes.append(f"{'One file changes' if count == 1 else f'{count:,} files change'}.")
    return lock.version, tuple(changes) or ("Nothing: it is the same.",)


def remove(name: str) -> None:
    """Remove an installed expert: its files, its lock, and what was indexed of its knowledge.

    Raises:
        ExpertError: None of that name is installed, or it cannot be removed.
    """
    path = removable(name)
    experts = path.parent
    try:
        with _alone(experts):
            path.unlink(missing_ok=True)
            _sweep(experts)
            knowledge.forget(name)
    except OSError as error:
        raise ExpertError(f"{name} can't be removed: {error.strerror or error}.") from error


def removable(name: str) -> Path:
    """The lock of an installed expert.

    Raises:
        ExpertError: None of that name is installed.
    """
    experts = paths.plugins_dir()
    path = experts / f"{name}{locked.ENDING}"
    if path not in locked.locks(experts):
        if (paths.bundled("plugins") / name / FILE).exists() and "/" not in name:
            raise ExpertError(f"{name} comes with llmos and can't be removed.")
        raise ExpertError(
            f"No expert named {name!r} is installed.", remedy="See: llmos plugin list"
        )
    return path


@contextlib.contextmanager
def _alone(experts: Path) -> Iterator[None]:
    """Hold the folder of experts against another command."""
    handle = os.open(experts / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(experts: Path) -> None:
    """Throw away folders of which no lock speaks: old versions, and what a crash left."""
    kept = set()
    for path in locked.locks(experts):
        try:
            kept.add(locked.read(path).folder)
        except ExpertError:
            name = path.name.removesuffix(locked.ENDING)  # its files may still be looked at
            kept |= {entry.name for entry in experts.glob(f"{name}-*")}
    for entry in experts.iterdir():
        if not entry.is_dir() or entry.is_symlink() or entry.name in kept:
            continue
        if entry.name.startswith(_NEW) and time.time() - entry.stat().st_mtime < _ABANDONED:
            continue  # somebody is being asked about it
        shutil.rmtree(entry, ignore_errors=True)
