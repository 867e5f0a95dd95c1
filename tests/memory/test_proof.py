from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from llmos.events import Message, ToolCall
from llmos.labels import Label, Origin
from llmos.memory.check import check
from llmos.memory.erase import erase
from llmos.memory.journal import Journal
from llmos.memory.portable import export, import_conversations, read
from llmos.memory.proof import unproven


@pytest.fixture
async def journal(home):
    opened = Journal(home / "journal.db")
    yield opened
    await opened.close()


async def made(
    journal, pid, *, id="c1", effect="", kept=None, verdict=None, error="", result="Ok.", outer=None
):
    """A call as the kernel keeps it; returns the record of the message that made it.

    Args:
        effect: That is kept with the call.
        kept: That the verdict, or the record of a nested call, tells; as ``effect`` without.
        outer: The id of the call within which it was made, if it was.
    """
    told = json.dumps({"effect": effect if kept is None else kept})
    call = ToolCall(id, "files.write", {"path": "a.txt"})
    if outer is None:
        said = await journal.append(pid, Message("assistant", "", (call,)), turn=1)
    else:
        last = journal.records(pid, role="assistant")[-1].stored.id
        nested = Message("nested", told, (call,), id, outer)
        said = await journal.append(pid, nested, turn=1, label=Label(Origin.SYSTEM, (last,)))
    number = await journal.start_call(pid, 1, call, effect)
    if verdict is not None:
        asked = Message("verdict", told, call_id=id, name=verdict)
        await journal.append(
            pid, asked, turn=1, label=Label(Origin.SYSTEM, (said.id,) if outer is None else ())
        )
    await journal.finish_call(number, result=result, error=error)
    if outer is None:
        await journal.append(pid, Message("tool", result, call_id=id), turn=1, error=error)
    return said


async def problems(journal):
    return await asyncio.to_thread(unproven, journal.path)


def forged(journal, statement: str) -> list[str]:
    """Problems after somebody changed the calls behind the journal's back."""
    with sqlite3.connect(journal.path) as db:
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'calls%'"
        ).fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute(statement)
    db.close()
    assert check(journal.path) == []  # the chain knows nothing of calls
    return unproven(journal.path)


# --- what holds -----------------------------------------------------------------------------------


async def test_an_untouched_journal_holds(journal):
    pid = (await journal.create_process()).pid
    await made(journal, pid, effect="write", verdict="made")
    await made(journal, pid, id="c2", effect="write", verdict="no", error="denied")
    await made(journal, pid, id="c3", effect="write", error="call_timeout")  # before it was asked
    await made(journal, pid, id="c4", effect="execute", verdict="once", error="code_raised")
    await made(journal, pid, id="n1", effect="read", outer="c4")
    await made(journal, pid, id="n2", effect="egress", verdict="made", outer="n1")
    assert await problems(journal) == []


async def test_calls_of_one_turn_that_bear_the_same_id_are_held_against_their_own_verdicts(journal):
    pid = (await journal.create_process()).pid
    await made(journal, pid, effect="write", verdict="no", error="denied")
    await made(journal, pid, effect="egress", verdict="once")
    await made(journal, pid, effect="read")
    assert await problems(journal) == []


async def test_what_was_erased_is_no_problem(journal):
    pid = (await journal.create_process()).pid
    calling = await made(journal, pid, effect="execute", verdict="made")
    inner = await made(journal, pid, id="n1", effect="read", outer="c1")
    await made(journal, pid, id="n2", effect="read", outer="c1")
    await erase(journal, [inner.seq], "forgotten")
    assert [bool(call.call.arguments) for call in journal.calls(pid)] == [True, False, True]
    assert await problems(journal) == []
    await erase(journal, [calling.seq], "forgotten")
    assert not any(call.call.arguments for call in journal.calls(pid))
    assert all(record.erased for record in journal.records(pid, role="nested"))
    assert await problems(journal) == []


