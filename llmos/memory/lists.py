"""The ranked lists a search is made of, each read from the index's file within a scope.

Words are ranked by FTS5's bm25, over the text alone and over the text with its context. Vectors
are compared one by one with the query's, both of a passage at once, in slices of bounded memory.
Blocks; one call uses one connection.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from llmos import limits
from llmos.memory.index_schema import COLUMNS, passage
from llmos.memory.passages import Passage, Scope

__all__ = [
    "Rarity",
    "by_vector",
    "by_words",
    "count",
    "holding_all",
    "nothing",
    "numbers",
    "passages",
    "shares",
    "similarities",
]

#: Numbers of passages, best first: for the text, and for the text with its context.
Ranked: TypeAlias = tuple[list[int], list[int]]
_Vector: TypeAlias = npt.NDArray[np.float32]

_MAX = (1 << 63) - 1  # the largest number SQLite holds


class Rarity:
    """In how many passages each word is; remembered while the index has about the same size."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int]] = {}  # by term: passages with it, and of all

    def rows(self, db: sqlite3.Connection, term: str, total: int) -> int:
        """Passages whose text or context holds ``term``; of very many, about how many."""
        rows, then = self._known.get(term, (0, -1))
        if abs(total - then) <= then // 50:  # the share has hardly changed
            return rows
        # Counting past the limit would take as long as the search that it is to spare.
        sql = "SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH ? LIMIT ?)"
        match = f"{{text context}} : {term}"
        rows = int(db.execute(sql, (match, limits.INDEX_TERM_ROWS)).fetchone()[0])
        if len(self._known) >= limits.INDEX_TERMS_KEPT:
            self._known.clear()
        self._known[term] = (rows, total)
        return rows


@dataclass(frozen=True, slots=True)
class _Where:
    """A condition on ``passages p``; empty for every passage."""

    sql: str
    values: tuple[Any, ...]


def nothing(scope: Scope) -> bool:
    """Whether the scope leaves no passage, whatever there is."""
    return any(bound is not None and not bound for bound in (scope.pids, scope.sources, scope.only))


def count(db: sqlite3.Connection, scope: Scope, most: int) -> int:
    """How many passages the scope leaves, what it excludes aside, counted up to ``most``."""
    where = _where(scope)
    sql = f"SELECT count(*) FROM (SELECT 1 FROM passages p {where.sql} LIMIT ?)"
    return int(db.execute(sql, (*where.values, most)).fetchone()[0])


def by_words(
    db: sqlite3.Connection, terms: Sequence[str], scope: Scope, total: int, rarity: Rarity
) -> Ranked:
    """The passages that hold any of ``terms``, by bm25.

    Of terms that together are in too many passages (``limits.INDEX_TERM_ROWS``), the commonest
    are left out: they hardly change the order and cost the most.
    """
    chosen = _affordable(db, terms, total, rarity)
    if not chosen:
        return [], []
    match = f"{{text context}} : ({' OR '.join(chosen)})"
    within, where = _named(scope)
    if within:
        match = f"({within}) AND {match}"
    outside, values = _excluded(scope, "n")
    if where.sql:
        outside += f" AND n IN (SELECT p.n FROM passages p {where.sql})"
    # MATERIALIZED, or SQLite asks FTS5 once for each passage that the condition leaves.
    found = (
        "WITH found AS MATERIALIZED (SELECT rowid AS n, bm25(words, 1, 0, 0) AS text,"
        " bm25(words, 1, 1, 0) AS whole FROM words WHERE words MATCH ?)"
    )
    kept = "found"
    if outside != "true":
        found += f", kept AS MATERIALIZED (SELECT * FROM found WHERE {outside})"
        kept = "kept"
    depth = limits.INDEX_DEPTH
    rows = db.execute(
        f"{found} SELECT * FROM (SELECT * FROM {kept} ORDER BY text, n DESC LIMIT ?) UNION"
        f" SELECT * FROM (SELECT * FROM {kept} ORDER BY whole, n DESC LIMIT ?)",
        (match, *values, *where.values, depth, depth),
    ).fetchall()
    # bm25 is negative, the better the lower; 0 where only the context has the word.
    text = sorted((score, -n) for n, score, _ in rows if score < 0)
    whole = sorted((score, -n) for n, _, score in rows)
    return [-n for _, n in text[:depth]], [-n for _, n in whole[:depth]]


