from __future__ import annotations

import sqlite3

import pytest

from llmos.errors import NoSuchProcess, StoreError
from llmos.events import Message, ToolCall
from llmos.labels import PRIVATE, Label, Origin
from llmos.memory.erase import erase
from llmos.memory.journal import Journal
from llmos.memory.trail import trail

EFFECTS = {"files.write": "write", "calculator.calculate": "pure"}


@pytest.fixture
async def journal(home):
    opened = Journal(home / "journal.db")
    yield opened
    await opened.close()


async def called(
    journal, pid, name="files.write", *, id="c1", error="", verdict=None, label=None, result="Ok."
):
    """A call as the kernel keeps it; returns its result's record."""
    call = ToolCall(id, name, {"path": "a.txt"})
    await journal.append(pid, Message("user", "Go."), turn=1, label=Label(Origin.USER))
    await journal.append(pid, Message("assistant", "", (call,)), turn=1)
    number = await journal.start_call(pid, 1, call)
    if verdict is not None:
        asked = Message("verdict", '{"title": "Write a.txt?"}', call_id=id, name=verdict)
        await journal.append(pid, asked, turn=1, label=Label(Origin.SYSTEM))
    await journal.finish_call(number, result=result, seconds=0.5, error=error)
    message = Message("tool", result, call_id=id, name=name)
    return await journal.append(pid, message, turn=1, label=label, error=error)


def past(journal, pid=0):
    return trail(journal.path, pid, effect=lambda name: EFFECTS.get(name, ""))


async def test_a_call_is_told_with_all_that_is_known_of_it(journal):
    pid = (await journal.create_process()).pid
    label = Label(Origin.UNTRUSTED, (PRIVATE,))
    await called(journal, pid, verdict="once", label=label, result="Grüße")
    [call] = past(journal, pid)
    assert (call.pid, call.turn, call.name, call.arguments) == (
        pid, 1, "files.write", {"path": "a.txt"}
    )  # fmt: skip
    assert (call.effect, call.read, call.private) == ("write", "untrusted", True)
    assert (call.verdict, call.question) == ("once", "Write a.txt?")
    assert (call.bytes, call.seconds, call.error, call.finished) == (7, 0.5, "", True)
    assert call.made and call.effected


async def test_what_was_denied_was_not_made_and_what_failed_may_have_had_its_effect(journal):
    pid = (await journal.create_process()).pid
    await called(journal, pid, id="c1", error="denied", verdict="")
    await called(journal, pid, id="c2", error="call_failed")
    await called(journal, pid, id="c3", name="calculator.calculate")
    await called(journal, pid, id="c4", name="gone.tool")
    assert [(c.verdict, c.made, c.effected) for c in past(journal)] == [
        ("nobody", False, False),
        ("", True, True),
        ("", True, False),
        ("", True, True),  # nobody declares it any more: the strictest reading
    ]


async def test_calls_of_one_turn_that_bear_the_same_id_keep_their_own_answers(journal):
    pid = (await journal.create_process()).pid
    await called(journal, pid, verdict="once")
    await called(journal, pid, verdict="no", error="denied")
    assert [call.verdict for call in past(journal)] == ["once", "no"]


async def test_a_call_under_way_and_an_erased_one_are_told_as_such(journal):
    pid = (await journal.create_process()).pid
    stored = await called(journal, pid)
    await journal.start_call(pid, 1, ToolCall("c9", "files.write", {}))
    replies = [r for r in journal.records(pid) if r.stored.message.role == "assistant"]
    await erase(journal, [replies[0].stored.seq, stored.seq], "forgotten")
    first, second = past(journal)
    assert first.erased and first.arguments == {}
    assert not second.finished


async def test_calls_are_told_after_a_number_and_of_processes_that_are_there(journal):
    pid = (await journal.create_process()).pid
    for id in ("c1", "c2", "c3"):
        await called(journal, pid, id=id)
    first, *rest = past(journal, pid)
    assert trail(journal.path, pid, after=first.number, most=1)[0].id == rest[0].id
    with pytest.raises(NoSuchProcess):
        past(journal, 99)


async def test_the_effect_of_a_call_is_the_one_it_had_when_it_was_made(journal):
    """Manifests change, and two experts may each have a tool of the name."""
    pid = (await journal.create_process()).pid
    for id, effect in (("c1", "read"), ("c2", "egress")):
        await journal.start_call(pid, 1, ToolCall(id, "files.write", {}), effect)
    assert [(c.effect, c.effected) for c in past(journal)] == [("read", False), ("egress", True)]
    with pytest.raises(StoreError, match="append-only"):
        await journal.change(lambda db: db.execute("UPDATE calls SET effect = 'pure'"))


async def test_a_call_that_a_call_made_is_told_with_the_name_of_that_one(journal):
    pid = (await journal.create_process()).pid
    code = ToolCall("c1", "python.run", {})
    await journal.append(pid, Message("assistant", "", (code,)), turn=1)
    await journal.start_call(pid, 1, code, "execute")
    for id, outer in (("n1", "c1"), ("n2", "")):
        call = ToolCall(id, "files.read", {})
        await journal.append(pid, Message("nested", "{}", (call,), id, outer), turn=1)
        await journal.start_call(pid, 1, call, "read")
    assert [(c.inner, c.by) for c in past(journal, pid)] == [
        (False, ""), (True, "python.run"), (True, "")
    ]  # fmt: skip


async def test_a_journal_of_an_older_llmos_is_told_without_being_changed(journal):
    pid = (await journal.create_process()).pid
    await called(journal, pid)
    with sqlite3.connect(journal.path) as db:
        db.execute("DROP TRIGGER calls_no_effect")
        db.execute("ALTER TABLE calls DROP COLUMN effect")
    db.close()
    assert [call.effect for call in past(journal)] == ["write"]
