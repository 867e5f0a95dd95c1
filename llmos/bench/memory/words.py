"""The control of everything that is found: search by words alone.

SQLite's FTS5 with its own ranking (BM25) and stemmer, any word of the query, and nothing else. It
does not use the kernel's index.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence

__all__ = ["Words"]

_WORD = re.compile(r"\w+")


class Words:
    """Texts that can be searched.

    Args:
        texts: In an order that names them.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._database = sqlite3.connect(":memory:")
        self._database.execute("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize='porter')")
        rows = ((at, text) for at, text in enumerate(texts))
        self._database.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", rows)

    def __enter__(self) -> Words:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def search(self, query: str, k: int = 5) -> list[int]:
        """Places of the texts that fit ``query`` best, best first."""
        words = " OR ".join(f'"{word}"' for word in _WORD.findall(query))
        found = self._database.execute(
            "SELECT rowid FROM texts WHERE texts MATCH ? ORDER BY rank LIMIT ?", (words, k)
        )
        return [row[0] for row in found]