def by_vector(
    db: sqlite3.Connection,
    query: _Vector,
    scope: Scope,
    *,
    among: Iterable[int] | None = None,
    after: int = 0,
) -> Ranked:
    """The passages nearest to ``query``, compared exactly.

    Args:
        query: A unit vector.
        among: Only these numbers.
        after: Only numbers above this.
    """
    outside, values = _excluded(scope, "v.n")
    conditions = [outside, "v.n > ?"]
    values.append(after)
    if among is not None:
        conditions.append("v.n IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(among)))
    where = _where(scope)
    tables = "vectors v"
    if where.sql:
        tables = "passages p CROSS JOIN vectors v ON v.n = p.n"  # passages first: fewer are left
        conditions.insert(0, where.sql.removeprefix("WHERE "))
        values[:0] = where.values
    rows = db.execute(f"SELECT v.n, v.pair FROM {tables} WHERE {' AND '.join(conditions)}", values)
    best: list[tuple[npt.NDArray[np.int64], _Vector]] = [_NONE, _NONE]
    while slice_ := rows.fetchmany(limits.INDEX_SLICE):
        found, cosines = _compare(slice_, query)
        for which in (0, 1):
            joined = np.concatenate([best[which][0], found])
            scores = np.concatenate([best[which][1], cosines[:, which]])
            order = np.lexsort((-joined, -scores))[: limits.INDEX_DEPTH]
            best[which] = joined[order], scores[order]
    return best[0][0].tolist(), best[1][0].tolist()


def vector_of(db: sqlite3.Connection, id: str) -> _Vector | None:
    """The unit vector of a passage's text; None where it has none, or could have none."""
    row = db.execute(
        "SELECT pair FROM vectors WHERE n = (SELECT n FROM passages WHERE id = ?)", (id,)
    )
    found = row.fetchone()
    if found is None or not found[0]:
        return None
    text = np.frombuffer(found[0], np.float16).reshape(2, -1)[0].astype(np.float32)
    size = float(np.linalg.norm(text))
    return text / size if size else None


def similarities(
    db: sqlite3.Connection, query: _Vector, numbers: Iterable[int]
) -> dict[int, float]:
    """Cosine of ``query`` and the text of each passage that has a vector."""
    sql = "SELECT n, pair FROM vectors WHERE n IN (SELECT value FROM json_each(?))"
    rows = db.execute(sql, (json.dumps(list(numbers)),)).fetchall()
    found, cosines = _compare(rows, query)
    return dict(zip(found.tolist(), cosines[:, 0].tolist(), strict=True))


def shares(
    db: sqlite3.Connection,
    terms: Sequence[str],
    numbers: Sequence[int],
    total: int,
    rarity: Rarity,
) -> dict[int, float]:
    """Of ``terms``, the share that the text of each passage holds, weighted by rarity."""
    given = json.dumps(list(numbers))
    sums, whole = dict.fromkeys(numbers, 0.0), 0.0
    for term in terms:
        rows = rarity.rows(db, term, total)
        weight = math.log1p((max(total - rows, 0) + 0.5) / (rows + 0.5))  # as Lucene weighs it
        whole += weight
        among = "rowid IN (SELECT value FROM json_each(?))"  # which FTS5 looks up one by one
        sql = f"SELECT rowid FROM words WHERE words MATCH ? AND {among}"
        for (n,) in db.execute(sql, (f"text : {term}", given)):
            sums[n] += weight
    return {n: min(held / whole, 1.0) for n, held in sums.items()} if whole else {}


def holding_all(db: sqlite3.Connection, terms: Sequence[str], numbers: Iterable[int]) -> set[int]:
    """Of some passages, those whose text holds every one of ``terms``."""
    left = set(numbers)
    among = "rowid IN (SELECT value FROM json_each(?))"
    sql = f"SELECT rowid FROM words WHERE words MATCH ? AND {among}"
    for term in terms:  # one by one: for terms joined by AND, FTS5 takes thirty times as long
        if left:
            left = {n for (n,) in db.execute(sql, (f"text : {term}", json.dumps(list(left))))}
    return left


def passages(db: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, Passage]:
    """The passages of these numbers that are there."""
    sql = f"SELECT {COLUMNS} FROM passages WHERE n IN (SELECT value FROM json_each(?))"
    return {row[0]: passage(row) for row in db.execute(sql, (json.dumps(list(numbers)),))}


def numbers(db: sqlite3.Connection, ids: Iterable[str]) -> dict[int, str]:
    """The ids that are there, by their numbers."""
    sql = "SELECT n, id FROM passages WHERE id IN (SELECT value FROM json_each(?))"
    return dict(db.execute(sql, (json.dumps(list(ids)),)).fetchall())


# --- inside -----------------------------------------------------------------------------------

_NONE = (np.zeros(0, np.int64), np.zeros(0, np.float32))


def _compare(
    rows: Sequence[tuple[int, bytes]], query: _Vector
) -> tuple[npt.NDArray[np.int64], _Vector]:
    """Numbers and cosines, shape (n, 2); passages whose vectors could not be made left out."""
    size = 2 * 2 * len(query)
    rows = [row for row in rows if len(row[1]) == size]
    numbers = np.array([n for n, _ in rows], np.int64)
    pairs = np.frombuffer(b"".join(pair for _, pair in rows), np.float16)
    cosines = pairs.reshape(len(rows), 2, len(query)).astype(np.float32) @ query
    return numbers, np.clip(cosines, -1, 1).astype(np.float32)


def _affordable(
    db: sqlite3.Connection, terms: Sequence[str], total: int, rarity: Rarity
) -> list[str]:
    """The rarest terms, at least one, as long as they are in few enough passages together."""
    counted = sorted((rarity.rows(db, term, total), at) for at, term in enumerate(terms))
    chosen: list[str] = []
    cost = 0
    for rows, at in counted:
        cost += rows
        if chosen and cost > limits.INDEX_TERM_ROWS:
            break
        if rows:
            chosen.append(terms[at])
    return chosen


def _named(scope: Scope) -> tuple[str, _Where]:
    """The scope as an expression of FTS5's, which is quick, and the rest of it."""
    parts = []
    rest = Scope(only=scope.only, since=scope.since, until=scope.until)
    if scope.pids is not None:
        if len(scope.pids) <= limits.INDEX_PIDS:
            parts.append(_tokens(f"pid{pid}" for pid in scope.pids))
        else:
            rest = replace(scope, sources=None)
    if scope.sources is not None:
        parts.append(_tokens(f"source{source}" for source in scope.sources))
    return " AND ".join(parts), _where(rest)


def _tokens(names: Iterable[str]) -> str:
    quoted = " OR ".join('"' + name.replace('"', '""').replace("\0", " ") + '"' for name in names)
    return f"scope : ({quoted})"


def _excluded(scope: Scope, column: str) -> tuple[str, list[Any]]:
    """A condition on the numbers in ``column``; true for all where nothing is excluded."""
    if not scope.exclude:
        return "true", []
    ids = "SELECT n FROM passages WHERE id IN (SELECT value FROM json_each(?))"
    return f"{column} NOT IN ({ids})", [json.dumps(list(scope.exclude))]


def _where(scope: Scope) -> _Where:
    """The scope but for what it excludes."""
    conditions: list[str] = []
    values: list[Any] = []

    def among(column: str, given: Iterable[Any]) -> None:
        conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(given)))

    if scope.pids is not None:
        among("p.pid", (pid for pid in scope.pids if abs(pid) <= _MAX))
    if scope.sources is not None:
        among("p.source", scope.sources)
    if scope.only is not None:
        among("p.id", scope.only)
    if scope.since is not None:
        conditions.append("p.time >= ?")
        values.append(scope.since)
    if scope.until is not None:
        conditions.append("p.time < ?")
        values.append(scope.until)
    return _Where(f"WHERE {' AND '.join(conditions)}" if conditions else "", tuple(values))
