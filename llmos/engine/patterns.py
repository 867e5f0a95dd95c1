"""Texts within JSON strings as grammar expressions: characters, dates, regular expressions.

Everything here describes text as it stands in JSON: a pattern's quotes, backslashes and control
characters come out escaped. Each language is exact or, where it says so, a part of the whole:
what fits the expression always fits the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from llmos import limits
from llmos.engine.gbnf import (
    Chars,
    Expr,
    Grammar,
    Lit,
    Rep,
    alt,
    optional,
    seq,
)
from llmos.engine.numerals import DIGIT, NONZERO, digits, natural
from llmos.errors import GrammarError

__all__ = [
    "FORMATS",
    "PLAIN",
    "any_char",
    "json_char",
    "pattern",
]

UNICODE = Chars(((0, 0xD7FF), (0xE000, 0x10FFFF)))  # code points that are characters
CONTROL = Chars(((0, 0x1F), (0x7F, 0x9F)))
PLAIN = UNICODE.minus(CONTROL).minus(Chars.of('"\\'))  # what a JSON string holds as it is
_HEX = Chars.union([(48, 57), (65, 70), (97, 102)])
_SHORT = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


# --- strings --------------------------------------------------------------------------------


def json_char(chars: Chars) -> Expr:
    """One of ``chars`` as it stands in JSON.

    Control characters without a short escape are left out where there is anything else: models
    have no use for them.
    """
    raw = chars.both(PLAIN)
    options: list[Expr] = [raw] if raw.ranges else []
    options += [Lit(escape) for char, escape in _SHORT.items() if char in chars]
    codes = (code for low, high in chars.both(CONTROL).ranges for code in range(low, high + 1))
    return alt(*(options or [Lit(f"\\u{code:04x}") for code in codes]))


def any_char(*, canonical: bool) -> Expr:
    """Any character of a JSON string, one code point each.

    Args:
        canonical: Only as ``json.dumps(…, ensure_ascii=False)`` writes it; otherwise every
            escape that JSON knows, except for halves of surrogate pairs.
    """
    if canonical:
        low = Chars.union([(0, 0x1F)]).minus(Chars.of("\b\f\n\r\t"))
        return alt(PLAIN, seq("\\", alt(Chars.of('"\\bfnrt'), seq("u00", _escapedigits(low)))))
    code = alt(
        seq(_HEX.minus(Chars.of("dD")), Rep(_HEX, 3, 3)),
        seq(Chars.of("dD"), Chars.of("01234567"), Rep(_HEX, 2, 2)),
    )
    return alt(PLAIN, seq("\\", alt(Chars.of('"\\/bfnrt'), seq("u", code))))


def _escapedigits(chars: Chars) -> Expr:
    """The last two digits of the \\u00XX escapes of ``chars``, grouped by the first."""
    rows: dict[str, str] = {}
    for low, high in chars.ranges:
        for code in range(low, high + 1):
            rows[f"{code:02x}"[0]] = rows.get(f"{code:02x}"[0], "") + f"{code:02x}"[1]
    return alt(*(seq(row, Chars.of(last)) for row, last in rows.items()))


# --- formats --------------------------------------------------------------------------------


def _date() -> Expr:
    """RFC 3339 full-date, years 1000 to 2999, with the days each month has."""
    odd = Chars.of("13579")
    not_00 = alt(
        seq("0", Chars.of("48")), seq(Chars.of("2468"), Chars.of("048")), seq(odd, Chars.of("26"))
    )
    centuries = alt(seq("1", Chars.of("26")), seq("2", Chars.of("048")))  # 12, 16, 20, 24, 28
    leap = alt(seq(Chars.of("12"), DIGIT, not_00), seq(centuries, "00"))
    to_28 = alt(seq("0", NONZERO), seq("1", DIGIT), seq("2", Chars.of("012345678")))
    to_30 = alt(seq("0", NONZERO), seq(Chars.of("12"), DIGIT), "30")
    months = alt(
        seq(alt(seq("0", Chars.of("13578")), "10", "12"), "-", alt(to_30, "31")),
        seq(alt(seq("0", Chars.of("469")), "11"), "-", to_30),
        seq("02-", to_28),
    )
    return alt(seq(Chars.of("12"), Rep(DIGIT, 3, 3), "-", months), seq(leap, "-02-29"))


def _time() -> Expr:
    """RFC 3339 full-time, without leap seconds."""
    hour = alt(seq(Chars.of("01"), DIGIT), seq("2", Chars.of("0123")))
    sixty = seq(Chars.of("012345"), DIGIT)
    fraction = optional(seq(".", digits(1, 6)))
    return seq(
        hour, ":", sixty, ":", sixty, fraction, alt("Z", seq(Chars.of("+-"), hour, ":", sixty))
    )


def _uuid() -> Expr:
    digit = Chars.of("0123456789abcdef")
    groups = (part for n in (4, 4, 4, 12) for part in (Lit("-"), Rep(digit, n, n)))
    return seq(Rep(digit, 8, 8), *groups)


def _ipv4() -> Expr:
    byte = natural(0, 255)
    return seq(byte, ".", byte, ".", byte, ".", byte)


# Formats that bind. To JSON Schema every other format is an annotation, and so it is here.
FORMATS: dict[str, tuple[Callable[[], Expr], int, int]] = {  # maker, shortest, longest
    "date": (_date, 10, 10),
    "time": (_time, 9, 21),
    "date-time": (lambda: seq(_date(), "T", _time()), 20, 32),
    "uuid": (_uuid, 36, 36),
    "ipv4": (_ipv4, 7, 15),
}


# --- patterns -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Many:
    item: _Node
    least: int
    most: int | None


_Node: TypeAlias = Chars | _Row | _Choice | _Many

_ASCII = Chars(((0, 127),))
_WORD = Chars.union([(48, 57), (65, 90), (95, 95), (97, 122)])
_SPACE = Chars.of(" \t\n\r\f\v")
# what Unicode or a dialect also takes for a space (JSON Schema's and Python's differ)
_ANY_SPACE = Chars.union(
    [(9, 13), (28, 32), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x180E, 0x180E),
     (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000),
     (0xFEFF, 0xFEFF)]
)  # fmt: skip
_DOT = UNICODE.minus(Chars.of("\n\r\u2028\u2029"))
# \W and \D stay within ASCII: dialects differ on which other letters and digits count
_CLASSES = {
    "d": DIGIT,
    "w": _WORD,
    "s": _SPACE,
    "D": _ASCII.minus(DIGIT),
    "W": _ASCII.minus(_WORD),
    "S": UNICODE.minus(_ANY_SPACE),
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}


class _Parser:
    """The part of ECMA 262's regular expressions that every dialect reads alike."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.depth = 0

    def fail(self, what: str) -> GrammarError:
        return GrammarError(f"The pattern {self.source!r} cannot constrain a model: {what}.")

    def peek(self, text: str) -> bool:
        return self.source.startswith(text, self.at)

    def take(self, text: str) -> bool:
        if self.peek(text):
            self.at += len(text)
            return True
        return False

    def next(self) -> str:
        if self.at >= len(self.source):
            raise self.fail("it ends too early")
        self.at += 1
        return self.source[self.at - 1]

    def parse(self, free: _Node) -> _Node:
        """The whole pattern; where it has no anchor, ``free`` stands around it."""
        options: list[_Node] = []
        while True:
            start = self.take("^")
            items = self.row()
            end = self.take("$")
            options.append(_Row((*(() if start else (free,)), *items, *(() if end else (free,)))))
            if not self.take("|"):
                break
        if self.at < len(self.source):
            raise self.fail(f"{self.source[self.at]!r} stands where it cannot")
        return options[0] if len(options) == 1 else _Choice(tuple(options))

    def group(self) -> _Node:
        self.depth += 1
        if self.depth > 16:
            raise self.fail("its groups are nested too deeply")
        options: list[_Node] = [_Row(self.row())]
        while self.take("|"):
            options.append(_Row(self.row()))
        if not self.take(")"):
            raise self.fail("a group does not close or has an anchor in it")
        self.depth -= 1
        return options[0] if len(options) == 1 else _Choice(tuple(options))

    def row(self) -> tuple[_Node, ...]:
        items: list[_Node] = []
        while self.at < len(self.source) and self.source[self.at] not in "|)$^":
            items.append(self.quantified(self.atom()))
        return tuple(items)

    def atom(self) -> _Node:
        char = self.next()
        if char == "(":
            if self.peek("?") and not self.take("?:"):
                raise self.fail("it looks ahead, looks behind or names a group")
            return self.group()
        if char == "[":
            return self.bracket()
        if char == ".":
            return _DOT
        if char == "\\":
            return self.escape()
        if char in "*+?{":
            raise self.fail(f"{char!r} has nothing to repeat")
        return Chars.of(char)

    def escape(self, *, negated: bool = False) -> Chars:
        char = self.next()
        if char in _CLASSES:
            if negated:  # the complement of what any dialect may take for it
                wide = {"d": _ASCII.minus(DIGIT), "w": _ASCII.minus(_WORD), "s": _CLASSES["S"]}
                if char not in wide:
                    raise self.fail(f"\\{char} stands in a negated class")
                return UNICODE.minus(wide[char])
            return _CLASSES[char]
        if char in _CONTROLS and not (char == "0" and self.source[self.at : self.at + 1].isdigit()):
            return Chars.of(_CONTROLS[char])
        if char in "xu":
            width = 2 if char == "x" else 4
            digits = self.source[self.at : self.at + width]
            self.at += width
            try:
                code = int(digits, 16) if len(digits) == width else -1
            except ValueError:
                code = -1
            if code < 0 or 0xD800 <= code <= 0xDFFF:
                raise self.fail(f"\\{char}{digits} is no character")
            return Chars.of(chr(code))
        if char.isalnum():
            raise self.fail(f"\\{char} is not supported")
        return Chars.of(char)

    def bracket(self) -> Chars:
        negated = self.take("^")
        ranges: list[tuple[int, int]] = []
        while not self.take("]"):
            low = self.member(negated)
            single = len(low.ranges) == 1 and low.ranges[0][0] == low.ranges[0][1]
            if single and self.peek("-") and not self.peek("-]"):
                self.take("-")
                high = self.member(negated)
                if len(high.ranges) != 1 or high.ranges[0][0] < low.ranges[0][0]:
                    raise self.fail("a range of characters runs backwards")
                ranges.append((low.ranges[0][0], high.ranges[0][1]))
            else:
                ranges += low.ranges
        chars = Chars.union(ranges)
        chars = UNICODE.minus(chars) if negated else chars.both(UNICODE)
        if not chars.ranges:
            raise self.fail("a class has no character")
        return chars

    def member(self, negated: bool) -> Chars:
        char = self.next()
        if char == "\\":
            if self.take("b"):
                return Chars.of("\b")
            return self.escape(negated=negated)
        if char == "[" and self.peek(":"):
            raise self.fail("it has a named class")
        return Chars.of(char)

    def quantified(self, item: _Node) -> _Node:
        bounds: tuple[int, int | None] | None = None
        if self.take("*"):
            bounds = (0, None)
        elif self.take("+"):
            bounds = (1, None)
        elif self.take("?"):
            bounds = (0, 1)
        elif self.take("{"):
            close = self.source.find("}", self.at)
            first, comma, last = self.source[self.at : close].partition(",")
            if close < 0 or not first.isdecimal() or not (last == "" or last.isdecimal()):
                raise self.fail("a '{' is no repetition; write '\\{'")
            self.at = close + 1
            bounds = (int(first), (int(last) if last else None) if comma else int(first))
            if bounds[1] is not None and bounds[1] < bounds[0]:
                raise self.fail("a repetition runs backwards")
        if bounds is None:
            return item
        least, most = bounds
        self.take("?")  # lazy: the same language
        if any(self.peek(mark) for mark in "*+{"):
            raise self.fail("a repetition is repeated")
        return _Many(item, least, most)


