"""The reference monitor: every system call passes it before it is made.

Plain code, no model. It checks budgets and the effects that calls declare: what computes, reads,
concerns the caller's own processes or a person's memory (which takes only their own words) is
allowed, everything else is denied until there are capabilities to allow it. An unknown effect gets
the strictest reading.

It does not see what a tool's code really does: tools run inside the kernel and are trusted code
until the sandbox exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmos.errors import BudgetExceeded, CallDenied

if TYPE_CHECKING:
    from llmos.kernel.process import Process
    from llmos.kernel.syscalls import Syscall

__all__ = ["Monitor"]

_ALLOWED = frozenset({"pure", "read", "process", "memory"})


class Monitor:
    """Decides whether a process may make a call."""

    def check(self, process: Process, call: Syscall) -> None:
        """Return when the call may be made.

        Raises:
            CallDenied: Its effect is not allowed.
            BudgetExceeded: The process has no calls left.
        """
        left = process.remaining().calls
        if left is not None and left < 1:
            raise BudgetExceeded(f"Process {process.pid} has used up its budget of calls.")
        if call.effect not in _ALLOWED:
            raise CallDenied(
                f"{call.name} was not made: nothing has been granted that allows its effect"
                f" ({call.effect})."
            )
