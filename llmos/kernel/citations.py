"""Citations: whether what an answer cites says so, and which it could have cited.

A marker ([3], [1][2], [1, 2], 【3】) stays in an answer only where the evidence of that number says
what the sentence says, in the same or nearly the same words; ``support.py`` says what that is. A
marker that does not hold is taken out. Where a sentence stands nearly word for word in a piece of
evidence and has no marker, one is put there: small models write none.

Code is left alone, and so are numbers in brackets that look like data. Pure functions: they know
texts, neither processes nor windows. They don't promise that evidence is true.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmos import limits
from llmos.kernel.evidence import Exhibit
from llmos.kernel.support import Effort, Passages, Support, sentences, telling, words

__all__ = ["Checked", "Citation", "check", "markers"]

#: From this score on a sentence without a marker is given one.
_SUGGESTED = 0.9
#: Telling words it must have for that; fewer stand in many a text by accident.
_SUGGESTED_WORDS = 4

_LIST = r"\^?\d{1,4}(?:\s*[-–]\s*\d{1,4})?"
_MARKER = re.compile(
    rf"[ \t]*(?:\[\s*(?P<plain>{_LIST}(?:\s*[,;]\s*{_LIST})*)\s*\](?P<link>\(\s*[^()\s]*\s*\))?"
    rf"|【\s*(?P<wide>{_LIST}(?:\s*[,;]\s*{_LIST})*)[^】\n]{{0,80}}】)"
)
#: What stands before brackets that hold data: an operator, a word that announces a value, right
#: before them a one-letter name; and before a list of them perhaps a colon.
_INDEXED = re.compile(r"\b[^\W\d_]$")
_LISTED = re.compile(r"[:(]\s*$")
_DATA = re.compile(
    r"(?:[=+*/<>{\[-]|\b(?:is|are|equals|returns?|gives|array|list|vector|range"
    r"|interval|index|matrix|tuple|set))\s*$",
    re.IGNORECASE,
)
_BRACKETS = re.compile(r"\[[\d,; ]+\]|【[\d,; ]+】")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_TICKS = re.compile(r"`+")
_BEFORE = 24  # characters looked at before brackets
_LEADING = re.compile(r"\s*(?:[-*+•>]|\d{1,3}[.)])\s+|\s*")
_CLOSING = re.compile(r"[.!?…]+[\"'”’»)\]*_]*$|[。！？｡]+[」』”’）]*$")
#: How answers begin before they say what their source says.
_FRAMED = re.compile(
    r"(?:(?:according to|as per|based on|per|in summary|in short|yes|no|so|overall)\b"
    r"[^,.:]{0,80}[,:]"
    r"|(?:the|this|that) (?:page|article|report|source|text|document|site|file|author|result)s?"
    r" (?:\w+ )?(?:says?|states?|shows?|notes?|explains?|reports?|mentions?)(?: that|:|,))\s*",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"\s*;\s*|,\s+(?:and\s+|but\s+|while\s+)?|\s+(?:and|but|while|whereas)\s+")


@dataclass(frozen=True, slots=True)
class Citation:
    """A sentence of an answer, and where it stands in the evidence.

    Args:
        number / title / address: Of the evidence.
        quote: A stretch of its text, to the letter.
        sentence: Of the answer, without its markers.
    """

    number: int
    title: str
    address: str
    quote: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Checked:
    """An answer with the markers that hold.

    Args:
        text: The answer, each marker in the form ``[3]``.
        citations: What holds, in the order of the answer.
        dropped: Numbers that were cited and do not hold there, in the order of the answer.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    dropped: tuple[int, ...] = ()


@dataclass(slots=True)
class _Marks:
    """Markers that stand together in a line.

    Args:
        at: Where in the line without its markers.
        numbers: What they name.
        held: Of these, what is shown.
    """

    at: int
    numbers: list[int]
    held: list[int]


def check(answer: str, evidence: Sequence[Exhibit], *, suggest: bool = True) -> Checked:
    """Keep the markers of an answer that hold.

    What it costs is bounded (``limits.CITED_CHARS``, ``limits.CITING_STEPS``), but it may be felt:
    call it in a thread.

    Args:
        answer: What the model wrote, whole.
        evidence: What its conversation may cite. With none the answer stays as it is.
        suggest: Also cite what has no marker.
    """
    if not evidence:
        return Checked(answer)
    look = _Look(evidence, suggest)
    text = "".join(look.line(line) if prose else line for line, prose in _lines(answer))
    return Checked(text, tuple(look.citations), tuple(look.dropped))


