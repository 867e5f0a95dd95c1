"""The memory of the kernel in memory: facts, pages, folders, as the client tells of them.

A search finds what shares a word with the query. ``gate`` holds answers back while it is closed.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

from llmos.errors import LlmosError, NotStored, StoreError

__all__ = ["FakeMemory"]

CORE_CHARS = 400


class FakeMemory:
    """What the person's kernel remembers."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.stored: list[dict[str, Any]] = []  # passages: pages of chats, stretches of files
        self.table: list[dict[str, Any]] = []  # of any process
        self.mounted: list[dict[str, Any]] = []
        self.counters: dict[str, int] = {
            "faults": 1,
            "prefetches": 4,
            "prefetched": 5,
            "returned": 0,
            "searches": 3,
            "passages": 812,
            "embedded": 812,
        }
        self.refusal: LlmosError | None = None  # raised by the next change
        self.gate = asyncio.Event()
        self.gate.set()
        self.searched: list[str] = []
        self.forgotten: list[str] = []
        self._numbers = itertools.count(1)

    # --- what a test puts in ----------------------------------------------------------------

    def add(self, text: str, block: str = "fact", **values: Any) -> dict[str, Any]:
        """A fact."""
        fact = {
            "id": f"m{next(self._numbers)}",
            "text": text,
            "block": block,
            "time": time.time(),
            "pinned": False,
            "origin": "user",
            "history": [],
            "said": [],
            **values,
        }
        self.known[fact["id"]] = fact
        return fact

    def said(self, text: str, pid: int, *, turn: int = 1, id: str = "", **values: Any) -> str:
        """A page of a chat."""
        id = id or f"p{next(self._numbers)}"
        passage = {
            "id": id,
            "source": "turn",
            "pid": pid,
            "turn": turn,
            "place": f"process {pid}",
            "time": time.time(),
            "speaker": "user",
            "text": text,
            **values,
        }
        self.stored.append(passage)
        return id

    def read(self, text: str, place: str) -> str:
        """A stretch of a file."""
        return self.said(text, 0, id=f"f1-{next(self._numbers)}", source="file", place=place)

    def page(self, id: str, text: str, **values: Any) -> None:
        """A row of the page table."""
        row = {
            "id": id,
            "kind": "user",
            "turn": 1,
            "characters": len(text),
            "resident": True,
            "time": time.time(),
            "origin": "user",
            "tokens": len(text) // 4,
            "pinned": False,
            "beginning": text[:160],
            **values,
        }
        self.table.append(row)

    # --- what a terminal asks ---------------------------------------------------------------

    async def facts(self) -> dict[str, Any]:
        return {"facts": list(self.known.values())[::-1], "core": ""}

    async def search(self, query: str, *, k: int = 5, pid: int = 0) -> list[dict[str, Any]]:
        self.searched.append(query)
        await self.gate.wait()
        words = set(query.casefold().split())
        hits = [
            {"score": 1.0, "similarity": 0.5, "words": 1.0, **passage}
            for passage in self.stored
            if words & set(passage["text"].casefold().replace(".", " ").split())
        ]
        return hits[:k]

    async def pages(self, page: str) -> list[dict[str, Any]]:
        found = [p for p in self.stored if p["id"] == page or p["id"].partition(".")[0] == page]
        if not found:
            raise NotStored(f"There is no page {page!r}.")
        return [{**p, "kind": p["speaker"], "origin": p["speaker"]} for p in found]

    async def remember(self, text: str, *, block: str = "fact") -> dict[str, Any]:
        self._refuse()
        return self.add(text, block)

    async def change_fact(
        self, id: str, *, text: str | None = None, pinned: bool | None = None
    ) -> dict[str, Any]:
        self._refuse()
        fact = self.known[id]
        if text is not None:
            fact["history"] = [*fact["history"], {"time": fact["time"], "text": fact["text"]}]
            fact["text"] = text
        if pinned is not None:
            if pinned and len(fact["text"]) > CORE_CHARS:
                raise StoreError("What every conversation begins with would be too long.")
            fact["pinned"] = pinned
        return fact

    async def would_forget(self, id: str) -> dict[str, Any]:
        listed = []
        if id in self.known:
            text = self.known[id]["text"]
            listed.append({"id": id, "kind": "memory", "pid": 0, "turn": 0, "beginning": text})
        else:
            text = (await self.pages(id))[0]["text"]
        listed += [
            {"id": p["id"], "kind": "user", "pid": p["pid"], "turn": 1, "beginning": p["text"]}
            for p in self.stored
            if text in p["text"]
        ]
        return {"records": len(listed), "listed": listed}

    async def forget(self, id: str) -> int:
        self._refuse()
        doomed = await self.would_forget(id)
        gone = {row["id"] for row in doomed["listed"]}
        self.known = {id: fact for id, fact in self.known.items() if id not in gone}
        self.stored = [p for p in self.stored if p["id"] not in gone]
        self.forgotten.append(id)
        return int(doomed["records"])

    async def pin_page(self, pid: int, page: str, pinned: bool = True) -> None:
        self._refuse()
        [row] = [row for row in self.table if row["id"] == page]
        row["pinned"] = pinned

    async def mounts(self) -> list[dict[str, Any]]:
        return [dict(row) for row in self.mounted]

    async def mount(self, folder: Path) -> dict[str, Any]:
        self._refuse()
        row = {
            "number": next(self._numbers),
            "folder": str(folder),
            "files": 2,
            "passages": 5,
            "state": "ready",
            "following": "watched",
            "synced": time.time(),
            "skips": 0,
            "skipped": [],
            "done": 0,
            "of": 0,
            "reading": "",
        }
        self.mounted.append(row)
        return row

    async def umount(self, number: int) -> int:
        [row] = [row for row in self.mounted if row["number"] == number]
        self.mounted.remove(row)
        return int(row["passages"])

    def _refuse(self) -> None:
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise refusal
