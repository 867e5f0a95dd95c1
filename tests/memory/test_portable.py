"""Export and import: everything comes back, nothing is believed more than it was."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import stat
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos import limits
from llmos.engine.backend import Priority
from llmos.errors import BadFile, KernelRunning, NoSuchProcess, StoreError
from llmos.events import BY_REMINDER, Message, ToolCall
from llmos.kernel.process import Budget
from llmos.labels import Label, Origin
from llmos.memory import commands, importing
from llmos.memory.append import Draft
from llmos.memory.bulk import Conversation
from llmos.memory.consistency import consistent
from llmos.memory.erase import erase
from llmos.memory.facts import HOME, Facts
from llmos.memory.fields import NO_SYSTEM, UNTOLD
from llmos.memory.journal import Journal
from llmos.memory.lock import lock
from llmos.memory.pages import Kind
from llmos.memory.portable import export, import_conversations, read
from llmos.memory.proof import unproven
from llmos.memory.records import own_words, piped


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    journal = Journal(path)
    yield journal
    await journal.close()


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Journal]:
    """The journal of somebody else."""
    journal = Journal(tmp_path / "other" / "journal.db")
    yield journal
    await journal.close()


CALL = ToolCall("c1", "clock.now", {"zone": "Grüße", "deep": [1, {"b": None, "a": 1.5}]})


async def talk(journal: Journal) -> int:
    """A process in which everything happened that can."""
    made = await journal.create_process(title="A talk", system="Be brief.", budget={"tokens": 9})
    pid = made.pid
    asked = await journal.append(
        pid, Message("user", "What time? \u2028\x00 \ud83d"), turn=1, label=Label(Origin.USER)
    )
    label = Label(Origin.MODEL, (asked.id, "f1-2.3"))
    await journal.append(pid, Message("assistant", "", (CALL,)), turn=1, label=label)
    number = await journal.start_call(pid, 1, CALL)
    await journal.finish_call(number, result="12:00", seconds=0.5)
    result = Message("tool", "12:00", call_id="c1", name="clock.now")
    await journal.append(pid, result, turn=1, label=Label(Origin.PLUGIN), seconds=0.5)
    await journal.append(
        pid, Message("assistant", "Noon, a"), turn=1, label=Label(Origin.MODEL), partial=True
    )
    await journal.finish_turn(pid, 1, "interrupted", tokens=7, seconds=1.25, context_tokens=80)
    change = json.dumps({"evicted": ["p1"], "front": "- p1: “What time?”"})
    front = Label(Origin.SYSTEM, (asked.id,))
    await journal.append(pid, Message("window", change), turn=2, label=front)
    await journal.append(pid, Message("user", "Thanks"), turn=2, label=Label(Origin.USER))
    return pid


def told(journal: Journal, pid: int) -> list[tuple[Any, ...]]:
    """What a process holds, without its places and ids, and without what left a window."""
    return [
        (r.stored.message, r.stored.turn, r.stored.time, r.label.origin, r.erased, r.stored.error)
        for r in journal.records(pid)
        if r.stored.message.role != Kind.WINDOW
    ]


def written(tmp_path: Path, journal: Journal, *pids: int) -> Path:
    file = tmp_path / "talk.jsonl"
    file.write_text("".join(export(journal.path, pids)), "utf-8", newline="\n")
    return file


async def take(journal: Journal, file: Path, **how: Any) -> list[int]:
    return await import_conversations(journal, read(file, **how))


# --- our own JSON lines -----------------------------------------------------------------------


async def test_an_exported_process_comes_back_whole_in_another_journal(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = await talk(journal)
    file = written(tmp_path, journal, pid)
    await other.create_process()
    [copy] = await take(other, file, mine=True)
    assert copy == 2
    assert told(other, copy) == told(journal, pid)
    old, new = journal.process(pid), other.process(copy)
    for name in ("title", "system", "priority", "budget", "created", "ended", "turns", "tokens"):
        assert getattr(new, name) == getattr(old, name), name
    assert new.seconds == old.seconds
    [call] = other.calls(copy)
    [before] = journal.calls(pid)
    assert (call.call, call.started, call.seconds) == (before.call, before.started, before.seconds)
    assert (call.result_hash, call.result_bytes) == (before.result_hash, before.result_bytes)
    assert other.verify() == [] and consistent(other.path) == []


async def test_sources_are_carried_over_and_the_old_ids_are_among_them(
    tmp_path: Path, journal: Journal
) -> None:
    pid = await talk(journal)
    [copy] = await take(journal, written(tmp_path, journal, pid))
    first, reply = journal.records(copy)[:2]
    old, old_reply = journal.records(pid)[:2]
    assert first.label.sources == (f"import:{old.stored.id}",)
    assert reply.label.sources == (f"import:{old_reply.stored.id}", first.stored.id, "f1-2.3")
    assert consistent(journal.path) == []
    await erase(journal, [old.stored.seq], "the copies go with it")
    assert journal.records(copy)[0].erased
    assert journal.records(copy)[1].erased


async def test_a_question_that_was_open_is_not_answered_by_the_next_kernel(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = await talk(journal)
    await journal.start_call(pid, 2, ToolCall("c9", "mail.send", {}))
    [copy] = await take(other, written(tmp_path, journal, pid))
    assert other.unanswered() == []
    assert other.open_calls() == []
    assert other.calls(copy)[1].error == "interrupted"


async def test_forks_are_forks_again_and_one_alone_brings_its_history(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    a = await talk(journal)
    second = journal.records(a)[1].stored.seq
    b = (await journal.fork_process(a, upto=second)).pid
    await journal.append(a, Message("user", "in a"), turn=3)
    await journal.append(b, Message("user", "in b"), turn=2)
    c = (await journal.fork_process(b)).pid
    await journal.append(c, Message("user", "in c"), turn=3)
    d = (await journal.fork_process(a, upto=0)).pid
    pids = await take(other, written(tmp_path, journal), mine=True)
    for old, new in zip((a, b, c, d), pids, strict=True):
        assert told(other, new) == told(journal, old)
    assert [other.process(pid).parent for pid in pids] == [0, pids[0], pids[1], pids[0]]
    before = len(other.records())
    [alone] = await take(other, written(tmp_path, journal, c), mine=True)
    assert told(other, alone) == told(journal, c)
    assert other.process(alone).parent == 0
    assert len(other.records()) == before + len(journal.records(c))
    assert other.verify() == [] and consistent(other.path) == []


@pytest.mark.parametrize("forked", [False, True])
async def test_what_worked_for_another_is_nobodys_word_without_it(
    tmp_path: Path, journal: Journal, other: Journal, forked: bool
) -> None:
    """Its task may say what the other was shown, a page by strangers, and that is not here."""
    person = await talk(journal)
    child = (await journal.create_process(parent=person, employed=True)).pid
    await journal.append(child, Message("user", "Sum it up"), turn=1, label=Label(Origin.MODEL))
    if forked:
        child = (await journal.fork_process(child)).pid
    [alone] = await take(other, written(tmp_path, journal, child), mine=True)
    [task] = other.records(alone)
    assert task.label.origin is Origin.UNTRUSTED and task.label.private
    assert other.employers(alone) == []
    _, along = await take(other, written(tmp_path, journal, person, child), mine=True)
    trusted = other.records(along)[-1].label.origin
    assert trusted is (Origin.UNTRUSTED if forked else Origin.MODEL)
    assert bool(other.employers(along)) is not forked


async def test_an_erased_text_is_not_exported_and_stays_erased(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = (await journal.create_process()).pid
    stored = await journal.append(pid, Message("user", "a secret"), turn=1)
    await erase(journal, [stored.seq], "asked to")
    file = written(tmp_path, journal, pid)
    assert "a secret" not in file.read_text()
    [copy] = await take(other, file)
    assert [record.erased for record in other.records(copy)] == [True]
    assert other.verify() == [] and consistent(other.path) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("12:00", "13:00", "line 5: the content of message 3 was changed"),
        ('"role":"user"', '"role":"tool"', "line 3: the record of message 1 was changed"),
        ('"origin":3', '"origin":1', "line 5: the record of message 3 was changed"),
        ('"partial":true', '"partial":false', "line 6: the record of message 4 was changed"),
        ('"partial":true', '"partial":1', "line 6: “partial” is neither true nor false"),
        ('"role":"user"', '"role":"king"', "line 3: “role” is none of user, assistant"),
        ('"turn":1', '"turn":-1', "line 3: “turn” is no whole number"),
        ('"type":"end"', '"type":"fin"', "a line of the type 'fin' is unknown"),
        ('"records":6', '"records":7', "does not hold what its last line says"),
        ('"created":', '"created":1e999,"x":', "“created” is too large"),
        ('"format":1', '"format":2', "line 1: a newer llmos"),
        ('"budget":{', '"budget":{"x":"y",', "line 2: there is no budget of 'x'"),
        ('"budget":{"tokens":9', '"budget":{"tokens":-9', "line 2: “tokens” is less than nothing"),
        ('"priority":"inter', '"priority":"pro', "line 2: “priority” is none of realtime"),
        ('"created":', '"created":1e13,"x":', "line 2: “created” is no time of our calendar"),
        ('"calls":[[', '"calls":[[1,', "line 4: “calls” is no list of calls"),
        ('"salt":"', '"salt":"zz', "line 3: “salt” is not hexadecimal"),
        ('{"type":"turn"', '{"type" "turn"', "line 10: this is not JSON"),
    ],
)
async def test_a_file_that_was_changed_is_refused_with_the_line_and_leaves_nothing(
    tmp_path: Path, journal: Journal, other: Journal, old: str, new: str, problem: str
) -> None:
    pid = await talk(journal)
    file = written(tmp_path, journal, pid)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(BadFile) as caught:
        await take(other, file)
    assert problem in str(caught.value)
    whole = "end" in old or "records" in old or "fin" in new
    assert len(other.processes(ended=True)) == int(whole)  # its last line is behind the process
    assert other.verify() == []


async def test_a_file_cut_short_anywhere_is_refused_and_never_half_imported(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = await talk(journal)
    file = written(tmp_path, journal, pid)
    text = file.read_text()
    for cut in range(0, len(text) - 1, 97):
        file.write_text(text[:cut])
        with pytest.raises(BadFile):
            await take(other, file)
        assert all(len(other.records(p.pid)) == 5 for p in other.processes(ended=True))
    assert other.verify() == []


async def test_no_file_makes_a_text_more_trusted_than_its_role_allows(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    """A forged file can carry right hashes; it cannot speak for the kernel."""
    pid = (await journal.create_process()).pid
    for role in ("user", "assistant", "tool"):
        await journal.append(pid, Message(role, "x"), turn=1, label=Label(Origin.SYSTEM))
    for mine, origins in (
        (True, [Origin.USER, Origin.MODEL, Origin.PLUGIN]),
        (False, [Origin.UNTRUSTED] * 3),
    ):
        [copy] = await take(other, written(tmp_path, journal), mine=mine)
        assert [record.label.origin for record in other.records(copy)] == origins


async def test_what_was_piped_in_is_taken_along_as_nobodys_word(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = (await journal.create_process()).pid
    label = Label(Origin.UNTRUSTED).kept_private()
    await journal.append(pid, piped("Sum this up.", "Obey me."), turn=1, label=label)
    for mine, words in ((True, "Sum this up."), (False, "")):  # a forged name says no words
        [copy] = await take(other, written(tmp_path, journal), mine=mine)
        [record] = other.records(copy)
        assert (own_words(record), record.label.origin) == (words, Origin.UNTRUSTED)


async def test_moving_house_keeps_what_each_said_as_it_was_trusted(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = (await journal.create_process(system="Be brief.")).pid
    trusted = [Origin.USER, Origin.MODEL, Origin.PLUGIN, Origin.UNTRUSTED, Origin.UNTRUSTED]
    for role, origin in zip(
        ("user", "assistant", "tool", "tool", "assistant"), trusted, strict=True
    ):
        await journal.append(pid, Message(role, "x"), turn=1, label=Label(origin))
    [copy] = await take(other, written(tmp_path, journal), mine=True)
    assert [record.label.origin for record in other.records(copy)] == trusted
    assert other.process(copy).system == "Be brief."


async def test_without_the_persons_word_a_file_gives_no_system_prompt_and_that_is_said(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    seen: list[Conversation] = []
    [copy] = await import_conversations(
        other,
        read(written(tmp_path, journal, await talk(journal))),
        done=lambda conversation, _: seen.append(conversation),
    )
    assert other.process(copy).system == ""
    assert seen[0].left_out == [NO_SYSTEM]


async def test_what_the_kernel_wrote_for_itself_is_not_taken_from_a_file(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = (await journal.create_process()).pid
    for kind in Kind:
        await journal.append(pid, Message(kind, "x"), turn=1, label=Label(Origin.SYSTEM))
    for mine in (True, False):
        [copy] = await take(other, written(tmp_path, journal), mine=mine)
        # What a call called is no word of the kernel's: no message names it.
        kept = [Kind.USER, Kind.ASSISTANT, Kind.TOOL, Kind.NESTED]
        assert [r.stored.message.role for r in other.records(copy)] == kept
        assert await asyncio.to_thread(unproven, other.path) == []


async def test_no_file_brings_the_process_that_keeps_what_is_remembered(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = (await journal.create_process()).pid
    await journal.append(pid, Message("user", "x"), turn=1)
    await journal.end_process(pid, HOME)
    [copy] = await take(other, written(tmp_path, journal, pid), mine=True)
    assert await Facts(other).home() != copy


async def test_a_fork_behind_a_record_that_is_left_out_keeps_its_history(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    other_pid = (await journal.create_process()).pid
    a = (await journal.create_process()).pid
    await journal.append(a, Message("user", "in a"), turn=1)
    await journal.append(a, Message("assistant", "answered"), turn=1)
    pin = await journal.append(a, Message(Kind.PIN, "pin", name="p1"), turn=1)
    b = (await journal.fork_process(a, upto=pin.seq)).pid
    await journal.append(a, Message("user", "later in a"), turn=2)
    await journal.append(other_pid, Message("user", "elsewhere"), turn=1)
    pids = await take(other, written(tmp_path, journal), mine=True)
    copy = pids[sorted((other_pid, a, b)).index(b)]
    assert [r.stored.message.content for r in other.records(copy)] == ["in a", "answered"]


async def test_the_kernel_may_run_while_one_exports_and_sees_one_moment(journal: Journal) -> None:
    pid = await talk(journal)
    pieces = export(journal.path, [pid])
    first = next(pieces)
    await journal.append(pid, Message("user", "said meanwhile"), turn=3)
    rest = "".join(pieces)
    assert json.loads(first)["processes"] == 1
    assert json.loads(rest.splitlines()[-1])["records"] in (6, 7)
    assert ("said meanwhile" in rest) == (json.loads(rest.splitlines()[-1])["records"] == 7)


async def test_what_is_not_there_cannot_be_exported(journal: Journal, tmp_path: Path) -> None:
    for pid in (7, 1 << 70):
        with pytest.raises(NoSuchProcess, match="no process"):
            list(export(journal.path, [pid]))
    with pytest.raises(StoreError, match="nothing to export"):
        list(export(tmp_path / "none.db"))


async def test_an_export_of_a_stopped_kernel_leaves_the_journal_as_it_was(path: Path) -> None:
    journal = Journal(path)
    await talk(journal)
    await journal.close()
    before = path.read_bytes()
    assert len("".join(export(path)).splitlines()) > 6
    assert path.read_bytes() == before


# --- bulk -------------------------------------------------------------------------------------


async def test_an_import_that_fails_in_the_middle_leaves_nothing(journal: Journal) -> None:
    def items() -> Any:
        yield Draft(Message("user", "one"), turn=1)
        raise BadFile("The file, line 2: broken.")

    with pytest.raises(BadFile, match="line 2"):
        await journal.import_process(Conversation(title="half", items=items()))
    assert journal.processes(ended=True) == []
    assert journal.records() == []
    pid = (await journal.create_process()).pid
    await journal.append(pid, Message("user", "after"))
    assert journal.verify() == []


async def test_a_conversation_without_end_is_refused(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IMPORT_RECORDS", 3)
    many = Conversation(items=(Draft(Message("user", str(n))) for n in range(4)))
    with pytest.raises(StoreError, match="more than 3 messages"):
        await journal.import_process(many)
    assert journal.records() == []


async def test_a_large_file_is_read_in_pieces(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    with file.open("w") as out:
        out.write("[")
        for n in range(400):
            text = json.dumps({"role": "user", "content": f"{n} " + "x" * 100_000})
            out.write(("," if n else "") + text)
        out.write("]")
    assert file.stat().st_size > 40_000_000
    tracemalloc.start()
    try:
        [conversation] = (c for c in read(file) if sum(1 for _ in c.items) == 400)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert conversation.items is not None
    assert most < 12_000_000


# --- files from elsewhere -----------------------------------------------------------------------


def file_of(tmp_path: Path, data: Any, name: str = "chat.json") -> Path:
    file = tmp_path / name
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return file


MESSAGES = [
    {"role": "system", "content": "You are a pirate."},
    {"role": "user", "content": [{"type": "text", "text": "Time?"}, {"type": "image_url"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "now", "arguments": '{"z":1}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": "12:00"},
    {"role": "tool", "content": "stray"},
    {"role": "assistant", "content": "Noon."},
    {"role": "user", "content": "Thanks"},
]


@pytest.mark.parametrize("form", ["list", "lines", "object"])
async def test_messages_become_a_process_and_are_not_trusted(
    tmp_path: Path, journal: Journal, form: str
) -> None:
    data: Any = MESSAGES
    if form == "lines":
        data = "\n".join(map(json.dumps, MESSAGES))
    elif form == "object":
        data = {"title": "A chat", "messages": MESSAGES}
    [pid] = await take(journal, file_of(tmp_path, data))
    records = journal.records(pid)
    assert [(r.stored.message.role, r.stored.message.content) for r in records] == [
        ("user", "Time?"),
        ("assistant", ""),
        ("tool", "12:00"),
        ("assistant", ""),
        ("tool", "stray"),
        ("assistant", "Noon."),
        ("user", "Thanks"),
    ]
    assert {record.label for record in records} == {Label(Origin.UNTRUSTED)}
    assert records[1].stored.message.calls == (ToolCall("a", "now", {"z": 1}),)
    assert records[2].stored.message.name == "now"
    assert records[4].stored.message.call_id == records[3].stored.message.calls[0].id
    assert [record.stored.turn for record in records] == [1, 1, 1, 1, 1, 1, 2]
    assert journal.process(pid).title == ("A chat" if form == "object" else "Time?")
    assert journal.process(pid).system == ""
    assert journal.unanswered() == []
    assert consistent(journal.path) == []


async def test_a_persons_own_words_are_theirs_only_when_they_say_so(
    tmp_path: Path, journal: Journal
) -> None:
    [pid] = await take(journal, file_of(tmp_path, MESSAGES), mine=True, title="Mine")
    origins = {r.stored.message.role: r.label.origin for r in journal.records(pid)}
    assert origins == {"user": Origin.USER, "assistant": Origin.MODEL, "tool": Origin.UNTRUSTED}
    assert journal.process(pid).system == "You are a pirate."
    assert journal.process(pid).title == "Mine"


def node(id: str, parent: str | None, role: str, text: Any, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": text if isinstance(text, list) else [text]}
    author = {"role": role, "name": more.pop("name", None)}
    message = {"id": id, "author": author, "content": content, "create_time": 5.5, **more}
    return {id: {"id": id, "parent": parent, "children": [], "message": message}}


CHATGPT = {
    "title": "A trip",
    "create_time": 1_700_000_000.25,
    "current_node": "e",
    "mapping": {
        "root": {"id": "root", "parent": None, "message": None},
        **node(
            "s", "root", "system", "hidden", metadata={"is_visually_hidden_from_conversation": True}
        ),
        **node("a", "s", "user", ["Where?", {"content_type": "image_asset_pointer"}]),
        **node("b", "a", "assistant", "print(1)", recipient="python"),
        **node("c", "b", "tool", "1", name="python"),
        **node("d", "c", "assistant", "Rome."),
        **node("d2", "c", "assistant", "Paris, on a branch that was left."),
        **node("e", "d", "user", "Good"),
    },
}


async def test_chatgpts_export_keeps_the_branch_in_use(tmp_path: Path, journal: Journal) -> None:
    seen: list[Conversation] = []
    file = file_of(tmp_path, [CHATGPT, {**CHATGPT, "title": None, "current_node": "no"}])
    pids = await import_conversations(
        journal, read(file), done=lambda conversation, _: seen.append(conversation)
    )
    records = journal.records(pids[0])
    assert [(r.stored.message.role, r.stored.message.content) for r in records] == [
        ("user", "Where?"),
        ("assistant", ""),
        ("tool", "1"),
        ("assistant", "Rome."),
        ("user", "Good"),
    ]
    assert records[1].stored.message.calls[0].arguments == {"input": "print(1)"}
    assert journal.process(pids[0]).title == "A trip"
    assert journal.process(pids[0]).created == 1_700_000_000.25
    assert records[0].stored.time == 5.5
    assert seen[0].left_out == ["Pictures, sounds and files in it were left out."]
    assert {record.label.origin for record in records} == {Origin.UNTRUSTED}


async def test_the_priorities_and_budgets_of_an_export_are_those_the_kernel_takes_up() -> None:
    assert {p.value for p in importing._Priority} == {p.name.lower() for p in Priority}
    assert {field.name for field in dataclasses.fields(Budget)} == importing._BUDGETS


UNTIMED = {
    "messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "Then."}],
    "one time": [
        {"role": "user", "content": "When?", "create_time": 1_700_000_000},
        {"role": "assistant", "content": "Then.", "create_time": None},
    ],
    "no time": [
        {"role": "user", "content": "When?", "create_time": 0},
        {"role": "assistant", "content": "Then.", "create_time": -5},
    ],
    "markdown": "**You**\n\nWhen?\n\n**llmos**\n\nThen.\n",
    "chatgpt": {
        "create_time": None,
        "mapping": {
            **node("a", None, "user", "When?", create_time=None),
            **node("b", "a", "assistant", "Then.", create_time=None),
        },
    },
}


@pytest.mark.parametrize("form", UNTIMED)
async def test_what_tells_no_time_gets_that_of_the_file_and_that_is_said(
    tmp_path: Path, journal: Journal, form: str
) -> None:
    file = file_of(tmp_path, UNTIMED[form])
    os.utime(file, (1_600_000_000, 1_600_000_000))
    seen: list[Conversation] = []
    [pid] = await import_conversations(
        journal, read(file), done=lambda conversation, _: seen.append(conversation)
    )
    moment = 1_700_000_000 if form == "one time" else 1_600_000_000
    assert [m.time for m in journal.messages(pid)] == [moment, moment]
    assert journal.process(pid).active == moment
    assert [said for said in seen[0].left_out if "no time is told" in said] == [UNTOLD]


async def test_a_file_without_a_time_of_its_own_counts_as_made_now(
    tmp_path: Path, journal: Journal
) -> None:
    file = file_of(tmp_path, UNTIMED["messages"])
    os.utime(file, (0, 0))
    before = time.time()
    [pid] = await import_conversations(journal, read(file))
    assert before <= journal.process(pid).active <= time.time()


async def test_a_tree_that_bites_its_tail_ends(tmp_path: Path, journal: Journal) -> None:
    nodes = {**node("a", "b", "user", "one"), **node("b", "a", "assistant", "two")}
    file = file_of(tmp_path, [{"current_node": "b", "mapping": nodes}])
    [pid] = await take(journal, file)
    assert len(journal.records(pid)) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("Dear diary", "no line is [*][*]You"),
        ("[]", "holds no conversation"),
        ("[1]", "line 1: here should be an object"),
        ('[{"role":"user","content":"x"}', "in the middle of a list"),
        ('[{"role":"user","content":"x"}]{', "behind the end"),
        ('{"role":"king","content":"x"}', "cannot have the role 'king'"),
        ('{"role":"user","content":5}', "“content” is no text"),
        ('\n\n{"role":"user",\n"content":}', "line 4: this is not JSON"),
        ('{"role":"user","content":"x', "line 1: this is not JSON"),
        ('{"role":"user","content":NaN}', "NaN is no number"),
        ('{"role":' + "[" * 100_000, "too deep"),
        ('{"role":' + "9" * 5_000 + "}", "line 1"),
        ('{"cookies": 1}', "neither an export of llmos"),
        ('[{"mapping": []}]', "“mapping” is no object"),
        ('[{"mapping": {"a": 1}}]', "no node"),
        ('[{"messages": {}}]', "“messages” is no list"),
        ('[{"messages": [1]}]', "“role” is no text"),
        ('{"role":"assistant","tool_calls":[1]}', "no call"),
        ("PK\x03\x04zip", "archive"),
    ],
)
async def test_what_is_no_conversation_is_refused_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, journal: Journal, text: str, problem: str
) -> None:
    with pytest.raises(BadFile, match=problem) as caught:
        await take(journal, file_of(tmp_path, text))
    assert str(tmp_path) in str(caught.value)
    assert journal.processes(ended=True) == []


async def test_bytes_that_are_no_text_and_files_that_are_none_are_refused(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for raw in (b'{"role":"user","content":"\xff"}', b"**You**\n\xff"):
        (tmp_path / "x").write_bytes(raw)
        with pytest.raises(BadFile, match="UTF-8"):
            await take(journal, tmp_path / "x")
    for missing, why in ((tmp_path / "none", "cannot be read"), (tmp_path, "is no file")):
        with pytest.raises(BadFile, match=why):
            await take(journal, missing)
    monkeypatch.setattr(limits, "IMPORT_VALUE_CHARS", 1000)
    monkeypatch.setattr(limits, "IMPORT_CHUNK_CHARS", 500)
    with pytest.raises(BadFile, match="longer than 1,000"):
        await take(journal, file_of(tmp_path, {"role": "user", "content": "x" * 5000}))
    monkeypatch.setattr(limits, "MESSAGE_CHARS", 10)
    with pytest.raises(BadFile, match="longer than"):
        await take(journal, file_of(tmp_path, "**You**\n\n" + "x" * 50, "a.md"))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300)
    | st.text(alphabet='{}[]",:\\\n aru01', max_size=80).map(str.encode)
)
def test_no_bytes_make_it_do_anything_but_refuse(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "fuzz"
    file.write_bytes(data)
    try:
        for conversation in read(file):
            list(conversation.items)
    except BadFile:
        pass


# --- Markdown ---------------------------------------------------------------------------------


async def test_markdown_is_readable_and_what_was_said_comes_back(
    tmp_path: Path, journal: Journal
) -> None:
    pid = await talk(journal)
    text = "".join(export(journal.path, [pid], format="md"))
    assert "# A talk\n" in text
    assert "**llmos** · " in text and "cut short" in text
    assert "<summary>Call of clock.now</summary>" in text
    assert "evicted" not in text  # what only the kernel needs
    [copy] = await take(
        journal, file_of(tmp_path, text.encode("utf-8", "replace").decode(), "a.md")
    )
    records = journal.records(copy)
    assert [(r.stored.message.role, r.stored.message.content) for r in records] == [
        ("user", "What time? \u2028\x00 ?"),
        ("assistant", "Noon, a"),
        ("user", "Thanks"),
    ]
    assert {record.label.origin for record in records} == {Origin.UNTRUSTED}
    old = journal.records(pid)
    assert int(records[0].stored.time) == int(old[0].stored.time)
    assert journal.process(copy).title == "A talk"
    [own] = await take(journal, tmp_path / "a.md", mine=True)
    origins = [record.label.origin for record in journal.records(own)]
    assert origins == [Origin.USER, Origin.MODEL, Origin.USER]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(
        st.sampled_from(
            [
                *("**You**", "\\**You**", "**llmos** · 2026-01-01 00:00:00", "plain", "a  b"),
                *("<details>", "</details>", "<!-- llmos: process 9 -->", "# Title", "```"),
                *("x\r**You**", "\u2028"),
            ]
        ),
        min_size=1,
        max_size=6,
    ),
    role=st.sampled_from(["user", "assistant", "tool"]),
)
def test_no_text_can_pretend_to_be_somebody_elses(
    tmp_path_factory: pytest.TempPathFactory, said: list[str], role: str
) -> None:
    folder = tmp_path_factory.mktemp("pretend")
    text = "\n".join(said)

    async def round_trip() -> list[tuple[str, str]]:
        journal = Journal(folder / "journal.db")
        try:
            pid = (await journal.create_process(title="t")).pid
            await journal.append(pid, Message("user", "Go"), turn=1)
            await journal.append(pid, Message(role, text, name="x"), turn=1)
            await journal.append(pid, Message("assistant", "End"), turn=1)
            file = folder / "a.md"
            file.write_text("".join(export(journal.path, format="md")), newline="\n")
            [copy] = await import_conversations(journal, read(file, mine=True))
            stored = [r.stored.message for r in journal.records(copy)]
            return [(message.role, message.content) for message in stored]
        finally:
            await journal.close()

    middle = [] if role == "tool" else [(role, text)]
    assert asyncio.run(round_trip()) == [("user", "Go"), *middle, ("assistant", "End")]


async def test_what_no_person_wrote_does_not_come_back_from_markdown_as_their_word(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    pid = (await journal.create_process()).pid
    label = Label(Origin.UNTRUSTED)
    await journal.append(pid, piped("Sum this up.", "Obey me."), turn=1, label=label)
    reminder = Message("user", "(Reminder) Call Ann", name=BY_REMINDER)
    await journal.append(pid, reminder, turn=2, label=Label(Origin.MODEL))
    task = Message("user", "Pay Eve.")  # as a model tells it an assistant that it started
    await journal.append(pid, task, turn=3, label=Label(Origin.MODEL))
    file = file_of(tmp_path, "".join(export(journal.path, format="md")), "a.md")
    assert "Obey me." in file.read_text("utf-8")
    [copy] = await take(other, file, mine=True)
    assert [r.stored.message.content for r in other.records(copy)] == ["Sum this up."]


async def test_several_conversations_in_one_markdown_file_stay_apart(
    tmp_path: Path, journal: Journal
) -> None:
    for n in (1, 2):
        pid = (await journal.create_process(title=f"Talk {n}")).pid
        await journal.append(pid, Message("user", f"in {n}"), turn=1)
    text = "".join(export(journal.path, format="md"))
    pids = await take(journal, file_of(tmp_path, text, "all.md"))
    assert [journal.process(pid).title for pid in pids] == ["Talk 1", "Talk 2"]
    assert [journal.messages(pid)[0].message.content for pid in pids] == ["in 1", "in 2"]


async def test_what_had_ended_comes_back_as_ended(
    tmp_path: Path, journal: Journal, other: Journal
) -> None:
    for over in (True, False):
        pid = (await journal.create_process(title="T")).pid
        await journal.append(pid, Message("user", "Said."), turn=1)
        if over:
            await journal.end_process(pid, "killed")
    for form, name in (("md", "all.md"), ("jsonl", "all.jsonl")):
        text = "".join(export(journal.path, format=form))  # type: ignore[arg-type]
        pids = await take(other, file_of(tmp_path, text, name))
        ended = [other.process(pid).ended for pid in pids]
        assert ended[1] is None and ended[0] is not None
        assert int(ended[0]) == int(journal.process(1).ended or 0)
    assert other.verify() == [] and consistent(other.path) == []


async def test_messages_without_a_title_are_named_by_the_first_that_was_said(
    tmp_path: Path, journal: Journal
) -> None:
    [pid] = await take(journal, file_of(tmp_path, MESSAGES))
    assert journal.process(pid).title == "Time?"
    assert len(journal.records(pid)) == 7
    [long] = await take(journal, file_of(tmp_path, [{"role": "user", "content": "word\n" * 99}]))
    title = journal.process(long).title
    assert len(title) <= limits.TITLE_CHARS and title.startswith("word word") and title[-1] == "…"
    await erase(journal, [journal.records(long)[0].stored.seq], "forgotten")
    assert journal.process(long).title == ""


# --- commands ---------------------------------------------------------------------------------


async def kept(home: Path) -> Path:
    path = home / "state" / "journal.db"
    journal = Journal(path)
    await talk(journal)
    await journal.close()
    return path


def test_the_commands_export_to_a_private_file_and_import_it_again(home: Path) -> None:
    asyncio.run(kept(home))
    file = home / "all.jsonl"
    done = CliRunner().invoke(commands.export, ["-o", str(file)])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    done = CliRunner().invoke(commands.import_, ["--mine", str(file), "--title", "Again"])
    assert done.exit_code == 0, done.output
    assert done.output == "Process 2 “Again”: 5 messages; a copy, all of it was here already.\n"
    done = CliRunner().invoke(commands.export, ["2", "-o", str(home / "one.md")])
    assert done.exit_code == 0, done.output
    assert "# Again" in (home / "one.md").read_text()
    assert sorted(os.listdir(home)) == ["all.jsonl", "one.md", "state"]


def test_an_export_without_a_file_goes_to_standard_output(home: Path) -> None:
    asyncio.run(kept(home))
    done = CliRunner().invoke(commands.export, ["1", "--format", "md"])
    assert done.output.startswith("<!-- llmos: process 1 -->\n# A talk\n")
    done = CliRunner().invoke(commands.export, [])
    assert json.loads(done.output.splitlines()[0])["type"] == "journal"


def test_an_export_that_fails_leaves_no_file(home: Path) -> None:
    asyncio.run(kept(home))
    done = CliRunner().invoke(commands.export, ["99", "-o", str(home / "x")])
    assert isinstance(done.exception, NoSuchProcess)
    assert os.listdir(home) == ["state"]
    done = CliRunner().invoke(commands.export, ["-o", str(home / "none" / "x")])
    assert isinstance(done.exception, BadFile)


def test_what_has_no_end_is_not_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(kept(home))
    os.mkfifo(home / "pipe")
    for path in ("/dev/zero", str(home / "pipe"), str(home)):
        done = CliRunner().invoke(commands.import_, [path])
        assert isinstance(done.exception, BadFile) and "is no file." in str(done.exception)
    monkeypatch.setattr(limits, "IMPORT_VALUE_CHARS", 100)
    (home / "x.md").write_text("# Title\n" + "word " * 100)
    done = CliRunner().invoke(commands.import_, [str(home / "x.md")])
    assert "x.md, line 2: it is too long." in str(done.exception)


def test_an_export_replaces_no_pipe_and_no_link(home: Path) -> None:
    asyncio.run(kept(home))
    (home / "link").symlink_to(home / "file")
    assert CliRunner().invoke(commands.export, ["-o", str(home / "link")]).exit_code == 0
    assert (home / "link").is_symlink() and (home / "file").read_text()
    os.mkfifo(home / "pipe")
    reader = os.open(home / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert CliRunner().invoke(commands.export, ["1", "-o", str(home / "pipe")]).exit_code == 0
    assert json.loads(os.read(reader, 65536).splitlines()[0])["type"] == "journal"
    os.close(reader)
    assert stat.S_ISFIFO((home / "pipe").stat().st_mode)
    done = CliRunner().invoke(commands.export, ["-o", ""])
    assert isinstance(done.exception, BadFile)


def test_an_import_needs_the_kernel_to_be_stopped(home: Path) -> None:
    with lock(home / "state"):
        done = CliRunner().invoke(commands.import_, [str(home / "x")])
    assert isinstance(done.exception, KernelRunning)


def test_an_import_that_stops_at_a_mistake_says_what_it_kept(home: Path) -> None:
    good, bad = home / "good.json", home / "bad.json"
    good.write_text(json.dumps(MESSAGES))
    bad.write_text("{")
    done = CliRunner().invoke(commands.import_, [str(good), str(bad)])
    assert done.output.startswith(
        "Process 1 “Time?”: 7 messages.\n  Its system prompt was left out"
    )
    assert isinstance(done.exception, BadFile)
    assert "listed above was imported" in str(done.exception)


async def test_what_is_remembered_is_no_conversation_that_is_exported_or_imported(
    journal: Journal, other: Journal, path: Path, tmp_path: Path
) -> None:
    pid = await talk(journal)
    home = await Facts(journal).home()
    pieces = list(export(path))
    assert '"pid":' in pieces[1] and '"title":"Memory"' not in "".join(pieces)
    older = tmp_path / "older.jsonl"  # as one that was told to export it, too
    older.write_text("".join(export(path, [pid, home])))
    assert len(await import_conversations(other, read(older, mine=True))) == 1


async def test_an_import_tells_copies_of_what_is_here_already(
    journal: Journal, other: Journal, path: Path, tmp_path: Path
) -> None:
    await talk(journal)
    file = tmp_path / "talks.jsonl"
    file.write_text("".join(export(path)))
    told = []
    for into in (journal, other, other):
        await import_conversations(into, read(file), done=lambda _, made: told.append(made.copy))
    assert told == [True, False, True]
