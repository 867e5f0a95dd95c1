"""Which memories a person means, and which one a new memory stands beside.

What is taken away or called outdated is judged by words alone, in their order; meaning only finds
what is worth showing. Knows memories, not calls; changes nothing, and asks no model.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Sequence

from llmos import limits
from llmos.errors import LlmosError
from llmos.kernel.memory import Memory
from llmos.memory.facts import Fact
from llmos.memory.passages import Hit

__all__ = ["beside", "like", "meant", "quoted", "standing"]

log = logging.getLogger(__name__)

_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*")
#: Words that are there in one version of a saying and missing in the next.
_EMPTY = frozenset(("a", "an", "the", "that", "now", "actually", "please", "currently", "new"))
#: Words that only point, so that alone they mean no memory.
_POINTING = _EMPTY - {"new", "now", "currently"} | frozenset(
    [
        *("it", "this", "these", "those", "them", "him", "her", "me", "my", "mine", "i", "we"),
        *("our", "us", "you", "your", "am", "is", "are", "was", "everything", "anything", "all"),
        *("what", "of", "one", "last", "said", "told", "about"),
    ]
)
_LONG = {"i'm": "i am", "i've": "i have", "we're": "we are", "we've": "we have"}


def meant(facts: Sequence[Fact], about: str) -> list[Fact]:
    """The facts that say ``about`` itself: all of its words stand in them, side by side.

    So "my locker" means "My locker number is 12", and "my birthday" does not mean "My wife's
    birthday is in May". Where a fact says just that and no more, it is the one.
    """
    wanted = _words(about)
    if not set(wanted) - _POINTING:
        return []
    found = [(fact, _words(fact.text)) for fact in facts]
    found = [(fact, words) for fact, words in found if _within(wanted, words)]
    exact = [fact for fact, words in found if words == wanted]
    return exact if len(exact) == 1 else [fact for fact, _ in found]


async def like(memory: Memory, about: str) -> list[Fact]:
    """The facts a person may mean by ``about``, the likeliest first; none where the index fails."""
    hits = await _found(memory, about)
    near = (hit for hit in hits if (hit.similarity or 0.0) >= limits.FACT_MEANT)
    return _facts(memory, near)[: limits.SEARCH_SHOWN]


async def beside(memory: Memory, fact: Fact) -> Fact | None:
    """An older fact that ``fact`` may be the new version of: it begins alike, and ends otherwise.

    Such as "My bus is line 12" of "My bus is line 5". One at most, the nearest in meaning.
    """
    words = _words(fact.text)
    hits = await _found(memory, fact.text)
    for hit in sorted(hits, key=lambda hit: -(hit.similarity or 0.0)):
        if (hit.similarity or 0.0) < limits.FACT_NEAR:
            break
        others = _facts(memory, [hit])
        if others and others[0].block == fact.block and _began(others[0]) < _began(fact):
            other = _words(others[0].text)
            if _version(words, other):
                return others[0]
    return None


def quoted(fact: Fact) -> str:
    """A fact's id, and its text where that is neither too long to say nor too short.

    Whole or not at all: forgetting it takes along what holds its whole text, so that no part of it
    may be said (``limits.FORGET_CHARS``).
    """
    if len(fact.text.rstrip(".!? ")) >= limits.FORGET_CHARS and len(fact.text) <= limits.FACT_SAID:
        return f"{fact.id} (“{fact.text}”)"
    return fact.id


async def _found(memory: Memory, text: str) -> list[Hit]:
    try:
        return await memory.search(
            text[: limits.QUERY_CHARS], k=2 * limits.SEARCH_SHOWN, sources=("fact",)
        )
    except LlmosError as error:
        log.info("no memory like it is looked for: %s", error)
        return []


def standing(memory: Memory) -> list[Fact]:
    """What is remembered, but for what goes when the turn is over."""
    return [fact for fact in memory.facts.all() if fact.id not in memory.forgetting.doomed]


def _began(fact: Fact) -> int:
    return min(fact.records)


def _facts(memory: Memory, hits: Iterable[Hit]) -> list[Fact]:
    known = {fact.id: fact for fact in standing(memory)}
    return [known[hit.passage.id] for hit in hits if hit.passage.id in known]


def _words(text: str) -> list[str]:
    said = text.casefold().replace("’", "'")
    found = [word for each in _WORD.findall(said) for word in _LONG.get(each, each).split()]
    return [word for word in found if word not in _EMPTY]


def _version(words: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two sayings begin alike and end otherwise, or differ in their numbers alone."""
    plain, others = ([w for w in each if not w[0].isdecimal()] for each in (words, other))
    if plain == others and len(plain) >= limits.FACT_ALIKE:
        return words != other
    return limits.FACT_ALIKE <= _alike(words, other) < min(len(words), len(other))


def _alike(words: Sequence[str], other: Sequence[str]) -> int:
    """How many words two sayings begin with in common."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(words, other, strict=False))
    return sum(1 for _ in pairs)


def _within(wanted: Sequence[str], words: Sequence[str]) -> bool:
    """Whether some words stand side by side among others."""
    size = len(wanted)
    return any(list(words[at : at + size]) == list(wanted) for at in range(len(words) - size + 1))
