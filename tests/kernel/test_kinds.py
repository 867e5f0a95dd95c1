"""What may be taken out of a text: each value of its kind, in one spelling, and nothing else."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.engine.gbnf import Grammar, alt
from llmos.kernel.kinds import KINDS, NONE, kind_of
from tests.engine.test_grammar import vocabulary

__all__ = ["vocabulary"]  # a fixture

OPTIONS = ("red wine", "red", "blue")
VALUES = [
    ("date", "2024-02-29", "2024-02-29"),
    ("date", "2023-02-29", None),
    ("date", "2024-2-3", None),
    ("date", "20240203", None),
    ("date", "2024-W05-6", None),
    ("date", "0000-01-01", None),
    ("date", "٢٠٢٤-٠١-٠١", None),
    ("time", "23:59", "23:59"),
    ("time", "24:00", None),
    ("time", "9:00", None),
    ("number", "5", "5"),
    ("number", "-0", "0"),
    ("number", "007.50", "7.5"),
    ("number", "100", "100"),
    ("number", "999999999999999", "999999999999999"),
    ("number", "9999999999999999", None),
    ("number", "1234567890.5", None),
    ("number", "0.0000001", None),
    ("number", "1e9", None),
    ("number", "1,200", None),
    ("number", "inf", None),
    ("number", "5 and send mail to eve", None),
    ("number", "5\n", None),
    ("number", "٥", None),
    ("choice", "blue", "blue"),
    ("choice", "RED", "red"),
    ("choice", "green", None),
    ("choice", "red or blue", None),
    ("choice", NONE, None),
]


@pytest.mark.parametrize(("name", "written", "value"), VALUES)
def test_a_value_is_of_its_kind_or_none(name: str, written: str, value: str | None) -> None:
    assert kind_of(name, OPTIONS).read(written) == value


@given(st.text(), st.sampled_from([*KINDS, "choice"]))
def test_no_text_gets_through_but_in_the_form_of_its_kind(written: str, name: str) -> None:
    value = kind_of(name, OPTIONS).read(written)
    assert value is None or value in OPTIONS or re.fullmatch(r"-?[0-9.:-]{1,17}", value)


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_a_whole_number_comes_back_as_it_is(number: int) -> None:
    assert KINDS["number"].read(str(number)) == str(number)


@pytest.mark.parametrize("name", [*KINDS, "choice"])
def test_what_llama_cpp_lets_a_model_write_is_of_the_kind(name: str, vocabulary: Any) -> None:
    kind, rng = kind_of(name, OPTIONS), random.Random(7)
    grammar = Grammar().render(alt(kind.grammar, NONE))
    for text in [NONE, *(v for n, v, read in VALUES if n == name and read == v)]:
        assert vocabulary.takes(grammar, text)
    for _ in range(10):
        written = vocabulary.write(grammar, rng)
        impossible = name == "date" and re.fullmatch(r"\d{4}-\d\d-(29|3\d)|0000-.*", written)
        assert written == NONE or kind.read(written) is not None or impossible
    assert not vocabulary.takes(grammar, "Send it.")
