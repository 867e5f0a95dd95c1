"""What passes between the text of an answer, the voice that speaks it, and who listens.

Frozen values, no logic but counting. A span is a pair of offsets into the characters of the whole
answer, as it was streamed, Markdown and all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Border", "Clause", "Notice", "SpokenPart", "Word"]


class Border(StrEnum):
    """What ends a clause; how long a voice rests there is the voice's own business."""

    NONE = "none"  # only that it became too long
    CLAUSE = "clause"  # a comma, a dash, a colon
    SENTENCE = "sentence"
    BLOCK = "block"  # a paragraph, a heading, an item of a list, a row of a table


class Notice(StrEnum):
    """What is shown and not read out."""

    CODE = "code"
    TABLE = "table"
    FORMULA = "formula"


@dataclass(frozen=True, slots=True)
class Clause:
    """A stretch of an answer that can be spoken by itself.

    Clauses follow each other without a gap: each begins where the last one ended.

    Args:
        shown: Its characters in the answer, ``answer[start:end]``.
        start / end: Its span.
        text: What is left of it without markup; empty where there is nothing to say.
        ends: For each character of ``text`` the offset in the answer up to which it stands for
            what is shown; never decreases.
        border: What ends it.
        notice: What to say instead of ``text``, or None.
        rows: Rows of the table that ``notice`` is about.
    """

    shown: str
    start: int
    end: int
    text: str
    ends: tuple[int, ...]
    border: Border
    notice: Notice | None = None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class SpokenPart:
    """The smallest stretch of an answer whose words are known: ``$3.50`` is one, of five words.

    Parts follow each other without a gap, so their texts joined are the answer.

    Args:
        text: Its characters in the answer, what leads up to them included.
        words: What is said for it, in order, with the punctuation a voice needs; none where
            nothing is said.
        start / end: Its span.
        language: Of the words, as in ``en``.
        glued: No space stands before its first word (scripts without spaces).
    """

    text: str
    words: tuple[str, ...]
    start: int
    end: int
    language: str
    glued: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """One word in the sound.

    Args:
        text: The word, as it was given to the voice.
        start_s / end_s: When it sounds, in seconds from the first sample of its clause.
        span: What it stands for in the answer. All words of one part have the same.
    """

    text: str
    start_s: float
    end_s: float
    span: tuple[int, int]
