"""The memory screen, driven by keys, on a kernel in memory."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest
from fake_client import WINDOW, FakeKernel
from textual.widgets import Input, OptionList, RadioSet, TextArea

from llmos.errors import LlmosError
from llmos.events import CallFinished, Message, Recalled, ToolCall
from llmos.ui.blocks import RecallNotice, UserBlock
from llmos.ui.dialogs import Confirm
from llmos.ui.memory import MemoryScreen
from llmos.ui.memory_detail import Detail, Reader
from llmos.ui.memory_dialogs import AskPath, Writing
from llmos.ui.memory_list import MemoryList


@pytest.fixture
def memory(kernel: FakeKernel):
    return kernel.memory


def find(t) -> Input:
    return t.app.screen.query_one("#memory-find", Input)


async def opened(t) -> MemoryScreen:
    """The memory screen, with what is remembered."""
    await t.pilot.press("ctrl+r")
    await t.until(lambda: isinstance(t.app.screen, MemoryScreen) and t.app.screen._known)
    return t.app.screen


async def chosen(t, text: str) -> None:
    """Go down to the item that begins so."""
    await t.sees(text)
    t.app.screen.query_one(MemoryList).focus()
    for _ in range(30):
        item = t.app.screen.query_one(MemoryList).item
        if item is not None and item.text.startswith(text):
            return
        await t.pilot.press("down")
    raise AssertionError(f"{text!r} cannot be chosen")


async def over(t, kind: type) -> None:
    await t.until(lambda: isinstance(t.app.screen, kind))


async def test_what_is_remembered_is_listed_with_its_block_its_source_and_its_pin(
    kernel, memory, terminal
):
    kernel.add("Trip to Lisbon")
    memory.add("Sam is a nurse.", "user")
    memory.add("Answer in British English.", "assistant")
    memory.add("The dog is called Bruno.", pinned=True, said=[{"pid": 1, "turn": 2}])
    async with terminal() as t:
        await opened(t)
        for text in (
            "About you",
            "What the assistant is for",
            "Facts",
            "m3 · you · “Trip to Lisbon”",
            "◆ pinned",
        ):
            await t.sees(text)
        await t.pilot.press("escape")
        await t.until(lambda: t.app.screen is t.chat)
        assert t.chat.composer.has_focus


async def test_the_screen_says_what_to_do_while_nothing_is_remembered(memory, terminal):
    async with terminal() as t:
        await opened(t)
        await t.sees("Nothing is remembered yet.")
        await t.pilot.press("f3")
        await t.sees("begins with your first message")
        await t.pilot.press("f3")
        await t.sees("No folder is mounted.")


async def test_typing_finds_memories_at_once_and_chats_and_files_with_their_places(
    kernel, memory, terminal
):
    kernel.add("Trip to Lisbon")
    memory.add("The dog is called Bruno.")
    memory.add("The flight leaves at 09:40.")
    memory.said("Is there a flight on Sunday?", 1)
    memory.read("flight receipts", "papers/receipts.pdf, page 3")
    async with terminal() as t:
        await opened(t)
        memory.gate.clear()  # the kernel is slow
        await t.pilot.press(*"flight")
        await t.sees("searching…")
        assert "Bruno" not in t.screen_text
        assert "The flight leaves at 09:40." in t.screen_text
        memory.gate.set()
        await t.sees("Said in chats")
        await t.sees("“Trip to Lisbon”")
        await t.sees("papers/receipts.pdf, page 3")
        assert memory.searched[-1] == "flight"
        await t.pilot.press("escape")  # first the words go, then the screen
        await t.sees("Bruno")
        assert isinstance(t.app.screen, MemoryScreen)


async def test_what_has_nothing_to_do_with_the_words_is_not_shown(memory, terminal):
    memory.said("A boat.", 1, similarity=0.01, words=0.0)
    memory.said("A boat in the harbour.", 1, similarity=0.4, words=0.0)
    async with terminal() as t:
        await opened(t)
        await t.pilot.press(*"boat")
        await t.sees("Said in chats  1")
        await t.sees("A boat in the harbour.")


async def test_a_newer_search_ends_the_older_one(memory, terminal):
    memory.said("A boat.", 1)
    async with terminal() as t:
        await opened(t)
        memory.gate.clear()
        await t.pilot.press(*"boa")
        await t.until(lambda: memory.searched[-1:] == ["boa"])
        await t.pilot.press("t")
        await t.until(lambda: memory.searched[-1:] == ["boat"])
        memory.gate.set()
        await t.sees("A boat.")


async def test_nothing_found_is_said(memory, terminal):
    async with terminal() as t:
        await opened(t)
        await t.pilot.press(*"zebra")
        await t.sees("Nothing like that is stored.")


async def test_a_fact_opens_with_its_older_texts_and_the_chat_it_was_said_in(
    kernel, memory, terminal
):
    pid = kernel.add("Trip to Lisbon").pid
    for turn in range(1, 30):
        kernel.store(pid, Message("user", f"Question {turn}"), turn=turn)
        kernel.store(pid, Message("assistant", f"Answer {turn}"), turn=turn)
    memory.add(
        "The flight leaves at 09:40.",
        history=[{"time": 1.7e9, "text": "The flight leaves at 07:15."}],
        said=[{"pid": pid, "turn": 3}],
    )
    async with terminal() as t:
        await opened(t)
        await t.pilot.press("enter")
        await over(t, Reader)
        await t.sees("The flight leaves at 07:15.")
        await t.sees("said in “Trip to Lisbon”, turn 3")
        await t.pilot.press("o")
        await t.until(lambda: t.app.screen is t.chat and t.chat.pid == pid)
        await t.sees("Question 3")
        [block] = [b for b in t.chat.query(UserBlock) if b.text == "Question 3"]
        await t.until(lambda: block.has_class("-pointed-at"))
        await t.until(lambda: not t.chat.conversation.at_end)


async def test_a_long_memory_scrolls_and_leaves_its_keys_in_sight(memory, terminal):
    history = [{"time": 1.7e9 + n, "text": f"Text number {n}."} for n in range(20)]
    memory.add("The newest text.", history=history)
    async with terminal() as t:
        await opened(t)
        await t.pilot.press("enter")
        await over(t, Reader)
        await t.sees("Esc closes")
        await t.sees("Text number 19.")
        await t.pilot.press("end")
        await t.sees("Text number 0.")
        await t.sees("Esc closes")


async def test_something_new_is_written_down_as_what_it_is(memory, terminal):
    async with terminal() as t:
        await opened(t)
        await t.pilot.press("ctrl+n")
        await over(t, Writing)
        await t.pilot.press(*"I am deaf.", "tab")
        assert t.app.screen.query_one(RadioSet).has_focus
        await t.pilot.press("down", "enter", "tab", "enter")
        await t.until(lambda: memory.known)
        [fact] = memory.known.values()
        assert (fact["text"], fact["block"]) == ("I am deaf.", "user")
        await t.sees("About you")


async def test_what_the_kernel_refuses_stays_in_the_window_with_the_reason(memory, terminal):
    memory.refusal = LlmosError("A memory has at most 2000 characters.")
    async with terminal() as t:
        await opened(t)
        await t.pilot.press("ctrl+n")
        await over(t, Writing)
        await t.pilot.press(*"long", "enter")
        await t.sees("A memory has at most 2000 characters.")
        assert t.app.screen.query_one(TextArea).text == "long"
        await t.pilot.press("enter")  # and again, now that it is taken
        await t.sees("long")
        await t.until(lambda: len(memory.known) == 1)


async def test_an_edit_keeps_the_old_text_and_is_not_dropped_unasked(memory, terminal):
    memory.add("I live in Lisbon.")
    async with terminal() as t:
        await opened(t)
        await chosen(t, "I live in Lisbon.")
        await t.pilot.press("e")
        await over(t, Writing)
        await t.pilot.press(*" Now.")
        for leaving in ("escape", "ctrl+q"):
            await t.pilot.press(leaving)
            await over(t, Confirm)
            await t.sees("Drop what you typed?")
            await t.pilot.press("n")
            await over(t, Writing)
        await t.pilot.press("enter")
        await t.sees("I live in Lisbon. Now.")
        [fact] = memory.known.values()
        assert [old["text"] for old in fact["history"]] == ["I live in Lisbon."]


async def test_an_unchanged_text_closes_without_a_question(memory, terminal):
    memory.add("I live in Lisbon.")
    async with terminal() as t:
        await opened(t)
        await chosen(t, "I live in Lisbon.")
        await t.pilot.press("e")
        await over(t, Writing)
        await t.pilot.press("escape")
        await over(t, MemoryScreen)


async def test_a_fact_is_pinned_and_unpinned(memory, terminal):
    memory.add("Bruno is allergic to chicken.")
    async with terminal() as t:
        await opened(t)
        await chosen(t, "Bruno")
        await t.pilot.press("p")
        await t.sees("◆ pinned")
        await t.pilot.press("p")
        await t.until(lambda: "◆ pinned" not in t.screen_text)


async def test_what_was_found_elsewhere_is_not_edited(kernel, memory, terminal):
    kernel.add("Boats")
    memory.said("A boat.", 1)
    async with terminal() as t:
        await opened(t)
        await t.pilot.press(*"boat")
        await chosen(t, "A boat.")
        await t.pilot.press("e")
        await t.told("Only what is remembered can be edited")


async def test_forgetting_says_first_exactly_what_goes(kernel, memory, terminal):
    kernel.add("Trip to Lisbon")
    memory.add("The code is 4471.")
    memory.said("The code is 4471. Keep it.", 1)
    async with terminal() as t:
        await opened(t)
        await chosen(t, "The code is 4471.")
        await t.pilot.press("f")
        await over(t, Confirm)
        await t.sees("Forget m1 for good?")
        await t.sees("what is remembered: “The code is 4471.”")
        await t.sees("the whole message “The code is 4471. Keep it.”")
        await t.pilot.press("enter")  # the careful answer is preset
        await over(t, MemoryScreen)
        assert memory.forgotten == []
        await t.pilot.press("f")
        await over(t, Confirm)
        await t.pilot.press("y")
        await t.told("Forgotten: 2 texts gone from the disk.")
        await t.sees("Nothing is remembered yet.")


async def test_why_nothing_can_be_forgotten_now_is_one_sentence(memory, terminal):
    memory.add("One.")
    memory.refusal = LlmosError("Something is being answered.", remedy="Forget it when it is done.")
    async with terminal() as t:
        await opened(t)
        await chosen(t, "One.")
        await t.pilot.press("f")
        await over(t, Confirm)
        await t.pilot.press("y")
        await t.told("Something is being answered. Forget it when it is done.")
        assert memory.known


async def test_everything_is_exported_to_a_private_file(memory, terminal, tmp_path: Path):
    memory.add("The dog is called Bruno.")
    path = tmp_path / "memory.json"
    async with terminal() as t:
        await opened(t)
        await chosen(t, "The dog")
        for again in (False, True):
            await t.pilot.press("x")
            await over(t, AskPath)
            t.app.screen.query_one(Input).value = str(tmp_path / "gone" / "x.json")
            await t.pilot.press("enter")
            await t.sees("There is no folder")
            t.app.screen.query_one(Input).value = str(path)
            await t.pilot.press("enter")
            if again:
                await over(t, Confirm)
                await t.sees("Replace this file?")
                await t.pilot.press("y")
            await t.until(path.exists)
            await over(t, MemoryScreen)
        await t.told("1 memory written to")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["facts"][0]["text"] == "The dog is called Bruno."
    assert [file.name for file in tmp_path.glob("*memory*")] == ["memory.json"]


async def test_a_disk_is_asked_about_a_path_beside_the_screen_s_loop(
    memory, terminal, tmp_path: Path, monkeypatch
):
    asked: dict[Path, int] = {}
    is_dir = Path.is_dir

    def slow(path: Path) -> bool:
        asked[path] = threading.get_ident()
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", slow)
    async with terminal() as t:
        await opened(t)
        await t.pilot.press("f3", "f3", "a")
        await over(t, AskPath)
        assert t.app.screen.query_one(Input).value == ""  # a whole path can be typed or pasted
        t.app.screen.query_one(Input).value = "~nobody-of-that-name/notes"
        await t.pilot.press("enter")
        await t.sees("There is no home folder for ~nobody-of-that-name.")
        t.app.screen.query_one(Input).value = str(tmp_path / "gone")
        await t.pilot.press("enter")
        await t.sees("There is no folder")
        assert asked[tmp_path / "gone"] != threading.get_ident()


async def test_what_is_remembered_in_the_chat_below_appears(kernel, memory, terminal):
    async with terminal() as t:
        pid = await t.say("Remember that I live in Porto.")
        await opened(t)
        memory.add("I live in Porto.")
        call = ToolCall("c1", "memory.remember", {"text": "I live in Porto."})
        kernel.emit(CallFinished(pid=pid, turn=1, call=call, result="m1", seconds=0.1))
        await t.sees("I live in Porto.")


async def test_the_page_table_shows_what_is_in_view_stored_and_brought_back(
    kernel, memory, terminal
):
    pid = kernel.add("Long", context_tokens=1265).pid
    memory.page("p1", "Where is the boat?", resident=False, tokens=0)
    memory.page("p4", 'Context (p1, the person): "Where is the boat?"', kind="recalled", tokens=12)
    memory.page("p5", "It is in Setúbal.", kind="assistant", tokens=6)
    memory.said("It is in Setúbal, and has been there for years.", pid, id="p5")
    async with terminal(pid=pid) as t:
        await t.until(lambda: t.chat.pid == pid and t.chat.link.state == "ready")
        await opened(t)
        await t.pilot.press("f3")
        for text in (
            f"1,265 of {WINDOW:,} tokens in the model's window, {WINDOW - 1265:,} free",
            "system prompt 120",
            "framing 1,127",
            "brought back 12",
            "1 page fault · 5 pages brought back ahead, in 4",
            "2 pages in view, 1 only stored (18 characters)",
            "○ stored",
            "↩ brought back",
            "● in view",
        ):
            await t.sees(text)
        await t.pilot.press("v")
        await t.until(lambda: "○ stored" not in t.screen_text)
        await t.pilot.press("enter")
        await over(t, Reader)
        await t.sees("and has been there for years.")
        await t.pilot.press("escape")
        await over(t, MemoryScreen)
        await t.pilot.press("home", "enter")
        await over(t, Reader)
        await t.sees("What the model is told first")
        await t.sees("Be kind.")


async def test_of_a_long_chat_the_newest_pages_are_asked_for_and_the_others_counted(
    kernel, memory, terminal, monkeypatch
):
    monkeypatch.setattr("llmos.ui.memory.ROWS", 2)
    pid = kernel.add("Long").pid
    memory.page("p1", "In view.")
    for number in range(2, 7):
        memory.page(f"p{number}", "Stored.", resident=False, tokens=0)
    async with terminal(pid=pid) as t:
        await t.until(lambda: t.chat.pid == pid and t.chat.link.state == "ready")
        await opened(t)
        await t.pilot.press("f3")
        await t.sees("1 page in view, 5 only stored (35 characters); 3 older ones are found")
        await t.sees("This chat's window 6")
        assert t.screen_text.count("○ stored") == 2
        await t.pilot.press("v")
        await t.until(lambda: "older ones" not in t.screen_text)
        await t.sees("● in view")


async def test_a_page_table_of_which_only_a_part_is_listed_says_so(kernel, memory, terminal):
    pid = kernel.add("Long").pid
    memory.page("p1", "Gone.", resident=False)
    memory.page("p2", "Here.")
    async with terminal(pid=pid) as t:
        await t.until(lambda: t.chat.pid == pid and t.chat.link.state == "ready")
        await opened(t)
        await t.pilot.press("f3")
        await t.sees("This chat's window 2 ")
        await t.pilot.press("v")
        await t.sees("This chat's window 1 of 2, in view only")
        await t.sees("1 only stored (5 characters); v lists these, too")
        await t.pilot.press("v")
        await t.sees("This chat's window 2 ")


async def test_a_query_without_a_word_finds_no_memory(memory, terminal):
    memory.add("The dog is called Bruno.")
    async with terminal() as t:
        await opened(t)
        await t.sees("Bruno")
        await t.pilot.press("?", "!")
        await t.sees("Nothing like that is stored.")


async def test_a_page_is_pinned_into_the_window_and_forgotten(kernel, memory, terminal):
    pid = kernel.add("Long").pid
    memory.page("p1", "Where is the boat?")
    memory.said("Where is the boat?", pid, id="p1", related=["p7"])
    async with terminal(pid=pid) as t:
        await t.until(lambda: t.chat.pid == pid and t.chat.link.state == "ready")
        await opened(t)
        await t.pilot.press("f3")
        await t.sees("● in view")
        await t.pilot.press("enter")
        await t.sees("about the same, in other chats: p7")
        await t.sees("p pin")
        await t.pilot.press("p")
        await t.sees("◆ pinned")
        await t.pilot.press("enter")
        await t.sees("p unpin")
        await t.pilot.press("p")
        await t.sees("● in view")
        await t.pilot.press("p")
        await t.sees("◆ pinned")
        memory.refusal = LlmosError("Process 1 is answering.", remedy="Pin it when that is done.")
        await t.pilot.press("p")
        await t.told("Process 1 is answering. Pin it when that is done.")
        await t.pilot.press("f")
        await over(t, Confirm)
        await t.sees("the whole message “Where is the boat?”")
        await t.pilot.press("y")
        await t.until(lambda: memory.forgotten == ["p1"])


async def test_folders_are_mounted_shown_while_they_are_read_and_umounted(
    memory, terminal, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("llmos.ui.memory.RESTING_S", 0.5)  # between two looks at them
    (tmp_path / "notes").mkdir()
    async with terminal() as t:
        await opened(t)
        await t.pilot.press("f3", "f3")
        await t.sees("No folder is mounted.")
        await t.pilot.press("a")
        await over(t, AskPath)
        field = t.app.screen.query_one(Input)
        field.value = str(tmp_path / "no")
        field.cursor_position = len(field.value)
        await t.sees("notes")  # completed
        await t.pilot.press("enter")
        await t.sees("There is no folder")
        field.value = str(tmp_path / "notes")
        await t.pilot.press("enter")
        await t.until(lambda: memory.mounted)
        await t.sees("2 files · 5 passages · followed: watched")
        memory.mounted[0] |= {"state": "reading", "done": 1, "of": 4, "reading": "notes/a.md"}
        await t.sees("1 of 4 · notes/a.md")
        await t.pilot.press("u")
        await over(t, Confirm)
        await t.sees("Its reading is stopped. 5 passages of 2 files are")
        await t.pilot.press("y")
        await t.sees("No folder is mounted.")
        assert memory.mounted == []


async def test_which_files_were_not_read_is_told_with_the_reason(memory, terminal, tmp_path: Path):
    row = await memory.mount(tmp_path)
    skipped = [{"place": "notes/scan.pdf", "reason": "It is encrypted."}]
    row |= {"skips": 3, "skipped": skipped}
    async with terminal() as t:
        await opened(t)
        await t.pilot.press("f3", "f3")
        await t.sees("3 not read")
        await t.pilot.press("enter")
        await t.sees("notes/scan.pdf")
        await t.sees("It is encrypted.")
        await t.sees("and 2 more")


async def test_what_was_brought_back_is_one_line_that_opens(kernel, memory, terminal):
    async with terminal() as t:
        pid = await t.say("Where is the boat?")
        page = memory.said("The boat is in Setúbal.", pid, id="p12")
        kernel.emit(Recalled(pid=pid, turn=1, pages=(page,), places=(page,)))
        await t.sees("↩ Brought back from memory: p12")
        t.chat.query_one(RecallNotice).focus()
        await t.pilot.press("enter")
        await over(t, Reader)
        await t.sees("The boat is in Setúbal.")
        await t.pilot.press("escape")
        await over(t, MemoryScreen)


async def test_what_was_brought_back_from_several_places_opens_as_the_model_was_shown_it(
    kernel, memory, terminal
):
    shown = 'Context (notes/boat.md, lines 1-3): "The boat is in Setúbal."'
    async with terminal() as t:
        pid = await t.say("Where is the boat?")
        memory.page("p9", shown, kind="recalled", turn=1)
        memory.said(shown, pid, id="p9", speaker="recalled")
        places = ("notes/boat.md, lines 1-3", "p3")
        kernel.emit(Recalled(pid=pid, turn=1, pages=("f1-1.1", "p3"), places=places))
        await t.sees("notes/boat.md, lines 1-3, p3")
        await t.pilot.click(RecallNotice)
        await t.sees("Context (notes/boat.md, lines 1-3)")


async def test_a_kernel_that_goes_away_leaves_what_was_seen_and_says_so(kernel, memory, terminal):
    memory.add("The dog is called Bruno.")
    async with terminal() as t:
        await opened(t)
        await t.sees("Bruno")
        kernel.die()
        await t.until(lambda: t.chat.link.state == "lost")
        await t.pilot.press(*"bru")
        await t.sees("The kernel is not there yet.")
        await t.sees("Bruno")
        memory.add("Bruno is a terrier.")
        kernel.up = True
        t.chat.link.retry_now()
        await t.sees("Bruno is a terrier.")


async def test_a_broad_terminal_shows_the_chosen_memory_beside_the_list(memory, terminal):
    memory.add("The dog is called Bruno.", history=[{"time": 1.7e9, "text": "He has no name."}])
    async with terminal((120, 40)) as t:
        await opened(t)
        await t.sees("He has no name.")
        assert t.app.screen.query_one(Detail).display


async def test_many_memories_are_bounded_on_the_screen_and_all_are_found(memory, terminal):
    for number in range(1000):
        memory.add(f"Number {number} is remembered.")
    async with terminal() as t:
        screen = await opened(t)
        await t.sees("1,000, the first 200 are listed; type to find others")
        assert screen.query_one(MemoryList).option_count == 201
        await t.pilot.press(*"number 7 ")
        find(t).value = "Number 7 is"
        await t.sees("Number 7 is remembered.")


async def test_control_characters_in_a_memory_are_harmless(memory, terminal):
    memory.add("\x1b[31mred[/] [bold]x")
    async with terminal() as t:
        await opened(t)
        await t.sees("[31mred[/] [bold]x")
        assert "\x1b" not in t.screen_text


async def test_the_palette_offers_the_screen_and_on_it_what_can_be_done(kernel, terminal):
    async with terminal() as t:
        titles = [command.title for command in t.app.get_system_commands(t.app.screen)]
        assert "Memory" in titles
        await opened(t)
        titles = [command.title for command in t.app.get_system_commands(t.app.screen)]
        assert {"Remember something", "Export", "Mount a folder"} <= set(titles)
        assert "New chat" not in titles


async def test_the_mouse_and_the_keys_change_tabs_and_the_list_keeps_its_place(memory, terminal):
    memory.add("One.")
    memory.add("Two.")
    async with terminal() as t:
        screen = await opened(t)
        await t.pilot.press("down", "down")
        assert screen.query_one(MemoryList).item.text == "One."
        await t.pilot.press("f3", "f3", "f3")
        await t.until(lambda: find(t).has_focus)
        assert screen.query_one(MemoryList).item.text == "One."
        await t.pilot.press("down", "up", "up")  # beyond the first item
        await t.until(lambda: find(t).has_focus)
        assert screen.query_one("#memory-list", OptionList).highlighted == 1