def _length(node: _Node) -> tuple[int, int | None]:
    """The shortest and the longest text of ``node``, in characters."""
    match node:
        case _Row(items):
            spans = [_length(item) for item in items]
            tops = [top for _, top in spans]
            return sum(s[0] for s in spans), None if None in tops else sum(t or 0 for t in tops)
        case _Choice(items):
            spans = [_length(item) for item in items]
            tops = [top for _, top in spans]
            return min(s[0] for s in spans), None if None in tops else max(t or 0 for t in tops)
        case _Many(item, least, most):
            low, high = _length(item)
            if high == 0 or most == 0:
                return low * least, 0
            return low * least, None if high is None or most is None else high * most
    return 1, 1


def _fit(node: _Node, least: int, most: int | None) -> _Node | None:
    """``node`` with only its texts of ``least`` to ``most`` characters; None: cannot say."""
    low, high = _length(node)
    if low >= least and (most is None or (high is not None and high <= most)):
        return node
    if isinstance(node, _Choice):
        fitted = [_fit(item, least, most) for item in node.items]
        return None if None in fitted else _Choice(tuple(item for item in fitted if item))
    if isinstance(node, _Many):
        node = _Row((node,))
    if not isinstance(node, _Row):
        return _Choice(())
    loose = [n for n, item in enumerate(node.items) if len(set(_length(item))) > 1]
    if len(loose) != 1:
        return _Choice(()) if most is not None and low > most else None
    n = loose[0]
    item = node.items[n]
    fixed = low - _length(item)[0]
    inner_most = None if most is None else most - fixed
    if inner_most is not None and inner_most < 0:
        return _Choice(())
    inner = max(0, least - fixed)
    if isinstance(item, _Many) and _length(item.item) == (1, 1):
        new_most = item.most if inner_most is None else inner_most
        if item.most is not None and new_most is not None:
            new_most = min(new_most, item.most)
        new_least = max(item.least, inner)
        if new_most is not None and new_most < new_least:
            return _Choice(())
        fitted_item: _Node | None = replace(item, least=new_least, most=new_most)
    else:
        fitted_item = None if isinstance(item, _Many) else _fit(item, inner, inner_most)
    if fitted_item is None:
        return None
    return _Row((*node.items[:n], fitted_item, *node.items[n + 1 :]))


