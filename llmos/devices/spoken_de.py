"""What German says for numbers, signs and abbreviations. Data, and how figures are phrased."""

from __future__ import annotations

from functools import partial

from llmos.devices.contracts import Notice
from llmos.devices.lexicon import Currency, Lexicon, Numerals, listed, number_words, units

__all__ = ["GERMAN"]

_MONTHS = (
    *("Januar", "Februar", "März", "April", "Mai", "Juni"),
    *("Juli", "August", "September", "Oktober", "November", "Dezember"),
)

#: Behind these an ordinal ends in "-en": am dritten Mai; behind "der", "die", "das" in "-e".
_TO_EN = frozenset(
    listed("am zum zur vom im beim dem den des ab seit bis einem einen diesem jedem dieser jeden")
)
_TO_E = frozenset(listed("der die das jede diese"))

_cardinal = partial(number_words, language="de", to="cardinal")


def _ordinal(number: int, before: str) -> str:
    words = number_words(number, "de", "ordinal")
    before = before.lower()
    if before in _TO_EN:
        return f"{words}n"
    return words if before in _TO_E else f"{words}r"


def _year(number: int) -> str:
    return number_words(number, "de", "year")


def _date(day: int, month: int, year: int | None, before: str) -> str:
    name = f"{_ordinal(day, before)} {_MONTHS[month - 1]}"
    return f"{name} {_year(year)}" if year is not None else name


def _hour(hour: int) -> str:
    return "ein" if hour == 1 else _cardinal(hour)


def _time(hour: int, minute: int, second: int | None, half: str) -> str:
    if half:
        hour = hour % 12 + 12 * (half == "PM")
    words = [_hour(hour), "Uhr"]
    if minute or second is not None:
        words.append(_cardinal(minute))
    if second is not None:
        words.append(f"und {_UNITS['s'].one if second == 1 else f'{_cardinal(second)} Sekunden'}")
    return " ".join(words)


def _fraction(over: int, under: int) -> str:
    count = "ein" if over == 1 else _cardinal(over)
    if under == 2:
        return "ein halb" if over == 1 else f"{count} Halbe"
    if 2 < under <= 12:
        return f"{count} {_ordinal(under, 'der').capitalize()}l"
    return f"{_cardinal(over)} durch {_cardinal(under)}"


def _decade(number: int) -> str:
    words = _year(number) if number >= 100 else _cardinal(number)
    return f"{words}er"


_UNITS = units(
    "",
    """
    km | ein Kilometer | Kilometer
    m | ein Meter | Meter
    cm | ein Zentimeter | Zentimeter
    mm | ein Millimeter | Millimeter
    µm μm | ein Mikrometer | Mikrometer
    nm | ein Nanometer | Nanometer
    km/h | ein Kilometer pro Stunde | Kilometer pro Stunde
    m/s | ein Meter pro Sekunde | Meter pro Sekunde
    km² | ein Quadratkilometer | Quadratkilometer
    m² | ein Quadratmeter | Quadratmeter
    m³ | ein Kubikmeter | Kubikmeter
    kg | ein Kilogramm | Kilogramm
    g | ein Gramm | Gramm
    mg | ein Milligramm | Milligramm
    t | eine Tonne | Tonnen
    l L | ein Liter | Liter
    ml | ein Milliliter | Milliliter
    °C | ein Grad Celsius | Grad Celsius
    °F | ein Grad Fahrenheit | Grad Fahrenheit
    ° | ein Grad | Grad
    K | ein Kelvin | Kelvin
    h Std. Std | eine Stunde | Stunden
    min Min. Min | eine Minute | Minuten
    s Sek. sek | eine Sekunde | Sekunden
    ms | eine Millisekunde | Millisekunden
    µs μs | eine Mikrosekunde | Mikrosekunden
    ns | eine Nanosekunde | Nanosekunden
    B | ein Byte | Byte
    kB KB | ein Kilobyte | Kilobyte
    MB | ein Megabyte | Megabyte
    GB | ein Gigabyte | Gigabyte
    TB | ein Terabyte | Terabyte
    KiB | ein Kibibyte | Kibibyte
    MiB | ein Mebibyte | Mebibyte
    GiB | ein Gibibyte | Gibibyte
    kbit/s | ein Kilobit pro Sekunde | Kilobit pro Sekunde
    Mbit/s | ein Megabit pro Sekunde | Megabit pro Sekunde
    Gbit/s | ein Gigabit pro Sekunde | Gigabit pro Sekunde
    kB/s | ein Kilobyte pro Sekunde | Kilobyte pro Sekunde
    MB/s | ein Megabyte pro Sekunde | Megabyte pro Sekunde
    GB/s | ein Gigabyte pro Sekunde | Gigabyte pro Sekunde
    Hz | ein Hertz | Hertz
    kHz | ein Kilohertz | Kilohertz
    MHz | ein Megahertz | Megahertz
    GHz | ein Gigahertz | Gigahertz
    W | ein Watt | Watt
    kW | ein Kilowatt | Kilowatt
    MW | ein Megawatt | Megawatt
    kWh | eine Kilowattstunde | Kilowattstunden
    V | ein Volt | Volt
    mV | ein Millivolt | Millivolt
    A | ein Ampere | Ampere
    mA | ein Milliampere | Milliampere
    mAh | eine Milliamperestunde | Milliamperestunden
    J | ein Joule | Joule
    kJ | ein Kilojoule | Kilojoule
    kcal | eine Kilokalorie | Kilokalorien
    N | ein Newton | Newton
    Pa | ein Pascal | Pascal
    hPa | ein Hektopascal | Hektopascal
    Ω | ein Ohm | Ohm
    dB | ein Dezibel | Dezibel
    px | ein Pixel | Pixel
    % | ein Prozent | Prozent
    ‰ | ein Promille | Promille
    """,
)

