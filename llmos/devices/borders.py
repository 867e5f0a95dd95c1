"""Where a sentence or clause ends, told from what stands before the place alone.

After the first blank behind a full stop a voice may begin to speak; nothing here looks further.
What that costs: an abbreviation that also ends its sentence ends it only with the next one. The
abbreviations of all languages with data count at once, since an answer's language is known only
after some of it.
"""

from __future__ import annotations

import re

from llmos.devices.contracts import Border
from llmos.devices.spoken_de import GERMAN
from llmos.devices.spoken_en import ENGLISH

__all__ = ["at_blank", "between"]

#: Behind these a sentence is over without a blank.
_WIDE_ENDS = frozenset("。！？｡")
_WIDE_PAUSES = frozenset("，、；：､")
#: What may stand between the end of a sentence and the border.
_CLOSERS = frozenset("\"'”’»)]*_~」』）】》")

_MARK = re.compile(
    r"(?P<word>[^\s\"'“”„‘’«»()\[\]*_~]*?)(?P<mark>[.!?…:;,—–-]+)"
    r"(?:[\"'”’»)\]*_~`]|\[\^?\d{1,3}\])*\Z"
)
_INITIALS = re.compile(r"\w{1,2}(?:\.\w{1,2})+")  # e.g, U.S, d.h
_BEFORE = re.compile(r"(\w+)[\s*_(\[\"'“„]+\Z")

_ABBREVIATIONS = frozenset(
    short.rstrip(".").lower()
    for lexicon in (ENGLISH, GERMAN)
    for short in lexicon.abbreviations
    if short.endswith(".") and " " not in short
)
_SUFFIXES = tuple(short.rstrip(".") for short in GERMAN.suffixes)

#: German: a number and a full stop after one of these is an ordinal ("am 3. Mai").
_BEFORE_ORDINAL = frozenset(GERMAN.before_ordinals)


def at_blank(tail: str, first: bool) -> Border | None:
    """The border between ``tail`` and a blank behind it, or None.

    Args:
        tail: The last characters of the clause so far, some 50 of them.
        first: ``tail`` is all there is.
    """
    found = _MARK.search(tail)
    if found is None:
        return None
    word, mark = found["word"], found["mark"]
    if "!" in mark or "?" in mark:
        return Border.SENTENCE
    if mark == ".":
        return None if _abbreviated(word, tail[: found.start()], first) else Border.SENTENCE
    if mark[-1] in ".…:;,":
        return Border.CLAUSE
    return Border.CLAUSE if not word or mark[-1] == "—" else None  # a dash, not a hyphen


def between(tail: str, char: str) -> Border | None:
    """The border between ``tail`` and ``char``, which is no blank, or None."""
    if char in _CLOSERS or char in _WIDE_ENDS or char in _WIDE_PAUSES:
        return None
    last = tail.rstrip("\"'”’»)]*_~」』）】》")[-1:]
    if last in _WIDE_ENDS and last:
        return Border.SENTENCE
    if last in _WIDE_PAUSES and last:
        return Border.CLAUSE
    return Border.CLAUSE if last == "—" and char != "—" else None


def _abbreviated(word: str, before: str, first: bool) -> bool:
    """Whether the full stop behind ``word`` belongs to it."""
    plain = word.lower()
    if plain == "no":
        # an answer by itself, a number within a sentence; within quotation marks an answer again
        return word == "No" and before.strip() != "" and before[-1].isspace()
    if plain.endswith(_SUFFIXES):
        return True
    if plain in _ABBREVIATIONS or _INITIALS.fullmatch(word):
        return True
    if len(word) == 1 and word.isalpha() and word != "I":
        return True  # an initial, "z. B."
    if word.isdigit() and len(word) < 3:
        earlier = _BEFORE.search(before)
        return earlier[1].lower() in _BEFORE_ORDINAL if earlier else first and not before.strip()
    return False
