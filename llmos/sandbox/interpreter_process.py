"""A jailed Python process and the talk with it: one piece of code at a time.

Reads what the code prints and what it asks, keeps the time, interrupts, and ends the process where
that does not help. Everything the process says may be a lie: it is bounded and checked, and a
message that is none ends the process. Knows nothing of files and of what a session is.

The time limit is for computing: it stands still while a question of the code is being answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import CallFailed
from llmos.sandbox import prefix
from llmos.sandbox.interpreter_questions import Ask, Questions, line
from llmos.sandbox.jail import Bounds, Jail, Jailed, Task
from llmos.sandbox.messages import loads
from llmos.sandbox.printed import Printed

__all__ = ["BOUNDS", "Outcome", "Process"]

log = logging.getLogger(__name__)

BOUNDS = Bounds(
    memory_bytes=limits.PYTHON_MEMORY_BYTES,
    cpu_seconds=limits.PYTHON_CPU_SECONDS,
    processes=limits.PYTHON_PROCESSES,
    open_files=limits.PYTHON_OPEN_FILES,
    file_bytes=limits.PYTHON_FILE_BYTES,
    disk_bytes=limits.PYTHON_DISK_BYTES,
)
_WORKER = Path(__file__).with_name("interpreter_worker.py").resolve()
_CHUNK = 64 * 1024
_NO_LINE = "The session was ended: it wrote into its own line to the kernel, or closed it."
_ENVIRONMENT = {
    "MPLBACKEND": "module://llmos_figures",  # the worker's own, see there
    # The cores belong to the language model, and each thread of these reserves memory.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a piece of code went.

    Args:
        printed: What it printed, shortened.
        error: Its traceback, or empty.
        ended: Why it was interrupted: ``time``, ``output``, or empty.
        alive: Whether the process can take more code.
    """

    printed: str
    error: str
    ended: str
    alive: bool


@dataclass(slots=True)
class _Running:
    """The code that runs now."""

    seconds: float
    questions: Questions
    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    printed: Printed = field(default_factory=Printed)
    ended: str = ""
    began: float = 0.0  # when the clock was set going, by the loop's time
    clock: asyncio.TimerHandle | None = None


