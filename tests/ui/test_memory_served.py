"""The memory screen on a real kernel in a process of its own, with the scripted double as model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.client import Client
from llmos.ui.app import LlmosApp
from llmos.ui.dialogs import Confirm
from llmos.ui.memory import MemoryScreen
from llmos.ui.memory_detail import Reader
from llmos.ui.memory_dialogs import AskPath, Writing
from tests.served import prepare, stopped_afterwards
from tests.ui.conftest import Terminal


@pytest.fixture
def served(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    prepare(home, monkeypatch)
    with stopped_afterwards():
        yield home


async def test_a_person_writes_finds_reads_mounts_and_forgets(served: Path, kernel, tmp_path: Path):
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "boat.md").write_text("# Boat\n\nThe boat is moored in Setubal.\n")
    app = LlmosApp(Client.connect)
    async with app.run_test(size=(100, 30)) as pilot:
        t = Terminal(app, pilot, kernel)
        await t.settled()
        await t.write("My boat is called Aurora.")
        await t.sees("Yes.")
        await t.until(lambda: not t.chat.status.running)
        pid = t.chat.pid
        await t.pilot.press("f3")
        await t.until(lambda: isinstance(app.screen, MemoryScreen) and app.screen._known)

        await t.pilot.press("ctrl+n")
        await t.until(lambda: isinstance(app.screen, Writing))
        await t.pilot.press(*"Aurora needs paint.", "enter")
        await t.sees("Aurora needs paint.")

        await t.pilot.press("f3")  # what the model sees
        await t.sees("● in view")
        await t.sees("My boat is called Aurora.")
        await t.sees("2 pages in view")

        await t.pilot.press("f3", "a")
        await t.until(lambda: isinstance(app.screen, AskPath))
        app.screen.query_one("Input").value = str(notes)
        await t.pilot.press("enter")
        await t.sees("1 file · 1 passage")

        await t.pilot.press("f3", *"boat")
        await t.sees("Said in chats")
        await t.sees("notes/boat.md, heading Boat, lines 1-3")

        find = app.screen.query_one("#memory-find")
        find.value = "Aurora"
        await t.sees("Remembered")
        await t.sees("My boat is called Aurora.")
        # What was found for "boat" stands there until the answer for "Aurora" does.
        await t.until(lambda: app.screen._hits_of == "Aurora" == app.screen.query_text)
        await t.pilot.press("down", "down", "enter")
        await t.until(lambda: isinstance(app.screen, Reader))
        assert app.screen.item.text == "My boat is called Aurora."
        await t.pilot.press("f")
        await t.until(lambda: isinstance(app.screen, Confirm))
        await t.sees("the whole message “My boat is called Aurora.”")
        await t.pilot.press("y")
        await t.told("Forgotten: ")
        await t.until(lambda: "My boat is called Aurora." not in t.screen_text)

        await t.pilot.press("escape", "escape")
        await t.until(lambda: app.screen is t.chat)
        await t.sees("What you said here was forgotten.")
        assert "Aurora" not in t.screen_text
        stored = await t.chat.link.client.messages(pid)
        assert "Aurora" not in "".join(record.message.content for record in stored)
        assert [f["text"] for f in (await t.chat.link.client.facts())["facts"]] == [
            "Aurora needs paint."
        ]
