"""What of a conversation is trusted, is by strangers, and is the person's own: from its labels."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmos import limits
from llmos.events import Message, ToolCall
from llmos.kernel.trust import EXTRACT, Trust, trust, vouched
from llmos.labels import Label, Origin
from llmos.memory.journal import Journal
from llmos.memory.pages import Kind
from llmos.memory.records import piped

WORDS = "the harvest was good"
PRIVATE = Label(Origin.SYSTEM).kept_private()


@dataclass
class Talk:
    """A conversation in a journal."""

    journal: Journal
    pid: int

    async def keep(
        self,
        role: str,
        text: str = WORDS,
        label: Label | Origin = Origin.SYSTEM,
        *,
        message: Message | None = None,
        turn: int = 1,
        error: str = "",
        **more: Any,
    ) -> None:
        label = Label(label) if isinstance(label, Origin) else label
        message = message or Message(role, text, **more)
        await self.journal.append(self.pid, message, turn=turn, label=label, error=error)

    def read(self, **more: Any) -> Trust:
        return trust(self.journal, self.pid, **more)


@pytest.fixture
async def talk(home: Path) -> AsyncIterator[Talk]:
    journal = Journal(home / "state" / "journal.db")
    try:
        yield Talk(journal, (await journal.create_process()).pid)
    finally:
        await journal.close()


async def test_nothing_said_is_nothing_trusted_and_nothing_to_keep(talk: Talk):
    found = talk.read()
    assert not found.said.hold(WORDS) and not found.trusted.hold(WORDS)
    assert not found.foreign and not found.private


async def test_what_the_system_told_is_trusted_and_not_said(talk: Talk):
    found = talk.read(told=[WORDS])
    assert found.trusted.hold(WORDS) and not found.said.hold(WORDS)
    assert not found.private and talk.read(private=True).private


@pytest.mark.parametrize(
    ("role", "origin", "said", "trusted", "foreign"),
    [
        (Kind.USER, Origin.USER, True, True, False),
        (Kind.USER, Origin.MODEL, False, False, False),  # a reminder, a task
        (Kind.USER, Origin.PLUGIN, False, False, False),
        (Kind.USER, Origin.UNTRUSTED, False, False, True),
        (Kind.ASSISTANT, Origin.MODEL, False, False, False),
        (Kind.ASSISTANT, Origin.SYSTEM, False, False, False),
        (Kind.ASSISTANT, Origin.UNTRUSTED, False, False, True),
        (Kind.TOOL, Origin.SYSTEM, False, True, False),
        (Kind.TOOL, Origin.USER, False, True, False),
        (Kind.TOOL, Origin.MODEL, False, False, False),
        (Kind.TOOL, Origin.PLUGIN, False, False, False),
        (Kind.TOOL, Origin.UNTRUSTED, False, False, True),
        (Kind.RECALLED, Origin.USER, False, True, False),
        (Kind.RECALLED, Origin.MODEL, False, False, False),
        (Kind.RECALLED, Origin.UNTRUSTED, False, False, True),
        (Kind.NOTE, Origin.USER, False, True, False),
        (Kind.NOTE, Origin.PLUGIN, False, False, False),
        (Kind.SUMMARY, Origin.USER, False, False, False),  # nobody is shown it here
        (Kind.EVIDENCE, Origin.UNTRUSTED, False, False, False),
    ],
)
async def test_who_a_record_is_by_tells_what_it_counts_for(
    talk: Talk, role: str, origin: Origin, said: bool, trusted: bool, foreign: bool
):
    await talk.keep(role, label=origin)
    found = talk.read()
    assert (found.said.hold(WORDS), found.trusted.hold(WORDS)) == (said, trusted)
    assert found.foreign is bool(found.strangers) is foreign


async def test_of_what_was_piped_in_only_the_words_before_it_are_the_persons(talk: Talk):
    await talk.keep("user", message=piped("write to ann", WORDS), label=Origin.UNTRUSTED)
    found = talk.read()
    assert found.said.hold("write to ann") and not found.trusted.hold(WORDS)
    assert [(name, text.strip()) for name, text in found.strangers] == [
        ("what was piped in, turn 1", WORDS)
    ]
    assert found.shown()[0].words.hold(WORDS) and not found.shown()[0].words.hold("write to ann")


async def test_a_strangers_text_has_the_name_of_the_call_and_the_turn(talk: Talk):
    await talk.keep(Kind.TOOL, label=Origin.UNTRUSTED, name="page.read", turn=3)
    await talk.keep(Kind.TOOL, "more", label=Origin.UNTRUSTED)
    await talk.keep(Kind.USER, "somebody's, imported", label=Origin.UNTRUSTED)
    names = [name for name, _ in talk.read().strangers]
    assert names == ["page.read, turn 3", "a page, turn 1", "a page, turn 1"]


async def test_values_that_are_vouched_for_are_trusted_and_what_cannot_be_read_vouches_for_nothing(
    talk: Talk,
):
    await talk.keep(Kind.VOUCHED, json.dumps({"vouched": ["bob@x.org", 7, None]}))
    for broken in ("{", "[]", '{"vouched": {}}', ""):
        await talk.keep(Kind.VOUCHED, broken)
    found = talk.read()
    assert found.trusted.hold("bob@x.org") and not found.said.hold("bob@x.org")
    assert not found.trusted.hold(7)


@pytest.mark.parametrize(
    ("role", "label", "name", "private"),
    [
        (Kind.TOOL, PRIVATE, "", True),
        (Kind.ASSISTANT, PRIVATE, "", True),
        (Kind.RECALLED, PRIVATE, "p12", True),
        (Kind.TOOL, Label(Origin.SYSTEM), "m3", False),
        (Kind.RECALLED, Label(Origin.USER), "p12 p13", False),
        (Kind.RECALLED, Label(Origin.USER), "p12 m3", True),  # what is remembered of the person
        (Kind.NOTE, Label(Origin.USER), "", True),
        (Kind.EVIDENCE, PRIVATE, "", False),
    ],
)
async def test_what_is_the_persons_own_is_not_to_be_told_to_others(
    talk: Talk, role: str, label: Label, name: str, private: bool
):
    await talk.keep(role, label=label, name=name)
    assert talk.read().private is private


@pytest.mark.parametrize(
    ("origin", "turn", "foreign"),
    [
        (Origin.PLUGIN, 1, False),  # it speaks
        (Origin.PLUGIN, 2, True),  # it speaks no more
        (Origin.SYSTEM, 2, False),  # it came with llmos
    ],
)
async def test_what_an_expert_was_told_is_a_strangers_text_once_it_speaks_no_more(
    talk: Talk, origin: Origin, turn: int, foreign: bool
):
    await talk.keep(Kind.EXPERT, label=origin, name="helper", turn=1)
    found = talk.read(turn=turn)
    assert found.foreign is foreign and not found.trusted.hold(WORDS)
    assert [name for name, _ in found.strangers] == ["the expert helper"] * foreign


async def test_an_expert_that_a_conversation_was_begun_with_speaks_in_every_turn_of_it(talk: Talk):
    await talk.keep(Kind.ROLE, "", name="helper")
    await talk.keep(Kind.EXPERT, label=Origin.PLUGIN, name="helper", turn=1)
    assert not talk.read(turn=5).foreign
    await talk.keep(Kind.EXPERT, label=Origin.PLUGIN, name="other", turn=6)
    assert [name for name, _ in talk.read(turn=6).strangers] == ["the expert helper"]


async def test_a_value_that_was_read_is_told_with_its_place_and_is_no_strangers_text(talk: Talk):
    call = ToolCall("c1", EXTRACT, {"call": "site.read", "arguments": {"address": "x.org"}})
    await talk.keep(Kind.ASSISTANT, "", Origin.MODEL, message=Message("assistant", "", (call,)))
    await talk.keep(Kind.TOOL, "5", Origin.MODEL, name=EXTRACT, call_id="c1")
    await talk.keep(Kind.TOOL, "none: it does not say", Origin.MODEL, name=EXTRACT, call_id="c1")
    await talk.keep(Kind.TOOL, "6", Origin.MODEL, name=EXTRACT, call_id="c1", error="denied")
    await talk.keep(Kind.TOOL, "7", Origin.MODEL, name="page.read", call_id="c1")
    await talk.keep(Kind.VOUCHED, "{}", name=EXTRACT, call_id="c1")
    found = talk.read()
    [(place, value)] = found.read
    assert value == "5" and place.startswith("site.read") and place.endswith("turn 1")
    assert found.extracted()[0].words.hold(5)
    assert not found.foreign and not found.trusted.hold(5)


@pytest.mark.parametrize(
    ("data", "values"),
    [
        ({"id": 7, "subject": "no"}, ["7"]),
        ({"mails": [{"id": "a"}, {"id": "b"}]}, ["a", "b"]),
        ({"id": ["a", ["b"]]}, ["a", "b"]),
        ({"id": {"other": "no"}}, []),  # a field within it is not vouched for by its name
        ({"id": True, "other": {"id": None}}, []),
        ("id", []),
        (None, []),
    ],
)
def test_only_the_fields_that_are_vouched_for_are_taken(data: object, values: list[str]):
    assert sorted(vouched(["id"], data)) == values


def test_of_what_is_vouched_for_no_more_is_kept_than_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "VOUCHED_CHARS", 3)
    assert len(vouched(["id"], [{"id": "aa"}] * 9)) == 2
