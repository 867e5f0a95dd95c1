"""What was called: every system call with what it read, who allowed it and how it went.

Read from the journal's file on a connection of its own, also beside a running kernel, and without
one. Calls are no links of the hash chain, but what they say is bound to it (``proof.py``).

The effect of a call is the one that was declared when it was made. Of calls that were kept before
effects were, or that were imported, it is what the reader of the trail is told.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos import limits
from llmos.errors import NoSuchProcess
from llmos.labels import PRIVATE, Origin
from llmos.memory.pages import Kind
from llmos.memory.writer import connect, translate

__all__ = ["DENIED", "EFFECTS", "Traced", "trail"]

#: Effects on the world outside; what is declared otherwise concerns nobody but the caller.
EFFECTS = frozenset({"write", "execute", "egress"})
#: Errors of calls that were never made.
DENIED = frozenset({"denied", "unknown_call", "invalid_arguments", "budget_exceeded"})

#: Pid, turn and id of a call; the ids of one turn may repeat.
_Key = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Traced:
    """One system call.

    Args:
        number: Its place among all calls of the journal.
        pid / turn: Who made it.
        id: The model's own name for it.
        time: When it began, in seconds since the epoch.
        name / arguments: What was called; without arguments where they were erased.
        effect: As its declaration had it; empty where nobody declared it.
        read: Who wrote what it gave: ``system``, ``user``, ``model``, ``plugin``, ``untrusted``;
            empty where it gave nothing.
        private: What it gave is the person's own.
        verdict: ``made``, what a person answered (``once``, ``conversation``, ``always``, ``no``,
            ``nobody``) or which grant allowed it (``granted g12``); empty where it was harmless.
        question: What the person was asked, a sentence.
        bytes: Length of the result.
        seconds: How long it took.
        error: Stable code; empty when it succeeded.
        finished: False for one that is under way.
        erased: What it was told was erased.
        inner: A call made it, as code or the reader do; no message of the model's names it.
        by: The name of that call; empty where it is not known.
    """

    number: int
    pid: int
    turn: int
    id: str
    time: float
    name: str
    arguments: dict[str, Any]
    effect: str = ""
    read: str = ""
    private: bool = False
    verdict: str = ""
    question: str = ""
    bytes: int = 0
    seconds: float = 0.0
    error: str = ""
    finished: bool = True
    erased: bool = False
    inner: bool = False
    by: str = ""

    @property
    def made(self) -> bool:
        """Whether it was begun: it may have had its effect even where it failed."""
        return self.error not in DENIED

    @property
    def effected(self) -> bool:
        """Whether it may have changed something outside; one that nobody declares may have."""
        return self.made and (not self.effect or self.effect in EFFECTS)


def trail(
    path: Path,
    pid: int = 0,
    *,
    effect: Callable[[str], str] = lambda _name: "",
    after: int = 0,
    most: int = limits.TRACE_CALLS,
) -> list[Traced]:
    """The calls of a process, or (0) of all, oldest first.

    Args:
        path: The journal.
        pid: Calls of its ancestors, where it was forked, are theirs.
        effect: Gives the effect of a call with which none was kept, by its name; empty for one
            it does not know.
        after: Only those behind this number.
        most: Of these the first.

    Raises:
        NoSuchProcess: There is no ``pid``.
        StoreError: The journal cannot be read.
    """
    with closing(connect(path)) as db:
        try:
            db.execute("BEGIN")
            if pid and not db.execute("SELECT 1 FROM processes WHERE pid = ?", (pid,)).fetchone():
                raise NoSuchProcess(f"There is no process {pid}.")
            rows = db.execute(
                "SELECT c.*, e.number AS gone FROM calls c LEFT JOIN call_erasures e USING (number)"
                " WHERE ? IN (0, c.pid) AND c.number > ? ORDER BY c.number LIMIT ?",
                (pid, after, most),
            ).fetchall()
            results, verdicts = _beside(db, pid, Kind.TOOL), _beside(db, pid, Kind.VERDICT)
            makers = _makers(db, pid)
            return [_traced(row, results, verdicts, makers, effect) for row in rows]
        except sqlite3.Error as error:
            raise translate(error, path) from error


def _beside(db: sqlite3.Connection, pid: int, role: Kind) -> dict[_Key, deque[sqlite3.Row]]:
    """Records of a role that belong to calls, by these; without the bodies of results."""
    body = "c.body" if role is Kind.VERDICT else "NULL AS body"
    found: dict[_Key, deque[sqlite3.Row]] = defaultdict(deque)
    for row in db.execute(
        f"SELECT m.pid, m.turn, m.call_id, m.name, m.origin, m.sources, {body} FROM messages m"
        " LEFT JOIN contents c USING (seq) WHERE m.role = ? AND ? IN (0, m.pid) ORDER BY m.seq",
        (str(role), pid),
    ):
        found[row["pid"], row["turn"], row["call_id"]].append(row)
    return found


def _makers(db: sqlite3.Connection, pid: int) -> dict[_Key, str]:
    """Of calls that calls made, the name of the one that did; empty where it is not known."""
    rows = db.execute(
        "SELECT m.pid, m.turn, m.call_id, (SELECT c.name FROM calls c WHERE c.pid = m.pid"
        " AND c.turn = m.turn AND c.call_id = m.name ORDER BY c.number LIMIT 1) AS maker"
        " FROM messages m WHERE m.role = ? AND ? IN (0, m.pid)",
        (str(Kind.NESTED), pid),
    )
    return {(row["pid"], row["turn"], row["call_id"]): row["maker"] or "" for row in rows}


def _traced(
    row: sqlite3.Row,
    results: dict[_Key, deque[sqlite3.Row]],
    verdicts: dict[_Key, deque[sqlite3.Row]],
    makers: dict[_Key, str],
    effect: Callable[[str], str],
) -> Traced:
    key = (row["pid"], row["turn"], row["call_id"])
    result = results[key].popleft() if results.get(key) else None
    verdict = verdicts[key].popleft() if verdicts.get(key) else None
    arguments = json.loads(row["arguments"])
    kept = row["effect"] if "effect" in row.keys() else ""  # noqa: SIM118 - a row is no mapping
    return Traced(
        number=row["number"],
        pid=row["pid"],
        turn=row["turn"],
        id=row["call_id"],
        time=row["started"],
        name=row["name"],
        arguments=arguments if isinstance(arguments, dict) else {},
        effect=kept or effect(row["name"]),
        read=_origin(result["origin"]) if result is not None else "",
        private=result is not None and PRIVATE in json.loads(result["sources"]),
        verdict=(verdict["name"] or "nobody") if verdict is not None else "",
        question=_question(verdict),
        bytes=row["result_bytes"] or 0,
        seconds=row["seconds"] or 0.0,
        error=row["error"] or "",
        finished=row["finished"] is not None,
        erased=row["gone"] is not None,
        inner=key in makers,
        by=makers.get(key, ""),
    )


def _origin(value: int) -> str:
    known = value in list(Origin)
    return Origin(value if known else Origin.UNTRUSTED).name.lower()


def _question(verdict: sqlite3.Row | None) -> str:
    if verdict is None or verdict["body"] is None:
        return ""
    try:
        asked = json.loads(json.loads(verdict["body"])["content"])
        return str(asked.get("title", "")) if isinstance(asked, dict) else ""
    except (ValueError, KeyError, TypeError):
        return ""
