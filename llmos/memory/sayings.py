"""Whether one text says no more than another, and whether a summary says nothing of its own.

Both are judged by words alone, on the safe side: a duplicate that is not recognised costs a line,
one that is none would cost a memory. Knows no model and no meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmos import limits

__all__ = ["says_no_more", "strays"]

_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:[’'][^\W\d_]+)*")
_SENTENCE = re.compile(r"(?:^|[.!?:;]\s+|\n)\W*$")

#: Words that carry nothing by themselves. Negations, and who does what to whom, are not among them.
_EMPTY = frozenset(
    """a an the this that these those there here is are was were be been being am do does did has
    have had will would shall should can could may might must of to in on at by for with from and
    as or so it its which also just very really please""".split()  # noqa: SIM905 - it reads better
)
_NEGATIONS = frozenset(("not", "no", "never", "none", "nothing", "nobody", "nor", "without"))
_PERSONS = {"i": "me", "my": "me", "mine": "me", "i'm": "me", "me": "me", "myself": "me"}


def says_no_more(text: str, than: str) -> bool:
    """Whether every word of ``text`` that carries something stands in ``than``, in that order.

    The order tells "Ann owes Bob" from "Bob owes Ann"; a word more, such as "not" or another day,
    makes it another saying. Numbers and names must be the same to the letter.
    """
    few, many = list(_carrying(text)), list(_carrying(than))
    if not few or any(word in _NEGATIONS for word in set(many) - set(few)):
        return False
    rest = iter(many)
    return all(word in rest for word in few)


def strays(summary: str, source: str) -> str:
    """How a summary leaves what it is made of; empty where it does not.

    Every number and every name in it must stand in the source, and most of its words. That it is
    true is not said by that: a person can see what it was made of, and undo it.

    Returns:
        Such as ``the number 12``.
    """
    known = list(_words(source))
    numbers = {word for word in known if word[0].isdecimal()}
    stems = {_stem(word) for word in known}
    stray = 0
    told = 0
    for found in _WORD.finditer(summary):
        word, begins = found[0], bool(_SENTENCE.search(summary[: found.start()]))
        worn = word.casefold().replace("’", "'")
        if word[0].isdecimal():
            if worn not in numbers:
                return f"the number {word}"
        elif word[0].isupper() and not begins and _stem(worn) not in stems:
            return f"the name {word}"
        elif worn not in _EMPTY:
            told += 1
            stray += _stem(worn) not in stems
    if told < limits.SUMMARY_WORDS:
        return "too few words"
    return "words of its own" if stray > limits.SUMMARY_STRAY * told else ""


def _words(text: str) -> Iterator[str]:
    for found in _WORD.finditer(text):
        yield found[0].casefold().replace("’", "'")


def _stem(word: str) -> str:
    """What the forms of a word share, roughly: "booked" and "booking" are "book"."""
    return word[: max(4, len(word) - 3)]


def _carrying(text: str) -> Iterator[str]:
    for word in _words(text):
        if word.endswith("n't"):
            yield "not"
        elif word not in _EMPTY:
            yield _PERSONS.get(word, word)
