"""From a written calculation to tokens: symbols, numbers, and the words people use for them.

Knows how numbers and operators are written (thousands commas, mixed numbers, ``seven times
eight``), not what names mean.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from llmos.sdk import ToolError

from .exact import DIGITS
from .functions import FUNCTIONS
from .units import CURRENCIES

__all__ = ["CHARS", "MULTIPLIERS", "Token", "clean", "stripped", "tokenize"]

CHARS = 4_096  # longest input
_EXPONENT_MAX = DIGITS

_SIGNS = str.maketrans(
    {"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∕": "/", "⁄": "/", "−": "-", "–": "-",
     "—": "-", "‒": "-", "（": "(", "）": ")", "［": "(",
     "[": "(", "]": ")", "{": "(", "}": ")", "％": "%", "＋": "+", "＝": "=", "’": "'", "”": '"',
     "μ": "µ"}
)  # fmt: skip

#: An exponent as it is set in print, and a figure right behind it.
_RAISED = re.compile(r"([⁺⁻]?[⁰¹²³⁴-⁹]+)(\.?\d)?")
_RAISED_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")

#: Words to operators; the longest fitting phrase wins. "x" is looked at by itself.
_PHRASES: dict[str, str] = {
    "plus": "+", "added to": "+", "minus": "-", "less": "-", "times": "*",
    "multiplied by": "*", "multiplied with": "*", "divided by": "/", "over": "/", "per": "/",
    "divided into": "/", "to the power of": "^", "to the power": "^", "raised to the power of":
    "^", "raised to the power": "^", "raised to": "^", "mod": "mod", "modulo": "mod",
    "modulus": "mod", "squared": "^2", "cubed": "^3", "percent": "%", "per cent": "%",
    "percentage": "%", "pct": "%", "of": "of", "off": "off", "and": "and", "in": "in", "into":
    "in", "to": "in", "as": "in", "converted to": "in", "is how many": "in", "expressed in": "in",
    "square root of": "sqrt", "square root": "sqrt", "cube root of": "cbrt", "root of": "sqrt",
    "cube root": "cbrt", "sum of": "sum", "product of": "product", "average of": "mean",
    "average": "mean", "mean of": "mean", "avg": "mean", "maximum of": "max", "largest of":
    "max", "minimum of": "min", "smallest of": "min", "median of": "median",
    "difference between": "diff", "difference of": "diff", "factorial of": "factorial",
    "natural logarithm of": "ln", "logarithm of": "log", "log of": "log", "absolute value of":
    "abs", "sine of": "sin", "cosine of": "cos", "tangent of": "tan", "greatest common divisor of":
    "gcd", "greatest common factor of": "gcd", "least common multiple of": "lcm",
    "lowest common multiple of": "lcm", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "maximum": "max", "minimum": "min", "ceiling": "ceil", "choose": "choose",
    "square": "square", "sq": "square", "cubic": "cubic", "cu": "cubic",
    "the": "", "a": "", "an": "", "tip": "", "tax": "", "discount": "",
}  # fmt: skip
_PHRASE = re.compile(
    "|".join(re.escape(p).replace("\\ ", r"\s+") for p in sorted(_PHRASES, key=len, reverse=True)),
    re.IGNORECASE,
)
_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20,
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9,
           "trillion": 10**12, "dozen": 12}  # fmt: skip
_SCALES |= {f"{word}s": value for word, value in _SCALES.items()}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4,
          "fourth": 4, "fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6,
          "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10}  # fmt: skip
MULTIPLIERS = {"twice": 2, "double": 2, "triple": 3, "thrice": 3, "quadruple": 4}

_NUMBER = re.compile(
    r"0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+"
    r"|(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+(?![.\d]))?"
)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?![\d,]*\d)(?:\.\d+)?")
_INDIAN = re.compile(r"\d{1,3}(?:,\d{2})*,\d{3}(?![\d,]*\d)(?:\.\d+)?")
_MIXED = re.compile(r"(\d+)[ \t]+(\d+)/(\d+)(?![\d./])")
_WORD = re.compile(
    r"°\s?[CFK]\b|[℃℉°]|[^\W\d_](?:[^\W\d_]|_(?=[^\W\d_]))*\d{0,2}(?![\d_])|[^\W\d_]+"
)
_NUMBER_WORD = re.compile(r"[\s-]*([^\W\d_]+)")
_GROUPS = re.compile(r"\d+(?:,\d+)+")
_TIMES = re.compile(r"[xX](?=[\s\d(.]|$|-)")
_MONEY = re.compile(r"US\$|[" + re.escape("".join(c for c in CURRENCIES if len(c) == 1)) + "]")
_OPERATOR = re.compile(r"\*\*|//|->|→|[-+*/^%!(),√∛=<>|&~'\"]")
_LEADING = re.compile(
    r"(?:(?:(?:can|could)\s+you|tell\s+me|hey|what\s+(?:is|are|does|do)|what['’]?s|"
    r"how\s+much\s+(?:is|are)|calculate|compute|evaluate|work\s+out|convert|"
    r"the\s+(?:value|result)\s+of|please|solve|find)(?![^\W\d_])|[=:,\s])+",
    re.IGNORECASE,
)
_TRAILING = re.compile(
    r"(?:[\s?=.;,]|\bequals?|\bis\s+how\s+much|\bcome\s+to|\bmakes?|\bplease)+$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Args:
        kind: ``number``, ``money`` (a currency sign), ``word``, ``op`` or ``end``.
        text: The operator, the word, or the number as written.
        value: Of a number.
        before / after: Whether space stands there.
        tight: A fraction word or multiplier (``half``): it may stand after a number or before
            ``of``.
    """

    kind: str
    text: str
    value: Fraction = Fraction(0)
    before: bool = False
    after: bool = False
    tight: bool = False


