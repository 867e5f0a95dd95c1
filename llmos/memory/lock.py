"""One kernel, one import, one fsck: whoever changes a state directory holds its lock.

The lock belongs to the process that took it and goes with it, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from llmos import paths
from llmos.errors import KernelRunning, StoreError

__all__ = ["lock"]


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
