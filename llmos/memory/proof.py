"""Whether calls are what the hash chain says: made as they were written, and as they were allowed.

Calls are no links of the chain, but records that are name each of them: the model's message those
it wrote, a record of their own those that a call made in turn, the result what came of it, and a
verdict each that has an effect. Here the one is held against the other.

Of calls that were kept before effects were, and of imported ones, less is asked: no record told who
made them within another call, and no verdict comes along. A call that is not in the journal at all
is not missed.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from llmos.memory.check import Progress, sentences, silent
from llmos.memory.pages import Kind
from llmos.memory.trail import EFFECTS

__all__ = ["unproven"]

#: Pid, turn and id of a call; the ids of one turn may repeat.
_Key: TypeAlias = tuple[int, int, str]
#: Errors of calls that were made for certain; others can come before the person is asked.
_RAN = frozenset({"", "code_raised"})
#: The same where the person was asked: what a call would change was shown before that, in time.
_RAN_ASKED = _RAN | {"call_timeout"}
#: Answers by which a call is not made: no, and nobody there.
_REFUSED = frozenset({"no", ""})


@dataclass(slots=True)
class _Said:
    """What chained records say of calls."""

    calls: dict[_Key, list[tuple[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    nested: dict[_Key, str] = field(default_factory=dict)  # the effect of each
    gone: set[_Key] = field(default_factory=set)  # erased, without an id the whole turn's
    # By the effect that each verdict is about; empty where it was kept before they were.
    allowed: dict[_Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    refused: dict[_Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    whole: bool = True  # none of them was lost

    def of(self, row: sqlite3.Row) -> None:
        """Take in a record."""
        key = (row["pid"], row["turn"], row["call_id"])
        body = json.loads(row["body"]) if row["body"] is not None else None
        if row["role"] == Kind.VERDICT:
            verdicts = self.refused if row["name"] in _REFUSED else self.allowed
            verdicts[key][_effect_in(body) if body is not None else ""] += 1
        elif body is None:
            self.gone.add(key if row["role"] == Kind.NESTED else (*key[:2], ""))
        else:
            for id, name, arguments in body["calls"]:
                self.calls[(*key[:2], id)].append((name, arguments))
            if row["role"] == Kind.NESTED:
                self.nested[key] = _effect_in(body)

    def told(self, key: _Key) -> bool:
        """Whether it can be known what a call was to be."""
        return key not in self.gone and (*key[:2], "") not in self.gone


def unproven(path: Path, progress: Progress = silent) -> list[str]:
    """Calls that say something else than the chained records they belong to. Reads all of it.

    Returns:
        One sentence a problem, at most ``limits.STORE_PROBLEMS``.
    """
    return sentences(path, _unproven, progress)


def _unproven(db: sqlite3.Connection, progress: Progress) -> Iterator[str]:
    progress("the calls", 0, 0)
    said = _said(db)
    judged = {key: said.allowed[key] + said.refused[key] for key in (*said.allowed, *said.refused)}
    made: dict[_Key, list[tuple[int, str, str | None]]] = defaultdict(list)
    for row in db.execute(
        "SELECT c.* FROM calls c WHERE NOT EXISTS"
        " (SELECT 1 FROM call_erasures e WHERE e.number = c.number) ORDER BY c.number"
    ):
        key = (row["pid"], row["turn"], row["call_id"])
        called = f"Call {row['number']} ({row['name']})"
        effect = row["effect"] if "effect" in row.keys() else None  # noqa: SIM118 - no mapping
        written = (row["name"], json.loads(row["arguments"]))
        if said.told(key) and written not in said.calls.get(key, ()):
            older = effect is None and key not in said.calls and _inside(db, row)
            if said.whole and not older:
                yield f"{called} is not what the model wrote."
        if effect and said.nested.get(key, effect) != effect:
            yield _other(called)
        made[key].append((row["number"], row["name"], effect))
        if row["finished"] is not None and not _allowed(said, key, effect or "", row["error"]):
            yield f"{called} was made though nobody allowed it."
        yield from _result(db, row)
    for key, verdicts in judged.items():
        del verdicts[""]
        had = [effect for _, _, effect in made.get(key, [])]
        if None in had or len(had) < verdicts.total():  # older, or some were erased
            continue
        if verdicts - Counter(effect or "" for effect in had):
            number, name, _ = made[key][0]
            yield _other(f"Call {number} ({name})")


def _said(db: sqlite3.Connection) -> _Said:
    said = _Said()
    for row in db.execute(
        "SELECT m.role, m.pid, m.turn, m.call_id, m.name, c.body FROM messages m"
        " LEFT JOIN contents c USING (seq) WHERE m.role IN (?, ?) OR m.role = ?"
        " AND (c.body IS NULL OR c.body NOT LIKE '%\"calls\":[]%') ORDER BY m.seq",
        (str(Kind.NESTED), str(Kind.VERDICT), str(Kind.ASSISTANT)),
    ):
        said.of(row)
    (missing,) = db.execute("SELECT coalesce(max(seq), 0) - count(*) FROM messages").fetchone()
    said.whole = not missing  # of a salvaged journal, what a call was to be may be lost
    return said


def _effect_in(body: dict[str, Any]) -> str:
    """The effect that a record tells; empty for one that was kept before they were."""
    try:
        told = json.loads(body["content"])
    except ValueError:  # of an import: a file may say anything
        return ""
    return str(told.get("effect", "")) if isinstance(told, dict) else ""


def _other(called: str) -> str:
    return f"{called} had another effect when it was made than is kept of it."


def _inside(db: sqlite3.Connection, call: sqlite3.Row) -> bool:
    """Whether a call was made while another of its turn ran, as code and the reader do."""
    sql = (
        "SELECT 1 FROM calls WHERE pid = ? AND turn = ? AND number < ?"
        " AND (finished IS NULL OR finished >= ?)"
    )
    where = (call["pid"], call["turn"], call["number"], call["started"])
    return db.execute(sql, where).fetchone() is not None


def _allowed(said: _Said, key: _Key, effect: str, error: str) -> bool:
    """Whether a call was not made, or somebody allowed it, or nobody had to."""
    if error not in _RAN_ASKED:
        return True
    for kind in (effect, ""):
        if said.allowed[key][kind] > 0:
            said.allowed[key][kind] -= 1  # of two that bear one id, one may have been refused
            return True
    if effect and effect not in EFFECTS:  # asked all the same, where the settings say so
        return not said.refused[key][effect]
    if said.refused[key].total():
        return False
    return not (effect and said.whole and error in _RAN)


def _result(db: sqlite3.Connection, call: sqlite3.Row) -> Iterator[str]:
    """Problems of a call's result."""
    bodies = [
        row["body"]
        for row in db.execute(
            "SELECT c.body FROM messages m LEFT JOIN contents c USING (seq)"
            " WHERE m.pid = ? AND m.turn = ? AND m.call_id = ? AND m.role = ?",
            (call["pid"], call["turn"], call["call_id"], str(Kind.TOOL)),
        )
    ]
    if bodies and None not in bodies and call["result_hash"] is not None:
        texts = (json.loads(body)["content"].encode("utf-8", "surrogatepass") for body in bodies)
        if all(hashlib.sha256(text).digest() != call["result_hash"] for text in texts):
            yield f"The result of call {call['number']} ({call['name']}) is not what was kept."