def markers(answer: str) -> list[int]:
    """The numbers that an answer cites, in its order, whatever they name."""
    found = (_markers(line) for line, prose in _lines(answer) if prose)
    return [number for line in found for marker in line for number in _numbers(marker)]


def _lines(answer: str) -> Iterator[tuple[str, bool]]:
    """The lines of an answer, and whether each is prose, in which a bracket may be a marker."""
    fence = ""
    for line in answer.splitlines(keepends=True):
        found = _FENCE.match(line)
        if fence:
            closes = found is not None and found[1].startswith(fence)
            fence = "" if closes else fence
            yield line, False
        elif found:
            fence = found[1]
            yield line, False
        else:
            yield line, True


def _markers(line: str) -> Iterator[re.Match[str]]:
    """What has the form of markers in a line, outside of code."""
    spans, opened = [], dict[int, list[int]]()
    ticks = [(found.start(), found.end()) for found in _TICKS.finditer(line)]
    for start, end in reversed(ticks):  # of each run of backticks the next one of its length
        opened.setdefault(end - start, []).append(start)
    upto = 0
    for start, end in ticks:
        later = opened[end - start]
        while later and later[-1] < end:
            later.pop()
        if start >= upto and later:
            upto = later[-1] + end - start
            spans.append((start, upto))
    code = iter([*spans, (len(line), len(line))])
    start, end = next(code)
    for found in _MARKER.finditer(line):
        while end <= found.start() and end < len(line):
            start, end = next(code)
        if not start <= found.start() < end:
            yield found


def _numbers(marker: re.Match[str]) -> list[int]:
    out: list[int] = []
    for part in re.split(r"[,;]", marker["plain"] or marker["wide"]):
        ends = [int(number) for number in re.findall(r"\d+", part)]
        if len(ends) == 2 and ends[0] < ends[1] <= ends[0] + 10:
            ends = list(range(ends[0], ends[1] + 1))
        out += ends
    return list(dict.fromkeys(out))


