from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.language import language_of
from tests.devices.strategies import texts

ALL = (
    "en",
    "de",
    "fr",
    "es",
    "it",
    "nl",
    "pt",
    "sv",
    "pl",
    "tr",
    "ru",
    "uk",
    "zh",
    "ja",
    "ar",
    "th",
)

SENTENCES = [
    ("en", "What did I say about the budget last week?"),
    ("en", "No, the travel one."),
    ("de", "Was habe ich letzte Woche über das Budget gesagt?"),
    ("de", "Nein, die andere bitte."),
    ("fr", "Qu'est-ce que j'ai dit sur le budget la semaine dernière ?"),
    ("es", "¿Qué dije sobre el presupuesto la semana pasada?"),
    ("it", "Che cosa ho detto del bilancio la settimana scorsa?"),
    ("nl", "Wat heb ik vorige week over het budget gezegd?"),
    ("pt", "O que eu disse sobre o orçamento na semana passada?"),
    ("sv", "Vad sa jag om budgeten förra veckan och varför?"),
    ("pl", "Co powiedziałem o budżecie w zeszłym tygodniu?"),
    ("tr", "Geçen hafta bütçe için ne söyledim?"),
    ("ru", "Что я говорил о бюджете на прошлой неделе?"),
    ("uk", "Що я казав про бюджет минулого тижня, і чому її?"),
    ("zh", "我上周说了什么关于预算的事？"),
    ("ja", "先週、予算について何を言いましたか。"),
    ("ar", "ماذا قلت عن الميزانية الأسبوع الماضي؟"),
    ("th", "สัปดาห์ที่แล้วฉันพูดอะไร"),
]


@pytest.mark.parametrize(("language", "sentence"), SENTENCES)
def test_a_sentence_is_told_whatever_was_spoken_before(language, sentence):
    for before in ("en", "de", "ja"):
        assert language_of(sentence, ALL, before) == language


@pytest.mark.parametrize("text", ["", "OK", "42", "🙂", "Python 3.11", "Berlin"])
def test_what_says_nothing_is_in_the_language_so_far(text):
    assert language_of(text, ALL, "de") == "de"
    assert language_of(text, ALL, "en") == "en"


def test_only_languages_with_a_voice_are_answered():
    assert language_of("Qu'est-ce que j'ai dit sur le budget ?", ("en", "de"), "en") in ("en", "de")
    assert language_of("先週", ("en",), "en") == "en"


def test_a_foreign_word_changes_nothing():
    assert language_of("The German word Größe means size.", ("en", "de"), "en") == "en"
    assert language_of("Das englische Wort the ist ein Artikel.", ("en", "de"), "de") == "de"


@given(texts, st.lists(st.sampled_from(ALL), min_size=1), st.sampled_from(ALL))
def test_any_text_has_a_language_that_was_asked_for(text, among, before):
    assert language_of(text, among, before) in {*among, before}


@pytest.mark.timeout(30)  # what grew with its square would take minutes
def test_a_text_as_long_as_a_shelf_of_books_has_a_language():
    assert language_of("the word " * 2_000_000, ALL, "de") == "en"
