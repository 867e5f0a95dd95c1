"""Renaming in one step of the file system, such that nothing is lost to somebody quicker.

Linux: ``renameat2`` with RENAME_NOREPLACE or RENAME_EXCHANGE; macOS: ``renameatx_np`` with
RENAME_EXCL or RENAME_SWAP. A file system that has neither is looked at first: there, what somebody
writes between the look and the renaming would be overwritten.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

__all__ = ["exchange", "move_new"]

_NAME, _EXCLUSIVE, _EXCHANGE = (
    ("renameatx_np", 4, 2) if sys.platform == "darwin" else ("renameat2", 1, 2)
)
_LACKING = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def move_new(source_folder: int, source: str, target_folder: int, target: str) -> None:
    """Rename ``source`` to ``target``, each in an open folder; replace nothing.

    Raises:
        FileExistsError: Something has that name already.
        OSError: It cannot be done; EXDEV between two file systems.
    """
    if _renamed(source_folder, source, target_folder, target, _EXCLUSIVE):
        return
    try:
        os.stat(target, dir_fd=target_folder, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=source_folder, dst_dir_fd=target_folder)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)


def exchange(folder: int, one: str, other: str) -> bool:
    """Let two files of an open folder change their names with each other.

    Returns:
        Whether this file system can; where it cannot, nothing is done.

    Raises:
        OSError: It cannot be done: one of them is gone.
    """
    return _renamed(folder, one, folder, other, _EXCHANGE)


def _renamed(source_folder: int, source: str, target_folder: int, target: str, how: int) -> bool:
    call = getattr(ctypes.CDLL(None, use_errno=True), _NAME, None)
    if call is None:
        return False
    failed = call(
        ctypes.c_int(source_folder),
        ctypes.c_char_p(os.fsencode(source)),
        ctypes.c_int(target_folder),
        ctypes.c_char_p(os.fsencode(target)),
        ctypes.c_uint(how),
    )
    if failed and (code := ctypes.get_errno()) not in _LACKING:
        raise OSError(code, os.strerror(code), target)
    return not failed
