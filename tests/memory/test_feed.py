"""From the journal into the index: what was said, with its neighbours, and without what is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos.events import Message
from llmos.memory import records
from llmos.memory.erase import erase
from llmos.memory.feed import Feed
from llmos.memory.index import Index
from llmos.memory.journal import Journal
from llmos.memory.pages import CONVERSATION


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    await made.close()


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    made = Index(tmp_path / "index", None)
    await made.start()
    yield made
    await made.close()


async def say(journal: Journal, pid: int, *texts: str, role: str = "user") -> None:
    for text in texts:
        await journal.append(pid, Message(role, text))


async def context(index: Index, id: str) -> str:
    with index._words.reading() as db:
        ((found,),) = db.execute("SELECT context FROM passages WHERE id = ?", (id,))
    return str(found)


async def test_the_next_of_a_conversation_is_the_next_of_its_own_process_and_kind(journal):
    first, second = [(await journal.create_process()).pid for _ in range(2)]
    await say(journal, first, "one")
    await say(journal, second, "of another")
    await say(journal, first, "{}", role="window")
    await say(journal, first, "two", "three")
    found = journal.following(1, CONVERSATION)
    assert found is not None and found.stored.message.content == "two"
    assert journal.following(5, CONVERSATION) is None
    assert journal.following(99, CONVERSATION) is None


async def test_of_a_fork_s_parent_the_next_is_its_own_and_not_the_fork_s(journal):
    pid = (await journal.create_process()).pid
    await say(journal, pid, "shared")
    child = (await journal.fork_process(pid)).pid
    await say(journal, child, "of the fork")
    assert journal.following(1, CONVERSATION) is None
    await say(journal, pid, "of the parent")
    found = journal.following(1, CONVERSATION)
    assert found is not None and found.stored.message.content == "of the parent"


async def test_to_find_the_next_record_no_more_than_that_is_read(journal, monkeypatch):
    pid = (await journal.create_process()).pid
    await say(journal, pid, *(f"number {n}" for n in range(50)))
    parsed = []
    parse = records.record
    monkeypatch.setattr(records, "record", lambda row: parsed.append(row["seq"]) or parse(row))
    assert journal.following(7, CONVERSATION).stored.seq == 8
    assert parsed == [8]
    plan = await journal.change(
        lambda db: db.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM messages m WHERE m.pid = 1 AND m.seq > 7"
            " AND m.role IN (SELECT value FROM json_each('[]')) ORDER BY m.seq LIMIT 1"
        ).fetchall()
    )
    told = " ".join(row["detail"] for row in plan)
    assert "TEMP B-TREE" not in told  # nothing is gathered and sorted first


async def test_what_follows_something_erased_does_not_keep_its_end_as_context(journal, index):
    feed = Feed(journal, index)
    pid = (await journal.create_process()).pid
    await say(journal, pid, "The code is swordfish.", "Thank you.", "And now?")
    await feed.catch_up()
    assert "swordfish" in await context(index, "p2")
    erased = await erase(journal, [1], "asked to")
    await feed.without(erased.seqs)
    assert await context(index, "p2") == ""
    assert "Thank you." in await context(index, "p3")
