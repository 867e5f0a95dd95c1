"""The journal's tables, as a list of named migrations, and its hash chain.

To change the schema, append a function to ``MIGRATIONS``; never edit one that was released. Each
runs once, in a transaction of its own, and its name is kept in the table ``migrations``.

What a message says (``contents``) is kept apart from the record that it was said (``messages``).
The chain runs over the records, which hold only a salted hash of the content; so a content may be
erased one day and the chain still holds, and the hash that stays doesn't betray a short content.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import Any

from llmos.errors import StoreCorrupt, StoreError

__all__ = ["GENESIS", "MIGRATIONS", "content_hash", "migrate", "record_hash", "to_json"]

#: "llmo" in the file's header: this SQLite file is a journal.
APPLICATION_ID = 0x6C6C6D6F
#: What the first record of a journal is chained to.
GENESIS = bytes(32)
#: The columns of ``messages`` that its hash covers.
CHAINED = (
    *("seq", "id", "pid", "turn", "time", "role", "call_id", "name", "error", "seconds"),
    *("partial", "origin", "sources", "content_hash"),
)


def to_json(value: Any, *, sort: bool = False) -> str:
    """``value`` as compact JSON text.

    Characters stay readable, unless there is a lone surrogate among them, which UTF-8 can't hold.
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=sort, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, ensure_ascii=True, sort_keys=sort, separators=(",", ":"))
    return text


def content_hash(salt: bytes, body: str) -> bytes:
    """The hash of a message's content as it is stored."""
    return hashlib.sha256(salt + body.encode()).digest()


def record_hash(previous: bytes, row: Mapping[str, Any]) -> bytes:
    """The hash of a row of ``messages``, chained to the hash of the row before it."""
    fields = {key: row[key] for key in CHAINED}
    fields["content_hash"] = row["content_hash"].hex()
    return hashlib.sha256(previous + to_json(fields, sort=True).encode()).digest()


def _m001_journal(db: sqlite3.Connection) -> None:
    """Processes, messages, calls and turns."""
    refuse = "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    for statement in (
        # AUTOINCREMENT everywhere: SQLite would otherwise give a number out twice.
        """CREATE TABLE processes (
            pid INTEGER PRIMARY KEY AUTOINCREMENT,
            title TEXT NOT NULL,
            system TEXT NOT NULL,
            priority TEXT NOT NULL,
            parent INTEGER REFERENCES processes (pid),
            fork_seq INTEGER,  -- last message shared with the parent; NULL: not a fork
            budget TEXT NOT NULL,
            created REAL NOT NULL,
            ended REAL,
            reason TEXT NOT NULL DEFAULT ''
        )""",
        """CREATE TABLE messages (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            pid INTEGER NOT NULL REFERENCES processes (pid),
            turn INTEGER NOT NULL,
            time REAL NOT NULL,
            role TEXT NOT NULL,
            call_id TEXT NOT NULL,
            name TEXT NOT NULL,
            error TEXT NOT NULL,
            seconds REAL NOT NULL,
            partial INTEGER NOT NULL,
            origin INTEGER NOT NULL,
            sources TEXT NOT NULL,
            content_hash BLOB NOT NULL,
            hash BLOB NOT NULL
        )""",
        "CREATE INDEX messages_of_process ON messages (pid, seq)",
        """CREATE TABLE contents (
            seq INTEGER PRIMARY KEY REFERENCES messages (seq),
            salt BLOB NOT NULL,
            body TEXT NOT NULL
        )""",
        """CREATE TABLE erasures (
            seq INTEGER PRIMARY KEY REFERENCES messages (seq),
            time REAL NOT NULL,
            reason TEXT NOT NULL
        )""",
        """CREATE TABLE calls (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            pid INTEGER NOT NULL REFERENCES processes (pid),
            turn INTEGER NOT NULL,
            call_id TEXT NOT NULL,
            name TEXT NOT NULL,
            arguments TEXT NOT NULL,
            started REAL NOT NULL,
            finished REAL,
            seconds REAL,
            error TEXT,
            result_hash BLOB,
            result_bytes INTEGER
        )""",
        "CREATE INDEX calls_of_process ON calls (pid, number)",
        "CREATE INDEX calls_open ON calls (number) WHERE finished IS NULL",
        """CREATE TABLE turns (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            pid INTEGER NOT NULL REFERENCES processes (pid),
            turn INTEGER NOT NULL,
            time REAL NOT NULL,
            reason TEXT NOT NULL,
            tokens INTEGER NOT NULL,
            seconds REAL NOT NULL
        )""",
        "CREATE INDEX turns_of_process ON turns (pid)",
        f"CREATE TRIGGER messages_no_update BEFORE UPDATE ON messages {refuse}",
        f"CREATE TRIGGER messages_no_delete BEFORE DELETE ON messages {refuse}",
        f"CREATE TRIGGER contents_no_update BEFORE UPDATE ON contents {refuse}",
        "CREATE TRIGGER contents_no_delete BEFORE DELETE ON contents "
        f"WHEN NOT EXISTS (SELECT 1 FROM erasures WHERE seq = OLD.seq) {refuse}",
        f"CREATE TRIGGER erasures_no_update BEFORE UPDATE ON erasures {refuse}",
        f"CREATE TRIGGER erasures_no_delete BEFORE DELETE ON erasures {refuse}",
        f"CREATE TRIGGER processes_no_delete BEFORE DELETE ON processes {refuse}",
        "CREATE TRIGGER processes_no_update BEFORE UPDATE OF pid, parent, fork_seq, created "
        f"ON processes {refuse}",
        f"CREATE TRIGGER calls_no_update BEFORE UPDATE ON calls "
        f"WHEN OLD.finished IS NOT NULL {refuse}",
        f"CREATE TRIGGER calls_no_delete BEFORE DELETE ON calls {refuse}",
        f"CREATE TRIGGER turns_no_update BEFORE UPDATE ON turns {refuse}",
        f"CREATE TRIGGER turns_no_delete BEFORE DELETE ON turns {refuse}",
    ):
        db.execute(statement)


