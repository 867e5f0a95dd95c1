from __future__ import annotations

import asyncio
import re
import sys

import pytest

from llmos import limits
from llmos.errors import CallFailed
from llmos.sandbox.subset import Subset
from llmos.sdk import ToolError


@pytest.fixture
async def subset(monkeypatch):
    monkeypatch.setattr(limits, "SUBSET_SECONDS", 0.5)
    subset = Subset()
    yield subset
    await subset.close()


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("1 + 1", "2"),
        ("'ä€'", "'ä€'"),
        ("x = 'ä'; x  # what it is", "'ä'"),
        ("print('a')\n[n * n for n in range(4)]", "a\n[0, 1, 4, 9]"),
        ("def f(n):\n    return n * 2\nf(21)", "42"),
        ("(1,\n 2)", "(1, 2)"),
        ("None", ""),
        ("x = 1", ""),
        ("", ""),
        ("# nothing", ""),
        ("5;", "5"),
        ("import math\nmath.sqrt(16)", "4.0"),
    ],
)
async def test_it_shows_what_was_printed_and_the_last_value(subset, code, output):
    ran = await subset.evaluate(code)
    assert (ran.output, ran.error) == (output, "")


async def test_nothing_is_kept_from_one_call_to_the_next(subset):
    await subset.evaluate("x = 1")
    assert "NameError" in (await subset.evaluate("x")).error


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("1/0", "ZeroDivisionError"),
        ("(", "SyntaxError in line 1"),
        ("while True: pass", "TimeoutError"),
        ("'a' * 10 ** 10", "MemoryError"),
        ("10 ** 10 ** 8", "MemoryError"),
        ("a = [1]\nfor _ in range(60): a = [a, a]\na", "Error|was ended"),
        ("def f(n):\n    return f(n + 1)\nf(0)", "RecursionError"),
        ("while True: print('x' * 1000)", "Error"),
        ("open('/etc/passwd').read()", "PermissionError"),
        ("import os; os.environ", "Error"),
        ("import socket", "ModuleNotFoundError"),
        ("().__class__.__base__.__subclasses__()", "Error"),
        ("(" * 10000, "SyntaxError"),
        ("\udc80", "SyntaxError"),
        ("\0", "SyntaxError"),
    ],
)
async def test_what_fails_or_has_no_end_is_told_and_the_next_call_works(subset, code, error):
    ran = await subset.evaluate(code)
    assert re.search(error, ran.error)
    assert len(ran.output) < 2 * (limits.PYTHON_SHOWN_HEAD + limits.PYTHON_SHOWN_TAIL)
    assert (await subset.evaluate("1")).output == "1"


async def test_calls_that_come_together_wait_for_each_other(subset):
    ran = await asyncio.gather(*(subset.evaluate(f"{n} + 1") for n in range(20)))
    assert [each.output for each in ran] == [str(n + 1) for n in range(20)]


async def test_too_long_a_code_is_refused(subset):
    with pytest.raises(ToolError, match="too long"):
        await subset.evaluate("#" * (limits.SUBSET_CODE_CHARS + 1))


async def test_where_it_is_not_installed_that_is_said(subset, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(CallFailed, match="pip install pydantic-monty"):
        await subset.evaluate("1")
