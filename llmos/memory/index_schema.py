"""The tables of the index's file, what stands in them for a passage, and whether they agree.

There are no migrations: a file of another version is put aside and made anew.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from typing import TypeAlias

from llmos import limits
from llmos.errors import StoreCorrupt
from llmos.memory.passages import Passage
from llmos.memory.terms import TOKENIZER, indexed, storable

__all__ = [
    "COLUMNS",
    "ENTRIES",
    "MIRRORED",
    "UNMIRRORED",
    "Row",
    "index_words",
    "passage",
    "prepare",
    "problems",
    "values",
]

VERSION = 1  #: of the tables and of what ``terms.indexed`` makes of a text
APPLICATION_ID = 0x6C6C6D69  # "llmi" in the file's header
COLUMNS = "n, id, source, pid, place, time, text, context, speaker"

#: Of a row of ``vectors``: whether Chroma has it, and how many entries that makes there.
_UPTO = "coalesce((SELECT value FROM meta WHERE key = 'mirrored'), 0)"
MIRRORED, UNMIRRORED = f"n <= {_UPTO}", f"n > {_UPTO}"
_HALVES = "substr(pair, 1, length(pair) / 2) = substr(pair, length(pair) / 2 + 1)"
ENTRIES = f"CASE WHEN pair = x'' THEN 0 WHEN {_HALVES} THEN 1 ELSE 2 END"

#: ``COLUMNS`` of a passage.
Row: TypeAlias = tuple[int, str, str, int, str, float, str, str, str]

_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE cursors (name TEXT PRIMARY KEY, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE passages (
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
    pid INTEGER NOT NULL, place TEXT NOT NULL, time REAL NOT NULL, text TEXT NOT NULL,
    context TEXT NOT NULL, speaker TEXT NOT NULL);
CREATE INDEX passages_pid ON passages (pid, source, time);
CREATE INDEX passages_source ON passages (source, time);
-- Of the text, then of the text with its context; float16 each. Empty: could not be made.
CREATE TABLE vectors (n INTEGER PRIMARY KEY, pair BLOB NOT NULL);
-- Still to be taken out of the copy that Chroma has, with how many entries each has there.
CREATE TABLE gone (n INTEGER PRIMARY KEY, entries INTEGER NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (
    text, context, scope, content = '', tokenize = '{TOKENIZER}');
"""
_TABLES = set(re.findall(r"TABLE (\w+)", _SCHEMA))


def passage(row: Row) -> Passage:
    """The passage of a row of ``COLUMNS``."""
    return Passage(*row[1:])


def values(one: Passage) -> tuple[str, str, int, str, float, str, str, str]:
    """``COLUMNS`` of a passage but for ``n``."""
    return (
        storable(one.id),
        storable(one.source),
        one.pid,
        storable(one.place),
        one.time if abs(one.time) < float("inf") else 0.0,
        storable(one.text),
        storable(one.context),
        storable(one.speaker),
    )


def index_words(db: sqlite3.Connection, row: Row, *, delete: bool = False) -> None:
    """Put a passage's words in, or take out what was put in for the same row."""
    n, _, source, pid, _, _, text, context, speaker = row
    given = (n, indexed(text), indexed(f"{speaker} {context}"), f"pid{pid} source{source}")
    if delete:
        db.execute(
            "INSERT INTO words (words, rowid, text, context, scope) VALUES ('delete', ?, ?, ?, ?)",
            given,
        )
    else:
        db.execute("INSERT INTO words (rowid, text, context, scope) VALUES (?, ?, ?, ?)", given)


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables in an empty file; see that those of another are of this version.

    Raises:
        StoreCorrupt: They are not.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables:
        db.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f"PRAGMA user_version = {VERSION}; COMMIT;"
        )
    elif (application, version) != (APPLICATION_ID, VERSION):
        raise StoreCorrupt(f"it is of version {version}, not {VERSION}")
    else:
        there = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        if missing := sorted(_TABLES - there):
            raise StoreCorrupt(f"its table {missing[0]} is missing")


_DISAGREEMENTS = (
    (
        "passages WHERE n NOT IN (SELECT id FROM words_docsize)",
        "{} passages of the search index have no words.",
    ),
    (
        "words_docsize WHERE id NOT IN (SELECT n FROM passages)",
        "The search index has the words of {} passages that are not there.",
    ),
    (
        "vectors WHERE n NOT IN (SELECT n FROM passages)",
        "The search index has the vectors of {} passages that are not there.",
    ),
)


def problems(db: sqlite3.Connection) -> Iterator[str]:
    """A sentence for each thing that is wrong. Reads the whole file."""
    said = [row[0] for row in db.execute(f"PRAGMA integrity_check({limits.STORE_PROBLEMS})")]
    yield from (f"The search index's file is damaged: {line}." for line in said if line != "ok")
    try:
        db.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        yield f"The words of the search index are damaged ({error})."
    for sql, sentence in _DISAGREEMENTS:
        (count,) = db.execute(f"SELECT count(*) FROM {sql}").fetchone()
        if count:
            yield sentence.format(count)
    sql = "SELECT length(pair), count(*) FROM vectors WHERE length(pair) GROUP BY 1 ORDER BY 2 DESC"
    for size, count in db.execute(sql).fetchall()[1:]:
        yield f"{count} vectors of the search index have {size} bytes, unlike the others."