def _m002_turns(db: sqlite3.Connection) -> None:
    """What a restart takes up again: the window's fill, who pays for whom, open turns at once."""
    for statement in (
        "ALTER TABLE turns ADD COLUMN context_tokens INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE processes ADD COLUMN employed INTEGER NOT NULL DEFAULT 0",  # parent pays
        "CREATE INDEX messages_of_turn ON messages (pid, turn, role)",
        "CREATE INDEX calls_of_turn ON calls (pid, turn)",
        "CREATE INDEX turns_by_number ON turns (pid, turn)",
    ):
        db.execute(statement)


def _m003_erasing(db: sqlite3.Connection) -> None:
    """What calls were told can be erased too, and a salvaged journal says what it lacks."""
    refuse = "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    for statement in (
        """CREATE TABLE call_erasures (
            number INTEGER PRIMARY KEY REFERENCES calls (number),
            time REAL NOT NULL,
            reason TEXT NOT NULL
        )""",
        """CREATE TABLE losses (  -- runs of messages that were gone when a journal was salvaged
            first INTEGER PRIMARY KEY,
            last INTEGER NOT NULL,
            time REAL NOT NULL
        )""",
        "CREATE TABLE chores (name TEXT PRIMARY KEY)",  # begun and not finished when it was killed
        "DROP TRIGGER calls_no_update",
        "CREATE TRIGGER calls_no_update BEFORE UPDATE OF number, pid, turn, call_id, name, started,"
        f" finished, seconds, error ON calls WHEN OLD.finished IS NOT NULL {refuse}",
        "CREATE TRIGGER calls_no_rewrite BEFORE UPDATE OF arguments ON calls WHEN NEW.arguments"
        " <> '{}' OR NOT EXISTS (SELECT 1 FROM call_erasures WHERE number = OLD.number)"
        f" {refuse}",
        "CREATE TRIGGER calls_no_result BEFORE UPDATE OF result_hash, result_bytes ON calls"
        " WHEN OLD.finished IS NOT NULL AND (NEW.result_hash IS NOT NULL"
        " OR NEW.result_bytes IS NOT NULL"
        f" OR NOT EXISTS (SELECT 1 FROM call_erasures WHERE number = OLD.number)) {refuse}",
        f"CREATE TRIGGER call_erasures_no_update BEFORE UPDATE ON call_erasures {refuse}",
        f"CREATE TRIGGER call_erasures_no_delete BEFORE DELETE ON call_erasures {refuse}",
        f"CREATE TRIGGER losses_no_update BEFORE UPDATE ON losses {refuse}",
        f"CREATE TRIGGER losses_no_delete BEFORE DELETE ON losses {refuse}",
    ):
        db.execute(statement)


def _m004_roles(db: sqlite3.Connection) -> None:
    """All records of a role at once: what is remembered, what was derived."""
    db.execute("CREATE INDEX messages_of_role ON messages (role, seq)")


def _m005_effects(db: sqlite3.Connection) -> None:
    """What effect a call had by its declaration when it was made; unknown of those before."""
    refuse = "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
    db.execute("ALTER TABLE calls ADD COLUMN effect TEXT")
    db.execute(f"CREATE TRIGGER calls_no_effect BEFORE UPDATE OF effect ON calls {refuse}")


MIGRATIONS: list[Callable[[sqlite3.Connection], None]] = [
    _m001_journal,
    _m002_turns,
    _m003_erasing,
    _m004_roles,
    _m005_effects,
]


def _name(migration: Callable[[sqlite3.Connection], None]) -> str:
    return migration.__name__.strip("_")


def migrate(db: sqlite3.Connection) -> None:
    """Bring the journal to the newest schema.

    Args:
        db: A connection without a running transaction.

    Raises:
        StoreCorrupt: It is a database, but not a journal.
        StoreError: A newer llmos wrote it.
    """
    file = db.execute("PRAGMA database_list").fetchone()[2]
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if tables and (application != APPLICATION_ID or "migrations" not in tables):
        raise StoreCorrupt(
            f"{file} is a database of another program, not an llmos journal.",
            remedy="Move it away, or choose another state directory.",
        )
    if not tables:
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied REAL NOT NULL)"
        )
        db.execute("COMMIT")
    applied = {row[0] for row in db.execute("SELECT name FROM migrations")}
    unknown = applied - {_name(migration) for migration in MIGRATIONS}
    if unknown:
        raise StoreError(
            f"{file} was written by a newer llmos (it has {', '.join(sorted(unknown))}).",
            remedy="Update llmos, or choose another state directory.",
        )
    for migration in MIGRATIONS:
        if _name(migration) in applied:
            continue
        db.execute("BEGIN IMMEDIATE")
        try:
            row = (_name(migration), time.time())
            # First, so that of two openers the second waits here and then finds it applied.
            if db.execute("INSERT OR IGNORE INTO migrations VALUES (?, ?)", row).rowcount:
                migration(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
