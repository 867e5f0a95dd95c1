"""What a person would say for a text: words for figures, signs, addresses and abbreviations.

One pass from left to right, each character in at most one saying; time is linear in the length.
English and German are complete; of other languages numbers stay figures, which voices read by
themselves, and signs without a word are dropped. Knows no Markdown (``markup.py``) and makes no
sound. Never raises, whatever the text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import cache

from llmos.devices.addresses import read_address
from llmos.devices.figures import Figures
from llmos.devices.letters import shouted, spelled
from llmos.devices.lexicon import Lexicon
from llmos.devices.scripts import unspaced
from llmos.devices.spoken_de import GERMAN
from llmos.devices.spoken_en import ENGLISH
from llmos.devices.spoken_other import OTHERS

__all__ = ["Saying", "lexicon_for", "say"]

_LEXICONS = {"en": ENGLISH, "de": GERMAN, **OTHERS}

_INITIALS = re.compile(r"[A-Z]\.(?:[A-Z](?:\.|(?!\w))){1,4}")

_KEPT = ".,;:!?…。！？，、；："
_INITIAL = re.compile(r"(?:^|[\s.(])[A-Z]\Z")
_AMOUNT = tuple("$€£%°")  # before a slash, as in "5 €/kg"
_JOINING = "'’-‐‑\u200c\u200d\u00ad"  # within words
#: What a mark replaces where both stand behind a word: the dot of an abbreviation, a bracket's.
_WEAKER = {"!": ",;:.", "?": ",;:.", ".": ",", "…": ",", ",": ".", ";": ".,", ":": ".,"}
#: Signs that are typed as two.
_PAIRS = {"->": "→", "=>": "⇒", "<-": "←", "<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "&&": "&"}
_DIGITS = re.compile("[0-9]{1,40}")
_NUMBER_SIGN = re.compile(r"(?:No\.\s?|#)(?=\d)")
_RAW_FIGURES = re.compile(r"[-−]?\d(?:[\d.,:/]{0,40}\d)?")


@dataclass(frozen=True, slots=True)
class Saying:
    """What is said for ``text[start:end]``: words with their punctuation.

    Args:
        start / end: The stretch.
        words: The words, at least one.
        glued: No blank is spoken before it: scripts without blanks.
    """

    start: int
    end: int
    words: tuple[str, ...]
    glued: bool = False


def lexicon_for(language: str) -> Lexicon:
    """The data of a language; ``de-AT`` has those of ``de``, unknown ones next to none."""
    code = language.replace("_", "-").partition("-")[0].lower()
    return _LEXICONS.get(code) or Lexicon(code=code)


def say(text: str, language: str) -> list[Saying]:
    """The words of ``text``, in order, each with the characters that it stands for."""
    return _Reader(text, lexicon_for(language)).read()


class _Reader:
    def __init__(self, text: str, lexicon: Lexicon) -> None:
        self._text = text
        self._lexicon = lexicon
        self._figures = _figures(lexicon.code)
        self._shouted = shouted(text)
        self._calls = 0  # brackets that are open behind a name
        self._out: list[Saying] = []

    def read(self) -> list[Saying]:
        at = 0
        while at < len(self._text):
            at = self._next(at)
        if self._out:
            self._close()
        elif self._lexicon.code == "en":
            self._name_pictures()
        return self._out

    def _next(self, at: int) -> int:
        """Read what begins at ``at``; returns where to go on, further right."""
        text = self._text
        char = text[at]
        if char.isspace():
            return at + 1
        if unspaced(char):
            glued = at > 0 and bool(self._out) and not text[at - 1].isspace()
            end = self._marks(at + 1)
            return self._add(at, end, [text[at:end]], glued)
        starts = at == 0 or not (text[at - 1].isalnum() or text[at - 1] in "_@")
        if starts and (end := self._phrase(at)):
            return end
        if self._figures and (run := _DIGITS.match(text, at)):
            # behind letters, as in H2O: a number, and no more than that
            words = self._figures.read(run[0], 0, "")
            return self._add(at, run.end(), (words[1] if words else run[0]).split())
        if char.isdecimal() and (found := _RAW_FIGURES.match(text, at)):
            return self._add(at, found.end(), [found[0]])
        if char.isalpha():
            return self._word(at)
        return self._sign(at)

    def _phrase(self, at: int) -> int:
        """What is more than a word: an address, an abbreviation, figures. 0: none of them."""
        text, lexicon = self._text, self._lexicon
        if text[at].isalpha() and (end := self._numbers(at)):
            return end  # "Jan. 5" before "Jan."
        if (short := _abbreviations(lexicon.code)) and (found := short.match(text, at)):
            return self._add(at, found.end(), self._in_full(found))
        if lexicon.dot and (address := read_address(text, at, lexicon)):
            return self._add(at, address[0], address[1])
        if lexicon.numerals and (found := _INITIALS.match(text, at)):
            return self._add(at, found.end(), found[0].replace(".", " ").split())
        return 0 if text[at].isalpha() else self._numbers(at)

    def _in_full(self, found: re.Match[str]) -> list[str]:
        plain, lexicon = re.sub(r"\s+", " ", found[0]).lower(), self._lexicon
        if plain in lexicon.after_names and not (
            self._text[found.end() + 1 : found.end() + 2].isupper()
        ):
            return [lexicon.after_names[plain]]
        return lexicon.abbreviations[plain].split()

    def _numbers(self, at: int) -> int:
        """Figures, and what announces them. 0: there are none."""
        text, lexicon = self._text, self._lexicon
        before = self._out[-1].words[-1].strip(_KEPT) if self._out else ""
        char = text[at]
        if char in "-−" and at and not (text[at - 1].isspace() or text[at - 1] in "([="):
            return 0
        if self._figures:
            # "No. 5" and "#5"
            if lexicon.number_sign and (found := _NUMBER_SIGN.match(text, at)):
                return self._add(at, found.end(), [lexicon.number_sign])
            figures = self._figures.read(text, at, before)
            if figures:
                return self._add(at, figures[0], figures[1].split())
        elif found := _RAW_FIGURES.match(text, at):
            return self._add(at, found.end(), [found[0]])
        return 0

    def _word(self, at: int) -> int:
        text, end = self._text, at + 1
        while end < len(text) and (
            (text[end].isalpha() and not unspaced(text[end]))
            or unicodedata.category(text[end])[0] == "M"
            or (text[end] in _JOINING and end + 1 < len(text) and text[end + 1].isalpha())
        ):
            end += 1
        word = text[at:end].replace("\u00ad", "")
        for short, full in self._lexicon.suffixes.items():
            if text[end : end + 1] == "." and word.lower().endswith(short[:-1]):
                return self._add(at, end + 1, [word[: 1 - len(short)] + full])
        if self._lexicon.numerals is None:
            return self._add(at, end, [word])
        if word == "x" and self._operates(at):
            return self._add(at, end, self._lexicon.operators["x"].split())
        words: list[str] = []
        changed = False
        for part in re.split("[-‐‑]", word):
            said = spelled(part, self._lexicon, self._shouted)
            changed = changed or said != [part]
            words += said
        return self._add(at, end, words if changed else [word])

    def _sign(self, at: int) -> int:
        """Punctuation stays with the word before it; signs that have words become words."""
        text, lexicon = self._text, self._lexicon
        if pair := _PAIRS.get(text[at : at + 2]):
            return self._add(at, at + 2, lexicon.symbols.get(pair, "").split())
        char, after = text[at], text[at + 1 : at + 2]
        before = text[at - 1 : at]
        if char in lexicon.operators and self._operates(at):
            return self._add(at, at + 1, lexicon.operators[char].split())
        initial = char == "." and _INITIAL.search(text, max(at - 2, 0), at)
        if initial and after.isspace() and text[at + 2 : at + 3].isupper():
            return at + 1  # J. Smith
        if char in _KEPT:
            self._punctuate(char, at + 1)
        elif char == "(" and before.isalnum():
            self._calls += 1  # f(x)
        elif char == ")" and self._calls:
            self._calls -= 1
        elif char == "/" and after.isalpha() and (before.isdigit() or before in _AMOUNT):
            return self._add(at, at + 1, lexicon.per.split())
        elif char in "()—" or (char in "–-" and before.isspace() and after.isspace()):
            self._punctuate(",", at + (char != "("))
        elif word := lexicon.symbols.get(char):
            alone = not after.strip() and not before.strip()
            means = {
                **dict.fromkeys("<>", alone or after.isdigit()),
                **dict.fromkeys("~@", after.isalnum()),
                "#": after.isdigit(),
            }
            if means.get(char, True):
                return self._add(at, self._marks(at + 1), word.split())
        return at + 1

    def _operates(self, at: int) -> bool:
        """Whether the sign stands between figures, and so is a word."""
        left = self._text[max(at - 2, 0) : at].rstrip()
        right = self._text[at + 1 : at + 3].lstrip()
        if not (left[-1:].isdigit() and right[:1].isdigit()):
            return False
        tight = self._text[at - 1].isdigit()
        return self._text[at] in ":*x/" or not tight

    # --- what was said ----------------------------------------------------------------------

    def _add(self, start: int, end: int, words: list[str], glued: bool = False) -> int:
        if words:
            self._out.append(Saying(start, end, tuple(words), glued))
        return end

    def _punctuate(self, mark: str, end: int) -> None:
        if not self._out:
            return
        last = self._out[-1]
        word = last.words[-1]
        if word[-1] not in _KEPT:
            word += mark
        elif word[-1] in _WEAKER.get(mark, ""):
            word = word[:-1] + mark
        self._out[-1] = replace(last, end=max(end, last.end), words=(*last.words[:-1], word))

    def _close(self) -> None:
        """A full stop that belonged to an abbreviation ends the sentence, too."""
        if self._text.rstrip("\"'”’»)]* \n\t").endswith("."):
            last = self._out[-1]
            if last.words[-1][-1] not in _KEPT:
                self._punctuate(".", last.end)

    def _marks(self, end: int) -> int:
        """``end``, moved behind what a reader sees as one with the character before it."""
        while end < len(self._text) and unicodedata.category(self._text[end])[0] == "M":
            end += 1
        return end

    def _name_pictures(self) -> None:
        """Nothing but pictures: the answer is what they are called."""
        for at, char in enumerate(self._text):
            if unicodedata.category(char) == "So" and len(self._out) < 3:
                name = unicodedata.name(char, "").lower().removesuffix(" sign")
                if not self._out or self._out[-1].words != tuple(name.split()):
                    self._add(at, at + 1, name.split())


@cache
def _figures(language: str) -> Figures | None:
    lexicon = lexicon_for(language)
    return Figures(lexicon.numerals, lexicon.before_ordinals) if lexicon.numerals else None


@cache
def _abbreviations(language: str) -> re.Pattern[str] | None:
    shorts = sorted(lexicon_for(language).abbreviations, key=len, reverse=True)
    if not shorts:
        return None
    written = "|".join(re.escape(short).replace(r"\ ", r"\s") for short in shorts)
    return re.compile(rf"(?:{written})(?!\w)", re.IGNORECASE)
