"""The process table: who lives, who works for whom, and telling terminals of each change.

Knows processes as they are; starts and ends none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llmos.errors import ProcessEnded
from llmos.events import Event, ProcessChanged, TurnState
from llmos.kernel.process import Process, State
from llmos.memory.journal import Journal

__all__ = ["Table"]


class Table:
    """All processes that live; what ended is in the journal.

    Args:
        journal: Knows also those that ended.
        publish: Takes events.
    """

    def __init__(self, journal: Journal, publish: Callable[[Event], None]) -> None:
        self._journal = journal
        self._publish = publish
        self._processes: dict[int, Process] = {}

    def __iter__(self) -> Iterator[Process]:
        """Every process in the table, also one that is just ending, oldest first."""
        return iter(list(self._processes.values()))

    def __getitem__(self, pid: int) -> Process:
        return self._processes[pid]

    def get(self, pid: int) -> Process | None:
        """The process, where it is in the table."""
        return self._processes.get(pid)

    def add(self, process: Process) -> Process:
        """Take a process in; nobody is told."""
        self._processes[process.pid] = process
        return process

    def remove(self, process: Process) -> None:
        """Take it out: it has ended."""
        self._processes.pop(process.pid, None)

    def find(self, pid: int) -> Process:
        """A process, living or ended.

        Raises:
            NoSuchProcess: There never was one.
        """
        process = self._processes.get(pid)
        return process if process is not None else Process.restored(self._journal.process(pid))

    def living(self, pid: int) -> Process:
        """A process that lives.

        Raises:
            NoSuchProcess: There never was one.
            ProcessEnded: It has ended.
        """
        process = self._processes.get(pid)
        if process is None:
            self._journal.process(pid)  # raises NoSuchProcess where there never was one
            raise ProcessEnded(f"Process {pid} has ended.")
        if process.state is State.ENDED:
            raise ProcessEnded(f"Process {pid} has ended.")
        return process

    def all_living(self) -> list[Process]:
        """Those that live, oldest first."""
        return [process for process in self if process.state is not State.ENDED]

    def by_use(self) -> list[Process]:
        """Those that live, used last first."""
        return sorted(self.all_living(), key=lambda process: -process.active)

    def employed(self, process: Process) -> list[Process]:
        """The living processes that ``process`` started by calls, and those that they started."""
        own = [p for p in self.all_living() if p.employer is process]
        return own + [p for child in own for p in self.employed(child)]

    @property
    def working(self) -> bool:
        """Whether a turn is under way anywhere."""
        return any(process.task is not None for process in self)

    def changed(self, process: Process) -> None:
        """Tell terminals what has become of a process."""
        self._publish(
            ProcessChanged(
                pid=process.pid,
                state=process.state.value,
                title=process.title,
                parent=process.parent,
                priority=process.priority.name.lower(),
                reason=process.reason,
            )
        )

    def turn_states(self, pid: int) -> list[Event]:
        """What the turns under way have written, of one process or (0) of all."""
        return [
            TurnState(pid=p.pid, turn=p.live.number, text=p.live.text, calls=p.live.calls)
            for p in self
            if p.live is not None and pid in (0, p.pid)
        ]
