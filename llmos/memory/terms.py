"""The words of a text and of a query, such that SQLite's FTS5 finds the one by the other.

FTS5 splits, folds and stems words itself (``TOKENIZER``). Two things are done before it: scripts
written without spaces become overlapping pairs of characters, as Lucene's CJK analyzer has it, and
compatibility forms (full-width digits, ligatures) become ordinary ones. Whatever changes here
changes what is on the disk: raise ``index_schema.VERSION``.

A query is never FTS5's query language: each of its words is quoted, so that a hostile one is text.
"""

from __future__ import annotations

import re
import unicodedata

from llmos import limits

__all__ = ["TOKENIZER", "indexed", "query_terms", "storable"]

TOKENIZER = "porter unicode61 remove_diacritics 2"

#: Thai, Lao, Burmese, Khmer, kana, ideographs and Hangul (whose particles stick to their nouns).
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003134f]+"
)
#: A word, or words joined without a space: an identifier, a number, a date, an address.
_WORD = re.compile(r"[^\W_]+(?:[-‐‑–_.,:;/@+#&'’]+[^\W_]+)*")
_PART = re.compile(r"[^\W_]+")
_DIGIT = re.compile(r"\d")

_ENGLISH = """
a about above after again against all also am an and any are as at be because been before being
below between both but by can could d did do does doing don down during each few for from further
get gets getting go goes going gone got had has have having he her here hers herself him himself his
how i if in into is isn it its itself just let like ll m me more most my myself no nor not now o of
off on once only or other our ours ourselves out over own please re s said same say says shall she
should so some such t tell than that the their theirs them themselves then there these they this
those through to too under until up us ve very was wasn we went were what when where which while who
whom whose why will with would you your yours yourself yourselves
"""
_STOP_WORDS = frozenset(_ENGLISH.split())


def storable(text: str) -> str:
    """``text`` as SQLite can hold it: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def indexed(text: str) -> str:
    """What FTS5 is given to index for ``text``."""
    normal = unicodedata.normalize("NFKC", text).replace("\0", " ")
    return _UNSPACED.sub(lambda run: f" {' '.join(_pairs(run[0]))} ", normal)


def query_terms(query: str) -> tuple[str, ...]:
    """The distinct words of ``query``, each an expression of FTS5's query language.

    Stop words are left out unless there is nothing else. What holds a digit and is written
    without a space ("ZX-4821", "3.14", a UUID) is one term and found only as it stands.

    Returns:
        At most ``limits.INDEX_TERMS``, in their order.
    """
    text = unicodedata.normalize("NFKC", storable(query[: limits.INDEX_QUERY_CHARS]))
    found: dict[str, bool] = {}  # with whether it is a stop word
    start = 0
    for run in _UNSPACED.finditer(text):
        found.update(_words(text[start : run.start()]))
        pairs = _pairs(run[0])
        # A lone character is the beginning of every pair in which it is not the last.
        found.update(
            {f'"{pairs[0]}"*': False} if len(pairs) == 1 else {f'"{p}"': False for p in pairs[:-1]}
        )
        start = run.end()
    found.update(_words(text[start:]))
    telling = [term for term, stop in found.items() if not stop]
    return tuple((telling or list(found))[: limits.INDEX_TERMS])


def _pairs(run: str) -> list[str]:
    """Each character with the one behind it; the last alone."""
    return [run[at : at + 2] for at in range(len(run))]


def _words(text: str) -> dict[str, bool]:
    # Marks are no word characters for Python, but for FTS5 and in most scripts of India.
    shadow = "".join("x" if unicodedata.category(c)[0] == "M" else c for c in text)
    found: dict[str, bool] = {}
    for match in _WORD.finditer(shadow):
        word = re.sub("['’][sS]$", "", text[match.start() : match.end()])
        if _DIGIT.search(word):
            found[f'"{word.casefold()}"'] = False
            continue
        for part in _PART.finditer(shadow, match.start(), match.start() + len(word)):
            folded = text[part.start() : part.end()].casefold()
            found[f'"{folded}"'] = folded in _STOP_WORDS
    return found
