"""Where a message falls into clauses, and which of them want an answer.

A cut is made at the end of a sentence, at a comma and before a conjunction; but never inside a
value that a test accepts, nor between the items of a list of values, nor behind a condition that
what follows hangs on. Which of the possible cuts are made is for ``choose.py`` to weigh. Also what
a clause says besides the values in it, for an argument that takes any words.

Apart from the number words in ``spans.py`` this is the part that is English.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence

from llmos.kernel.spans import EDGE, NUMBER, maximal

__all__ = ["apart", "closed", "endings", "grouped", "split", "wants_answer"]

_PIECES = 6  # most pieces a message is cut into
_REQUEST_WORDS = 3  # from so many words on, a clause without a call may want an answer
_BREAK = re.compile(r"(?<=[.?!;])\s+|,\s+|\s+(?=(?:and|then|also|but)\s)", re.I)
_JOINED = re.compile(r"\b(?:and|then|also|but)$", re.I)
_LEAD = re.compile(r"^(?:(?:and|then|also|but|first)\b[, ]*)+", re.I)
_CLOSING = (".", "?", "!", ";")
_CLOSED = re.compile(r"[.?!;]\s")
_NUMBER_LAST = re.compile(rf"(?:^|[\s$€£])(?:{NUMBER.pattern})%?,?$")
# "When it is noon in Rome, …" sets a condition; "When is Easter, …" asks.
_CONDITION = re.compile(
    r"(?:(?:and|so|but|ok|well)\s)?(?:if|because|once|while"
    r"|when(?:\s(?:i|we|you|he|she|they|it|it's|the|my|our|a|an)\b|ever))\b[^,]*,\s*$",
    re.I,
)
_QUOTED = re.compile(r"\"([^\"]+)\"|“([^”]+)”|(?<!\w)['‘]([^'’]+)['’](?!\w)")
# What ties a text to the value before or behind it, and belongs to neither.
_TIES = {
    *("to", "that", "about", "of", "and", "then", "in", "at", "on", "by", "from", "for", "with"),
    *("within", "inside", "under", "into", "through", "please"),
}
_ARTICLES = {"the", "a", "an"}
# What a clause that only tells something begins with.
_TELLS = re.compile(
    r"(?:i|i'm|i've|we|my|our|you|he|she|it|it's|they|his|her|their|the|a|an|this|that|there|these"
    r"|thanks|thank|please|hi|hello|hey|good|ok|okay|yes|no|sorry|if|when|after|before|now)\b",
    re.I,
)


def split(message: str, tests: Iterable[Callable[[str], bool]]) -> list[str]:
    """The smallest pieces a message may be cut into; joined they are the message.

    Args:
        message: The person's words.
        tests: Tests of values.
    """
    words = list(re.finditer(r"\S+", message))
    values = [
        [(words[s.start].start(), words[s.end - 1].end()) for s in maximal(message, test)]
        for test in tests
    ]
    cuts = [m.end() for m in _BREAK.finditer(message) if _may_cut(message, m.end(), values)]
    cuts = cuts[: _PIECES - 1]
    pieces = [message[a:b] for a, b in itertools.pairwise([0, *cuts, len(message)])]
    return [p for p in pieces if p.strip()] or [message]


def grouped(pieces: Sequence[str], cuts: Sequence[bool]) -> list[str]:
    """Pieces joined to clauses; a cut after the n-th piece ends a clause there."""
    groups, start = [], 0
    for at, cut in enumerate([*cuts, True], 1):
        if cut:
            groups.append(_LEAD.sub("", "".join(pieces[start:at]).strip()))
            start = at
    return groups


def endings(
    clause: str,
    taken: Iterable[str],
    after: Sequence[str] = (),
    until: Sequence[str] = (),
    *,
    only: bool = False,
) -> list[str]:
    """What a clause may say besides some values: texts that end where a value begins, or it ends.

    A text that is quoted is what is meant, then one behind such a word as stands before it; else
    where it begins is left open, longest first.

    Args:
        clause: The person's words.
        taken: Values in it that are spoken for.
        after: What a text stands behind: words, a few in a row, or a colon.
        until: What another text stands behind: one that was told from ``after`` ends there.
        only: A text that is not quoted must stand behind one of them.
    """
    rest = clause
    for value in sorted((value for value in taken if value), key=len, reverse=True):
        pattern = r"\s+".join(map(re.escape, value.split()))
        rest = re.sub(rf"(?<!\w){pattern}(?!\w)", "\n", rest, count=1, flags=re.I)
    quoted = [next(filter(None, found)) for found in _QUOTED.findall(rest)]
    if quoted:
        return list(dict.fromkeys(" ".join(text.split()) for text in quoted))
    told, found = [], []
    for part in rest.split("\n"):
        words = part.split()
        while words and words[-1].strip(EDGE).lower() in {*_TIES, *_ARTICLES, ""}:
            words.pop()
        texts = [" ".join(words[start:]).strip(EDGE) for start in range(len(words))]
        begins = (_behind_sign(words, at, after) for at in range(len(words)))
        for begin in itertools.islice(filter(None, begins), 1):
            ends = (at for at in range(begin + 1, len(words)) if _behind_sign(words, at, until))
            told.append(" ".join(words[begin : next(ends, None)]).strip(EDGE))
        found += [text for text in texts if text and text.split()[0].lower() not in _TIES]
    return list(dict.fromkeys(told if only else told or found))


def _behind_sign(words: Sequence[str], at: int, after: Sequence[str]) -> int:
    """Where the text begins that stands behind the longest sign at ``at``; 0 where none does."""
    said = [word.strip(EDGE).lower() for word in words[at:]]
    signs = [sign.split() for sign in after if sign != ":"]
    length = max((len(sign) for sign in signs if said[: len(sign)] == sign), default=0)
    if not length and ":" in after and words[at].endswith(":"):
        length = 1
    return at + length if length and at + length < len(words) else 0


def stands_behind(clause: str, value: str, after: Sequence[str]) -> bool:
    """Whether a value stands behind one of some words, with no more than "the folder" between."""
    signs = "|".join(re.escape(sign) for sign in after if sign != ":")
    between = rf"\s+(?:(?:{'|'.join(_ARTICLES)})\s+)?(?:(?:folder|directory|file)\s+)?[\"'“‘`]?"
    return bool(signs) and bool(
        re.search(rf"\b(?:{signs}){between}{re.escape(value)}(?!\w)", clause, re.I)
    )


def closed(message: str, clause: str) -> bool:
    """Whether a sentence ends right before a clause."""
    return message[: message.find(clause)].rstrip().endswith(_CLOSING)


def apart(message: str, clause: str) -> bool:
    """Whether a clause begins a sentence of its own or follows a conjunction."""
    before = message[: message.find(clause)].rstrip()
    return before.endswith(_CLOSING) or _JOINED.search(before) is not None


def wants_answer(clause: str) -> bool:
    """Whether a clause without a call is a question or a request, not just a remark."""
    asks = clause.rstrip().endswith("?") or not _TELLS.match(clause)
    return asks and len(clause.split()) >= _REQUEST_WORDS


def _may_cut(message: str, at: int, values: Sequence[Sequence[tuple[int, int]]]) -> bool:
    """Whether a cut before ``message[at]`` keeps together what belongs together.

    ``values`` are the places of values, test by test.
    """
    if any(start < at < end for found in values for start, end in found):
        return False
    before = message[:at].rstrip()
    if before.endswith(_CLOSING):
        return True
    sentence = _CLOSED.split(message[:at])[-1]
    return not (_CONDITION.match(sentence) or _in_list(message, at, len(before), values))


def _in_list(message: str, at: int, end: int, values: Sequence[Sequence[tuple[int, int]]]) -> bool:
    """Whether a list goes on there: two values of one kind, or two numbers that are no values."""
    after = _LEAD.sub("", message[at:])
    start = len(message) - len(after)
    ending = [any(a < end <= b for a, b in found) for found in values]
    beginning = [any(a == start for a, _ in found) for found in values]
    numbers = bool(_NUMBER_LAST.search(message[:end]) and NUMBER.match(after))
    if numbers:
        return not any(e and b for e, b in zip(ending, beginning, strict=True))
    return any(e and b for e, b in zip(ending, beginning, strict=True))
