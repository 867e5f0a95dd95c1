"""A process: one conversation with its state, parent, priority, budget and mailbox.

Holds what is known of it in memory; the journal has the truth. Decides nothing: the kernel moves
it between states, the agent runs its turns.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from llmos.engine.backend import Generation, Priority
from llmos.errors import BudgetExceeded, KernelError, LlmosError
from llmos.events import ProcessInfo, StoredMessage, ToolCall
from llmos.memory.journal import StoredProcess
from llmos.memory.window import Window

if TYPE_CHECKING:
    from llmos.kernel.capabilities import Capabilities
    from llmos.kernel.syscalls import SyscallTable

__all__ = ["Budget", "LiveTurn", "Process", "State", "priority_named", "titled"]

log = logging.getLogger(__name__)


class State(StrEnum):
    """What a process is doing."""

    READY = "ready"  # nothing to do
    RUNNING = "running"  # a turn is under way
    WAITING = "waiting"  # in a turn, for a call or another process
    STOPPED = "stopped"  # by a signal, until it is continued
    ENDED = "ended"


def _kept_priority(stored: StoredProcess) -> Priority:
    """A process whose priority nobody knows any more runs like any other."""
    try:
        return priority_named(stored.priority)
    except KernelError as error:
        log.warning("process %d: %s", stored.pid, error)
        return Priority.INTERACTIVE


def priority_named(name: str) -> Priority:
    """The priority called ``name``.

    Raises:
        KernelError: There is none.
    """
    try:
        return Priority[name.upper()]
    except KeyError:
        known = ", ".join(p.name.lower() for p in Priority)
        raise KernelError(f"There is no priority {name!r}; there are {known}.") from None


@dataclass(slots=True)
class Budget:
    """What a process may use over its whole life; None is unlimited.

    Args:
        tokens: Sampled tokens.
        seconds: Time in turns.
        calls: System calls.
    """

    tokens: float | None = None
    seconds: float | None = None
    calls: float | None = None

    @classmethod
    def of(cls, given: Mapping[str, float] | None) -> Budget:
        """Check and take what a client gave.

        Raises:
            KernelError: A key is unknown, or a value is no number or negative.
        """
        budget = cls()
        known = {f.name for f in fields(cls)}
        for key, value in (given or {}).items():
            number = isinstance(value, int | float) and math.isfinite(value)
            if key not in known or not number or value < 0:
                raise KernelError(
                    f"A budget has no {key!r} of {value!r}.",
                    remedy=f"It has {', '.join(sorted(known))}: numbers, none below 0.",
                )
            setattr(budget, key, value)
        return budget

    def within(self, other: Budget) -> Budget:
        """The tighter of the two, limit by limit: a child never has more than its parent."""

        def tighter(a: float | None, b: float | None) -> float | None:
            given = [x for x in (a, b) if x is not None]
            return min(given) if given else None

        return Budget(
            tighter(self.tokens, other.tokens),
            tighter(self.seconds, other.seconds),
            tighter(self.calls, other.calls),
        )

    def to_json(self) -> dict[str, float]:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(slots=True)
class LiveTurn:
    """What a turn under way has written so far, for a terminal that connects in the middle.

    Args:
        number: The turn's number.
        text: The part of its reply that is not in the journal yet.
        calls: The calls that are being made.
        heard: What alone was heard of its reply, where somebody said so; it is to be cut to that.
        written: Its reply so far, until that is in the journal.
        ending: What it leaves behind is being kept.
        lost: Why that failed.
        over: Set when it is done.
        clock: Ends the turn when its time is up. Stands still while the process is stopped.
    """

    number: int
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    heard: str | None = None
    written: str = ""
    ending: bool = False
    lost: LlmosError | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    clock: asyncio.Timeout | None = None
    _began: float = field(default_factory=time.monotonic)
    _holds: int = 0  # why it stands still: the process is stopped, a person is asked
    _paused: float | None = None
    _deadline: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has run, without the time it was stopped."""
        return (self._paused or time.monotonic()) - self._began

    def begin(self, clock: asyncio.Timeout) -> None:
        """From now on ``clock`` runs, unless the process was stopped already."""
        self.clock = clock
        if self._paused is not None:
            self._deadline = clock.when()
            clock.reschedule(None)

    def pause(self) -> None:
        """The process is stopped, or a person is asked: its time stands still."""
        self._holds += 1
        if self._paused is not None:
            return
        self._paused = time.monotonic()
        if self.clock is not None and not self.clock.expired():
            self._deadline = self.clock.when()
            self.clock.reschedule(None)

    def go_on(self) -> None:
        """It goes on: once nothing holds it, shift what is measured by the time it stood still."""
        self._holds = max(self._holds - 1, 0)
        if self._paused is None or self._holds:
            return
        stood, self._paused = time.monotonic() - self._paused, None
        self._began += stood
        if self.clock is not None and self._deadline is not None and not self.clock.expired():
            self.clock.reschedule(self._deadline + stood)


