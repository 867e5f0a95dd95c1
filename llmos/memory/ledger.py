"""What Chroma's copy of the vectors has, as the index's file remembers it.

Every method is one transaction; what Chroma did is noted down after it was done, so that a kernel
that is killed in between does it again. Doesn't know Chroma.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from llmos import limits
from llmos.memory.index_schema import UNMIRRORED
from llmos.memory.words import Words

__all__ = ["Ledger", "Uncopied"]

_Vector: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Uncopied:
    """A passage whose vectors are to be copied.

    Args:
        n: Its number.
        pid / source: As of the passage.
        vectors: None, one, or two where its context makes a difference.
    """

    n: int
    pid: int
    source: str
    vectors: tuple[_Vector, ...]


class Ledger:
    """The copy's books.

    Args:
        words: The index's file, open.
        dimension: Of the vectors.
    """

    def __init__(self, words: Words, dimension: int) -> None:
        self._words = words
        self._dimension = dimension

    def mark(self) -> str:
        """What tells this copy from any other."""
        return str(self._words.meta("mirror"))

    def upto(self) -> int:
        """The number up to which passages were copied."""
        return int(self._words.meta("mirrored") or 0)

    def void(self) -> None:
        """Begin a new copy: whatever Chroma has is another one's."""
        with self._words.writing() as db:
            self._words.forget_mirror(db)

    def lag(self, most: int) -> int:
        """Vectors that are not copied yet, counted up to ``most``."""
        with self._words.reading() as db:
            sql = f"SELECT count(*) FROM (SELECT 1 FROM vectors WHERE {UNMIRRORED} LIMIT ?)"
            return int(db.execute(sql, (most,)).fetchone()[0])

    def batch(self) -> tuple[str, list[Uncopied]]:
        """The copy's mark, and what is to be copied next."""
        with self._words.reading() as db:
            mark = _get(db, "mirror")
            rows = db.execute(
                "SELECT n, pid, source, pair FROM vectors JOIN passages USING (n)"
                f" WHERE {UNMIRRORED} ORDER BY n LIMIT ?",
                (limits.CHROMA_BATCH // 2,),  # two entries each
            )
            return mark, [Uncopied(n, pid, src, self._pair(pair)) for n, pid, src, pair in rows]

    def note_copied(self, mark: str, copied: Sequence[Uncopied]) -> None:
        """Chroma has the vectors of ``batch``."""
        with self._words.writing() as db:
            if _get(db, "mirror") != mark:
                return  # another copy has begun in the meantime
            entries = [(one.n, len(one.vectors), one.n) for one in copied]
            _set(db, "mirrored", copied[-1].n)
            _set(db, "mirror_entries", _get(db, "mirror_entries") + sum(e for _, e, _ in entries))
            # What was dropped while it was being copied must go from the copy, too.
            sql = "INSERT INTO gone SELECT ?, ? WHERE ? NOT IN (SELECT n FROM vectors)"
            db.executemany(sql, entries)

    def gone(self) -> list[int]:
        """Numbers of some passages that are to be taken out of the copy."""
        with self._words.reading() as db:
            rows = db.execute("SELECT n FROM gone LIMIT ?", (limits.CHROMA_BATCH,))
            return [n for (n,) in rows]

    def note_gone(self, gone: Sequence[int]) -> None:
        """Chroma has them no more."""
        with self._words.writing() as db:
            for n in gone:
                sql = "DELETE FROM gone WHERE n = ? RETURNING entries"
                entries = sum(row[0] for row in db.execute(sql, (n,)).fetchall())
                _set(db, "mirror_entries", _get(db, "mirror_entries") - entries)

    def entries(self) -> tuple[int, int]:
        """Entries the copy should have, and those of them that are to go."""
        with self._words.reading() as db:
            (gone,) = db.execute("SELECT coalesce(sum(entries), 0) FROM gone").fetchone()
            return _get(db, "mirror_entries") or 0, gone

    def samples(self) -> list[_Vector]:
        """Vectors that the copy must find: the first, one in the middle, the last."""
        with self._words.reading() as db:
            sql = "SELECT pair FROM vectors WHERE n >= ? AND n <= ? AND length(pair) ORDER BY n"
            upto = _get(db, "mirrored") or 0
            rows = [
                db.execute(f"{sql} {way} LIMIT 1", bounds).fetchone()
                for bounds, way in (
                    ((0, upto), "ASC"),
                    ((upto // 2, upto), "ASC"),
                    ((0, upto), "DESC"),
                )
            ]
        return [self._pair(row[0])[0] for row in rows if row and self._pair(row[0])]

    def _pair(self, pair: bytes) -> tuple[_Vector, ...]:
        both = np.frombuffer(pair, np.float16).astype(np.float32)
        if len(both) != 2 * self._dimension:
            return ()
        text, whole = both.reshape(2, -1)
        return (text,) if np.array_equal(text, whole) else (text, whole)


def _get(db: sqlite3.Connection, key: str) -> Any:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def _set(db: sqlite3.Connection, key: str, value: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
