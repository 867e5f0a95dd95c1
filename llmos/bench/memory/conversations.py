"""Long-term conversations, made from templates and a seed, and questions with their evidence.

After LongMemEval (Wu et al. 2024, arXiv:2410.10813) and LoCoMo (Maharana et al. 2024,
arXiv:2402.17753): one person talks with an assistant in many sessions over months; facts are said
in passing between small talk, some change later, some questions need two of them, and some ask for
what was never said. Everybody in it has facts of every kind, so that the kind alone finds nothing,
and many questions use other words than the statements do.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmos.bench.memory.api import Past
from llmos.bench.memory.generators import texts

__all__ = ["Conversation", "Question", "generate"]

SESSIONS = 10
FACTS, UPDATES, PAIRS, ABSENT = 14, 7, 7, 6  # questions of each kind in a conversation
SMALL_TALK = 8  # turns of it a session
_BEGAN = 1_735_725_600.0  # 1 January 2025, 10:00 UTC
_SESSION_DAYS = 19
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the statements that answer it; none where nobody said anything about it."""

    kind: str
    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Sessions one after another, and what can be asked about them."""

    messages: tuple[Past, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class _Fact:
    """Somebody and a kind of fact about them.

    Args:
        named / asked: The person in a statement and in a question.
        kind: How it is said, how a change is said, what it is called afterwards, how one asks for
            it (some in the same words, some in others), values.
    """

    named: str
    asked: str
    kind: dict[str, Any]

    def values(self, drawn: random.Random) -> list[str]:
        """A value, and the one it may change to."""
        return drawn.sample(self.kind["values"], 2)

    def say(self, drawn: random.Random, value: str) -> str:
        """A statement."""
        return str(drawn.choice(self.kind["said"])).format(S=self.named, v=value)

    def change(self, value: str) -> str:
        """A statement of another value."""
        return str(self.kind["changed"]).format(S=self.named, v=value)

    def ask(self, drawn: random.Random) -> str:
        """A question for the value."""
        return str(drawn.choice(self.kind["asked"])).format(s=self.asked)

    def event(self, value: str) -> str:
        """What happened, as one refers to it later."""
        return str(self.kind["event"]).format(s=self.asked, v=value)


def generate(seed: int) -> Conversation:
    """The conversation of ``seed``."""
    drawn = random.Random(f"conversation {seed}")
    people, kinds = texts()["people"], texts()["facts"]
    every = [_Fact(named, asked, kind) for named, asked in people for kind in kinds]
    drawn.shuffle(every)
    facts = iter(every)
    sessions: list[list[str]] = [[] for _ in range(SESSIONS)]
    questions = [
        *_singles(drawn, facts, sessions),
        *_updated(drawn, facts, sessions),
        *_in_two(drawn, facts, sessions),
    ]
    for _ in range(ABSENT):
        questions.append(Question("abstention", next(facts).ask(drawn), ()))
    return Conversation(tuple(_said(drawn, sessions)), tuple(questions))


def _singles(
    drawn: random.Random, facts: Iterator[_Fact], sessions: list[list[str]]
) -> Iterator[Question]:
    for _ in range(FACTS):
        fact = next(facts)
        statement = fact.say(drawn, fact.values(drawn)[0])
        drawn.choice(sessions).append(statement)
        yield Question("single", fact.ask(drawn), (statement,))


def _updated(
    drawn: random.Random, facts: Iterator[_Fact], sessions: list[list[str]]
) -> Iterator[Question]:
    """Facts that change in a later session: the newer statement is the evidence."""
    for _ in range(UPDATES):
        fact = next(facts)
        old, new = fact.values(drawn)
        early, late = sorted(drawn.sample(range(SESSIONS), 2))
        sessions[early].append(fact.say(drawn, old))
        sessions[late].append(fact.change(new))
        asked = f"{fact.ask(drawn).removesuffix('?')}, as things stand now?"
        yield Question("update", asked, (fact.change(new),))


def _in_two(
    drawn: random.Random, facts: Iterator[_Fact], sessions: list[list[str]]
) -> Iterator[Question]:
    """Two facts in two sessions, and which came first: both statements are needed."""
    for _ in range(PAIRS):
        pair = [(fact, fact.values(drawn)[0]) for fact in (next(facts), next(facts))]
        statements = [fact.say(drawn, value) for fact, value in pair]
        for at, statement in zip(drawn.sample(range(SESSIONS), 2), statements, strict=True):
            sessions[at].append(statement)
        first, second = (fact.event(value) for fact, value in pair)
        asked = f"Which came first, the day {first} or the day {second}?"
        yield Question("time", asked, tuple(statements))


def _said(drawn: random.Random, sessions: list[list[str]]) -> Iterator[Past]:
    """The messages of all sessions, small talk between the statements."""
    for number, statements in enumerate(sessions):
        talk = []
        for _ in range(SMALL_TALK):
            thing, other = drawn.sample(texts()["things"], 2)
            talk.append(drawn.choice(texts()["small_talk"]).format(n=thing, m=other))
        turns = [*statements, *talk]
        drawn.shuffle(turns)
        when = _BEGAN + number * _SESSION_DAYS * _DAY
        for turn, text in enumerate(turns):
            yield "user", text, when + 90 * turn
            yield "assistant", drawn.choice(texts()["replies"]), when + 90 * turn + 20