@dataclass(slots=True, eq=False)
class Process:
    """One conversation. Only the kernel's asyncio loop touches it."""

    pid: int
    title: str
    system: str
    priority: Priority
    parent: int
    created: float
    budget: Budget
    state: State = State.READY
    reason: str = ""
    active: float = 0.0
    window: Window | None = None  # what the model is shown; made at the first turn
    mailbox: deque[StoredMessage] = field(default_factory=deque)  # journalled, not yet answered
    turns: int = 0
    tokens: int = 0
    calls: int = 0
    seconds: float = 0.0
    context_tokens: int = 0
    live: LiveTurn | None = None
    generation: Generation | None = None
    task: asyncio.Task[None] | None = None
    call_tasks: set[asyncio.Future[Any]] = field(default_factory=set)
    interrupted: bool = False  # the turn under way is to end
    out_of_time: bool = False  # the same, because its time is up
    expert: str | None = None  # whom it was begun with; empty for nobody, None: not read yet
    settled: Capabilities | None = None  # what is left of the calls its turn was to make
    extracted: tuple[int, int] = (0, 0)  # a turn, and values the reader was asked for in it
    calls_of: SyscallTable | None = None  # what that one may call; None: not known yet
    employer: Process | None = None  # started it by process.spawn: pays for it, ends it
    ahead: asyncio.Task[None] | None = None  # computes what its next turn will need
    planning: asyncio.Future[Any] | None = None  # what its turn is to do is being worked out
    paid_tokens: int = 0  # used by processes it started so
    paid_calls: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)  # set while there is nothing to do

    def __post_init__(self) -> None:
        self.idle.set()

    @classmethod
    def restored(cls, stored: StoredProcess) -> Process:
        """The process as the journal knows it, without its history."""
        process = cls(
            pid=stored.pid,
            title=stored.title,
            system=stored.system,
            priority=_kept_priority(stored),
            parent=stored.parent,
            created=stored.created,
            budget=Budget.of(stored.budget),
            active=stored.active,
            turns=stored.turns,
            tokens=stored.tokens,
            calls=stored.calls,
            seconds=stored.seconds,
            context_tokens=stored.context_tokens,
        )
        if stored.ended is not None:
            process.state, process.reason = State.ENDED, stored.reason
        return process

    @property
    def first_open_turn(self) -> int | None:
        """The number of the first turn that is not over; None where all are."""
        if self.live is not None:
            return self.live.number
        return self.mailbox[0].turn if self.mailbox else None

    def remaining(self) -> Budget:
        """What is left of the budget, and of that of the process that pays for this one.

        Raises:
            BudgetExceeded: Tokens or time are used up.
        """
        left = Budget(
            *(
                None if limit is None else limit - used
                for limit, used in (
                    (self.budget.tokens, self.tokens + self.paid_tokens),
                    (self.budget.seconds, self.seconds),
                    (self.budget.calls, self.calls + self.paid_calls),
                )
            )
        )
        for name, value in (("tokens", left.tokens), ("seconds", left.seconds)):
            if value is not None and value <= 0:
                raise BudgetExceeded(f"Process {self.pid} has used up its budget of {name}.")
        return left if self.employer is None else left.within(self.employer.remaining())

    def charge_call(self) -> None:
        """Book one more call; one that is denied later counts, too.

        Raises:
            BudgetExceeded: Nothing is left of the budget, or of that of whoever pays.
        """
        left = self.remaining().calls
        if left is not None and left < 1:
            raise BudgetExceeded(f"Process {self.pid} has used up its budget of calls.")
        self.charge(calls=1)

    def charge(self, *, tokens: int = 0, calls: int = 0) -> None:
        """Book what was used, here and with whoever pays."""
        self.tokens += tokens
        self.calls += calls
        above = self.employer
        while above is not None:
            above.paid_tokens += tokens
            above.paid_calls += calls
            above = above.employer

    @property
    def spokesman(self) -> Process:
        """The process in which a person speaks: of a child, the one that it works for."""
        found = self
        while found.employer is not None:
            found = found.employer
        return found

    @property
    def turn_number(self) -> int:
        """The turn under way, or the last one."""
        return self.live.number if self.live is not None else self.turns

    def stop_ahead(self) -> None:
        """Give up what is computed ahead of need."""
        if self.ahead is not None:
            self.ahead.cancel()
            self.ahead = None

    def drop_plan(self) -> None:
        """Work out no longer what the turn is to do; a thread that does ends when it is done."""
        planning, self.planning = self.planning, None
        if planning is not None and not planning.cancel() and not planning.cancelled():
            planning.exception()  # it was told of, or another error came before it

    def interrupt(self) -> None:
        """End the turn under way within one step; what was written is kept.

        Where none is, nothing happens: the next turn is another matter.
        """
        if self.live is None:
            return
        self.interrupted = True
        if self.generation is not None:
            self.generation.cancel()
        if self.planning is not None:
            self.planning.cancel()
        for task in self.call_tasks:
            task.cancel()

    def stop(self) -> None:
        """Stand still, in mid-turn if there is one, until ``go_on``."""
        self.state = State.STOPPED
        if self.generation is not None:
            self.generation.suspend()
        if self.live is not None:
            self.live.pause()

    def go_on(self) -> None:
        """Take up what ``stop`` held."""
        self.state = State.READY
        if self.task is not None:
            self.state = State.WAITING if self.call_tasks else State.RUNNING
        if self.generation is not None:
            self.generation.resume()
        if self.live is not None:
            self.live.go_on()

    def info(self, window_tokens: int) -> ProcessInfo:
        """The process as ``ps`` shows it."""
        return ProcessInfo(
            pid=self.pid,
            title=self.title,
            state=self.state.value,
            priority=self.priority.name.lower(),
            parent=self.parent,
            created=self.created,
            active=self.active or self.created,
            turns=self.turns,
            context_tokens=self.context_tokens,
            window_tokens=window_tokens,
            tokens=self.tokens,
            calls=self.calls,
            reason=self.reason,
            expert=self.expert or "",
        )


def titled(text: str) -> str:
    """A title from the first line of a message."""
    line = " ".join(text.split())
    return line if len(line) <= 48 else f"{line[:47].rstrip()}…"
