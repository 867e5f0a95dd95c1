"""What stands in a person's words, and what only looks so."""

from __future__ import annotations

from typing import Any

import pytest

from llmos.kernel.provenance import Words

SAID = (
    "Send $1,200.50 to Ann (ann.lee@example.org) for the rent, on May 15th at 2pm.\n"
    "Then move report.pdf to /home/ann/Done, and book room 12 from 3 June 2024, 09:30.",
)


@pytest.mark.parametrize(
    "value",
    [
        "Ann",
        "ANN",
        "ann.lee@example.org",
        1200.5,
        "1200.50",
        "1,200.5",
        12,
        "12",
        "report.pdf",
        "/home/ann/Done",
        "the   rent",
        "2024-05-15",
        "2025-05-15",
        "2024-05-15 14:00",
        "2024-06-03",
        "2024-06-03T09:30",
        ["Ann", "report.pdf"],
        {"to": "Ann", "amount": 1200.5},
        None,
        [],
        "ａｎｎ",
    ],
)
def test_what_was_said_is_named(value: Any) -> None:
    assert Words(SAID).hold(value)


@pytest.mark.parametrize(
    "value",
    [
        "lee@example.org",
        "ann.lee@example.or",
        "ann.lee@example.org.evil.com",
        "lee",
        "port.pdf",
        "report",
        "/home/ann",
        "home",
        200.5,
        1200,
        "1",
        50,
        2,
        "2023-06-03",
        "2024-06-04",
        "2024-05-15 15:00",
        "2024-02-30",
        "",
        "  ",
        True,
        False,
        ["Ann", "Bob"],
        {"to": "Ann", "amount": 9999},
        "Ann for the rent",
        object(),
    ],
)
def test_what_was_not_said_is_not_named(value: Any) -> None:
    assert not Words(SAID).hold(value)


@pytest.mark.parametrize(
    "said", ["Mail it to bob@x.org.", "bob@x.org?", "<bob@x.org>", "(bob@x.org)"]
)
def test_marks_around_an_address_are_no_part_of_it(said: str) -> None:
    assert Words([said]).hold("bob@x.org")


def test_nothing_stands_across_two_texts() -> None:
    assert not Words(["Call Ann", "Lee was here"]).hold("Ann Lee")


def test_nobody_said_anything() -> None:
    assert not Words([]).hold("Ann")
