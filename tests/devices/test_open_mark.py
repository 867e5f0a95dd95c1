from __future__ import annotations

import pytest

from llmos.devices.open_mark import ADDRESS, OPEN, OpenMark


def open_after(text: str) -> bool:
    mark, before = OpenMark(), " "
    for char in text:
        mark.settle(char)
        mark.read(char, before)
        before = char
    mark.settle(" ")
    return mark.open


@pytest.mark.parametrize("text", ["`a", "``a`", "[a", "[a](b", "[a][b", "<b", "</b", "$x", r"\(x"])
def test_it_is_open_until_it_is_closed(text):
    assert open_after(text)


@pytest.mark.parametrize(
    "text",
    ["`a`", "``a`b``", "[a]", "[a](b)", "[a][b]", "<b>", "$x$", r"\(x\)", "a < b", "$5", r"\[a"],
)
def test_it_is_closed_by_its_own_end(text):
    assert not open_after(text)


def test_what_is_never_closed_was_no_mark():
    assert open_after("[" + "a" * OPEN)
    assert not open_after("[" + "a" * (OPEN + 1))
    assert open_after("[a](" + "b" * (ADDRESS - 1))
    assert not open_after("[a](" + "b" * ADDRESS)
