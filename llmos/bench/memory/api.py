"""The routes of memory, as any HTTP client has them.

Over the socket and not through ``llmos.client``: the bench measures what leaves the kernel.
"""

from __future__ import annotations

import asyncio
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
        said = [
            {"role": role, "content": content, "time": moment} for role, content, moment in messages
        ]
        told = await self._ask("POST", "import", json={"messages": said, "title": title})
        return int(told["pid"])

    async def counters(self) -> dict[str, Any]:
        """Faults, prefetches and whatever else is counted."""
        return dict((await self._client.stats()).get("memory", {}))

    async def settled(self, pid: int, newest: str, *, seconds: float = INDEX_SECONDS) -> None:
        """Wait until all that was said can be found by meaning.

        Args:
            newest: What was said last in ``pid``; the index is fed in order.

        Raises:
            KernelError: It cannot after ``seconds``, or the kernel does not tell.
        """
        deadline, fed = time.perf_counter() + seconds, False
        while True:
            fed = fed or await self._finds(newest[:_QUERY_CHARS], pid)
            counters = await self.counters()
            if not {"passages", "embedded"} <= counters.keys():
                raise KernelError("The kernel's stats do not tell how far its index is.")
            if fed and counters["embedded"] >= counters["passages"]:
                return
            if time.perf_counter() > deadline:
                told = f"{counters['embedded']} of {counters['passages']} passages embedded"
                raise KernelError(f"The index was not ready after {seconds:.0f} s: {told}.")
            await asyncio.sleep(_POLL_S)

    async def _finds(self, text: str, pid: int) -> bool:
        return any(text in hit.text for hit in await self.search(text, pid=pid))

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
