"""Capitals: which words are spelled, which are read, which are numbers, and which are shouted."""

from __future__ import annotations

import re
import unicodedata

from llmos.devices.lexicon import Lexicon, listed

__all__ = ["shouted", "spelled"]

#: Characters of capitals that may be an acronym; longer ones are words that are shouted.
_ACRONYM = 5
#: Short words in capitals that are meant as words.
_STRESSED = frozenset(
    listed(
        "NO NOT AND OR ALL THE YOU YES DO IS NEVER MUST ONLY BUT IF ANY NEW NOW SO TO ON OF IN WHY"
        " HOW NICHT NIE KEIN ALLE UND ODER NUR SEHR DIE DER DAS IST JA NEIN ABER"
    )
)
_CONSONANTS = re.compile("[BCDFGHJKLMNPQRSTVWXZ]{3}")
_VOWEL = re.compile("[AEIOUYÄÖÜ]")

#: World War II. Longer ones name chapters, shorter ones are letters.
_ROMAN = re.compile("(?=..)X{0,2}(?:IX|IV|V?I{0,3})")


def spelled(word: str, lexicon: Lexicon, loud: bool) -> list[str]:
    """How a word without hyphens is said: itself, or letter by letter, or as a number.

    Args:
        word: The word.
        lexicon: A language that is complete.
        loud: All around it is in capitals, see ``shouted``.
    """
    if len(word) == 1 and "α" <= word <= "ω":
        return [unicodedata.name(word).rpartition(" ")[2].lower()]
    stem = (word[:-1] if word.endswith("s") and len(word) > 2 else word).rstrip("'’")
    ending = word[len(stem) :]
    if len(stem) < 2 or not stem.isupper():
        return [word]
    if lexicon.numerals and _ROMAN.fullmatch(stem):
        return lexicon.numerals.cardinal(_roman(stem)).split()
    if loud or stem in _STRESSED:
        return [word.lower()]
    if (known := lexicon.acronyms.get(stem)) is not None:
        words = (known or stem.capitalize()).split()
    elif len(stem) > _ACRONYM or (
        len(stem) > 3 and _VOWEL.search(stem) and not _CONSONANTS.search(stem)
    ):
        words = [stem.capitalize()]
    else:
        words = [one for one in stem if one.isalpha()] or [stem]
        ending = ending and "'s"  # "A P Is" would be the word "is"
    words[-1] += ending
    return words


def shouted(text: str) -> bool:
    """Whether capitals are how all of it is written."""
    words = [word for word in text.split() if word.isalpha()]
    loud = [word for word in words if word.isupper()]
    return (
        len(words) > 2
        and len(loud) * 2 > len(words)
        and any(len(word) > _ACRONYM or word in _STRESSED for word in loud)
    )


def _roman(numeral: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[sign] for sign in numeral]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-value if value < after else value for value, after in pairs)
