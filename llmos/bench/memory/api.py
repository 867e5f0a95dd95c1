"""The routes of memory, as any HTTP client has them.

Over the socket and not through ``llmos.client``: the bench measures what leaves the kernel.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from llmos.bench.streams import http
from llmos.client import Client
from llmos.errors import KernelError

__all__ = ["Hit", "Memory", "Past"]

_POLL_S = 0.1
_QUERY_CHARS = 200
INDEX_SECONDS = 300.0  # for an imported conversation to have its vectors

#: One message of a past conversation: role, content, seconds since the epoch.
Past = tuple[str, str, float]


@dataclass(frozen=True, slots=True)
class Hit:
    """What a search found."""

    id: str
    text: str
    place: str
    score: float
    similarity: float | None


class Memory:
    """A kernel's memory.

    Args:
        client: Of the kernel's socket.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._http = http(str(client.socket))

    async def __aenter__(self) -> Memory:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def search(self, query: str, *, k: int = 5, pid: int = 0) -> list[Hit]:
        """What is nearest to ``query``, best first; of one process where ``pid`` is given."""
        asked: dict[str, Any] = {"query": query, "k": k, **({"pid": pid} if pid else {})}
        told = await self._ask("GET", "memory/search", params=asked)
        return [
            Hit(str(h["id"]), str(h["text"]), str(h["place"]), h["score"], h.get("similarity"))
            for h in told["hits"]
        ]

    async def page(self, id: str) -> str:
        """A page's text, whole."""
        told = await self._ask("GET", f"memory/pages/{id}")
        return "".join(str(page["text"]) for page in told["pages"])

    async def in_view(self, pid: int) -> list[str]:
        """The texts of all pages that a process's model is shown."""
        table = await self._ask("GET", f"processes/{pid}/pages")
        return [await self.page(str(row["id"])) for row in table["pages"] if row["resident"]]

    async def forget(self, id: str) -> None:
        """Have a page forgotten."""
        await self._ask("DELETE", f"memory/pages/{id}")

    async def draft(self, pid: int, text: str) -> None:
        """Tell what is being typed."""
        await self._ask("POST", f"processes/{pid}/draft", json={"text": text})

    async def import_past(self, messages: Iterable[Past], title: str = "") -> int:
        """A process with a past conversation, given as role, content and time; its pid."""
        lines = "\n".join(
            json.dumps({"role": role, "content": content, "time": said})
            for role, content, said in messages
        )
        told = await self._ask("POST", "import", content=lines.encode(), params={"title": title})
        return int(told["pid"])

    async def counters(self) -> dict[str, Any]:
        """Faults, prefetches and whatever else is counted."""
        return dict((await self._client.stats()).get("memory", {}))

    async def settled(
        self, pid: int, texts: Iterable[str], *, seconds: float = INDEX_SECONDS
    ) -> None:
        """Wait until what was said in ``pid`` can be found by meaning.

        Args:
            texts: Some of it, the newest among them.

        Raises:
            KernelError: It cannot after ``seconds``.
        """
        deadline = time.perf_counter() + seconds
        for text in texts:
            while not all(
                hit.similarity is not None for hit in await self._found(text[:_QUERY_CHARS], pid)
            ):
                if time.perf_counter() > deadline:
                    raise KernelError(f"The index was not ready after {seconds:.0f} s.")
                await asyncio.sleep(_POLL_S)

    async def _found(self, query: str, pid: int) -> list[Hit]:
        """The first hits; a text that is found nowhere is not in the index yet."""
        return await self.search(query, pid=pid) or [Hit("", "", "", 0.0, None)]

    async def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = await self._http.request(method, f"/kernel/v1/{path}", **options)
        if answer.is_success:
            return answer.json() if answer.content else {}
        raise KernelError(f"The kernel refused {method} {path}: {_sentence(answer)}")


def _sentence(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}."
