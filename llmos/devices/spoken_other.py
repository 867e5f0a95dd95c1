"""The little that other languages than English and German have: numbers stay figures, which the
voice reads by itself, and signs without a word here are left out."""

from __future__ import annotations

from llmos.devices.contracts import Notice
from llmos.devices.lexicon import Lexicon

__all__ = ["OTHERS"]


def _lexicon(
    code: str, code_shown: str, table: str, formula: str, dot: str, at: str, symbols: dict[str, str]
) -> Lexicon:
    return Lexicon(
        code=code,
        symbols=symbols,
        dot=dot,
        at=at,
        notices={Notice.CODE: code_shown, Notice.TABLE: table, Notice.FORMULA: formula},
    )


OTHERS = {
    lexicon.code: lexicon
    for lexicon in (
        _lexicon(
            "fr",
            "Le code est à l'écran.",
            "Un tableau de {n} lignes est à l'écran.",
            "La formule est à l'écran.",
            "point",
            "arobase",
            {"&": "et", "+": "plus", "=": "égale", "×": "fois", "%": "pour cent", "€": "euros"},
        ),
        _lexicon(
            "es",
            "El código está en la pantalla.",
            "Una tabla de {n} filas está en la pantalla.",
            "La fórmula está en la pantalla.",
            "punto",
            "arroba",
            {"&": "y", "+": "más", "=": "igual a", "×": "por", "%": "por ciento", "€": "euros"},
        ),
        _lexicon(
            "it",
            "Il codice è sullo schermo.",
            "Una tabella di {n} righe è sullo schermo.",
            "La formula è sullo schermo.",
            "punto",
            "chiocciola",
            {"&": "e", "+": "più", "=": "uguale a", "×": "per", "%": "per cento", "€": "euro"},
        ),
        _lexicon(
            "nl",
            "De code staat op het scherm.",
            "Een tabel met {n} rijen staat op het scherm.",
            "De formule staat op het scherm.",
            "punt",
            "apenstaartje",
            {"&": "en", "+": "plus", "=": "is", "×": "keer", "%": "procent", "€": "euro"},
        ),
        _lexicon(
            "pt",
            "O código está na tela.",
            "Uma tabela de {n} linhas está na tela.",
            "A fórmula está na tela.",
            "ponto",
            "arroba",
            {"&": "e", "+": "mais", "=": "igual a", "×": "vezes", "%": "por cento", "€": "euros"},
        ),
    )
}
