"""A GGUF header, read in a jail.

The bytes go to ``header_worker.py`` through a pipe, as many as it reads; it sees no file. What it
says is a stranger's word: every type and bound is looked at here, and of its reasons only a line
is shown. Where this machine has no jail that holds, the header is read all the same, since no model
runs without one, in a process with limits of its own; the log says so.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from llmos import limits
from llmos.errors import CallFailed, ModelError, SandboxMissing
from llmos.models import header_worker
from llmos.models.container import Damaged
from llmos.models.header import GgufHeader, read_back
from llmos.sandbox import tiers
from llmos.sandbox.jail import Bounds, Finished, Jail, Task, run
from llmos.sandbox.unjailed import Unjailed
from llmos.seldom import Seldom
from llmos.visible import visible

__all__ = ["read"]

_log = logging.getLogger(__name__)
_log.addFilter(Seldom())
_PACKAGE = Path(__file__).resolve().parents[1]
_WORKER = Path(header_worker.__file__).resolve()
_CHUNK = 256 * 1024


async def read(file: BinaryIO, size: int, path: Path) -> GgufHeader:
    """Have the header of an open file read.

    Args:
        file: Stands at its beginning.
        size: Of the whole file, in bytes.
        path: Its name, for sentences.

    Raises:
        Damaged: It is no GGUF file, lies about a count, or is cut short.
        ModelError: It could not be read, which says nothing about the file.
    """
    task = Task(
        argv=(sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_WORKER), str(size)),
        readable=(_WORKER, *_seen()),
        bounds=Bounds(
            memory_bytes=limits.GGUF_MEMORY_BYTES,
            cpu_seconds=limits.GGUF_CPU_SECONDS,
            processes=2,
            open_files=32,
            file_bytes=1,
            disk_bytes=1,
        ),
    )
    try:
        done = await run(
            await _jail(),
            task,
            _chunks(file),
            seconds=limits.GGUF_SECONDS,
            output_bytes=limits.GGUF_SAID_BYTES,
        )
    except CallFailed as failed:
        raise _failed(path, str(failed)) from failed
    return _believed(done, path, size)


async def _jail() -> Jail:
    try:
        return await tiers.best()
    except SandboxMissing as missing:
        _log.warning("headers of model files are read without a jail: %s", missing)
        return Unjailed()


def _seen() -> Iterator[Path]:
    for name in header_worker.SEEN:
        yield _PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _failed(path: Path, detail: str) -> ModelError:
    _log.error("the header of %s was not read: %s", path, detail)
    return ModelError(
        f"The model file {path} could not be looked at: the process that reads its header failed.",
        remedy="Try again; the log has the details.",
    )


def _believed(done: Finished, path: Path, size: int) -> GgufHeader:
    """What the process told, which a file may have taken over."""
    if done.ended == "time":
        raise Damaged(path, "its header takes too long to read")
    if done.ended in ("memory", "output"):
        raise Damaged(path, "its header is larger than any real one")
    if done.status or done.ended:
        detail = done.stderr[-2000:].decode("utf-8", "replace")
        raise _failed(path, f"status {done.status} {done.ended} {visible(detail)}")
    try:
        said: Any = json.loads(done.stdout)
        if isinstance(said, dict) and said.keys() == {"damaged"}:
            raise Damaged(path, _why(said["damaged"]))
        if not isinstance(said, dict) or said.keys() != {"header"}:
            raise ValueError("it says neither")
        return read_back(said["header"], path, size)
    except (ValueError, RecursionError) as error:
        _log.warning("what was told of the header of %s is nonsense: %s", path, error)
        raise Damaged(path, "what its header says makes no sense") from error


def _why(said: object) -> str:
    """A stranger's reason, as it may stand in a sentence."""
    if not isinstance(said, str):
        raise ValueError("it gives no reason")
    line = " ".join(visible(said[: limits.GGUF_WHY_CHARS]).split())
    return line.rstrip(".") or "its header cannot be read"
