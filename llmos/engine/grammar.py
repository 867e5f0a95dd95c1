"""JSON schema to GBNF: whatever a model writes under the grammar fits the schema.

The grammar allows a part of what the schema allows, never more:

* Properties come in the order in which the schema declares them; optional ones may be left out.
* An object that declares properties takes no others, unless ``additionalProperties`` says so.
  Additional names come last and are never those of a declared property.
* A schema without ``type`` takes the types that its keywords speak of, or any value.
* Numbers have at most 16 digits before and after the point, free values a bounded nesting.
* Whitespace is at most one space, or one line break with a bounded indentation.

Annotations (and formats that JSON Schema counts as such) are ignored. A keyword that restricts
and cannot be expressed is a ``GrammarError`` that names it; nothing is dropped silently. It does
not know tools or models, and does not validate values.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, TypeAlias

from llmos import limits
from llmos.engine import numerals, patterns
from llmos.engine.gbnf import (
    EMPTY,
    NOTHING,
    Chars,
    Expr,
    Grammar,
    Lit,
    Ref,
    Rep,
    alt,
    literal,
    one_of,
    optional,
    rule_name,
    seq,
)
from llmos.engine.schemas import Resolver, number_bounds, types_of
from llmos.errors import GrammarError

__all__ = ["SchemaWriter", "from_schema", "json_object", "literal", "rule_name"]

Schema: TypeAlias = dict[str, Any]


def from_schema(schema: Schema, *, root: str = "root", canonical: bool = False) -> str:
    """A grammar of the JSON texts that fit ``schema``.

    Args:
        schema: A JSON schema as OpenAI's function parameters and ``response_format`` carry it.
        root: Name of the grammar's first rule.
        canonical: Only texts as ``json.dumps(value, ensure_ascii=False)`` writes them, so that
            a value written again gives the same text (numbers may still differ).

    Returns:
        GBNF.

    Raises:
        GrammarError: The schema has a keyword that cannot be expressed, contradicts itself, or
            is too large.
    """
    grammar = Grammar()
    ref = grammar.reserve(root)
    expr = SchemaWriter(grammar, schema, canonical=canonical).expression("value")
    return grammar.render(expr, name=ref.name)


def json_object(*, canonical: bool = False) -> str:
    """A grammar of any JSON object."""
    return from_schema({"type": "object"}, canonical=canonical)


class SchemaWriter:
    """Writes one schema into a grammar, beside whatever else is in there.

    Args:
        grammar: Takes the rules.
        schema: The schema; its ``$ref`` point into it.
        canonical: See ``from_schema``.
    """

    def __init__(self, grammar: Grammar, schema: Schema | bool, *, canonical: bool = False) -> None:
        self.grammar = grammar
        self.schema = schema
        self.resolver = Resolver(schema)
        self.canonical = canonical
        self._refs: dict[str, Ref] = {}
        self._nodes = 0
        indent = seq("\n", Rep(Chars.of(" \t"), 0, 16))
        space = optional(" ") if canonical else grammar.rule("space", optional(alt(" ", indent)))
        self.space: Expr = EMPTY if canonical else space  # inside brackets
        self.after: Expr = Lit(" ") if canonical else space  # after a comma or a colon
        self.char = grammar.rule("char", patterns.any_char(canonical=canonical))

    def expression(self, hint: str) -> Expr:
        """The whole schema as an expression; its rules are named after ``hint``."""
        try:
            return self._visit(self.schema, hint, 0)
        except (TypeError, ValueError, AttributeError, KeyError, RecursionError) as error:
            raise GrammarError("The schema is malformed.") from error

    # --- one schema -------------------------------------------------------------------------

    def _visit(self, schema: Any, hint: str, depth: int) -> Expr:
        self._nodes += 1
        if self._nodes > limits.SCHEMA_NODES:
            raise GrammarError("The schema is too large for a grammar.")
        if depth > limits.SCHEMA_DEPTH:
            raise GrammarError(f"The schema is nested deeper than {limits.SCHEMA_DEPTH} levels.")
        target = self.resolver.plain_ref(schema)
        if target is not None:
            if target not in self._refs:
                ref = self._refs[target] = self.grammar.reserve(target.rsplit("/", 1)[-1] or hint)
                self.grammar.define(ref, self._visit(self.resolver.find(target), hint, depth + 1))
            return self._refs[target]
        parts = self.resolver.parts(schema)  # keeps their $ref, which may be recursive
        if parts is not None:
            return alt(*(self._visit(part, hint, depth + 1) for part in parts))
        options = [self._flat(flat, hint, depth) for flat in self.resolver.branches(schema)]
        return alt(*options)

    def _flat(self, schema: Schema | bool, hint: str, depth: int) -> Expr:
        if schema is False:
            return NOTHING
        if schema is True:
            return self._any(limits.JSON_DEPTH)
        if "enum" in schema:
            return one_of(self._constant(value) for value in self.resolver.enumerated(schema))
        options: list[Expr] = []
        for kind in types_of(schema):
            match kind:
                case "object":
                    options.append(self._object(schema, hint, depth))
                case "array":
                    options.append(self._array(schema, hint, depth))
                case "string":
                    options.append(self._string(schema))
                case "integer" | "number":
                    options.append(self._number(schema, kind))
                case "boolean":
                    options += [Lit("true"), Lit("false")]
                case "null":
                    options.append(Lit("null"))
                case "any":
                    options.append(self._any(limits.JSON_DEPTH))
        return alt(*options)

    def _constant(self, value: Any) -> str:
        separators = (", ", ": ") if self.canonical else (",", ":")
        text = json.dumps(value, ensure_ascii=False, separators=separators, allow_nan=False)
        literal(text)  # raises for what no model can write
        return text

    # --- scalars ----------------------------------------------------------------------------

    def _number(self, schema: Schema, kind: str) -> Expr:
        low, high, above, below = number_bounds(schema)
        if kind == "number":
            return self.grammar.rule(
                "number", numerals.decimal_range(low, high, above=above, below=below)
            )
        first = last = None
        if low is not None:
            first = _ceiling(low) + (1 if above and low == low.to_integral_value() else 0)
        if high is not None:
            last = -_ceiling(-high) - (1 if below and high == high.to_integral_value() else 0)
        return self.grammar.rule("integer", numerals.integer_range(first, last))

    def _string(self, schema: Schema) -> Expr:
        least = _count(schema, "minLength") or 0
        most = _count(schema, "maxLength")
        form = schema.get("format")
        known = patterns.FORMATS.get(form) if isinstance(form, str) else None
        if "pattern" in schema:
            if known:
                raise GrammarError(f"The format {form!r} beside a pattern is not supported.")
            if not isinstance(schema["pattern"], str):
                raise GrammarError("A pattern of the schema is not a string.")
            content = patterns.pattern(self.grammar, schema["pattern"], least, most)
        elif known:
            make, shortest, longest = known
            if least > shortest or (most is not None and most < longest):
                raise GrammarError(
                    f"minLength or maxLength beside the format {form!r} is not supported."
                )
            content = make()
        else:
            content = self.grammar.repeat(self.char, least, most)
        return (
            NOTHING if content == NOTHING else self.grammar.rule("string", seq('"', content, '"'))
        )

    # --- arrays -----------------------------------------------------------------------------

    def _array(self, schema: Schema, hint: str, depth: int) -> Expr:
        least = _count(schema, "minItems") or 0
        most = _count(schema, "maxItems")
        if most is not None and most < least:
            return NOTHING
        comma = seq(",", self.after)
        first = [
            self._visit(item, f"{hint}-{n}", depth + 1)
            for n, item in enumerate(schema.get("prefixItems", ()))
        ]
        if "items" in schema:
            rest = self._visit(schema["items"], f"{hint}-item", depth + 1)
        elif first:
            rest = NOTHING  # like properties: what is declared is all there is
        else:
            rest = self._any(limits.JSON_DEPTH - 1)
        room = None if most is None else most - len(first)
        needed = max(0, least - len(first))
        if rest == NOTHING:
            if needed:
                return NOTHING
            tail: Expr = EMPTY
        else:
            if not first:
                more = self.grammar.repeat(
                    seq(comma, rest), max(0, least - 1), None if most is None else max(0, most - 1)
                )
                some = NOTHING if most == 0 else seq(rest, more)
                inner = alt(some, EMPTY) if least == 0 else some
                return self._bracket("[", inner, "]", hint)
            tail = (
                EMPTY
                if room is not None and room <= 0
                else self.grammar.repeat(seq(comma, rest), needed, room)
            )
        # the declared items may end early, but not before minItems
        inner = tail if most is None or most >= len(first) else NOTHING
        for n in reversed(range(len(first))):
            inner = seq(comma if n else EMPTY, first[n], inner)
            if n >= least and (most is None or n <= most):
                inner = self.grammar.rule(f"{hint}-rest", alt(inner, EMPTY))
        return self._bracket("[", inner, "]", hint)

    def _bracket(self, opening: str, inner: Expr, closing: str, hint: str) -> Expr:
        if inner == NOTHING:
            return NOTHING
        if inner == EMPTY:
            return Lit(opening + closing)
        return self.grammar.rule(hint, seq(opening, self.space, inner, self.space, closing))

    # --- objects ----------------------------------------------------------------------------

    def _object(self, schema: Schema, hint: str, depth: int) -> Expr:
        declared: Schema = dict(schema.get("properties", {}))
        required = list(schema.get("required", ()))
        open_ended = "properties" not in schema and not required
        extra_schema = schema.get("additionalProperties", open_ended)
        for name in required:  # required, but declared nowhere
            if name not in declared:
                declared[name] = schema.get("additionalProperties", True)
        members: list[tuple[Expr, bool]] = []
        for name, value in declared.items():
            expr = self._visit(value, f"{hint}-{rule_name(name)}", depth + 1)
            if expr == NOTHING:
                if name in required:
                    return NOTHING
                continue
            member = seq(self._constant(name), ":", self.after, expr)
            members.append(
                (self.grammar.rule(f"{hint}-{rule_name(name)}-member", member), name in required)
            )
        extra: Expr = NOTHING
        if extra_schema is not False:
            value = (
                self._any(limits.JSON_DEPTH - 1)
                if extra_schema in (True, {})
                else self._visit(extra_schema, f"{hint}-extra", depth + 1)
            )
            if value != NOTHING:
                key = self._key(schema, list(declared), hint, depth)
                extra = self.grammar.rule(f"{hint}-extra-member", seq(key, ":", self.after, value))
        elif "propertyNames" in schema and declared:
            raise GrammarError("propertyNames beside properties is not supported.")
        least = _count(schema, "minProperties") or 0
        most = _count(schema, "maxProperties")
        if extra == NOTHING and most is not None and most >= len(members):
            most = None  # says nothing
        inner = self._members(members, extra, least, most, hint)
        return self._bracket("{", inner, "}", hint)

    def _members(
        self, members: list[tuple[Expr, bool]], extra: Expr, least: int, most: int | None, hint: str
    ) -> Expr:
        """Members in order, separated by commas, ``least`` to ``most`` of them.

        A state is the next member and how many were written, counted only as far as it matters.
        """
        comma = seq(",", self.after)
        if (most is not None and most > 4096) or least > 4096:
            raise GrammarError("minProperties or maxProperties is too large.")
        cap = most + 1 if most is not None else max(1, least)
        after: dict[int, Expr] = {}
        for written in range(cap + 1):
            if most is not None and written > most:
                after[written] = NOTHING
                continue
            # names of additional members could repeat, so only one of them surely counts
            needed = max(0, least - written)
            if extra == NOTHING or needed > 1:
                after[written] = NOTHING if needed else EMPTY
                continue
            room = None if most is None else most - written
            if written:
                after[written] = self.grammar.repeat(seq(comma, extra), needed, room)
            else:
                more = self.grammar.repeat(
                    seq(comma, extra), 0, None if room is None else max(0, room - 1)
                )
                some = NOTHING if room == 0 else seq(extra, more)
                after[written] = some if needed else alt(some, EMPTY)
        for expr, needed_here in reversed(members):
            before: dict[int, Expr] = {}
            for written in range(cap + 1):
                then = after[min(written + 1, cap)]
                options = [
                    NOTHING if then == NOTHING else seq(comma if written else EMPTY, expr, then)
                ]
                if not needed_here:
                    options.append(after[written])
                options = [option for option in options if option != NOTHING]
                before[written] = (
                    self.grammar.rule(f"{hint}-rest", alt(*options)) if options else NOTHING
                )
            after = before
        if after[0] == NOTHING and extra != NOTHING and least > 1:
            raise GrammarError("minProperties above one is supported only for declared properties.")
        return after[0]

    def _key(self, schema: Schema, declared: list[str], hint: str, depth: int) -> Expr:
        """The name of an additional property."""
        if "propertyNames" in schema:
            if declared:
                raise GrammarError("propertyNames beside properties is not supported.")
            names = self.resolver.merge({"type": "string"}, schema["propertyNames"])
            return self._visit(names, f"{hint}-name", depth + 1)
        return self.grammar.rule(f"{hint}-name", seq('"', self._other(declared, hint), '"'))

    def _other(self, names: list[str], hint: str) -> Expr:
        """Any text without escapes but none of ``names`` (and not empty): a tree of prefixes."""
        names = [name for name in names if all(char in patterns.PLAIN for char in name)]
        anything = Rep(patterns.PLAIN, 0, None)

        def node(rest: list[str], *, first: bool) -> Expr:
            if not rest:
                return anything
            heads = sorted({name[0] for name in rest if name})
            options = [seq(patterns.PLAIN.minus(Chars.of("".join(heads))), anything)]
            for head in heads:
                tails = [name[1:] for name in rest if name[:1] == head]
                options.append(seq(head, node(tails, first=False)))
            if not first and "" not in rest:
                options.append(EMPTY)
            return alt(*options)

        if not names:
            return Rep(patterns.PLAIN, 1, None)
        if sum(map(len, names)) > limits.SCHEMA_NODES or max(map(len, names)) > 256:
            raise GrammarError(
                "additionalProperties beside so many or such long names is not supported."
            )
        return node(names, first=True)

    # --- anything ---------------------------------------------------------------------------

    def _any(self, depth: int) -> Expr:
        """Any JSON value, nested at most ``depth`` deep."""
        comma = seq(",", self.after)
        string = self.grammar.rule("string", seq('"', Rep(self.char, 0, None), '"'))
        number = self.grammar.rule("number", numerals.decimal_range(None, None))
        value = self.grammar.rule("scalar", alt(string, number, "true", "false", "null"))
        scalar = value
        for _ in range(depth):
            items = seq(value, Rep(seq(comma, value), 0, None))
            pair = seq(string, ":", self.after, value)
            pairs = seq(pair, Rep(seq(comma, pair), 0, None))
            array = alt("[]", seq("[", self.space, items, self.space, "]"))
            table = alt("{}", seq("{", self.space, pairs, self.space, "}"))
            value = self.grammar.rule("value", alt(scalar, array, table))
        return value


def _ceiling(number: Decimal) -> int:
    whole = int(number)
    return whole + 1 if number > whole else whole


def _count(schema: Schema, keyword: str) -> int | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or value < 0
        or value != int(value)
    ):
        raise GrammarError(f"{keyword} of the schema is not a count.")
    return int(value)
