"""A worker process of a device, as the kernel holds it: started on need, ended when idle.

A request is a message, and so is each piece of its answer: two lengths (network order, four bytes
each), then so many bytes of JSON, then so many bytes of sound. The worker gets them on standard
input and answers on standard output, one request after the other. Every answer carries the
request's ``id``; the last one has ``last`` or, with a clause that says why, ``error``. A request
that nobody waits for any more is followed by ``{"cancel": id}``; the worker may break it off, and
what it still says of it is dropped. It ends with its standard input.

What a request means, and whether it can be made once more after the worker died, is the device's
business.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import struct
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from llmos.errors import DeviceError
from llmos.sandbox.child import Program, spawn

__all__ = ["Answer", "Worker", "WorkerDied"]

log = logging.getLogger(__name__)

#: Bytes of a message's JSON, and of its sound: about six minutes at 24 kHz.
JSON_BYTES: Final = 1 << 20
SOUND_BYTES: Final = 1 << 24
#: Seconds between two looks at the worker's memory while it works.
LOOK_S: Final = 0.25

#: Of the environment; no more than a program needs to find its libraries.
_PASSED: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
)
_LENGTHS: Final = struct.Struct("!II")

#: What a worker says: JSON, and sound.
Answer = tuple[dict[str, Any], bytes]


class WorkerDied(Exception):
    """The worker ended, said nonsense or was late; the message is a clause about its process."""


class Worker:
    """One worker process, or none while it is not needed. Used from one asyncio loop.

    Requests of several tasks are answered in their order.

    Args:
        name: What it is, for sentences and for the log, as in ``voice``.
        program: Its Python file, which imports nothing of llmos.
        memory_bytes: Of memory it may take; looked at while it works, and ended above.
        idle_s: Without a request, after which it is ended.
        answer_s: Until an answer, or the next piece of one, after which it counts as hanging;
            starting and reading a model included.
        env: What its environment has besides the little that all workers get.
    """

    def __init__(
        self,
        name: str,
        program: Path,
        *,
        memory_bytes: int,
        idle_s: float,
        answer_s: float,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._file = program
        self._memory = memory_bytes
        self._idle_s = idle_s
        self._answer_s = answer_s
        passed = {key: os.environ[key] for key in _PASSED if key in os.environ}
        self._env = passed | dict(env or {})
        self._turn = asyncio.Lock()  # one request at a time, first come, first served
        self._process: Program | None = None
        self._lengths: tuple[int, int] | None = None  # of a message whose body is still to be read
        self._why = ""  # it was ended here, and why
        self._watches: set[asyncio.Task[None]] = set()
        self._rest: asyncio.TimerHandle | None = None
        self._number = 0
        self._closed = False

    @property
    def pid(self) -> int:
        """The process id; 0 while there is none."""
        alive = self._process is not None and not self._process.exited.is_set()
        return self._process.pid if alive and self._process else 0

    @property
    def closed(self) -> bool:
        """Whether it was ended for good."""
        return self._closed

    @property
    def memory_bytes(self) -> int:
        """Of memory it takes now; 0 while there is none."""
        return _resident(self.pid)

    async def ask(
        self, request: Mapping[str, Any], sound: bytes = b""
    ) -> AsyncGenerator[Answer, None]:
        """Make a request; the answer's pieces as they come.

        It is carried on however slowly they are taken, so that others need not wait. Closing the
        generator breaks it off.

        Raises:
            DeviceError: The worker says that it cannot be done, or was closed.
            WorkerDied: It was not answered to the end.
        """
        answers: asyncio.Queue[Answer | Exception | None] = asyncio.Queue()
        work = asyncio.create_task(self._work(request, sound, answers))
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, Exception):
                    raise answer
                yield answer
        finally:
            work.cancel()
            await asyncio.wait({work})

    async def unload(self) -> None:
        """End it once nothing is asked of it; the next request starts another one."""
        async with self._turn:
            await self._stop("")

    async def close(self) -> None:
        """End it at once, for good; who waits for it gets an error. Safe to call twice."""
        self._closed = True
        self._cancel_rest()
        if self._process is not None:
            self._process.send(signal.SIGKILL)  # whoever reads from it sees its end
        async with self._turn:
            await self._stop("")

    # --- one request ------------------------------------------------------------------------

    async def _work(
        self,
        request: Mapping[str, Any],
        sound: bytes,
        answers: asyncio.Queue[Answer | Exception | None],
    ) -> None:
        """Have a request answered into ``answers``, which end with None or with an error."""
        try:
            async with self._turn:
                self._cancel_rest()
                await self._exchange(request, sound, answers)
            answers.put_nowait(None)
        except (DeviceError, WorkerDied) as error:
            answers.put_nowait(error)
        except Exception as error:
            log.exception("the %s's worker", self._name)
            answers.put_nowait(WorkerDied(f"cannot be used ({type(error).__name__})"))
        finally:
            self._cancel_rest()
            if not self._closed and self._process is not None:
                loop = asyncio.get_running_loop()
                self._rest = loop.call_later(self._idle_s, self._rested)

    async def _exchange(
        self,
        request: Mapping[str, Any],
        sound: bytes,
        answers: asyncio.Queue[Answer | Exception | None],
    ) -> None:
        # whoever does not wait any more leaves no process behind that nobody knows of
        await asyncio.shield(asyncio.ensure_future(self._start()))
        self._number += 1
        number, done = self._number, False
        watch = asyncio.create_task(self._watch())
        try:
            self._send({**request, "id": number}, sound)
            while not done:
                told, body = await self._receive()
                if told.get("id") != number:
                    continue  # of one that was broken off
                done = bool(told.get("last")) or "error" in told
                if "error" in told:
                    raise DeviceError(
                        f"The {self._name} cannot be used: {str(told['error']).rstrip('.')}.",
                        remedy=str(told.get("remedy", "The log has the details.")),
                    )
                answers.put_nowait((told, body))
        except (OSError, EOFError, ValueError, TimeoutError, WorkerDied) as error:
            late = isinstance(error, TimeoutError)
            await self._stop("takes too long" if late else self._why)
            raise self._died(error) from error
        finally:
            watch.cancel()
            if not done and self._process is not None:
                with contextlib.suppress(OSError):
                    self._send({"cancel": number})

    def _died(self, error: Exception) -> Exception:
        if self._closed:
            return DeviceError(f"The {self._name} was closed.", remedy="Start llmos again.")
        why = self._why or (str(error) if isinstance(error, WorkerDied) else "ended")
        log.warning("the %s's worker: it %s (%r)", self._name, why, error)
        return WorkerDied(why)

    def _send(self, message: Mapping[str, Any], sound: bytes = b"") -> None:
        text = json.dumps(message).encode()
        assert self._process is not None
        self._process.stdin.write(_LENGTHS.pack(len(text), len(sound)) + text + sound)

    async def _receive(self) -> Answer:
        """The next message. Broken off, nothing of it is lost."""
        assert self._process is not None
        stdout = self._process.stdout
        async with asyncio.timeout(self._answer_s):
            if self._lengths is None:
                size, more = _LENGTHS.unpack(await stdout.readexactly(_LENGTHS.size))
                if size > JSON_BYTES or more > SOUND_BYTES:
                    raise WorkerDied("answers nonsense")
                self._lengths = size, more
            size, more = self._lengths
            body = await stdout.readexactly(size + more)
            self._lengths = None
        told = json.loads(body[:size])
        if not isinstance(told, dict):
            raise WorkerDied("answers nonsense")
        return told, body[size:]

    # --- the process ------------------------------------------------------------------------

    async def _start(self) -> None:
        if self._closed:
            raise DeviceError(f"The {self._name} was closed.", remedy="Start llmos again.")
        if self._process is not None and not self._process.exited.is_set():
            return
        await self._stop("")  # one that died while nobody looked
        self._lengths, self._why = None, ""
        process = await spawn(
            [sys.executable, "-I", "-X", "utf8", str(self._file)], env=self._env, fds=()
        )
        self._process = process
        task = asyncio.create_task(_to_log(process.stderr, self._name))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)
        if self.closed:  # meanwhile
            process.send(signal.SIGKILL)

    async def _stop(self, why: str) -> None:
        """End the process and wait for that; ``why`` is told to who asked something of it."""
        process, self._process = self._process, None
        self._why = why
        if process is not None:
            process.send(signal.SIGKILL)
            await asyncio.shield(asyncio.ensure_future(_ended(process)))

    async def _watch(self) -> None:
        """End it where it takes too much memory."""
        while (pid := self.pid) and _resident(pid) <= self._memory:
            await asyncio.sleep(LOOK_S)
        if pid and self._process is not None:
            self._why = f"took more than {self._memory >> 20} MB of memory"
            self._process.send(signal.SIGKILL)

    def _cancel_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _rested(self) -> None:
        """Nothing was asked of it for long."""
        task = asyncio.create_task(self.unload())
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)


async def _ended(process: Program) -> None:
    await process.exited.wait()
    process.forget()
    process.close()


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid else 0
    except psutil.Error:  # it ended
        return 0


async def _to_log(stream: asyncio.StreamReader, name: str) -> None:
    """What it complains of goes to the log, until it ends."""
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # too long for a line
            continue
        if not line:
            return
        log.info("%s: %s", name, line[:4096].decode("utf-8", "replace").rstrip())
