"""Whether a text says what a sentence says, judged by the words themselves; no model.

A sentence is supported where its words stand in the text in the same order, close together, in one
sentence, or in two of which the second goes on about the first ("It …"): the longest common
subsequence of words, as ROUGE-L has it (Lin, "ROUGE", 2004), over what the sentence says. Some
words decide by themselves and must all be there: numbers and the units behind them, names, and
words whose opposite would fit as well. What denies or weakens must be on both sides or on neither.

It finds what is said in the same or nearly the same words, and doesn't promise more: a free
paraphrase counts as unsupported. Rather nothing is cited than something false.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmos import limits
from llmos.kernel.wordlists import DECISIVE, DENYING, NUMBERS, PRONOUNS, STOP, WEAKENING

__all__ = ["Effort", "Passages", "Support", "Word", "sentences", "telling", "words"]

#: Of the words that do not decide by themselves, the share that may be missing.
_MISSING = 0.2
#: The same where a sign is less than a word.
_MISSING_SIGNS = 0.1
#: Candidates in one text, the best by the words they have in common with the sentence.
_CANDIDATES = 6
_LEAD, _TAIL = 4, 2  # words around a stretch in which a denial still concerns it

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003134f"
)
_TOKEN = re.compile(
    rf"(?P<sign>[{_UNSPACED}])"
    r"|(?P<number>(?<![^\W_])(?:(?<!\S)[-−])?\d+(?:[.,'’\u00a0\u202f]\d+)*(?![^\W_]))"
    r"|(?P<symbol>[%‰°$€£¥₹])"
    rf"|(?P<word>(?:(?![{_UNSPACED}])(?:[^\W_]|[\u0300-\u036f]))+"
    r"(?:['’](?:[^\W_]|[\u0300-\u036f])+)*)"
)
_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？｡][」』”’）]*|\n+")
_ABBREVIATED = re.compile(
    r"(?:\b[^\W\d_]|\b(?:Dr|Mr|Mrs|Ms|Prof|St|Nr|No|Fig|vs|etc|approx|ca|bzw|Jan|Feb|Aug|Sept|Oct"
    r"|Nov|Dec|Inc|Ltd|Co|Jr|Sr|e\.g|i\.e|z\.B|d\.h|u\.a))\.$"
)
_THOUSANDS = re.compile(r"\d{1,3}(?:[,'’\u00a0\u202f]\d{3})+(?:\.\d+)?")

_DENYING_SIGNS = re.compile(
    "不|没|沒|未|无|無|非|勿|ない|ません|なかっ|なく|않|못|없|아니|ไม่|मत|नहीं|ليس|لا |לא "
)
_PARTICLES = frozenset(
    "的了是在和与與也都就而及之は が を に で と の も へ や か".replace(" ", "")
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word, a number or a sign of a text.

    Args:
        key: By which it is the same as another.
        start / end: Where it stands.
        plain: As it stands there, in lower case.
        stop: It says nothing by itself.
        decisive: A sentence is not supported without it.
        sign: Of a script that writes no spaces.
    """

    key: str
    start: int
    end: int
    plain: str
    stop: bool = False
    decisive: bool = False
    sign: bool = False


@dataclass(frozen=True, slots=True)
class Support:
    """That a text says what a sentence says.

    Args:
        score: Share of the sentence's telling words that stand there, up to 1.
        start / end: The sentences of the text that do.
    """

    score: float
    start: int
    end: int


@dataclass(slots=True)
class Effort:
    """What may still be spent on comparing, in pairs of words; nobody's text may cost more."""

    left: int = field(default_factory=lambda: limits.CITING_STEPS)

    def spend(self, steps: int) -> bool:
        """Whether there was enough left."""
        self.left -= steps
        return self.left >= 0


