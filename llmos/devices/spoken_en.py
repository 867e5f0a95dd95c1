"""What English says for numbers, signs and abbreviations. Data, and how figures are phrased."""

from __future__ import annotations

from functools import partial

from llmos.devices.contracts import Notice
from llmos.devices.lexicon import Currency, Lexicon, Numerals, listed, number_words, units

__all__ = ["ENGLISH"]

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

_cardinal = partial(number_words, language="en", to="cardinal")


def _ordinal(number: int, before: str) -> str:
    return number_words(number, "en", "ordinal")


def _year(number: int) -> str:
    """``nineteen eighty-four``, ``two thousand five``; by the library but for its "and"."""
    return number_words(number, "en", "year").replace(" and ", " ").replace("oh-", "oh ")


def _date(day: int, month: int, year: int | None, before: str) -> str:
    name = f"{_MONTHS[month - 1]} {_ordinal(day, '')}"
    return f"{name}, {_year(year)}" if year is not None else name


def _time(hour: int, minute: int, second: int | None, half: str) -> str:
    if (hour, minute, second) in ((0, 0, None), (24, 0, None)) and not half:
        return "midnight"
    words = [_cardinal(hour)]
    if minute or second is not None:
        words.append(f"oh {_cardinal(minute)}" if minute < 10 else _cardinal(minute))
        if not minute:
            words[-1] = "zero zero"
    elif not half:
        words.append("o'clock" if 0 < hour <= 12 else "hundred")
    if second is not None:
        words.append(f"and {_cardinal(second)} second{'s' * (second != 1)}")
    return " ".join([*words, half] if half else words)


def _fraction(over: int, under: int) -> str:
    if under == 2:
        part, parts = "half", "halves"
    elif under == 4:
        part, parts = "quarter", "quarters"
    elif 2 < under <= 10:
        part = _ordinal(under, "")
        parts = f"{part}s"
    else:
        return f"{_cardinal(over)} over {_cardinal(under)}"
    return f"{_cardinal(over)} {part if over == 1 else parts}"


def _decade(number: int) -> str:
    words = _year(number) if number >= 100 else _cardinal(number)
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


_UNITS = units(
    "one",
    """
    km | kilometer | kilometers
    m | meter | meters
    cm | centimeter | centimeters
    mm | millimeter | millimeters
    µm μm | micrometer | micrometers
    nm | nanometer | nanometers
    mi | mile | miles
    ft | foot | feet
    km/h kph | kilometer per hour | kilometers per hour
    m/s | meter per second | meters per second
    mph | mile per hour | miles per hour
    km² | square kilometer | square kilometers
    m² | square meter | square meters
    m³ | cubic meter | cubic meters
    kg | kilogram | kilograms
    g | gram | grams
    mg | milligram | milligrams
    lb lbs | pound | pounds
    oz | ounce | ounces
    l L | liter | liters
    ml mL | milliliter | milliliters
    °C | degree Celsius | degrees Celsius
    °F | degree Fahrenheit | degrees Fahrenheit
    ° | degree | degrees
    K | kelvin | kelvins
    h hr hrs | hour | hours
    min mins | minute | minutes
    s sec secs | second | seconds
    ms | millisecond | milliseconds
    µs μs | microsecond | microseconds
    ns | nanosecond | nanoseconds
    B | byte | bytes
    kB KB | kilobyte | kilobytes
    MB | megabyte | megabytes
    GB | gigabyte | gigabytes
    TB | terabyte | terabytes
    KiB | kibibyte | kibibytes
    MiB | mebibyte | mebibytes
    GiB | gibibyte | gibibytes
    kbit/s kbps | kilobit per second | kilobits per second
    Mbit/s Mbps | megabit per second | megabits per second
    Gbit/s Gbps | gigabit per second | gigabits per second
    kB/s | kilobyte per second | kilobytes per second
    MB/s | megabyte per second | megabytes per second
    GB/s | gigabyte per second | gigabytes per second
    Hz | hertz | hertz
    kHz | kilohertz | kilohertz
    MHz | megahertz | megahertz
    GHz | gigahertz | gigahertz
    W | watt | watts
    kW | kilowatt | kilowatts
    MW | megawatt | megawatts
    kWh | kilowatt hour | kilowatt hours
    V | volt | volts
    mV | millivolt | millivolts
    A | ampere | amperes
    mA | milliampere | milliamperes
    mAh | milliampere hour | milliampere hours
    J | joule | joules
    kJ | kilojoule | kilojoules
    kcal | kilocalorie | kilocalories
    N | newton | newtons
    Pa | pascal | pascals
    hPa | hectopascal | hectopascals
    Ω | ohm | ohms
    dB | decibel | decibels
    px | pixel | pixels
    fps | frame per second | frames per second
    rpm | revolution per minute | revolutions per minute
    % | percent | percent
    ‰ | per mille | per mille
    """,
)

