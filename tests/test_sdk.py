from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmos import sdk
from llmos.sdk import Context, Result, ToolError

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def test_the_sdk_stands_alone_but_for_the_contracts_of_what_tools_are_lent():
    tree = ast.parse(Path(sdk.__file__).read_text("utf-8"))
    names = [
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    assert {name for name in names if name.startswith("llmos")} == {"llmos", "llmos.services"}


def test_the_exported_names_exist():
    assert sorted(sdk.__all__) == sdk.__all__
    assert all(hasattr(sdk, name) for name in sdk.__all__)


def test_now_is_aware_and_in_the_persons_zone():
    context = Context(zone="Asia/Tokyo", clock=lambda: NOON)
    assert context.now().isoformat() == "2026-07-01T21:00:00+09:00"
    assert context.zone == "Asia/Tokyo"


def test_the_system_clock_is_the_default():
    moment = Context(zone="Europe/Berlin").now()
    assert moment.utcoffset() is not None
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 3600


@pytest.mark.parametrize("name", ["Nowhere/Atlantis", "../../etc/passwd", "/etc/passwd", "\0"])
def test_an_unknown_zone_falls_back_and_never_fails(name):
    assert Context(zone=name, clock=lambda: NOON).now() == NOON


def test_the_zone_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    assert Context().zone == "America/New_York"


@pytest.mark.parametrize(
    ("said", "expected"), [("de_DE.UTF-8", "de_DE"), ("en-GB", "en_GB"), ("sr_RS@latin", "sr_RS")]
)
def test_a_locale_is_language_and_region(said, expected):
    assert Context(locale=said).locale == expected


def test_the_locale_comes_from_the_environment(monkeypatch):
    for key in ("LC_ALL", "LC_TIME", "LANG"):
        monkeypatch.delenv(key, raising=False)
    assert Context().locale == "C"
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    assert Context().locale == "en_GB"
    monkeypatch.setenv("LC_TIME", "en_US.UTF-8")
    assert Context().locale == "en_US"


def test_cancelling_one_call_leaves_the_others_alone():
    person = Context(zone="Asia/Tokyo", clock=lambda: NOON)
    one, other = person.child(), person.child()
    one.cancel()
    assert one.cancelled()
    assert not other.cancelled()
    assert not person.cancelled()
    assert other.now() == NOON


def test_an_error_reads_as_its_sentence_and_remedy():
    assert str(ToolError("It is closed.", "Come back tomorrow.")) == (
        "It is closed. Come back tomorrow."
    )
    assert str(ToolError("It is closed.")) == "It is closed."


def test_a_result_may_be_text_alone():
    assert Result("42").data is None