def words(text: str, start: int = 0, end: int | None = None) -> list[Word]:
    """The words of a stretch of ``text``, in their order."""
    out: list[Word] = []
    number_at = -1  # where the last number ended
    for found in _TOKEN.finditer(text, start, len(text) if end is None else end):
        plain = unicodedata.normalize("NFKC", found[0]).casefold()
        kind, at, to = found.lastgroup, found.start(), found.end()
        if kind == "number":
            out.append(Word(_number(plain), at, to, plain, decisive=True))
            number_at = to
            continue
        if kind == "symbol":
            out.append(Word(plain, at, to, plain, decisive=True))
            continue
        if kind == "sign":
            stop, kana = plain in _PARTICLES, "\u3040" <= plain <= "\u309f"
            out.append(Word(plain, at, to, plain, stop, not (stop or kana), sign=True))
            continue
        unit = number_at >= 0 and at - number_at <= 1
        name = found[0][0].isupper() and text[to : to + 1] != ","
        caseless = plain.upper() == plain.lower()
        stop = plain in STOP or plain in DENYING or plain in WEAKENING or _contracted(plain)
        if plain in ("percent", "per cent"):
            out.append(Word("%", at, to, plain, decisive=True))
            continue
        decisive = not stop and (
            unit
            or name
            or caseless
            or plain in DECISIVE
            or plain in NUMBERS
            or any(sign.isdecimal() for sign in plain)
        )
        out.append(Word(NUMBERS.get(plain) or _stem(plain), at, to, plain, stop, decisive))
    return out


