"""Erasing: the text is gone from every byte on the disk, and the chain still holds."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llmos.errors import StoreError
from llmos.events import Message, ToolCall
from llmos.labels import Label, Origin
from llmos.memory.erase import erase, holding
from llmos.memory.journal import Journal

SECRET = "the-vault-opens-with-8271"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    journal = Journal(path)
    yield journal
    await journal.close()


def said(text: str, role: str = "user") -> Message:
    return Message(role, text)


def bytes_below(folder: Path) -> bytes:
    """All bytes of all files of the state directory, the log's and the index's too."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def test_an_erased_text_is_in_no_file_while_the_journal_is_open(
    journal: Journal, path: Path
) -> None:
    pid = (await journal.create_process()).pid
    await journal.append(pid, said("before"))
    secret = await journal.append(pid, said(f"I tell you: {SECRET}. " * 500))
    await journal.append(pid, said("after"))
    assert SECRET.encode() in bytes_below(path.parent)
    done = await erase(journal, [secret.seq], "asked to")
    assert done.seqs == (secret.seq,)
    assert done.ids == (secret.id,)
    assert {file.name for file in path.parent.iterdir()} >= {"journal.db", "journal.db-wal"}
    assert SECRET.encode() not in bytes_below(path.parent)
    assert journal.verify() == []
    records = journal.records(pid)
    assert [r.stored.message.content for r in records] == ["before", "", "after"]
    assert [r.erased for r in records] == [False, True, False]


async def test_no_copy_survives_however_rows_were_moved_about(path: Path) -> None:
    """Rows that move to another page leave copies behind in the gaps."""
    dice = random.Random(3)
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    texts = {}
    for n in range(300):
        text = f"<{n:04}>" + "x" * dice.choice((5, 300, 900, 2500, 9000))
        call = ToolCall("c", "files.read", {"path": text[: dice.randrange(10, 800)]})
        stored = await journal.append(pid, Message("assistant", text, (call,)), turn=n)
        texts[stored.seq] = text[:6].encode()
        number = await journal.start_call(pid, n, call)
        await journal.finish_call(number, result=text)
    left = list(texts)
    dice.shuffle(left)
    while left:
        some, left = left[:60], left[60:]
        await erase(journal, some, "test")
        raw = bytes_below(path.parent)
        assert [texts[seq] for seq in some if texts[seq] in raw] == []
        assert all(texts[seq] in raw for seq in left)
        assert journal.verify() == []
    await journal.close()


async def test_what_was_made_of_a_text_goes_with_it_over_any_number_of_steps(
    journal: Journal, path: Path
) -> None:
    pid = (await journal.create_process()).pid
    first = await journal.append(pid, said(SECRET), label=Label(Origin.USER))

    async def made(role: str, text: str, *sources: str) -> str:
        label = Label(Origin.MODEL, sources)
        return (await journal.append(pid, Message(role, text), label=label)).id

    recalled = await made("recalled", f"[p1] {SECRET}", first.id)
    note = await made("note", f"noted {SECRET}", recalled)
    front = json.dumps({"evicted": ["p1"], "front": f"- p1: “{SECRET}”"})
    await made("window", front, "other", first.id, note)
    await made("note", "of something else", "other")
    done = await erase(journal, [first.seq], "asked to")
    assert done.seqs == (1, 2, 3, 4)
    assert SECRET.encode() not in bytes_below(path.parent)
    assert journal.records(pid)[-1].stored.message.content == "of something else"
    assert journal.verify() == []


async def test_what_calls_were_told_goes_with_the_reply_that_made_them(
    journal: Journal, path: Path
) -> None:
    pid = (await journal.create_process()).pid
    call = ToolCall("c1", "mail.send", {"to": {"name": SECRET}})
    reply = await journal.append(pid, Message("assistant", "", (call,)), turn=1)
    number = await journal.start_call(pid, 1, call)
    other = await journal.start_call(pid, 2, call)  # the same id, in another turn
    await journal.finish_call(number, result="sent")
    done = await erase(journal, [reply.seq], "asked to")
    assert done.calls == (number,)
    first, second = journal.calls(pid)
    assert (first.call.arguments, first.result_hash, first.call.name) == ({}, "", "mail.send")
    assert second.call == call
    await journal.finish_call(other)
    with pytest.raises(StoreError, match="append-only"):
        await journal.change(lambda db: db.execute("UPDATE calls SET arguments = '{\"a\":1}'"))
    with pytest.raises(StoreError, match="append-only"):
        await journal.change(lambda db: db.execute("UPDATE calls SET arguments = '{}'"))
    with pytest.raises(StoreError, match="append-only"):
        await journal.change(lambda db: db.execute("UPDATE calls SET result_hash = NULL"))


