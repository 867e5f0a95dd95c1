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
        "2024-06-03 00:00",
        "2024-06-03 23:59",
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


# --- the same, written otherwise --------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("Write to ａｎｎ＠ｘ．ｏｒｇ", "ann@x.org"),
        ("pay GB29 NWBK 6016 1331 9268 19", "GB29NWBK60161331926819"),
        ("pay GB29NWBK60161331926819", "gb29 nwbk 6016 1331 9268 19"),
        ("look at example.org", "https://example.org/"),
        ("look at https://Example.org/a", "https://example.org/a"),
        ("read https://x.org/a?b=1.", "https://x.org/a?b=1"),
        ("call it “Trip … home”", "Trip … home"),
        ("save it in Notes/May", "Notes/May"),
        ("send −5", -5),
        ("send 1'000'000.5", 1000000.5),
    ],
)
def test_how_the_person_writes_is_forgiven(said: str, value: Any) -> None:
    assert Words([said]).hold(value)


# --- what an attacker would try ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("mail ann@x.org", "аnn@x.org"),  # a Cyrillic a
        ("mail ann@x.org", "ann@х.org"),  # a Cyrillic x
        ("mail ann@x.org", "ａｎｎ@x.org"),
        ("mail ann@x.org", "ann@x.org\u200b"),
        ("mail ann@x.org", "ann\u00ad@x.org"),
        ("mail ann@x.org", "\u202eann@x.org"),
        ("mail ann@x.org", "ann@x.org.evil.com"),
        ("mail ann@x.org", "nn@x.org"),
        ("mail o'ann@x.org", "ann@x.org"),
        ("mail ann@x.org\u200b.evil.com", "ann@x.org"),
        ("mail +ann@x.org", "ann@x.org"),
        ("mail hans@straße.de", "hans@strasse.de"),
        ("see bank.com", "bank.com@evil.com"),
        ("see https://bank.com", "https://bank.com@evil.com"),
        ("see https://bank.com@evil.com", "https://bank.com"),
        ("see https://bank.com", "https://bank.com.evil.com"),
        ("see https://bank.com", "https://bank.com\\@evil.com"),
        ("see https://bank.com", "https://bank.com/other"),
        ("see https://bank.com/a", "https://bank.com/A"),
        ("see https://bank.com/a/b", "https://bank.com/a"),
        ("see https://bank.com/a", "https://bank.com/a/../b"),
        ("see https://bank.com/a", "https://bank.com/a?x=1"),
        ("see https://bank.com", "http://bank.com"),
        ("see https://bank.com", "https://bank.com:8443"),
        ("look into notes", "notes/../.ssh"),
        ("look into notes/../.ssh", "notes"),
        ("look into Notes/a", "notes/A"),
        ("keep ~/a and so on...", "."),
        ("this and/or that / those", "/"),
        ("* one\n* two", "*"),
        ("pay 100", 1000),
        ("pay 1000", 100),
        ("pay 100", "1 00"),
        ("pay 100", -100),
        ("pay 100", 100.00000000001),
        ("pay 10000000000000001", 10000000000000000),
        ("pay 100", float("nan")),
        ("pay 100", float("inf")),
        ("by 2024-05-20", 2024),
        ("by 2024-05-20", 20),
        ("at 10:30", 30),
        ("1. Show the files. 2. Delete one.", "2"),
        ("1. Show the files.\n2. Delete one.", 2),
        ("pay GB29 NWBK 6016 1331 9268 19", "GB29NWBK60161331926818"),
        ("on May 15th", "2024-05-15 10:00"),
        ("Ann", {"mallory@evil.com": "Ann"}),
        ("Ann", {"to": {"x y": "Ann"}}),
    ],
)
def test_what_only_looks_named_is_not(said: str, value: Any) -> None:
    assert not Words([said]).hold(value)


def test_a_number_of_more_digits_than_python_prints_is_not_named() -> None:
    assert not Words(["pay 100"]).hold(10**5000)


def test_what_is_nested_beyond_all_bounds_is_not_named() -> None:
    value: Any = "Ann"
    for _ in range(500):
        value = [value]
    assert not Words(["Ann"]).hold(value)


@pytest.mark.parametrize(
    "part", ["a", "a.", "a@", "1", "1,111", "\n", "1. ", "://", "ab12", "[", "may 1 "]
)
def test_a_long_text_of_any_kind_is_judged_in_linear_time(part: str) -> None:
    text = part * (200_000 // len(part))
    assert Words([text]).hold("evil@x.org") is False


# --- joining, echoes ------------------------------------------------------------------


def test_more_texts_join_those_that_were_read() -> None:
    first = Words(["pay Ann 50 by May 3rd"])
    both = first.and_also(["GB29 NWBK 6016 1331 9268 19"])
    for value in ("Ann", 50, "2024-05-03", "GB29NWBK60161331926819"):
        assert both.hold(value)
    assert not first.hold("GB29NWBK60161331926819")
    assert not both.hold("3rd GB29")


def test_a_few_words_in_a_row_are_an_echo_and_single_words_are_none() -> None:
    page = Words(["The quarterly figures are worse than last year. See evil.com"])
    assert page.echo("She wrote: the quarterly figures are worse, alas.")
    assert page.echo("more at https://evil.com")
    assert not page.echo("the figures are better")
    assert not page.echo(None)
