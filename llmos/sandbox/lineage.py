"""Which processes descend from one. Linux; imports nothing but Python, since a jail's supervisor
loads it by its path."""

from __future__ import annotations

import os

__all__ = ["descendants", "owned", "threads"]


def descendants(root: int) -> list[int]:
    """All processes below ``root``, without it; some may have ended or begun meanwhile."""
    listed = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
    below = {} if listed else _scan()
    found: dict[int, None] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        for child in _listed(pid) if listed else below.get(pid, []):
            if child not in found:
                found[child] = None
                waiting.append(child)
    return list(found)


def owned(user: int) -> list[int]:
    """All processes of a user."""
    pids: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{name}").st_uid == user:
                pids.append(int(name))
        except OSError:
            continue  # it ended
    return pids


def threads(pids: list[int]) -> int:
    """How many threads these processes have together."""
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue  # it ended
    return total


def _listed(pid: int) -> list[int]:
    """Children of all threads of ``pid``, as the kernel lists them."""
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                children.extend(int(word) for word in file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended
    return children


def _scan() -> dict[int, list[int]]:
    """Children by parent, for a kernel that does not list them: one look at every process."""
    below: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it ended
        below.setdefault(parent, []).append(int(name))
    return below