def pattern(grammar: Grammar, source: str, least: int = 0, most: int | None = None) -> Expr:
    """The content of JSON strings that match a regular expression.

    Supported: classes, ``\\d \\w \\s`` and their complements, groups, alternatives,
    ``* + ? {m,n}``, anchors at the ends. Without an anchor, anything may stand
    there, as JSON Schema has it.

    Args:
        grammar: Takes the rules of long repetitions.
        source: The pattern.
        least / most: Bounds on the length, in characters.

    Raises:
        GrammarError: It uses something else, or cannot be combined with the bounds.
    """
    if len(source) > limits.PATTERN_CHARS:
        raise GrammarError("A pattern of the schema is too long.")
    parser = _Parser(source)
    node = _fit(parser.parse(_Many(UNICODE, 0, None)), least, most)
    if node is None:  # a pattern that stands alone also matches what has no anchors
        node = _fit(_Parser(source).parse(_Row(())), least, most)
    if node is None:
        raise parser.fail("minLength or maxLength stands beside it")

    def build(node: _Node) -> Expr:
        match node:
            case _Row(items):
                return seq(*(build(item) for item in items))
            case _Choice(items):
                return alt(*(build(item) for item in items))
            case _Many(item, least, most):
                return grammar.repeat(build(item), least, most)
        return json_char(node)

    return build(node)