async def test_what_calls_made_before_records_told_of_it_is_no_problem(journal):
    pid = (await journal.create_process()).pid
    call = ToolCall("c1", "python.run", {})
    await journal.append(pid, Message("assistant", "", (call,)), turn=1)
    outer = await journal.start_call(pid, 1, call)
    inner = await journal.start_call(pid, 1, ToolCall("n1", "files.read", {}))
    await journal.finish_call(inner)
    await journal.finish_call(outer)
    assert len(await problems(journal)) == 1
    assert forged(journal, "UPDATE calls SET effect = NULL") == []


async def test_an_imported_conversation_holds_and_brings_what_its_calls_made(journal, tmp_path):
    pid = (await journal.create_process()).pid
    calling = await made(journal, pid, effect="execute", verdict="once")
    await made(journal, pid, id="n1", effect="egress", verdict="made", outer="c1")
    file = tmp_path / "talk.jsonl"
    file.write_text("".join(export(journal.path, [pid])), "utf-8", newline="\n")
    for mine in (True, False):
        [copy] = await import_conversations(journal, read(file, mine=mine))
        [record] = journal.records(copy, role="nested")
        assert (record.stored.message.call_id, record.stored.message.name) == ("n1", "c1")
        assert await problems(journal) == []
    await erase(journal, [calling.seq], "the copies go with it")
    assert not any(call.call.arguments for call in journal.calls(copy))


# --- what does not hold ---------------------------------------------------------------------------


@pytest.mark.parametrize("outer", [None, "c1"])
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ('UPDATE calls SET arguments = \'{"path": "b.txt"}\'', "is not what the model wrote"),
        ("UPDATE calls SET name = 'files.read'", "is not what the model wrote"),
        ("UPDATE calls SET effect = 'read'", "had another effect"),
    ],
)
async def test_a_call_that_was_changed_is_told(journal, statement, said, outer):
    pid = (await journal.create_process()).pid
    await made(journal, pid, effect="write", verdict="made")
    if outer is not None:
        await made(journal, pid, id="n1", effect="write", verdict="made", outer=outer)
    id = "c1" if outer is None else "n1"
    first, *rest = forged(journal, f"{statement} WHERE call_id = '{id}'")
    assert said in first
    assert all(said in problem for problem in rest)


async def test_a_result_that_was_changed_is_told(journal):
    pid = (await journal.create_process()).pid
    await made(journal, pid)
    [problem] = forged(journal, "UPDATE calls SET result_hash = x'00'")
    assert "is not what was kept" in problem


async def test_a_call_that_no_record_names_is_told(journal):
    pid = (await journal.create_process()).pid
    await made(journal, pid, effect="execute", verdict="made")
    call = ToolCall("n1", "mail.send", {})
    await journal.finish_call(await journal.start_call(pid, 1, call, "read"))
    assert await problems(journal) == ["Call 2 (mail.send) is not what the model wrote."]


@pytest.mark.parametrize("error", ["", "code_raised", "call_timeout"])
@pytest.mark.parametrize("answer", ["no", ""])
@pytest.mark.parametrize("effect", ["write", "read", ""])
async def test_a_call_that_went_through_against_the_answer_is_told(journal, error, answer, effect):
    pid = (await journal.create_process()).pid
    await made(journal, pid, effect=effect, verdict=answer, error="denied")
    [problem] = forged(journal, f"UPDATE calls SET error = '{error}'")
    assert "nobody allowed it" in problem


@pytest.mark.parametrize("error", ["", "code_raised"])
async def test_a_call_with_an_effect_that_nobody_judged_is_told(journal, error):
    pid = (await journal.create_process()).pid
    await made(journal, pid, effect="egress", error=error)
    assert await problems(journal) == ["Call 1 (files.write) was made though nobody allowed it."]


async def test_an_answer_allows_one_call(journal):
    pid = (await journal.create_process()).pid
    await made(journal, pid, effect="egress", verdict="once")
    await made(journal, pid, effect="egress")
    [problem] = await problems(journal)
    assert problem.startswith("Call 2 ") and "nobody allowed it" in problem
