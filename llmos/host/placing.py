"""Files put in their places, each in one step, and only where things are as they were expected.

A new file is prepared beside its place and takes it in one step. Where the file system can, the two
are exchanged, and what comes out is compared with what was expected: somebody who wrote in the last
instant gets their file back, and nothing was changed. Keeps no log; that is ``maker.py``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from llmos import limits
from llmos.errors import HostError
from llmos.failpoints import failpoint
from llmos.host import changes
from llmos.host.changes import Change
from llmos.host.places import folder_of, told
from llmos.host.rename import exchange, move_new

__all__ = ["digest", "failed", "missing", "move", "overtaken", "replace_file", "unmake"]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unmake(folders: Sequence[str]) -> None:
    """Remove the folders that were made for a change, where nothing is in them."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError, HostError), folder_of(Path(folder)) as above:
            os.rmdir(Path(folder).name, dir_fd=above)


def replace_file(change: Change, temporary: str) -> None:
    """Let ``after`` take the place of ``before``, and of nothing else."""
    path, name = change.path, change.path.name
    with folder_of(path) as folder:
        if change.after is None:
            move_new(folder, name, folder, temporary)
            if not _holds(path.with_name(temporary), change.before):
                move_new(folder, temporary, folder, name)
                raise overtaken(path)
            os.unlink(temporary, dir_fd=folder)
            os.fsync(folder)
            return
        handle = os.open(temporary, _NEW, change.mode, dir_fd=folder)
        ours = True  # what has the temporary name
        try:
            with open(handle, "wb") as file:
                file.write(change.after)
                file.flush()
                if change.before is not None or change.undoes:
                    os.fchmod(handle, change.mode)
                os.fsync(handle)
            failpoint("change-prepared")
            if change.before is None:
                try:
                    move_new(folder, temporary, folder, name)
                except FileExistsError:
                    raise overtaken(path) from None
            elif exchange(folder, temporary, name):
                ours = False
                if not _holds(path.with_name(temporary), change.before):
                    exchange(folder, temporary, name)
                    ours = True
                    raise overtaken(path)
                failpoint("change-exchanged")
                os.unlink(temporary, dir_fd=folder)
            else:
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            if ours:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
            raise


def move(path: Path, to: Path, identity: str) -> None:
    """Move what has this identity, to where nothing is."""
    with folder_of(path) as source, folder_of(to) as target:
        move_new(source, path.name, target, to.name)
        status = os.stat(to.name, dir_fd=target, follow_symlinks=False)
        if f"{status.st_dev}:{status.st_ino}" != identity:
            move_new(target, to.name, source, path.name)
            raise overtaken(path)
        os.fsync(target)
        os.fsync(source)


def missing(folder: Path) -> list[Path]:
    """The folders down to ``folder`` that are not there, outermost first."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder.parent
        if len(missing) > limits.GRANTED_DEPTH:
            raise HostError("That lies too deep.", remedy="Take fewer folders within folders.")
    return missing[::-1]


def _holds(path: Path, data: bytes | None) -> bool:
    try:
        return changes.look(path).data == data
    except HostError:
        return False


def digest(data: bytes | None) -> str:
    """SHA-256 in hex; empty where there is no file."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def overtaken(path: Path) -> HostError:
    """Somebody else was quicker."""
    return HostError(
        f"{told(str(path))} was changed in the meantime; nothing was done.",
        remedy="Look at it again.",
    )


def failed(change: Change, error: OSError) -> HostError:
    """What the system said, for a person."""
    name = told(str(change.to or change.path))
    match error.errno:
        case errno.EXDEV:
            return HostError(f"{name} lies on another disk; nothing was moved.")
        case errno.ENOSPC | errno.EDQUOT:
            return HostError("The disk is full; nothing was changed.", remedy="Free some space.")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return HostError(f"This user may not change {name}; nothing was changed.")
        case errno.EEXIST:
            return HostError(f"There is already something at {name}; nothing was changed.")
        case errno.ENAMETOOLONG:
            return HostError(f"The name {name} is too long.")
    return HostError(f"{name} cannot be changed: {error.strerror or error}.")
