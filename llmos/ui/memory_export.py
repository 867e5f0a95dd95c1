"""Everything remembered, as a file of the person's own.

JSON as ``llmos memory export`` prints it. The file is there whole or not at all, and private.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmos.errors import StoreError

__all__ = ["write"]


def write(path: Path, known: Mapping[str, Any]) -> None:
    """Write what ``Client.facts`` tells to ``path``, in place of what is there.

    Raises:
        StoreError: It cannot be written; what was there stays.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    except OSError as error:
        raise _cannot(path, error) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:  # made with mode 0600
            json.dump(known, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise _cannot(path, error) from error


def _cannot(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path} cannot be written: {error.strerror or error}.",
        remedy="Choose another place for it.",
    )
