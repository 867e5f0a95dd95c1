"""Texts that the bench makes: haystacks and needles, key-value pairs, a long chat.

All of it is made from a seed and the words in ``texts.json``: the same seed gives the same texts on
every machine.

Sources of the methods: RULER's single and multi-key needle tasks (Hsieh et al. 2024,
arXiv:2404.06654): a sentence with a word as its key and a number of seven digits as its value,
hidden at a given depth in repeated noise (``niah_single_1``) or in essays (``niah_single_2``).
Its essays are somebody's; these sentences are put together here from word lists. MemGPT's nested
key-value task (Packer et al. 2023, arXiv:2310.08560): UUID pairs where a value may itself be a key.
"""

from __future__ import annotations

import itertools
import json
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from llmos.bench.memory.api import Past

__all__ = [
    "MEMORIZE",
    "Needle",
    "Nested",
    "chat",
    "chunks",
    "essay",
    "hide",
    "needles",
    "nested",
    "noise",
    "past",
    "texts",
]

Count = Callable[[str], Awaitable[int]]
_PAST = 1_762_000_000.0  # November 2025


@cache
def texts() -> dict[str, Any]:
    """Words and sentences that everything here is made of."""
    data: dict[str, Any] = json.loads(files(__package__).joinpath("texts.json").read_text("utf-8"))
    return data


# --- needles ----------------------------------------------------------------------------------

#: What comes before a haystack, after RULER.
MEMORIZE = (
    "Some special magic numbers are hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the numbers afterwards."
)


@dataclass(frozen=True, slots=True)
class Needle:
    """A word and its number."""

    word: str
    number: str

    @property
    def sentence(self) -> str:
        """What is hidden."""
        return f"One of the special magic numbers for {self.word} is: {self.number}."

    @property
    def question(self) -> str:
        """What is asked afterwards."""
        return f"What is the special magic number for {self.word} mentioned in the provided text?"


def needles(random: random.Random, count: int) -> list[Needle]:
    """So many needles, all words and numbers different."""
    adjectives, nouns = texts()["needle_adjectives"], texts()["needle_nouns"]
    words = ["-".join(pair) for pair in itertools.product(adjectives, nouns)]
    numbers = random.sample(range(1_000_000, 10_000_000), count)
    return [
        Needle(word, str(number))
        for word, number in zip(random.sample(words, count), numbers, strict=True)
    ]


# --- haystacks --------------------------------------------------------------------------------


def noise() -> Iterator[str]:
    """RULER's repeated sentences, without end."""
    return itertools.cycle(texts()["noise"])


def essay(random: random.Random) -> Iterator[str]:
    """Sentences as an essayist might write them, without end and hardly ever the same twice."""
    parts = texts()["essay"]
    while True:
        who, did, that, why = (random.choice(parts[part]) for part in ("who", "did", "that", "why"))
        shape = random.randrange(3)
        if shape == 0:
            yield f"{who[0].upper()}{who[1:]} {did} that {that}, {why}."
        elif shape == 1:
            yield f"{why[0].upper()}{why[1:]}, {who} {did} that {that}."
        else:
            yield random.choice(parts["aside"])


async def chunks(sentences: Iterator[str], total: int, size: int, count: Count) -> list[list[str]]:
    """Sentences for messages of about ``size`` tokens, ``total`` in all.

    Args:
        count: Tokens of a text.
    """
    known: dict[str, int] = {}
    out: list[list[str]] = [[]]
    in_all = in_chunk = 0
    for sentence in sentences:
        if sentence not in known:
            known[sentence] = await count(f" {sentence}")
        if out[-1] and in_chunk + known[sentence] > size:
            out.append([])
            in_chunk = 0
        out[-1].append(sentence)
        in_chunk += known[sentence]
        in_all += known[sentence]
        if in_all >= total:
            break
    return out


def hide(haystack: Sequence[Sequence[str]], hidden: Sequence[tuple[str, float]]) -> list[str]:
    """The messages, with sentences put between theirs.

    Args:
        haystack: Sentences of each message.
        hidden: What to hide, and how deep: 0 is the beginning, 1 the end.
    """
    out = [list(sentences) for sentences in haystack]
    for sentence, depth in hidden:
        message, within = divmod(min(depth, 0.999999) * len(out), 1)
        here = out[int(message)]
        here.insert(round(within * len(here)), sentence)
    return [" ".join(sentences) for sentences in out]


# --- nested keys ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nested:
    """A store of pairs and a chain in it.

    Args:
        pairs: Key to value.
        key: Where the chain begins.
        value: Where it ends.
        level: How many values on the way are keys themselves.
    """

    pairs: dict[str, str]
    key: str
    value: str
    level: int


def nested(random: random.Random, count: int, level: int) -> Nested:
    """So many pairs, one chain of ``level`` nestings among them; no other value is a key."""

    def new() -> str:
        return str(uuid.UUID(int=random.getrandbits(128), version=4))

    chain = [new() for _ in range(level + 2)]
    pairs = [*itertools.pairwise(chain), *((new(), new()) for _ in range(count - level - 1))]
    random.shuffle(pairs)
    return Nested(dict(pairs), chain[0], chain[-1], level)


# --- a long chat ------------------------------------------------------------------------------


def past() -> list[Past]:
    """A conversation of another day, about which the chat asks."""
    return [(role, text, _PAST + 60 * at) for at, (role, text) in enumerate(texts()["past"])]


def chat() -> list[str]:
    """Sixty turns: small talk, calls, things to remember, and questions about them later."""
    return list(texts()["chat"])
