"""A control group for one jail, where the superuser runs llmos: processes and memory in all.

Limits of a process (``setrlimit``) do not bind the superuser's number of processes. Control
groups do, in both their versions. Where none can be made (a container that shows them read-only)
the watch over the jail remains, which ends it soon after it exceeded its bounds.
"""

from __future__ import annotations

import logging
import os
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

from llmos.sandbox.jail import Bounds

__all__ = ["Group"]

_log = logging.getLogger(__name__)
_ROOT = Path("/sys/fs/cgroup")
_NAME = "llmos-"
_EXTRA = 2  # process 1 of the jail, and bubblewrap while it sets up


class Group:
    """One directory per controller (version 1), or one for all (version 2)."""

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    @classmethod
    def make(cls, bounds: Bounds, pid: int) -> Group | None:
        """A new group with the limits, and a process in it; what that starts is in it, too.

        Returns:
            None where this machine lets none be made.
        """
        _sweep()
        name = f"{_NAME}{os.getpid()}-{uuid.uuid4().hex[:12]}"
        unified = (_ROOT / "cgroup.controllers").exists()
        above = [_ROOT] if unified else [_ROOT / "pids", _ROOT / "memory"]
        places = [place / name for place in above]
        group = cls(places)
        try:
            if unified:
                control = _ROOT / "cgroup.subtree_control"
                if not {"pids", "memory"} <= set(control.read_text().split()):
                    control.write_text("+pids +memory")
            for place in places:
                place.mkdir(mode=0o700)
            processes = str(bounds.processes + _EXTRA)
            if unified:
                (places[0] / "pids.max").write_text(processes)
                (places[0] / "memory.max").write_text(str(bounds.memory_bytes))
                with suppress(OSError):  # there may be no swap to forbid
                    (places[0] / "memory.swap.max").write_text("0")
            else:
                (places[0] / "pids.max").write_text(processes)
                (places[-1] / "memory.limit_in_bytes").write_text(str(bounds.memory_bytes))
            for place in places:
                (place / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            _log.debug("no control group for a jail: %s", error)
            group.close()
            return None
        return group

    def exceeded(self) -> str:
        """ "memory" where the kernel ended one of its processes for that, else empty."""
        for folder in self._folders:
            for name in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    words = (folder / name).read_text().split()
                    if "oom_kill" in words and words[words.index("oom_kill") + 1] != "0":
                        return "memory"
        return ""

    def close(self) -> None:
        """Remove the group; its processes have ended."""
        for folder in self._folders:
            with suppress(OSError):
                folder.rmdir()


@cache
def _sweep() -> None:
    """Remove groups of kernels that were killed before they could; once."""
    for place in (_ROOT, _ROOT / "pids", _ROOT / "memory"):
        for folder in place.glob(f"{_NAME}*-*"):
            owner = folder.name.removeprefix(_NAME).partition("-")[0]
            if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
                with suppress(OSError):  # something of it still runs
                    folder.rmdir()
