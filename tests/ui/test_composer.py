"""The input."""

from __future__ import annotations

import pytest
from textual._xterm_parser import XTermParser
from textual.app import App, ComposeResult

from llmos.ui.composer import Composer


class Host(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def compose(self) -> ComposeResult:
        yield Composer(id="composer")

    def on_mount(self) -> None:
        self.query_one(Composer).focus()

    def on_composer_submitted(self, event: Composer.Submitted) -> None:
        self.sent.append(event.composer.take())


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter", "alt+enter"])
async def test_there_are_three_ways_to_a_new_line(key: str):
    app = Host()
    async with app.run_test() as pilot:
        await pilot.press("a", key, "b")
        assert app.query_one(Composer).text == "a\nb"
        await pilot.press("enter")
        assert app.sent == ["a\nb"]


def test_alt_enter_of_a_plain_terminal_is_a_new_line_too():
    assert [event.key for event in XTermParser(False).feed("\x1b\r")] == ["ctrl+j"]


async def test_a_blank_text_is_not_sent():
    app = Host()
    async with app.run_test() as pilot:
        await pilot.press("space", "enter")
        assert app.sent == []


async def test_up_brings_back_what_was_sent_and_down_the_draft():
    app = Host()
    async with app.run_test() as pilot:
        composer = app.query_one(Composer)
        await pilot.press("1", "enter", "2", "enter", "3")
        await pilot.press("up")
        assert composer.text == "2"
        await pilot.press("up", "up")
        assert composer.text == "1"
        await pilot.press("down", "down")
        assert composer.text == "3"


async def test_up_inside_a_longer_text_moves_the_cursor():
    app = Host()
    async with app.run_test() as pilot:
        composer = app.query_one(Composer)
        await pilot.press("1", "enter", "a", "ctrl+j", "b", "up")
        assert composer.text == "a\nb"
        assert composer.cursor_location[0] == 0


async def test_a_text_that_comes_back_stands_before_what_was_written_since():
    app = Host()
    async with app.run_test() as pilot:
        composer = app.query_one(Composer)
        await pilot.press("n", "e", "w")
        composer.give_back("old")
        assert composer.text == "old\nnew"
