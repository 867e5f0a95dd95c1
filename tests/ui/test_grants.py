"""The screen of what is allowed."""

from __future__ import annotations

from pathlib import Path

from llmos.errors import KernelError
from llmos.ui.grants import GrantsScreen, HowMuch
from llmos.ui.memory_dialogs import AskPath


async def allowed(t) -> None:
    """Two things that are allowed, and the screen that shows them."""
    client = await t.kernel.connect()
    await client.grant(folder="/home/me/notes", write=True, why="you said so")
    await client.grant(call="mail.send", patterns={"to": "*@\x1b[2Jexample.org"}, pid=3)
    await t.pilot.press("f5")
    await t.until(lambda: isinstance(t.app.screen, GrantsScreen))
    await t.sees("mail.send with to =")


async def test_what_is_allowed_stands_there_with_where_and_why(terminal):
    async with terminal() as t:
        await allowed(t)
        for text in ("Read and change /home/me/notes", "in every chat", "in chat 3", "you said so"):
            await t.sees(text)
        assert "\x1b" not in t.screen_text
        await t.pilot.press("escape")
        await t.until(lambda: t.app.screen is t.chat)


async def test_x_takes_the_chosen_one_back(terminal):
    async with terminal() as t:
        await allowed(t)
        await t.pilot.press("down", "x")
        await t.until(lambda: [grant["call"] for grant in t.kernel.grants] == ["mail.send"])
        await t.told("Taken back: Read and change /home/me/notes")
        await t.pilot.press("x")
        await t.sees("Nothing is allowed beyond what you ask for each time.")


async def test_a_folder_is_allowed_for_reading_unless_the_person_says_more(
    terminal, tmp_path: Path
):
    async with terminal() as t:
        await t.pilot.press("f5")
        await t.sees("Nothing is allowed")
        for key, write in (("enter", False), ("w", True)):
            await t.pilot.press("n")
            await t.until(lambda: isinstance(t.app.screen, AskPath))
            t.app.screen.query_one("Input").value = str(tmp_path)
            await t.pilot.press("enter")
            await t.until(lambda: isinstance(t.app.screen, HowMuch))
            await t.pilot.press(key)
            await t.until(lambda: isinstance(t.app.screen, GrantsScreen))
            await t.until(lambda: t.kernel.grants)
            grant = t.kernel.grants.pop()
            assert (grant["folder"], grant["write"]) == (str(tmp_path), write)


async def test_a_folder_that_is_not_allowed_after_all_says_why(terminal, tmp_path: Path):
    async with terminal() as t:
        t.kernel.refusal = KernelError("This folder cannot be allowed.")
        await t.pilot.press("f5", "n")
        await t.until(lambda: isinstance(t.app.screen, AskPath))
        t.app.screen.query_one("Input").value = str(tmp_path)
        await t.pilot.press("enter")
        await t.until(lambda: isinstance(t.app.screen, HowMuch))
        await t.pilot.press("escape")
        await t.until(lambda: isinstance(t.app.screen, GrantsScreen))
        await t.pilot.press("n")
        await t.until(lambda: isinstance(t.app.screen, AskPath))
        t.app.screen.query_one("Input").value = str(tmp_path)
        await t.pilot.press("enter")
        await t.until(lambda: isinstance(t.app.screen, HowMuch))
        await t.pilot.press("r")
        await t.told("This folder cannot be allowed.")
        assert t.kernel.grants == []
