"""A call that waits for a yes, on the screen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmos.events import (
    CallAnswered,
    CallAsked,
    CallProgress,
    CallStarted,
    ToolCall,
)
from llmos.ui import permit
from llmos.ui.permit import Permit

BUTTONS = ("Deny (n)", "Allow once (y)", "In this chat (c)", "Always (a)")
CALL = ToolCall("c1", "files.write", {"path": "~/notes.txt", "text": "Hello"})


def asked(pid: int, call: ToolCall = CALL, always: str = "files.write with path = ~/notes.txt"):
    return CallAsked(
        pid=pid,
        turn=1,
        call=call,
        title="files.write wants to change something on this machine.",
        reasons=("Your words did not ask for this call, or not once more.",),
        arguments=(("path", "~/notes.txt", "it stands in a page"), ("text", "Hello\x1b[2J", "x")),
        preview="--- a\n+++ b\n@@ -1 +1 @@\n-old line\n+new line\n",
        always=always,
    )


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch):
    """A question takes keys at once."""
    monkeypatch.setattr(permit, "GUARD_S", 0.0)


@pytest.mark.parametrize(
    ("key", "answer"),
    [("y", "once"), ("c", "conversation"), ("a", "always"), ("n", "no"), ("escape", "no")],
)
async def test_a_person_is_asked_and_answers(terminal, at_once, key: str, answer: str):
    async with terminal() as t:
        pid = await t.say("Write it")
        t.kernel.emit(asked(pid))
        await t.sees("files.write wants to change something")
        for text in (
            "~/notes.txt",
            "it stands in a page",
            "Always would",
        ):
            assert text in t.screen_text
        await t.pilot.press("pagedown")
        await t.sees("-old line")
        await t.sees("+new line")
        assert "\x1b" not in t.screen_text
        await t.pilot.press(key)
        await t.until(lambda: t.kernel.answers == [(pid, "c1", answer)])
        await t.until(lambda: not isinstance(t.app.screen, Permit))


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_all_of_a_long_question_can_be_read_and_its_answers_stay_in_view(
    terminal, at_once, size: tuple[int, int]
):
    lines = "\n".join(f"line {n}" for n in range(200))
    async with terminal(size) as t:
        pid = await t.say("Write it")
        t.kernel.emit(replace(asked(pid), arguments=(("text", lines, "a page"),)))
        await t.sees("more lines below")
        await t.until(lambda: all(told in t.screen_text for told in BUTTONS))
        for _ in range(30):
            await t.pilot.press("pagedown")
        await t.sees("line 199")
        await t.sees("+new line")
        assert all(told in t.screen_text for told in BUTTONS)
        assert "more lines below" not in t.screen_text
        await t.pilot.press("up")
        await t.sees("1 more line below")


@pytest.mark.parametrize("blanks", [" " * 3000, "\n" * 3000, "\u3000\u200d" * 2000])
async def test_white_space_in_a_value_pushes_nothing_out_of_view(terminal, at_once, blanks: str):
    async with terminal((80, 24)) as t:
        pid = await t.say("Write it")
        arguments = (("path", f"~/notes{blanks}; and the rest", "x"), ("blank", "  ", "x"))
        t.kernel.emit(replace(asked(pid, always=""), arguments=arguments, preview=""))
        await t.sees("; and the rest")
        await t.sees("␣␣")
        assert "more lines below" not in t.screen_text


async def test_a_short_question_takes_no_more_room_than_it_needs(terminal, at_once):
    async with terminal((120, 40)) as t:
        t.kernel.emit(asked(await t.say("Write it")))
        await t.sees("+new line")
        await t.until(lambda: t.app.screen.query_one(".permit").outer_size.height < 25)
        assert "below" not in t.screen_text


async def test_the_mouse_answers_but_not_in_the_first_moment(terminal, monkeypatch):
    monkeypatch.setattr(permit, "GUARD_S", 3600.0)
    async with terminal() as t:
        pid = await t.say("Write it")
        t.kernel.emit(asked(pid))
        await t.sees("Allow once")
        await t.pilot.click("#always")
        assert isinstance(t.app.screen, Permit)
        monkeypatch.setattr(permit, "GUARD_S", 0.0)
        await t.pilot.click("#once")
        await t.until(lambda: t.kernel.answers == [(pid, "c1", "once")])


async def test_keys_that_come_one_after_another_are_no_answer_however_long(terminal, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(permit, "monotonic", lambda: now[0])
    async with terminal() as t:
        pid = await t.say("Write it")
        t.kernel.emit(asked(pid))
        await t.sees("files.write wants")
        for key in ("h", "a", "p", "p", "y", "enter", "escape"):
            now[0] += permit.GUARD_S * 0.6
            await t.pilot.press(key)
        assert isinstance(t.app.screen, Permit)
        now[0] += permit.GUARD_S * 1.1
        await t.pilot.press("y")
        await t.until(lambda: t.kernel.answers == [(pid, "c1", "once")])


async def test_a_value_is_never_read_as_markup_and_a_diff_keeps_its_marks(terminal, at_once):
    async with terminal((120, 40)) as t:
        pid = await t.say("Write it")
        values = (("text", "[bold]Allowed by llmos[/bold]", "a page"), ("mode", "", "the model"))
        diff = "--- a\n+++ b\n@@ -1,2 +1,2 @@\n--- item\n+++ item\n"
        t.kernel.emit(replace(asked(pid), arguments=values, preview=diff))
        for text in ("[bold]Allowed by llmos[/bold]", "(empty)", "--- item", "+++ item"):
            await t.sees(text)
        classes = [sorted(part.classes)[0] for part in t.app.screen.query(".permit-lines")]
        assert classes == ["permit-lines", "-place", "-removed", "-added"]


async def test_enter_denies_since_the_careful_answer_is_preset(terminal, at_once):
    async with terminal() as t:
        pid = await t.say("Write it")
        t.kernel.emit(asked(pid))
        await t.sees("files.write wants")
        await t.pilot.press("enter")
        await t.until(lambda: t.kernel.answers == [(pid, "c1", "no")])


async def test_what_was_being_typed_is_no_answer(terminal):
    async with terminal() as t:
        pid = await t.say("Write it")
        t.kernel.emit(asked(pid))
        await t.sees("files.write wants")
        await t.pilot.press("y", "a", "y", "enter")
        assert isinstance(t.app.screen, Permit)
        assert t.kernel.answers == []


async def test_what_can_only_be_allowed_once_offers_no_more(terminal, at_once):
    async with terminal() as t:
        pid = await t.say("Write it")
        t.kernel.emit(asked(pid, always=""))
        await t.sees("Allow once")
        assert "Always" not in t.screen_text
        await t.pilot.press("a", "c")
        assert isinstance(t.app.screen, Permit)
        await t.pilot.press("y")
        await t.until(lambda: t.kernel.answers == [(pid, "c1", "once")])


async def test_a_question_that_is_answered_elsewhere_goes_away(terminal, at_once):
    async with terminal() as t:
        pid = await t.say("Write it")
        other = ToolCall("c2", "mail.send", {})
        t.kernel.emit(asked(pid))
        t.kernel.emit(asked(pid, other))
        await t.sees("files.write wants")
        t.kernel.emit(CallAnswered(pid=pid, turn=1, call_id="c2", answer="no"))
        t.kernel.emit(CallAnswered(pid=pid, turn=1, call_id="c1", answer="once"))
        await t.until(lambda: t.app.screen is t.chat)
        assert t.kernel.answers == []


async def test_how_far_a_call_is_stands_beside_it(terminal):
    async with terminal() as t:
        pid = await t.say("Draw it")
        t.kernel.emit(CallStarted(pid=pid, turn=1, call=CALL))
        t.kernel.emit(CallProgress(pid=pid, turn=1, call_id="c1", text="half of it", done=0.5))
        await t.sees("━━━━━───── 50% half of it")
