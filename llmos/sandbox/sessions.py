"""Python sessions, one a process of the kernel: lent to its tools, bounded, closed when at rest.

All of it lives on the event loop of whoever opened it; what is lent may be called from any other
loop. Knows nothing of who may run code: that was decided before.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from llmos import limits, paths
from llmos.errors import LlmosError, SandboxMissing
from llmos.sandbox import tiers
from llmos.sandbox.interpreter import Session
from llmos.sandbox.interpreter_questions import Ask
from llmos.sandbox.jail import Jail
from llmos.sandbox.subset import Subset
from llmos.sandbox.workspace import remove_tree
from llmos.sdk import ToolError
from llmos.services import Interpreter, Ran

__all__ = ["Lent", "Sessions"]

_T = TypeVar("_T")


#: A process, and whose code it is there: an expert's name, or empty for the assistant.
_Key = tuple[int, str]


class Sessions:
    """All sessions of a kernel.

    Args:
        folder: Where their folders are; nobody else's, since what is left there is removed.
        jail: Gives the jail to run in.
        most: Sessions at once; the one at rest longest makes room.
        idle_seconds: At rest for so long, a session is closed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        jail: Callable[[], Awaitable[Jail]] = tiers.best,
        most: int = limits.PYTHON_SESSIONS,
        idle_seconds: float = limits.PYTHON_IDLE_SECONDS,
    ) -> None:
        self._folder = folder
        self._jail = jail
        self._most = most
        self._idle_seconds = idle_seconds
        self._sessions: dict[_Key, Session] = {}  # the one at rest longest first
        self._timers: dict[_Key, asyncio.TimerHandle] = {}
        self._closed: dict[_Key, str] = {}  # why a process's last session is not there any more
        self._closing: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.subset: Subset | None = None

    async def open(self) -> None:
        """Begin, on this loop; what a kernel that died left behind is removed."""
        self._loop = asyncio.get_running_loop()
        self.subset = Subset()
        await asyncio.to_thread(remove_tree, self._folder)
        await asyncio.to_thread(paths.private_dir, self._folder)

    def lend(self, pid: int, ask: Ask | None = None, role: str = "") -> Interpreter:
        """The interpreter of a process, for its calls.

        Args:
            pid: The process.
            ask: Makes the calls that its code asks for, each of them a system call of its own;
                without it they are refused.
            role: Whose code it is there: what one leaves in its session, no other ever runs.
        """
        return Lent(self, (pid, role), ask)

    def count(self) -> int:
        """Sessions that are open."""
        return len(self._sessions)

    async def close(self, pid: int) -> None:
        """The process has ended: so do its sessions, and their folders are removed."""
        for key in [key for key in self._closed if key[0] == pid]:
            del self._closed[key]
        for key in [key for key in self._sessions if key[0] == pid]:
            await self._close(key)

    async def _close(self, key: _Key) -> None:
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        if (session := self._sessions.pop(key, None)) is not None:
            await session.close()

    async def aclose(self) -> None:
        """End all of them."""
        for key in list(self._sessions):
            await self._close(key)
        if self._closing:
            await asyncio.wait(self._closing)
        if self.subset is not None:
            await self.subset.close()
        await asyncio.to_thread(remove_tree, self._folder)

    async def run(self, key: _Key, code: str, ask: Ask | None) -> Ran:
        """Run code in a process's session."""
        session = self._session(key)
        try:
            return await session.run(code, ask)
        finally:
            self._rests(key)

    async def put(self, key: _Key, name: str, data: bytes) -> None:
        """Put a file into a process's session."""
        session = self._session(key)
        try:
            await session.put(name, data)
        finally:
            self._rests(key)

    async def here(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do ``work`` on the loop of the sessions, from whichever loop."""
        if self._loop is None or asyncio.get_running_loop() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _session(self, key: _Key) -> Session:
        """The session of a process, now the one used last."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        session = self._sessions.pop(key, None)
        if session is None:
            if len(self._sessions) >= self._most:
                resting = next((p for p, s in self._sessions.items() if not s.busy), None)
                if resting is None:
                    raise ToolError("Too many Python sessions are busy.", "Try again in a moment.")
                self._drop(resting, "it was closed to make room for others")
            folder = self._folder / f"{key[0]}-{secrets.token_hex(4)}"
            lost = self._closed.pop(key, "")
            session = Session(folder, jail=self._jail, lost=lost)
        self._sessions[key] = session
        return session

    def _rests(self, key: _Key) -> None:
        """From now on nobody uses it, as far as is known."""
        if key in self._sessions:
            if (timer := self._timers.pop(key, None)) is not None:
                timer.cancel()
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(self._idle_seconds, self._idle, key)

    def _idle(self, key: _Key) -> None:
        if self._sessions[key].busy:
            self._rests(key)
        else:
            self._drop(key, f"it had been at rest for {self._idle_seconds / 60:g} minutes")

    def _drop(self, key: _Key, why: str) -> None:
        """Close a session whose process lives on."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        self._closed[key] = f"{why}; what it held, files too, is gone."
        closing = asyncio.get_running_loop().create_task(self._sessions.pop(key).close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


class Lent:
    """``services.Interpreter`` for one process."""

    def __init__(self, sessions: Sessions, key: _Key, ask: Ask | None) -> None:
        self._sessions, self._key, self._ask = sessions, key, ask

    async def run(self, code: str) -> Ran:
        """Run code; a session that was lost begins anew and says so."""
        try:
            return await self._sessions.here(self._sessions.run(self._key, code, self._ask))
        except SandboxMissing as error:
            short = "For something short, python.evaluate needs no jail."
            raise ToolError(error.sentence, f"{error.remedy} {short}") from error
        except LlmosError as error:
            raise ToolError(error.sentence, error.remedy) from error

    async def put(self, name: str, data: bytes) -> None:
        """Put a file into the session's folder."""
        await self._sessions.here(self._sessions.put(self._key, name, data))

    async def evaluate(self, code: str) -> Ran:
        """Run code of the subset."""
        if self._sessions.subset is None:
            raise ToolError("There is no Python here yet.")
        try:
            return await self._sessions.here(self._sessions.subset.evaluate(code))
        except LlmosError as error:
            raise ToolError(error.sentence, error.remedy) from error
