"""The same line is written once a minute; defects of our own are always told."""

from __future__ import annotations

import logging
from typing import Any

from llmos import limits
from llmos.seldom import Seldom


def record(line: str, created: float, **more: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"msg": "it failed: %s", "args": (line,), "created": created} | more
    )


def test_the_same_is_said_again_only_after_a_minute() -> None:
    seldom = Seldom()
    said = [seldom.filter(record("down", at)) for at in (0.0, 1.0, 59.9, 60.0, 61.0)]
    assert said == [True, False, False, True, False]
    assert seldom.filter(record("another", 61.0))


def test_a_clock_that_was_set_back_silences_nothing() -> None:
    seldom = Seldom()
    assert seldom.filter(record("down", 1000.0))
    assert seldom.filter(record("down", 10.0))


def test_tracebacks_always_pass() -> None:
    seldom = Seldom()
    error = ValueError("a defect")
    info = {"exc_info": (ValueError, error, None)}
    assert all(seldom.filter(record("down", 0.0, **info)) for _ in range(3))


def test_it_remembers_no_more_lines_than_it_may() -> None:
    seldom = Seldom()
    for number in range(3 * limits.LOG_LINES):
        assert seldom.filter(record(str(number), 0.0))
    assert len(seldom._said) == limits.LOG_LINES
