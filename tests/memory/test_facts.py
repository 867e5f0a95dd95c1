"""What a person had remembered: kept, changed with its history, pinned, forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from llmos import limits
from llmos.errors import NotRemembered, NotStored, StoreError
from llmos.labels import Label, Origin
from llmos.memory.erase import erase
from llmos.memory.facts import Facts, passage_of
from llmos.memory.journal import Journal


@pytest.fixture
async def journal(tmp_path: Path):
    made = Journal(tmp_path / "journal.db")
    yield made
    await made.close()


@pytest.fixture
async def facts(journal):
    return Facts(journal)


def texts(facts: Facts) -> list[str]:
    return [fact.text for fact in facts.all()]


async def again(journal) -> Facts:
    facts = Facts(journal)
    facts.load()
    return facts


async def test_a_fact_is_kept_and_read_back(facts, journal):
    fact = await facts.remember("  My sister\n lives in Lisbon. ")
    assert (fact.text, fact.block, fact.label) == (
        "My sister lives in Lisbon.",
        "fact",
        Label(Origin.USER),
    )
    assert (await again(journal)).get(fact.id) == fact
    assert passage_of(fact).id == fact.id and passage_of(fact).source == "fact"


async def test_a_changed_fact_keeps_its_older_texts(facts, journal):
    fact = await facts.remember("I live in Lisbon.")
    await facts.update(fact.id, "I live in Porto.")
    newest = await facts.update(fact.id, "I live in Faro.")
    assert newest.text == "I live in Faro."
    assert [text for _, text in newest.history] == ["I live in Lisbon.", "I live in Porto."]
    assert (await again(journal)).get(fact.id) == newest
    assert texts(facts) == ["I live in Faro."]


async def test_the_same_again_is_no_second_fact(facts):
    first = await facts.remember("I live in Lisbon.")
    second = await facts.remember("I live in Lisbon.")
    assert (second.id, second.history) == (first.id, ())
    assert second.time >= first.time


async def test_core_blocks_and_what_is_pinned_stand_in_front_of_every_conversation(facts):
    await facts.remember("Answer in short sentences.", block="assistant")
    await facts.remember("Call me Sam.", block="user")
    fact = await facts.remember("I am allergic to nuts.")
    assert "nuts" not in facts.core()
    await facts.pin(fact.id)
    assert facts.core() == (
        "About the person you talk with:\n- Call me Sam.\n- I am allergic to nuts.\n\n"
        "What you are for:\n- Answer in short sentences."
    )
    await facts.pin(fact.id, False)
    assert "nuts" not in facts.core()


async def test_what_stands_in_front_is_bounded(facts):
    for number in range(limits.CORE_CHARS // 500):
        await facts.remember(f"{number} " + "x" * 450, block="user")
    with pytest.raises(StoreError, match="every conversation begins with"):
        await facts.remember("y" * 500, block="user")


@pytest.mark.parametrize("text", ["", "  \n", "x" * (limits.FACT_CHARS + 1)])
async def test_nothing_and_too_much_are_refused(facts, text):
    with pytest.raises(StoreError):
        await facts.remember(text)
    assert facts.all() == []


@pytest.mark.parametrize(
    "text",
    [
        "\u200b\u200d\ufeff",
        "\x1b\x07\x00",
        "\u202e \u2066",
        "\u0301\ufe0f",
        "\u3164 \u2800",
        "\ue000\ud800",
    ],
)
async def test_what_nobody_can_see_is_refused(facts, text):
    with pytest.raises(StoreError, match="seen"):
        await facts.remember(text)
    fact = await facts.remember("One.")
    with pytest.raises(StoreError, match="seen"):
        await facts.update(fact.id, text)
    assert texts(facts) == ["One."]


@pytest.mark.parametrize("text", ["漢", "!", "🙂", "5", "می\u200cخواهم", "e\u0301"])
async def test_whatever_can_be_seen_is_kept(facts, text):
    assert (await facts.remember(text)).text == text


async def test_of_two_who_change_one_fact_at_once_both_are_kept_and_the_last_one_stands(
    facts, journal
):
    fact = await facts.remember("I live in Lisbon.")
    await asyncio.gather(
        facts.update(fact.id, "I live in Porto."), facts.update(fact.id, "I live in Faro.")
    )
    now = facts.get(fact.id)
    assert now.text == "I live in Faro."
    assert [text for _, text in now.history] == ["I live in Lisbon.", "I live in Porto."]
    assert (await again(journal)).get(fact.id) == now


async def test_the_same_said_twice_at_once_is_one_fact(facts):
    first, second = await asyncio.gather(facts.remember("One."), facts.remember("One."))
    assert first.id == second.id and texts(facts) == ["One."]


async def test_the_front_stays_short_whoever_adds_to_it_at_once(facts):
    many = [facts.remember(f"{n} " + "x" * 450, block="user") for n in range(8)]
    done = await asyncio.gather(*many, return_exceptions=True)
    assert [type(each) for each in done if isinstance(each, Exception)] == [NotRemembered] * 4
    assert len(facts.core()) <= limits.CORE_CHARS


async def test_a_newer_text_stands_though_the_clock_was_set_back(tmp_path):
    now = [2_000_000_000.0]
    journal = Journal(tmp_path / "clock.db", clock=lambda: now[0])
    facts = Facts(journal)
    fact = await facts.remember("I live in Lisbon.")
    now[0] -= 1e8
    await facts.update(fact.id, "I live in Porto.")
    assert facts.get(fact.id).text == (await again(journal)).get(fact.id).text == "I live in Porto."
    await journal.close()


async def test_whoever_reads_while_facts_are_read_again_sees_all_of_them(facts, monkeypatch):
    for n in range(5):
        await facts.remember(f"Number {n}.")
    take, seen = Facts._take, []

    def watched(self, record):
        seen.append(len(facts.all()))
        return take(self, record)

    monkeypatch.setattr(Facts, "_take", watched)
    facts.load()
    assert seen == [5] * 5


async def test_what_is_not_there_is_said(facts):
    for work in (facts.update("m9", "x"), facts.pin("m9")):
        with pytest.raises(NotStored, match="m9"):
            await work


async def test_what_was_erased_is_gone_with_all_its_texts(facts, journal, tmp_path):
    fact = await facts.remember("The code is swordfish.")
    fact = await facts.update(fact.id, "The code is marlin.")
    await erase(journal, fact.records, "forgotten")
    facts.load()
    assert facts.all() == []
    raw = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"swordfish" not in raw and b"marlin" not in raw


async def test_facts_of_no_conversation_live_in_one_process_that_has_ended(facts, journal):
    await facts.remember("One.")
    await (await again(journal)).remember("Two.")
    [process] = journal.processes(ended=True)
    assert (process.title, process.ended is not None) == ("Memory", True)
    assert journal.processes() == []


async def test_a_change_that_is_refused_changes_nothing_of_it(facts, journal):
    fact = await facts.remember("I live in Lisbon.")
    for number in range(limits.CORE_CHARS // 500):
        await facts.remember(f"{number} " + "x" * 450, block="user")
    with pytest.raises(NotRemembered, match="every conversation begins with"):
        await facts.change(fact.id, text="y" * 500, pinned=True)
    assert facts.get(fact.id) == fact
    assert (await again(journal)).get(fact.id).text == "I live in Lisbon."
    changed = await facts.change(fact.id, text="I live in Porto.", pinned=False)
    assert (changed.text, changed.pinned) == ("I live in Porto.", False)
