from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.devices.spoken import lexicon_for, say
from tests.devices.strategies import texts


def spoken(text: str, language: str) -> str:
    return " ".join(word for saying in say(text, language) for word in saying.words)


ENGLISH = """
cardinals | 0 and 21 and 100 | zero and twenty-one and one hundred
thousands | 1,200,007 | one million two hundred thousand and seven
thin blanks | 1\u202f000 people | one thousand people
decimals | 3.5 and 0.05 | three point five and zero point zero five
negative | -5 and −7.5 | minus five and minus seven point five
hyphens | a 24-hour GPT-4 | a twenty-four hour G P T four
percent | 100% or 2.5 % | one hundred percent or two point five percent
dollars | $3.50 | three dollars and fifty cents
one dollar | $1 and $1.01 | one dollar and one dollar and one cent
cents | $0.99 | ninety-nine cents
euros | €5 or 5 € | five euros or five euros
amounts | $5 million, $5M | five million dollars, five million dollars
amount ranges | $5–10 | five to ten dollars
units | 1 km, 5 km/h, 20 °C | one kilometer, five kilometers per hour, twenty degrees Celsius
small units | 16 GB in 3 ms | sixteen gigabytes in three milliseconds
years | in 1984, 2005 and 2026 | in nineteen eighty-four, two thousand five and twenty twenty-six
decades | the 1980s and 90s | the nineteen eighties and nineties
ISO date | 2026-11-22 | November twenty-second, twenty twenty-six
US date | 11/22/2026 | November twenty-second, twenty twenty-six
impossible month first | 22/11/2026 | November twenty-second, twenty twenty-six
written date | November 22, 2026 | November twenty-second, twenty twenty-six
short date | on Nov 3rd | on November third
times | 14:30 and 09:05 | fourteen thirty and nine oh five
halves of the day | 2:30 pm, 9 a.m. sharp | two thirty PM, nine AM sharp
full hours | at 3:00 | at three o'clock
ranges | 3–5 and 3-5 km | three to five and three to five kilometers
year ranges | 1914–1918 | nineteen fourteen to nineteen eighteen
fractions | 1/2, 3/4, 2/3, ½ | one half, three quarters, two thirds, one half
mixed | 1 1/2 and 2½ | one and a half and two and a half
odd fractions | 3/16 | three over sixteen
ordinals | 1st, 22nd, 103rd | first, twenty-second, one hundred and third
telephone | +1 555 123 4567 | plus one, five five five, one two three, four five six seven
US telephone | 555-123-4567 | five five five, one two three, four five six seven
versions | 3.11.7 and v2.1 | three point eleven point seven and version two point one
hosts | 10.0.0.1 | ten dot zero dot zero dot one
leading zeros | 007 | zero zero seven
sums | 2 + 2 = 4, 5 - 3 | two plus two equals four, five minus three
products | 5 * 3, 6 x 4, 2 × 3 | five times three, six by four, two times three
comparisons | x ≤ 3, y >= 4, a < b | x is at most three, y is at least four, a less than b
arrows | a → b -> c | a to b to c
powers | x² | x squared
web | https://www.example.com/docs | example dot com slash docs
long web | https://a.org/x?q=1&r=2#z. | a dot org.
mail | me@example.com! | me at example dot com!
files | main.py | main dot py
paths | /usr/local | slash usr slash local
abbreviations | e.g. Dr. Smith vs. us, etc. | for example Doctor Smith versus us, et cetera.
spelled | the FBI's and two APIs | the F B I's and two A P I's
read as words | the NASA's RAM | the Nasa's Ram
stressed | do NOT do it | do not do it
shouted | THIS IS VERY IMPORTANT | this is very important
numbers in names | H2O and x86 | H two O and x eighty-six
languages | C++ and C# | C plus plus and C sharp
number signs | No. 5 and #7 and #tag | number five and number seven and tag
brackets | one (or two) of "them" | one, or two, of them
dashes | one — two – three | one, two, three
pictures among words | Good 👍 work 🎉. | Good work.
either | and/or | and or
Greek | α | alpha
factors | 10x faster, 2x2 | ten times faster, two by two
bounds | <5 ms, > 3, ~10 | less than five milliseconds, greater than three, about ten
per | $5/year | five dollars per year
calls | f(x) && y | f x and y
kings | World War II, Henry VIII | World War two, Henry eight
initials | the U.S. team, J. R. Smith | the U S team, J R Smith
book number | 978-3-16 | nine seven eight, three, one six
the second | the 2nd of March | the second of March
dotted month | Jan. 5, 2024 | January fifth, twenty twenty-four
streets | 10 Downing St. in London, St. Paul | ten Downing Street in London, Saint Paul
idioms | 9/11, 50/50, 24/7 | nine eleven, fifty fifty, twenty-four seven
"""

