"""A Chroma collection behind a worker process, so that Chroma never takes the kernel down.

Embedded (a folder) or an external server, by the same worker. Every request has a time limit; a
worker that dies, answers nonsense or is late is ended, and the request fails with ``ChromaFailed``.
Doesn't know what the vectors mean, keeps nothing itself and repairs nothing: ``mirror.py`` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from llmos import limits

__all__ = ["Chroma", "ChromaFailed", "ChromaMissing"]

log = logging.getLogger(__name__)

_LENGTHS = struct.Struct("!II")
#: Of the environment; no proxies, no settings of Chroma's that somebody else made.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ")


class ChromaFailed(Exception):
    """A request failed. The message is a sentence."""


class ChromaMissing(ChromaFailed):
    """The package chromadb is not there."""


class Chroma:
    """One collection, open from ``open`` to ``close``.

    Args:
        folder: Where an embedded Chroma keeps its files; created where it is not there.
        url: An external server's address; empty for an embedded one.
        name: The collection's name.
    """

    def __init__(self, folder: Path, url: str, name: str) -> None:
        self._folder = folder
        self._url = url
        self._name = name
        self._process: asyncio.subprocess.Process | None = None
        self._log: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()  # one request at a time: answers come in order

    @property
    def alive(self) -> bool:
        """Whether the worker is there, as far as is known."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The worker's process id; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def open(self, mark: str) -> tuple[int, str]:
        """Start the worker and open the collection, or make it with ``mark``.

        Returns:
            The number of its entries, and its mark: another one where it was there before.

        Raises:
            ChromaMissing: chromadb is not installed.
            ChromaFailed: It does not open.
        """
        await self.close()
        worker = Path(__file__).with_name("chroma_worker.py")
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-X", "utf8", str(worker),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={name: os.environ[name] for name in _PASSED if name in os.environ},
            cwd=self._folder.parent,
            start_new_session=True,  # an interrupt at the keyboard is not meant for it
        )  # fmt: skip
        self._log = asyncio.create_task(_to_log(self._process))
        request = {"path": str(self._folder), "url": self._url, "name": self._name, "mark": mark}
        opened = await self._ask("open", request, seconds=limits.CHROMA_START_S)
        return int(opened["count"]), str(opened["mark"])

    async def add(
        self,
        ids: Sequence[str],
        vectors: npt.NDArray[np.float32],
        metadatas: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add entries, or replace those of the same ids. ``vectors`` has shape (n, dimension)."""
        await self._ask("add", {"ids": list(ids), "metadatas": list(metadatas)}, vectors)

    async def delete(self, ids: Sequence[str]) -> None:
        """Take entries out; unknown ids are no matter."""
        await self._ask("delete", {"ids": list(ids)})

    async def query(
        self, vector: npt.NDArray[np.float32], n: int, where: Mapping[str, Any] | None = None
    ) -> list[tuple[str, float]]:
        """The ``n`` nearest entries and their cosine distances, nearest first."""
        found = await self._ask("query", {"n": n, "where": where}, vector[None, :])
        return list(zip(map(str, found["ids"]), map(float, found["distances"]), strict=True))

    async def drop(self) -> None:
        """Delete the collection; ``open`` makes a new one."""
        await self._ask("drop", {"name": self._name})

    async def close(self) -> None:
        """End the worker. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # what it acknowledged is on the disk; the rest is fed again
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.shield(process.wait())
        if self._log is not None:
            await asyncio.wait([self._log])

    async def _ask(
        self,
        op: str,
        request: Mapping[str, Any],
        vectors: npt.NDArray[np.float32] | None = None,
        *,
        seconds: float = 0.0,
    ) -> Any:
        blob = b"" if vectors is None else np.ascontiguousarray(vectors, np.float32).tobytes()
        dimension = 0 if vectors is None else vectors.shape[1]
        text = json.dumps({"op": op, "dimension": dimension, **request}).encode()
        async with self._turn:
            process = self._process
            if process is None:
                raise ChromaFailed("Chroma is not open.")
            try:
                async with asyncio.timeout(seconds or limits.CHROMA_S):
                    answer = await _exchange(
                        process, _LENGTHS.pack(len(text), len(blob)) + text + blob
                    )
            except TimeoutError:
                await self.close()
                raise ChromaFailed(f"Chroma did not answer in time ({op}).") from None
            except (OSError, ValueError, EOFError) as error:
                await self.close()
                raise ChromaFailed(f"Chroma's worker ended ({op}): {error}.") from error
            except BaseException:  # a cancelled caller leaves an answer that nobody reads
                await self.close()
                raise
        if answer.get("missing"):
            raise ChromaMissing("The package chromadb is not installed.")
        if "error" in answer:
            raise ChromaFailed(f"Chroma failed ({op}): {answer['error']}.")
        return answer.get("result")


async def _exchange(process: asyncio.subprocess.Process, message: bytes) -> dict[str, Any]:
    """One message there, one back."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(message)
    await process.stdin.drain()
    head = await process.stdout.readexactly(_LENGTHS.size)
    size, _ = _LENGTHS.unpack(head)
    if size > limits.CHROMA_FRAME_BYTES:
        raise ValueError("an answer is too long")
    answer = json.loads(await process.stdout.readexactly(size))
    if not isinstance(answer, dict):
        raise ValueError("an answer is no object")
    return answer


async def _to_log(process: asyncio.subprocess.Process) -> None:
    """What the worker writes to standard error goes to the log, however long its lines are."""
    assert process.stderr is not None
    while chunk := await process.stderr.read(4096):
        for line in chunk.decode("utf-8", "replace").splitlines():
            log.info("chroma: %s", line)
