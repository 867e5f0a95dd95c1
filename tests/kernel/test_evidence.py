from __future__ import annotations

import asyncio

import pytest

from llmos import limits
from llmos.events import Message
from llmos.kernel.evidence import Exhibits, numbered
from llmos.labels import Label, Origin
from llmos.memory.erase import erase
from llmos.memory.journal import Journal
from llmos.services import Evidence

FOREIGN = Label(Origin.UNTRUSTED)
A, B, C = (
    Evidence("https://a.example/", "First", "Apples are red."),
    Evidence("https://b.example/", "Second", "Bananas are yellow."),
    Evidence("https://c.example/", "Third", "Cherries are small."),
)


@pytest.fixture
async def journal(home):
    opened = Journal(home / "journal.db")
    yield opened
    await opened.close()


async def taken(journal, exhibits, pid, *found, turn=1):
    """As the kernel does: number, keep the result, keep the texts."""
    numbers = await exhibits.number(pid, turn, "c1", found)
    result = Message("tool", numbered("Found.", numbers), call_id="c1", name="browse.read")
    stored = await journal.append(pid, result, turn=turn, label=FOREIGN)
    await exhibits.keep(pid, turn, "c1", numbers, FOREIGN, stored.id)
    return [exhibit.number for exhibit in numbers], stored


async def test_numbers_go_on_over_turns_and_restarts(journal):
    pid = (await journal.create_process()).pid
    assert (await taken(journal, Exhibits(journal), pid, A, B))[0] == [1, 2]
    assert (await taken(journal, Exhibits(journal), pid, C, turn=2))[0] == [3]
    kept = await Exhibits(journal).of(pid)
    assert [(e.number, e.title, e.address, e.text) for e in kept] == [
        (n, e.title, e.address, e.text) for n, e in enumerate((A, B, C), 1)
    ]


async def test_each_conversation_has_its_own_numbers(journal):
    exhibits = Exhibits(journal)
    one, two = (await journal.create_process()).pid, (await journal.create_process()).pid
    assert (await taken(journal, exhibits, one, A))[0] == [1]
    assert (await taken(journal, exhibits, two, B))[0] == [1]


async def test_a_fork_goes_on_from_where_it_left_its_parent(journal):
    exhibits = Exhibits(journal)
    parent = (await journal.create_process()).pid
    await taken(journal, exhibits, parent, A)
    child = (await journal.fork_process(parent)).pid
    await taken(journal, exhibits, parent, B)
    assert (await taken(journal, exhibits, child, C))[0] == [2]
    assert [e.title for e in await exhibits.of(child)] == ["First", "Third"]
    assert [e.title for e in await exhibits.of(parent)] == ["First", "Second"]


async def test_the_same_text_keeps_its_number(journal):
    exhibits = Exhibits(journal)
    pid = (await journal.create_process()).pid
    assert (await taken(journal, exhibits, pid, A, A, B))[0] == [1, 2]
    assert (await taken(journal, exhibits, pid, B, C, turn=2))[0] == [2, 3]
    assert len(await exhibits.of(pid)) == 3


async def test_a_number_that_was_given_out_before_a_kill_never_means_something_else(journal):
    pid = (await journal.create_process()).pid
    await Exhibits(journal).number(pid, 1, "c1", [A, B])  # killed before they were kept
    assert await Exhibits(journal).of(pid) == []
    assert (await taken(journal, Exhibits(journal), pid, C))[0] == [3]


async def test_calls_side_by_side_get_different_numbers(journal):
    exhibits = Exhibits(journal)
    pid = (await journal.create_process()).pid
    found = await asyncio.gather(*(exhibits.number(pid, 1, "c", [each]) for each in (A, B, C)))
    assert sorted(each[0].number for each in found) == [1, 2, 3]


async def test_who_forgets_a_result_forgets_its_evidence_and_the_numbers_stay(journal):
    exhibits = Exhibits(journal)
    pid = (await journal.create_process()).pid
    _, stored = await taken(journal, exhibits, pid, A)
    await erase(journal, [stored.seq], "forgotten")
    assert await exhibits.of(pid) == []
    assert (await taken(journal, exhibits, pid, A))[0] == [2]
    assert await asyncio.to_thread(journal.verify) == []


async def test_empty_and_far_too_much_evidence_is_bounded(journal, monkeypatch):
    monkeypatch.setattr(limits, "EVIDENCE_MAX", 2)
    exhibits = Exhibits(journal)
    pid = (await journal.create_process()).pid
    long = Evidence("x" * 10_000, "t\n\x1b[31m" * 1000, "y" * (limits.EVIDENCE_CHARS + 5))
    numbers = await exhibits.number(pid, 1, "c", [Evidence("a", "b", " \n"), long, B, C])
    assert [e.number for e in numbers] == [1, 2]
    assert len(numbers[0].text) == limits.EVIDENCE_CHARS
    assert len(numbers[0].address) == limits.EVIDENCE_ADDRESS_CHARS
    assert "\n" not in numbers[0].title and "\x1b" not in numbers[0].title


async def test_half_a_surrogate_pair_is_kept_as_something_else(journal):
    exhibits = Exhibits(journal)
    pid = (await journal.create_process()).pid
    await taken(journal, exhibits, pid, Evidence("\ud800", "\udfff", "bad \ud800 text"))
    [kept] = await exhibits.of(pid)
    assert kept.text == "bad ? text"


async def test_a_result_shows_its_numbers(journal):
    exhibits = Exhibits(journal)
    pid = (await journal.create_process()).pid
    [one] = await exhibits.number(pid, 1, "c", [A])
    assert numbered(A.text, [one]) == "[1] First — https://a.example/\nApples are red."
    two = await exhibits.number(pid, 1, "c", [B, C])
    listed = "Hits:\n- Second (https://b.example/): yellow\n- Third (https://c.example/): small"
    assert numbered(listed, two) == (
        "Hits:\n[2] - Second (https://b.example/): yellow\n[3] - Third (https://c.example/): small"
    )
    assert numbered("Nothing.", []) == "Nothing."


async def test_evidence_is_no_part_of_what_is_said(journal):
    exhibits = Exhibits(journal)
    pid = (await journal.create_process()).pid
    await taken(journal, exhibits, pid, A)
    shown = [r for r in journal.records(pid) if r.stored.message.role != "evidence"]
    assert len(shown) == 1
    assert {r.stored.message.role for r in journal.records(pid, role="evidence")} == {"evidence"}
