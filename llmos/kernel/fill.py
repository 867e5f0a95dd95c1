"""The grammar of one call's arguments, made from its schema and the person's words.

An argument the call declares as copied can only take stretches of what the person wrote; one that
may be composed, only their parts, all of them and each once, joined by the marks it declares.
Others follow their JSON schema. So a call always fits its schema, and a small model can't invent
a value.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llmos.engine.gbnf import EMPTY, Expr, Grammar, Lit, alt, seq
from llmos.engine.grammar import SchemaWriter
from llmos.kernel.clauses import endings, stands_behind
from llmos.kernel.spans import Copied, candidates, values
from llmos.kernel.syscalls import Syscall

__all__ = ["OPENING", "Blank", "Way", "readings"]

OPENING = "Call: "
_MOST_VALUES = 8  # values one argument is offered
_MOST_ENDINGS = 24  # texts an argument is offered that takes any words
_MOST_PARTS = 6  # parts a composed value may have


Way = dict[str, Any]


def readings(call: Syscall, clause: str) -> list[Way]:
    """Every way to fill the copied arguments with as many of the person's own values as fit.

    Each value is used once; what is right without being said (``also``) fills what is left. A
    composed argument is None where its parts can be joined in several ways. One that takes any
    words is offered what stands besides the others' values, up to where a value or the clause ends.
    A list of values is all of them, none where there are none.
    """
    ways = _tested(call, clause)
    free = {n: c for n, c in call.copied.items() if c.accepts is None and not c.joins}
    for name, copied in free.items():
        until = tuple(sign for n, c in free.items() if n != name for sign in c.after)
        ways = [{**way, name: text} for way in ways for text in _free(copied, clause, way, until)]
    found = {name: list(dict.fromkeys(values(clause, test))) for name, test in call.listed.items()}
    return [{**{name: way[name] for name in call.copied}, **found} for way in ways]


def _free(copied: Copied, clause: str, way: Way, until: Sequence[str]) -> list[str]:
    """The texts an argument may be that takes any words, beside the values of the others."""
    taken = [value for value in way.values() if value]
    if copied.after and copied.also:
        told = endings(clause, taken, copied.after, until, only=True)
        return told[:_MOST_ENDINGS] or [*copied.also]
    return [*endings(clause, taken, copied.after, until)[:_MOST_ENDINGS], *copied.also]


def _tested(call: Syscall, clause: str) -> list[Way]:
    """Every way to fill the arguments whose values a test tells."""
    tested = {n: c for n, c in call.copied.items() if c.accepts is not None or c.joins}
    names = list(tested)
    slots: list[list[str | None]] = []
    for copied in tested.values():
        found = candidates(copied, clause)[:_MOST_VALUES]
        found = [v for v in found if stands_behind(clause, v, copied.after)] or found
        slots.append([None] if copied.joins and len(found) > 1 else list(found))
    also = {value for copied in tested.values() for value in copied.also}
    ways = []
    for combination in itertools.product(*slots):
        own = [v for v in combination if v is not None and v not in also]
        ways.append((combination, own))
    best = max((len(set(own)) for _, own in ways), default=0)
    return [
        dict(zip(names, combination, strict=True))
        for combination, own in ways
        if len(own) == len(set(own)) == best
    ]


@dataclass(frozen=True, slots=True)
class Blank:
    """A call to be filled in.

    Args:
        call: The row.
        ways: What its copied arguments may be; None leaves one open.
        clause: The words an open argument is made of.
    """

    call: Syscall
    ways: tuple[Way, ...]
    clause: str = ""

    @property
    def forced(self) -> Way | None:
        """The arguments, where there is only one way to fill it in."""
        properties = self.call.schema.get("properties", {})
        if len(self.ways) != 1 or None in self.ways[0].values():
            return None
        return self.ways[0] if set(properties) <= set(self.ways[0]) else None

    @property
    def composed(self) -> bool:
        """Whether an argument is left to be composed."""
        return any(None in way.values() for way in self.ways)

    def without(self, refused: Mapping[str, Any]) -> Blank:
        """What is left to try when these arguments failed."""
        if self.composed or any(name not in self.call.copied for name in refused):
            return replace(self, ways=())
        return replace(self, ways=tuple(way for way in self.ways if way != dict(refused)))

    def grammar(self) -> str:
        """GBNF for ``OPENING`` and the JSON object of the arguments.

        Raises:
            GrammarError: The call's schema cannot be expressed, or there is no way to fill it in.
        """
        grammar = Grammar()
        properties = self.call.schema.get("properties", {})
        bodies: dict[str, Expr] = {}
        for name, schema in properties.items():
            copied = self.call.copied.get(name)
            if copied is None:
                schema = _narrowed(schema, self.call.defaults.get(name), self.clause)
                bodies[name] = SchemaWriter(grammar, schema, canonical=True).expression(name)
            elif copied.joins:
                parts = candidates(copied, self.clause)[:_MOST_PARTS]
                bodies[name] = _composed(grammar, name, parts, copied.joins)
        objects = [_object(properties, way, bodies) for way in self.ways]
        return grammar.render(seq(OPENING, alt(*objects)))


def _narrowed(schema: dict[str, Any], default: Any, clause: str) -> dict[str, Any]:
    """The default alone, where the words name several of the values that an argument may have."""
    words = set(re.findall(r"\w+", clause.casefold()))
    options = [each for each in schema.get("enum", ()) if isinstance(each, str)]
    named = [each for each in options if each.casefold() in words]
    if len(named) > 1 and default in options:
        return {**schema, "enum": [default]}
    return schema


def _object(
    properties: Mapping[str, Any], way: Mapping[str, Any], bodies: Mapping[str, Expr]
) -> Expr:
    """The JSON object in which copied arguments have the values of ``way``."""
    parts: list[Expr | str] = []
    for name in properties:
        value = way.get(name)
        written = _json(value) if value is not None else bodies.get(name)
        if written is not None:
            parts += [", " if parts else "", f"{_json(name)}: ", written]
    return seq("{", *parts, "}")


def _composed(grammar: Grammar, name: str, parts: Sequence[str], joins: Sequence[str]) -> Expr:
    """A JSON string made of all of ``parts``, each once and in any order, or the only one."""
    join = grammar.rule(f"{name}-join", alt(*(_json(j)[1:-1] for j in joins)))
    states: dict[tuple[int, ...], Expr] = {}
    for size in range(1, len(parts) + 1):
        for left in itertools.combinations(range(len(parts)), size):
            ways = []
            for at in left:
                rest = tuple(k for k in left if k != at)
                more = seq(join, states[rest]) if rest else EMPTY
                ways.append(seq(_json(parts[at])[1:-1], more))
            states[left] = grammar.rule(f"{name}-parts", alt(*ways))
    return seq('"', states[tuple(range(len(parts)))], '"') if parts else Lit('""')


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
