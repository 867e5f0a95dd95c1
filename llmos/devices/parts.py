"""The words of a clause and what each stands for, and how much of an answer was heard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmos.devices.contracts import Border, Clause, SpokenPart
from llmos.devices.spoken import lexicon_for, say

__all__ = ["heard_prefix", "parts_of", "spoken_text"]

_ENDS = ".,;:!?…。！？，、；："


def parts_of(clause: Clause, language: str) -> tuple[SpokenPart, ...]:
    """What is said for ``clause``, in a language.

    The parts follow each other without a gap from the clause's start to its end. Where the last
    word does not reach the end, a part without words does.
    """
    if clause.notice is not None:
        said = lexicon_for(language).notices.get(clause.notice, "")
        words = tuple(said.replace("{n}", str(clause.rows)).split())
        words = tuple(word for part in words for word in _read(part, language))
        return (SpokenPart(clause.shown, words, clause.start, clause.end, language),)
    parts: list[SpokenPart] = []
    place = clause.start
    sayings = say(clause.text, language)
    for number, saying in enumerate(sayings, 1):
        words = saying.words
        # what ends with its line has no full stop, and the voice must come down all the same
        if number == len(sayings) and clause.border is Border.BLOCK and words[-1][-1] not in _ENDS:
            words = (*words[:-1], f"{words[-1]}.")
        end = max(place, clause.ends[saying.end - 1])
        shown = clause.shown[place - clause.start : end - clause.start]
        parts.append(SpokenPart(shown, words, place, end, language, saying.glued))
        place = end
    if place < clause.end:
        rest = clause.shown[place - clause.start :]
        parts.append(SpokenPart(rest, (), place, clause.end, language))
    return tuple(parts)


def spoken_text(parts: Iterable[SpokenPart]) -> str:
    """What the voice is given: the words, with blanks where the script has them."""
    out: list[str] = []
    for part in parts:
        if part.words:
            if out and not part.glued:
                out.append(" ")
            out.append(" ".join(part.words))
    return "".join(out)


def heard_prefix(parts: Sequence[SpokenPart], words_heard: int) -> str:
    """The beginning of the answer that was heard.

    A part counts once its last word was heard: half an amount is none. What is silent counts with
    the next word; all of it once every word was heard.

    Args:
        parts: All parts of the answer, in order.
        words_heard: Words that sounded to their end.
    """
    heard, reached, left = 0, 0, words_heard
    total = sum(len(part.words) for part in parts)
    for number, part in enumerate(parts, 1):
        if len(part.words) > left:
            break
        left -= len(part.words)
        heard += len(part.words)
        if part.words or heard == total:
            reached = number
    return "".join(part.text for part in parts[:reached])


def _read(word: str, language: str) -> tuple[str, ...]:
    return tuple(one for saying in say(word, language) for one in saying.words)
