"""Grammars in llama.cpp's GBNF notation, built from small expressions instead of text.

``Grammar`` names expressions and writes them out. Writing checks what llama.cpp would refuse or
choke on: undefined rules, left recursion, an endless repetition of something that may be empty, a
root that no finite text fits, too many ways to go on, and size. It knows nothing of JSON or of
tokens.

The notation: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter

from llmos import limits
from llmos.engine.expressions import (
    EMPTY,
    NOTHING,
    Alt,
    Chars,
    Expr,
    Lit,
    Ref,
    Rep,
    Seq,
    may_be_empty,
)
from llmos.engine.openings import check_openings
from llmos.errors import GrammarError

__all__ = [
    "EMPTY",
    "NOTHING",
    "Alt",
    "Chars",
    "Expr",
    "Grammar",
    "Lit",
    "Ref",
    "Rep",
    "Seq",
    "alt",
    "literal",
    "one_of",
    "optional",
    "rule_name",
    "seq",
]

_BASE = 64  # llama.cpp writes x{n} out as n rules, and refuses large n


def seq(*items: Expr | str) -> Expr:
    """The items in a row; a string stands for itself."""
    flat: list[Expr] = []
    for item in items:
        item = Lit(item) if isinstance(item, str) else item
        parts = item.items if isinstance(item, Seq) else (item,)
        for part in parts:
            if part == NOTHING:
                return NOTHING
            if isinstance(part, Lit) and flat and isinstance(flat[-1], Lit):
                flat[-1] = Lit(flat[-1].text + part.text)
            elif part != EMPTY:
                flat.append(part)
    if not flat:
        return EMPTY
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def alt(*items: Expr | str) -> Expr:
    """Any of the items, each once."""
    flat: dict[Expr, None] = {}
    for item in items:
        item = Lit(item) if isinstance(item, str) else item
        flat.update(dict.fromkeys(item.items if isinstance(item, Alt) else (item,)))
    return next(iter(flat)) if len(flat) == 1 else Alt(tuple(flat))


def one_of(texts: Iterable[str]) -> Expr:
    """One of these texts. Common beginnings are shared, so that few ways are open at once."""
    known = sorted(set(texts))
    if len(known) < 2:
        return Lit(known[0]) if known else NOTHING
    pairs = enumerate(zip(known[0], known[-1], strict=False))
    shared = next((at for at, (a, b) in pairs if a != b), len(known[0]))
    if shared:
        return seq(known[0][:shared], one_of(text[shared:] for text in known))
    groups = itertools.groupby(known, key=lambda text: text[:1])
    return alt(*(one_of(group) for _, group in groups))


def optional(item: Expr | str) -> Expr:
    """The item or nothing."""
    return Rep(Lit(item) if isinstance(item, str) else item, 0, 1)


_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def literal(text: str) -> str:
    """``text`` as a quoted GBNF literal.

    Raises:
        GrammarError: The text has half a surrogate pair, which no model can write.
    """
    out = []
    for char in text:
        code = ord(char)
        if 0xD800 <= code <= 0xDFFF:
            raise GrammarError(f"A schema has text that is not Unicode: {text!r}.")
        out.append(_SHORT.get(char) or (f"\\x{code:02X}" if code < 32 or code == 127 else char))
    return f'"{"".join(out)}"'


def rule_name(text: str) -> str:
    """``text`` as a rule name: llama.cpp takes letters, digits and dashes."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")[:40].strip("-") or "x"


def _code(code: int) -> str:
    char = chr(code)
    if char.isascii() and char.isalnum():
        return char
    return (
        f"\\x{code:02X}"
        if code < 0x80
        else f"\\u{code:04X}"
        if code < 0x10000
        else f"\\U{code:08X}"
    )


