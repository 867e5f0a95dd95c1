"""Experts in the chat: offered, completed, named."""

from __future__ import annotations

import asyncio

import pytest
from fake_client import FakeClient

from llmos.errors import ExpertError, KernelError


def expert(name: str, summary: str = "Does things.", *starters: str, broken: str = ""):
    return {
        "name": name,
        "summary": summary,
        "starters": list(starters),
        "version": "1",
        "broken": broken,
    }


@pytest.fixture
def experts(kernel):
    kernel.experts = [
        expert("analyst", "Reads tables.", "What is in this table?"),
        expert("coder", "Writes \x1b[2Jcode.", "Why does this fail?"),
        expert("cook", "Writes recipes."),
        expert("crashed", broken="Its files were changed."),
    ]


async def test_names_are_offered_while_one_is_typed_and_taken_with_tab(terminal, experts):
    async with terminal() as t:
        await t.pilot.press("@")
        for text in ("@analyst", "@coder", "@cook", "Reads tables."):
            await t.sees(text)
        assert "crashed" not in t.screen_text and "\x1b" not in t.screen_text
        await t.pilot.press("c", "o")
        await t.until(lambda: "@analyst  Reads" not in t.screen_text)
        await t.pilot.press("down", "tab")
        await t.until(lambda: t.chat.composer.text == "@cook ")
        await t.until(lambda: not t.chat.completion.is_open)
        assert t.chat.query_one("#composer-box").border_title == "@cook"


async def test_enter_takes_a_name_and_sends_nothing(kernel, terminal, experts):
    async with terminal() as t:
        await t.pilot.press("@", "a")
        await t.until(lambda: t.chat.completion.is_open)
        await t.pilot.press("enter")
        await t.until(lambda: t.chat.composer.text == "@analyst ")
        assert kernel.said == []


async def test_enter_sends_a_message_typed_on_while_names_were_offered(
    kernel, terminal, experts, monkeypatch
):
    async with terminal() as t:
        await t.pilot.press("@", "a")
        await t.until(lambda: t.chat.completion.is_open)
        monkeypatch.setattr(t.chat.completion, "type", lambda text: None)  # it is told late
        await t.pilot.press("space", "w", "h", "y", "enter")
        await t.until(lambda: [m.message.content for m in kernel.said] == ["@a why"])


async def test_escape_closes_what_is_offered_and_the_text_stays(terminal, experts):
    async with terminal() as t:
        await t.pilot.press("@")
        await t.until(lambda: t.chat.completion.is_open)
        await t.pilot.press("escape")
        await t.until(lambda: not t.chat.completion.is_open)
        assert t.chat.composer.text == "@"


async def test_the_title_of_the_input_names_the_expert_that_is_asked(kernel, terminal, experts):
    async with terminal() as t:
        box = t.chat.query_one("#composer-box")
        pid = await t.say("@coder why?")
        await t.until(lambda: box.border_title == "@coder")
        kernel.finish(pid)
        await t.until(lambda: box.border_title == "")
        await t.say("@nobody why?")
        assert box.border_title == ""


async def test_an_empty_chat_offers_a_question_to_each_expert_that_has_one(
    kernel, terminal, experts
):
    async with terminal((80, 40)) as t:
        await t.sees("@analyst What is in this table?")
        await t.sees("@coder Why does this fail?")
        assert "@cook" not in t.screen_text
        await t.pilot.click("Starter.-expert")
        assert (await kernel.sent()).message.content == "@analyst What is in this table?"


async def test_a_kernel_that_knows_no_experts_offers_none(kernel, terminal):
    kernel.experts = KernelError("Not Found")
    async with terminal() as t:
        await t.pilot.press("@")
        await t.until(lambda: t.chat.composer.text == "@")
        assert not t.chat.completion.is_open


async def test_a_message_to_nobody_comes_back_with_the_names_and_the_chat_stays_free(
    kernel, terminal, experts
):
    async with terminal() as t:
        kernel.refusal = ExpertError("There is no expert @kook.", remedy="Did you mean @cook?")
        await t.write("@kook why?")
        await t.sees("There is no expert @kook. Did you mean @cook?")
        assert t.chat.composer.text == "@kook why?"
        assert not t.chat.status.running
        assert kernel.said == []


async def test_a_refusal_after_the_turn_under_way_has_ended_leaves_the_chat_free(
    kernel, terminal, experts, monkeypatch
):
    async with terminal() as t:
        pid = await t.say("What is for dinner?")
        asked, ended = asyncio.Event(), asyncio.Event()

        async def refused(*_message):
            asked.set()
            await ended.wait()
            raise ExpertError("There is no expert @kook.")

        monkeypatch.setattr(FakeClient, "send", refused)
        await t.write("@kook why?")
        await asked.wait()
        kernel.finish(pid)
        await t.until(lambda: not t.chat.status.running)
        ended.set()
        await t.sees("There is no expert @kook.")
        assert not t.chat.status.running