def _raised(found: re.Match[str]) -> str:
    """``²³`` as ``^23``."""
    exponent = found[1].translate(_RAISED_DIGITS)
    if found[2]:
        raise ToolError(f"“{found[0]}” can be read in two ways: write * behind the exponent.")
    return f"^{exponent}"


def clean(text: str) -> str:
    """Strip what surrounds a calculation in a question, and unify signs and digits.

    Raises:
        ToolError: It is too long or empty.
    """
    if len(text) > CHARS:
        raise ToolError(
            f"The calculation is too long (at most {CHARS:,} characters).", "Do it in parts."
        )
    text = _RAISED.sub(_raised, text).translate(_SIGNS)
    text = "".join(
        str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else _vulgar(c)
        for c in text
    )
    text = re.sub(r"(?<=\d)[\u00a0\u202f\u2009](?=\d{3}(?!\d))", "", text)
    text = stripped(text)
    if not text:
        raise ToolError("There is nothing to calculate.", "Say it in numbers, such as 17 * 24.")
    return text


def stripped(text: str) -> str:
    """``text`` without the words around a calculation, such as ``what is … please?``."""
    lead = _LEADING.match(text)
    text = text[lead.end() :] if lead else text
    tail = text.rstrip()
    found = _TRAILING.search(tail[-64:])
    if found:
        tail = tail[: len(tail) - (len(tail[-64:]) - found.start())]
    return tail.strip()


def _vulgar(character: str) -> str:
    """``½`` as `` 1/2``, so that ``2½`` becomes a mixed number."""
    if unicodedata.category(character) == "No" and "FRACTION" in unicodedata.name(character, ""):
        value = Fraction(unicodedata.numeric(character)).limit_denominator(100)
        return f" {value.numerator}/{value.denominator} "
    return character


def tokenize(text: str) -> list[Token]:
    """Tokens of a cleaned calculation, with an ``end``.

    Raises:
        ToolError: A character or number cannot be read.
    """
    tokens: list[Token] = []
    calls: list[bool] = []  # for each open parenthesis: tight commas separate arguments
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        before = at == 0 or text[at - 1].isspace()
        separates = bool(calls) and calls[-1]
        start, (at, found) = at, _next(text, at, separates, tokens)
        if found is None:
            continue
        after = at >= len(text) or text[at].isspace()
        found = Token(found.kind, found.text, found.value, before, after, found.tight)
        if found.text == "(" and found.kind == "op":
            named = bool(tokens) and tokens[-1].kind == "word" and tokens[-1].text in FUNCTIONS
            calls.append((named or separates) and not _spaced(text, start))
        elif found.text == ")" and found.kind == "op" and calls:
            calls.pop()
        tokens.append(found)
    tokens.append(Token("end", "the end"))
    return tokens


def _spaced(text: str, opening: int) -> bool:
    """Whether the arguments from here on are set apart by a comma and a space."""
    depth = 0
    for at in range(opening, len(text)):
        if text[at] == "(":
            depth += 1
        elif text[at] == ")":
            depth -= 1
            if not depth:
                return False
        elif text[at] == "," and depth == 1 and text[at + 1 : at + 2].isspace():
            return True
    return False


def _next(text: str, at: int, separates: bool, tokens: list[Token]) -> tuple[int, Token | None]:
    """The token at ``at`` and where it ends; no token for words that say nothing."""
    character = text[at]
    if character.isdigit() or (character == "." and text[at + 1 : at + 2].isdigit()):
        return _number(text, at, separates)
    currency = _MONEY.match(text, at)
    if currency:
        return currency.end(), Token("money", CURRENCIES[currency[0].lower()])
    operator = _OPERATOR.match(text, at)
    if operator:
        sign = {"**": "^", "->": "in", "→": "in", "√": "sqrt", "∛": "cbrt"}.get(
            operator[0], operator[0]
        )
        kind = "word" if sign in ("sqrt", "cbrt") else "op"
        return operator.end(), Token(kind, sign)
    if _WORD.match(text, at):
        return _word(text, at, tokens)
    shown = unicodedata.name(character, "a character") if not character.isprintable() else character
    raise ToolError(
        f"“{shown}” cannot be read as part of a calculation.",
        "Write numbers, units and signs only, such as 3 * (12 kg + 5 kg).",
    )


