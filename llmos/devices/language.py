"""In which of the languages that have a voice a text is.

By script where that decides, else by small words and letters, counted. No model: the voices of one
person speak a few languages, and a classifier of all there are takes more memory than a voice
(py3langid 0.4: 106 MB). A text that says nothing about its language has the one of the text before
it. Knows no languages but those below; with a voice of another one it is that voice's script that
decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

__all__ = ["language_of"]

#: Characters that are looked at; enough for any sentence.
_ENOUGH = 2_000
#: Characters of Han that may be a name.
_NAME = 6
#: Weight of a letter that few languages have, against 1 for a small word.
_LETTER = 0.7
#: A language must lead the one before by this much, or nothing changes.
_LEAD = 0.5

#: Scripts and the languages written in them, the likeliest first.
_SCRIPTS: tuple[tuple[str, re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (name, re.compile(f"[{chars}]"), languages)
    for name, chars, languages in (
        ("kana", "\u3040-\u30ff", ("ja",)),
        ("hangul", "\uac00-\ud7af\u1100-\u11ff", ("ko",)),
        ("han", "\u4e00-\u9fff\u3400-\u4dbf", ("zh", "ja")),
        ("cyrillic", "\u0400-\u04ff", ("ru", "uk", "bg", "sr", "kk")),
        ("greek", "\u0370-\u03ff", ("el",)),
        ("arabic", "\u0600-\u06ff", ("ar", "fa", "ur")),
        ("hebrew", "\u0590-\u05ff", ("he",)),
        ("devanagari", "\u0900-\u097f", ("hi", "ne", "mr")),
        ("thai", "\u0e00-\u0e7f", ("th",)),
        ("georgian", "\u10a0-\u10ff", ("ka",)),
        ("tamil", "\u0b80-\u0bff", ("ta",)),
        ("latin", "A-Za-z\u00c0-\u024f\u1e00-\u1eff", ()),
    )
)

#: The commonest small words; what two languages share counts for both.
_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and to in is that it was for on are with as be at this have from or by not"
        " but what all were we when your can said there an which she he they you i my me do if"
        " will would how no yes please his her them their has had about so more its it's i'm"
        " don't who",
        "de": "der die das und ist in den von zu mit sich des auf für nicht ein eine als auch es an"
        " werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen"
        " so zum war haben nur oder aber vor zur bis mehr durch man sein wurde ich du wir ihr"
        " mir mich was wer wo wann warum ja nein bitte kann muss heute hier wenn dann kein"
        " keine mein dein",
        "fr": "le la les de des du et est un une que qui dans en pour pas sur au avec il elle ce se"
        " ne plus par je tu nous vous ils son sa ses mais ou où comme cette bien être était"
        " tout aux sont oui non c'est j'ai très quand quoi pourquoi merci",
        "es": "el la los las de y que en un una es por con no para se del al lo como más pero sus"
        " le su ya o este sí porque esta entre cuando muy sin sobre también me hasta hay donde"
        " yo tú está son qué cómo gracias",
        "it": "il lo la i gli le di e che un una è per non in con si da del della dei come più ma"
        " ho al sono ha anche questo questa mi ti ci quando dove perché sì se nel alla io tu"
        " cosa",
        "nl": "de het een en van ik te dat die in je niet is op aan met als voor zijn er maar om"
        " hem dan zou of wat mijn men dit zo door over ze bij ook tot uit geen naar heeft wij"
        " jij deze",
        "pt": "o a os as de que e do da em um uma para é com não no na por mais se como mas foi ao"
        " ele das tem à seu sua ou ser quando muito há nos já está eu também só pelo você isso"
        " obrigado",
        "sv": "och i att det som en på är av för med den till inte om ett han var jag de vi men sig"
        " från har så kan när du ska eller vad hur också mycket",
        "pl": "i w nie na się z do to że jest jak ale o po co tak za od przez czy jestem ma już dla"
        " tego są był być może tylko ja ty my",
        "tr": "bir ve bu da de için ile ne çok var ben sen o mi mı gibi daha en olarak değil ama"
        " kadar",
    }.items()
}
_LETTERS = {
    "de": "äöüßÄÖÜ",
    "fr": "éèêàçùœîôû",
    "es": "ñ¿¡áíóú",
    "it": "èòàùì",
    "pt": "ãõçáéâê",
    "sv": "åäöÅÄÖ",
    "pl": "ąęłńśźżćóŁŚŻ",
    "tr": "ğışçöüİŞ",
    "nl": "ĳ",
}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_UKRAINIAN = re.compile("[іїєґІЇЄҐ]")


def language_of(text: str, among: Sequence[str], before: str) -> str:
    """The language of ``text``.

    Args:
        text: What was said or is to be said.
        among: The languages that have a voice, as in ``en``; at least one.
        before: The language so far; what a text that decides nothing is in.

    Returns:
        One of ``among``, or ``before`` where none of them has any claim.
    """
    sample = text[:_ENOUGH]
    script, written = _script(sample)
    if script not in ("latin", ""):
        if script == "cyrillic" and _UKRAINIAN.search(sample) and "uk" in among:
            return "uk"
        # a name in Han may be Japanese; a sentence without kana is not
        if before in written and before in among and (script != "han" or len(sample) < _NAME):
            return before
        return next((one for one in written if one in among), before)
    scores = _scores(sample, [one for one in among if one in _WORDS])
    best = max(scores, key=lambda one: scores[one], default=before)
    if best == before or scores[best] <= 0 or scores[best] < scores.get(before, 0.0) + _LEAD:
        return before
    return best


def _script(text: str) -> tuple[str, tuple[str, ...]]:
    """The script of most of the text, and who writes it. Kana decide before any Han."""
    best, most = "", 0
    languages: tuple[str, ...] = ()
    for name, chars, written in _SCRIPTS:
        count = len(chars.findall(text)) * (3 if name in ("kana", "han", "hangul") else 1)
        if count > most:
            best, most, languages = name, count, written
        if name == "kana" and count * 2 > len(text):
            break
    if best == "han" and _SCRIPTS[0][1].search(text):
        return "kana", ("ja",)
    return best, languages


def _scores(text: str, among: Sequence[str]) -> dict[str, float]:
    words = Counter(word.lower().replace("’", "'") for word in _WORD.findall(text))
    out = dict.fromkeys(among, 0.0)
    for language in among:
        out[language] += sum(count for word, count in words.items() if word in _WORDS[language])
        letters = _LETTERS.get(language, "")
        out[language] += _LETTER * min(sum(text.count(letter) for letter in letters), 6)
    return out
