"""An archive, unpacked in a jail: its bytes go in, the files of it that are wanted come out.

``unpack_worker.py`` knows the formats; here its every word is looked at, since an archive may have
taken it over. It names files, but which of them are kept, under which names and how much of them,
is decided here and in ``incoming.py``, and it is this side that writes them. Where this machine
has no jail that holds, nothing is unpacked: a folder can still be installed.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sys
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from llmos import limits
from llmos.errors import CallFailed, ExpertError, SandboxMissing
from llmos.experts.expertfile import FILE
from llmos.experts.incoming import LEFT_OUT, Incoming, shown
from llmos.sandbox import tiers
from llmos.sandbox.jail import Bounds, Jailed, Task
from llmos.visible import visible

__all__ = ["Kind", "unpack"]

Kind: TypeAlias = Literal["zip", "tar", "tar.gz"]

_log = logging.getLogger(__name__)
_WORKER = Path(__file__).resolve().with_name("unpack_worker.py")
_CHUNK = 1 << 20
_FRAME = re.compile(rb"(names|data|end|refused) (\d{1,9})\n")
#: The largest frame of each kind.
_MOST = {"names": limits.EXPERT_NAMES_BYTES, "data": _CHUNK, "end": 0, "refused": 4096}
_MB = 1 << 20
#: A reason of the worker's, and what is said of it; ``{}`` is a name, made harmless.
_REASONS = {
    "name": "It holds {}, no plain name.",
    "kind": "It holds {}, which is no regular file.",
    "encrypted": "It is encrypted with a password.",
    "index": "Its list of contents is too long.",
    "many": f"It has more than {limits.EXPERT_FILES:,} files.",
    "large": f"Its files are larger than {limits.EXPERT_BYTES // _MB} MB.",
    "large file": f"{{}} in it is larger than {limits.EXPERT_FILE_BYTES // _MB} MB.",
}
#: What reading on from a worker that ended, or that says what it must not, raises.
_NONSENSE = (EOFError, LookupError, OSError, RecursionError, TypeError, ValueError)


async def unpack(file: BinaryIO, size: int, kind: Kind, name: str, files: Incoming) -> None:
    """Write the files of an archive.

    Args:
        file: The archive, at its beginning.
        size: Its length in bytes; no more is read.
        kind: What it is.
        name: Its own name, for sentences.
        files: Where they go; the one folder around them all, where there is one, is left out.

    Raises:
        ExpertError: Why not; what was written so far is still there.
        OSError: The archive cannot be read, or a file not be written.
    """
    task = Task(
        argv=(sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_WORKER)),
        readable=(_WORKER,),
        bounds=Bounds(
            memory_bytes=limits.EXPERT_UNPACK_MEMORY_BYTES,
            cpu_seconds=limits.EXPERT_UNPACK_CPU_SECONDS,
            processes=2,
            open_files=32,
            file_bytes=1,
            disk_bytes=1,
        ),
    )
    try:
        jailed = await (await tiers.best()).start(task)
    except (CallFailed, SandboxMissing) as error:
        raise ExpertError(
            f"{shown(name)} can't be unpacked: it needs a sandbox. {error.sentence}",
            remedy="Unpack it yourself, and install the folder.",
        ) from error
    worker = _Worker(jailed, name)
    try:
        async with asyncio.timeout(limits.EXPERT_UNPACK_SECONDS):
            await worker.ask(file, size, kind)
            names = await worker.names()
            top = _top(names)
            wanted = [at for at, found in enumerate(names) if files.wants(_below(found, top))]
            await worker.say(json.dumps(wanted).encode() + b"\n")
            for at in wanted:
                files.write(_below(names[at], top), io.BytesIO(await worker.file()))
    except TimeoutError:
        raise ExpertError(f"{shown(name)} takes too long to unpack.") from None
    finally:
        await jailed.kill()


class _Worker:
    """The talk with one worker. None of what it says is believed."""

    def __init__(self, jailed: Jailed, archive: str) -> None:
        self._jailed = jailed
        self._archive = archive

    async def ask(self, file: BinaryIO, size: int, kind: Kind) -> None:
        setup = {
            "kind": kind,
            "bytes": size,
            "all_bytes": limits.EXPERT_BYTES,
            "file_bytes": limits.EXPERT_FILE_BYTES,
            "files": limits.EXPERT_FILES,
            "index_bytes": limits.EXPERT_INDEX_BYTES,
            "path_bytes": limits.EXPERT_PATH_BYTES,
        }
        await self.say(json.dumps(setup).encode() + b"\n")
        left = size
        while left and (chunk := file.read(min(left, _CHUNK))):
            left -= len(chunk)
            await self.say(chunk)
        if left:
            raise ExpertError(f"{shown(self._archive)} became shorter while it was read.")

    async def say(self, data: bytes) -> None:
        try:
            self._jailed.stdin.write(data)
            await self._jailed.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it ended; what it said last is still to be read

    async def names(self) -> list[str]:
        word, data = await self._frame()
        try:
            names: Any = json.loads(data)
            if word != "names" or not isinstance(names, list):
                raise ValueError(f"{word} is not what it was asked for")
            if len(names) > 2 * limits.EXPERT_FILES:
                raise ValueError(f"{len(names)} names")
            if not all(isinstance(name, str) for name in names):
                raise TypeError("a name that is none")
        except _NONSENSE as error:
            raise await self._failed(error) from error
        return names

    async def file(self) -> bytes:
        """A whole file; one that is too large only as far as to tell."""
        content = bytearray()
        while len(content) <= limits.EXPERT_FILE_BYTES:
            word, data = await self._frame()
            if word == "end":
                break
            if word != "data" or not data:
                raise await self._failed(ValueError(f"{word} within a file"))
            content += data
        return bytes(content)

    async def _frame(self) -> tuple[str, bytes]:
        try:
            head = await self._jailed.stdout.readuntil(b"\n")
            found = _FRAME.fullmatch(head)
            if found is None:
                raise ValueError(f"the frame {head[:80]!r}")
            word, length = found[1].decode(), int(found[2])
            if length > _MOST[word]:
                raise ValueError(f"a frame {word} of {length} bytes")
            data = await self._jailed.stdout.readexactly(length)
            refused = self._refusal(json.loads(data)) if word == "refused" else None
        except (*_NONSENSE, asyncio.LimitOverrunError) as error:
            raise await self._failed(error) from error
        if refused is not None:
            raise refused
        return word, data

    def _refusal(self, said: Any) -> ExpertError:
        reason, name = said
        if reason == "damaged":
            return ExpertError(f"{shown(self._archive)} is damaged.")
        return ExpertError(_REASONS[str(reason)].format(shown(str(name))))

    async def _failed(self, error: Exception) -> ExpertError:
        """It ended before its time, or talks nonsense: what is told of it."""
        await self._jailed.kill()
        status = await self._jailed.wait()
        said = (await self._jailed.stderr.read(2000)).decode("utf-8", "replace")
        why = self._jailed.ended or f"status {status}"
        _log.warning("unpacking failed (%s, %r): %s", why, error, visible(said))
        return ExpertError(f"{shown(self._archive)} is damaged: its decoder failed.")


def _top(names: list[str]) -> str:
    """The one folder that holds everything, where an archive has one and it holds the manifest."""
    if FILE in names:
        return ""
    tops = {name.partition("/")[0] for name in names} - LEFT_OUT
    if len(tops) == 1 and f"{(top := tops.pop())}/{FILE}" in names:
        return f"{top}/"
    raise ExpertError(f"There is no {FILE} in it; so this is no expert.")


def _below(name: str, top: str) -> str:
    if top and not name.startswith(top):  # what is left out anyway, such as __MACOSX
        return name
    return name[len(top) :]