def telling(found: Sequence[Word]) -> list[Word]:
    """Of these words those that say something."""
    return [word for word in found if not word.stop]


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of ``text`` stand, without the space around them."""
    out, start = [], 0
    for end in _END.finditer(text):
        if end[0][0] == "." and _ABBREVIATED.search(text, max(start, end.start() - 12), end.end()):
            continue
        out.append((start, end.end()))
        start = end.end()
    out.append((start, len(text)))
    trimmed = [(_skip(text, a, b), a + len(text[a:b].rstrip())) for a, b in out]
    return [(a, b) for a, b in trimmed if a < b]


class Passages:
    """A text, made ready to be compared with sentences.

    Args:
        text: Any; what is beyond ``limits.EVIDENCE_CHARS`` is not looked at.
    """

    def __init__(self, text: str) -> None:
        self.text = text[: limits.EVIDENCE_CHARS]
        self._pieces: list[list[Word]] = []
        self._bounds: list[tuple[int, int]] = []
        for start, end in sentences(self.text):
            found = words(self.text, start, end)
            for at in range(0, len(found), limits.CITED_WORDS):
                piece = found[at : at + limits.CITED_WORDS]
                whole = len(found) <= limits.CITED_WORDS
                self._pieces.append(piece)
                self._bounds.append((start, end) if whole else (piece[0].start, piece[-1].end))
        self._places: dict[str, list[int]] = defaultdict(list)
        for at, piece in enumerate(self._pieces):
            for key in {word.key for word in piece}:
                self._places[key].append(at)

    def support(self, claim: str, effort: Effort) -> Support | None:
        """The best support for one sentence; None where there is none.

        Args:
            claim: The sentence.
            effort: What may be spent; with nothing left there is none.
        """
        said = words(claim)
        sought = telling(said)
        if not sought or len(sought) > limits.CITED_WORDS:
            return None
        if len(sought) == 1 and not sought[0].decisive:
            return None
        keys = {word.key for word in sought}
        if not effort.spend(sum(len(self._places.get(key, ())) for key in keys)):
            return None
        common: Counter[int] = Counter()
        for key in keys:
            common.update(self._places.get(key, ()))
        needed = len(keys) - _missing(sought)
        able = [(n, at, 1) for at, n in common.items() if n >= needed]
        for at in common:
            for first in (at - 1, at):
                if 0 <= first < len(self._pieces) - 1 and self._goes_on(first + 1):
                    both = common[first] + common[first + 1]
                    if both >= needed:
                        able.append((both, first, 2))
        best: Support | None = None
        # A single sentence before two, and earlier ones before later ones.
        for _, at, count in sorted(set(able), key=lambda c: (c[2], -c[0], c[1]))[: 2 * _CANDIDATES]:
            score = self._compared(claim, said, sought, at, count, effort)
            if score and (best is None or score > best.score):
                best = Support(score, self._bounds[at][0], self._bounds[at + count - 1][1])
        return best

    def _goes_on(self, at: int) -> bool:
        """Whether a sentence is about what the one before it named; else they are two things."""
        return any(word.plain in PRONOUNS for word in self._pieces[at][:2])

    def _compared(
        self,
        claim: str,
        said: Sequence[Word],
        sought: Sequence[Word],
        at: int,
        count: int,
        effort: Effort,
    ) -> float:
        """How well the sentences from ``at`` on support the claim; 0 where they do not."""
        there = [word for piece in self._pieces[at : at + count] for word in piece]
        if not effort.spend(len(sought) * len(there)):
            return 0.0
        pairs = _common(sought, there)
        missing = [word for n, word in enumerate(sought) if n not in pairs]
        if not pairs or len(missing) > _missing(sought) or any(w.decisive for w in missing):
            return 0.0
        first, last = min(pairs.values()), max(pairs.values())
        if last - first > 2 * len(said) + 10:  # the words are strewn over the text
            return 0.0
        if _part_of_another(there, set(pairs.values()), first, last):
            return 0.0
        around = there[max(first - _LEAD, 0) : last + 1 + _TAIL]
        if _denials(claim, said) != _denials(self.text[around[0].start : around[-1].end], around):
            return 0.0
        weak = {word.plain for word in around if word.plain in WEAKENING}
        if weak - {word.plain for word in said}:
            return 0.0
        return len(pairs) / len(sought)


def _missing(sought: Sequence[Word]) -> int:
    signs = sum(word.sign for word in sought)
    return int(len(sought) * (_MISSING_SIGNS if 2 * signs > len(sought) else _MISSING))


def _common(a: Sequence[Word], b: Sequence[Word]) -> dict[int, int]:
    """The longest common subsequence: places in ``a`` with their places in ``b``."""
    rows = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) - 1, -1, -1):
        row, below, key = rows[i], rows[i + 1], a[i].key
        for j in range(len(b) - 1, -1, -1):
            if b[j].key == key:
                row[j] = below[j + 1] + 1
            else:
                row[j] = below[j] if below[j] >= row[j + 1] else row[j + 1]
    pairs, i, j = {}, 0, 0
    while i < len(a) and j < len(b):
        if a[i].key == b[j].key:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif rows[i + 1][j] >= rows[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _part_of_another(there: Sequence[Word], taken: set[int], first: int, last: int) -> bool:
    """Whether a number was left out that bounds one that was not: of "3 of 5" only the 5."""
    for at in range(first, last):
        word = there[at]
        if at not in taken and word.key[-1:].isdecimal() and word.decisive:
            behind = there[at + 1].plain
            if behind in ("of", "or", "to", "out", "von", "sur", "de", "bis"):
                return True
    return False


def _denials(text: str, found: Sequence[Word]) -> int:
    denied = sum(word.plain in DENYING or _contracted(word.plain) for word in found)
    return denied + len(_DENYING_SIGNS.findall(text))


def _contracted(plain: str) -> bool:
    return plain.endswith(("n't", "n’t"))


def _number(plain: str) -> str:
    """A number in one spelling: without what groups its digits, in ASCII."""
    digits = "".join(
        str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in plain
    ).replace("−", "-")
    bare = digits.removeprefix("-")
    if _THOUSANDS.fullmatch(bare):
        bare = re.sub(r"[,'’\u00a0\u202f ]", "", bare)
    return ("-" if digits.startswith("-") else "") + bare


def _stem(word: str) -> str:
    """A word without its commonest English endings, the same for both sides."""
    word = word.replace("’", "'").removesuffix("'s")
    if word.endswith("ies") and len(word) > 5:
        return word[:-3] + "y"
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def _skip(text: str, start: int, end: int) -> int:
    return end - len(text[start:end].lstrip())
