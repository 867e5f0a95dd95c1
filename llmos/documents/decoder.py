"""Files that need a decoder, read in a jail: PDF, Word, spreadsheets, HTML.

Bytes go to ``decoder_worker.py``, blocks come back. The worker sees the decoders and nothing else
of the machine, and decodes each file in a child of its own, with limits on memory, processor time
and files; here the clock is kept. What a child says is not believed, and whatever it does is one
sentence about one file. Where this machine has no jail that holds, no such file is read.
"""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable
from pathlib import Path
from typing import TypeVar

from llmos import limits
from llmos.documents.sections import Block
from llmos.errors import CallFailed, FileNotRead, SandboxMissing
from llmos.sandbox import tiers
from llmos.sandbox.jail import Bounds, Jailed, Task
from llmos.threads import in_thread

__all__ = ["Broken", "Decoder"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PROCESSES = 4  # the worker, the child of one file, and room for what a library starts
_TOO_LONG = "It takes too long to decode."


class Broken(FileNotRead):
    """It is not the file's fault: another time may go better."""


class Decoder:
    """The worker: one file at a time. Close it in the end."""

    def __init__(self) -> None:
        self._process: Jailed | None = None
        self._lock = asyncio.Lock()

    async def close(self) -> None:
        """End the worker. The next file starts it again."""
        async with self._lock:
            await self._stop()

    async def blocks(self, file: io.FileIO, kind: str, size: int) -> AsyncGenerator[Block, None]:
        """The blocks of a file.

        Args:
            file: Open.
            kind: ``html``, ``pdf``, ``sheets`` or ``word``.
            size: Its length in bytes; no more is read.

        Raises:
            FileNotRead: Why it is not read, or, after some blocks, not to its end.
        """
        if size > limits.FILE_DECODED_BYTES:
            most = limits.FILE_DECODED_BYTES >> 20
            raise FileNotRead(f"It is {size >> 20} MB long; only text is read beyond {most} MB.")
        async with self._lock:
            whole, why = False, ""
            try:
                process = await self._started()
                clock = _Clock(limits.FILE_WAIT_SECONDS, FileNotRead(_TOO_LONG))
                await _send(process, file, kind, size, clock)
                async for said in _answer(process, clock):
                    if isinstance(said, Block):
                        yield said
                    else:
                        why = why or said
                whole = True
                if why:
                    raise FileNotRead(why)
            except (_Died, *_NONSENSE) as error:
                ended = self._process.ended if self._process is not None else ""
                _log.warning("the decoders' process failed (%s): %r", ended or "by itself", error)
                if ended == "memory":
                    most = limits.FILE_MEMORY_MB
                    raise FileNotRead(f"It needs more than {most} MB to be read.") from error
                raise Broken("The process that decodes it failed.") from error
            finally:
                if not whole:  # what it still says is about this file: nobody may read it later
                    await self._stop()

    async def _started(self) -> Jailed:
        if self._process is not None and not self._process.stdout.at_eof():
            return self._process
        await self._stop()
        worker = Path(__file__).with_name("decoder_worker.py")
        libraries = _library_path()
        task = Task(
            argv=(sys.executable, "-I", "-S", "-X", "utf8", str(worker)),
            readable=(worker, *map(Path, libraries)),
            bounds=Bounds(
                memory_bytes=(limits.FILE_MEMORY_MB + limits.WORKER_SPARE_MB) << 20,
                cpu_seconds=limits.WORKER_CPU_SECONDS,
                processes=_PROCESSES,
                file_bytes=1,
                disk_bytes=1,
            ),
        )
        try:
            jail = await tiers.best()
            self._process = process = await jail.start(task)
        except (CallFailed, SandboxMissing) as error:
            raise Broken(f"It needs a sandbox. {error}") from error
        setup = {
            "path": libraries,
            "block_chars": limits.FILE_BLOCK_CHARS,
            "cpu_seconds": limits.FILE_CPU_SECONDS,
            "members": limits.FILE_MEMBERS,
            "memory_bytes": limits.FILE_MEMORY_MB * 1024 * 1024,
            "title_chars": limits.FILE_TITLE_CHARS,
            "unpacked_bytes": limits.FILE_UNPACKED_BYTES,
        }
        process.stdin.write(json.dumps(setup).encode() + b"\n")
        clock = _Clock(limits.FILE_START_SECONDS, _Died())
        if await _asked(process, clock) != b"ready\n":
            raise _Died
        return process

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.stdin.close()
        await asyncio.shield(process.kill())  # its child, too


class _Died(Exception):
    """The worker ended, or says what it must not."""


#: What comes of reading on from a worker that has ended, or of what it must not say.
_NONSENSE = (EOFError, OSError, RecursionError, TypeError, ValueError)


class _Clock:
    """What is left of the time to wait; the time in which nobody waits does not count.

    Args:
        seconds: To wait in all.
        late: Raised when they are over.
    """

    def __init__(self, seconds: float, late: Exception) -> None:
        self._left = seconds
        self._late = late

    async def wait(self, awaited: Awaitable[T]) -> T:
        start = time.monotonic()
        try:
            async with asyncio.timeout(max(self._left, 0.0)):
                return await awaited
        except TimeoutError:
            raise self._late from None
        finally:
            self._left -= time.monotonic() - start


async def _send(process: Jailed, file: io.FileIO, kind: str, size: int, clock: _Clock) -> None:
    process.stdin.write(json.dumps({"kind": kind, "bytes": size}).encode() + b"\n")
    at = 0
    while at < size:
        chunk = await in_thread(os.pread, file.fileno(), min(size - at, 1 << 20), at)
        if not chunk:
            raise FileNotRead("It became shorter while it was read.")
        process.stdin.write(chunk)
        at += len(chunk)
        await clock.wait(process.stdin.drain())


async def _asked(process: Jailed, clock: _Clock) -> bytes:
    return await clock.wait(process.stdout.readline())


async def _answer(process: Jailed, clock: _Clock) -> AsyncGenerator[Block | str, None]:
    """What the child of one file says until it ends: blocks, or sentences why no more come."""
    rest = b""
    while length := int(await _asked(process, clock)):
        *whole, rest = (rest + await clock.wait(process.stdout.readexactly(length))).split(b"\n")
        for line in whole:
            yield _block(line)
        if len(rest) > 16 * limits.FILE_BLOCK_CHARS:  # JSON takes at most 12 bytes a character
            raise _Died
    status = int(await _asked(process, clock))
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        yield _TOO_LONG
    elif status:
        yield "It is damaged: its decoder crashed."


def _block(line: bytes) -> Block | str:
    """What a child said. It may have been taken over: nothing in it is believed."""
    said = json.loads(line)
    if not isinstance(said, dict):
        raise _Died
    if "error" in said:
        return _plain(said["error"])[:400] or "It is damaged."
    return Block(
        _plain(said.get("text")),
        " ".join(_plain(said.get("title")).split())[: 2 * limits.FILE_TITLE_CHARS],
        " ".join(_plain(said.get("unit")).split())[: limits.FILE_TITLE_CHARS],
        int(said.get("number") or 0),
        _plain(said.get("head")),
        int(said.get("part") or 0),
    )


def _plain(value: object) -> str:
    """A text without halves of surrogate pairs and zero characters."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode().replace("\0", "")


def _library_path() -> list[str]:
    """Where the decoders lie; the worker looks nowhere else but in Python itself."""
    found: list[str] = []
    for name in ("docx", "lxml", "openpyxl", "pypdf", "trafilatura"):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise FileNotRead(f"The Python package {name} is missing: install llmos again.")
        found.append(os.path.dirname(os.path.dirname(spec.origin)))
    return list(dict.fromkeys(found))