class Process:
    """A jailed process that waits for code, or runs some."""

    def __init__(self, jailed: Jailed) -> None:
        self._jailed = jailed
        self._lines: deque[bytes] = deque()  # of messages that came and were not looked at
        self._line = b""  # the beginning of the next one
        self._rest = b""  # printed behind the last mark: by threads that outlive their call
        self._running: _Running | None = None
        self._finishing: asyncio.Task[tuple[bool, str | None]] | None = None
        self._gone = asyncio.create_task(self._watch())
        self._killing: asyncio.Task[None] | None = None
        self._killed = ""  # why it was ended from here

    @classmethod
    async def start(cls, jail: Jail, workspace: Path, bounds: Bounds = BOUNDS) -> Process:
        """Start one that works in ``workspace``.

        Raises:
            CallFailed: It does not start.
        """
        jailed = await jail.start(
            Task(
                # -I: no settings of the person's; -B: no compiled files among the results.
                argv=(str(prefix.executable()), "-I", "-B", "-X", "utf8", str(_WORKER)),
                readable=(_WORKER,),
                workspace=workspace,
                env=_ENVIRONMENT,
                bounds=bounds,
            )
        )
        process = cls(jailed)
        try:
            async with asyncio.timeout(limits.PYTHON_START_SECONDS):
                async for message in process._messages():
                    if message.get("do") == "ready":
                        return process
            printed = await asyncio.wait_for(jailed.stderr.read(_CHUNK), 1.0)
            log.error("Python did not start: %s", printed.decode(errors="replace"))
        except TimeoutError:
            log.error("Python did not start in %g s", limits.PYTHON_START_SECONDS)
        except BaseException:
            await process.close()
            raise
        await process.close()
        raise CallFailed("Python does not start in its jail.", remedy="The log says why.")

    @property
    def alive(self) -> bool:
        """Whether it is there and was not told to end."""
        return not self._gone.done() and self._killing is None

    def why_gone(self) -> str:
        """Why the process is not there any more, in a sentence."""
        if self._killed:
            return self._killed
        status = self._gone.result() if self._gone.done() else 0
        reason = self._jailed.ended
        most = limits.PYTHON_MEMORY_BYTES // 2**30
        if reason == "memory":
            return f"The session was ended: it took more than {most} GB of memory."
        if status == 128 + 9:
            return (
                "The session was killed: by the system, for want of memory (it may have "
                f"{most} GB), or by somebody."
            )
        if reason == "disk":
            most = limits.PYTHON_DISK_BYTES // 2**20
            return f"The session was ended: its files took more than {most} MB."
        if reason == "processes":
            return "The session was ended: it started too many processes."
        if status == 128 + 24:
            return "The session was ended: it had used up its processor time."
        return f"The session ended with status {status}."

    async def run(self, code: str, *, seconds: float, ask: Ask | None = None) -> Outcome:
        """Run code. One at a time: the caller sees to that.

        Args:
            code: Python.
            seconds: Of computing, until it is interrupted.
            ask: Makes the calls it asks for; without it they are refused.

        Where this is cancelled, the code is interrupted, and ``settled`` waits for its end.
        """
        running = self._running = _Running(seconds, Questions(ask))
        self._finishing = asyncio.create_task(self._finish(running))
        self._write(line(do="run", code=code, mark=running.mark))
        self._clock_on()
        try:
            whole, error = await asyncio.shield(self._finishing)
        except asyncio.CancelledError:
            self._stop("cancelled")
            raise
        alive = whole and error is not None and self.alive
        if not alive:
            await self.close()
        return Outcome(running.printed.text(), error or "", running.ended, alive)

    async def settled(self) -> None:
        """Wait until the code whose ``run`` was cancelled has ended."""
        if self._finishing is not None:
            await asyncio.wait([self._finishing])

    async def close(self) -> None:
        """End it, and all that it started."""
        self._kill()
        if self._killing is not None:
            await asyncio.shield(self._killing)
        await asyncio.wait([self._gone])
        if self._finishing is not None:
            await asyncio.wait([self._finishing])

    # --- what comes from the process ------------------------------------------------------------

    async def _finish(self, running: _Running) -> tuple[bool, str | None]:
        """Read until the code has ended: whether all it printed was read, and its error."""
        try:
            whole, error = await asyncio.gather(self._take(running), self._talk(running))
            if error is None:  # its line has ended: so does the process, or it closed its line
                await asyncio.wait([self._gone], timeout=limits.PYTHON_GRACE_SECONDS)
                self._kill(_NO_LINE)
        except (OSError, ValueError, RecursionError) as failed:
            log.warning("a session talked nonsense and is ended: %s", failed)
            self._kill(_NO_LINE)
            whole, error = False, None
        finally:
            if running.clock is not None:
                running.clock.cancel()
            self._running = None
        return whole, error

    async def _take(self, running: _Running) -> bool:
        """What the code prints, up to its mark; False where the process ended before."""
        mark = running.mark.encode()
        held, self._rest = self._rest, b""
        while chunk := await self._jailed.stderr.read(_CHUNK):
            held += chunk
            before, found, after = held.partition(mark)
            if found:
                running.printed.feed(before)
                self._rest = after[:_CHUNK]
                self._expect_end(running)
                return True
            keep = len(mark) - 1
            running.printed.feed(held[:-keep])
            held = held[-keep:]
            if running.printed.total > limits.PYTHON_PRINTED_BYTES:
                self._stop("output")
        running.printed.feed(held)
        return False

    def _expect_end(self, running: _Running) -> None:
        """The code has ended: that it has must be said soon, or its line to the kernel is lost."""
        if running.clock is not None:
            running.clock.cancel()
        loop = asyncio.get_running_loop()
        running.clock = loop.call_later(limits.PYTHON_GRACE_SECONDS, self._kill, _NO_LINE)

    async def _talk(self, running: _Running) -> str | None:
        """Answer questions until the code has ended; its error, None where the process ended."""
        stray = 0
        async for message in self._messages():
            match message:
                case {"do": "done", "mark": running.mark, "error": str(error)}:
                    return error
                case {"do": "ask"} if running.questions.endless:
                    self._kill("The session was ended: it asked for calls without end.")
                    return None
                case {"do": "ask", "id": int(number), "name": str(name), "arguments": dict(given)}:
                    await self._answer(running, number, name, given)
                case _:
                    stray += 1
                    if stray > limits.PYTHON_STRAY:
                        raise ValueError("messages that mean nothing")
        return None

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        """Each message; ValueError where something is none."""
        while True:
            while self._lines:
                message = loads(self._lines.popleft())
                if not isinstance(message, dict):
                    raise ValueError("a message that is no object")
                yield message
            if len(self._line) > limits.PYTHON_MESSAGE_BYTES:
                raise ValueError("a message without end")
            chunk = await self._jailed.stdout.read(_CHUNK)
            if not chunk:
                return
            *lines, self._line = (self._line + chunk).split(b"\n")
            self._lines.extend(lines)

    async def _answer(
        self, running: _Running, number: int, name: str, arguments: dict[str, Any]
    ) -> None:
        """Answer a question; the clock stands still meanwhile."""
        self._clock_off(running)
        try:
            answer = await running.questions.answer(number, name, arguments)
        finally:
            self._clock_on()
        self._write(answer)
        with contextlib.suppress(OSError):
            await self._jailed.stdin.drain()  # code that asks and does not listen waits here

    # --- what goes to it ------------------------------------------------------------------------

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # it is gone: its end tells
            self._jailed.stdin.write(line)

    def _clock_on(self) -> None:
        if (running := self._running) is not None and not running.ended:
            loop = asyncio.get_running_loop()
            running.began = loop.time()
            running.clock = loop.call_later(running.seconds, self._stop, "time")

    def _clock_off(self, running: _Running) -> None:
        if running.clock is not None and not running.ended:  # what comes then stands still for none
            running.seconds -= asyncio.get_running_loop().time() - running.began
            running.clock.cancel()
            running.clock = None

    def _stop(self, why: str) -> None:
        """Interrupt the code; where that does not help in time, end the process."""
        running = self._running
        if running is None or running.ended:
            return
        self._clock_off(running)
        running.ended = why
        self._write(line(do="interrupt", mark=running.mark))
        running.questions.stop()
        loop = asyncio.get_running_loop()
        stubborn = "The session was ended: it did not stop when it was interrupted."
        running.clock = loop.call_later(limits.PYTHON_GRACE_SECONDS, self._kill, stubborn)

    def _kill(self, why: str = "") -> None:
        if self._running is not None:
            self._running.questions.stop()
        if self._killing is None:
            self._killed = why
            self._killing = asyncio.create_task(self._jailed.kill())

    async def _watch(self) -> int:
        """The end of the process ends whatever it left, which may hold its pipes open."""
        status = await self._jailed.wait()
        self._kill()
        return status
