"""Haystacks, needles, nested keys, long conversations: the same from the same seed, and sound."""

from __future__ import annotations

import itertools
import random
import re
import uuid
from collections import Counter

import pytest

from llmos.bench.memory.conversations import ABSENT, FACTS, PAIRS, UPDATES, generate
from llmos.bench.memory.generators import (
    chat,
    chunks,
    essay,
    hide,
    needles,
    nested,
    noise,
    past,
)


async def words(text):
    """A double of the tokenizer: a token a word."""
    return len(text.split())


# --- needles ----------------------------------------------------------------------------------


def test_needles_differ_in_word_and_number_and_name_both():
    made = needles(random.Random(1), 500)
    assert len({needle.word for needle in made}) == len({needle.number for needle in made}) == 500
    for needle in made:
        assert re.fullmatch(r"\d{7}", needle.number)
        assert needle.word in needle.sentence
        assert needle.number in needle.sentence
        assert needle.word in needle.question
        assert needle.number not in needle.question


def test_the_same_seed_gives_the_same_needles_and_another_seed_others():
    assert needles(random.Random(1), 9) == needles(random.Random(1), 9)
    assert needles(random.Random(1), 9) != needles(random.Random(2), 9)


# --- haystacks --------------------------------------------------------------------------------


def test_an_essay_is_the_same_for_the_same_seed_and_holds_no_number():
    first = list(itertools.islice(essay(random.Random(1)), 2000))
    assert first == list(itertools.islice(essay(random.Random(1)), 2000))
    assert not re.search(r"\d", " ".join(first))
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in first)
    assert len(set(first)) > 1000


@pytest.mark.parametrize("sentences", [noise(), essay(random.Random(1))])
async def test_a_haystack_has_the_length_that_was_asked_for_in_messages_that_are_not_longer(
    sentences,
):
    haystack = await chunks(sentences, 1000, 150, words)
    sizes = [sum(len(sentence.split()) for sentence in message) for message in haystack]
    assert 1000 <= sum(sizes) < 1050
    assert max(sizes) <= 150
    assert min(sizes[:-1]) > 100


@pytest.mark.parametrize(("depth", "place"), [(0.0, 0), (0.5, 2), (1.0, 3)])
def test_a_needle_lies_at_its_depth_and_nothing_else_changes(depth, place):
    haystack = [["A.", "B."], ["C.", "D."], ["E.", "F."], ["G.", "H."]]
    messages = hide(haystack, [("Needle.", depth)])
    assert [at for at, text in enumerate(messages) if "Needle." in text] == [place]
    assert " ".join(messages).replace("Needle. ", "").replace(" Needle.", "") == (
        "A. B. C. D. E. F. G. H."
    )


def test_every_needle_that_is_hidden_is_there_once():
    made = needles(random.Random(3), 9)
    haystack = [["One."], ["Two."], ["Three."]]
    text = " ".join(hide(haystack, [(n.sentence, at / 8) for at, n in enumerate(made)]))
    assert all(text.count(needle.sentence) == 1 for needle in made)
    assert haystack == [["One."], ["Two."], ["Three."]], "the haystack is used again"


# --- nested keys ------------------------------------------------------------------------------


@pytest.mark.parametrize("level", range(5))
def test_a_chain_of_nested_keys_has_its_level_and_ends_at_what_is_no_key(level):
    task = nested(random.Random(level), 140, level)
    assert len(task.pairs) == 140
    assert all(str(uuid.UUID(text)) == text for pair in task.pairs.items() for text in pair)
    at, steps = task.key, 0
    while at in task.pairs:
        at, steps = task.pairs[at], steps + 1
    assert (at, steps) == (task.value, level + 1)
    assert sum(value in task.pairs for value in task.pairs.values()) == level, "no other nesting"


# --- the chat ---------------------------------------------------------------------------------


def test_the_chat_has_sixty_turns_and_a_conversation_before_it():
    assert len(chat()) == 60
    roles = [role for role, _, _ in past()]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    times = [said for _, _, said in past()]
    assert times == sorted(times)


# --- long-term conversations ------------------------------------------------------------------


@pytest.fixture(scope="module")
def conversation():
    return generate(7)


def test_a_conversation_is_the_same_for_the_same_seed_and_another_for_another(conversation):
    assert generate(7) == conversation
    assert generate(8) != conversation


def test_a_conversation_asks_every_kind_of_question_and_never_the_same_twice(conversation):
    kinds = Counter(question.kind for question in conversation.questions)
    expected = {"single": FACTS, "update": UPDATES, "time": PAIRS, "abstention": ABSENT}
    assert kinds == expected
    assert len({question.text for question in conversation.questions}) == sum(expected.values())


def test_every_piece_of_evidence_was_said_once_and_by_the_person(conversation):
    said = Counter(text for role, text, _ in conversation.messages if role == "user")
    for question in conversation.questions:
        assert bool(question.evidence) == (question.kind != "abstention")
        assert all(said[statement] == 1 for statement in question.evidence)


def test_roles_alternate_and_time_goes_on(conversation):
    roles = [role for role, _, _ in conversation.messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2)
    times = [said for _, _, said in conversation.messages]
    assert times == sorted(times)


@pytest.mark.parametrize("seed", range(20))
def test_no_template_is_left_open(seed):
    made = generate(seed)
    texts = [*(text for _, text, _ in made.messages), *(q.text for q in made.questions)]
    assert not [text for text in texts if "{" in text or "}" in text]
