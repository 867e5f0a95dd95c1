"""The lock: what an expert's files were when a person said yes to them.

One JSON file for each installed expert, beside its folder and not in it, with the sha256 of every
file. Writing it is the one step that makes an installation count: it names the folder, so that a
crash leaves the old version or the new one, whole. Verifying finds every file that changed, is
gone or came along. It guards against damage and against a folder somebody changed; who can write
the lock as well is the person.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from llmos import limits, paths
from llmos.errors import ExpertError

__all__ = [
    "ENDING",
    "Lock",
    "digest_of",
    "fingerprints",
    "locks",
    "read",
    "stamp",
    "verify",
    "write",
]

ENDING = ".lock.json"
_CHUNK = 1 << 20
_LOCK_BYTES = limits.EXPERT_FILES * (limits.EXPERT_PATH_BYTES * 6 + 100) + 4096


@dataclass(frozen=True, slots=True)
class Lock:
    """What was agreed to.

    Args:
        name: The expert's.
        version: The expert's.
        folder: Name of its folder, beside the lock.
        files: Path in the folder to sha256.
    """

    name: str
    version: str
    folder: str
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """One sha256 for all of it."""
        return digest_of(self.files)


def digest_of(files: Mapping[str, str]) -> str:
    """One sha256 for files and their contents."""
    listed = json.dumps(sorted(files.items()), ensure_ascii=True)
    return hashlib.sha256(listed.encode()).hexdigest()


def fingerprints(folder: Path, *, compiled: bool = True) -> dict[str, str]:
    """The sha256 of every file below a folder, by its path there.

    Args:
        folder: The expert's.
        compiled: Whether what Python compiled counts, too. It does where nobody but the installer
            writes: Python would run a compiled file without comparing it with its source.

    Raises:
        ExpertError: Something there is no regular file, or it is too much.
        OSError: Something there cannot be read.
    """
    found: dict[str, str] = {}
    total = 0
    for base, folders, files in os.walk(folder, onerror=_raised):
        folders[:] = sorted(name for name in folders if compiled or name != "__pycache__")
        for name in sorted(files) + [n for n in folders if Path(base, n).is_symlink()]:
            path = Path(base, name)
            key = path.relative_to(folder).as_posix()
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            if path.is_symlink():
                raise ExpertError(f"{key!r} is no regular file.")
            with open(os.open(path, flags), "rb") as file:
                status = os.fstat(file.fileno())
                total += status.st_size
                if not stat.S_ISREG(status.st_mode):
                    raise ExpertError(f"{key!r} is no regular file.")
                if total > limits.EXPERT_BYTES or len(found) >= limits.EXPERT_FILES:
                    raise ExpertError("Its folder holds more than an expert may have.")
                sha = hashlib.sha256()
                while chunk := file.read(_CHUNK):
                    sha.update(chunk)
            found[key] = sha.hexdigest()
    return found


def stamp(folder: Path) -> str:
    """What changes whenever something below a folder does; cheap, for it reads no file.

    By the time of a change of status, which nobody can set back as they can that of a change of
    contents. What cannot be read is as it was.
    """
    sha = hashlib.sha256()
    for base, folders, files in os.walk(folder):
        folders.sort()
        for name in (*sorted(files), *folders):
            path = os.path.join(base, name)
            try:
                at = os.lstat(path)
            except OSError:
                continue
            told = (path, at.st_ino, at.st_mode, at.st_size, at.st_mtime_ns, at.st_ctime_ns)
            sha.update(repr(told).encode())
    return sha.hexdigest()


def _raised(error: OSError) -> None:
    raise error


def verify(folder: Path, lock: Lock) -> None:
    """Check that a folder is what was agreed to.

    Raises:
        ExpertError: It is not; the sentence names the first file that differs.
    """
    again = f"Install it again, or: llmos plugin remove {lock.name}"
    try:
        found = fingerprints(folder)
    except OSError as error:
        raise ExpertError(
            f"Files of {lock.name} can't be read: {error.strerror}.", remedy=again
        ) from error
    for name in sorted({*found, *lock.files}):
        if found.get(name) != lock.files.get(name):
            how = "is gone" if name not in found else "changed"
            how = how if name in lock.files else "came along"
            raise ExpertError(
                f"The file {name!r} of {lock.name} {how} since it was installed.", remedy=again
            )


def write(folder: Path, lock: Lock) -> None:
    """Keep a lock in the folder of experts: from now on that version is the one installed."""
    text = json.dumps({**asdict(lock), "files": dict(lock.files)}, indent=1)
    paths.atomic_write(folder / f"{lock.name}{ENDING}", text)


def read(path: Path) -> Lock:
    """Read a lock.

    Raises:
        ExpertError: It is damaged.
    """
    name = path.name.removesuffix(ENDING)
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(_LOCK_BYTES))
        lock = Lock(data["name"], data["version"], data["folder"], data["files"])
        texts = (lock.name, lock.version, lock.folder, *lock.files, *lock.files.values())
        if not all(isinstance(text, str) for text in texts) or lock.name != name:
            raise ValueError(name)
        if "/" in lock.folder or lock.folder in ("", ".", ".."):
            raise ValueError(lock.folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExpertError(
            f"The lock of the expert {name!r} is damaged.",
            remedy=f"Install it again, or: llmos plugin remove {name}",
        ) from error
    return lock


def locks(folder: Path) -> list[Path]:
    """The locks in the folder of experts, by name; none where there is no such folder.

    Raises:
        ExpertError: It cannot be looked into.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(ENDING))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ExpertError(
            f"{folder} cannot be looked into: {error.strerror or error}.",
            remedy="Make it readable for you.",
        ) from error