ENGLISH = Lexicon(
    code="en",
    numerals=Numerals(
        decimal=".",
        thousands=",",
        point="point",
        version_point="point",
        host_point="dot",
        minus="minus",
        cardinal=_cardinal,
        ordinal=_ordinal,
        year=_year,
        date=_date,
        time=_time,
        fraction=_fraction,
        decade=_decade,
        day_first=False,
        months={
            name: number
            for number, month in enumerate(_MONTHS, 1)
            for name in {month, month[:3], f"{month[:3]}."}
        }
        | {"Sept": 9, "Sept.": 9},
        units=_UNITS,
        currencies={
            "$": Currency("one dollar", "dollars", "one cent", "cents"),
            "USD": Currency("one US dollar", "US dollars", "one cent", "cents"),
            "€": Currency("one euro", "euros", "one cent", "cents"),
            "EUR": Currency("one euro", "euros", "one cent", "cents"),
            "£": Currency("one pound", "pounds", "one penny", "pence"),
            "GBP": Currency("one pound", "pounds", "one penny", "pence"),
            "¥": Currency("one yen", "yen"),
            "₹": Currency("one rupee", "rupees", "one paisa", "paise"),
            "CHF": Currency("one Swiss franc", "Swiss francs", "one centime", "centimes"),
        },
        magnitudes={
            **{name: name for name in ("thousand", "million", "billion", "trillion")},
            **{"k": "thousand", "K": "thousand", "M": "million", "bn": "billion", "B": "billion"},
        },
        range_word="to",
        mixed="and",
        times="times",
    ),
    symbols={
        **{"&": "and", "+": "plus", "=": "equals", "×": "times", "÷": "divided by"},
        **{"−": "minus", "≤": "is at most", "≥": "is at least", "≠": "is not equal to"},
        **{"≈": "is about", "→": "to", "←": "from", "⇒": "implies", "∞": "infinity"},
        **{"%": "percent", "°": "degrees", "€": "euro", "$": "dollar", "£": "pound", "∕": "over"},
        **{"²": "squared", "³": "cubed", "∑": "sum", "∫": "integral", "∈": "in", "∂": "partial"},
        **{"@": "at", "§": "section", "©": "copyright", "®": "", "™": "", "~": "about"},
        **{"½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third"},
        **{"⅔": "two thirds", "⅛": "one eighth", "⚠": "warning:", "❌": "no:"},
        **{"<": "less than", ">": "greater than", "#": "number"},
    }
    | {"±": "plus or minus", "√": "the square root of", "^": "to the power of"},
    operators={"-": "minus", "–": "minus", "/": "divided by", "*": "times", ":": "to", "x": "by"},
    abbreviations={
        **{"e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus"},
        **{"vs": "versus", "dr.": "Doctor", "mr.": "Mister", "mrs.": "Missus", "ms.": "Miss"},
        **{"prof.": "Professor", "st.": "Saint", "jr.": "Junior", "sr.": "Senior"},
        **{"approx.": "approximately", "fig.": "figure", "eq.": "equation", "sec.": "section"},
        **{
            "dept.": "department",
            "inc.": "Incorporated",
            "ltd.": "Limited",
            "corp.": "corporation",
        },
        **{"est.": "estimated", "max.": "maximum", "min.": "minimum", "vol.": "volume"},
        **{"ave.": "Avenue", "blvd.": "Boulevard", "gen.": "General", "capt.": "Captain"},
        **{"a.m.": "AM", "p.m.": "PM", "cf.": "compare", "al.": "al"},
        **{"jan.": "January", "feb.": "February", "aug.": "August", "sept.": "September"},
        **{"oct.": "October", "nov.": "November", "dec.": "December", "w/": "with"},
        **{"w/o": "without", "c++": "C plus plus", "c#": "C sharp", "f#": "F sharp"},
        **{".net": "dot net", "24/7": "twenty-four seven", "9/11": "nine eleven"},
    },
    after_names={"st.": "Street"},
    acronyms={
        **{"OK": "okay", "AM": "AM", "PM": "PM", "SQL": "sequel", "GUI": "gooey", "ASAP": "A SAP"},
        **{"JPEG": "jay peg", "CUDA": "cooda", "GNU": "gnoo", "IEEE": "I triple E"},
        **dict.fromkeys(
            listed(
                "RAM ROM NASA NATO GIF PIN SIM LAN WAN JSON YAML TOML UNICEF UNESCO OPEC LASER"
                " RADAR SCUBA AIDS COVID BASH LINUX UNIX ASCII BIOS CAD DOS MIDI NASDAQ NAFTA OSHA"
                " REST SOAP SWAT ZIP"
            ),
            "",
        ),
    },
    notices={
        Notice.CODE: "The code is on the screen.",
        Notice.TABLE: "A table of {n} rows is on the screen.",
        Notice.FORMULA: "The formula is on the screen.",
    },
    dot="dot",
    slash="slash",
    dash="dash",
    underscore="underscore",
    at="at",
    colon="colon",
    number_sign="number",
    version="version",
    per="per",
)
