"""JSON schemas taken apart: references, ``allOf``, ``anyOf`` and ``oneOf`` resolved into flat ones.

A flat schema has none of them; it speaks of one object, string, number and so on. Merging gives
exactly what both schemas allow, or a ``GrammarError`` that names the keyword. It writes no
grammar and validates no values.

The keywords: https://json-schema.org/draft/2020-12 and, where they differ, drafts 4 to 7 and
OpenAPI's ``nullable``.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import unquote

from llmos import limits
from llmos.errors import GrammarError

__all__ = ["Resolver", "number_bounds", "types_of"]

Schema: TypeAlias = dict[str, Any]

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_OF_TYPE = {
    "object": ("properties", "required", "additionalProperties", "minProperties",
               "maxProperties", "propertyNames"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}  # fmt: skip
_HANDLED = {
    "type",
    "enum",
    "const",
    "nullable",
    *(key for keys in _OF_TYPE.values() for key in keys),
}
_JOINS = {"$ref", "allOf", "anyOf", "oneOf"}
# Keywords that restrict and that a grammar does not express. Whatever is in no list is an
# annotation, as JSON Schema says of keywords it does not know.
_UNSUPPORTED = (
    "not", "if", "then", "else", "dependencies", "dependentRequired", "dependentSchemas",
    "patternProperties", "contains", "minContains", "maxContains", "uniqueItems", "multipleOf",
    "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef", "$anchor",
    "extends", "disallow", "divisibleBy",
)  # fmt: skip
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "uniqueItems": (False,),
    "unevaluatedProperties": (True, {}),
    "unevaluatedItems": (True, {}),
    "multipleOf": (),
    "patternProperties": ({},),
    "dependencies": ({},),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
}
_BRANCHES = 256


def types_of(schema: Schema) -> list[str]:
    """The types a flat schema allows; ``any`` where nothing says."""
    if "type" not in schema:
        kinds = [kind for kind, keys in _OF_TYPE.items() if any(key in schema for key in keys)]
        return kinds or ["any"]
    kinds = list(schema["type"])
    return [kind for kind in kinds if not (kind == "integer" and "number" in kinds)]


def number_bounds(schema: Schema) -> tuple[Decimal | None, Decimal | None, bool, bool]:
    """Lower and upper bound of a flat schema, and whether each itself is out."""

    def bound(plain: str, exclusive: str, lower: bool) -> tuple[Decimal | None, bool]:
        value, out = _decimal(schema, plain), False
        edge = schema.get(exclusive)
        if edge is True:  # draft 4
            return value, value is not None
        if edge is not None and edge is not False:
            limit = _decimal(schema, exclusive)
            if limit is not None and (
                value is None or (limit >= value if lower else limit <= value)
            ):
                value, out = limit, True
        return value, out

    low, above = bound("minimum", "exclusiveMinimum", True)
    high, below = bound("maximum", "exclusiveMaximum", False)
    return low, high, above, below


def _decimal(schema: Schema, keyword: str) -> Decimal | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise GrammarError(f"{keyword} of the schema is not a number.")
    number = Decimal(repr(value))
    if not number.is_finite() or abs(number.adjusted()) > 60:
        raise GrammarError(f"{keyword} of the schema is out of range.")
    return number


class Resolver:
    """Flattens the parts of one schema document.

    Args:
        document: What ``#`` refers to.
    """

    def __init__(self, document: Schema | bool) -> None:
        self.document = document
        self._work = 0

    def plain_ref(self, schema: Any) -> str | None:
        """The target of a schema that is a ``$ref`` and nothing else that restricts."""
        if not isinstance(schema, dict) or "$ref" not in schema:
            return None
        if _restricting(schema) != {"$ref"}:
            return None
        if not isinstance(schema["$ref"], str):
            raise GrammarError("A $ref of the schema is not a string.")
        return schema["$ref"]

    def parts(self, schema: Any) -> list[Any] | None:
        """The alternatives of a schema that consists of nothing but them."""
        if not isinstance(schema, dict):
            return None
        match sorted(_restricting(schema)):
            case ["allOf"] if len(schema["allOf"]) == 1:
                return _schemas(schema, "allOf")
            case ["anyOf"]:
                return _schemas(schema, "anyOf")
            case ["oneOf"]:
                self.branches(schema)  # raises where two of them may fit
                return _schemas(schema, "oneOf")
        return None

    def find(self, pointer: str) -> Any:
        """The schema that ``pointer`` (``#/…``) names."""
        if pointer != "#" and not pointer.startswith("#/"):
            raise GrammarError(f"The $ref {pointer!r} leads out of the schema.")
        place: Any = self.document
        for part in pointer.split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(place, list) and key.isdecimal() and int(key) < len(place):
                place = place[int(key)]
            elif isinstance(place, dict) and key in place:
                place = place[key]
            else:
                raise GrammarError(f"The $ref {pointer!r} leads nowhere.")
        return place

    def branches(self, schema: Any, depth: int = 0) -> list[Schema | bool]:
        """The flat schemas of which a value must fit one."""
        self._work += 1
        if self._work > 16 * limits.SCHEMA_NODES:
            raise GrammarError("The schema is too large for a grammar.")
        if depth > limits.SCHEMA_DEPTH:
            raise GrammarError(f"The schema is nested deeper than {limits.SCHEMA_DEPTH} levels.")
        if isinstance(schema, bool):
            return [schema]
        base = _checked(schema)
        joined: list[Schema | bool] = [base or True]
        parts = [self.find(schema["$ref"])] if "$ref" in schema else []
        parts += _schemas(schema, "allOf")
        for part in parts:
            joined = self._product(joined, self.branches(part, depth + 1))
        if "anyOf" in schema:
            options = [
                b for part in _schemas(schema, "anyOf") for b in self.branches(part, depth + 1)
            ]
            joined = self._product(joined, options)
        if "oneOf" in schema:
            groups = [
                self._product(joined, self.branches(part, depth + 1))
                for part in _schemas(schema, "oneOf")
            ]
            groups = [[branch for branch in group if branch is not False] for group in groups]
            for n, group in enumerate(groups):
                for other in groups[n + 1 :]:
                    if not all(self._apart(a, b) for a in group for b in other):
                        raise GrammarError(
                            "oneOf is not supported where a value may fit two of its schemas."
                        )
            joined = [branch for group in groups for branch in group] or [False]
        return joined

    def _product(
        self, left: list[Schema | bool], right: list[Schema | bool]
    ) -> list[Schema | bool]:
        if len(left) * len(right) > _BRANCHES:
            raise GrammarError("anyOf and oneOf of the schema combine into too many cases.")
        merged = [self.merge(a, b) for a in left for b in right]
        return [branch for branch in merged if branch is not False] or [False]

    # --- merging ----------------------------------------------------------------------------

    def merge(self, a: Schema | bool, b: Schema | bool) -> Schema | bool:
        """What two schemas both allow; False for nothing."""
        if a is False or b is False:
            return False
        if a is True or a == {}:
            return b
        if b is True or b == {} or a == b:
            return a
        assert isinstance(a, dict)
        assert isinstance(b, dict)
        if _JOINS & (a.keys() | b.keys()):
            return {"allOf": [a, b]}
        a, b = _checked(a), _checked(b)
        out: Schema = {**a, **b}
        if "type" in a and "type" in b:
            kinds = _meet(a["type"], b["type"])
            if not kinds:
                return False
            out["type"] = kinds
        if "enum" in a and "enum" in b:
            out["enum"] = [value for value in a["enum"] if _contains(b["enum"], value)]
            if not out["enum"]:
                return False
        for keyword in ("minLength", "minItems", "minProperties", "minimum"):
            if keyword in a and keyword in b:
                out[keyword] = max(a[keyword], b[keyword])
        for keyword in ("maxLength", "maxItems", "maxProperties", "maximum"):
            if keyword in a and keyword in b:
                out[keyword] = min(a[keyword], b[keyword])
        for keyword, pick in (("exclusiveMinimum", max), ("exclusiveMaximum", min)):
            if keyword in a and keyword in b and a[keyword] != b[keyword]:
                if isinstance(a[keyword], bool) or isinstance(b[keyword], bool):
                    raise GrammarError(f"{keyword} cannot be merged in allOf.")
                out[keyword] = pick(a[keyword], b[keyword])
            elif out.get(keyword) is True and (a.get("minimum"), a.get("maximum")) != (
                b.get("minimum"),
                b.get("maximum"),
            ):
                raise GrammarError(f"{keyword} cannot be merged in allOf.")
        for keyword in ("pattern", "format"):
            if keyword in a and keyword in b and a[keyword] != b[keyword]:
                raise GrammarError(f"Two {keyword}s for one value are not supported.")
        if "propertyNames" in a and "propertyNames" in b:
            out["propertyNames"] = self.merge(a["propertyNames"], b["propertyNames"])
        self._merge_items(a, b, out)
        self._merge_properties(a, b, out)
        return out

    def _merge_items(self, a: Schema, b: Schema, out: Schema) -> None:
        prefix_a, prefix_b = a.get("prefixItems", []), b.get("prefixItems", [])
        if prefix_a or prefix_b:
            length = max(len(prefix_a), len(prefix_b))
            out["prefixItems"] = [
                self.merge(
                    prefix_a[n] if n < len(prefix_a) else a.get("items", True),
                    prefix_b[n] if n < len(prefix_b) else b.get("items", True),
                )
                for n in range(length)
            ]
        if "items" in a and "items" in b:
            out["items"] = self.merge(a["items"], b["items"])

    def _merge_properties(self, a: Schema, b: Schema, out: Schema) -> None:
        if "properties" in a or "properties" in b:
            names = {**a.get("properties", {}), **b.get("properties", {})}

            def of(schema: Schema, name: str) -> Any:
                return schema.get("properties", {}).get(
                    name, schema.get("additionalProperties", True)
                )

            out["properties"] = {name: self.merge(of(a, name), of(b, name)) for name in names}
        if "required" in a and "required" in b:
            out["required"] = list(dict.fromkeys([*a["required"], *b["required"]]))
        if "additionalProperties" in a and "additionalProperties" in b:
            out["additionalProperties"] = self.merge(
                a["additionalProperties"], b["additionalProperties"]
            )

    # --- questions --------------------------------------------------------------------------

    def enumerated(self, schema: Schema) -> list[Any]:
        """The values of a flat schema's ``enum`` that its other keywords allow."""
        values = schema["enum"]
        for keyword in (
            "pattern",
            "format",
            "items",
            "prefixItems",
            "properties",
            "propertyNames",
            "required",
            "additionalProperties",
        ):
            kind = next(kind for kind, keys in _OF_TYPE.items() if keyword in keys)
            if keyword in schema and any(_is(value, kind) for value in values):
                raise GrammarError(f"{keyword} beside enum is not supported.")
        low, high, above, below = number_bounds(schema)

        def fits(value: Any) -> bool:
            if "type" in schema and not any(_is(value, kind) for kind in schema["type"]):
                return False
            if _is(value, "number"):
                number = Decimal(repr(value))
                return not (
                    (low is not None and (number < low or (above and number == low)))
                    or (high is not None and (number > high or (below and number == high)))
                )
            for kind, noun in ((str, "Length"), (list, "Items"), (dict, "Properties")):
                if isinstance(value, kind):
                    least, most = schema.get(f"min{noun}", 0), schema.get(f"max{noun}", len(value))
                    return bool(least <= len(value) <= most)
            return True

        return [value for value in values if fits(value)]

    def _apart(self, a: Schema | bool, b: Schema | bool) -> bool:
        """Whether no value the grammar writes for one of two flat schemas fits the other."""
        if isinstance(a, bool) or isinstance(b, bool):
            return a is False or b is False
        if "enum" in a or "enum" in b:
            if "enum" in a and "enum" in b:
                return not any(_contains(b["enum"], value) for value in a["enum"])
            values, other = (a["enum"], b) if "enum" in a else (b["enum"], a)
            return not any(_is(value, kind) for value in values for kind in _spread(other))
        shared = _meet(_spread(a), _spread(b))
        if not shared:
            return True
        if shared == ["object"]:
            return self._objects_apart(a, b)
        if set(shared) <= {"integer", "number"}:
            for one, other in ((a, b), (b, a)):
                high, out = number_bounds(one)[1], number_bounds(one)[3]
                low, also_out = number_bounds(other)[0], number_bounds(other)[2]
                if high is None or low is None:
                    continue
                if high < low or (high == low and (out or also_out)):
                    return True
        return False

    def _objects_apart(self, a: Schema, b: Schema) -> bool:
        fields_a, fields_b = a.get("properties", {}), b.get("properties", {})
        needs_a, needs_b = set(a.get("required", ())), set(b.get("required", ()))
        for name in sorted(needs_a & needs_b & fields_a.keys() & fields_b.keys()):
            left, right = self.branches(fields_a[name], 1), self.branches(fields_b[name], 1)
            if all(self._apart(x, y) for x in left for y in right):
                return True

        def never(written: Schema, other: Schema) -> bool:
            """What is written for one lacks or has a name that the other needs or forbids."""
            fields = written.get("properties", {})
            closed = ("properties" in written or written.get("required")) and written.get(
                "additionalProperties", False
            ) is False
            names = set(fields) | set(written.get("required", ()))
            lacks = bool(closed) and bool(set(other.get("required", ())) - names)
            forbidden = other.get("additionalProperties") is False and bool(
                set(written.get("required", ())) - set(other.get("properties", {}))
            )
            return lacks or forbidden

        return never(a, b) and never(b, a)


# --- helpers --------------------------------------------------------------------------------


def _schemas(schema: Schema, keyword: str) -> list[Any]:
    parts = schema.get(keyword, [])
    if not isinstance(parts, list) or (keyword in schema and not parts):
        raise GrammarError(f"{keyword} of the schema is not a list of schemas.")
    return parts


def _restricting(schema: Schema) -> set[str]:
    return {key for key in schema if key in _HANDLED or key in _JOINS or key in _UNSUPPORTED}


def _checked(schema: Any) -> Schema:
    """The schema's own keywords in one normal form; joins and annotations are left out."""
    if not isinstance(schema, dict):
        raise GrammarError(f"A schema must be an object or a boolean, not {type(schema).__name__}.")
    for keyword in _UNSUPPORTED:
        if keyword in schema and schema[keyword] not in _NEUTRAL.get(keyword, ()):
            raise GrammarError(f"The schema keyword {keyword} is not supported.")
    out = {key: value for key, value in schema.items() if key in _HANDLED}
    for keyword, kind in (
        ("properties", dict),
        ("required", list),
        ("enum", list),
        ("prefixItems", list),
    ):
        if keyword in out and not isinstance(out[keyword], kind):
            raise GrammarError(f"{keyword} of the schema has the wrong form.")
    if not all(isinstance(name, str) for name in out.get("required", ())):
        raise GrammarError("required of the schema is not a list of names.")
    if isinstance(out.get("items"), list):  # drafts 4 to 7: a tuple
        out["prefixItems"] = out.pop("items")
        if "additionalItems" in schema:
            out["items"] = schema["additionalItems"]
    if "const" in out:
        const = out.pop("const")
        out["enum"] = [const] if "enum" not in out or _contains(out["enum"], const) else []
    if "enum" in out and not out["enum"]:
        raise GrammarError("An enum of the schema has no value.")
    if "type" in out:
        kinds = out["type"] if isinstance(out["type"], list) else [out["type"]]
        unknown = [kind for kind in kinds if kind not in TYPES]
        if unknown or not kinds:
            raise GrammarError(
                f"The schema type {unknown[0] if unknown else kinds!r} is not supported."
            )
        out["type"] = (
            [*kinds, "null"]
            if out.pop("nullable", False) is True and "null" not in kinds
            else kinds
        )
    out.pop("nullable", None)
    return out


def _spread(schema: Schema) -> list[str]:
    kinds = types_of(schema)
    return list(TYPES) if kinds == ["any"] else kinds


def _meet(a: list[str], b: list[str]) -> list[str]:
    """The types in both lists; an integer is a number."""
    kinds = [kind for kind in a if kind in b or (kind == "integer" and "number" in b)]
    return kinds + [kind for kind in b if kind == "integer" and "number" in a and kind not in kinds]


def _is(value: Any, kind: str) -> bool:
    match value:
        case None:
            return kind == "null"
        case bool():
            return kind == "boolean"
        case int():
            return kind in ("integer", "number")
        case float():
            return kind == "number" or (kind == "integer" and value.is_integer())
        case str():
            return kind == "string"
        case list():
            return kind == "array"
        case dict():
            return kind == "object"
    raise GrammarError(f"A value of the schema is not JSON: {value!r}.")


def _contains(values: list[Any], value: Any) -> bool:
    """Equality as JSON has it: true is not 1, but 1.0 is 1."""

    def key(item: Any) -> str:
        if isinstance(item, float) and item.is_integer():
            item = int(item)
        return json.dumps(item, sort_keys=True)

    return any(key(other) == key(value) for other in values)
