"""Where a command's log goes: into the log file, not between the lines that a person reads."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from llmos import paths

__all__ = ["logged"]


@contextlib.contextmanager
def logged() -> Iterator[None]:
    """What llmos logs meanwhile is added to the log file; it goes nowhere where that cannot be."""
    file = paths.log_file()
    with contextlib.ExitStack() as end:
        handler: logging.Handler = logging.NullHandler()
        with contextlib.suppress(OSError):
            paths.private_dir(file.parent)
            raw = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            stream = end.enter_context(open(raw, "a", encoding="utf-8", errors="backslashreplace"))
            handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log = logging.getLogger("llmos")
        log.addHandler(handler)
        end.callback(log.removeHandler, handler)
        yield
