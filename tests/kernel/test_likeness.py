"""Which memories are meant, on facts as they are and the real embedder."""

from __future__ import annotations

import pytest

from llmos import limits
from llmos.kernel.likeness import beside, like, meant, quoted
from llmos.labels import Label, Origin
from llmos.memory.facts import Fact


def facts(*texts: str) -> list[Fact]:
    label = Label(Origin.USER)
    return [Fact(f"m{n}", text, "fact", 1.0, label) for n, text in enumerate(texts, 1)]


KNOWN = facts(
    "My locker number is 4471.",
    "I am allergic to walnuts.",
    "My wife's birthday is 3 May.",
    "My PIN is 1234.",
    "My PIN of the safe is 99.",
    "I am not a morning person.",
)


@pytest.mark.parametrize(
    ("about", "ids"),
    [
        ("my locker number", ["m1"]),
        ("My locker number is 4471", ["m1"]),
        ("I'm allergic to walnuts", ["m2"]),
        ("my locker number is 12", []),
        ("my birthday", []),
        ("I am a morning person", []),
        ("my PIN", ["m4", "m5"]),
        ("my PIN is 1234", ["m4"]),
        ("...", []),
    ],
)
def test_a_fact_is_meant_by_its_own_words_side_by_side(about: str, ids: list[str]) -> None:
    assert [fact.id for fact in meant(KNOWN, about)] == ids


def test_of_two_facts_the_one_that_says_just_that_is_meant() -> None:
    known = facts("I live in Graz.", "I live in Graz and work in Linz.")
    assert [fact.id for fact in meant(known, "I live in Graz")] == ["m1"]
    assert [fact.id for fact in meant(known, "I live")] == ["m1", "m2"]


def test_a_fact_is_quoted_whole_or_not_at_all() -> None:
    short, usual, long = facts("a" * (limits.FORGET_CHARS - 1), "My bus is line 12", "b " * 200)
    assert (quoted(short), quoted(long)) == ("m1", "m3")
    assert quoted(usual) == "m2 (“My bus is line 12”)"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("My dentist appointment is on 21 March", "My dentist appointment is now on 28 March"),
        ("My locker number is 4471", "My locker number is 12"),
        ("My dog is called Pluto", "My dog is called Bruno"),
        ("I live in Graz", "I live in Vienna now"),
        ("I take 20 mg of the blue pills", "I take 40 mg of the blue pills"),
    ],
)
async def test_a_new_version_of_a_fact_stands_beside_it(started, older: str, newer: str) -> None:
    async with started() as kernel:
        memory = kernel.memory
        first = await memory.remember(older)
        await memory.index.settled()
        found = await beside(memory, await memory.remember(newer))
        assert found is not None and found.id == first.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("My dog is called Pluto", "My horse is called Bruno"),
        ("My sister lives in Rome", "My brother lives in Rome"),
        ("I work in Graz", "I live in Graz"),
        ("I live in Graz", "I live in Graz with Anna"),
        ("I am allergic to walnuts", "I am allergic to penicillin"),
    ],
)
async def test_a_fact_of_its_own_stands_beside_none(started, one: str, other: str) -> None:
    async with started() as kernel:
        memory = kernel.memory
        await memory.remember(one)
        await memory.index.settled()
        assert await beside(memory, await memory.remember(other)) is None


async def test_what_may_be_meant_is_found_by_its_meaning(started) -> None:
    async with started() as kernel:
        memory = kernel.memory
        nuts = await memory.remember("I am allergic to walnuts.")
        await memory.remember("The boat is moored in Setubal.")
        await memory.index.settled()
        assert [fact.id for fact in await like(memory, "my nut allergy")] == [nuts.id]


@pytest.mark.parametrize(
    "about", ["it", "this", "everything", "me", "my", "", "what I said about it", "all of it"]
)
def test_what_only_points_means_no_memory(about: str) -> None:
    assert meant(facts("My car: I sold it in May, and this is all of it"), about) == []


def test_new_and_now_tell_two_memories_apart() -> None:
    assert meant(facts("It is my car"), "it is now") == []