async def test_a_results_hash_goes_with_the_result_since_it_has_no_salt(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    call = ToolCall("c1", "vault.pin", {"n": 1})
    await journal.append(pid, Message("assistant", "", (call,)), turn=1)
    number = await journal.start_call(pid, 1, call)
    await journal.finish_call(number, result="8271")
    result = Message("tool", "8271", call_id="c1", name="vault.pin")
    stored = await journal.append(pid, result, turn=1)
    assert (await erase(journal, [stored.seq], "asked to")).calls == (number,)
    [kept] = journal.calls(pid)
    assert (kept.call, kept.result_hash, kept.result_bytes) == (call, "", 0)


async def test_what_a_call_called_in_turn_goes_with_it_and_what_others_called_stays(
    journal: Journal, path: Path
) -> None:
    """Calls by code, or by the reader, stand in no message."""
    pid = (await journal.create_process()).pid

    async def made(id: str, *within: str) -> None:
        call = ToolCall(id, "reader.extract", {"place": f"{SECRET} {id}"})
        number = await journal.start_call(pid, 1, call)
        for inner in within:
            nested = ToolCall(inner, "files.read", {"path": f"{SECRET} {inner}"})
            await journal.finish_call(await journal.start_call(pid, 1, nested), result=SECRET)
        await journal.finish_call(number, result="7")

    replies = []
    for calls in (("a1", "a2"), ("b1",)):
        message = Message("assistant", "", tuple(ToolCall(c, "reader.extract", {}) for c in calls))
        replies.append(await journal.append(pid, message, turn=1))
        for id in calls:
            await made(id, f"{id}x", f"{id}y")
    told = await journal.append(pid, Message("tool", "7", call_id="a2"), turn=1)
    await erase(journal, [told.seq], "asked to")
    hashed = [call.call.id for call in journal.calls(pid) if call.result_hash]
    assert hashed == ["a1", "a1x", "a1y", "b1", "b1x", "b1y"]
    await erase(journal, [replies[0].seq], "asked to")
    told_still = [call.call.id for call in journal.calls(pid) if call.call.arguments]
    assert told_still == ["b1", "b1x", "b1y"]
    await erase(journal, [replies[1].seq], "asked to")
    assert SECRET.encode() not in bytes_below(path.parent)
    assert journal.verify() == []


async def test_a_title_made_of_the_text_goes_also_from_forks_and_a_persons_own_stays(
    journal: Journal, path: Path
) -> None:
    title = f"{SECRET} and what …"
    pid = (await journal.create_process(title=title)).pid
    child = (await journal.fork_process(pid)).pid
    own = (await journal.create_process(title="The safe")).pid
    stored = await journal.append(pid, said(f"{SECRET}  and what\nelse there is"))
    assert (await erase(journal, [stored.seq], "asked to")).titles == (pid, child)
    assert [journal.process(p).title for p in (pid, child, own)] == ["", "", "The safe"]
    assert SECRET.encode() not in bytes_below(path.parent)


async def test_erasing_twice_changes_nothing_and_what_is_not_there_is_refused(
    journal: Journal,
) -> None:
    pid = (await journal.create_process()).pid
    stored = await journal.append(pid, said(SECRET))
    await erase(journal, [stored.seq], "first")
    assert (await erase(journal, [stored.seq], "second")).seqs == ()
    await journal.append(pid, said("kept"))
    with pytest.raises(StoreError, match="no message 9"):
        await erase(journal, [stored.seq + 1, 9], "mistaken")
    assert journal.messages(pid)[-1].message.content == "kept"


async def test_a_text_is_found_in_contents_and_in_the_arguments_of_calls(journal: Journal) -> None:
    pid = (await journal.create_process()).pid
    quoted = 'say "it"\n'
    call = ToolCall("1", "a.b", {"deep": [{"er": f"x {quoted} y"}]})
    for message in (said(quoted), said("other"), Message("assistant", "", (call,))):
        await journal.append(pid, message)
    assert await holding(journal, quoted) == [1, 3]
    assert await holding(journal, "") == []


@pytest.mark.parametrize("text", ['The vault "Heron" is 8271', "It is C:\\keys\\x", "Tab\t8271 é"])
async def test_a_text_is_found_however_deep_in_json_it_is_written(
    journal: Journal, text: str
) -> None:
    pid = (await journal.create_process()).pid
    memory = json.dumps({"op": "remember", "id": "", "text": text}, ensure_ascii=False)
    window = json.dumps({"evicted": ["p1"], "front": f"- p1: “{text}”"})
    found = json.dumps({"hits": [json.dumps({"text": text})]})
    call = ToolCall("1", "a.b", {"body": json.dumps([text])})
    for message in (
        said(memory, "memory"),
        said(window, "window"),
        said(found, "tool"),
        Message("assistant", "", (call,)),
        said('{"cut": "' + "\\" * 3),
        said("[" * 100_000 + "\\"),
        said(text.upper()),
    ):
        await journal.append(pid, message)
    assert await holding(journal, text) == [1, 2, 3, 4, 7]


async def test_an_erasing_cut_off_before_the_file_was_rewritten_is_finished_at_the_next_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    stored = await journal.append(pid, said(SECRET))

    def no_room(db: sqlite3.Connection, path: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("llmos.memory.journal.rewrite", no_room)
        with pytest.raises(StoreError):
            await erase(journal, [stored.seq], "asked to")
    assert journal.records(pid)[0].erased
    await journal.close()
    journal = Journal(path)
    await journal.append(pid, said("later"))  # waits its turn behind the rest of the erasing
    assert SECRET.encode() not in bytes_below(path.parent)
    assert await journal.change(lambda db: db.execute("SELECT * FROM chores").fetchall()) == []
    await journal.close()


async def test_a_reader_that_holds_the_file_is_named_and_the_text_goes_when_it_lets_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmos.limits.STORE_BUSY_S", 0.05)
    journal = Journal(path)
    pid = (await journal.create_process()).pid
    stored = await journal.append(pid, said(SECRET))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM messages").fetchall()
    with pytest.raises(StoreError, match="Another program reads"):
        await erase(journal, [stored.seq], "asked to")
    reader.close()
    await journal.scrub()
    assert SECRET.encode() not in bytes_below(path.parent)
    await journal.close()