GERMAN = """
Zahlen | 1, 21 und 100 | eins, einundzwanzig und einhundert
Tausender | 1.234 und 1.000.000 | eintausendzweihundertvierunddreißig und eine Million
beides | 1.000.007,8 | eine Million sieben Komma acht
Dezimalzahlen | 3,14 | drei Komma eins vier
negativ | -5 °C | minus fünf Grad Celsius
Geld | 3,50 € | drei Euro und fünfzig Cent
ein Euro | 1 € und 1,01 € | ein Euro und ein Euro und ein Cent
Millionen | ca. 5 Mio. € | circa fünf Millionen Euro
Einheiten | 1 h, 5 km/h, 2 kWh | eine Stunde, fünf Kilometer pro Stunde, zwei Kilowattstunden
Geschlecht | 1 Stunde und 1 Tag | eine Stunde und ein Tag
Prozent | 50 % | fünfzig Prozent
Datum | 22.11.2026 | zweiundzwanzigster November zweitausendsechsundzwanzig
Datum gebeugt | am 22.11. und vom 3. Mai | am zweiundzwanzigsten November und vom dritten Mai
Datum geschrieben | der 1. April 2025 | der erste April zweitausendfünfundzwanzig
Jahre | 1984 | neunzehnhundertvierundachtzig
Jahrzehnte | die 1980er | die neunzehnhundertachtziger
Zeit | 14:30 Uhr, 12:05, 1 Uhr | vierzehn Uhr dreißig, zwölf Uhr fünf, ein Uhr
Zeit mit Punkt | 14.30 Uhr | vierzehn Uhr dreißig
Ordnung | der 3. Versuch, am 14. Tag | der dritte Versuch, am vierzehnten Tag
keine Ordnung | Es sind 5. | Es sind fünf.
Bereiche | 3–5 kg | drei bis fünf Kilogramm
Brüche | 1/2, 3/4, 2/3 | ein halb, drei Viertel, zwei Drittel
Versionen | 3.11.7 | drei Punkt elf Punkt sieben
Telefon | 030 1234 | null drei null, eins zwei drei vier
Abkürzungen | z. B. Dr. Müller, d.h. Nr. 5 | zum Beispiel Doktor Müller, das heißt Nummer fünf
am Ende | Brot usw. | Brot und so weiter.
Buchstaben | die USA | die U S A
Adresse | info@example.de | info at example Punkt de
Straßen | Hauptstr. 12 | Hauptstraße zwölf
Faktoren | 3x täglich | drei mal täglich
Zeichen | 2 + 2 = 4 & mehr | zwei plus zwei gleich vier und mehr
"""


def rows(table: str, language: str) -> list:
    lines = [[part.strip(" ") for part in line.split(" | ")] for line in table.strip().split("\n")]
    return [pytest.param(text, words, language, id=name) for name, text, words in lines]


@pytest.mark.parametrize(("text", "words", "language"), [*rows(ENGLISH, "en"), *rows(GERMAN, "de")])
def test_it_says_what_a_person_would(text, words, language):
    assert spoken(text, language) == words


def test_a_number_too_long_to_follow_is_read_digit_by_digit():
    assert spoken("9" * 15, "en").startswith("nine hundred and ninety-nine trillion")
    assert spoken("9" * 16, "en") == " ".join(["nine"] * 16)


@pytest.mark.parametrize("year", [1100, 1999, 2000, 2099])
def test_a_year_and_the_same_number_with_a_separator_differ(year):
    separated = f"{year // 1000},{year % 1000:03d}"
    assert "thousand" in spoken(separated, "en")
    assert ("thousand" in spoken(str(year), "en")) == (year == 2000)


def test_other_languages_keep_figures_and_have_some_signs():
    assert spoken("Il a 3,5 km & 20 %.", "fr") == "Il a 3,5 km et 20 pour cent."
    assert spoken("1.234,5 ★ ok", "xx") == "1.234,5 ok"


def test_a_region_has_the_data_of_its_language():
    assert lexicon_for("de-AT") is lexicon_for("de")
    assert lexicon_for("en_GB").code == "en"


def test_nothing_but_a_picture_is_called_by_its_name():
    assert spoken("👍", "en") == "thumbs up"
    assert spoken("👍", "de") == ""


def test_scripts_without_blanks_are_said_character_by_character_and_glued():
    sayings = say("你好，吗", "zh")
    assert [saying.words for saying in sayings] == [("你",), ("好，",), ("吗",)]
    assert [saying.glued for saying in sayings] == [False, True, True]


@pytest.mark.parametrize("text", ["हिन्दी", "สวัสดี", "e\u0301te\u0301"])
def test_marks_stay_with_their_letters(text):
    assert "".join(word for saying in say(text, "en") for word in saying.words) == text


@pytest.mark.parametrize(
    "text",
    ["25:99", "99/99/2026", "2026-13-45", "0/0", "1/0", "$", "€€", "+", "-", "1..2", "..", "@@"],
)
@pytest.mark.parametrize("language", ["en", "de", "fr", "zh"])
def test_what_only_looks_like_figures_is_said_somehow(text, language):
    for saying in say(text, language):
        assert all(word.strip() for word in saying.words)


@given(texts, st.sampled_from(["en", "de", "fr", "zh", "xx"]))
def test_any_text_is_said_in_order_and_no_character_twice(text, language):
    place = 0
    for saying in say(text, language):
        assert place <= saying.start < saying.end <= len(text)
        assert saying.words
        assert all(word and not any(char.isspace() for char in word) for word in saying.words)
        place = saying.end


@given(st.integers(0, 10**18), st.sampled_from(["en", "de"]))
def test_no_figures_are_left_where_the_language_is_complete(number, language):
    assert not any(char.isdigit() for char in spoken(f"a {number} b {number:,} c", language))


@pytest.mark.parametrize(
    "piece",
    ["a", "word ", "1", "1,", "1.", "1 ", "-1", "/a", "a.", "a@", "(", "A", "$1", "1/", "好", "é"],
)
@pytest.mark.timeout(30)  # what grew with its square would take minutes
def test_a_long_clause_of_one_kind_is_said(piece):
    text = (piece * 20_000)[:20_000]
    ends = [saying.end for saying in say(text, "en")]
    assert ends == sorted(ends) and all(end <= len(text) for end in ends)