class _Look:
    """One look at one answer."""

    def __init__(self, evidence: Sequence[Exhibit], suggest: bool) -> None:
        self.citations: list[Citation] = []
        self.dropped: list[int] = []
        self._exhibits: Mapping[int, Exhibit] = {each.number: each for each in evidence}
        self._suggest = suggest
        self._passages: dict[int, Passages] = {}
        self._chars = limits.CITED_CHARS
        self._effort = Effort()
        self._sentences = limits.CITED_SENTENCES

    def line(self, line: str) -> str:
        """A line with the markers that hold."""
        bare, marks = self._taken_out(line)
        lead = _LEADING.match(bare)
        start = lead.end() if lead else 0
        body = bare.rstrip()
        prose = self._suggest and not body.lstrip().startswith(("#", "|"))
        spans = [(a + start, b + start) for a, b in sentences(body[start:])]
        for n, (a, b) in enumerate(spans):
            self._sentences -= 1
            if self._sentences < 0:
                break
            # A marker behind a sentence's full stop belongs to it, as far as the next begins.
            upto = spans[n + 1][0] if n + 1 < len(spans) else len(bare)
            here = [m for m in marks if (a < m.at or n == 0) and m.at <= max(upto, b)]
            if not self._cited(bare, a, b, here) and prose:
                marks += self._suggestion(bare, a, b)
        self.dropped += [n for m in marks for n in m.numbers if n not in m.held]
        return _put_back(bare, marks)

    def _taken_out(self, line: str) -> tuple[str, list[_Marks]]:
        """The line without its markers, and where they stood."""
        kept, length, start, marks = list[str](), 0, 0, list[_Marks]()
        alone = not _BRACKETS.sub("", line).strip()  # a line of nothing but numbers cites something
        for found in _markers(line):
            numbers = _numbers(found)
            known = any(number in self._exhibits for number in numbers)
            shown = line[max(found.start() - _BEFORE, 0) : found.start()]
            data = _DATA.search(shown) is not None
            data |= len(numbers) > 1 and _LISTED.search(shown) is not None
            data |= found[0][0] == "[" and _INDEXED.search(shown) is not None
            other = bool(found["link"]) or max(numbers) > limits.EVIDENCE_MAX
            other = other or (not shown.strip() and not alone)
            if data or (other and not known):
                continue  # brackets of another kind
            kept.append(line[start : found.start()])
            length, start = length + len(kept[-1]), found.end()
            if marks and not kept[-1]:
                marks[-1].numbers += [n for n in numbers if n not in marks[-1].numbers]
            else:
                marks.append(_Marks(length, numbers, []))
        return "".join([*kept, line[start:]]), marks

    def _cited(self, bare: str, start: int, end: int, marks: Sequence[_Marks]) -> bool:
        """See which markers of a sentence hold; whether any does."""
        whole, since = bare[start:end], start
        for mark in marks:
            upto = min(max(mark.at, start), end)
            stretch = bare[since:upto].strip(" ,;") if since < upto else ""
            claims = [stretch] if len(telling(words(stretch))) > 1 else []
            if whole not in claims:
                claims.append(whole)
            for number in mark.numbers:
                for claim in claims:
                    if (support := self._support(claim, number)) is not None:
                        self._cite(mark, number, support, whole)
                        break
            if not mark.held and len(mark.numbers) > 1:
                self._cited_together(mark, claims[0], whole)
            if mark.held:  # else the next one seems to speak for what stands before this, too
                since = upto
        return any(mark.held for mark in marks)

    def _cited_together(self, mark: _Marks, claim: str, whole: str) -> None:
        """Several numbers hold together where each clause stands in one of them."""
        clauses = [c for c in _CLAUSES.split(claim) if len(telling(words(c))) > 1]
        found: dict[int, Support] = {}
        for clause in clauses:
            held = {n: s for n in mark.numbers if (s := self._support(clause, n)) is not None}
            if not held:
                return
            found = {**held, **found}
        for number, support in sorted(found.items(), key=lambda f: mark.numbers.index(f[0])):
            self._cite(mark, number, support, whole)

    def _suggestion(self, bare: str, start: int, end: int) -> list[_Marks]:
        """A marker for a sentence that stands in the evidence nearly word for word."""
        claim = bare[start:end]
        if claim.rstrip("\"'”’)*_ ").endswith(("?", "？")):
            return []
        if len(telling(words(_unframed(claim)))) < _SUGGESTED_WORDS:
            return []
        best: tuple[float, int, Support] | None = None
        for number in sorted(self._exhibits, reverse=True):  # the newest are what it is about
            support = self._support(claim, number)
            least = _SUGGESTED if best is None else best[0]
            if support is not None and support.score >= least:
                best = (support.score, number, support)
        if best is None:
            return []
        closing = _CLOSING.search(claim)
        mark = _Marks(start + (closing.start() if closing else len(claim)), [best[1]], [])
        self._cite(mark, best[1], best[2], claim)
        return [mark]

    def _support(self, claim: str, number: int) -> Support | None:
        exhibit = self._exhibits.get(number)
        if exhibit is None or not exhibit.text.strip():
            return None
        if number not in self._passages:
            if self._chars <= 0:
                return None
            room = min(len(exhibit.text), self._chars)
            self._passages[number] = Passages(exhibit.text[:room])
            self._chars -= room
        passages = self._passages[number]
        found = passages.support(claim, self._effort)
        unframed = _unframed(claim)
        if found is None and unframed != claim:
            found = passages.support(unframed, self._effort)
        return found

    def _cite(self, mark: _Marks, number: int, support: Support, sentence: str) -> None:
        exhibit = self._exhibits[number]
        mark.held.append(number)
        quote = exhibit.text[support.start : min(support.end, support.start + limits.QUOTE_CHARS)]
        said = " ".join(sentence.split())
        self.citations.append(Citation(number, exhibit.title, exhibit.address, quote, said))


def _unframed(claim: str) -> str:
    """A sentence without how it begins before it says what its source says."""
    framed = _FRAMED.match(claim)
    return claim[framed.end() :] if framed else claim


def _put_back(bare: str, marks: Sequence[_Marks]) -> str:
    """The line with the markers that hold."""
    out, start = [], 0
    for mark in sorted(marks, key=lambda m: m.at):
        if not mark.held:
            continue
        out.append(bare[start : mark.at])
        before = bare[: mark.at].rstrip()
        spaced = bool(before) and ord(before[-1]) < 0x2E80 and bare[mark.at - 1] != " "
        out.append(" " * spaced + "".join(f"[{number}]" for number in mark.held))
        start = mark.at
    return "".join([*out, bare[start:]])