def _number(text: str, at: int, separates: bool) -> tuple[int, Token]:
    mixed = _MIXED.match(text, at)
    if mixed and int(mixed[3]):
        value = int(mixed[1]) + Fraction(int(mixed[2]), int(mixed[3]))
        return mixed.end(), Token("number", mixed[0], value)
    if not separates:
        grouped = _THOUSANDS.match(text, at) or _INDIAN.match(text, at)
        if grouped:
            value = Fraction(grouped[0].replace(",", ""))
            return grouped.end(), Token("number", grouped[0], value)
        bad = _GROUPS.match(text, at)
        if bad:
            raise ToolError(
                f"“{bad[0][:40]}” is no number: write 1,250 for thousands and 3.5 for decimals."
            )
    found = _NUMBER.match(text, at)
    if not found:
        raise ToolError(f"“{text[at]}” is no number.")
    written = found[0]
    if written[:2].lower() in ("0x", "0b", "0o"):
        return found.end(), Token("number", written, Fraction(int(written, 0)))
    mantissa, _, exponent = written.lower().partition("e")
    if exponent and abs(int(exponent)) > _EXPONENT_MAX:
        raise ToolError(f"The number {written[:40]} is out of range.")
    value = Fraction(mantissa.replace("_", "").rstrip(".") or "0")
    if exponent:
        value *= Fraction(10) ** int(exponent)
    return found.end(), Token("number", written, value)


def _word(text: str, at: int, tokens: list[Token]) -> tuple[int, Token | None]:
    last = tokens[-1] if tokens else None
    operand = last is not None and (last.kind in ("number", "word") or last.text in (")", "%", "!"))
    if operand and _TIMES.match(text, at):
        return at + 1, Token("op", "*")
    end, value = _number_words(text, at, last is not None and last.kind == "number")
    if value is not None:
        return end, Token("number", text[at:end], value)
    found = _WORD.match(text, at)
    assert found
    word = found[0]
    lower = word.lower()
    if lower in _SCALES:
        return found.end(), Token("number", word, Fraction(_SCALES[lower]), tight=True)
    if lower in _PARTS:
        return found.end(), Token("number", word, Fraction(1, _PARTS[lower]), tight=True)
    if lower in MULTIPLIERS:
        return found.end(), Token("number", word, Fraction(MULTIPLIERS[lower]), tight=True)
    phrase = _PHRASE.match(text, at)
    if phrase and not text[phrase.end() : phrase.end() + 1].isalpha():
        meaning = _PHRASES[re.sub(r"\s+", " ", phrase[0].lower())]
        if phrase[0] in ("A",):  # the ampere
            return found.end(), Token("word", word)
        if not meaning:
            return phrase.end(), None
        named = meaning in FUNCTIONS or meaning in ("diff", "square", "cubic")
        return phrase.end(), Token("word" if named else "op", meaning)
    if lower in FUNCTIONS:
        # "min" is also the minute, which the parser tells from what follows.
        return found.end(), Token("word", lower)
    letters = word.rstrip("0123456789")
    if letters.lower() in FUNCTIONS and letters != word:
        return at + len(letters), Token("word", letters.lower())
    return found.end(), Token("word", word.replace("° ", "°"))


def _number_words(text: str, at: int, after: bool) -> tuple[int, Fraction | None]:
    """``two hundred and five``, ``twenty-three``: where it ends, and its value.

    ``after`` a number, a scale alone multiplies that (``3 million``) and is not read here.
    """
    total = part = last = 0
    end = reach = at  # of the number, and of what was read ("two hundred and" reads further)
    seen = False
    for match in _NUMBER_WORD.finditer(text, at):
        if match.start() != reach:
            break
        word = match[1].lower()
        joined = reach != end
        if word in _ONES and (not seen or last >= 100 or (last >= 20 and _ONES[word] < 10)):
            part, last = part + _ONES[word], _ONES[word]
        elif word in _SCALES and not joined and (seen or not after):
            scale = _SCALES[word]
            part = part if seen else 1
            if scale in (12, 100):
                part *= scale
            else:
                total, part = total + part * scale, 0
            last = scale
        elif word == "and" and seen and last >= 100 and not joined:
            reach = match.end()
            continue
        else:
            break
        seen = True
        end = reach = match.end()
    return end, Fraction(total + part) if seen else None
