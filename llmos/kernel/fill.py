"""The grammar of one call's arguments, made from its schema and the person's words.

An argument the call declares as copied can only take stretches of what the person wrote; one that
may be composed, only their parts, each once, joined by the marks it declares. Others follow their
JSON schema. So a call always fits its schema, and a small model can't invent a value.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmos.engine.gbnf import Grammar
from llmos.engine.grammar import SchemaWriter
from llmos.kernel.spans import candidates
from llmos.kernel.syscalls import Syscall

__all__ = ["OPENING", "call_grammar", "readings"]

OPENING = "Call: "
_MOST_VALUES = 8  # values one argument is offered
_MOST_PARTS = 6  # parts a composed value may have


def readings(call: Syscall, clause: str) -> list[dict[str, str | None]]:
    """Every way to fill the copied arguments with as many of the person's own values as fit.

    Each value is used once; what is right without being said (``also``) fills what is left. A
    composed argument is None: the grammar leaves it open.
    """
    names = list(call.copied)
    slots: list[list[str | None]] = []
    for copied in call.copied.values():
        found = candidates(copied, clause)[:_MOST_VALUES]
        slots.append([None] if copied.joins else list(found))
    also = {value for copied in call.copied.values() for value in copied.also}
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


def call_grammar(
    call: Syscall, clause: str, refused: Sequence[Mapping[str, Any]] = ()
) -> str:
    """GBNF for ``OPENING`` and the JSON object of the arguments.

    Args:
        clause: The words values are copied from.
        refused: Arguments that failed and are not offered again.
    """
    rules: list[str] = []
    bodies: dict[str, str] = {}
    properties = call.schema.get("properties", {})
    for name, schema in properties.items():
        copied = call.copied.get(name)
        if copied is None:
            bodies[name] = _free(name, schema, rules)
        elif copied.joins:
            bodies[name] = _composed(name, candidates(copied, clause), copied.joins, rules)
    ways = [w for w in readings(call, clause) if dict(w) not in [dict(r) for r in refused]]
    alternatives = []
    for way in ways or [{}]:
        parts = []
        for name in properties:
            value = way.get(name)
            if value is not None:
                parts.append(_literal(f"{json.dumps(name)}: {_json(value)}"))
            elif name in bodies:
                parts.append(f"{_literal(json.dumps(name) + ': ')} {bodies[name]}")
        joined = f" {_literal(', ')} ".join(parts)
        alternatives.append(f'"{{" {joined} "}}"' if joined else '"{}"')
    root = " | ".join(dict.fromkeys(alternatives))
    return "\n".join([f"root ::= {_literal(OPENING)} ({root})", *rules])


def _free(name: str, schema: Any, rules: list[str]) -> str:
    """A rule for an argument that follows its schema alone."""
    grammar = Grammar(prefix=f"{_rule(name)}-")
    top = SchemaWriter(grammar, schema, canonical=True).expression(name)
    text = grammar.render(top)
    rules.extend(text.replace("root ::=", f"{_rule(name)} ::=").splitlines())
    return _rule(name)


def _composed(name: str, parts: list[str], joins: Sequence[str], rules: list[str]) -> str:
    """A rule for a value composed of ``parts``, each at most once, in any order."""
    parts, rule = parts[:_MOST_PARTS], _rule(name)
    if len(parts) < 2:
        rules.append(f"{rule} ::= " + (_literal(_json(parts[0])) if parts else '"\\"\\""'))
        return rule
    rules.append(f"{rule}-join ::= " + " | ".join(_literal(_json(j)[1:-1]) for j in joins))
    for size in range(1, len(parts) + 1):
        for left in itertools.combinations(range(len(parts)), size):
            ways = []
            for at in left:
                rest = tuple(k for k in left if k != at)
                more = f" ({rule}-join {_state(rule, rest)})?" if rest else ""
                if rest and size == len(parts):
                    more = f" {rule}-join {_state(rule, rest)}"  # two parts at least…
                ways.append(_literal(_json(parts[at])[1:-1]) + more)
            rules.append(f"{_state(rule, left)} ::= " + " | ".join(ways))
    rules.append(f'{rule} ::= "\\"" {_state(rule, tuple(range(len(parts))))} "\\""')
    return rule


def _state(rule: str, left: Sequence[int]) -> str:
    return f"{rule}-" + "".join(chr(97 + k) for k in left)


def _rule(name: str) -> str:
    return "arg-" + re.sub(r"[^a-z0-9]", "-", name.lower())


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
