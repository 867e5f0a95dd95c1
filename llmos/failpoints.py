"""Named places where a test has this process die, as a power cut would have it.

``failpoint(name)`` does nothing unless the environment variable ``LLMOS_FAILPOINT`` names it:
then the process is killed on the spot (SIGKILL: nothing is flushed, closed or tidied).
``LLMOS_FAILPOINT=journal.before_commit:3`` dies at the third time it comes by. Knows no more.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

__all__ = ["VARIABLE", "failpoint"]

VARIABLE = "LLMOS_FAILPOINT"
_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die here if a test asked for it.

    Args:
        name: The place; what it is in and what happens there.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    place, _, times = wanted.partition(":")
    if place != name:
        return
    _passed[name] += 1
    if _passed[name] >= int(times or 1):
        os.kill(os.getpid(), signal.SIGKILL)