class Grammar:
    """A set of named rules."""

    def __init__(self) -> None:
        self.rules: dict[str, Expr] = {}
        self._names: dict[str, int] = {}
        self._known: dict[Expr, Ref] = {}

    def reserve(self, hint: str) -> Ref:
        """A name of its own for a rule that is defined later."""
        base = name = rule_name(hint)
        while name in self._names:
            self._names[base] += 1
            name = f"{base}-{self._names[base]}"
        self._names[name] = 1
        return Ref(name)

    def define(self, ref: Ref, expr: Expr) -> Ref:
        """Say what a reserved name stands for."""
        if len(self.rules) >= limits.GRAMMAR_RULES:
            raise GrammarError("The schema is too large for a grammar.")
        self.rules[ref.name] = expr
        return ref

    def rule(self, hint: str, expr: Expr) -> Expr:
        """Name an expression; equal expressions share one rule, short ones need none."""
        if isinstance(expr, Ref) or expr in (EMPTY, NOTHING):
            return expr
        if expr not in self._known:
            self._known[expr] = self.define(self.reserve(hint), expr)
        return self._known[expr]

    def repeat(self, item: Expr, least: int, most: int | None) -> Expr:
        """``item`` ``least`` to ``most`` times, in few rules however large the counts.

        Counts are written in base 64, so that n items cost about 64 · log(n) rules and a text is
        derived in one way only.
        """
        if most is not None and most < least:
            return NOTHING
        if least > limits.GRAMMAR_COUNT:
            raise GrammarError("A schema asks for more than any reply could hold.")
        if most is not None and most > limits.GRAMMAR_COUNT:
            most = None  # no reply comes that far
        if most != 1 and self._may_be_empty(item):
            least, item = 0, self._filled(item)
        if any(_repetitions(item)):  # written out inside each other they would multiply
            item = self.rule("item", item)
        if (most is not None and most < _BASE) or (most is None and least < _BASE):
            return EMPTY if most == 0 else Rep(item, least, most)
        item = self.rule("item", item)
        rest = Rep(item, 0, None) if most is None else self._at_most(item, most - least)
        return seq(self._exactly(item, least), rest)

    def _may_be_empty(self, expr: Expr) -> bool:
        def named(name: str) -> bool:
            return name in self.rules and self._may_be_empty(self.rules[name])

        return may_be_empty(expr, named)

    def _filled(self, expr: Expr) -> Expr:
        """What fits ``expr`` but for the empty text.

        Repeating what may be empty, llama.cpp follows every way to leave some of it out: 2 to the
        power of the count. Repeating what may not be, it follows one.
        """
        match expr:
            case Lit(text):
                return expr if text else NOTHING
            case Ref(name):
                if not self._may_be_empty(expr):
                    return expr
                return self.rule("filled", self._filled(self.rules[name]))
            case Seq(items):
                if not self._may_be_empty(expr):
                    return expr
                rests = [items[at + 1 :] for at in range(len(items))]
                pairs = zip(items, rests, strict=True)
                return alt(*(seq(self._filled(item), *rest) for item, rest in pairs))
            case Alt(items):
                return alt(*map(self._filled, items))
            case Rep(item, least, most):
                if self._may_be_empty(item):
                    return self.repeat(self._filled(item), 1, most)
                return Rep(item, max(least, 1), most)
        return expr

    def _exactly(self, item: Expr, count: int) -> Expr:
        parts: list[Expr] = []
        block = item
        while count:
            count, digit = divmod(count, _BASE)
            if digit:
                parts.append(Rep(block, digit, digit))
            block = self.rule("block", Rep(block, _BASE, _BASE)) if count else block
        return seq(*parts)

    def _at_most(self, item: Expr, count: int) -> Expr:
        if count < _BASE:
            return Rep(item, 0, count) if count else EMPTY
        size = _BASE
        while size * _BASE <= count:
            size *= _BASE
        block = self.rule("block", self._exactly(item, size))
        fewer = self.rule("fewer", self._at_most(item, size - 1))
        tail = self._at_most(item, count % size)
        for _ in range(count // size):  # one more whole block, or fewer than one and the end
            tail = self.rule("upto", alt(seq(block, tail), fewer))
        return tail

    # --- writing ----------------------------------------------------------------------------

    def render(self, root: Expr, *, name: str = "root") -> str:
        """The grammar as text, with ``root`` as the rule ``name``.

        Raises:
            GrammarError: llama.cpp could not take it, or no finite text fits it.
        """
        rules = {**self.rules, name: root}
        rules = {rule: pruned for rule, pruned in self._finite(rules) if pruned != NOTHING}
        if name not in rules:
            raise GrammarError("No value fits the schema.")
        empty = _check_recursion(rules)
        check_openings(rules, empty, name)
        lines: dict[str, str] = {}
        waiting = [name]
        while waiting:
            rule = waiting.pop()
            if rule not in lines:
                lines[rule] = f"{rule} ::= {_text(rules[rule])}"
                waiting += reversed(list(_refs(rules[rule])))
        text = "\n".join(lines.values()) + "\n"
        if len(text.encode()) > limits.GRAMMAR_BYTES:
            raise GrammarError("The schema is too large for a grammar.")
        return text

    @staticmethod
    def _finite(rules: dict[str, Expr]) -> Iterator[tuple[str, Expr]]:
        """The rules without the alternatives that never end."""
        ends: set[str] = set()

        def can_end(expr: Expr) -> bool:
            match expr:
                case Ref(name):
                    return name in ends
                case Seq(items):
                    return all(can_end(item) for item in items)
                case Alt(items):
                    return any(can_end(item) for item in items)
                case Rep(item, least, _):
                    return least == 0 or can_end(item)
                case Chars(ranges):
                    return bool(ranges)
            return True

        def pruned(expr: Expr) -> Expr:
            match expr:
                case Seq(items):
                    return seq(*(pruned(item) for item in items))
                case Alt(items):
                    return alt(*(pruned(item) for item in items if can_end(item)))
                case Rep(item, least, most):
                    return Rep(pruned(item), least, most) if can_end(item) else EMPTY
            return expr if can_end(expr) else NOTHING

        grew = True
        while grew:
            grew = False
            for rule, expr in rules.items():  # mostly defined before they are used: few rounds
                if rule not in ends and can_end(expr):
                    ends.add(rule)
                    grew = True
        for name, expr in rules.items():
            yield name, pruned(expr) if name in ends else NOTHING


def _refs(expr: Expr) -> Iterator[str]:
    match expr:
        case Ref(name):
            yield name
        case Seq(items) | Alt(items):
            for item in items:
                yield from _refs(item)
        case Rep(item, _, _):
            yield from _refs(item)


def _check_recursion(rules: dict[str, Expr]) -> set[str]:
    """llama.cpp parses from the left and refuses a rule that can begin with itself.

    Returns:
        The rules that may be empty.
    """
    empty: set[str] = set()

    def empties(expr: Expr) -> bool:
        return may_be_empty(expr, empty.__contains__)

    def first(expr: Expr) -> Iterator[str]:
        match expr:
            case Ref(name):
                yield name
            case Seq(items):
                for item in items:
                    yield from first(item)
                    if not empties(item):
                        return
            case Alt(items):
                for item in items:
                    yield from first(item)
            case Rep(item, _, _):
                yield from first(item)

    grew = True
    while grew:
        grew = False
        for rule, expr in rules.items():  # mostly defined before they are used: few rounds
            if rule not in empty and empties(expr):
                empty.add(rule)
                grew = True
    for expr in rules.values():
        if any(rep.most != 1 and empties(rep.item) for rep in _repetitions(expr)):
            raise GrammarError("A pattern repeats what may be empty.")
    try:
        TopologicalSorter({name: set(first(expr)) for name, expr in rules.items()}).prepare()
    except CycleError:
        raise GrammarError("A $ref of the schema refers to nothing but itself.") from None
    return empty


def _repetitions(expr: Expr) -> Iterator[Rep]:
    match expr:
        case Seq(items) | Alt(items):
            for item in items:
                yield from _repetitions(item)
        case Rep(item, _, _):
            yield expr
            yield from _repetitions(item)


def _text(expr: Expr, *, tight: bool = False) -> str:
    """The expression in GBNF; ``tight``: as one symbol that an operator may follow."""
    match expr:
        case Lit(text):
            return f"({literal(text)})" if tight and len(text) > 1 else literal(text)
        case Chars(ranges):
            spans = (_code(a) if a == b else f"{_code(a)}-{_code(b)}" for a, b in ranges)
            return f"[{''.join(spans)}]"
        case Ref(name):
            return name
        case Seq(items):
            # an alternative inside a row needs brackets of its own
            text = " ".join(_text(item, tight=isinstance(item, Alt)) for item in items)
        case Alt(items):
            text = " | ".join(_text(item) for item in items)
        case Rep(item, least, most):
            marks = {(0, None): "*", (1, None): "+", (0, 1): "?"}
            span = (
                f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
            )
            return _text(item, tight=True) + marks.get((least, most), span)
    return f"({text})" if tight else text