#: "1 Stunde" is "eine Stunde", "1 Tag" is "ein Tag"; of other nouns the gender is not known here.
_ONES = {
    **{unit.one.partition(" ")[2]: unit.one.partition(" ")[0] for unit in _UNITS.values()},
    **dict.fromkeys(
        listed("Woche Million Milliarde Billion Person Seite Zeile Datei Frage"), "eine"
    ),
    **dict.fromkeys(listed("Tag Monat Jahr Mal Prozent Euro Dollar Uhr Teil Punkt Schritt"), "ein"),
}

GERMAN = Lexicon(
    code="de",
    numerals=Numerals(
        decimal=",",
        thousands=".",
        point="Komma",
        version_point="Punkt",
        host_point="Punkt",
        minus="minus",
        cardinal=_cardinal,
        ordinal=_ordinal,
        year=_year,
        date=_date,
        time=_time,
        fraction=_fraction,
        decade=_decade,
        day_first=True,
        months={name: number for number, name in enumerate(_MONTHS, 1)}
        | {f"{name[:3]}.": number for number, name in enumerate(_MONTHS, 1)}
        | {"Sept.": 9, "Jänner": 1, "Feber": 2},
        units=_UNITS,
        currencies={
            "€": Currency("ein Euro", "Euro", "ein Cent", "Cent"),
            "EUR": Currency("ein Euro", "Euro", "ein Cent", "Cent"),
            "$": Currency("ein Dollar", "Dollar", "ein Cent", "Cent"),
            "USD": Currency("ein US-Dollar", "US-Dollar", "ein Cent", "Cent"),
            "£": Currency("ein Pfund", "Pfund", "ein Penny", "Pence"),
            "GBP": Currency("ein Pfund", "Pfund", "ein Penny", "Pence"),
            "¥": Currency("ein Yen", "Yen"),
            "CHF": Currency("ein Schweizer Franken", "Schweizer Franken", "ein Rappen", "Rappen"),
        },
        magnitudes={
            **{name: name for name in ("Tausend", "Millionen", "Milliarden", "Billionen")},
            **{name: name for name in ("Million", "Milliarde", "Billion")},
            **{"Mio.": "Millionen", "Mrd.": "Milliarden", "Tsd.": "Tausend"},
        },
        range_word="bis",
        mixed="und",
        times="mal",
        ones=_ONES,
    ),
    symbols={
        **{"&": "und", "+": "plus", "=": "gleich", "×": "mal", "÷": "geteilt durch"},
        **{"±": "plus minus", "−": "minus", "≤": "höchstens", "≥": "mindestens", "≠": "ungleich"},
        **{"≈": "ungefähr", "→": "zu", "←": "von", "⇒": "daraus folgt", "∞": "unendlich"},
        **{"√": "Wurzel aus", "%": "Prozent", "°": "Grad", "€": "Euro", "$": "Dollar"},
        **{"£": "Pfund", "∕": "durch", "²": "Quadrat", "³": "hoch drei", "^": "hoch"},
        **{"∑": "Summe", "∫": "Integral", "∈": "aus", "∂": "partiell", "@": "at"},
        **{"§": "Paragraf", "©": "Copyright", "~": "ungefähr", "½": "ein halb"},
        **{"¼": "ein Viertel", "¾": "drei Viertel", "⅓": "ein Drittel", "⅔": "zwei Drittel"},
        **{"⅛": "ein Achtel", "⚠": "Achtung:", "❌": "nein:", "<": "kleiner als"},
        **{">": "größer als", "#": "Nummer"},
    },
    operators={"-": "minus", "–": "minus", "/": "durch", "*": "mal", ":": "zu", "x": "mal"},
    abbreviations={
        **{
            "p. p.": "pro Person",
            "z. b.": "zum Beispiel",
            "z.b.": "zum Beispiel",
            "d. h.": "das heißt",
        },
        **{"d.h.": "das heißt", "u. a.": "unter anderem", "u.a.": "unter anderem"},
        **{"z. t.": "zum Teil", "z.t.": "zum Teil", "i. d. r.": "in der Regel"},
        **{"i.d.r.": "in der Regel", "o. ä.": "oder Ähnliches", "o.ä.": "oder Ähnliches"},
        **{"u. u.": "unter Umständen", "v. a.": "vor allem", "v.a.": "vor allem"},
        **{"s. o.": "siehe oben", "s. u.": "siehe unten", "n. chr.": "nach Christus"},
        **{"v. chr.": "vor Christus", "usw.": "und so weiter", "bzw.": "beziehungsweise"},
        **{"ca.": "circa", "vgl.": "vergleiche", "inkl.": "inklusive", "ggf.": "gegebenenfalls"},
        **{
            "evtl.": "eventuell",
            "sog.": "sogenannt",
            "bspw.": "beispielsweise",
            "etc.": "et cetera",
        },
        **{"dr.": "Doktor", "prof.": "Professor", "hr.": "Herr", "fr.": "Frau", "st.": "Sankt"},
        **{
            "nr.": "Nummer",
            "abs.": "Absatz",
            "art.": "Artikel",
            "kap.": "Kapitel",
            "abb.": "Abbildung",
        },
        **{"str.": "Straße", "tel.": "Telefon", "max.": "maximal", "min.": "minimal"},
        **{"mio.": "Millionen", "mrd.": "Milliarden", "tsd.": "Tausend", "jh.": "Jahrhundert"},
        **{"jan.": "Januar", "feb.": "Februar", "aug.": "August", "sept.": "September"},
        **{"okt.": "Oktober", "nov.": "November", "dez.": "Dezember", "zzgl.": "zuzüglich"},
        **{
            "std.": "Stunden",
            "geb.": "geboren",
            "gest.": "gestorben",
            "ebd.": "ebenda",
            "fam.": "Familie",
        },
        **{"c++": "C plus plus", "c#": "C sharp", "24/7": "rund um die Uhr"},
    },
    suffixes={"str.": "straße"},
    acronyms={
        "OK": "okay",
        "IEEE": "I drei E",
        **dict.fromkeys(
            listed(
                "RAM ROM NASA NATO GIF PIN SIM LAN WAN JSON YAML TOML UNICEF UNESCO OPEC LASER"
                " RADAR BAföG COVID BASH LINUX UNIX ASCII BIOS TÜV DAX GAU MIDI REST SOAP ZIP CUDA"
            ),
            "",
        ),
    },
    before_ordinals=(
        *sorted(_TO_EN | _TO_E),
        *("und", "jedes", "unser", "unsere", "sein", "seine", "ihr", "ihre", "mein", "meine"),
    ),
    notices={
        Notice.CODE: "Der Code steht auf dem Bildschirm.",
        Notice.TABLE: "Eine Tabelle mit {n} Zeilen steht auf dem Bildschirm.",
        Notice.FORMULA: "Die Formel steht auf dem Bildschirm.",
    },
    dot="Punkt",
    slash="Schrägstrich",
    dash="Strich",
    underscore="Unterstrich",
    at="at",
    colon="Doppelpunkt",
    number_sign="Nummer",
    version="Version",
    per="pro",
)
