"""Whether what was said so far sounds finished, from its words alone.

Rules over word lists (``turn_words.py``), not a model: a last word that asks for more, a filler, a
clause that announces another one, a number that is being read out. Whisper ends nearly everything
it hears with a full stop, so a full stop counts for little where the words say otherwise. What it
does not know is the melody of the voice, nor what the words mean.
"""

from __future__ import annotations

import re
from typing import Final

from llmos.devices.turn_words import TurnWords, turn_words, words_of

__all__ = ["NEUTRAL", "completeness"]

#: Nothing speaks for or against an end.
NEUTRAL: Final = 0.5
#: Characters at the end that are looked at; a monologue costs no more than a sentence.
TAIL: Final = 400

# The scores, in the order of the rules. They are no measured probabilities, only an order with
# gaps; ``endpoint.py`` makes times of them.
_FILLER: Final = 0.02
_TRAILING_OFF: Final = 0.08  # "…", "-"
_HANGING: Final = 0.08
_COMMA: Final = 0.15
_OPENING: Final = 0.2
_NUMBER: Final = 0.3
_OPENER: Final = 0.2
_ASKING: Final = 0.25  # "do you know who"
_PART: Final = 0.3  # "which of the two"
_STRANDED: Final = 0.4  # may be an end, where punctuation says so
_STRANDED_QUESTION: Final = 0.8
_VERB_LAST: Final = 0.8  # where the language puts its verbs there, it most likely is one
_BARE: Final = 0.45  # no punctuation at all
_BARE_QUESTION: Final = 0.55
_STOP: Final = 0.85
_QUESTION: Final = 0.95
_WHOLE: Final = 0.95

_OFF: Final = re.compile(r"(?:…|\.\.+|[-–—])[\"'”»)\s]*$")
_MARK: Final = re.compile(r"([.!?,;:。！？，、؟।])[\"'”»)\s]*$")
_ASKS: Final = frozenset("?？؟")
_GOES_ON: Final = frozenset(",;:，、")
_SENTENCE: Final = re.compile(r"(?<=[.!?…。！？؟।])\s+")
_DIGITS: Final = re.compile(r"\d")


def completeness(text: str, language: str = "") -> float:
    """How finished ``text`` sounds: 0 surely goes on, 0.5 who knows, 1 surely finished.

    Args:
        text: The transcript so far, with the recogniser's punctuation.
        language: As in ``en``; of one that is not known only the punctuation counts.
    """
    sentence = _SENTENCE.split(text.strip()[-TAIL:])[-1]
    words = words_of(sentence)
    if not words:
        return NEUTRAL
    if _OFF.search(sentence):
        return _TRAILING_OFF
    found = _MARK.search(sentence)
    mark = found.group(1) if found else ""
    known = turn_words(language)
    if known is not None:
        score = _by_words(words, mark, sentence, known)
        if score is not None:
            return score
    if mark in _ASKS:
        return _QUESTION
    if mark in _GOES_ON:
        return _COMMA
    if mark:
        return _STOP
    if known is None:
        return NEUTRAL
    return _BARE_QUESTION if words[0] in known.questions and len(words) > 3 else _BARE


def _by_words(words: list[str], mark: str, sentence: str, known: TurnWords) -> float | None:
    """What the words say, where they say anything."""
    last = words[-1]
    said = " ".join(words)
    if said in known.fillers or last in known.fillers - known.whole - known.hanging:
        return _FILLER
    if mark not in _GOES_ON and (
        said in known.whole or any(said in ways for ways in known.commands.values())
    ):
        return _WHOLE
    if said in known.openers:
        return _OPENER
    if len(words) > 1 and last in known.attributes and words[-2] in known.articles:
        return _STRANDED if mark == "?" else _OPENER
    # "Can you tell me what?": recognisers write the mark after anything that began as a question
    if last in known.asking and len(words) > 2:
        return _ASKING
    if last in known.hanging:
        if last not in known.stranded:
            return _HANGING
        if mark == "?":
            return _STRANDED_QUESTION
        if mark == "." and known.verb_last.intersection(words[:-1]):
            return _VERB_LAST
        # "what are you looking for", without its mark
        if not mark and words[0] in known.questions and not known.verb_last:
            return _BARE_QUESTION
        return _STRANDED if mark in (".", "!") else _HANGING
    if _part(words, known):
        return _PART
    if words[0] in known.opening and "," not in sentence.rstrip(" ,") and mark != "?":
        return _OPENING
    if _counting(words, known):
        return _NUMBER
    return None


def _part(words: list[str], known: TurnWords) -> bool:
    """A question about a part of something that asks nothing yet: it has no auxiliary."""
    return (
        len(words) > 2
        and words[0] in known.questions
        and words[1] in known.part_of
        and not (known.questions - known.asking).intersection(words[1:])
    )


def _counting(words: list[str], known: TurnWords) -> bool:
    """A number is being read out digit by digit: three in a row, or one after "point"."""
    tail = [bool(_DIGITS.search(word)) or word in known.numbers for word in words[-3:]]
    return len(tail) == 3 and all(tail)
