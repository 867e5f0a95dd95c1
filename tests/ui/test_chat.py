"""The chat screen, driven by keys, on a kernel in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import pytest
from fake_client import WINDOW, FakeKernel
from textual import events as ui_events

from llmos.errors import BudgetExceeded, KernelStopped
from llmos.events import Message, Recalled, ReplyHeard, ToolCall, TurnState, WindowChanged
from llmos.ui.blocks import (
    Notice,
    PipedBlock,
    RecallNotice,
    ReminderBlock,
    ReplyBlock,
    Thinking,
    UserBlock,
)
from llmos.ui.call_card import CallCard
from llmos.ui.dialogs import Confirm, Help
from llmos.ui.markdown import Fence

#: What is said of a kernel that died: at once, and when an attempt to start another has failed.
GONE = ("The kernel went away; reconnecting…", "No kernel could be started.")


async def test_a_person_can_write_before_the_kernel_is_there(kernel: FakeKernel, terminal):
    gate = asyncio.Event()
    connect = kernel.connect

    async def slow():
        await gate.wait()
        return await connect()

    kernel.connect = slow
    async with terminal(wait=False) as t:
        await t.sees("Starting the kernel…")
        await t.write("hello")
        assert [block.pending for block in t.chat.query(UserBlock)] == [True]
        gate.set()
        assert (await kernel.sent()).message.content == "hello"


async def test_no_process_is_created_before_the_first_message(kernel: FakeKernel, terminal):
    async with terminal() as t:
        assert kernel.infos == {}
        await t.say("What is the tallest mountain on this planet, and who measured it?")
    assert [info.title for info in kernel.infos.values()] == [
        "What is the tallest mountain on this…"
    ]


async def test_a_reply_streams_and_ends_with_exact_counts(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("hi")
        assert t.chat.status.running
        for word in ("Hello", " **there**", "."):
            kernel.delta(pid, word)
        await t.sees("Hello there.")
        kernel.reply(pid, "Hello **there**.")
        kernel.finish(pid)
        await t.sees("85 tokens · 42 tokens/s · first after 0.3 s · 1,020 of 1,180 cached")
        assert not t.chat.status.running
        await t.sees(f"1,265 / {WINDOW:,}")
        assert len(t.chat.query(ReplyBlock)) == 1


async def test_of_a_reply_that_was_read_out_only_what_was_heard_stays(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("hi")
        kernel.reply(pid, "One two three.")
        kernel.finish(pid)
        await t.sees("One two three.")
        [block] = t.chat.query(ReplyBlock)
        heard = ReplyHeard(pid=pid, seq=9, turn=1, message_id=block.message_id, text="One two")
        kernel.emit(heard)
        await t.sees("Stopped before the end.")
        assert block.text == "One two"
        kernel.emit(dataclasses.replace(heard, seq=10, text=""))
        await t.until(lambda: not t.chat.query(ReplyBlock))


async def test_escape_interrupts_the_turn_and_says_so(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("count to a million")
        kernel.delta(pid, "1, 2")
        await t.sees("1, 2")
        await t.pilot.press("escape")
        await t.until(lambda: kernel.signals == [(pid, "interrupt")])
        kernel.reply(pid, "1, 2")
        kernel.finish(pid, "interrupted")
        await t.sees("Stopped.")


async def test_a_reply_at_its_length_limit_says_how_to_go_on(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("a novel")
        kernel.delta(pid, "Once")
        kernel.reply(pid, "Once")
        kernel.finish(pid, "length")
        await t.sees("The reply reached its length limit.")


async def test_an_error_is_shown_with_its_remedy(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("x")
        kernel.finish(pid, "error", error="The prompt is too long. Start a new chat.")
        await t.sees("The prompt is too long. Start a new chat.")
        assert t.chat.query_one(Notice).has_class("-error")


async def test_a_refused_message_goes_back_to_the_input(kernel: FakeKernel, terminal):
    async with terminal() as t:
        kernel.refusal = BudgetExceeded("The budget is used up.")
        await t.write("one more")
        await t.sees("The budget is used up.")
        assert t.chat.composer.text == "one more"
        assert not t.chat.query(UserBlock)


async def test_a_message_sent_during_a_turn_waits_below_it(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("first")
        await t.write("second")
        second = await kernel.sent(2)
        kernel.delta(pid, "reply to the first")
        kernel.reply(pid, "reply to the first")
        kernel.finish(pid)
        await t.sees("reply to the first")
        order = [type(block).__name__ for block in t.chat.conversation.turns.children]
        assert order == ["UserBlock", "ReplyBlock", "UserBlock"]
        assert len(t.chat.conversation.pending) == 1
        kernel.start(pid, second)
        await t.until(lambda: not t.chat.conversation.pending)


async def test_questions_asked_ahead_stand_above_their_own_answers_when_one_comes_back(
    kernel: FakeKernel, terminal
):
    async with terminal() as t:
        pid = await t.say("first")
        kernel.store(pid, Message("user", "second"), turn=2)
        kernel.store(pid, Message("assistant", "reply to the first"), turn=1)
        kernel.store(pid, Message("assistant", "reply to the second"), turn=2)
        kernel.finish(pid)
        t.chat.open(0)
        await t.until(lambda: not t.chat.query(UserBlock))
        t.chat.open(pid)
        await t.sees("reply to the second")
        blocks = t.chat.conversation.turns.children
        assert [b.text for b in blocks if isinstance(b, UserBlock | ReplyBlock)] == [
            "first",
            "reply to the first",
            "second",
            "reply to the second",
        ]


async def test_a_call_shows_its_arguments_its_result_and_its_time(kernel: FakeKernel, terminal):
    call = ToolCall("c1", "math.evaluate", {"expression": "17 * 24"})
    async with terminal() as t:
        pid = await t.say("17 times 24?")
        kernel.call(pid, call)
        await t.sees('math.evaluate  expression="17 * 24"')
        assert t.chat.query_one(CallCard).has_class("-running")
        kernel.call(pid, call, "408")
        await t.sees("408")
        await t.sees("0.1 s")
        assert not t.chat.query_one(CallCard).has_class("-running")


async def test_a_long_result_is_folded_until_enter(kernel: FakeKernel, terminal):
    call = ToolCall("c1", "files.read", {"path": "a.txt"})
    async with terminal() as t:
        pid = await t.say("read")
        kernel.call(pid, call)
        kernel.call(pid, call, "\n".join(f"line {n}" for n in range(12)))
        await t.sees("8 more lines · Enter")
        assert "line 11" not in t.screen_text
        t.chat.query_one(CallCard).focus()
        await t.pilot.press("enter")
        await t.sees("line 11")


async def test_a_failed_call_looks_like_one(kernel: FakeKernel, terminal):
    call = ToolCall("c1", "web.fetch", {"url": "https://example.org"})
    async with terminal() as t:
        pid = await t.say("fetch")
        kernel.call(pid, call)
        kernel.call(pid, call, "There is no such host.", "call_failed")
        await t.sees("There is no such host.")
        assert t.chat.query_one(CallCard).has_class("-error")


async def test_a_reminder_stands_under_its_own_heading_and_takes_nobodys_message(
    kernel: FakeKernel, terminal
):
    due = Message("user", "(Reminder) Call Ann", name="reminder")
    async with terminal() as t:
        pid = await t.say("Hello")
        kernel.reply(pid, "Good day.")
        kernel.finish(pid)
        await t.sees("Good day.")
        await t.chat.conversation.add_user("(Reminder) Call Ann")  # in the same words, and waiting
        kernel.start(pid, kernel.store(pid, due, turn=2))
        await t.sees("⏰ Reminder")
        [shown] = t.chat.query(ReminderBlock)
        assert not shown.pending
        assert [block.text for block in t.chat.conversation.pending] == ["(Reminder) Call Ann"]
    async with terminal(pid=pid) as t:  # and so it does when the chat is opened again
        await t.sees("⏰ Reminder")
        assert len(t.chat.query(ReminderBlock)) == 1
        assert [type(b) for b in t.chat.query(UserBlock)] == [UserBlock, ReminderBlock]


async def test_what_was_piped_in_stands_under_its_own_heading_and_is_folded_where_it_is_long(
    kernel: FakeKernel, terminal
):
    given = "\n".join(f"Line {number}" for number in range(1, 41))
    async with terminal() as t:
        pid = await t.say("Hello")
        kernel.reply(pid, "Good day.")
        kernel.finish(pid)
        await t.sees("Good day.")
        kernel.store(pid, Message("user", f"Sum this up.\n\n{given}", name="piped:12"), turn=2)
    async with terminal(pid=pid) as t:
        await t.sees(f"Piped in · {len(given):,} characters")
        [shown] = t.chat.query(PipedBlock)
        assert "Line 6 …" in str(shown.content) and "Line 7" not in str(shown.content)
        assert str(shown.content).startswith("Sum this up.\nPiped in")
        shown.focus()
        await t.pilot.press("enter")
        await t.sees("Line 40")


async def test_code_that_raised_is_shown_as_failed_with_what_it_said(kernel: FakeKernel, terminal):
    call = ToolCall("c1", "python.run", {"code": "1/0"})
    async with terminal() as t:
        pid = await t.say("run it")
        kernel.call(pid, call)
        kernel.call(pid, call, "ZeroDivisionError: division by zero", "code_raised")
        await t.sees("division by zero")
        await t.sees("✗ python.run")
        await t.sees("the code failed")
        assert "✓" not in t.screen_text


async def test_what_a_model_or_tool_writes_cannot_reach_the_terminal(kernel: FakeKernel, terminal):
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\x9b"
    call = ToolCall("c1", "web.fetch" + evil, {"url" + evil: evil})
    async with terminal() as t:
        pid = await t.say("x" + evil)
        kernel.call(pid, call)
        kernel.call(pid, call, evil + " result", "call_failed" + evil)
        kernel.delta(pid, f"text {evil} `code {evil}`\n\n```\n{evil}\n```\n")
        await t.sees("result")
        await t.sees("text ␛]0;owned␇")
        kernel.finish(pid, "error", error=evil + " error")
        await t.sees("error")
        assert not set(t.screen_text) & set("\x1b\x07\x9b\u202e")
        await t.pilot.press("ctrl+y")
        assert not set(t.app.clipboard) & set("\x1b\x07\x9b\u202e")


async def test_html_and_pictures_are_shown_as_text(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("x")
        kernel.delta(pid, "<b>bold</b> ![alt](http://x.example/track.png)")
        await t.sees("<b>bold</b> !alt")


async def test_a_code_fence_is_plain_until_it_closes(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("code")
        kernel.delta(pid, "```python\ndef f():\n    return 1\n")
        await t.sees("return 1")
        assert t.chat.query_one(Fence)._highlighted_code.spans == []
        kernel.delta(pid, "```\n")
        await t.until(lambda: t.chat.query_one(Fence)._highlighted_code.spans)


async def test_the_last_answer_and_a_code_block_can_be_copied(kernel: FakeKernel, terminal):
    answer = "Look:\n\n```python\nprint(1)\n```\n"
    async with terminal() as t:
        pid = await t.say("code")
        kernel.delta(pid, answer)
        kernel.reply(pid, answer)
        kernel.finish(pid)
        await t.sees("print(1)")
        await t.pilot.press("ctrl+y")
        assert t.app.clipboard == answer
        await t.pilot.press("ctrl+g")
        await t.until(lambda: t.app.clipboard == "print(1)")


async def test_a_link_is_opened_only_after_its_address_was_shown(kernel: FakeKernel, terminal):
    async with terminal() as t:
        opened: list[str] = []
        t.app.open_url = lambda url, **_: opened.append(url)
        pid = await t.say("link")
        kernel.delta(pid, "[bank](https://evil.example)")
        await t.sees("bank")
        await t.pilot.click(ReplyBlock, offset=(3, 1))
        await t.until(lambda: isinstance(t.app.screen, Confirm))
        await t.sees("https://evil.example")
        assert opened == []
        await t.pilot.press("y")
        await t.until(lambda: opened == ["https://evil.example"])


async def test_a_new_chat_is_empty_and_keeps_the_old_one(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("first chat")
        kernel.delta(pid, "answer")
        kernel.reply(pid, "answer")
        kernel.finish(pid)
        await t.sees("85 tokens")
        await t.pilot.press("ctrl+n")
        await t.sees("Everything stays on this machine.")
        await t.settled()
        second = await t.say("second chat")
        assert second != pid
        assert [block.text for block in t.chat.query(UserBlock)] == ["second chat"]
        assert len(kernel.infos) == 2


async def test_the_list_of_chats_switches_between_them(kernel: FakeKernel, terminal):
    old = kernel.add("Lighthouse")
    kernel.store(old.pid, Message("user", "Tell me about it."))
    kernel.store(old.pid, Message("assistant", "It is **tall**."))
    async with terminal() as t:
        await t.pilot.press("ctrl+o")
        await t.sees("ready · now")
        await t.pilot.press("enter")
        await t.sees("It is tall.")
        assert t.chat.pid == old.pid


async def test_the_chat_used_last_stands_first_in_the_list(kernel: FakeKernel, terminal):
    now = time.time()
    used = kernel.add("Lighthouse", active=now)
    kernel.add("Newer, and left alone", active=now - 7200)
    async with terminal() as t:
        await t.pilot.press("ctrl+o")
        await t.sees("ready · 2 h")
        await t.pilot.press("home", "enter")
        await t.until(lambda: t.chat.pid == used.pid)


async def test_a_chat_can_be_renamed_forked_and_ended_from_the_list(kernel: FakeKernel, terminal):
    kernel.add("Old name")
    async with terminal() as t:
        await t.pilot.press("ctrl+o")
        await t.sees("ready · now")
        await t.pilot.press("r")
        await t.sees("Name of the chat")
        await t.pilot.press("N", "e", "w", "enter")
        await t.until(lambda: kernel.infos[1].title == "New")
        await t.until(lambda: len(t.app.screen_stack) == 1)
        await t.pilot.press("k")
        await t.until(lambda: isinstance(t.app.screen, Confirm))
        await t.pilot.press("escape")
        await t.until(lambda: len(t.app.screen_stack) == 1)
        assert kernel.infos[1].state == "ready"
        await t.pilot.press("f")
        await t.until(lambda: t.chat.pid == 2)
        assert kernel.infos[2].parent == 1
        t.chat.panel.query_one("#panel-list").focus()
        await t.until(lambda: t.chat.panel.pid == 2)
        await t.pilot.press("k")
        await t.until(lambda: isinstance(t.app.screen, Confirm))
        await t.pilot.press("y")
        await t.until(lambda: kernel.infos[t.chat.panel.pid or 2].state and t.chat.pid == 0)
        assert kernel.infos[2].state == "ended"


async def test_who_ends_a_chat_is_told_of_the_reminders_that_end_with_it(
    kernel: FakeKernel, terminal
):
    kernel.add("Errands")
    kernel.reminders = [{"id": f"t{n}", "due": 9e9, "text": "", "pid": n // 2} for n in range(2, 5)]
    async with terminal(pid=1) as t:
        await t.chat.run_action("kill")
        await t.until(lambda: isinstance(t.app.screen, Confirm))
        await t.sees("Cancels 2 reminders.")


async def test_a_draft_stays_with_its_chat(kernel: FakeKernel, terminal):
    old = kernel.add("Other")
    async with terminal() as t:
        t.chat.composer.text = "half a thou"
        t.chat.open(old.pid)
        await t.until(lambda: t.chat.composer.text == "")
        await t.pilot.press("ctrl+n")
        await t.until(lambda: t.chat.composer.text == "half a thou")


async def test_the_last_chat_can_be_gone_on_with(kernel: FakeKernel, terminal):
    kernel.add("Older")
    last = kernel.add("Newer")
    kernel.store(last.pid, Message("user", "Where were we?"))
    async with terminal(resume=True) as t:
        await t.sees("Where were we?")
        assert t.chat.pid == last.pid


async def test_the_last_chat_is_the_one_used_last(kernel: FakeKernel, terminal):
    used = kernel.add("Begun first, used last", active=time.time() + 60)
    kernel.add("Begun last")
    async with terminal(resume=True) as t:
        await t.until(lambda: t.chat.pid == used.pid)
        await t.pilot.press("ctrl+n")
        await t.until(lambda: t.chat.pid == 0)
        await t.chat.run_action("resume")
        await t.until(lambda: t.chat.pid == used.pid)


async def test_a_chat_that_does_not_exist_says_so(terminal):
    async with terminal(pid=99, wait=False) as t:
        await t.until(lambda: t.chat.pid == 0)
        await t.until(
            lambda: any("There is no process 99." in n.message for n in t.app._notifications)
        )


async def test_a_chat_in_mid_turn_shows_what_was_written_so_far(kernel: FakeKernel, terminal):
    info = kernel.add("Running", state="running")
    kernel.store(info.pid, Message("user", "go"))
    kernel.live[info.pid] = TurnState(pid=info.pid, turn=1, text="So far so", calls=())
    async with terminal(pid=info.pid) as t:
        await t.sees("So far so")
        assert t.chat.status.running
        kernel.delta(info.pid, " good")
        await t.sees("So far so good")


async def test_when_the_kernel_dies_nothing_acknowledged_is_lost(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("remember this")
        kernel.delta(pid, "I will rem")
        await t.sees("I will rem")
        t.chat.composer.text = "a draft"
        kernel.die()
        await t.until(lambda: any(sentence in t.screen_text for sentence in GONE))
        await t.pilot.press("enter")
        assert t.chat.composer.text == "a draft"
        kernel.store(pid, Message("assistant", "I will remember."), partial=True)
        kernel.up = True
        t.chat.link.retry_now()
        await t.sees("I will remember.")
        await t.settled()
        assert [block.text for block in t.chat.query(UserBlock)] == ["remember this"]
        assert [block.text for block in t.chat.query(ReplyBlock)] == ["I will remember."]
        await t.until(lambda: "reconnecting" not in t.screen_text)
        assert t.chat.composer.text == "a draft"
        await t.pilot.press("enter")
        assert (await kernel.sent(2)).message.content == "a draft"


@pytest.mark.parametrize("key", ["ctrl+t", "f4", "ctrl+o", "escape"])
async def test_keys_pressed_while_the_kernel_is_away_are_answered(
    kernel: FakeKernel, terminal, key: str
):
    async with terminal() as t:
        await t.say("remember this")
        kernel.die()
        await t.until(lambda: any(sentence in t.screen_text for sentence in GONE))
        t.chat.link._client = None  # it could not be reached again, either
        await t.pilot.press(key)
        for action in ("resume", "kill", "copy_chat"):
            await t.chat.run_action(action)
            await t.app.workers.wait_for_complete(
                [w for w in t.app.workers if w.group in ("dialog", "panel")]
            )
        assert t.app.is_running
        assert not t.app._exception


async def test_why_no_kernel_starts_is_said_in_its_own_words(kernel: FakeKernel, terminal):
    kernel.up = False
    async with terminal(wait=False) as t:
        await t.sees("No kernel could be started. Run llmos doctor. Trying again…")
        kernel.up = True
        t.chat.link.retry_now()
        await t.settled()


async def test_earlier_messages_come_back_when_wanted(kernel: FakeKernel, terminal):
    info = kernel.add("Long")
    for n in range(100):
        kernel.store(info.pid, Message("user" if n % 2 == 0 else "assistant", f"message {n}"))
    async with terminal(pid=info.pid) as t:
        await t.sees("message 99")
        assert len(t.chat.conversation.turns.children) == 61
        await t.pilot.press("ctrl+home")
        await t.sees("Show earlier messages")
        await t.pilot.click(".earlier")
        await t.until(lambda: len(t.chat.conversation.turns.children) == 100)
        texts = [getattr(block, "text", "") for block in t.chat.conversation.turns.children]
        assert texts == [f"message {n}" for n in range(100)]


async def test_scrolling_up_stops_following_and_the_end_is_one_key_away(
    kernel: FakeKernel, terminal
):
    async with terminal() as t:
        pid = await t.say("long")
        kernel.delta(pid, "\n\n".join(f"paragraph {n}" for n in range(40)))
        await t.sees("paragraph 39")
        await t.pilot.press("pageup")
        await t.until(lambda: not t.chat.conversation.at_end)
        kernel.delta(pid, "\n\nthe very end")
        await t.sees("more below · Ctrl+End")
        assert "the very end" not in t.screen_text
        await t.pilot.press("ctrl+end")
        await t.sees("the very end")


async def test_a_hint_of_the_kernel_is_shown_at_the_start(kernel: FakeKernel, terminal):
    kernel.status["hint"] = "A better model fits this machine: llmos pull qwen3-4b"
    async with terminal() as t:
        await t.sees("A better model fits this machine")


async def test_a_starter_is_asked_when_it_is_clicked(kernel: FakeKernel, terminal):
    async with terminal() as t:
        await t.sees("What is 17 × 24")
        await t.pilot.click("Starter")
        assert (await kernel.sent()).message.content.startswith("What is 17 × 24")


async def test_help_opens_and_closes(terminal):
    async with terminal() as t:
        await t.pilot.press("f1")
        await t.until(lambda: isinstance(t.app.screen, Help))
        await t.pilot.press("escape")
        await t.until(lambda: len(t.app.screen_stack) == 1)


async def test_every_command_is_in_the_palette(terminal):
    async with terminal() as t:
        titles = {command.title for command in t.app.get_system_commands(t.app.screen)}
        assert {"New chat", "Chats", "Stop the reply", "Fork this chat", "Keys", "Theme"} <= titles


async def test_it_fits_forty_columns(kernel: FakeKernel, terminal):
    kernel.add("A chat")
    async with terminal(size=(40, 20)) as t:
        pid = await t.say("narrow")
        kernel.delta(pid, "an answer that is longer than one line of forty columns")
        await t.sees("an answer that is longer than one")
        await t.pilot.press("ctrl+o")
        await t.sees("A chat")
        await t.pilot.press("escape", "escape")


async def test_a_pasted_text_arrives_whole(kernel: FakeKernel, terminal):
    text = "\n".join(f"line {n} of a long text" for n in range(2000))
    async with terminal() as t:
        t.chat.composer.post_message(ui_events.Paste(text))
        await t.until(lambda: t.chat.composer.text == text)
        assert t.chat.composer.size.height <= 8
        await t.pilot.press("enter")
        assert (await kernel.sent()).message.content == text


async def test_what_memory_did_is_told_again_in_its_place_when_a_chat_is_reopened(
    kernel: FakeKernel, terminal
):
    pid = kernel.add("Boats").pid
    kernel.store(pid, Message("user", "Where is the boat?"))
    kernel.note(WindowChanged, pid=pid, turn=1, evicted=("p1", "p4"))
    kernel.note(
        Recalled, pid=pid, turn=1, pages=("f1-1.1", "f1-1.2"), places=("boat.pdf, page 2",) * 2
    )
    kernel.store(pid, Message("assistant", "In Porto."))
    async with terminal(pid=pid) as t:
        await t.sees("In Porto.")
        kinds = [type(block) for block in t.chat.conversation.turns.children]
        assert kinds == [UserBlock, Notice, RecallNotice, ReplyBlock]
        await t.sees("p1 to p4 left the window.")
        assert t.screen_text.count("boat.pdf, page 2") == 1
        kernel.die()
        kernel.up = True
        t.chat.link.retry_now()
        await t.until(lambda: kernel.connections == 2 and t.chat.link.state == "ready")
        assert len(t.chat.query(RecallNotice)) == 1


async def test_what_was_told_live_is_not_told_again_by_the_journal(kernel: FakeKernel, terminal):
    async with terminal() as t:
        pid = await t.say("Where is the boat?")
        long = kernel.note(WindowChanged, pid=pid, turn=1, evicted=("p1.2", "p1.3"))
        kernel.emit(long)
        await t.sees("A part of a long text is out of view: p1.2 to p1.3")
        kernel.emit(long)
        back = kernel.note(Recalled, pid=pid, turn=1, pages=("p9",), places=("p9",))
        kernel.emit(back)
        await t.sees("Brought back from memory: p9")
        t.chat._seen = 0
        kernel.die()
        kernel.up = True
        t.chat.link.retry_now()
        await t.until(lambda: kernel.connections == 2 and t.chat.link.state == "ready")
        assert (len(t.chat.query(RecallNotice)), len(t.chat.query(Notice))) == (1, 1)


async def test_a_kernel_that_was_stopped_stays_so_until_the_person_wants_it(
    kernel: FakeKernel, terminal
):
    async with terminal() as t:
        await t.say("remember this")
        assert kernel.connections == 1
        kernel.stop()
        await t.sees("The kernel was stopped. Press Enter to start it again.")
        await t.until(lambda: not t.chat.query(Thinking))
        await t.pilot.press("ctrl+o", "escape", "x")  # reading on and typing need no kernel
        with pytest.raises(KernelStopped):
            await t.chat.link.wait_for(t.chat.pid)
        with pytest.raises(KernelStopped):
            _ = t.chat.link.client
        assert kernel.connections == 1
        await t.pilot.press("backspace", "enter")
        await t.settled()
        assert kernel.connections == 2


@pytest.mark.parametrize("how", ["a message", "a new chat"])
async def test_a_stopped_kernel_is_started_by_what_needs_it(kernel: FakeKernel, terminal, how: str):
    async with terminal() as t:
        await t.say("remember this")
        kernel.stop()
        await t.sees("The kernel was stopped.")
        if how == "a message":
            await t.write("and this")
            assert (await kernel.sent(2)).message.content == "and this"
        else:
            await t.pilot.press("ctrl+n")
        await t.settled()
        assert kernel.connections == 2
