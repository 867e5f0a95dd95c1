"""Whether two texts say the same, and whether a summary says something of its own.

Both are judged by words alone: a duplicate that is not recognised costs a line, one that is none
would cost a memory. Knows no model and no meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmos import limits

__all__ = ["say_the_same", "strays"]

_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+(?:[’'][^\W\d_]+)*|[^\s\w]")
_SENTENCE = re.compile(r"(?:^|[.!?:;]\s+|\n)\W*$")

#: Words that change nothing where they stand or are missing.
_EMPTY = frozenset(("a", "an", "the", "that", "please", "also", "just", "really", "very"))
#: Words that a summary may have of its own.
_COMMON = frozenset(
    """a an the this that these those there here is are was were be been being am do does did has
    have had will would shall should can could may might must of to in on at by for with from and
    as or so it its which also just very really please""".split()  # noqa: SIM905 - it reads better
)


def say_the_same(one: str, other: str) -> bool:
    """Whether two texts are the same but for case, marks, and words that change nothing.

    The order counts, too: it tells "Ann owes Bob" from "Bob owes Ann".
    """
    words = list(_carrying(one))
    return bool(words) and words == list(_carrying(other))


def strays(summary: str, source: str) -> str:
    """How a summary leaves what it is made of; empty where it does not.

    Every number and every name in it must stand in the source, and most of its words. That it is
    true is not said by that: a person can see what it was made of, and undo it.

    Returns:
        Such as ``a number``; nothing of what was said.
    """
    known = [word for word in _words(source) if word[0].isalnum()]
    numbers = {word for word in known if word[0].isdecimal()}
    stems = {_stem(word) for word in known}
    stray = told = 0
    for found in _WORD.finditer(summary):
        word, begins = found[0], bool(_SENTENCE.search(summary[: found.start()]))
        worn = word.casefold().replace("’", "'")
        if not word[0].isalnum():
            continue
        if word[0].isdecimal():
            if worn not in numbers:
                return "a number"
        elif word[0].isupper() and not begins and _stem(worn) not in stems:
            return "a name"
        elif worn not in _COMMON:
            told += 1
            stray += _stem(worn) not in stems
    if told < limits.SUMMARY_WORDS:
        return "too few words"
    return "words of its own" if stray > limits.SUMMARY_STRAY * told else ""


def _words(text: str) -> Iterator[str]:
    for found in _WORD.finditer(text):
        yield found[0].casefold().replace("’", "'")


def _carrying(text: str) -> Iterator[str]:
    """The words and numbers of a text, and the marks that carry something (``-``, ``%``, ``€``)."""
    for word in _words(text):
        if word not in _EMPTY and word not in ".,;:!?…\"'()[]“”„‘’":
            yield word


def _stem(word: str) -> str:
    """What the forms of a word share, roughly: "booked" and "booking" are "book"."""
    return word[: max(4, len(word) - 3)]
