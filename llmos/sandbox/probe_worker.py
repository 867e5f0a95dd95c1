"""The process inside a jail that tries to get out of it. Started by ``probes.py``.

It knows nothing of llmos but the attempts beside it, which know nothing but Python. It reads one
line of JSON (``scene``, ``names``, ``alone``) and writes two lines of JSON for every attempt:
``begun``, its name, and then ``name``, ``out`` and ``told``. Each attempt is made in a child of
its own, so that what it does to itself spoils no other; one that needs the jail alone is made in
this process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any

__all__: list[str] = []

ATTEMPT_SECONDS = 5


def say(**line: object) -> None:
    """One line, whole: it is shorter than what a pipe takes at once."""
    os.write(1, json.dumps(line).encode() + b"\n")


def make(attempt: Any, scene: Any) -> None:
    """Make an attempt and say what came of it."""
    try:
        got = attempt.run(scene)
    except MemoryError:
        say(name=attempt.name, out=False, told="Out of memory")
    except Exception as error:
        told = getattr(error, "strerror", None) or str(error) or type(error).__name__
        say(name=attempt.name, out=False, told=str(told)[:200])
    else:
        say(name=attempt.name, out=bool(got), told=str(got)[:200])


def make_apart(attempt: Any, scene: Any) -> None:
    """Make an attempt in a child, and say so where that was ended."""
    child = os.fork()
    if child == 0:
        signal.alarm(ATTEMPT_SECONDS)
        try:
            make(attempt, scene)
        finally:
            os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        say(name=attempt.name, out=False, told=f"Ended by signal {-status}")


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    for group in ("files", "network", "processes", "privileges", "limits"):
        importlib.import_module(f"attempts.{group}")
    registry = importlib.import_module("attempts.registry")
    scene = registry.Scene(**asked["scene"])
    for name in asked["names"]:
        say(begun=name)
        attempt = registry.ATTEMPTS[name]
        (make if asked["alone"] else make_apart)(attempt, scene)
    os._exit(0)  # without waiting for threads that an attempt left


if __name__ == "__main__":
    main()
