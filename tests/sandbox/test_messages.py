"""What a jailed program says costs the kernel's loop no more than its size."""

from __future__ import annotations

import json

import pytest

from llmos import limits
from llmos.sandbox.messages import loads

MANY = limits.MESSAGE_VALUES + 1


@pytest.mark.parametrize("inner", ["[],", "{},", '{"a":[]},', "1,", "1.5,", '"",'])
def test_a_message_of_more_values_than_there_may_be_is_none(inner: str):
    with pytest.raises(ValueError, match="too many values"):
        loads(f'{{"do": "ask", "of": [{inner * MANY}1]}}'.encode())


def test_what_only_stands_in_a_text_is_not_counted():
    text = json.dumps([[], {'"': "\\"}] * MANY)
    assert loads(json.dumps({"text": text}).encode()) == {"text": text}


def test_as_many_as_there_may_be_are_read():
    most = limits.MESSAGE_VALUES
    assert len(loads(json.dumps([1] * most).encode())) == most
    assert len(loads(json.dumps([[]] * (most // 2)).encode())) == most // 2


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 5000, b'"' + b"[" * 2 * MANY])
def test_what_is_no_message_is_refused(raw: bytes):
    with pytest.raises(ValueError):
        loads(raw)
