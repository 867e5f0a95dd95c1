"""Chroma in a process of its own: reads requests from standard input, answers on standard output.

Stands alone: imports nothing of llmos, is started by its path, and dies with whoever started it
(the end of standard input). Holds one collection of vectors with numbers as ids; no texts, no
embedding functions. What Chroma prints goes to standard error.

A message either way is two lengths (network order, four bytes each), then so many bytes of JSON,
then so many bytes of float32 vectors. Requests are answered in their order.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

LENGTHS = struct.Struct("!II")


class Collection:
    """One collection, by the requests that can be made of it; each method is one."""

    def __init__(self) -> None:
        self._client: Any = None
        self._collection: Any = None

    def open(self, *, path: str, url: str, name: str, mark: str) -> dict[str, Any]:
        """Open the collection ``name`` of a folder or a server; make it where it is not there.

        Args:
            mark: Kept with a collection that is made.

        Returns:
            ``count`` of its entries, and the ``mark`` it has.
        """
        try:
            import chromadb
            from chromadb.config import Settings
        except ImportError as error:
            raise MissingPackage(str(error)) from error

        settings = Settings(anonymized_telemetry=False)
        if url:
            from urllib.parse import urlsplit

            parts = urlsplit(url)
            secure = parts.scheme == "https"
            self._client = chromadb.HttpClient(
                parts.hostname or "localhost",
                parts.port or (443 if secure else 8000),
                ssl=secure,
                settings=settings,
            )
        else:
            _cut_off()
            Path(path).mkdir(mode=0o700, exist_ok=True)
            self._client = chromadb.PersistentClient(path, settings)
        self._collection = self._client.get_or_create_collection(
            name,
            metadata={"mark": mark},
            # One thread: the cores belong to the language model.
            configuration={"hnsw": {"space": "cosine", "num_threads": 1}},
            embedding_function=None,
        )
        kept = (self._collection.metadata or {}).get("mark", "")
        return {"count": self._collection.count(), "mark": kept}

    def add(self, *, ids: list[str], metadatas: list[dict[str, Any]], vectors: Any) -> None:
        """Add entries, or replace those of the same ids."""
        self._collection.upsert(ids=ids, embeddings=vectors, metadatas=metadatas)

    def delete(self, *, ids: list[str]) -> None:
        """Take entries out; unknown ids are no matter."""
        self._collection.delete(ids=ids)

    def query(self, *, n: int, where: dict[str, Any] | None, vectors: Any) -> dict[str, Any]:
        """The ``n`` entries nearest to a vector, with their cosine distances."""
        found = self._collection.query(
            query_embeddings=vectors, n_results=n, where=where, include=["distances"]
        )
        return {"ids": found["ids"][0], "distances": found["distances"][0]}

    def drop(self, *, name: str) -> None:
        """Delete a collection of this name, if there is one."""
        self._collection = None
        if any(found.name == name for found in self._client.list_collections()):
            self._client.delete_collection(name)


class MissingPackage(Exception):
    """chromadb is not installed."""


def _cut_off() -> None:
    """An embedded Chroma has no business with any network."""

    def refuse(*_: Any) -> None:
        raise PermissionError("Chroma's worker has no network")

    socket.socket.connect = refuse  # type: ignore[method-assign]
    socket.socket.connect_ex = refuse  # type: ignore[method-assign, assignment]


def _read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    head = stream.read(LENGTHS.size)
    if len(head) < LENGTHS.size:
        return None
    text, blob = LENGTHS.unpack(head)
    body = stream.read(text + blob)
    return (json.loads(body[:text]), body[text:]) if len(body) == text + blob else None


def _answer(collection: Collection, request: Mapping[str, Any], blob: bytes) -> dict[str, Any]:
    arguments = {key: value for key, value in request.items() if key not in ("op", "dimension")}
    if blob:
        import numpy as np

        arguments["vectors"] = np.frombuffer(blob, "=f4").reshape(-1, request["dimension"])
    try:
        return {"result": getattr(collection, request["op"])(**arguments)}
    except MissingPackage as error:
        return {"error": str(error), "missing": True}
    except BaseException as error:  # Chroma's Rust side panics with a BaseException of its own
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return {"error": f"{type(error).__name__}: {error}"[:2000]}


def main() -> None:
    """Serve until standard input ends."""
    os.umask(0o077)  # Chroma's files are for this user alone
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not come between the answers
    collection = Collection()
    with contextlib.suppress(BrokenPipeError):
        while (message := _read(sys.stdin.buffer)) is not None:
            body = json.dumps(_answer(collection, *message)).encode()
            answers.write(LENGTHS.pack(len(body), 0) + body)
            answers.flush()
    os._exit(0)  # Chroma's threads may not hold up the end


if __name__ == "__main__":
    main()
