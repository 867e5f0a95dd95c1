"""Erasing: what was said is removed for good, that something was said stays.

A record's content goes, and with it everything made of it: records that name it among their
sources (what was recalled of it, notes, fronts of a window that quote it), the arguments and the
result's hash of its calls and of those made within them, and titles taken from it. The hash chain
runs over hashes of contents and still holds. Afterwards no file of the journal holds a byte of it.

It doesn't find what merely says the same: a reply that repeats a secret has to be named as well
(``holding`` finds those to the letter). It knows nothing of the index, of snapshots or of logs, and
leaves system prompts to whoever set them.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos.errors import StoreError
from llmos.memory.append import plain, real
from llmos.memory.journal import Journal
from llmos.memory.records import IMPORTED
from llmos.memory.writer import connect, translate

__all__ = ["Erased", "erase", "holding", "reach"]

#: A title this short may stand in a text by accident, unless the text begins with it.
_TITLE_CHARS = 8
#: How often JSON may stand within JSON and is still read: a call's result that quotes another's.
_DEEP = 4


@dataclass(frozen=True, slots=True)
class Erased:
    """What one erasing removed; things erased before are not among it.

    Args:
        seqs: Places of records, derived ones included, ascending.
        ids: Their ids, in the same order.
        calls: Numbers of calls that lost their arguments or the hash of their result.
        titles: Pids of processes that lost their title.
    """

    seqs: tuple[int, ...]
    ids: tuple[str, ...]
    calls: tuple[int, ...]
    titles: tuple[int, ...]


async def erase(
    journal: Journal,
    seqs: Iterable[int],
    reason: str,
    *,
    scrub: bool = True,
    titles: bool = True,
) -> Erased:
    """Remove the contents of records and of all that was made of them.

    When this returns, no file of the journal holds a byte of them. If it is cut off in between
    by a kill, or raises after they were erased, the last bytes go when the journal is next opened.

    Args:
        seqs: Places of records.
        reason: Kept with each erasure; it must not repeat what is erased.
        scrub: Rewrite the file at once. Otherwise the caller does (``Journal.scrub``), once what
            else there is of the contents is gone: a reader that holds the file is no reason to
            leave it there.
        titles: Take titles along that were made of the contents.

    Raises:
        StoreError: There is no such record; or the contents are erased, but there is no room to
            rewrite the file, or another program holds it.
    """
    wanted = sorted(set(seqs))
    now = time.time()

    def write(db: sqlite3.Connection) -> Erased:
        done = _erase(db, wanted, (real(now), plain(reason)), titles=titles)
        journal.ask_scrub(db)
        return done

    done = await journal.change(write)
    if scrub:
        await journal.scrub()
    return done


async def reach(journal: Journal, seqs: Iterable[int]) -> list[int]:
    """Places of the records that ``erase`` would empty: these, and all that was made of them.

    Raises:
        StoreError: There is no such record, or the journal cannot be read.
    """
    return await asyncio.to_thread(_reach, journal.path, sorted(set(seqs)))


def _reach(path: Path, wanted: Sequence[int]) -> list[int]:
    with closing(connect(path)) as db:
        try:
            return sorted(_derived(db, wanted))
        except sqlite3.Error as error:
            raise translate(error, path) from error


async def holding(journal: Journal, text: str) -> list[int]:
    """Places of the records whose content, or whose calls, hold ``text``, whatever its case.

    Reads the whole journal, on a connection of its own.

    Raises:
        StoreError: It cannot be read.
    """
    worn = _worn(text)
    return await asyncio.to_thread(_holding, journal.path, worn) if worn else []


def _holding(path: Path, worn: str) -> list[int]:
    with closing(connect(path)) as db:
        try:
            rows = db.execute("SELECT seq, body FROM contents ORDER BY seq")
            return [row["seq"] for row in rows if _holds(json.loads(row["body"]), worn)]
        except sqlite3.Error as error:
            raise translate(error, path) from error


def _worn(text: str) -> str:
    """A text without what tells two writings of it apart: case, and how it is spaced."""
    return " ".join(text.split()).casefold()


def _holds(value: Any, text: str, deep: int = _DEEP) -> bool:
    """Whether a string somewhere in the JSON value holds ``text``, a worn one.

    A string that is JSON itself, such as what a memory or a window's record says, or a call gave
    back, is looked at both as it is written and for what it says.
    """
    if isinstance(value, str):
        return text in _worn(value) or (deep > 0 and _holds(_inner(value), text, deep - 1))
    if isinstance(value, dict):
        return any(_holds(item, text, deep) for pair in value.items() for item in pair)
    return isinstance(value, list) and any(_holds(item, text, deep) for item in value)


def _inner(written: str) -> Any:
    """What a string says that is JSON and writes something otherwise than it is; else None."""
    if "\\" not in written or written.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return None


def _erase(
    db: sqlite3.Connection, wanted: Sequence[int], why: tuple[float, str], *, titles: bool
) -> Erased:
    ids = _derived(db, wanted)
    texts: list[str] = []
    seqs: list[int] = []
    calls: list[int] = []
    for seq in sorted(ids):
        row = db.execute(
            "SELECT m.pid, m.turn, m.role, m.call_id, c.body FROM messages m"
            " LEFT JOIN contents c USING (seq) WHERE seq = ?",
            (seq,),
        ).fetchone()
        calls += _erase_calls(db, row, why, texts)
        if db.execute("INSERT OR IGNORE INTO erasures VALUES (?, ?, ?)", (seq, *why)).rowcount:
            seqs.append(seq)
        db.execute("DELETE FROM contents WHERE seq = ?", (seq,))
    untitled = _erase_titles(db, texts) if titles else ()
    return Erased(tuple(seqs), tuple(ids[seq] for seq in seqs), tuple(calls), untitled)


def _derived(db: sqlite3.Connection, wanted: Sequence[int]) -> dict[int, str]:
    """Places and ids of the records ``wanted`` and of all that were made of them, over any steps.

    Raises:
        StoreError: One of ``wanted`` does not exist.
    """
    found: dict[int, str] = {}
    for seq in wanted:
        row = db.execute("SELECT id FROM messages WHERE seq = ?", (seq,)).fetchone()
        if row is None:
            raise StoreError(f"There is no message {seq}.")
        found[seq] = row["id"]
    gone = {name for id in found.values() for name in (id, IMPORTED + id)}
    while True:  # one round finds nearly all: what is made of a record stands behind it
        before = len(found)
        for row in db.execute("SELECT seq, id, sources FROM messages WHERE sources <> '[]'"):
            if row["seq"] not in found and not gone.isdisjoint(json.loads(row["sources"])):
                found[row["seq"]] = row["id"]
                gone |= {row["id"], IMPORTED + row["id"]}
        if len(found) == before:
            return found


def _erase_calls(
    db: sqlite3.Connection, row: sqlite3.Row, why: tuple[float, str], texts: list[str]
) -> list[int]:
    """Erase what a record's calls were told, or what the hash of its result gives away.

    Args:
        texts: Gets what the record said, for titles made of it.
    """
    body: dict[str, Any] = {"content": "", "calls": []}
    if row["body"] is not None:
        body = json.loads(row["body"])
    texts.append(body["content"])
    made = [call[0] for call in body["calls"]]
    told = "arguments = '{}', " if made else ""
    answered = [row["call_id"]] if row["role"] == "tool" else []
    erased = []
    for number, arguments in _calls(db, row, made or answered):
        if made:
            texts.extend(_strings(json.loads(arguments)))
        db.execute("INSERT OR IGNORE INTO call_erasures VALUES (?, ?, ?)", (number, *why))
        db.execute(
            f"UPDATE calls SET {told} result_hash = NULL, result_bytes = NULL WHERE number = ?",
            (number,),
        )
        erased.append(number)
    return erased


def _calls(db: sqlite3.Connection, row: sqlite3.Row, ids: Sequence[str]) -> Iterator[Any]:
    """Numbers and arguments of calls in a record's turn, and of those made within them.

    What a call makes, such as code or the reader, stands in a record that tells which call made it.
    Of an older one nothing tells: it follows the call that made it, before those of the turn's next
    message, and one side by side with it may be taken along.
    """
    if not ids:
        return
    bodies = db.execute(
        "SELECT c.body FROM messages m JOIN contents c USING (seq)"
        " WHERE m.pid = ? AND m.turn = ? AND m.role = 'assistant'",
        (row["pid"], row["turn"]),
    )
    messages = [{call[0] for call in json.loads(body)["calls"]} for (body,) in bodies]
    beside = next((each for each in messages if not each.isdisjoint(ids)), set())
    makers: dict[str, str] = dict(
        db.execute(
            "SELECT call_id, name FROM messages WHERE pid = ? AND turn = ? AND role = 'nested'",
            (row["pid"], row["turn"]),
        ).fetchall()
    )
    within = False
    for number, call_id, arguments in db.execute(
        "SELECT number, call_id, arguments FROM calls WHERE pid = ? AND turn = ? ORDER BY number",
        (row["pid"], row["turn"]),
    ).fetchall():
        if call_id in makers:  # the chain ends where the model's own calls begin
            if any(id in ids for id in _up(call_id, makers)):
                yield number, arguments
            continue
        if call_id in ids:
            within = True
        elif any(call_id in each for each in messages):
            within = within and call_id in beside
            continue
        if within:
            yield number, arguments


def _up(call_id: str, makers: Mapping[str, str]) -> Iterator[str]:
    """A call, the one that made it, and so on."""
    for _ in range(len(makers) + 1):  # a damaged journal may go in circles
        yield call_id
        if call_id not in makers:
            return
        call_id = makers[call_id]


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _erase_titles(db: sqlite3.Connection, texts: Iterable[str]) -> tuple[int, ...]:
    """Take away titles that were made of ``texts``, also where a fork or a child has them."""
    lines = [line for text in texts if (line := " ".join(text.split()))]
    pids = tuple(
        row["pid"]
        for row in db.execute("SELECT pid, title FROM processes WHERE title <> ''").fetchall()
        if any(_made_of(row["title"], line) for line in lines)
    )
    for pid in pids:
        db.execute("UPDATE processes SET title = '' WHERE pid = ?", (pid,))
    return pids


def _made_of(title: str, line: str) -> bool:
    stem = " ".join(title.split()).removesuffix("…").rstrip()
    if not stem:
        return False
    within = len(stem) >= _TITLE_CHARS and stem in line
    return line.startswith(stem) or within or (len(line) >= _TITLE_CHARS and line in stem)
